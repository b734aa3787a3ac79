//! `runs`: files that are carried out, and how far each is. How one begins is told in [`opening`](super::opening).

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::rows::{UNNAMED, stored};
use super::{Store, StoreError};
use crate::model::{Outcome, RunKind, RunState, TenantId, Timestamp};

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is about.
    pub kind: RunKind,
    /// Over its file and what was asked.
    pub digest: String,
    /// The file's name.
    pub file: String,
    /// What was asked to be done with it, as JSON.
    pub options: String,
    /// To which its operations belong.
    pub pass: i64,
    /// How far it is.
    pub state: RunState,
    /// Why it was stopped.
    pub reason: Option<String>,
    /// Why it has made nobody inactive, in words, though it was asked to and somebody is no longer named.
    pub not_deactivated: Option<String>,
    /// The tenant's users have been read for it.
    pub read: bool,
    /// Who asked for it.
    pub operator: Option<u32>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// How many rows are where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Those of the file.
    pub rows: u64,
    /// Those of them that are not finished.
    pub open: u64,
    /// Users whom no row names, and who are to be made inactive.
    pub unnamed: u64,
    /// Those of them who are not finished.
    pub unnamed_open: u64,
    /// Rows and users that are sent, or wait to be.
    pub planned: u64,
    /// By outcome.
    pub created: u64,
    /// What differed was changed.
    pub updated: u64,
    /// Active again.
    pub reactivated: u64,
    /// Inactive, because no row names them.
    pub deactivated: u64,
    /// As they were to be.
    pub unchanged: u64,
    /// There already, and left alone.
    pub skipped: u64,
    /// Wrong rows.
    pub rejected: u64,
    /// Nobody knows whom they mean.
    pub unresolved: u64,
    /// Not taken by the tenant.
    pub failed: u64,
    /// Waiting for an approval.
    pub held: u64,
    /// Decided otherwise since.
    pub superseded: u64,
    /// Dropped by an operator.
    pub discarded: u64,
    /// Rows for which the tenant said that he is there already.
    pub conflicts: u64,
    /// Of what was sent and answered, milliseconds; `None` when nothing was.
    pub mean_latency_ms: Option<u64>,
    /// Nineteen of twenty took no longer.
    pub p95_latency_ms: Option<u64>,
}

impl RunCounts {
    /// Rows that have an outcome.
    #[must_use]
    pub const fn processed(&self) -> u64 {
        self.rows - self.open
    }

    /// Users who were written.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.created + self.updated + self.reactivated + self.deactivated
    }

    /// Somebody has to look at something.
    #[must_use]
    pub const fn left(&self) -> u64 {
        let ended = self.rejected + self.unresolved + self.failed + self.held + self.discarded;
        ended + self.open + self.unnamed_open
    }

    /// What has become of rows, each number under its name, in the order in which it is told.
    #[must_use]
    pub const fn numbers(&self) -> [(&'static str, u64); 13] {
        [
            ("created", self.created),
            ("updated", self.updated),
            ("reactivated", self.reactivated),
            ("deactivated", self.deactivated),
            ("unchanged", self.unchanged),
            ("skipped", self.skipped),
            ("conflicts", self.conflicts),
            ("rejected", self.rejected),
            ("unresolved", self.unresolved),
            ("failed", self.failed),
            ("held", self.held),
            ("superseded", self.superseded),
            ("discarded", self.discarded),
        ]
    }

    fn add(&mut self, outcome: Outcome, rows: u64) {
        let place = match outcome {
            Outcome::Created => &mut self.created,
            Outcome::Updated => &mut self.updated,
            Outcome::Reactivated => &mut self.reactivated,
            Outcome::Deactivated => &mut self.deactivated,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Rejected => &mut self.rejected,
            Outcome::Unresolved => &mut self.unresolved,
            Outcome::Failed => &mut self.failed,
            Outcome::Held => &mut self.held,
            Outcome::Superseded => &mut self.superseded,
            Outcome::Discarded => &mut self.discarded,
        };
        *place += rows;
    }
}

#[derive(FromRow)]
struct Row {
    id: i64,
    tenant: String,
    kind: String,
    digest: String,
    file: String,
    options: String,
    pass: i64,
    state: String,
    reason: Option<String>,
    not_deactivated: Option<String>,
    read: bool,
    operator: Option<u32>,
    started_at: i64,
    finished_at: Option<i64>,
}

impl Row {
    fn run(self) -> Result<Run, StoreError> {
        let damaged = |what: &str| StoreError::damaged(format!("run {} is of an unknown {what}", self.id));
        Ok(Run {
            kind: RunKind::parse(&self.kind).ok_or_else(|| damaged("kind"))?,
            state: RunState::parse(&self.state).ok_or_else(|| damaged("state"))?,
            id: self.id,
            tenant: TenantId::from(self.tenant),
            digest: self.digest,
            file: self.file,
            options: self.options,
            pass: self.pass,
            reason: self.reason,
            not_deactivated: self.not_deactivated,
            read: self.read,
            operator: self.operator,
            started_at: Timestamp::from_millis(self.started_at),
            finished_at: self.finished_at.map(Timestamp::from_millis),
        })
    }
}

macro_rules! runs {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, kind, digest, file, options, pass, state, reason, not_deactivated, read <> 0 AS read,
                 operator, started_at, finished_at
             FROM runs ",
            $rest
        )
    };
}

impl Store {
    /// One run.
    ///
    /// # Errors
    /// When the database fails, or has no such run.
    pub async fn run(&self, id: i64) -> Result<Run, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(runs!("WHERE id = $1")).bind(id).fetch_optional(&self.writer).await?;
        row.ok_or(StoreError::NoRun { run: id })?.run()
    }

    /// The run to which the operations of a pass belong, if it is one of a run.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_of_pass(&self, pass: i64) -> Result<Option<Run>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(runs!("WHERE pass = $1")).bind(pass).fetch_optional(&self.reader).await?;
        row.map(Row::run).transpose()
    }

    /// A run, as long as it is remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known_run(&self, id: i64) -> Result<Option<Run>, StoreError> {
        let row: Option<Row> =
            sqlx::query_as(runs!("WHERE id = $1")).bind(id).fetch_optional(&self.reader).await?;
        row.map(Row::run).transpose()
    }

    /// The last run of this kind over this digest that came further than being read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_over(
        &self,
        tenant: &TenantId,
        kind: RunKind,
        digest: &str,
    ) -> Result<Option<Run>, StoreError> {
        let row: Option<Row> = sqlx::query_as(runs!(
            "WHERE tenant = $1 AND kind = $2 AND digest = $3 AND state <> 'reading' ORDER BY id DESC LIMIT 1"
        ))
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .bind(digest)
        .fetch_optional(&self.reader)
        .await?;
        row.map(Row::run).transpose()
    }

    /// The last run of this kind over a file of this name that came further than being read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_run_of(
        &self,
        tenant: &TenantId,
        kind: RunKind,
        file: &str,
    ) -> Result<Option<Run>, StoreError> {
        let row: Option<Row> = sqlx::query_as(runs!(
            "WHERE tenant = $1 AND kind = $2 AND file = $3 AND state <> 'reading' ORDER BY id DESC LIMIT 1"
        ))
        .bind(tenant.as_str())
        .bind(kind.as_str())
        .bind(file)
        .fetch_optional(&self.reader)
        .await?;
        row.map(Row::run).transpose()
    }

    /// Runs of `tenant` that are to be carried out, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_runs(&self, tenant: &TenantId) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(runs!("WHERE tenant = $1 AND state = 'open' ORDER BY id"))
            .bind(tenant.as_str())
            .fetch_all(&self.reader)
            .await?;
        rows.into_iter().map(Row::run).collect()
    }

    /// Runs of `tenant` that are open or stopped, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unfinished_runs(&self, tenant: &TenantId) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(runs!("WHERE tenant = $1 AND state IN ('open', 'stopped') ORDER BY id"))
                .bind(tenant.as_str())
                .fetch_all(&self.reader)
                .await?;
        rows.into_iter().map(Row::run).collect()
    }

    /// Exports of `tenant` that were superseded while something of them was in flight which has come to no end yet: whether it
    /// was done has to be looked up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unclear_runs(&self, tenant: &TenantId) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(runs!(
            "WHERE tenant = $1 AND kind = 'provision' AND state = 'superseded' AND (
                 EXISTS (SELECT 1 FROM run_rows WHERE run = runs.id AND state = 'waiting' AND outcome IS NULL)
                 OR EXISTS (SELECT 1 FROM run_rows WHERE run = runs.id AND state = 'planned' AND outcome IS NULL))
             ORDER BY id"
        ))
        .bind(tenant.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(Row::run).collect()
    }

    /// Exports of `tenant` whose place another one has taken, and which have come to their end since, as long as it is not known
    /// that this was told, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn untold_runs(&self, tenant: &TenantId) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(runs!(
            "WHERE tenant = $1 AND untold = 1
                 AND NOT EXISTS (SELECT 1 FROM run_rows WHERE run = runs.id AND state = 'waiting' AND outcome IS NULL)
                 AND NOT EXISTS (SELECT 1 FROM run_rows WHERE run = runs.id AND state = 'planned' AND outcome IS NULL)
             ORDER BY id"
        ))
        .bind(tenant.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(Row::run).collect()
    }

    /// What became of a run was told, as far as anybody wants to know.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_told(&self, run: &Run) -> Result<(), StoreError> {
        sqlx::query("UPDATE runs SET untold = 0 WHERE id = $1").bind(run.id).execute(&self.writer).await?;
        Ok(())
    }

    /// From now on a run goes on, whatever is refused.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn force_run(&self, run: &Run) -> Result<(), StoreError> {
        sqlx::query("UPDATE runs SET stop_after = NULL WHERE id = $1")
            .bind(run.id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// A run that was stopped goes on: what is held, and what was refused, which counts anew towards the refusals that stop
    /// it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume_run(&self, run: &Run, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for ready in [
            "UPDATE operations SET state = 'ready', due_at = $2
             WHERE state = 'held' AND hold IS NULL AND pass = (SELECT pass FROM runs WHERE id = $1)
                 AND id IN (SELECT operation FROM run_rows WHERE run = $1)",
            // What was refused is asked for once more.
            "UPDATE operations SET state = 'ready', due_at = $2, attempts = 0
             WHERE state = 'dead' AND pass = (SELECT pass FROM runs WHERE id = $1)
                 AND id IN (SELECT operation FROM run_rows WHERE run = $1)",
            // So is who was not known, as far as nothing else is to be done for him since.
            "UPDATE operations AS o SET state = 'ready', due_at = $2, attempts = 0, finished_at = NULL
             WHERE state = 'gone' AND pass = (SELECT pass FROM runs WHERE id = $1)
                 AND EXISTS (SELECT 1 FROM run_rows WHERE operation = o.id AND refusal IS NOT NULL)
                 AND id = (SELECT max(id) FROM operations n WHERE n.pass = o.pass AND n.user_id = o.user_id
                     AND n.kind = o.kind AND n.state = 'gone')
                 AND NOT EXISTS (SELECT 1 FROM operations n WHERE n.tenant = o.tenant AND n.user_id = o.user_id
                     AND n.kind = o.kind AND n.state IN ('ready', 'leased', 'stale', 'held', 'dead'))",
            "UPDATE runs SET state = 'open', reason = NULL, finished_at = NULL, careful_since = $2 WHERE id = $1",
        ] {
            sqlx::query(ready).bind(run.id).bind(now.millis()).execute(&mut *tx).await?;
        }
        for resume in [
            "UPDATE run_rows SET state = 'planned', outcome = NULL, finished_at = NULL, latency_ms = NULL, refusal = NULL
             WHERE run = $1 AND outcome IN ('failed', 'unresolved')
                 AND operation IN (SELECT id FROM operations WHERE state = 'ready')",
            "UPDATE run_rows SET state = 'planned', outcome = NULL, finished_at = NULL
             WHERE run = $1 AND outcome = 'held'
                 AND operation IN (SELECT id FROM operations WHERE state = 'ready')",
            "UPDATE run_rows SET state = 'waiting', outcome = NULL, finished_at = NULL
             WHERE run = $1 AND outcome = 'held' AND operation IS NULL",
        ] {
            sqlx::query(resume).bind(run.id).execute(&mut *tx).await?;
        }
        // It may have been stopped long ago.
        for anew in ["DELETE FROM run_found WHERE run = $1", "UPDATE runs SET read = 0 WHERE id = $1"] {
            sqlx::query(anew).bind(run.id).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The tenant's users have been read for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_read(&self, run: &Run) -> Result<(), StoreError> {
        sqlx::query("UPDATE runs SET read = 1 WHERE id = $1").bind(run.id).execute(&self.writer).await?;
        Ok(())
    }

    /// Each row has an outcome, and it may be known why nobody is made inactive. What was kept of persons for its sake is
    /// forgotten. Returns whether it was open until now: one that was stopped, or superseded, meanwhile is left as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_run(
        &self,
        run: &Run,
        not_deactivated: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let finished = sqlx::query(
            "UPDATE runs SET state = 'finished', finished_at = $2, not_deactivated = $3 WHERE id = $1 AND state = 'open'",
        )
        .bind(run.id)
        .bind(now.millis())
        .bind(not_deactivated)
        .execute(&mut *tx)
        .await?;
        if finished.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE passes SET finished_at = $2, complete = 1,
                 result = CASE WHEN $4 OR EXISTS (SELECT 1 FROM run_rows WHERE run = $1
                     AND outcome IN ('rejected', 'unresolved', 'failed', 'held', 'discarded')) THEN 'degraded' ELSE 'ok' END,
                 users_read = (SELECT count(*) FROM run_rows WHERE run = $1 AND line < $3),
                 unreadable = (SELECT count(*) FROM run_rows WHERE run = $1 AND outcome = 'rejected'),
                 skipped = (SELECT count(*) FROM run_rows WHERE run = $1 AND outcome IN ('unchanged', 'skipped')),
                 planned = (SELECT count(*) FROM run_rows
                     WHERE run = $1 AND operation IS NOT NULL AND outcome <> 'held')
             WHERE id = (SELECT pass FROM runs WHERE id = $1)",
        )
        .bind(run.id)
        .bind(now.millis())
        .bind(stored(UNNAMED))
        .bind(not_deactivated.is_some())
        .execute(&mut *tx)
        .await?;
        for forget in [
            "UPDATE run_rows SET wanted = NULL, user_name = NULL WHERE run = $1",
            "DELETE FROM run_found WHERE run = $1",
        ] {
            sqlx::query(forget).bind(run.id).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// How far a run is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_counts(&self, run: i64) -> Result<RunCounts, StoreError> {
        let rows: Vec<(String, Option<String>, bool, i64, i64)> = sqlx::query_as(
            "SELECT state, outcome, line >= $2 AS unnamed, count(*), sum(conflicted) FROM run_rows WHERE run = $1
             GROUP BY state, outcome, unnamed",
        )
        .bind(run)
        .bind(stored(UNNAMED))
        .fetch_all(&self.reader)
        .await?;
        let mut counts = RunCounts::default();
        for (state, outcome, unnamed, rows, conflicts) in rows {
            let number = |count: i64| u64::try_from(count).unwrap_or(0);
            let (all, open) = if unnamed {
                (&mut counts.unnamed, &mut counts.unnamed_open)
            } else {
                (&mut counts.rows, &mut counts.open)
            };
            *all += number(rows);
            *open += if outcome.is_none() { number(rows) } else { 0 };
            counts.conflicts += number(conflicts);
            if let Some(outcome) = outcome.as_deref().and_then(Outcome::parse) {
                counts.add(outcome, number(rows));
            } else {
                counts.planned += if state == "planned" { number(rows) } else { 0 };
            }
        }
        Ok(counts)
    }

    /// The same with latencies.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run_summary(&self, run: i64) -> Result<RunCounts, StoreError> {
        let mut counts = self.run_counts(run).await?;
        let (mean, measured): (Option<f64>, i64) = sqlx::query_as(
            "SELECT avg(latency_ms), count(latency_ms) FROM run_rows WHERE run = $1 AND latency_ms IS NOT NULL",
        )
        .bind(run)
        .fetch_one(&self.reader)
        .await?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "milliseconds, never negative"
        )]
        let mean = mean.map(|mean| mean.round() as u64);
        counts.mean_latency_ms = mean;
        let p95: Option<i64> = sqlx::query_scalar(
            "SELECT latency_ms FROM run_rows WHERE run = $1 AND latency_ms IS NOT NULL
             ORDER BY latency_ms LIMIT 1 OFFSET $2",
        )
        .bind(run)
        .bind((measured * 95 + 99) / 100 - 1)
        .fetch_optional(&self.reader)
        .await?;
        counts.p95_latency_ms = p95.and_then(|p95| u64::try_from(p95).ok()).filter(|_| measured > 0);
        Ok(counts)
    }
}
