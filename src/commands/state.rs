//! `rosterd state`: a copy of what the database knows, or some of it forgotten.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::select::Selected;
use super::{CommandError, Exit, answer, asking};
use crate::config::{self, Sources};
use crate::daemon::{Answer, Ask, AskError};
use crate::store::{Reset, ResetDone, Store};

/// What to do with the state.
#[derive(Clone, Debug, Subcommand)]
pub enum StateCommand {
    /// Write a copy of the database into a new file, beside a running daemon too
    Backup(BackupArgs),
    /// Forget how far a tenant was read, what waits for it, or what the guard holds and counts
    Reset(ResetArgs),
}

/// Where to, and how the answer is written.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// The new file
    file: PathBuf,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What to forget, and of which tenant.
#[derive(Args, Clone, Debug)]
pub struct ResetArgs {
    what: What,
    /// The tenant of the configuration
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What to forget.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// How far the tenant was read: the next pass reads all users
    Watermark,
    /// All that waits for it, held operations and dead letters included: the next pass decides all users anew
    Queue,
    /// Passes that are held, and what counts within the guard's window
    Guard,
}

impl From<What> for Reset {
    fn from(what: What) -> Self {
        match what {
            What::Watermark => Self::Watermark,
            What::Queue => Self::Queue,
            What::Guard => Self::Guard,
        }
    }
}

/// Does it.
///
/// # Errors
/// When the database, the new file or standard output fails.
pub async fn run(command: StateCommand, sources: &Sources) -> Result<Exit, CommandError> {
    match command {
        StateCommand::Backup(args) => backup(args, sources).await,
        StateCommand::Reset(args) => reset(args, sources).await,
    }
}

async fn backup(args: BackupArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let store = Store::beside(&config::load(sources)?.store).await?;
    let bytes = store.back_up(&args.file).await;
    store.close().await;
    let (bytes, file) = (bytes?, args.file.display());
    answer(&if args.json {
        format!("{:#}\n", json!({ "file": file.to_string(), "bytes": bytes }))
    } else {
        format!("{file}: {bytes} bytes, checked\n")
    })?;
    Ok(Exit::Done)
}

async fn reset(args: ResetArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let (database, audit) = (settings.store.clone(), settings.audit.clone());
    let what = Reset::from(args.what);
    let tenants = Selected { tenant: Some(args.tenant) }.of(settings)?;
    let asks = tenants.into_iter().map(|tenant| (tenant, Ask::Reset { what })).collect();
    for (name, end) in asking((&database, &audit), asks).await? {
        let Answer::Reset { done } = end? else { return Err(AskError::Words.into()) };
        let values = json!({
            "tenant": name,
            "reset": what.as_str(),
            "operations_discarded": done.operations,
            "holds_discarded": done.holds,
            "in_flight": done.in_flight,
        });
        answer(&if args.json { format!("{values:#}\n") } else { format!("{name}: {}\n", text(what, done)) })?;
    }
    Ok(Exit::Done)
}

fn text(what: Reset, done: ResetDone) -> String {
    let ResetDone { operations, holds, in_flight } = done;
    match what {
        Reset::Watermark => "the watermark is forgotten; the next pass reads all users".to_owned(),
        Reset::Queue => format!(
            "{operations} operations discarded, {holds} held passes among them, {in_flight} in flight left alone; \
             the next pass reads all users and decides anew"
        ),
        Reset::Guard => format!(
            "{holds} held passes discarded with {operations} operations; nothing counts within the window any more"
        ),
    }
}
