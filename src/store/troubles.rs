//! `troubles`: what is wrong with a tenant at the moment, for whoever asks beside the owner.

use super::{Store, StoreError};
use crate::model::{TenantId, Timestamp};

/// What of the work with a tenant is in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its passes.
    Reading,
    /// Its operations.
    Delivery,
    /// The export that is read by a schedule.
    Export,
}

impl Part {
    /// The word in the database, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Delivery => "delivery",
            Self::Export => "export",
        }
    }
}

/// One trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TroubleRow {
    /// The word for what is wrong.
    pub trouble: String,
    /// What the tenant said last, or why a file could not be read, without personal data.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again.
    pub until: Timestamp,
}

impl Store {
    /// Notes what is wrong with a part of `tenant`; `None` is nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_trouble(
        &self,
        tenant: &TenantId,
        part: Part,
        row: Option<&TroubleRow>,
    ) -> Result<(), StoreError> {
        let Some(row) = row else {
            sqlx::query("DELETE FROM troubles WHERE tenant = $1 AND part = $2")
                .bind(tenant.as_str())
                .bind(part.as_str())
                .execute(&self.writer)
                .await?;
            return Ok(());
        };
        sqlx::query(
            "INSERT INTO troubles (tenant, part, trouble, reason, since, until) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (tenant, part) DO UPDATE SET trouble = excluded.trouble, reason = excluded.reason,
                 since = excluded.since, until = excluded.until",
        )
        .bind(tenant.as_str())
        .bind(part.as_str())
        .bind(&row.trouble)
        .bind(&row.reason)
        .bind(row.since.millis())
        .bind(row.until.millis())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// What is wrong with `tenant`: reading first, then delivery.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn troubles(&self, tenant: &TenantId) -> Result<Vec<(Part, TroubleRow)>, StoreError> {
        let rows: Vec<(String, String, Option<String>, i64, i64)> =
            sqlx::query_as("SELECT part, trouble, reason, since, until FROM troubles WHERE tenant = $1")
                .bind(tenant.as_str())
                .fetch_all(&self.reader)
                .await?;
        let of = |part: Part| {
            let (_, trouble, reason, since, until) = rows.iter().find(|row| row.0 == part.as_str())?;
            let row = TroubleRow {
                trouble: trouble.clone(),
                reason: reason.clone().unwrap_or_default(),
                since: Timestamp::from_millis(*since),
                until: Timestamp::from_millis(*until),
            };
            Some((part, row))
        };
        Ok([Part::Reading, Part::Delivery, Part::Export].into_iter().filter_map(of).collect())
    }
}
