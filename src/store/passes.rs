//! `passes`: one row for each run, from its begin on.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

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
    /// Of its plan.
    pub(super) digest: Option<&'a str>,
    pub(super) complete: bool,
}

/// A pass as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassRow {
    /// Its number.
    pub id: i64,
    /// Whose it was.
    pub tenant: TenantId,
    /// How much it read.
    pub kind: PassKind,
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
    /// All that it was to read was read.
    pub complete: bool,
    /// The watermark when it began.
    pub watermark_before: Option<Timestamp>,
    /// And after it.
    pub watermark_after: Option<Timestamp>,
    /// Of the rules that it decided by; `None` before its end, and when it came to nothing.
    pub mapping_digest: Option<String>,
    /// Of its plan, likewise.
    pub digest: Option<String>,
    /// What it found that should not have been there to find.
    pub drift: Drift,
    /// The hold that its operations are in, or were.
    pub hold: Option<i64>,
    /// What was decided about it: `approved`, `discarded` or `superseded`; `None` while it waits.
    pub hold_decision: Option<String>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    tenant: String,
    kind: String,
    started_at: i64,
    finished_at: Option<i64>,
    result: Option<String>,
    reason: Option<String>,
    users_read: i64,
    pages: i64,
    planned: i64,
    skipped: i64,
    unreadable: i64,
    missing: i64,
    complete: bool,
    watermark_before: Option<i64>,
    watermark_after: Option<i64>,
    mapping_digest: Option<String>,
    digest: Option<String>,
    deleted: i64,
    edited: i64,
    missed: i64,
    hold: Option<i64>,
    hold_decision: Option<String>,
}

impl Row {
    fn pass(self) -> Result<PassRow, StoreError> {
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let kind = PassKind::parse(&self.kind)
            .ok_or_else(|| StoreError::damaged(format!("pass {} is of an unknown kind", self.id)))?;
        Ok(PassRow {
            id: self.id,
            tenant: TenantId::from(self.tenant),
            kind,
            started_at: Timestamp::from_millis(self.started_at),
            finished_at: self.finished_at.map(Timestamp::from_millis),
            result: self.result,
            reason: self.reason,
            totals: PassTotals {
                users_read: number(self.users_read),
                pages: number(self.pages),
                planned: number(self.planned),
                skipped: number(self.skipped),
                unreadable: number(self.unreadable),
                missing: number(self.missing),
            },
            complete: self.complete,
            watermark_before: self.watermark_before.map(Timestamp::from_millis),
            watermark_after: self.watermark_after.map(Timestamp::from_millis),
            mapping_digest: self.mapping_digest,
            digest: self.digest,
            drift: Drift {
                deleted: number(self.deleted),
                edited: number(self.edited),
                missed: number(self.missed),
            },
            hold: self.hold,
            hold_decision: self.hold_decision,
        })
    }
}

macro_rules! passes {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, kind, started_at, finished_at, result, reason, users_read, pages, planned, skipped,
                 unreadable, missing, complete <> 0 AS complete, watermark_before, watermark_after, mapping_digest,
                 digest, deleted, edited, missed, hold,
                 (SELECT decision FROM holds WHERE id = passes.hold) AS hold_decision
             FROM passes ",
            $rest
        )
    };
}

impl Store {
    /// One pass, as long as it is remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pass(&self, id: i64) -> Result<Option<PassRow>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(passes!("WHERE id = $1")).bind(id).fetch_optional(&self.reader).await?;
        row.map(Row::pass).transpose()
    }

    /// The last sweep of `tenant` that was committed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_sweep(&self, tenant: &TenantId) -> Result<Option<PassRow>, StoreError> {
        let row: Option<Row> = sqlx::query_as(passes!(
            "WHERE tenant = $1 AND kind = 'sweep' AND result IN ('ok', 'degraded') ORDER BY id DESC LIMIT 1"
        ))
        .bind(tenant.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.map(Row::pass).transpose()
    }

    /// The newest passes of `tenant`, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn passes(&self, tenant: &TenantId, limit: u32) -> Result<Vec<PassRow>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(passes!("WHERE tenant = $1 ORDER BY id DESC LIMIT $2"))
            .bind(tenant.as_str())
            .bind(limit)
            .fetch_all(&self.reader)
            .await?;
        rows.into_iter().map(Row::pass).collect()
    }
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
        let mut tx = self.write().await?;
        let id = sqlx::query_scalar(
            "INSERT INTO passes (tenant, kind, started_at, watermark_before)
             VALUES ($1, $2, $3, (SELECT watermark FROM tenants WHERE name = $1)) RETURNING id",
        )
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .bind(now.millis())
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
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
    /// Notes that the pass of `tenant` that was running, if any, was broken off, and throws away what it had staged. A run
    /// goes on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn break_off(&self, tenant: &TenantId, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        let running: Vec<i64> = sqlx::query_scalar(
            "UPDATE passes SET finished_at = $2, result = 'failed', reason = 'broken off'
             WHERE tenant = $1 AND result IS NULL AND id NOT IN (SELECT pass FROM runs) RETURNING id",
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
             missed = $14, mapping_digest = $15, digest = $16, complete = $17,
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
    .bind(finished.digest)
    .bind(finished.complete)
    .execute(tx)
    .await?;
    Ok(())
}

/// A number as the database keeps it.
pub(super) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
