//! `rosterd state`: a copy of what the database knows, or some of it forgotten.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::select::Selected;
use super::{CommandError, Exit, answer, asking};
use crate::config::{self, Sources};
use crate::daemon::{Answer, Ask, AskError};
use crate::model::counted;
use crate::store::{Reset, ResetDone, Store, StoreError};

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
    #[command(flatten)]
    selected: Selected,
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
    let file = args.file.display();
    let bytes = bytes.map_err(|error| match &error {
        StoreError::File { error: cause, .. } if cause.kind() == ErrorKind::AlreadyExists => {
            CommandError::Usage(format!("{file}: is there already; name a file that is not there yet"))
        }
        StoreError::File { error: cause, .. } if cause.kind() == ErrorKind::NotFound => {
            CommandError::Usage(format!("{error}; its folder has to be there"))
        }
        _ => error.into(),
    })?;
    answer(&if args.json {
        format!("{:#}\n", json!({ "file": file.to_string(), "bytes": bytes }))
    } else {
        format!("{file}: {}, checked\n", counted(bytes, "byte", "bytes"))
    })?;
    Ok(Exit::Done)
}

async fn reset(args: ResetArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let (database, audit) = (settings.store.clone(), settings.audit.clone());
    let what = Reset::from(args.what);
    let asks = vec![(args.selected.one(settings)?, Ask::Reset { what })];
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
    let operations = counted(operations, "operation", "operations");
    let holds = counted(holds, "held pass", "held passes");
    match what {
        Reset::Watermark => "the watermark is forgotten; the next pass reads all users".to_owned(),
        Reset::Queue => format!(
            "{operations} discarded, {holds} among them, {in_flight} in flight not sent again; \
             the next pass reads all users and decides anew"
        ),
        Reset::Guard => {
            format!("{holds} discarded with {operations}; nothing counts within the window any more")
        }
    }
}
