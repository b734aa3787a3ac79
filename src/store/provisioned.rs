//! `provisioned`: users whom a run has created, or found to be meant by a row.
//!
//! They are known by HR's name and the tenant's, so that the next export can tell who is no longer named.

use sqlx::SqliteConnection;

use super::rows::{UNNAMED, json, number, stored};
use super::{Leased, Run, Store, StoreError};
use crate::model::{Cause, Deactivations, TenantId, Timestamp, UserId};

/// Users whom no row of a run names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnamed {
    /// By id, each with what HR knows him by.
    pub users: Vec<(UserId, String)>,
    /// What it would come to if they were made inactive.
    pub tally: Deactivations,
    /// The first line that stands for none of them yet.
    pub line: u64,
}

/// Users of tenant `$1` whom we have made inactive since `$2` without asking anybody, or are about to; but for those to whom
/// nothing was sent and never will be.
macro_rules! let_through {
    () => {
        "SELECT user_id FROM operations
         WHERE tenant = $1 AND counts_removal = 1 AND kind = 'profile' AND created_at >= $2
             AND NOT (state IN ('superseded', 'gone', 'discarded') AND lease IS NULL)"
    };
}

impl Store {
    /// Whether we have made this user inactive because no row named him.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deactivated_by_us(&self, tenant: &TenantId, user: &UserId) -> Result<bool, StoreError> {
        let by_us: Option<bool> =
            sqlx::query_scalar("SELECT deactivated <> 0 FROM provisioned WHERE tenant = $1 AND user_id = $2")
                .bind(tenant.as_str())
                .bind(user.as_str())
                .fetch_optional(&self.reader)
                .await?;
        Ok(by_us.unwrap_or(false))
    }

    /// The user as whom an earlier run knows the one with this `externalId`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn provisioned_as(
        &self,
        tenant: &TenantId,
        external_id: &str,
    ) -> Result<Option<UserId>, StoreError> {
        let user: Option<String> = sqlx::query_scalar(
            "SELECT user_id FROM provisioned WHERE tenant = $1 AND external_id = $2 LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(external_id)
        .fetch_optional(&self.reader)
        .await?;
        Ok(user.map(UserId::from))
    }

    /// Whom a run names in no row, not even in a bad one, of those whom earlier runs have created or found to be meant;
    /// who is inactive already is left out. They are counted together with those who were made inactive since
    /// `window`, and with those who are held for that.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn no_longer_named(
        &self,
        run: &Run,
        window: Timestamp,
        now: Timestamp,
    ) -> Result<Unnamed, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT user_id, external_id FROM provisioned p
             WHERE tenant = $1 AND run <> $2
                 AND NOT EXISTS (SELECT 1 FROM run_rows r WHERE r.run = $2 AND r.external_id = p.external_id)
                 AND NOT EXISTS (SELECT 1 FROM run_rows r WHERE r.run = $2 AND r.user_id = p.user_id)
                 AND NOT EXISTS (SELECT 1 FROM run_found f JOIN run_rows r ON r.run = f.run AND r.user_name = f.user_name
                     WHERE f.run = $2 AND f.user_id = p.user_id)
                 -- He is inactive already, as the list says; if it does not show him, as we have made him, or as a pass found him.
                 AND NOT coalesce(
                     (SELECT json_extract(f.record, '$.active') = 0 FROM run_found f WHERE f.run = $2 AND f.user_id = p.user_id),
                     iif(p.deactivated <> 0, 1, NULL),
                     (SELECT u.active = 0 FROM users u WHERE u.tenant = $1 AND u.id = p.user_id), 0)
             ORDER BY user_id",
        )
        .bind(run.tenant.as_str())
        .bind(run.id)
        .fetch_all(&self.reader)
        .await?;
        let line: i64 = sqlx::query_scalar(
            "SELECT coalesce(max(line) + 1, $2) FROM run_rows WHERE run = $1 AND line >= $2",
        )
        .bind(run.id)
        .bind(stored(UNNAMED))
        .fetch_one(&self.reader)
        .await?;
        let users: Vec<_> =
            rows.into_iter().map(|(user, external_id)| (UserId::from(user), external_id)).collect();
        let tally = self.deactivations(run, &users, (window, now)).await?;
        Ok(Unnamed { users, tally, line: number(line) })
    }

    async fn deactivations(
        &self,
        run: &Run,
        users: &[(UserId, String)],
        (window, now): (Timestamp, Timestamp),
    ) -> Result<Deactivations, StoreError> {
        let users: Vec<&str> = users.iter().map(|(user, _)| user.as_str()).collect();
        let found: i64 = sqlx::query_scalar(concat!(
            "SELECT count(*) FROM (SELECT value FROM json_each($3) UNION ",
            let_through!(),
            " UNION SELECT user_id FROM operations
                 WHERE tenant = $1 AND state = 'held' AND kind = 'profile' AND cause = 'missing')"
        ))
        .bind(run.tenant.as_str())
        .bind(window.millis())
        .bind(json(&users)?)
        .fetch_one(&self.reader)
        .await?;
        // Who is inactive by now was not when the window began. What lies in the future was before our clock was set back.
        let (known, known_before): (i64, i64) = sqlx::query_as(concat!(
            "SELECT count(*), count(CASE WHEN since NOT BETWEEN $2 AND $4 THEN 1 END) FROM provisioned
             WHERE tenant = $1 AND since NOT BETWEEN $3 AND $4 AND (deactivated = 0 OR user_id IN (",
            let_through!(),
            "))"
        ))
        .bind(run.tenant.as_str())
        .bind(window.millis())
        .bind(run.started_at.millis())
        .bind(now.millis())
        .fetch_one(&self.reader)
        .await?;
        let tenant: i64 = sqlx::query_scalar(
            "SELECT max(coalesce((SELECT users FROM known_users WHERE tenant = $1), 0),
                 (SELECT count(*) FROM provisioned WHERE tenant = $1))",
        )
        .bind(run.tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        let (found, known, known_before) = (number(found), number(known), number(known_before));
        Ok(Deactivations { found, known, known_before, tenant: number(tenant) })
    }
}

/// A run, one of its lines, and whom that means.
type Meant<'a> = (i64, i64, &'a str);

/// Rows mean these users. Of an attributes file nothing is remembered: it does not say who is to be there.
pub(super) async fn remember(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    meant: impl Iterator<Item = Meant<'_>>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let meant: Vec<Meant<'_>> = meant.collect();
    if meant.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO provisioned (tenant, user_id, external_id, run, since)
         SELECT $1, m.value ->> 2, r.external_id, r.run, $3 FROM json_each($2) m
         CROSS JOIN run_rows r ON r.run = m.value ->> 0 AND r.line = m.value ->> 1
         WHERE r.external_id IS NOT NULL AND (SELECT kind FROM runs WHERE id = r.run) = 'provision'
         ON CONFLICT (tenant, user_id) DO UPDATE SET external_id = excluded.external_id, run = excluded.run",
    )
    .bind(tenant.as_str())
    .bind(json(&meant)?)
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// Those of whom something is sent now because no row names them.
pub(super) async fn begin_deactivation(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    leased: &[Leased],
) -> Result<(), StoreError> {
    let missing = leased.iter().filter(|leased| leased.operation.cause == Cause::Missing);
    set_deactivated(tx, tenant, missing.map(|leased| leased.operation.user.as_str()), true).await
}

/// Whether it is we who have made these users inactive: from the moment at which that is sent, because nobody may ever answer.
pub(super) async fn set_deactivated<'a>(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    users: impl Iterator<Item = &'a str>,
    deactivated: bool,
) -> Result<(), StoreError> {
    let users: Vec<&str> = users.collect();
    if users.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE provisioned SET deactivated = $3
         WHERE tenant = $1 AND user_id IN (SELECT value FROM json_each($2))",
    )
    .bind(tenant.as_str())
    .bind(json(&users)?)
    .bind(deactivated)
    .execute(tx)
    .await?;
    Ok(())
}
