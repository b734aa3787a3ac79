//! `rosterd attributes`: custom attributes of many users.

use std::path::PathBuf;

use clap::Args;

use super::runs::{self, RunArgs};
use super::{CommandError, Exit};
use crate::config::Sources;
use crate::daemon::{Input, RunOptions, Wish};
use crate::source::Assignments;

/// Change custom attributes of many users
///
/// From a file whose first column is id, userName or externalId and whose other columns are the keys of attributes, or the
/// same attributes for all users of a list. An empty cell leaves an attribute alone, `<remove>` removes it.
/// The same command on the same file goes on with what was not finished, and repeats nothing.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each switch is given or not, independently of the others")]
pub struct AttributesArgs {
    /// The file: .csv with a header, or .jsonl
    file: Option<PathBuf>,
    /// An attribute that all users of --users are to have
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The users for --set: a column below id, userName or externalId, or ids, one a line
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// Send only what differs from what the tenant has, which is read first
    #[arg(long)]
    diff: bool,
    /// Go on even if the tenant refuses one row after the other
    #[arg(long)]
    force: bool,
    /// Do nothing at all if any row of the file is wrong; what only the tenant can say, such as whom it knows, stops no
    /// other row
    #[arg(long)]
    strict: bool,
    /// Give up what is left of an earlier file that was not finished
    #[arg(long)]
    drop_unfinished: bool,
}

const NOTHING: &str = "there is nothing to do: name a FILE, or write --set KEY=VALUE --users FILE";

/// Whether what is given says one thing; otherwise the way out.
const fn asked(file: bool, set: bool, users: bool) -> Result<(), &'static str> {
    match (file, set, users) {
        (true, false, false) | (false, true, true) => Ok(()),
        (true, ..) => {
            Err("a FILE says what each user is to have: write it alone, or --set KEY=VALUE --users \
                           FILE without it")
        }
        (false, true, false) => {
            Err("--set says what, and not whose: write --users FILE with it, whose first \
                                     column is id, userName or externalId")
        }
        (false, false, true) => Err("--users says whose, and not what: write --set KEY=VALUE with it"),
        (false, false, false) => Err(NOTHING),
    }
}

/// Carries the file out.
///
/// # Errors
/// When the configuration, the file or the database cannot be used.
pub async fn run(args: AttributesArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let options = RunOptions { deactivate_missing: false, diff: args.diff };
    let wish = Wish { options, strict: args.strict, force: args.force, ..Wish::default() };
    let AttributesArgs { file, set, users, .. } = args;
    asked(file.is_some(), !set.is_empty(), users.is_some())
        .map_err(|way| CommandError::Usage(way.to_owned()))?;
    Box::pin(runs::run(args.run, sources, wish, args.drop_unfinished, |tenant| {
        let remove_marker = tenant.attributes.remove_marker.clone();
        match (file, users) {
            (Some(path), _) => Ok(Input::Attributes { path, remove_marker }),
            (None, Some(path)) => {
                let assignments = Assignments::parse(&set, &remove_marker)
                    .map_err(|faults| CommandError::Usage(format!("--set: {}", faults.join("\n"))))?;
                Ok(Input::Users { path, assignments, words: set })
            }
            (None, None) => Err(CommandError::Usage(NOTHING.to_owned())),
        }
    }))
    .await
}
