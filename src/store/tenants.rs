//! `tenants`: how far each tenant has been read.

use super::{Store, StoreError};
use crate::model::{Since, TenantId, Timestamp};

/// What is known of a tenant as a whole. A tenant that was never read has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantState {
    /// Users changed before it have been read.
    pub watermark: Option<Timestamp>,
    /// Of the rules that the last sweep applied.
    pub mapping_digest: Option<String>,
    /// The next pass must read all users.
    pub sweep_wanted: bool,
    /// What it makes of the parameter `since`, once that is known.
    pub since: Option<Since>,
    /// When the last sweep that was committed began.
    pub last_sweep: Option<Timestamp>,
}

type Row = (Option<i64>, Option<String>, bool, Option<String>);

impl Store {
    /// What is known of `tenant`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenant(&self, tenant: &TenantId) -> Result<TenantState, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT watermark, mapping_digest, sweep_wanted <> 0, since FROM tenants WHERE name = $1",
        )
        .bind(tenant.as_str())
        .fetch_optional(&self.reader)
        .await?;
        let last_sweep: Option<i64> = sqlx::query_scalar(
            "SELECT max(started_at) FROM passes
             WHERE tenant = $1 AND kind = 'sweep' AND result IN ('ok', 'degraded')",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        let (watermark, mapping_digest, sweep_wanted, since) = row.unwrap_or_default();
        Ok(TenantState {
            watermark: watermark.map(Timestamp::from_millis),
            mapping_digest,
            sweep_wanted,
            since: since.as_deref().and_then(Since::parse),
            last_sweep: last_sweep.map(Timestamp::from_millis),
        })
    }

    /// Users of `tenant` whose record must be read again, at most `limit`, none of them with an operation
    /// in flight.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rereads(
        &self,
        tenant: &TenantId,
        limit: u32,
    ) -> Result<Vec<crate::model::UserId>, StoreError> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT user_id FROM rereads r WHERE tenant = $1 AND NOT EXISTS (
                 SELECT 1 FROM operations o
                 WHERE o.tenant = r.tenant AND o.user_id = r.user_id AND o.state = 'leased')
             ORDER BY user_id LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        Ok(ids.into_iter().map(Into::into).collect())
    }
}
