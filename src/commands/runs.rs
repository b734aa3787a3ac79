//! What `provision` and `attributes` have in common: a file becomes a run, which is carried out by ourselves or by whoever
//! owns the database, and what has become of each row is told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::run_progress::Progress;
use super::run_report::{self, Told};
use super::run_rows::{self, RowFile, fault_table, fault_values};
use super::select::Selected;
use super::{CommandError, Exit, answer, beside_owner, complain, error, run_plan};
use crate::config::{self, Sources, TenantSettings};
use crate::daemon::{
    self, AskError, Blame, Carried, ImportError, Imported, Input, LastWord, Ownership, Parts, Patience,
    PlanFailure, RunEnd, RunSettings, StopOnSignal, Tenant, Wish, own_or_ask,
};
use crate::deliver::Trouble;
use crate::model::{RejectedRow, RunState, TenantId, counted};
use crate::store::{Ended, RowEnd, Run, Store, TroubleRow};

/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(250);

/// What both commands can be told.
#[derive(Args, Clone, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    selected: Selected,
    /// Show what would be done, and change nothing; exit code 3 when a row cannot be carried out, or nobody would be
    /// made inactive though that is asked for, else 2 when there is anything to do
    #[arg(long)]
    plan: bool,
    /// Write a CSV file with one line for each row and what became of it, in the place of an earlier report
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Give up after this long in which nothing moves, most likely because the tenant cannot be reached; what is left is kept
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Reads what `input` makes of the settings of the one tenant that is meant, and carries it out.
///
/// # Errors
/// When the configuration, the file or the database cannot be used.
pub(super) async fn run(
    args: RunArgs,
    sources: &Sources,
    wish: Wish,
    drop_unfinished: bool,
    input: impl FnOnce(&TenantSettings) -> Result<Input, CommandError>,
) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let (database, written) = (settings.store.clone(), settings.audit.clone());
    let settings = args.selected.one(settings)?;
    let input = input(&settings)?;
    let wish = Wish { operator: Some(daemon::operator()), ..wish };
    let parts = Parts::default();
    let report = args.report.as_deref().map(RowFile::create).transpose()?;
    if args.plan || wish.strict {
        // The copy on which a plan is made knows of no runs.
        if !drop_unfinished {
            match daemon::may_begin(&database, &settings.name, &input, wish.options).await {
                Ok(()) => {}
                Err(ImportError::Store(failure)) => return Err(failure.into()),
                Err(failure) => return refuse(&settings.name, &failure, args.json),
            }
        }
        let planned = match daemon::plan_run(&database, &settings, input.clone(), wish, &parts).await {
            Ok(planned) => planned,
            Err(failure) => return unplanned(&settings.name, failure, args.json),
        };
        if args.plan {
            return run_plan::tell(&planned, report, args.json);
        }
        let left: Vec<&RowEnd> = run_plan::refused(&planned).collect();
        if !left.is_empty() {
            let rows = counted(left.len() as u64, "row", "rows");
            let reason = format!("{rows} cannot be carried out: nothing was done (--strict)");
            return fail(&settings.name, Exit::Left, &reason, (&[], &left), args.json);
        }
    }
    let stop = StopOnSignal::default();
    let progress = Progress::new(args.json);
    let owning = own_or_ask(&database, &parts.clock, &stop.stop, &beside_owner);
    let (store, owner) = match stop.run(owning).await?.ok_or(CommandError::Cut)?? {
        Ownership::Ours(store) => (store, None),
        Ownership::Daemon(owner) => (Store::beside(&database).await?, Some(owner)),
        Ownership::Stopped => return Err(AskError::Withdrawn.into()),
    };
    let imported = loop {
        if drop_unfinished {
            drop_runs(&store, &settings.name, &input, &parts).await?;
        }
        match import(&store, &settings.name, input.clone(), wish, &parts, &progress).await? {
            Ok(imported) => break imported,
            // Somebody has begun another one while this file was read.
            Err(ImportError::Unfinished { .. }) if drop_unfinished => {}
            Err(failure) => return refuse(&settings.name, &failure, args.json),
        }
    };
    let run = imported.run;
    let carried = if let Some(owner) = owner {
        beside_owner(&owner);
        let following = follow(&store, &database, &run, args.wait, &parts, &stop.stop);
        let followed = stop.run(progress.beside(&store, &run, &parts.clock, following)).await?;
        Some(followed.unwrap_or(Ok(Carried::GoesOn)))
    } else {
        let audit = daemon::open_audit(&written, &store, parts.clock.now()).await?;
        let mut tenant = Tenant::new(settings, &store, &audit, &parts)?;
        let runs: RunSettings = tenant.runs.clone();
        let clock = &parts.clock;
        let own = (&store, &audit);
        let carrying = daemon::carry_out(&mut tenant, &runs, own, &run, clock, args.wait, &stop.stop);
        stop.run(Box::pin(progress.beside(&store, &run, clock, carrying))).await?
    };
    let told = Told::of(run, carried);
    progress.clear();
    let exit = run_report::tell(&store, &told, report, args.json).await?;
    store.close().await;
    Ok(exit)
}

async fn import(
    store: &Store,
    tenant: &TenantId,
    input: Input,
    wish: Wish,
    parts: &Parts,
    progress: &Progress,
) -> Result<Result<Imported, ImportError>, CommandError> {
    let file = input.path().display().to_string();
    let imported =
        daemon::import(store, tenant, input, wish, &parts.clock, &|rows| progress.read(rows)).await;
    match imported {
        Err(ImportError::Store(failure)) => Err(failure.into()),
        Err(failure) => Ok(Err(failure)),
        Ok(imported) => {
            if imported.resumed {
                complain(&format!("run {} of {file} was not finished: it goes on", imported.run.id));
            }
            let Ended { superseded, withdrawn } = imported.ended;
            if superseded > 0 {
                let rows = counted(superseded, "row of an earlier file was", "rows of an earlier file were");
                complain(&format!("{rows} not carried out: this one takes its place"));
            }
            if withdrawn > 0 {
                let users = counted(withdrawn, "user is", "users are");
                complain(&format!(
                    "{users} not made inactive any more because an earlier export did not name them: this one decides anew"
                ));
            }
            Ok(Ok(imported))
        }
    }
}

/// Gives up what is left of earlier runs of this kind.
async fn drop_runs(
    store: &Store,
    tenant: &TenantId,
    input: &Input,
    parts: &Parts,
) -> Result<(), CommandError> {
    for run in store.unfinished_runs(tenant).await? {
        if run.kind == input.kind() {
            let rows = store.supersede_run(&run, parts.clock.now()).await?;
            let rows = counted(rows, "row that was", "rows that were");
            complain(&format!("run {} of {} is given up with {rows} not carried out", run.id, run.file));
        }
    }
    Ok(())
}

/// Says why it is not known what would be done.
fn unplanned(tenant: &TenantId, failure: PlanFailure, as_json: bool) -> Result<Exit, CommandError> {
    match failure {
        PlanFailure::Import(failure) => refuse(tenant, &failure, as_json),
        PlanFailure::Pass(failure) => {
            let exit = error::of_blame(failure.blame());
            fail(tenant, exit, &failure.to_string(), (&[], &[]), as_json)
        }
        PlanFailure::Client(failure) => Err(failure.into()),
        PlanFailure::Store(failure) => Err(failure.into()),
    }
}

/// Says why nothing was done.
fn refuse(tenant: &TenantId, failure: &ImportError, as_json: bool) -> Result<Exit, CommandError> {
    let (exit, rejected): (_, &[RejectedRow]) = match failure {
        ImportError::Strict(rejected) => (Exit::Left, rejected),
        ImportError::Unfinished { .. } | ImportError::Store(_) | ImportError::Died(_) => (Exit::Failed, &[]),
        ImportError::Input(_) => (Exit::Usage, &[]),
    };
    fail(tenant, exit, &failure.to_string(), (rejected, &[]), as_json)
}

fn fail(
    tenant: &TenantId,
    exit: Exit,
    reason: &str,
    (rejected, left): (&[RejectedRow], &[&RowEnd]),
    as_json: bool,
) -> Result<Exit, CommandError> {
    if as_json {
        let value = json!({
            "tenant": tenant,
            "error": reason,
            "exit_code": exit.code(),
            "faults": fault_values(rejected),
            "left": left.iter().copied().map(run_rows::value).collect::<Vec<_>>(),
        });
        answer(&format!("{value:#}\n"))?;
    } else {
        answer(&(fault_table(rejected) + &run_rows::left_table(left.iter().copied())))?;
    }
    complain(&format!("{tenant}: {reason}"));
    Ok(exit)
}

/// What the owner of the database knows of a tenant that does nothing.
fn waited(row: &TroubleRow) -> Carried {
    match Trouble::parse(&row.trouble) {
        Some(trouble) if trouble != Trouble::Outage => Carried::Trouble(trouble),
        _ => {
            let said = format!("the tenant does not answer: {}", row.reason);
            Carried::Waited(Some(LastWord { blame: Blame::Unreachable, said }))
        }
    }
}

/// Follows what the owner of the database makes of a run.
async fn follow(
    store: &Store,
    database: &Path,
    run: &Run,
    patience: Duration,
    parts: &Parts,
    stop: &CancellationToken,
) -> Result<Carried, daemon::RunFailure> {
    let clock = &parts.clock;
    let mut patience = Patience::new(store, run.id, clock, patience).await?;
    loop {
        match store.run(run.id).await?.state {
            RunState::Finished => return Ok(Carried::Ended(RunEnd::Finished)),
            RunState::Stopped => return Ok(Carried::Ended(RunEnd::Stopped)),
            RunState::Superseded => return Ok(Carried::Ended(RunEnd::Superseded)),
            RunState::Reading | RunState::Open => {}
        }
        if stop.is_cancelled() {
            return Ok(Carried::GoesOn);
        }
        if Store::occupant(database)?.is_none() {
            complain(
                "the daemon has ended; it goes on after its next start, or when this command is run again",
            );
            return Ok(Carried::Stopped);
        }
        if patience.is_over().await? {
            let troubles = store.troubles(&run.tenant).await?;
            return Ok(troubles.first().map_or(Carried::Waited(None), |(_, row)| waited(row)));
        }
        clock.sleep(LOOK).await;
    }
}
