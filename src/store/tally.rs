//! How much a pass would change, counted where it is staged, and who is missing from a sweep.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;

use super::holds::of_missing;
use super::{Store, StoreError};
use crate::model::{Payload, Tally, TeamId, TeamTally, TenantId, Timestamp, UserId};

/// The decisions of pass `$1` of tenant `$2` that are not open operations already; what is held is not new either, unless
/// the pass decides anew (`$3`) what is held because too many users were missing.
macro_rules! fresh {
    ($states:literal) => {
        concat!(
            "SELECT s.user_id, s.loses, s.payload FROM staged_operations s
             WHERE s.pass = $1 AND s.target IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM operations o WHERE o.tenant = $2 AND o.user_id = s.user_id AND o.kind = s.kind
                     AND o.target = s.target AND o.state IN (",
            $states,
            ") AND NOT ($3 AND o.state = 'held' AND o.hold IN (",
            of_missing!(),
            ")))"
        )
    };
}

/// Operations since `$4` that count, but for those that were never sent and never will be.
macro_rules! counted {
    ($column:literal) => {
        concat!(
            "SELECT user_id, counts_removal AS loses, payload FROM operations
             WHERE tenant = $2 AND kind = 'teams' AND ",
            $column,
            " = 1 AND created_at >= $4
                 AND NOT (state IN ('superseded', 'gone', 'discarded') AND lease IS NULL)"
        )
    };
}

/// The known users of tenant `$2` whom pass `$1` has not shown, though lists showed them before.
macro_rules! missing {
    () => {
        "SELECT u.id FROM users u WHERE u.tenant = $2 AND u.listed = 1
             AND NOT EXISTS (SELECT 1 FROM staged_users s WHERE s.pass = $1 AND s.id = u.id)"
    };
}
pub(super) use missing;

impl Store {
    /// How much the pass would change, together with what passes have decided since `window`. Teams are
    /// counted only if they are asked for. `missing_anew` says that its commit withdraws what is held because too many
    /// users were missing: that counts as if it were gone already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tally(
        &self,
        tenant: &TenantId,
        pass: i64,
        window: Timestamp,
        teams: bool,
        missing_anew: bool,
    ) -> Result<Tally, StoreError> {
        let (fresh, loses): (i64, i64) = sqlx::query_as(concat!(
            "SELECT count(*), coalesce(sum(loses), 0) FROM (",
            fresh!("'ready', 'leased', 'stale', 'held', 'dead'"),
            ")"
        ))
        .bind(pass)
        .bind(tenant.as_str())
        .bind(missing_anew)
        .fetch_one(&self.reader)
        .await?;
        if fresh == 0 {
            return Ok(Tally::default());
        }
        let (known, read, changes, removals, first): (i64, i64, i64, i64, bool) = sqlx::query_as(concat!(
            "WITH fresh AS (",
            fresh!("'ready', 'leased', 'stale', 'held', 'dead'"),
            ") SELECT
                 coalesce((SELECT users FROM known_users WHERE tenant = $2), 0),
                 (SELECT count(*) FROM staged_users WHERE pass = $1),
                 (SELECT count(*) FROM (SELECT user_id FROM fresh UNION SELECT user_id FROM (",
            counted!("counts_change"),
            "))),
                 (SELECT count(*) FROM (SELECT user_id FROM fresh WHERE loses UNION SELECT user_id FROM (",
            counted!("counts_removal"),
            "))),
                 NOT EXISTS (SELECT 1 FROM tenants WHERE name = $2)"
        ))
        .bind(pass)
        .bind(tenant.as_str())
        .bind(missing_anew)
        .bind(window.millis())
        .fetch_one(&self.reader)
        .await?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let teams = if teams {
            self.team_tallies(tenant, pass, window, missing_anew).await?
        } else {
            BTreeMap::new()
        };
        Ok(Tally {
            known: number(known),
            read: number(read),
            changes: number(changes),
            // What was taken away before is no objection to a pass that takes nothing away.
            removals: if loses > 0 { number(removals) } else { 0 },
            first,
            teams,
        })
    }

    async fn team_tallies(
        &self,
        tenant: &TenantId,
        pass: i64,
        window: Timestamp,
        missing_anew: bool,
    ) -> Result<BTreeMap<TeamId, TeamTally>, StoreError> {
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(concat!(
            "WITH every AS (",
            fresh!("'ready', 'leased', 'stale', 'held', 'dead'"),
            " UNION ALL ",
            counted!("counts_change"),
            "), moves AS (
                 SELECT t.value AS team, user_id, 0 AS loses FROM every, json_each(every.payload, '$.added') t
                 UNION ALL
                 SELECT t.value, user_id, 1 FROM every, json_each(every.payload, '$.removed') t)
             SELECT team, count(DISTINCT user_id), count(DISTINCT CASE WHEN loses THEN user_id END),
                 coalesce((SELECT users FROM team_members m WHERE m.tenant = $2 AND m.team = moves.team), 0)
             FROM moves GROUP BY team"
        ))
        .bind(pass)
        .bind(tenant.as_str())
        .bind(missing_anew)
        .bind(window.millis())
        .fetch_all(&self.reader)
        .await?;
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let tally = |(team, changes, removals, members): (String, i64, i64, i64)| {
            let counted =
                TeamTally { members: number(members), changes: number(changes), removals: number(removals) };
            (TeamId::from(team), counted)
        };
        Ok(rows.into_iter().map(tally).collect())
    }

    /// Shows each decision of the pass that is not being delivered already, by user: what a hold of it would hold.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn each_staged_change(
        &self,
        tenant: &TenantId,
        pass: i64,
        mut show: impl FnMut(&UserId, &Payload),
    ) -> Result<(), StoreError> {
        let mut rows = sqlx::query_as::<_, (String, bool, String)>(concat!(
            fresh!("'ready', 'leased', 'stale', 'dead'"),
            " ORDER BY s.user_id"
        ))
        .bind(pass)
        .bind(tenant.as_str())
        .bind(false)
        .fetch(&self.reader);
        while let Some((user, _, payload)) = rows.try_next().await? {
            let payload = serde_json::from_str(&payload)
                .map_err(|_| StoreError::damaged(format!("the decision for {user} cannot be read")))?;
            show(&UserId::from(user), &payload);
        }
        Ok(())
    }

    /// How many known users the sweep `pass` has not shown, though lists showed them before, and of how many such
    /// users.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_missing(&self, tenant: &TenantId, pass: i64) -> Result<(u64, u64), StoreError> {
        let (missing, known): (i64, i64) = sqlx::query_as(concat!(
            "SELECT (SELECT count(*) FROM (",
            missing!(),
            ")), (SELECT count(*) FROM users WHERE tenant = $2 AND listed = 1)"
        ))
        .bind(pass)
        .bind(tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        Ok((u64::try_from(missing).unwrap_or(0), u64::try_from(known).unwrap_or(0)))
    }

    /// Shows each of them, by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn each_missing(
        &self,
        tenant: &TenantId,
        pass: i64,
        mut show: impl FnMut(UserId),
    ) -> Result<(), StoreError> {
        let mut rows = sqlx::query_scalar::<_, String>(concat!(missing!(), " ORDER BY u.id"))
            .bind(pass)
            .bind(tenant.as_str())
            .fetch(&self.reader);
        while let Some(user) = rows.try_next().await? {
            show(UserId::from(user));
        }
        Ok(())
    }

    /// Users whom lists do not show and the sweep `pass` has not read, the longest unread first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlisted(
        &self,
        tenant: &TenantId,
        pass: i64,
        limit: u32,
    ) -> Result<Vec<UserId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM users u WHERE tenant = $2 AND listed = 0
                 AND NOT EXISTS (SELECT 1 FROM staged_users s WHERE s.pass = $1 AND s.id = u.id)
             ORDER BY read_at, id LIMIT $3",
        )
        .bind(pass)
        .bind(tenant.as_str())
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        Ok(ids.into_iter().map(UserId::from).collect())
    }
}
