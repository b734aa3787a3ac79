//! `grants`: memberships that the daemon has given, from the moment their operation is first leased.
//!
//! They are what may be taken away again when a team leaves the mapping; other members of it are not ours.

use std::collections::{BTreeSet, HashMap};

use sqlx::SqliteConnection;

use super::{Settlement, Store, StoreError};
use crate::model::{TeamId, TenantId, Timestamp, UserId};

impl Store {
    /// The teams that a user was given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn grants_of(&self, tenant: &TenantId, user: &UserId) -> Result<BTreeSet<TeamId>, StoreError> {
        let teams: Vec<String> =
            sqlx::query_scalar("SELECT team FROM grants WHERE tenant = $1 AND user_id = $2")
                .bind(tenant.as_str())
                .bind(user.as_str())
                .fetch_all(&self.reader)
                .await?;
        Ok(teams.into_iter().map(TeamId::from).collect())
    }

    /// Which of these users were given which teams.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn grants_among(
        &self,
        tenant: &TenantId,
        users: impl IntoIterator<Item = &UserId>,
    ) -> Result<HashMap<UserId, BTreeSet<TeamId>>, StoreError> {
        let users: Vec<&str> = users.into_iter().map(UserId::as_str).collect();
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT user_id, team FROM grants WHERE tenant = $1 AND user_id IN (SELECT value FROM json_each($2))",
        )
        .bind(tenant.as_str())
        .bind(serde_json::json!(users).to_string())
        .fetch_all(&self.reader)
        .await?;
        let mut grants: HashMap<UserId, BTreeSet<TeamId>> = HashMap::new();
        for (user, team) in rows {
            grants.entry(UserId::from(user)).or_default().insert(TeamId::from(team));
        }
        Ok(grants)
    }
}

/// From now on these memberships are ours.
pub(super) async fn grant(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    user: &UserId,
    teams: &BTreeSet<TeamId>,
    (operation, lease): (i64, i64),
    now: Timestamp,
) -> Result<(), StoreError> {
    for team in teams {
        sqlx::query(
            "INSERT INTO grants (tenant, user_id, team, operation, lease, granted_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(user.as_str())
        .bind(team.as_str())
        .bind(operation)
        .bind(lease)
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// What this lease was to give was certainly not given. Whoever is in such a team all the same was put there by
/// somebody else, unless an earlier lease may have done it: that one's grant stays.
pub(super) async fn withdraw(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    settlement: &Settlement,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM grants WHERE tenant = $1 AND user_id = $2 AND operation = $3 AND lease = $4
             AND EXISTS (SELECT 1 FROM operations WHERE id = $3 AND lease = $4 AND state = 'leased')",
    )
    .bind(tenant.as_str())
    .bind(settlement.user.as_str())
    .bind(settlement.id)
    .bind(settlement.lease)
    .execute(tx)
    .await?;
    Ok(())
}

/// These operations (ids, a JSON array) are done: the teams that they took away are no longer ours to take, and the
/// snapshot shows what they have made of the users.
pub(super) async fn settle(tx: &mut SqliteConnection, operations: &str) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM grants WHERE (tenant, user_id, team) IN (
             SELECT o.tenant, o.user_id, t.value FROM json_each($1) d CROSS JOIN operations o ON o.id = d.value
             CROSS JOIN json_each(o.payload, '$.removed') t)",
        "UPDATE users SET teams = o.target FROM json_each($1) d CROSS JOIN operations o ON o.id = d.value
         WHERE users.tenant = o.tenant AND users.id = o.user_id",
    ] {
        sqlx::query(statement).bind(operations).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Whoever was read without a team that he was given has lost it some other way; if he is put there again by
/// somebody else, that is not ours.
pub(super) async fn forget_lost(
    tx: &mut SqliteConnection,
    pass: i64,
    tenant: &TenantId,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM grants WHERE tenant = $2
             AND user_id IN (SELECT id FROM staged_users WHERE pass = $1)
             AND NOT EXISTS (SELECT 1 FROM staged_users s, json_each(s.teams) t
                 WHERE s.pass = $1 AND s.id = grants.user_id AND t.value = grants.team)
             AND NOT EXISTS (SELECT 1 FROM rereads r WHERE r.tenant = $2 AND r.user_id = grants.user_id)
             AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.tenant = $2 AND o.user_id = grants.user_id
                 AND o.state IN ('ready', 'leased', 'stale', 'held', 'dead'))",
    )
    .bind(pass)
    .bind(tenant.as_str())
    .execute(tx)
    .await?;
    Ok(())
}
