//! `run_rows`: what was decided about rows, and the operations that carry it.
//!
//! A row is planned in one transaction with its operation, or ends without one. Why it does is not asked here, only
//! what it takes the place of.

use sqlx::SqliteConnection;

use super::rows::{json, stored, superseded_rows};
use super::{Run, Store, StoreError, provisioned};
use crate::model::{
    Action, AttributesPayload, Cause, Finding, Operation, Outcome, Payload, TenantId, Timestamp, UserId,
};

/// What was decided about a row.
#[derive(Clone, Debug)]
pub struct RowStep {
    /// Where it stands.
    pub line: u64,
    /// Whom it means.
    pub user: Option<UserId>,
    /// By which HR knows him, if no row names him.
    pub external_id: Option<String>,
    /// What is done for it.
    pub next: RowNext,
}

/// What is done for a row.
#[derive(Clone, Debug)]
pub enum RowNext {
    /// This is sent.
    Send {
        /// What it comes to.
        action: Action,
        /// What.
        operation: Operation,
        /// In a bulk request.
        packed: bool,
        /// It counts as so many failed attempts already.
        attempts: u32,
        /// Not before.
        due: Timestamp,
    },
    /// Nothing is.
    End {
        /// What has become of it.
        outcome: Outcome,
        /// Why, if it is not as the row wants it.
        reason: Option<String>,
    },
}

impl Store {
    /// Carries out what was decided about rows of a run, as far as it can be now: a user who has an operation of this kind
    /// in flight is decided later.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved.
    pub async fn decide_rows(&self, run: &Run, steps: &[RowStep], now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for step in steps {
            take(&mut tx, (&run.tenant, run.id, run.pass), step, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Carries out what was decided about rows of a run, but holds it until it is approved under `digest`: nothing of it
    /// can be sent before.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved.
    pub async fn hold_rows(
        &self,
        run: &Run,
        steps: &[RowStep],
        (digest, findings): (&str, &[Finding]),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for step in steps {
            take(&mut tx, (&run.tenant, run.id, run.pass), step, now).await?;
        }
        let hold: i64 = sqlx::query_scalar(
            "INSERT INTO holds (tenant, digest, pass, created_at, operations, findings)
             VALUES ($1, $2, $3, $4, 0, $5)
             ON CONFLICT (tenant, digest) WHERE decision IS NULL DO UPDATE SET findings = excluded.findings, pass = excluded.pass
             RETURNING id",
        )
        .bind(run.tenant.as_str())
        .bind(digest)
        .bind(run.pass)
        .bind(now.millis())
        .bind(json(&findings)?)
        .fetch_one(&mut *tx)
        .await?;
        let lines = serde_json::json!(steps.iter().map(|step| step.line).collect::<Vec<_>>()).to_string();
        // Whoever approves it may deliver it by a pass, which makes no bulk requests.
        sqlx::query(
            "UPDATE operations SET state = 'held', hold = $3, packed = 0 WHERE state = 'ready' AND id IN (
                 SELECT operation FROM run_rows WHERE run = $1 AND line IN (SELECT value FROM json_each($2)))",
        )
        .bind(run.id)
        .bind(&lines)
        .bind(hold)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE run_rows SET outcome = 'held', finished_at = $3 WHERE run = $1 AND outcome IS NULL
                 AND line IN (SELECT value FROM json_each($2))",
        )
        .bind(run.id)
        .bind(&lines)
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE passes SET hold = $2, digest = $3 WHERE id = $1")
            .bind(run.pass)
            .bind(hold)
            .bind(digest)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "UPDATE holds SET operations = (SELECT count(*) FROM operations WHERE hold = $1 AND state = 'held') WHERE id = $1",
        )
        .bind(hold)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}

async fn take(
    tx: &mut SqliteConnection,
    (tenant, run, pass): (&TenantId, i64, i64),
    step: &RowStep,
    now: Timestamp,
) -> Result<(), StoreError> {
    match &step.next {
        RowNext::Send { action, operation, packed, attempts, due } => {
            let sent = (*action, operation, *packed, *attempts, *due);
            plan(tx, (tenant, run, pass), step, sent, now).await
        }
        RowNext::End { outcome, reason } => {
            let ended = (step.line, step.user.as_ref());
            end(tx, (tenant, run), ended, *outcome, reason.as_deref(), now).await
        }
    }
}

/// An operation that waits is replaced by a newer one; custom attributes are merged with it.
async fn plan(
    tx: &mut SqliteConnection,
    (tenant, run, pass): (&TenantId, i64, i64),
    step: &RowStep,
    (action, operation, packed, attempts, due): (Action, &Operation, bool, u32, Timestamp),
    now: Timestamp,
) -> Result<(), StoreError> {
    /// Somebody's operation is in flight: it will have ended by then, most of the time.
    const IN_FLIGHT: std::time::Duration = std::time::Duration::from_secs(1);
    let kind = operation.payload.kind();
    let open: Option<(i64, String, String)> = sqlx::query_as(
        "SELECT id, state, payload FROM operations WHERE tenant = $1 AND user_id = $2 AND kind = $3
             AND state IN ('ready', 'leased', 'stale', 'held', 'dead')",
    )
    .bind(tenant.as_str())
    .bind(operation.user.as_str())
    .bind(kind.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let mut payload = operation.payload.clone();
    let mut taken_over = None;
    if let Some((id, state, waiting)) = open {
        if state == "leased" {
            sqlx::query("UPDATE run_rows SET due_at = $3, state = 'waiting' WHERE run = $1 AND line = $2")
                .bind(run)
                .bind(stored(step.line))
                .bind(now.plus(IN_FLIGHT).millis())
                .execute(tx)
                .await?;
            return Ok(());
        }
        if let (Payload::Attributes(newer), Ok(Payload::Attributes(waiting)), "ready" | "held") =
            (&payload, serde_json::from_str(&waiting), state.as_str())
        {
            payload = Payload::Attributes(AttributesPayload::then(waiting, newer));
            taken_over = Some(id);
        }
        sqlx::query("UPDATE operations SET state = 'superseded', finished_at = $2 WHERE id = $1")
            .bind(id)
            .bind(now.millis())
            .execute(&mut *tx)
            .await?;
    }
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO operations (tenant, user_id, kind, state, target, payload, cause, version, traceparent, pass,
             created_at, due_at, attempts, packed)
         VALUES ($1, $2, $3, 'ready', $4, $5, $6, $7, NULL, $8, $9, $12, $10, $11) RETURNING id",
    )
    .bind(tenant.as_str())
    .bind(operation.user.as_str())
    .bind(kind.as_str())
    .bind(payload.target())
    .bind(json(&payload)?)
    .bind(operation.cause.as_str())
    .bind(operation.version.as_deref())
    .bind(pass)
    .bind(now.millis())
    .bind(attempts)
    .bind(packed)
    .bind(due.millis())
    .fetch_one(&mut *tx)
    .await?;
    if let Some(earlier) = taken_over {
        sqlx::query("UPDATE run_rows SET operation = $2 WHERE operation = $1")
            .bind(earlier)
            .bind(id)
            .execute(&mut *tx)
            .await?;
    } else {
        // What another run had planned for him is decided otherwise now.
        sqlx::query(superseded_rows!(
            "outcome IS NULL AND operation IN (SELECT id FROM operations WHERE tenant = $3 AND user_id = $4
                 AND kind = $5 AND state = 'superseded' AND id < $2) AND NOT (run = $6 AND line = $7)"
        ))
        .bind(now.millis())
        .bind(id)
        .bind(tenant.as_str())
        .bind(operation.user.as_str())
        .bind(kind.as_str())
        .bind(run)
        .bind(stored(step.line))
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query(
        "INSERT INTO run_rows (run, line, state, user_id, action, operation, external_id)
         VALUES ($1, $2, 'planned', $3, $4, $5, $6)
         ON CONFLICT (run, line) DO UPDATE SET state = 'planned', user_id = coalesce(excluded.user_id, user_id),
             action = excluded.action, operation = excluded.operation, outcome = NULL",
    )
    .bind(run)
    .bind(stored(step.line))
    .bind(step.user.as_ref().map(UserId::as_str))
    .bind(action.as_str())
    .bind(id)
    .bind(step.external_id.as_deref())
    .execute(&mut *tx)
    .await?;
    if let (Some(user), Cause::Asked, Payload::Profile(_)) = (&step.user, operation.cause, &operation.payload)
    {
        provisioned::remember(tx, tenant, run, step.line, user).await?;
    }
    Ok(())
}

async fn end(
    tx: &mut SqliteConnection,
    (tenant, run): (&TenantId, i64),
    (line, user): (u64, Option<&UserId>),
    outcome: Outcome,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE run_rows SET state = 'finished', outcome = $3, reason = $4, user_id = coalesce($5, user_id),
             finished_at = $6, wanted = NULL
         WHERE run = $1 AND line = $2",
    )
    .bind(run)
    .bind(stored(line))
    .bind(outcome.as_str())
    .bind(reason)
    .bind(user.map(UserId::as_str))
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    if let (Outcome::Unchanged | Outcome::Created | Outcome::Skipped, Some(user)) = (outcome, user) {
        provisioned::remember(tx, tenant, run, line, user).await?;
        if outcome != Outcome::Skipped {
            take_away(tx, tenant, run, user, now).await?;
        }
    }
    Ok(())
}

/// An export finds a user as he is to be: what an earlier one decided otherwise, and has not sent, is not sent any more.
async fn take_away(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    run: i64,
    user: &UserId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let taken: Vec<i64> = sqlx::query_scalar(
        "UPDATE operations SET state = 'superseded', finished_at = $4
         WHERE tenant = $1 AND user_id = $2 AND kind = 'profile' AND state IN ('ready', 'held', 'dead')
             AND (SELECT kind FROM runs WHERE id = $3) = 'provision'
         RETURNING id",
    )
    .bind(tenant.as_str())
    .bind(user.as_str())
    .bind(run)
    .bind(now.millis())
    .fetch_all(&mut *tx)
    .await?;
    for operation in taken {
        sqlx::query(superseded_rows!("operation = $2 AND (outcome IS NULL OR outcome = 'held')"))
            .bind(now.millis())
            .bind(operation)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
