//! `rosterd explain USER`: why somebody is in his teams, or is not.
//!
//! It answers with ids only; a `userName` is no more than what the operator typed.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::outcome::{self, ago, short, span};
use super::select::Selected;
use super::{CommandError, Exit, answer, complain};
use crate::clock::Clock;
use crate::config::{self, Sources, TenantSettings};
use crate::daemon::{self, Explained, NotInForce, Parts, Standing};
use crate::model::{Operation, State, Timestamp, UserId};
use crate::store::{Sent, Store, StoreError};

/// Say why a user is in his teams: his roles, the rules that hit, what waits and what was sent
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// The user's SCIM id, or his userName
    user: String,
    #[command(flatten)]
    selected: Selected,
    /// Read his record from the tenant now, also if a pass has read it
    #[arg(long)]
    live: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Answers for each tenant that knows the user. Only tenants are asked of which none is known to know him.
///
/// # Errors
/// When the database or standard output fails.
pub async fn run(args: ExplainArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let database = settings.store.clone();
    let mut found = Vec::new();
    let (mut exit, mut errors) = (Exit::Done, Vec::new());
    let mut unsure = Vec::new();
    for tenant in args.selected.of(settings)? {
        let store = match Store::beside(&database).await {
            Err(StoreError::NotThere { .. }) => Store::scratch(&database, &tenant.name).await?,
            other => other?,
        };
        match daemon::explain_known(&tenant, &store, &UserId::from(args.user.as_str())).await? {
            Some(explained) if !args.live => found.push(explained),
            _ => unsure.push((tenant, store)),
        }
    }
    if found.is_empty() {
        let parts = Parts::default();
        for (tenant, store) in &unsure {
            match daemon::explain(tenant, store, &args.user, &parts).await {
                Ok(explained) => found.extend(explained),
                Err(error) => {
                    let error = failed(tenant, error);
                    complain(&error.to_string());
                    exit = exit.worse(error.exit());
                    let code = error.exit().code();
                    errors.push(
                        json!({ "tenant": tenant.name, "error": error.to_string(), "exit_code": code }),
                    );
                }
            }
        }
    }
    if found.is_empty() && exit == Exit::Done {
        let text = format!("no user {:?}: neither an id nor a userName that a tenant knows", args.user);
        return Err(CommandError::Unknown(text));
    }
    let now = Clock::system().now();
    answer(&if args.json {
        let values: Vec<Value> = found.iter().map(|explained| value(explained, now)).chain(errors).collect();
        format!("{:#}\n", json!({ "tenants": values }))
    } else {
        found.iter().map(|explained| text(explained, now)).collect()
    })?;
    Ok(exit)
}

fn failed(tenant: &TenantSettings, error: daemon::PreviewError) -> CommandError {
    CommandError::Preview { tenant: tenant.name.to_string(), error: Box::new(error) }
}

/// The answer in a sentence.
fn headline(explained: &Explained, now: Timestamp) -> String {
    let open = explained.work.open();
    let what = open.map(|sent| &sent.operation).or(explained.decision.as_ref()).map(moves);
    let what = what.unwrap_or_default();
    match (explained.standing, open) {
        (Standing::Right, _) => "is in the right teams".to_owned(),
        (Standing::NotPlanned, _) => format!("should {what}: no pass has decided that yet"),
        (Standing::ReadAgain, _) => match explained.work.reread_at.filter(|due| *due > now) {
            Some(due) => format!("his record has to be read again, in {}, at {due}", span(due.since(now))),
            None => "his record has to be read again, with the next pass".to_owned(),
        },
        (Standing::Held, Some(_)) => {
            let digest = explained.held_by.as_deref().map(short).unwrap_or_default();
            format!("should {what}: held until `rosterd approve {digest}` or `rosterd discard {digest}`")
        }
        (Standing::DeadLetter, Some(sent)) => {
            let fate = outcome::fate(sent, now);
            format!("should {what}: its operation {fate}; see `rosterd dead-letters show {}`", sent.id)
        }
        (_, Some(sent)) => format!("will {what}: {}", outcome::text(sent, now)),
        (_, None) => "nothing is open".to_owned(),
    }
}

/// `gain team-a and lose team-b`.
fn moves(operation: &Operation) -> String {
    let teams = operation.payload.teams();
    let part = |verb: &str, teams: String| (!teams.is_empty()).then(|| format!("{verb} {teams}"));
    let parts = [part("gain", list(&teams.added)), part("lose", list(&teams.removed))];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn list<T: ToString>(ids: impl IntoIterator<Item = T>) -> String {
    ids.into_iter().map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
}

fn text(explained: &Explained, now: Timestamp) -> String {
    let user = &explained.user;
    let mut out = format!("user {} of tenant {}: {}\n", user.id, explained.tenant, headline(explained, now));
    let mut row = |word: &str, value: String| {
        let value = if value.is_empty() { "none".to_owned() } else { value };
        let _ = writeln!(out, "  {word:15}{value}");
    };
    row("record", record(explained, now));
    row("active", if user.active { "yes" } else { "no" }.to_owned());
    for rule in explained.rules.iter().filter(|rule| rule.hit) {
        row("rule", format!("{} → {}", rule.role, list(&rule.teams)));
    }
    let missed = explained.rules.iter().filter(|rule| !rule.hit).map(|rule| &rule.role);
    row("rules not hit", list(missed));
    row("roles unmapped", list(&explained.unmapped));
    if let Some(why) = explained.not_in_force {
        row("mapping", format!("not the configured one: {}", why.explained()));
    }
    row("should be in", format!("{} ({})", or_none(list(&explained.desired.teams)), explained.desired.cause));
    row("is in", list(&explained.current));
    row("left alone", list(&explained.kept));
    row("given by us", list(&explained.granted));
    for sent in &explained.work.operations {
        row(&format!("operation {}", sent.id), history(sent, now));
    }
    out
}

fn or_none(text: String) -> String {
    if text.is_empty() { "no managed team".to_owned() } else { text }
}

fn record(explained: &Explained, now: Timestamp) -> String {
    let age = ago(explained.read_at, now);
    match &explained.known {
        None => format!("read from the tenant at {age}; no pass has seen this user yet"),
        Some(known) if explained.live => {
            format!("read from the tenant at {age}; a pass read it at {}", ago(known.read_at, now))
        }
        Some(known) => {
            let listed = if known.listed { "" } else { "; lists do not show this user" };
            format!("read by pass {} at {age}{listed}", known.pass)
        }
    }
}

fn history(sent: &Sent, now: Timestamp) -> String {
    let teams = sent.operation.payload.teams();
    let roles = if teams.roles.is_empty() { String::new() } else { format!(", {}", list(&teams.roles)) };
    format!(
        "pass {} ({}{roles}) decided: {}; {}",
        sent.pass,
        sent.operation.cause,
        moves(&sent.operation),
        outcome::fate(sent, now)
    )
}

fn value(explained: &Explained, now: Timestamp) -> Value {
    let user = &explained.user;
    let rule = |rule: &daemon::RuleHit| json!({ "role": rule.role, "teams": rule.teams, "hit": rule.hit });
    let open = explained.work.open();
    json!({
        "tenant": explained.tenant,
        "user": user.id,
        "standing": explained.standing.as_str(),
        "answer": headline(explained, now),
        "record": {
            "read_at": explained.read_at.to_string(),
            "age_seconds": now.since(explained.read_at).as_secs(),
            "live": explained.live,
            "seen": explained.known.is_some(),
            "pass": explained.known.as_ref().map(|known| known.pass),
            "listed": explained.known.as_ref().map(|known| known.listed),
            "version": user.version,
        },
        "active": user.active,
        "roles": user.roles,
        "rules": explained.rules.iter().map(rule).collect::<Vec<_>>(),
        "mapping_digest": explained.mapping_digest,
        "mapping_not_in_force": explained.not_in_force.map(NotInForce::as_str),
        "cause": explained.desired.cause.as_str(),
        "desired": explained.desired.teams,
        "current": explained.current,
        "kept": explained.kept,
        "granted": explained.granted,
        "read_again_at": explained.work.reread_at.map(|at| at.to_string()),
        "held_by": explained.held_by,
        "open": open.map(sent_value),
        "next_attempt_at": open.filter(|sent| sent.state == State::Ready).map(|sent| sent.due_at.to_string()),
        "history": explained.work.operations.iter().map(sent_value).collect::<Vec<_>>(),
    })
}

/// An operation with what it changes and why.
fn sent_value(sent: &Sent) -> Value {
    let teams = sent.operation.payload.teams();
    let mut value = outcome::value(sent);
    value["cause"] = json!(sent.operation.cause.as_str());
    value["roles"] = json!(teams.roles);
    value["added"] = json!(teams.added);
    value["removed"] = json!(teams.removed);
    value
}
