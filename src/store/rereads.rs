//! `rereads`: users whose record must be read again by id before anything is decided for them.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::{Store, StoreError};
use crate::model::{TenantId, Timestamp, UserId};

/// The wait after the first reading that failed; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// How often it doubles: to 21 minutes.
const MOST_DOUBLINGS: u32 = 8;
/// A due time further ahead was written before our clock was set back.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

impl Store {
    /// Users of `tenant` whose record must be read again now, the longest due first, at most `limit`, none of
    /// them with an operation in flight.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rereads(
        &self,
        tenant: &TenantId,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<UserId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT user_id FROM rereads r
             WHERE tenant = $1 AND (due_at <= $3 OR due_at > $4) AND NOT EXISTS (
                 SELECT 1 FROM operations o
                 WHERE o.tenant = r.tenant AND o.user_id = r.user_id AND o.state = 'leased')
             ORDER BY due_at, user_id LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(limit)
        .bind(now.millis())
        .bind(now.plus(LONGEST_WAIT).millis())
        .fetch_all(&self.reader)
        .await?;
        Ok(ids.into_iter().map(Into::into).collect())
    }
}

/// Whoever has been read need not be read again.
pub(super) async fn forget_rereads(
    tx: &mut SqliteConnection,
    pass: i64,
    tenant: &TenantId,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM rereads WHERE tenant = $2
             AND user_id IN (SELECT id FROM staged_users WHERE pass = $1)",
    )
    .bind(pass)
    .bind(tenant.as_str())
    .execute(tx)
    .await?;
    Ok(())
}

/// A user could not be read: again, later and later. Returns 1 if he was not to be read again before.
pub(super) async fn postpone(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    user: &UserId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let attempts: i64 = sqlx::query_scalar(
        "INSERT INTO rereads (tenant, user_id, attempts, since) VALUES ($1, $2, 1, $3)
         ON CONFLICT (tenant, user_id) DO UPDATE SET attempts = attempts + 1 RETURNING attempts",
    )
    .bind(tenant.as_str())
    .bind(user.as_str())
    .bind(now.millis())
    .fetch_one(&mut *tx)
    .await?;
    let doublings = u32::try_from(attempts - 1).unwrap_or(u32::MAX).min(MOST_DOUBLINGS);
    // At once after a list: single reads may bring what the list did not.
    let wait = if attempts == 1 { Duration::ZERO } else { FIRST_WAIT * 2_u32.pow(doublings) };
    sqlx::query("UPDATE rereads SET due_at = $3 WHERE tenant = $1 AND user_id = $2")
        .bind(tenant.as_str())
        .bind(user.as_str())
        .bind(now.plus(wait).millis())
        .execute(tx)
        .await?;
    Ok(u64::from(attempts == 1))
}

/// A user is to be read by id. Returns 1 if he was not before.
pub(super) async fn reread(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    user: &UserId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let wanted = sqlx::query(
        "INSERT INTO rereads (tenant, user_id, since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(user.as_str())
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(wanted.rows_affected())
}

/// The users of these operations are to be read by id at once, however long that was put off.
pub(super) async fn reread_now(
    tx: &mut SqliteConnection,
    operations: &[i64],
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO rereads (tenant, user_id, since)
         SELECT DISTINCT tenant, user_id, $2 FROM operations WHERE id IN (SELECT value FROM json_each($1))
         ON CONFLICT (tenant, user_id) DO UPDATE SET due_at = 0",
    )
    .bind(serde_json::json!(operations).to_string())
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// Lists do not show a user who is known: he is read by id, and does not count as listed any more. Returns 1 if he was not
/// to be read again before.
pub(super) async fn unlist(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    user: &UserId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let wanted = reread(&mut *tx, tenant, user, now).await?;
    sqlx::query("UPDATE users SET listed = 0 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(user.as_str())
        .execute(tx)
        .await?;
    Ok(wanted)
}
