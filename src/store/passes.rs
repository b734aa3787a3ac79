//! `passes`: one row for each run, from its begin on.

use serde::{Deserialize, Serialize};

use super::{Drift, Store, StoreError};
use crate::model::{PassKind, PassResult, TenantId, Timestamp};

/// What a pass did, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassTotals {
    /// Distinct users read.
    pub users_read: u64,
    /// List calls, or single reads.
    pub pages: u64,
    /// Users for whom something has to change.
    pub planned: u64,
    /// Users who need nothing.
    pub skipped: u64,
    /// Records that could not be read.
    pub unreadable: u64,
    /// Known users whom a sweep did not show.
    pub missing: u64,
}

/// What else a pass leaves behind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finished<'a> {
    pub(super) hold: Option<i64>,
    pub(super) drift: Drift,
    pub(super) mapping_digest: Option<&'a str>,
}

/// A pass as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassRow {
    /// Its number.
    pub id: i64,
    /// How much it read.
    pub kind: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<Timestamp>,
    /// How it ended; `None` while it runs.
    pub result: Option<String>,
    /// Why it is not ok.
    pub reason: Option<String>,
    /// What it did.
    pub totals: PassTotals,
    /// What it found that should not have been there to find.
    pub drift: Drift,
    /// The hold that its operations are in, or were.
    pub hold: Option<i64>,
}

impl Store {
    /// Notes that a pass begins; returns its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_pass(
        &self,
        tenant: &TenantId,
        kind: PassKind,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let id = sqlx::query_scalar(
            "INSERT INTO passes (tenant, kind, started_at, watermark_before)
             VALUES ($1, $2, $3, (SELECT watermark FROM tenants WHERE name = $1)) RETURNING id",
        )
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .bind(now.millis())
        .fetch_one(&self.writer)
        .await?;
        Ok(id)
    }

    /// Notes that a pass came to nothing, and throws away what it had staged.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fail_pass(
        &self,
        pass: i64,
        reason: &str,
        totals: PassTotals,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        let ended = (PassResult::Failed, Some(reason));
        finish(&mut tx, pass, ended, totals, &Finished::default(), now).await?;
        super::staging::drop_staged(&mut tx, pass).await?;
        tx.commit().await?;
        Ok(())
    }
}

impl Store {
    /// Notes that the pass of `tenant` that was running, if any, was broken off, and throws away what it had staged.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn break_off(&self, tenant: &TenantId, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        let running: Vec<i64> = sqlx::query_scalar(
            "UPDATE passes SET finished_at = $2, result = 'failed', reason = 'broken off'
             WHERE tenant = $1 AND result IS NULL RETURNING id",
        )
        .bind(tenant.as_str())
        .bind(now.millis())
        .fetch_all(&mut *tx)
        .await?;
        for pass in running {
            super::staging::drop_staged(&mut tx, pass).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Notes how a pass ended.
pub(super) async fn finish(
    tx: &mut sqlx::SqliteConnection,
    pass: i64,
    (result, reason): (PassResult, Option<&str>),
    totals: PassTotals,
    finished: &Finished<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE passes SET finished_at = $2, result = $3, reason = $4, users_read = $5, pages = $6,
             planned = $7, skipped = $8, unreadable = $9, missing = $10, hold = $11, deleted = $12, edited = $13,
             missed = $14, mapping_digest = $15,
             watermark_after = (SELECT watermark FROM tenants WHERE name = passes.tenant)
         WHERE id = $1",
    )
    .bind(pass)
    .bind(now.millis())
    .bind(result.as_str())
    .bind(reason)
    .bind(count(totals.users_read))
    .bind(count(totals.pages))
    .bind(count(totals.planned))
    .bind(count(totals.skipped))
    .bind(count(totals.unreadable))
    .bind(count(totals.missing))
    .bind(finished.hold)
    .bind(count(finished.drift.deleted))
    .bind(count(finished.drift.edited))
    .bind(count(finished.drift.missed))
    .bind(finished.mapping_digest)
    .execute(tx)
    .await?;
    Ok(())
}

/// A number as the database keeps it.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
