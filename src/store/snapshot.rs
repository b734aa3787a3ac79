//! `users`, the snapshot: each user as last read.

use std::collections::BTreeSet;

use sqlx::FromRow;

use super::{Store, StoreError};
use crate::model::{Role, TeamId, TenantId, Timestamp, User, UserId};

/// A user as last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// His record.
    pub user: User,
    /// When it was read.
    pub read_at: Timestamp,
    /// By which pass.
    pub pass: i64,
    /// Lists show him.
    pub listed: bool,
    /// An operation of his is open.
    pub open: bool,
    /// One is in flight.
    pub in_flight: bool,
}

#[derive(FromRow)]
#[allow(clippy::struct_excessive_bools, reason = "a row, column by column")]
struct Row {
    id: String,
    active: bool,
    roles: String,
    teams: String,
    version: Option<String>,
    last_modified: Option<i64>,
    read_at: i64,
    pass: i64,
    listed: bool,
    open: bool,
    in_flight: bool,
}

impl Store {
    /// At most `limit` users, in the order of their ids, from the one that follows `after` on.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn known_users(
        &self,
        tenant: &TenantId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<Known>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, active, roles, teams, version, last_modified, read_at, pass, listed,
                 EXISTS (SELECT 1 FROM operations o WHERE o.tenant = u.tenant AND o.user_id = u.id
                     AND o.state IN ('ready', 'leased', 'stale', 'held', 'dead')) AS open,
                 EXISTS (SELECT 1 FROM operations o WHERE o.tenant = u.tenant AND o.user_id = u.id
                     AND o.state = 'leased') AS in_flight
             FROM users u WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.map_or("", UserId::as_str))
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(Row::known).collect()
    }

    /// The newest `lastModified` that was read since the last sweep began.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_change(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        let newest: Option<Option<i64>> =
            sqlx::query_scalar("SELECT newest_change FROM tenants WHERE name = $1")
                .bind(tenant.as_str())
                .fetch_optional(&self.reader)
                .await?;
        Ok(newest.flatten().map(Timestamp::from_millis))
    }

    /// One user as last read, if he is known.
    ///
    /// # Errors
    /// When the database fails, or the row is damaged.
    pub async fn known_user(&self, tenant: &TenantId, id: &UserId) -> Result<Option<Known>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, active, roles, teams, version, last_modified, read_at, pass, listed,
                 EXISTS (SELECT 1 FROM operations o WHERE o.tenant = u.tenant AND o.user_id = u.id
                     AND o.state IN ('ready', 'leased', 'stale', 'held', 'dead')) AS open,
                 EXISTS (SELECT 1 FROM operations o WHERE o.tenant = u.tenant AND o.user_id = u.id
                     AND o.state = 'leased') AS in_flight
             FROM users u WHERE tenant = $1 AND id = $2",
        )
        .bind(tenant.as_str())
        .bind(id.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.map(Row::known).transpose()
    }
}

impl Row {
    fn known(self) -> Result<Known, StoreError> {
        let damaged = || StoreError::damaged(format!("user {} cannot be read", self.id));
        let roles: BTreeSet<Role> = serde_json::from_str(&self.roles).map_err(|_| damaged())?;
        let teams: BTreeSet<TeamId> = serde_json::from_str(&self.teams).map_err(|_| damaged())?;
        Ok(Known {
            user: User {
                id: UserId::from(self.id),
                active: self.active,
                roles,
                teams,
                version: self.version,
                last_modified: self.last_modified.map(Timestamp::from_millis),
            },
            read_at: Timestamp::from_millis(self.read_at),
            pass: self.pass,
            listed: self.listed,
            open: self.open,
            in_flight: self.in_flight,
        })
    }
}
