//! `rosterd provision`: users as an HRIS export wants them.

use std::path::PathBuf;

use clap::Args;

use super::runs::{self, RunArgs};
use super::{CommandError, Exit};
use crate::config::Sources;
use crate::daemon::{RunOptions, Wish, export};

/// Create and change users as an HRIS export wants them, row by row
///
/// The same command on the same file goes on with what was not finished, and repeats nothing.
#[derive(Args, Clone, Debug)]
pub struct ProvisionArgs {
    /// The export: .csv with a header, or .jsonl
    file: PathBuf,
    #[command(flatten)]
    run: RunArgs,
    /// Do nothing at all if any row is wrong, or there is no room for its user: the tenant is read first, as for --plan
    #[arg(long)]
    strict: bool,
    /// Make users inactive whom earlier exports named, and this one does not
    #[arg(long)]
    deactivate_missing: bool,
}

/// Carries the export out.
///
/// # Errors
/// When the configuration, the file or the database cannot be used.
pub async fn run(args: ProvisionArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let options = RunOptions { deactivate_missing: args.deactivate_missing, diff: false };
    let wish = Wish { options, strict: args.strict, ..Wish::default() };
    let file = args.file;
    Box::pin(runs::run(args.run, sources, wish, false, |tenant| Ok(export(file, &tenant.provision)))).await
}
