//! `rosterd status`: what the database knows, while the daemon runs or while it does not.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::select::Selected;
use super::{CommandError, Exit, answer};
use crate::clock::Clock;
use crate::config::{self, Sources};
use crate::deliver::Trouble;
use crate::model::Timestamp;
use crate::store::{Occupant, Part, PassRow, Request, Store, TenantStatus, TroubleRow};

/// Passes that are shown.
const PASSES: u32 = 5;

/// Show how far each tenant has been read, and what waits
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    selected: Selected,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Answers on standard output.
///
/// # Errors
/// When the database or standard output fails.
pub async fn run(args: StatusArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let database = settings.store.clone();
    let store = Store::beside(&database).await?;
    let tenants = args.selected.of(settings)?;
    let now = Clock::system().now();
    let owner = Store::occupant(&database)?;
    let (mut text, mut values) = (owner_text(owner.as_ref()), Vec::new());
    for tenant in tenants {
        let status = store.status(&tenant.name, PASSES).await?;
        let troubles = store.troubles(&tenant.name).await?;
        text.push_str(&to_text(tenant.name.as_str(), &status, &troubles, now));
        values.push(to_json(tenant.name.as_str(), &status, &troubles));
    }
    let owner = owner.map(|owner| json!({ "pid": owner.pid }));
    let values = json!({ "owner": owner, "tenants": values });
    answer(&if args.json { format!("{values:#}\n") } else { text })?;
    Ok(Exit::Done)
}

fn owner_text(owner: Option<&Occupant>) -> String {
    match owner {
        Some(Occupant { pid: Some(pid) }) => format!("process {pid} is at work\n"),
        Some(Occupant { pid: None }) => "a process is at work\n".to_owned(),
        None => "no daemon is at work\n".to_owned(),
    }
}

type Troubles = [(Part, TroubleRow)];

fn to_text(name: &str, status: &TenantStatus, troubles: &Troubles, now: Timestamp) -> String {
    let mut out = format!("tenant {name}\n");
    let mut row = |word: &str, value: String| {
        let _ = writeln!(out, "  {word:15}{value}");
    };
    for (part, trouble) in troubles {
        row(part.as_str(), trouble_text(trouble, now));
    }
    let operations = &status.operations;
    row("users known", status.users.to_string());
    row("watermark", ago(status.state.watermark, now, "none yet: the next pass reads all users"));
    row("last sweep", ago(status.state.last_sweep, now, "none yet"));
    row(
        "waiting",
        format!(
            "{} ready, {} in flight, {} to be decided anew, {} held, {} users to be read again",
            operations.ready, operations.in_flight, operations.stale, operations.held, status.rereads
        ),
    );
    if let Some(oldest) = status.oldest_waiting {
        row("oldest waiting", ago(Some(oldest), now, ""));
    }
    row("dead letters", operations.dead.to_string());
    row("delivered", format!("{} in the last 7 days", operations.done));
    for request in &status.requests {
        row(&format!("request {}", request.id), request_text(request, now));
    }
    for pass in &status.passes {
        row(&format!("pass {}", pass.id), pass_text(pass, now));
    }
    out
}

fn request_text(request: &Request, now: Timestamp) -> String {
    let begun = if request.taken_at.is_some() { "begun" } else { "waits" };
    format!("{}, asked {}, {begun}", request.what, ago(Some(request.asked_at), now, ""))
}

fn trouble_text(row: &TroubleRow, now: Timestamp) -> String {
    let what = match row.trouble.as_str() {
        outage if outage == Trouble::Outage.as_str() => "the tenant does not answer".to_owned(),
        other => format!("quarantined ({other})"),
    };
    let since = ago(Some(row.since), now, "");
    format!("{what} since {since} because {}; next try {}", row.reason, row.until)
}

fn pass_text(pass: &PassRow, now: Timestamp) -> String {
    let result = pass.result.as_deref().unwrap_or("running");
    let mut text = format!(
        "{} {result}, began {}, {} users read, {} planned",
        pass.kind,
        ago(Some(pass.started_at), now, ""),
        pass.totals.users_read,
        pass.totals.planned
    );
    if let Some(reason) = &pass.reason {
        let _ = write!(text, " ({reason})");
    }
    text
}

fn ago(at: Option<Timestamp>, now: Timestamp, never: &str) -> String {
    let Some(at) = at else { return never.to_owned() };
    let age = Duration::from_secs(now.since(at).as_secs());
    format!("{at} ({} ago)", humantime::format_duration(age))
}

fn to_json(name: &str, status: &TenantStatus, troubles: &Troubles) -> Value {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let operations = &status.operations;
    json!({
        "tenant": name,
        "users": status.users,
        "watermark": text(status.state.watermark),
        "last_sweep": text(status.state.last_sweep),
        "sweep_wanted": status.state.sweep_wanted,
        "rereads": status.rereads,
        "requests": status.requests.iter().map(request_json).collect::<Vec<_>>(),
        "troubles": troubles.iter().map(trouble_json).collect::<Vec<_>>(),
        "oldest_waiting": text(status.oldest_waiting),
        "operations": {
            "ready": operations.ready,
            "in_flight": operations.in_flight,
            "stale": operations.stale,
            "held": operations.held,
            "dead_letters": operations.dead,
            "delivered": operations.done,
        },
        "passes": status.passes.iter().map(pass_json).collect::<Vec<_>>(),
    })
}

fn request_json(request: &Request) -> Value {
    json!({
        "id": request.id,
        "what": request.what,
        "operator": request.operator,
        "asked_at": request.asked_at.to_string(),
        "taken_at": request.taken_at.map(|at| at.to_string()),
    })
}

fn trouble_json((part, row): &(Part, TroubleRow)) -> Value {
    json!({
        "part": part.as_str(),
        "trouble": row.trouble,
        "reason": row.reason,
        "since": row.since.to_string(),
        "until": row.until.to_string(),
    })
}

fn pass_json(pass: &PassRow) -> Value {
    json!({
        "id": pass.id,
        "kind": pass.kind.as_str(),
        "started_at": pass.started_at.to_string(),
        "finished_at": pass.finished_at.map(|at| at.to_string()),
        "result": pass.result,
        "reason": pass.reason,
        "users_read": pass.totals.users_read,
        "pages": pass.totals.pages,
        "planned": pass.totals.planned,
        "skipped": pass.totals.skipped,
        "unreadable": pass.totals.unreadable,
    })
}
