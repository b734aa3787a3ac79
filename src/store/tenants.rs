//! `tenants`: how far each tenant has been read.

use super::{Store, StoreError};
use crate::model::{Since, TenantId, Timestamp};

/// What is known of a tenant as a whole. A tenant that was never read has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantState {
    /// Users changed before it have been read.
    pub watermark: Option<Timestamp>,
    /// Of the mapping in force.
    pub mapping_digest: Option<String>,
    /// Of the mapping whose remap is held or was discarded.
    pub mapping_settled: Option<String>,
    /// The mapping in force has to be applied to all users again.
    pub remap_wanted: bool,
    /// The next pass must read all users.
    pub sweep_wanted: bool,
    /// What it makes of the parameter `since`, once that is known.
    pub since: Option<Since>,
    /// When the last sweep that was committed began.
    pub last_sweep: Option<Timestamp>,
    /// When the last pass began that read a list completely.
    pub last_read: Option<Timestamp>,
}

type Row =
    (Option<i64>, Option<String>, Option<String>, bool, bool, Option<String>, Option<i64>, Option<i64>);

impl Store {
    /// What is known of `tenant`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenant(&self, tenant: &TenantId) -> Result<TenantState, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT watermark, mapping_digest, mapping_settled, remap_wanted <> 0, sweep_wanted <> 0, since,
                 last_sweep_at, last_read_at
             FROM tenants WHERE name = $1",
        )
        .bind(tenant.as_str())
        .fetch_optional(&self.reader)
        .await?;
        let (watermark, mapping_digest, mapping_settled, remap_wanted, sweep_wanted, since, sweep, read) =
            row.unwrap_or_default();
        Ok(TenantState {
            watermark: watermark.map(Timestamp::from_millis),
            mapping_digest,
            mapping_settled,
            remap_wanted,
            sweep_wanted,
            since: since.as_deref().and_then(Since::parse),
            last_sweep: sweep.map(Timestamp::from_millis),
            last_read: read.map(Timestamp::from_millis),
        })
    }
}
