//! `bulk_jobs`: bulk requests that are under way, with the operations that are in them.
//!
//! A request is written down before it is submitted, and the tenant's name for it before it is asked about. What happened to
//! one whose submission was not answered nobody knows: its users are looked up.

use sqlx::SqliteConnection;

use super::outbox::{LONGEST_DELAY, Leased, Row, leased, settle};
use super::row_settlement::{self, RowSettled, Settled};
use super::{AuditHead, Settlement, Store, StoreError, audit_head, provisioned};
use crate::model::{Met, Outcome, Payload, TenantId, Timestamp};

/// How much may be in one bulk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// Operations, at least 1.
    pub operations: usize,
    /// Bytes of payload.
    pub bytes: usize,
}

/// A bulk request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its row.
    pub id: i64,
    /// The tenant's name for it; `None` before it is submitted.
    pub name: Option<String>,
    /// How often it was asked about.
    pub polls: u32,
    /// When it was, or is to be, submitted.
    pub submitted_at: Timestamp,
    /// What is in it.
    pub operations: Vec<Leased>,
}

impl Store {
    /// Leases what is to be sent in a bulk request, oldest first and as much as may be in one, and writes the request down.
    /// `None` when nothing is due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pack(
        &self,
        tenant: &TenantId,
        limits: JobLimits,
        now: Timestamp,
    ) -> Result<Option<Job>, StoreError> {
        let mut tx = self.write().await?;
        let due: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT id, length(CAST(payload AS BLOB)) + 256 FROM operations o
             WHERE tenant = $1 AND state = 'ready' AND packed = 1 AND (due_at <= $2 OR due_at > $5) AND ($4 IS NULL OR pass = $4)
                 AND NOT EXISTS (SELECT 1 FROM operations f
                     WHERE f.tenant = o.tenant AND f.user_id = o.user_id AND f.state = 'leased')
             ORDER BY due_at, id LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(now.millis())
        .bind(i64::try_from(limits.operations).unwrap_or(i64::MAX))
        .bind(self.only)
        .bind(now.plus(LONGEST_DELAY).millis())
        .fetch_all(&mut *tx)
        .await?;
        let (mut bytes, mut ids) = (0, Vec::new());
        for (id, length) in due {
            bytes += usize::try_from(length).unwrap_or(usize::MAX);
            if bytes > limits.bytes && !ids.is_empty() {
                break;
            }
            ids.push(id);
        }
        if ids.is_empty() {
            return Ok(None);
        }
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO bulk_jobs (tenant, state, operations, submitted_at) VALUES ($1, 'submitting', $2, $3)
             RETURNING id",
        )
        .bind(tenant.as_str())
        .bind(i64::try_from(ids.len()).unwrap_or(i64::MAX))
        .bind(now.millis())
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE operations SET state = 'leased', lease = coalesce(lease, 0) + 1, touched_at = $2, job = $3
             WHERE id IN (SELECT value FROM json_each($1))",
        )
        .bind(serde_json::json!(ids).to_string())
        .bind(now.millis())
        .bind(id)
        .execute(&mut *tx)
        .await?;
        let operations = operations_of(&mut tx, id).await?;
        provisioned::begin_deactivation(&mut tx, tenant, &operations).await?;
        tx.commit().await?;
        Ok(Some(Job { id, name: None, polls: 0, submitted_at: now, operations }))
    }

    /// Whether anything waits to be sent in a bulk request, or is in one that is under way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bulk_waits(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        let waits: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM operations WHERE tenant = $1 AND state = 'ready' AND packed = 1)
                 OR EXISTS (SELECT 1 FROM bulk_jobs
                     WHERE tenant = $1 AND state = 'submitted' AND finished_at IS NULL)",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        Ok(waits > 0)
    }

    /// When the next operation is due that is to be sent in a bulk request; `now` at the latest if that is too far ahead.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_packed(
        &self,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT min(iif(due_at > $4, $3, due_at)) FROM operations
             WHERE tenant = $1 AND state = 'ready' AND packed = 1 AND ($2 IS NULL OR pass = $2)",
        )
        .bind(tenant.as_str())
        .bind(self.only)
        .bind(now.millis())
        .bind(now.plus(LONGEST_DELAY).millis())
        .fetch_one(&self.reader)
        .await?;
        Ok(due.map(Timestamp::from_millis))
    }

    /// A bulk request of `tenant` that was submitted and is not finished.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submitted_job(&self, tenant: &TenantId) -> Result<Option<Job>, StoreError> {
        let mut reader = self.reader.acquire().await?;
        let row: Option<(i64, Option<String>, i64, i64)> = sqlx::query_as(
            "SELECT id, job, polls, submitted_at FROM bulk_jobs
             WHERE tenant = $1 AND state = 'submitted' AND finished_at IS NULL ORDER BY id LIMIT 1",
        )
        .bind(tenant.as_str())
        .fetch_optional(&mut *reader)
        .await?;
        let Some((id, name, polls, submitted_at)) = row else { return Ok(None) };
        let operations = operations_of(&mut reader, id).await?;
        let polls = u32::try_from(polls).unwrap_or(u32::MAX);
        Ok(Some(Job { id, name, polls, submitted_at: Timestamp::from_millis(submitted_at), operations }))
    }

    /// The tenant has taken a bulk request, and calls it `name`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_submitted(&self, job: i64, name: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE bulk_jobs SET state = 'submitted', job = $2 WHERE id = $1")
            .bind(job)
            .bind(name)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// The tenant was asked about a bulk request once more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_polled(&self, job: i64) -> Result<(), StoreError> {
        sqlx::query("UPDATE bulk_jobs SET polls = polls + 1 WHERE id = $1")
            .bind(job)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// A bulk request has come to its end, and so has each operation in it: those that are named by no settlement go
    /// back to the queue, and are not put into another one.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved.
    pub async fn finish_job(
        &self,
        tenant: &TenantId,
        job: &Job,
        settlements: &[Settlement],
        (audited, reason): (Option<&AuditHead>, Option<&str>),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        if let Some(head) = audited {
            audit_head::remember(&mut tx, head).await?;
        }
        let settled: Vec<i64> = settlements.iter().map(|settlement| settlement.id).collect();
        sqlx::query(
            "UPDATE operations SET packed = 0, job = iif(id IN (SELECT value FROM json_each($2)), NULL, job)
             WHERE job = $1 AND state = 'leased'",
        )
        .bind(job.id)
        .bind(serde_json::json!(settled).to_string())
        .execute(&mut *tx)
        .await?;
        settle(&mut tx, tenant, settlements, now).await?;
        close(&mut tx, job, reason, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A bulk request was not taken: all that is in it goes back to the queue, and may be put into another one.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved.
    pub async fn put_job_back(&self, job: &Job, reason: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        close(&mut tx, job, Some(reason), now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whatever waits to be sent in a bulk request is sent by itself: the tenant takes none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unpack(&self, tenant: &TenantId) -> Result<(), StoreError> {
        sqlx::query("UPDATE operations SET packed = 0 WHERE tenant = $1 AND state = 'ready' AND packed = 1")
            .bind(tenant.as_str())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

/// What is still leased waits again, unless it was decided otherwise; nothing belongs to the request any more.
async fn close(
    tx: &mut SqliteConnection,
    job: &Job,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let superseded: Vec<i64> = sqlx::query_scalar(
        "UPDATE operations SET state = 'superseded', finished_at = $2, job = NULL
         WHERE job = $1 AND state = 'leased' AND superseded = 1 RETURNING id",
    )
    .bind(job.id)
    .bind(now.millis())
    .fetch_all(&mut *tx)
    .await?;
    row_settlement::end_with(tx, &superseded, (Outcome::Superseded, None), now).await?;
    sqlx::query(
        "UPDATE operations SET state = 'ready', due_at = max(due_at, $2), touched_at = $2, job = NULL
         WHERE job = $1 AND state = 'leased'",
    )
    .bind(job.id)
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE bulk_jobs SET state = 'finished', finished_at = $2, reason = $3 WHERE id = $1")
        .bind(job.id)
        .bind(now.millis())
        .bind(reason)
        .execute(tx)
        .await?;
    Ok(())
}

async fn operations_of(connection: &mut SqliteConnection, job: i64) -> Result<Vec<Leased>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, lease, user_id, payload, cause, version, attempts, traceparent, pass, found, NULL
         FROM operations WHERE job = $1 AND state = 'leased' ORDER BY id",
    )
    .bind(job)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| leased(row).map_err(|damaged| StoreError::damaged(damaged.reason))).collect()
}

/// What a killed owner had submitted goes on where the tenant has a name for it. Whether the rest is done nobody knows: a
/// user who may have been created is looked up, and so is he who was being created by himself.
pub(super) async fn clear(tx: &mut SqliteConnection, now: Timestamp) -> Result<(), StoreError> {
    let unclear: Vec<(i64, String, i64, String)> = sqlx::query_as(
        "SELECT o.id, o.tenant, o.attempts, o.payload FROM operations o
         WHERE o.state = 'leased' AND o.kind = 'profile'
             AND (o.job IS NULL OR o.job IN (SELECT id FROM bulk_jobs WHERE state = 'submitting'))",
    )
    .fetch_all(&mut *tx)
    .await?;
    for (id, tenant, attempts, payload) in unclear {
        let creates = serde_json::from_str::<Payload>(&payload).is_ok_and(|payload| payload.creates());
        if !creates {
            continue;
        }
        let settled = Settled {
            operation: id,
            end: RowSettled::LookUp(Met::Unclear, now),
            reason: Some("interrupted"),
            refusal: None,
            latency_ms: None,
            attempts,
            user: None,
        };
        row_settlement::settle(tx, &TenantId::from(tenant), &[settled], now).await?;
        sqlx::query("UPDATE operations SET state = 'superseded', finished_at = $2, job = NULL, payload = '{}' WHERE id = $1")
            .bind(id)
            .bind(now.millis())
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(
        "UPDATE operations SET job = NULL, packed = 0
         WHERE job IN (SELECT id FROM bulk_jobs WHERE state = 'submitting')",
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE bulk_jobs SET state = 'unclear', finished_at = $1, reason = 'interrupted' WHERE state = 'submitting'",
    )
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}
