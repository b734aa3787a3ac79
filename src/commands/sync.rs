//! `rosterd sync`: one pass for each tenant, then delivery until nothing waits.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::outcome::short;
use super::select::Selected;
use super::{CommandError, Exit, answer, beside_owner, complain, error};
use crate::audit::Audit;
use crate::config::{self, Sources, TenantSettings};
use crate::daemon::{
    self, Ask, AskError, Left, Ownership, Parts, PassError, Report, StopOnSignal, SyncEnd, Tenant, own_or_ask,
};
use crate::model::{PassResult, RunState, TenantId, counted};
use crate::store::{Store, UnfinishedRun};

/// Run one pass, deliver until no operation is open, and exit
#[derive(Args, Clone, Debug)]
pub struct SyncArgs {
    #[command(flatten)]
    selected: Selected,
    /// Read all users, not only those who have changed
    #[arg(long)]
    full: bool,
    /// How long to wait for delivery after the pass; what still waits then is kept
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Syncs the selected tenants side by side: by ourselves, or through whoever owns the database.
///
/// # Errors
/// When the database or standard output fails.
pub async fn run(args: SyncArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    for key in &settings.not_in_force {
        tracing::warn!(key, "key not yet in force");
    }
    let (database, written) = (settings.store.clone(), settings.audit.clone());
    let tenants = args.selected.of(settings)?;
    let parts = Parts::default();
    let stop = StopOnSignal::default();
    loop {
        let owning = own_or_ask(&database, &parts.clock, &stop.stop, &beside_owner);
        let (ends, daemon) = match stop.run(owning).await?.ok_or(CommandError::Cut)?? {
            Ownership::Ours(store) => {
                let audit = daemon::open_audit(&written, &store, parts.clock.now()).await?;
                let all = alone(&tenants, (&store, &audit), &parts, &args, &stop.stop);
                (stop.run(all).await?.transpose()?, false)
            }
            Ownership::Daemon(owner) => {
                let store = Store::beside(&database).await?;
                let asks: Vec<_> = tenants
                    .iter()
                    .map(|tenant| (tenant.name.clone(), Ask::Sync { full: args.full }))
                    .collect();
                let Some(left) = daemon::leave(&store, &database, &asks, &parts.clock).await? else {
                    continue;
                };
                beside_owner(&owner);
                let each = tenants.iter().zip(&left);
                let all =
                    each.map(|(tenant, left)| beside(&tenant.name, left, &store, &parts, &args, &stop.stop));
                (stop.run(join_all(all)).await?, true)
            }
            Ownership::Stopped => return Err(AskError::Withdrawn.into()),
        };
        return report(&ends.ok_or(CommandError::Cut)?, args.json, daemon);
    }
}

/// How the sync of a tenant ended, or why it did not.
type End = (String, Result<SyncEnd, Failed>);

/// Why a tenant was not synced.
struct Failed {
    reason: String,
    exit: Exit,
}

impl From<PassError> for Failed {
    fn from(error: PassError) -> Self {
        Self { reason: error.to_string(), exit: error::of_blame(error.blame()) }
    }
}

impl From<AskError> for Failed {
    fn from(error: AskError) -> Self {
        Self { reason: error.to_string(), exit: error::of_blame(error.blame()) }
    }
}

async fn alone(
    tenants: &[TenantSettings],
    (store, audit): (&Store, &Audit),
    parts: &Parts,
    args: &SyncArgs,
    stop: &CancellationToken,
) -> Result<Vec<End>, CommandError> {
    let one = async |settings: &TenantSettings| -> Result<End, CommandError> {
        let mut tenant = Tenant::new(settings.clone(), store, audit, parts)?;
        let end = daemon::sync(&mut tenant, store, &parts.clock, args.full, args.wait, stop).await;
        Ok((settings.name.to_string(), end.map_err(Failed::from)))
    };
    let ends = join_all(tenants.iter().map(one)).await.into_iter().collect::<Result<_, _>>()?;
    store.prune(parts.clock.now()).await?;
    store.close().await;
    Ok(ends)
}

async fn beside(
    tenant: &TenantId,
    left: &Left,
    store: &Store,
    parts: &Parts,
    args: &SyncArgs,
    stop: &CancellationToken,
) -> End {
    let end = daemon::sync_beside(tenant, left, store, &parts.clock, args.wait, stop).await;
    (tenant.to_string(), end.map_err(Failed::from))
}

fn report(ends: &[End], as_json: bool, daemon: bool) -> Result<Exit, CommandError> {
    let mut exit = Exit::Done;
    let (mut text, mut values) = (String::new(), Vec::new());
    for (name, end) in ends {
        let own = match end {
            Ok(end) => {
                text.push_str(&line(name, end, daemon));
                exit_of(end)
            }
            Err(failed) => {
                complain(&format!("{name}: {}", failed.reason));
                failed.exit
            }
        };
        values.push(value(name, end, own));
        exit = exit.worse(own);
    }
    answer(&if as_json { format!("{:#}\n", json!({ "tenants": values })) } else { text })?;
    Ok(exit)
}

fn line(name: &str, end: &SyncEnd, daemon: bool) -> String {
    let (totals, operations) = (end.report.totals, end.operations);
    let mut line = format!(
        "{name}: {} pass {} {}: {} read, {} planned; {} delivered, {} still waiting, {}",
        end.report.kind,
        end.report.id,
        end.report.result,
        counted(totals.users_read, "user", "users"),
        totals.planned,
        end.delivered,
        end.open,
        counted(operations.dead, "dead letter", "dead letters")
    );
    if totals.unreadable > 0 {
        let _ = write!(line, ", {} unreadable", counted(totals.unreadable, "record", "records"));
    }
    if end.held > 0 {
        let _ = write!(line, ", {} held: `rosterd status` says why, and how to approve", end.held);
    }
    if let Some(trouble) = end.trouble {
        let _ = write!(line, " ({})", trouble.as_str());
    }
    line.push('\n');
    if let Some(remap) = &end.remap {
        let (id, result, planned) = (remap.id, remap.result, remap.totals.planned);
        let _ = writeln!(line, "{name}: {} pass {id} {result}: {planned} planned", remap.kind);
    }
    for report in [Some(&end.report), end.remap.as_ref()].into_iter().flatten() {
        let Some(reason) = &report.reason else { continue };
        let _ = write!(line, "{name}: pass {}: {reason}", report.id);
        if let Some(digest) = report.digest().map(short) {
            let _ = write!(line, "; `rosterd approve {digest}` or `rosterd discard {digest}` ends it");
        }
        line.push('\n');
    }
    for run in &end.unfinished {
        let _ = writeln!(line, "{name}: {}", unfinished_text(run, daemon));
    }
    line
}

/// What is left of a file, and what can be done about it. Whatever is open a daemon goes on with by itself.
fn unfinished_text(run: &UnfinishedRun, daemon: bool) -> String {
    let UnfinishedRun { id, file, state, open } = run;
    let left = match open {
        0 => "has not come to its end".to_owned(),
        _ => format!("has {}", counted(*open, "open row", "open rows")),
    };
    match (state, daemon) {
        (RunState::Stopped, _) => format!(
            "run {id} of {file} is stopped and {left}: `rosterd status --run {id}` says why; run the same command on that \
             file again, with --force to go on regardless, or give it up with --drop-unfinished"
        ),
        (_, true) => format!("run {id} of {file} {left}: the daemon goes on with it"),
        (_, false) => format!("run {id} of {file} {left}: run the same command on that file again"),
    }
}

/// The same for scripts.
pub(super) fn unfinished_value(run: &UnfinishedRun) -> Value {
    json!({ "run": run.id, "file": run.file, "state": run.state.as_str(), "open": run.open })
}

fn remap_value(remap: &Report) -> Value {
    json!({
        "pass": remap.id,
        "kind": remap.kind.as_str(),
        "result": remap.result.as_str(),
        "reason": remap.reason,
        "digest": remap.digest(),
        "planned": remap.totals.planned,
        "skipped": remap.totals.skipped,
    })
}

fn value(name: &str, end: &Result<SyncEnd, Failed>, exit: Exit) -> Value {
    match end {
        Err(failed) => json!({
            "tenant": name,
            "exit_code": exit.code(),
            "error": failed.reason,
        }),
        Ok(end) => json!({
            "tenant": name,
            "exit_code": exit.code(),
            "pass": end.report.id,
            "kind": end.report.kind.as_str(),
            "result": end.report.result.as_str(),
            "reason": end.report.reason,
            "digest": end.report.digest(),
            "users_read": end.report.totals.users_read,
            "pages": end.report.totals.pages,
            "planned": end.report.totals.planned,
            "skipped": end.report.totals.skipped,
            "unreadable": end.report.totals.unreadable,
            "delivered": end.delivered,
            "waiting": end.open,
            "held": end.operations.held,
            "unfinished_runs": end.unfinished.iter().map(unfinished_value).collect::<Vec<_>>(),
            "dead_letters": end.operations.dead,
            "trouble": end.trouble.map(crate::deliver::Trouble::as_str),
            "remap": end.remap.as_ref().map(remap_value),
        }),
    }
}

fn exit_of(end: &SyncEnd) -> Exit {
    let left = end.open + end.operations.dead + end.operations.held;
    let mut passes = [Some(&end.report), end.remap.as_ref()].into_iter().flatten();
    match error::of_trouble(end.trouble) {
        Some(exit) if end.open > 0 => exit,
        _ if left > 0
            || !end.unfinished.is_empty()
            || passes.any(|report| report.result != PassResult::Ok) =>
        {
            Exit::Left
        }
        _ => Exit::Done,
    }
}
