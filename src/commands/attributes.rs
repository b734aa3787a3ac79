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
    /// Do nothing at all if any row is wrong, or means nobody: the tenant is read first, as for --plan
    #[arg(long)]
    strict: bool,
    /// Give up what is left of an earlier file that was not finished
    #[arg(long)]
    drop_unfinished: bool,
}

/// Whose attributes, and which.
enum Asked {
    File(PathBuf),
    Same { users: PathBuf, set: Vec<String> },
}

/// What is asked for if what is given says one thing; otherwise the way out.
fn asked(file: Option<PathBuf>, users: Option<PathBuf>, set: Vec<String>) -> Result<Asked, &'static str> {
    match (file, users, set.is_empty()) {
        (Some(path), None, true) => Ok(Asked::File(path)),
        (None, Some(users), false) => Ok(Asked::Same { users, set }),
        (Some(_), ..) => {
            Err("a FILE says what each user is to have: write it alone, or --set KEY=VALUE --users \
                              FILE without it")
        }
        (None, None, false) => {
            Err("--set says what, and not whose: write --users FILE with it, whose first \
                                    column is id, userName or externalId")
        }
        (None, Some(_), true) => Err("--users says whose, and not what: write --set KEY=VALUE with it"),
        (None, None, true) => {
            Err("there is nothing to do: name a FILE, or write --set KEY=VALUE --users FILE")
        }
    }
}

/// Carries the file out.
///
/// # Errors
/// When the configuration, the file or the database cannot be used.
pub async fn run(args: AttributesArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let options = RunOptions { deactivate_missing: false, diff: args.diff };
    let wish = Wish { options, strict: args.strict, force: args.force, ..Wish::default() };
    let asked = asked(args.file, args.users, args.set).map_err(|way| CommandError::Usage(way.to_owned()))?;
    Box::pin(runs::run(args.run, sources, wish, args.drop_unfinished, |tenant| {
        let remove_marker = tenant.attributes.remove_marker.clone();
        match asked {
            Asked::File(path) => Ok(Input::Attributes { path, remove_marker }),
            Asked::Same { users: path, set } => {
                let assignments = Assignments::parse(&set, &remove_marker)
                    .map_err(|faults| CommandError::Usage(format!("--set: {}", faults.join("\n"))))?;
                Ok(Input::Users { path, assignments, words: set })
            }
        }
    }))
    .await
}
