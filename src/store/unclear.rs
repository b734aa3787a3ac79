//! `unclear`: changes of teams that were sent, and nobody knows whether the tenant has done it.
//!
//! An operation that succeeds after all takes its row away. Once it has ended otherwise, or is about something else, the row is
//! there to be told of in the audit.

use sqlx::{FromRow, SqliteConnection};

use super::{AuditHead, Settlement, Store, StoreError, audit_head};
use crate::model::{Cause, Payload, TenantId, UserId};

/// What was sent, and may have been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclear {
    /// Its row.
    pub id: i64,
    /// The operation's row.
    pub operation: i64,
    /// For whom.
    pub user: UserId,
    /// What was to be done.
    pub payload: Payload,
    /// Why.
    pub cause: Cause,
    /// The pass that decided it.
    pub pass: i64,
    /// The digest of the mapping that it was decided by; `None` when the pass is forgotten.
    pub mapping: Option<String>,
    /// The last attempt that may have done it, from 1.
    pub attempt: u32,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    operation: i64,
    user_id: String,
    payload: String,
    cause: String,
    pass: i64,
    mapping: Option<String>,
    attempt: u32,
}

/// Of which operations, by a condition on their rows.
macro_rules! remember {
    ($condition:literal) => {
        concat!(
            "INSERT INTO unclear (operation, target, tenant, user_id, payload, cause, pass, attempt)
             SELECT id, target, tenant, user_id, payload, cause, pass, attempts + 1 FROM operations
             WHERE kind = 'teams' AND ",
            $condition,
            " ON CONFLICT (operation, target) DO UPDATE SET
                 payload = excluded.payload, cause = excluded.cause, pass = excluded.pass, attempt = excluded.attempt"
        )
    };
}

impl Store {
    /// What may have been done for users of `tenant`, and whose operation has been given up, dropped or decided otherwise
    /// since: at most `limit`, oldest first.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn unclear(&self, tenant: &TenantId, limit: u32) -> Result<Vec<Unclear>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, operation, user_id, payload, cause, pass,
                 (SELECT p.mapping_digest FROM passes p WHERE p.id = c.pass) AS mapping, attempt
             FROM unclear c WHERE tenant = $1 AND NOT EXISTS (
                 SELECT 1 FROM operations o WHERE o.id = c.operation AND o.target = c.target
                     AND o.state IN ('ready', 'leased', 'stale', 'held'))
             ORDER BY id LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(Row::unclear).collect()
    }

    /// These stand in the audit, the last of them in this line.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn told(&self, ids: &[i64], audited: &AuditHead) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        audit_head::remember(&mut tx, audited).await?;
        sqlx::query("DELETE FROM unclear WHERE id IN (SELECT value FROM json_each($1))")
            .bind(serde_json::json!(ids).to_string())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// An attempt has ended, and may have been carried out.
pub(super) async fn remember(tx: &mut SqliteConnection, settlement: &Settlement) -> Result<(), StoreError> {
    sqlx::query(remember!("id = $1 AND lease = $2 AND state = 'leased'"))
        .bind(settlement.id)
        .bind(settlement.lease)
        .execute(tx)
        .await?;
    Ok(())
}

/// Whoever had these in flight is no more, and may have sent them.
pub(super) async fn remember_in_flight(tx: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query(remember!("state = 'leased'")).execute(tx).await?;
    Ok(())
}

/// These operations (ids, a JSON array) are done, whichever attempt it was.
pub(super) async fn forget(tx: &mut SqliteConnection, operations: &str) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM unclear WHERE (operation, target) IN (
             SELECT id, target FROM operations WHERE id IN (SELECT value FROM json_each($1)))",
    )
    .bind(operations)
    .execute(tx)
    .await?;
    Ok(())
}

impl Row {
    fn unclear(self) -> Result<Unclear, StoreError> {
        let damaged = |what: &str| {
            StoreError::damaged(format!("what was sent for operation {} has {what}", self.operation))
        };
        Ok(Unclear {
            id: self.id,
            operation: self.operation,
            payload: serde_json::from_str(&self.payload)
                .map_err(|_| damaged("a payload that cannot be read"))?,
            cause: Cause::parse(&self.cause).ok_or_else(|| damaged("an unknown cause"))?,
            user: UserId::from(self.user_id),
            pass: self.pass,
            mapping: self.mapping,
            attempt: self.attempt,
        })
    }
}
