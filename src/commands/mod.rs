//! One thin file for each thing that an operator can ask for. No decisions here.

pub mod apply;
pub mod approve;
pub mod attributes;
pub mod audit;
pub mod config;
pub mod dead_letters;
pub mod demo;
mod error;
mod exit;
pub mod explain;
mod holds;
mod outcome;
mod passes;
pub mod plan;
pub mod practice_tenant;
pub mod provision;
pub mod run;
mod run_plan;
mod run_progress;
mod run_report;
mod run_rows;
mod runs;
pub mod select;
pub mod state;
pub mod status;
pub mod sync;

use std::io::{self, Write as _};
use std::path::Path;

pub use error::CommandError;
pub use exit::Exit;
use serde_json::json;

use crate::config::{AuditSettings, TenantSettings};
use crate::daemon::{self, Answer, Ask, AskError, Parts, StopOnSignal};
use crate::model::TenantId;
use crate::store::Occupant;

/// Writes the answer of a command. A reader that has gone away has seen enough.
fn answer(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Has things done by whoever owns the database, ourselves if nobody does; answers with the tenants' names.
async fn asking(
    (database, audit): (&Path, &AuditSettings),
    asks: Vec<(TenantSettings, Ask)>,
) -> Result<Vec<(TenantId, Result<Answer, AskError>)>, CommandError> {
    let names: Vec<TenantId> = asks.iter().map(|(tenant, _)| tenant.name.clone()).collect();
    let (parts, stop) = (Parts::default(), StopOnSignal::default());
    let answers = daemon::ask((database, audit), asks, &parts, &stop.stop, &beside_owner);
    let answers = stop.run(answers).await?.ok_or(CommandError::Cut)??;
    Ok(names.into_iter().zip(answers).collect())
}

/// Says on stderr whom the command has asked, or for whose end it waits.
fn beside_owner(owner: &Occupant) {
    let process = owner.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    complain(&if owner.daemon {
        format!("a daemon owns the database{process}; it was asked to do this")
    } else {
        format!("another command is at work on the database{process}; this one begins when it has ended")
    });
}

/// Says why a command has failed, on stderr and, where JSON was asked for, on stdout too; returns how it ends.
#[must_use]
pub fn fail(error: &CommandError, as_json: bool) -> Exit {
    complain(&error.to_string());
    if as_json {
        answer_failure(error);
    }
    error.exit()
}

/// The answer of a command that has failed, in JSON. If even that cannot be written, the exit code has to do.
pub fn answer_failure(error: &CommandError) {
    drop(answer(&format!("{:#}\n", json!({ "error": error.to_json() }))));
}

/// Says on stderr what is wrong. If even that is gone, the exit code has to do.
pub fn complain(text: &str) {
    drop(writeln!(io::stderr().lock(), "rosterd: {text}"));
}
