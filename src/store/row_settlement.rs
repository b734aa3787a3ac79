//! `run_rows`: what the end of an operation makes of the rows that it carries.
//!
//! Whatever may have been done is looked up; nothing is guessed here.

use sqlx::SqliteConnection;

use super::rows::{UNNAMED, number};
use super::{StoreError, provisioned};
use crate::model::{Action, Met, Outcome, TenantId, Timestamp, UserId};

/// How an operation that carries a row has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowSettled {
    /// It is done.
    Done,
    /// It was given up.
    Failed,
    /// Whether it is done has to be looked up.
    LookUp(Met, Timestamp),
}

/// The end of an operation, for the rows that it carries.
pub(super) struct Settled<'a> {
    pub(super) end: RowSettled,
    pub(super) reason: Option<&'a str>,
    pub(super) latency_ms: Option<i64>,
    pub(super) attempts: i64,
    pub(super) user: Option<&'a UserId>,
}

/// The operation `operation` has come to its end: so have the rows that it carries. What a creation has made is known by
/// `user` from now on.
pub(super) async fn settle(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    operation: i64,
    settled: &Settled<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows: Vec<(i64, i64, Option<String>)> =
        sqlx::query_as("SELECT run, line, action FROM run_rows WHERE operation = $1 AND state = 'planned'")
            .bind(operation)
            .fetch_all(&mut *tx)
            .await?;
    for (run, line, action) in rows {
        let action = action.as_deref().and_then(Action::parse);
        let ended = match settled.end {
            // No row says how he is to be: the next run finds that he is not named, and decides anew.
            RowSettled::LookUp(..) if number(line) >= UNNAMED => RowSettled::Failed,
            end => end,
        };
        let (state, outcome) = match ended {
            RowSettled::Done => ("finished", action.map(Action::outcome)),
            RowSettled::Failed => ("finished", Some(Outcome::Failed)),
            RowSettled::LookUp(..) => ("waiting", None),
        };
        let (met, due) = match ended {
            RowSettled::LookUp(met, due) => (met, due),
            RowSettled::Done | RowSettled::Failed => (Met::Nothing, now),
        };
        sqlx::query(
            "UPDATE run_rows SET state = $3, outcome = $4, reason = $5, met = $6, latency_ms = $7, attempts = $8,
                 user_id = coalesce($9, user_id), conflicted = conflicted OR $6 = 'conflict', due_at = $11,
                 finished_at = CASE WHEN $3 = 'finished' THEN $10 END,
                 wanted = CASE WHEN $3 = 'finished' THEN NULL ELSE wanted END
             WHERE run = $1 AND line = $2",
        )
        .bind(run)
        .bind(line)
        .bind(state)
        .bind(outcome.map(Outcome::as_str))
        .bind(settled.reason)
        .bind(met.as_str())
        .bind(settled.latency_ms)
        .bind(settled.attempts)
        .bind(settled.user.map(UserId::as_str))
        .bind(now.millis())
        .bind(due.millis())
        .execute(&mut *tx)
        .await?;
        if let (RowSettled::Done, Some(user)) = (ended, settled.user) {
            if action == Some(Action::Deactivate) {
                provisioned::set_deactivated(tx, tenant, user, true).await?;
            } else {
                provisioned::remember(tx, tenant, run, number(line), user).await?;
                if action == Some(Action::Reactivate) {
                    provisioned::set_deactivated(tx, tenant, user, false).await?;
                }
            }
        }
        if ended == RowSettled::Failed {
            stop_refused(tx, run, settled.reason, now).await?;
        }
    }
    Ok(())
}

/// A run of which nothing but refusals for one reason come back is stopped: the rest is held.
async fn stop_refused(
    tx: &mut SqliteConnection,
    run: i64,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let stopped = sqlx::query(
        "UPDATE runs SET state = 'stopped', reason = $2
         WHERE id = $1 AND state = 'open' AND stop_after IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND state = 'finished' AND latency_ms IS NOT NULL
                 AND outcome <> 'failed')
             AND (SELECT count(*) FROM run_rows WHERE run = $1 AND state = 'finished' AND outcome = 'failed'
                 AND reason IS $2) >= stop_after",
    )
    .bind(run)
    .bind(reason)
    .execute(&mut *tx)
    .await?;
    if stopped.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query(
        "UPDATE operations SET state = 'held'
         WHERE state = 'ready' AND pass = (SELECT pass FROM runs WHERE id = $1)",
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
