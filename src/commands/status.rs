//! `rosterd status`: what the database knows, while the daemon runs or while it does not.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::outcome::{ago, short, span};
use super::passes::Shown;
use super::select::Selected;
use super::sync::unfinished_value;
use super::{CommandError, Exit, answer, holds, passes};
use crate::clock::Clock;
use crate::config::{self, Sources, TenantSettings};
use crate::daemon::{self, NotInForce};
use crate::deliver::Trouble;
use crate::model::{DigestPrefix, Timestamp, counted};
use crate::store::{
    Drift, Hold, Occupant, Part, PassRow, Request, Store, StoreError, TenantStatus, TroubleRow, WebhookCounts,
};

/// Passes that are shown.
const PASSES: u32 = 5;

/// Show how far each tenant has been read, what waits and what is held
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    selected: Selected,
    /// Show one pass instead: what it decided, and what became of it
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["held", "tenant"])]
    pass: Option<i64>,
    /// Show one run of a file instead: what became of its rows
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["held", "tenant", "pass"])]
    run: Option<i64>,
    /// Show instead what is held under this digest, or under those that start like that
    #[arg(long, value_name = "DIGEST")]
    held: Option<DigestPrefix>,
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
    if let Some(pass) = args.pass {
        return passes::show(&store, pass, now, args.json).await;
    }
    if let Some(run) = args.run {
        let pass = store.known_run(run).await?.ok_or(StoreError::ForgottenRun { run })?.pass;
        return passes::show(&store, pass, now, args.json).await;
    }
    if let Some(digest) = &args.held {
        return holds::show(&store, args.selected.name().as_ref(), digest, now, args.json).await;
    }
    let owner = Store::occupant(&database)?;
    let (mut text, mut values) = (owner_text(owner.as_ref()), Vec::new());
    for tenant in tenants {
        let status = store.status(&tenant.name, PASSES).await?;
        let troubles = store.troubles(&tenant.name).await?;
        let mapping = MappingStatus::of(&tenant, &status);
        let mut shown = Vec::new();
        for pass in &status.passes {
            shown.push(Shown::of(&store, pass).await?);
        }
        let (name, all) = (tenant.name.as_str(), (&status, &shown[..]));
        text.push_str(&to_text(name, all, &mapping, &troubles, now));
        values.push(to_json(name, all, &mapping, &troubles, now));
    }
    let owner = owner.map(|owner| json!({ "pid": owner.pid, "daemon": owner.daemon }));
    let values = json!({ "owner": owner, "tenants": values });
    answer(&if args.json { format!("{values:#}\n") } else { text })?;
    Ok(Exit::Done)
}

/// Which mapping passes decide by.
struct MappingStatus {
    in_force: Option<String>,
    configured: String,
    not_in_force: Option<NotInForce>,
}

impl MappingStatus {
    fn of(tenant: &TenantSettings, status: &TenantStatus) -> Self {
        let configured = tenant.mapping.digest();
        let not_in_force = daemon::not_in_force(&status.state, &configured, &status.holds);
        Self { in_force: status.state.mapping_digest.clone(), configured, not_in_force }
    }
}

fn owner_text(owner: Option<&Occupant>) -> String {
    let Some(Occupant { pid, daemon }) = owner else { return "no daemon is at work\n".to_owned() };
    let process = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
    let what = if *daemon { "" } else { ": a command, no daemon" };
    format!("{process} is at work{what}\n")
}

type Troubles = [(Part, TroubleRow)];

fn to_text(
    name: &str,
    (status, shown): (&TenantStatus, &[Shown<'_>]),
    mapping: &MappingStatus,
    troubles: &Troubles,
    now: Timestamp,
) -> String {
    let mut out = format!("tenant {name}\n");
    for hold in &status.holds {
        out.push_str(&holds::text(hold, now));
    }
    let mut row = |word: &str, value: String| {
        let _ = writeln!(out, "  {word:15}{value}");
    };
    for (part, trouble) in troubles {
        row(part.as_str(), trouble_text(*part, trouble, now));
    }
    let when = |at: Option<Timestamp>, never: &str| at.map_or(never.to_owned(), |at| ago(at, now));
    let operations = &status.operations;
    row("users known", status.users.to_string());
    row("watermark", when(status.state.watermark, "none yet: the next pass reads all users"));
    row("last read", when(status.state.last_read, "none yet"));
    row("last sweep", when(status.state.last_sweep, "none yet"));
    if let Some(drift) = status.last_sweep.as_ref().map(|sweep| sweep.drift).filter(Drift::any) {
        row("drift", passes::drift_text(drift));
    }
    row("mapping", mapping.in_force.as_deref().map_or("none yet", short).to_owned());
    if let Some(why) = mapping.not_in_force {
        row("configured", format!("{}: {}", short(&mapping.configured), why.explained()));
    }
    row("not applied", not_applied(status, now));
    row(
        "waiting",
        format!(
            "{} ready, {} in flight, {} to be decided anew, {} held, {} to be read again, {} of files",
            operations.ready,
            operations.in_flight,
            operations.stale,
            operations.held,
            counted(status.rereads, "user", "users"),
            counted(status.unfinished.iter().map(|run| run.open).sum::<u64>(), "open row", "open rows")
        ),
    );
    if let Some(oldest) = status.oldest_waiting {
        row("oldest waiting", ago(oldest, now));
    }
    row("dead letters", operations.dead.to_string());
    row("delivered", format!("{} in the last 7 days", operations.done));
    if status.webhooks != WebhookCounts::default() {
        row("webhooks", format!("{} waiting, {} dead", status.webhooks.waiting, status.webhooks.dead));
    }
    for request in &status.requests {
        row(&format!("request {}", request.id), request_text(request, now));
    }
    for shown in shown {
        let why = why(shown.pass, &status.holds);
        row(&format!("pass {}", shown.pass.id), passes::line(shown, why.as_deref(), now));
    }
    out
}

/// What is known and not in the tenant, whether somebody still waits for it or not.
fn not_applied(status: &TenantStatus, now: Timestamp) -> String {
    let (dead, discarded) = (status.operations.dead, status.discarded);
    let parts = [
        status.oldest_unapplied.map(|oldest| format!("the oldest change is {} old", span(now.since(oldest)))),
        (dead > 0).then(|| counted(dead, "dead letter", "dead letters")),
        (discarded > 0).then(|| {
            counted(
                discarded,
                "discarded operation whose user no pass has read since",
                "discarded operations whose users no pass has read since",
            )
        }),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing: all that is known is in the tenant".to_owned() } else { parts.join("; ") }
}

/// Why a pass is not ok. What is held says so above, and is not told again.
fn why(pass: &PassRow, holds: &[Hold]) -> Option<String> {
    let reason = pass.reason.as_deref()?;
    let hold = holds.iter().find(|hold| Some(hold.id) == pass.hold);
    Some(match (hold, &pass.hold_decision) {
        (Some(hold), _) => format!("held as {}", short(&hold.digest)),
        (None, Some(decision)) => format!("was held: {decision} since"),
        (None, None) => reason.to_owned(),
    })
}

fn request_text(request: &Request, now: Timestamp) -> String {
    let begun = if request.taken_at.is_some() { "begun" } else { "waits" };
    format!("{}, asked {}, {begun}", request.what, ago(request.asked_at, now))
}

fn trouble_text(part: Part, row: &TroubleRow, now: Timestamp) -> String {
    let what = match row.trouble.as_str() {
        _ if part == Part::Export => "cannot be read".to_owned(),
        outage if outage == Trouble::Outage.as_str() => "the tenant does not answer".to_owned(),
        other => format!("quarantined ({other})"),
    };
    let since = ago(row.since, now);
    format!("{what} since {since} because {}; next try {}", row.reason, row.until)
}

fn to_json(
    name: &str,
    (status, shown): (&TenantStatus, &[Shown<'_>]),
    mapping: &MappingStatus,
    troubles: &Troubles,
    now: Timestamp,
) -> Value {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let seconds = |at: Option<Timestamp>| at.map(|at| now.since(at).as_secs());
    let operations = &status.operations;
    let drift = status.last_sweep.as_ref().map(|sweep| passes::drift_value(sweep.drift));
    json!({
        "tenant": name,
        "users": status.users,
        "watermark": text(status.state.watermark),
        "last_sweep": text(status.state.last_sweep),
        "last_complete_read": text(status.state.last_read),
        "last_complete_read_seconds": seconds(status.state.last_read),
        "oldest_change_not_applied_seconds": seconds(status.oldest_unapplied),
        "drift": drift,
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
            "discarded": status.discarded,
            "delivered": operations.done,
        },
        "unfinished_runs": status.unfinished.iter().map(unfinished_value).collect::<Vec<_>>(),
        "webhooks": { "waiting": status.webhooks.waiting, "dead": status.webhooks.dead },
        "holds": status.holds.iter().map(holds::value).collect::<Vec<_>>(),
        "mapping": {
            "in_force": mapping.in_force,
            "configured": mapping.configured,
            "not_in_force": mapping.not_in_force.map(NotInForce::as_str),
        },
        "passes": shown.iter().map(passes::value).collect::<Vec<_>>(),
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
