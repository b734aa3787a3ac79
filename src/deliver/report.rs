//! What is said of the end of an attempt: in the log, in the database, and in the audit.

use std::borrow::Cow;
use std::time::Duration;

use tracing::{error, info, warn};

use super::attempt::{Outcome, Sent};
use super::vitals::Vitals;
use crate::audit::Entry;
use crate::model::{Kind, Operation, Payload, ProfilePayload, TeamId, TenantId, UserId};
use crate::scim::{Failure, Receipt, Verdict};
use crate::store::{Leased, Note, Step, Unclear};
use crate::telemetry;

/// Logs and counts it; the operation's span must be entered.
pub(super) fn report(outcome: &Outcome, step: &Step, vitals: &Vitals) {
    let operation = &outcome.leased.operation;
    let attempt = i64::from(outcome.leased.attempts) + 1;
    let duration_ms = i64::try_from(outcome.took.as_millis()).unwrap_or(i64::MAX);
    let (teams, about_teams) = (operation.payload.teams(), operation.payload.kind() == Kind::Teams);
    let failure = match &outcome.result {
        Ok(Sent::Written { receipt, verified }) if *step == Step::Done => {
            vitals.delivered.add(1);
            info!(
                cause = operation.cause.as_str(),
                teams_added = about_teams.then(|| join(&teams.added)),
                teams_removed = about_teams.then(|| join(&teams.removed)),
                changed = (!about_teams).then(|| names(&operation.payload)),
                created = receipt.created.as_ref().map(UserId::as_str),
                attempt,
                duration_ms,
                correlation_id = receipt.correlation_id.as_deref(),
                verified = verified.then_some(true),
                "operation delivered"
            );
            return;
        }
        Ok(_) => return,
        Err(failure) => failure,
    };
    let status = failure.status.map(i64::from);
    let reason = reason(operation, failure);
    let correlation_id = failure.correlation_id.as_deref();
    match step {
        Step::Released => return,
        Step::Dead => {
            vitals.dead.add(1);
            error!(status, %reason, correlation_id, attempt, duration_ms, "operation is a dead letter");
        }
        Step::Gone => warn!(status, %reason, correlation_id, attempt, duration_ms, "user is gone"),
        Step::Stale { due } => {
            info!(status, %reason, correlation_id, attempt, retry_at = %due, "user has changed meanwhile");
        }
        Step::LookUp { met, .. } => {
            info!(status, %reason, correlation_id, attempt, duration_ms, met = met.as_str(), "user is looked up");
        }
        Step::Later { due, .. } if failure.verdict == Verdict::Ignored => {
            error!(%reason, correlation_id, attempt, duration_ms, retry_at = %due, "write was ignored");
        }
        Step::Later { due, .. } => {
            warn!(status, %reason, correlation_id, attempt, duration_ms, retry_at = %due, "attempt failed");
        }
        Step::Done => {}
    }
    vitals.failures.add(1);
}

/// Logs what a bulk request has given up, or for whom nobody is there, where no span says whose operation it is.
pub(super) fn given_up(
    tenant: &TenantId,
    leased: &Leased,
    (step, failure): (&Step, &Failure),
    (correlation_id, took): (Option<&str>, Duration),
) {
    macro_rules! say {
        ($level:ident, $what:literal) => {
            $level!(
                %tenant,
                user = leased.operation.user.as_str(),
                operation = %leased.id,
                status = failure.status.map(i64::from),
                reason = %reason(&leased.operation, failure),
                correlation_id,
                attempt = i64::from(leased.attempts) + 1,
                duration_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
                $what
            )
        };
    }
    match step {
        Step::Dead => say!(error, "operation is a dead letter"),
        Step::Gone => say!(warn, "user is gone"),
        Step::Done | Step::Later { .. } | Step::Released | Step::Stale { .. } | Step::LookUp { .. } => {}
    }
}

/// What the tenant said, with nothing of the user but what the operation itself names.
fn reason<'a>(operation: &Operation, failure: &'a Failure) -> Cow<'a, str> {
    let teams = operation.payload.teams();
    let teams = teams.teams.union(&teams.removed).map(TeamId::as_str);
    let names = operation.payload.names();
    let ids = teams.chain([operation.user.as_str()]).chain(telemetry::redact::names(names));
    let ids: Vec<&str> = ids.collect();
    telemetry::redact::text_about(&failure.reason, &ids)
}

/// What the audit tells of an operation that was done.
pub(super) fn entry(tenant: &TenantId, outcome: &Outcome) -> Option<Entry> {
    let Ok(Sent::Written { receipt, verified }) = &outcome.result else { return None };
    let leased = &outcome.leased;
    let payload = &leased.operation.payload;
    if payload.kind() != Kind::Teams {
        return Some(written(tenant, leased, receipt));
    }
    let teams = payload.teams();
    Some(Entry::ChangeApplied {
        tenant: tenant.clone(),
        user: leased.operation.user.clone(),
        operation: leased.id,
        kind: leased.operation.payload.kind(),
        cause: leased.operation.cause,
        teams_added: teams.added.clone(),
        teams_removed: teams.removed.clone(),
        roles: teams.roles.clone(),
        mapping: leased.mapping.clone(),
        pass: leased.pass,
        attempt: leased.attempts + 1,
        request_id: receipt.correlation_id.clone(),
        verified: verified.then_some(true),
    })
}

/// What the audit tells of a row that was carried out.
pub(super) fn written(tenant: &TenantId, leased: &Leased, receipt: &Receipt) -> Entry {
    let operation = &leased.operation;
    Entry::UserWritten {
        tenant: tenant.clone(),
        user: receipt.created.clone().unwrap_or_else(|| operation.user.clone()),
        external_id: new_external_id(&operation.payload),
        operation: leased.id,
        kind: operation.payload.kind(),
        cause: operation.cause,
        attributes: operation.payload.names().into_iter().map(str::to_owned).collect(),
        pass: leased.pass,
        attempt: leased.attempts + 1,
        request_id: receipt.correlation_id.clone(),
        looked_up: false,
    }
}

/// By which HR knows whoever is created.
fn new_external_id(payload: &Payload) -> Option<String> {
    let Payload::Profile(ProfilePayload::Create { user }) = payload else { return None };
    user.get("externalId")?.as_str().map(str::to_owned)
}

/// What the audit tells of a row that the tenant has not taken.
pub(super) fn refused(tenant: &TenantId, leased: &Leased, failure: &Failure) -> Entry {
    Entry::UserNotWritten {
        tenant: tenant.clone(),
        user: leased.operation.user.clone(),
        operation: leased.id,
        kind: leased.operation.payload.kind(),
        cause: leased.operation.cause,
        pass: leased.pass,
        attempt: leased.attempts + 1,
        status: failure.status,
        request_id: failure.correlation_id.clone(),
    }
}

/// Whether the attempt may have changed the user, and does not count as done.
pub(super) fn unclear(result: &Result<Sent, Failure>, step: &Step) -> bool {
    match result {
        Ok(Sent::Written { .. }) => *step != Step::Done,
        Ok(Sent::Read) => false,
        Err(failure) => failure.unclear,
    }
}

/// What the audit tells of what may have been done, and ended otherwise.
pub(super) fn unclear_entry(tenant: &TenantId, unclear: &Unclear) -> Entry {
    let teams = unclear.payload.teams();
    Entry::ChangeUnclear {
        tenant: tenant.clone(),
        user: unclear.user.clone(),
        operation: unclear.operation,
        kind: unclear.payload.kind(),
        cause: unclear.cause,
        teams_added: teams.added.clone(),
        teams_removed: teams.removed.clone(),
        roles: teams.roles.clone(),
        mapping: unclear.mapping.clone(),
        pass: unclear.pass,
        attempt: unclear.attempt,
    }
}

/// What is kept of the answer, if there was one.
pub(super) fn note(result: &Result<Sent, Failure>) -> Option<Note> {
    match result {
        Ok(Sent::Written { receipt, .. }) => {
            Some(Note { correlation_id: receipt.correlation_id.clone(), ..Note::default() })
        }
        Ok(Sent::Read) => None,
        Err(failure) if failure.verdict == Verdict::NotSent => None,
        Err(failure) => Some(Note {
            status: failure.status,
            reason: Some(failure.reason.clone()),
            correlation_id: failure.correlation_id.clone(),
            answer: failure.answer.clone(),
        }),
    }
}

/// The names of what was written, as far as they fit on a line.
fn names(payload: &Payload) -> String {
    const MOST: usize = 20;
    let names = payload.names();
    let shown: Vec<&str> = names.iter().copied().take(MOST).collect();
    let more = names.len().saturating_sub(MOST);
    if more == 0 { shown.join(",") } else { format!("{},… and {more} more", shown.join(",")) }
}

fn join(teams: &std::collections::BTreeSet<TeamId>) -> String {
    teams.iter().map(TeamId::as_str).collect::<Vec<_>>().join(",")
}
