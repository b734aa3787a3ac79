//! What is said of the end of an attempt: in the log, in the database, and in the audit.

use tracing::{error, info, warn};

use super::attempt::{Outcome, Sent};
use super::vitals::Vitals;
use crate::audit::Entry;
use crate::model::{Payload, TeamId, TenantId};
use crate::scim::{Failure, Verdict};
use crate::store::{Note, Step, Unclear};
use crate::telemetry;

/// Logs and counts it; the operation's span must be entered.
pub(super) fn report(outcome: &Outcome, step: &Step, vitals: &Vitals) {
    let operation = &outcome.leased.operation;
    let attempt = i64::from(outcome.leased.attempts) + 1;
    let duration_ms = i64::try_from(outcome.took.as_millis()).unwrap_or(i64::MAX);
    let Payload::Teams(teams) = &operation.payload;
    let failure = match &outcome.result {
        Ok(Sent::Written { receipt, verified }) if *step == Step::Done => {
            vitals.delivered.add(1);
            info!(
                cause = operation.cause.as_str(),
                teams_added = join(&teams.added),
                teams_removed = join(&teams.removed),
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
    let teams = teams.teams.union(&teams.removed).map(TeamId::as_str);
    let ids: Vec<&str> = teams.chain([operation.user.as_str()]).collect();
    let reason = telemetry::redact::text_about(&failure.reason, &ids);
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

/// What the audit tells of an operation that was done.
pub(super) fn entry(tenant: &TenantId, outcome: &Outcome) -> Option<Entry> {
    let Ok(Sent::Written { receipt, verified }) = &outcome.result else { return None };
    let leased = &outcome.leased;
    let Payload::Teams(teams) = &leased.operation.payload;
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
    let Payload::Teams(teams) = &unclear.payload;
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

fn join(teams: &std::collections::BTreeSet<TeamId>) -> String {
    teams.iter().map(TeamId::as_str).collect::<Vec<_>>().join(",")
}
