//! `run_rows`: what the end of an operation makes of the rows that it carries.
//!
//! Whatever may have been done is looked up; nothing is guessed here.

use serde::Serialize;
use sqlx::SqliteConnection;

use super::rows::json;
use super::{StoreError, provisioned};
use crate::model::{Action, Met, Outcome, Refusal, TenantId, Timestamp, UserId};

/// How an operation that carries a row has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowSettled {
    /// It is done.
    Done,
    /// It was given up.
    Failed,
    /// The tenant knows nobody by this id.
    Unresolved,
    /// It was decided otherwise while it was in flight, and is not sent again.
    Superseded,
    /// Whether it is done has to be looked up.
    LookUp(Met, Timestamp),
}

/// The end of an operation, for the rows that it carries.
pub(super) struct Settled<'a> {
    pub(super) operation: i64,
    pub(super) end: RowSettled,
    pub(super) reason: Option<&'a str>,
    /// What the tenant has refused, if that is how it ended.
    pub(super) refusal: Option<&'a Refusal>,
    pub(super) latency_ms: Option<i64>,
    pub(super) attempts: i64,
    pub(super) user: Option<&'a UserId>,
}

/// A row whose operation has ended.
#[derive(Serialize)]
struct Ended<'a> {
    run: i64,
    line: i64,
    state: &'static str,
    outcome: Option<&'static str>,
    reason: Option<&'a str>,
    refusal: Option<String>,
    met: &'static str,
    latency_ms: Option<i64>,
    attempts: i64,
    user: Option<&'a str>,
    due: i64,
    /// Nobody needs to know any more how he is to be named.
    forget: bool,
    #[serde(skip)]
    done: Option<Action>,
}

/// A row that an operation carries: its run and line, what is to be done, the operation, and whether it still says how he is to
/// be, in a run whose place a newer export has taken.
type Carried = (i64, i64, Option<String>, i64, bool, bool);

/// These operations have come to their end: so have the rows that they carry, and those that had failed with them before they were
/// sent once more. What a creation has made is known by its `user` from now on.
pub(super) async fn settle(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    settled: &[Settled<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    if settled.is_empty() {
        return Ok(());
    }
    let operations: Vec<i64> = settled.iter().map(|settled| settled.operation).collect();
    let rows: Vec<Carried> = sqlx::query_as(
        "SELECT r.run, r.line, r.action, r.operation, r.wanted IS NOT NULL, u.state = 'superseded'
         FROM run_rows r JOIN runs u ON u.id = r.run
         WHERE r.operation IN (SELECT value FROM json_each($1)) AND (r.state = 'planned' OR r.outcome IN ('failed', 'unresolved'))",
    )
    .bind(json(&operations)?)
    .fetch_all(&mut *tx)
    .await?;
    let ended: Vec<Ended<'_>> = rows
        .iter()
        .filter_map(|row| {
            let settled = settled.iter().find(|settled| settled.operation == row.3)?;
            Some(end(row, settled, now))
        })
        .collect::<Result<_, _>>()?;
    sqlx::query(
        "UPDATE run_rows SET state = e.value ->> 'state', outcome = e.value ->> 'outcome',
             reason = e.value ->> 'reason', refusal = e.value ->> 'refusal', met = e.value ->> 'met', latency_ms = e.value ->> 'latency_ms',
             attempts = e.value ->> 'attempts', user_id = coalesce(e.value ->> 'user', user_id),
             conflicted = conflicted OR e.value ->> 'met' = 'conflict', due_at = e.value ->> 'due',
             finished_at = iif(e.value ->> 'state' = 'finished', $2, NULL),
             wanted = iif(e.value ->> 'state' = 'finished', NULL, wanted),
             user_name = iif(e.value ->> 'forget', NULL, user_name)
         FROM json_each($1) e WHERE run_rows.run = e.value ->> 'run' AND run_rows.line = e.value ->> 'line'",
    )
    .bind(json(&ended)?)
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    let done = |which: fn(Action) -> bool| {
        let done = ended.iter().filter(move |row| row.done.is_some_and(which));
        done.filter_map(|row| Some((row.run, row.line, row.user?)))
    };
    provisioned::remember(tx, tenant, done(|action| action != Action::Deactivate), now).await?;
    let back = done(|action| action == Action::Reactivate).map(|(.., user)| user);
    provisioned::set_deactivated(tx, tenant, back, false).await?;
    for refused in &ended {
        if let (Some(refusal), Some(reason)) = (&refused.refusal, refused.reason) {
            stop_refused(tx, refused.run, (refusal, reason), now).await?;
        }
    }
    Ok(())
}

fn end<'a>(
    &(run, line, ref action, _, wants, superseded): &Carried,
    settled: &Settled<'a>,
    now: Timestamp,
) -> Result<Ended<'a>, StoreError> {
    let action = action.as_deref().and_then(Action::parse);
    let ended = match settled.end {
        // A newer export says how he is to be; but whom we may have created we must know of.
        RowSettled::LookUp(Met::Conflict | Met::Changed, _) if superseded => RowSettled::Superseded,
        // No row says any more how he is to be: the next run decides anew.
        RowSettled::LookUp(..) if !wants => RowSettled::Failed,
        end => end,
    };
    let (state, outcome) = match ended {
        RowSettled::Done => ("finished", action.map(Action::outcome)),
        RowSettled::Failed => ("finished", Some(Outcome::Failed)),
        RowSettled::Unresolved => ("finished", Some(Outcome::Unresolved)),
        RowSettled::Superseded => ("finished", Some(Outcome::Superseded)),
        RowSettled::LookUp(..) => ("waiting", None),
    };
    let reason = match (settled.end, ended) {
        (RowSettled::LookUp(..), RowSettled::Failed) => settled
            .reason
            .or(Some("it is not known whether it was done: the next run of the file looks it up")),
        _ => settled.reason,
    };
    let (met, due) = match ended {
        RowSettled::LookUp(met, due) => (met, due),
        RowSettled::Done | RowSettled::Failed | RowSettled::Unresolved | RowSettled::Superseded => {
            (Met::Nothing, now)
        }
    };
    let refused = outcome.is_some_and(Outcome::left);
    Ok(Ended {
        run,
        line,
        state,
        outcome: outcome.map(Outcome::as_str),
        reason,
        refusal: settled.refusal.filter(|_| refused).map(json).transpose()?,
        met: met.as_str(),
        latency_ms: settled.latency_ms,
        attempts: settled.attempts,
        user: settled.user.map(UserId::as_str),
        due: due.millis(),
        forget: superseded && state == "finished",
        done: action.filter(|_| ended == RowSettled::Done),
    })
}

/// Whether any row looks up what has become of this operation; what may have been done is not sent again, even if only the next
/// run of the file looks it up.
pub(super) async fn looks_up(
    tx: &mut SqliteConnection,
    operation: i64,
    met: Met,
) -> Result<bool, StoreError> {
    let rows: i64 = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM run_rows WHERE operation = $1 AND (state = 'waiting' OR $2))",
    )
    .bind(operation)
    .bind(met == Met::Unclear)
    .fetch_one(tx)
    .await?;
    Ok(rows > 0)
}

/// The rows that these operations were to carry come to this end, as far as they have come to none.
pub(super) async fn end_with(
    tx: &mut SqliteConnection,
    operations: &[i64],
    (outcome, reason): (Outcome, Option<&str>),
    now: Timestamp,
) -> Result<(), StoreError> {
    if operations.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE run_rows SET state = 'finished', outcome = $2, reason = $3, finished_at = $4, wanted = NULL
         WHERE operation IN (SELECT value FROM json_each($1)) AND state = 'planned'
             AND (outcome IS NULL OR outcome = 'held')",
    )
    .bind(json(&operations)?)
    .bind(outcome.as_str())
    .bind(reason)
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// A run of which nothing but refusals for one reason come back is stopped: the rest is held.
async fn stop_refused(
    tx: &mut SqliteConnection,
    run: i64,
    (refusal, reason): (&str, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    let stopped = sqlx::query(
        "UPDATE runs SET state = 'stopped', reason = $3
         WHERE id = $1 AND state = 'open' AND stop_after IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND state = 'finished' AND outcome = 'updated')
             AND (SELECT count(*) FROM run_rows WHERE run = $1 AND refusal = $2 AND finished_at >= careful_since)
                 >= stop_after",
    )
    .bind(run)
    .bind(refusal)
    .bind(reason)
    .execute(&mut *tx)
    .await?;
    if stopped.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query(
        "UPDATE operations SET state = 'held'
         WHERE state = 'ready' AND pass = (SELECT pass FROM runs WHERE id = $1)
             AND id IN (SELECT operation FROM run_rows WHERE run = $1)",
    )
    .bind(run)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE run_rows SET outcome = 'held', finished_at = $2
         WHERE run = $1 AND outcome IS NULL AND (state = 'waiting'
             OR operation IN (SELECT id FROM operations WHERE state = 'held'))",
    )
    .bind(run)
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}
