//! `rosterd sync`: one pass for each tenant, then delivery until nothing waits.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::select::Selected;
use super::{CommandError, Exit, answer, complain, error};
use crate::audit::Audit;
use crate::config::{self, Sources, TenantSettings};
use crate::daemon::{self, Parts, PassError, StopOnSignal, SyncEnd, Tenant};
use crate::model::PassResult;
use crate::store::Store;

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

/// Syncs the selected tenants side by side.
///
/// # Errors
/// When standard output cannot be written.
pub async fn run(args: SyncArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    for key in &settings.not_in_force {
        tracing::warn!(key, "key not yet in force");
    }
    let (database, written) = (settings.store.clone(), settings.audit.clone());
    let tenants = args.selected.of(settings)?;
    let parts = Parts::default();
    let store = Store::own(&database, parts.clock.now()).await?;
    let audit = daemon::open_audit(&written, &store, parts.clock.now()).await?;
    let stop = StopOnSignal::default();
    let all = join_all(tenants.into_iter().map(|tenant| one(tenant, (&store, &audit), &parts, &args, &stop)));
    let Some(ends) = stop.run(all).await? else { return Ok(Exit::Failed) };
    store.prune(parts.clock.now()).await?;
    store.close().await;
    report(&ends, args.json)
}

type End = (String, Result<SyncEnd, PassError>);

async fn one(
    settings: TenantSettings,
    (store, audit): (&Store, &Audit),
    parts: &Parts,
    args: &SyncArgs,
    stop: &StopOnSignal,
) -> Result<End, CommandError> {
    let name = settings.name.to_string();
    let mut tenant = Tenant::new(settings, store, audit, parts)?;
    let end = daemon::sync(&mut tenant, store, &parts.clock, args.full, args.wait, &stop.stop).await;
    Ok((name, end))
}

fn report(ends: &[Result<End, CommandError>], as_json: bool) -> Result<Exit, CommandError> {
    let mut exit = Exit::Done;
    let (mut text, mut values) = (String::new(), Vec::new());
    for end in ends {
        let (name, end) = end.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
        let own = match end {
            Ok(end) => {
                text.push_str(&line(name, end));
                exit_of(end)
            }
            Err(error) => {
                complain(&format!("{name}: {error}"));
                error::of_pass(error)
            }
        };
        values.push(value(name, end, own));
        exit = exit.worse(own);
    }
    answer(&if as_json { format!("{:#}\n", json!({ "tenants": values })) } else { text })?;
    Ok(exit)
}

fn line(name: &str, end: &SyncEnd) -> String {
    let (totals, operations) = (end.report.totals, end.operations);
    let mut line = format!(
        "{name}: {} pass {} {}: {} users read, {} planned; {} delivered, {} still waiting, {} dead letters",
        end.report.kind,
        end.report.id,
        end.report.result,
        totals.users_read,
        totals.planned,
        end.delivered,
        end.open,
        operations.dead
    );
    if totals.unreadable > 0 {
        let _ = write!(line, ", {} records unreadable", totals.unreadable);
    }
    if let Some(trouble) = end.trouble {
        let _ = write!(line, " ({})", trouble.as_str());
    }
    line + "\n"
}

fn value(name: &str, end: &Result<SyncEnd, PassError>, exit: Exit) -> Value {
    match end {
        Err(error) => json!({
            "tenant": name,
            "exit_code": exit.code(),
            "error": error.to_string(),
        }),
        Ok(end) => json!({
            "tenant": name,
            "exit_code": exit.code(),
            "pass": end.report.id,
            "kind": end.report.kind.as_str(),
            "result": end.report.result.as_str(),
            "users_read": end.report.totals.users_read,
            "pages": end.report.totals.pages,
            "planned": end.report.totals.planned,
            "skipped": end.report.totals.skipped,
            "unreadable": end.report.totals.unreadable,
            "delivered": end.delivered,
            "waiting": end.open,
            "held": end.operations.held,
            "dead_letters": end.operations.dead,
            "trouble": end.trouble.map(crate::deliver::Trouble::as_str),
        }),
    }
}

fn exit_of(end: &SyncEnd) -> Exit {
    let left = end.open + end.operations.dead + end.operations.held;
    match error::of_trouble(end.trouble) {
        Some(exit) if end.open > 0 => exit,
        _ if left > 0 || end.report.result != PassResult::Ok => Exit::Left,
        _ => Exit::Done,
    }
}
