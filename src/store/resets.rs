//! Forgetting on request: how far a tenant was read, what waits for it, or what the guard has counted.

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::{Store, StoreError, mappings, row_settlement};
use crate::model::{Outcome, TenantId, Timestamp};

/// What is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// How far the tenant was read.
    Watermark,
    /// All that waits for it, held operations and dead letters included.
    Queue,
    /// What is held, and what counts within the guard's window.
    Guard,
}

impl Reset {
    /// The word on the command line, in the audit and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Watermark => "watermark",
            Self::Queue => "queue",
            Self::Guard => "guard",
        }
    }
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetDone {
    /// Operations that were dropped, held ones included.
    pub operations: u64,
    /// Passes that were held, and were discarded.
    pub holds: u64,
    /// Operations in flight, whose attempt ends as it will and is not repeated.
    pub in_flight: u64,
}

impl Store {
    /// Forgets. A tenant whose watermark or queue was forgotten is read as a whole by the next pass.
    ///
    /// # Errors
    /// When the database fails; then nothing was forgotten.
    pub async fn reset(
        &self,
        tenant: &TenantId,
        what: Reset,
        now: Timestamp,
    ) -> Result<ResetDone, StoreError> {
        let mut tx = self.write().await?;
        let done = match what {
            Reset::Watermark => watermark(&mut tx, tenant).await?,
            Reset::Queue => queue(&mut tx, tenant, now).await?,
            Reset::Guard => guard(&mut tx, tenant, now).await?,
        };
        tx.commit().await?;
        Ok(done)
    }
}

async fn watermark(tx: &mut SqliteConnection, tenant: &TenantId) -> Result<ResetDone, StoreError> {
    sqlx::query("UPDATE tenants SET watermark = NULL WHERE name = $1")
        .bind(tenant.as_str())
        .execute(tx)
        .await?;
    Ok(ResetDone::default())
}

/// All users are decided anew, by a changed mapping too if its remap was held. What is in flight cannot be taken back,
/// but is not sent again unless it is decided again.
async fn queue(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    now: Timestamp,
) -> Result<ResetDone, StoreError> {
    let operations = drop_operations(
        tx,
        tenant,
        "UPDATE operations SET state = 'discarded', finished_at = $2
         WHERE tenant = $1 AND state IN ('ready', 'stale', 'held', 'dead') RETURNING id",
        now,
    )
    .await?;
    let holds = close_holds(tx, tenant, now).await?;
    mappings::unsettle(tx, tenant).await?;
    sqlx::query("UPDATE tenants SET sweep_wanted = 1 WHERE name = $1")
        .bind(tenant.as_str())
        .execute(&mut *tx)
        .await?;
    let in_flight =
        sqlx::query("UPDATE operations SET superseded = 1 WHERE tenant = $1 AND state = 'leased'")
            .bind(tenant.as_str())
            .execute(tx)
            .await?;
    Ok(ResetDone { operations, holds, in_flight: in_flight.rows_affected() })
}

async fn guard(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    now: Timestamp,
) -> Result<ResetDone, StoreError> {
    // What waits for a stopped run to go on is none of the guard's.
    let operations = drop_operations(
        tx,
        tenant,
        "UPDATE operations SET state = 'discarded', finished_at = $2
         WHERE tenant = $1 AND state = 'held' AND hold IS NOT NULL RETURNING id",
        now,
    )
    .await?;
    let holds = close_holds(tx, tenant, now).await?;
    sqlx::query(
        "UPDATE operations SET counts_change = 0, counts_removal = 0
         WHERE tenant = $1 AND (counts_change = 1 OR counts_removal = 1)",
    )
    .bind(tenant.as_str())
    .execute(tx)
    .await?;
    Ok(ResetDone { operations, holds, in_flight: 0 })
}

async fn drop_operations(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    sql: &'static str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let dropped: Vec<i64> =
        sqlx::query_scalar(sql).bind(tenant.as_str()).bind(now.millis()).fetch_all(&mut *tx).await?;
    row_settlement::end_with(tx, &dropped, (Outcome::Discarded, Some("dropped by an operator")), now).await?;
    Ok(u64::try_from(dropped.len()).unwrap_or(u64::MAX))
}

async fn close_holds(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    sqlx::query(
        "DELETE FROM hold_missing WHERE hold IN (SELECT id FROM holds WHERE tenant = $1 AND decision IS NULL)",
    )
    .bind(tenant.as_str())
    .execute(&mut *tx)
    .await?;
    let closed = sqlx::query(
        "UPDATE holds SET decision = 'discarded', decided_at = $2 WHERE tenant = $1 AND decision IS NULL",
    )
    .bind(tenant.as_str())
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(closed.rows_affected())
}
