//! `mappings`: every mapping that a configuration has named, and which one is in force.
//!
//! A changed mapping comes into force with the remap that makes its operations ready. Until then passes go on
//! with the one in force, which is therefore kept here with its rules.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::SqliteConnection;

use super::commit::Commit;
use super::{Store, StoreError, holds};
use crate::model::{PassKind, Role, TeamId, TenantId, Timestamp};

impl Store {
    /// Notes the mapping that the configuration names. A remap that is held for another one is withdrawn, and
    /// one whose remap was discarded is tried again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn see_mapping(
        &self,
        tenant: &TenantId,
        digest: &str,
        rules: &BTreeMap<Role, BTreeSet<TeamId>>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let rules = serde_json::to_string(rules)
            .map_err(|error| StoreError::damaged(format!("a mapping cannot be written: {error}")))?;
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO mappings (tenant, digest, version, rules, first_seen)
             SELECT $1, $2, 1 + coalesce((SELECT max(version) FROM mappings WHERE tenant = $1), 0), $3, $4
             WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(digest)
        .bind(rules)
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
        holds::withdraw(&mut tx, tenant, Some(digest), now).await?;
        sqlx::query(
            "UPDATE tenants SET mapping_settled = (SELECT mapping_digest FROM holds
                 WHERE tenant = $1 AND decision IS NULL AND mapping_digest = $2)
             WHERE name = $1",
        )
        .bind(tenant.as_str())
        .bind(digest)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Withdraws what an earlier remap holds, before another one decides all of it anew.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdraw_remap(&self, tenant: &TenantId, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        if holds::withdraw(&mut tx, tenant, None, now).await? > 0 {
            unsettle(&mut tx, tenant).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The rules of a mapping that was seen before.
    ///
    /// # Errors
    /// When the database fails, or the rules cannot be read.
    pub async fn mapping(
        &self,
        tenant: &TenantId,
        digest: &str,
    ) -> Result<Option<BTreeMap<Role, BTreeSet<TeamId>>>, StoreError> {
        let rules: Option<String> =
            sqlx::query_scalar("SELECT rules FROM mappings WHERE tenant = $1 AND digest = $2")
                .bind(tenant.as_str())
                .bind(digest)
                .fetch_optional(&self.reader)
                .await?;
        let damaged = |_| StoreError::damaged(format!("mapping {digest} of {tenant} cannot be read"));
        rules.map(|rules| serde_json::from_str(&rules).map_err(damaged)).transpose()
    }
}

/// What a commit says about the mapping.
pub(super) async fn settle(tx: &mut SqliteConnection, commit: &Commit<'_>) -> Result<(), StoreError> {
    if !commit.mapping_applied {
        return Ok(());
    }
    let remap = commit.kind == PassKind::Remap;
    if remap && commit.hold.is_some() {
        sqlx::query("UPDATE tenants SET mapping_settled = $2, remap_wanted = 0 WHERE name = $1")
            .bind(commit.tenant.as_str())
            .bind(commit.mapping_digest)
            .execute(tx)
            .await?;
        return Ok(());
    }
    bring_into_force(tx, commit.tenant, commit.mapping_digest, commit.now).await?;
    // A reviewed plan changes those who are in it; the others are decided by a remap.
    if remap || commit.kind == PassKind::Apply {
        sqlx::query("UPDATE tenants SET remap_wanted = $2 WHERE name = $1")
            .bind(commit.tenant.as_str())
            .bind(!remap)
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// From now on passes decide by this mapping.
pub(super) async fn bring_into_force(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    digest: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE mappings SET in_force = $3 WHERE tenant = $1 AND digest = $2
             AND NOT EXISTS (SELECT 1 FROM tenants WHERE name = $1 AND mapping_digest = $2)",
    )
    .bind(tenant.as_str())
    .bind(digest)
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE tenants SET mapping_digest = $2, mapping_settled = NULL WHERE name = $1")
        .bind(tenant.as_str())
        .bind(digest)
        .execute(tx)
        .await?;
    Ok(())
}

/// The remap is tried again.
pub(super) async fn unsettle(tx: &mut SqliteConnection, tenant: &TenantId) -> Result<(), StoreError> {
    sqlx::query("UPDATE tenants SET mapping_settled = NULL WHERE name = $1")
        .bind(tenant.as_str())
        .execute(tx)
        .await?;
    Ok(())
}
