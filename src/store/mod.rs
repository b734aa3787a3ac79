//! The database: one file a table, and SQL nowhere else.
//!
//! It keeps what it is told and decides nothing but what the rules of the outbox say: one open operation
//! for each user and kind, and operations, snapshot and watermark in one transaction.
//!
//! `SQLite` in WAL mode with `synchronous = NORMAL`: a power cut can lose the last transactions, but only
//! whole ones, and a lost one is read or sent again.

mod audit_head;
mod backup;
mod commit;
mod dead_letters;
mod done;
mod drift;
mod error;
mod file;
mod found;
mod grants;
mod history;
mod holds;
mod jobs;
mod mappings;
mod naming;
mod opening;
mod outbox;
mod passes;
mod provisioned;
mod reading;
mod requests;
mod rereads;
mod resets;
mod row_report;
mod row_settlement;
mod row_steps;
mod rows;
mod runs;
mod scratch;
mod snapshot;
mod staging;
mod status;
mod tally;
mod tenants;
mod troubles;
mod unclear;
mod unfinished;
mod webhooks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

pub use audit_head::AuditHead;
pub use commit::{Commit, Committed};
pub use dead_letters::{DeadLetter, Selection};
pub use drift::Drift;
pub use error::StoreError;
pub use file::Occupant;
pub use found::Found;
pub use history::{Sent, Work};
pub use holds::{Hold, HoldDecision, NewHold, Released};
pub use jobs::{Job, JobLimits};
pub use naming::Held;
pub use opening::{Ended, NewRun, Opened};
pub use outbox::{Damaged, Leased, Note, Settlement, Step, Turn};
pub use passes::{PassRow, PassTotals};
pub use provisioned::Unnamed;
pub use reading::Reading;
pub use requests::Request;
pub use resets::{Reset, ResetDone};
pub use row_report::{PlannedRow, RowEnd, RowEnds};
pub use row_steps::{RowNext, RowStep};
pub use rows::{NewRow, ROWS_AT_ONCE, WaitingRow};
pub use runs::{Run, RunCounts};
pub use snapshot::Known;
pub use staging::{Decision, Staged};
pub use status::{Backlog, OperationCounts, TenantStatus};
pub use tenants::TenantState;
pub use troubles::{Part, TroubleRow};
pub use unclear::Unclear;
pub use unfinished::UnfinishedRun;
pub use webhooks::{NewWebhook, NextWebhook, Webhook, WebhookCounts, WebhookSettlement, WebhookStep};

use crate::model::{Outcome, Timestamp};

/// How long a statement waits for another process to finish its transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log goes into the database file when it has so many pages (4 KiB each): a page that many transactions
/// change is written there once.
const LOG_PAGES: &str = "4000";
/// Whoever opens a database that its owner is just making or bringing up to date looks so often whether he is done …
const MIGRATION_LOOKS: u32 = 100;
/// … with so much time between.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// Statuses and plans are read beside the writer.
const READERS: u32 = 2;
/// Finished operations and passes are kept this long.
const RETENTION: Duration = Duration::from_hours(168);

/// The open database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    reader: SqlitePool,
    /// Where it is, to be named when it turns out to be damaged.
    path: Arc<Path>,
    /// The same, if others may use it beside us; `None` for a copy that nobody else sees.
    shared: Option<Arc<Path>>,
    /// What is leased was decided by this pass.
    only: Option<i64>,
    /// Held for as long as any clone lives.
    owner: Option<Arc<file::Owner>>,
}

impl Store {
    /// Opens the database as its one owner: creates it when it is not there, brings its schema up to date,
    /// and clears away what a killed owner left half done.
    ///
    /// # Errors
    /// When another process owns it, when it cannot be written, is damaged, not ours, or newer than we are.
    pub async fn own(path: &Path, now: Timestamp) -> Result<Self, StoreError> {
        let owner = file::Owner::lock(path).await?;
        file::create(path)?;
        file::check_ours(path)?;
        let store = Self::connect(path, Some(owner)).await?;
        file::migrate(path, &store.writer).await?;
        store.clear(now).await?;
        Ok(store)
    }

    /// Says beside the database that its owner, who we are, carries out what others ask for.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn announce_daemon(&self) -> Result<(), StoreError> {
        self.owner.as_ref().map_or(Ok(()), |owner| owner.announce_daemon())
    }

    /// Only what one pass decided is leased.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.only.is_some()
    }

    /// Who owns the database, if anybody does at this moment.
    ///
    /// # Errors
    /// When its lock cannot be looked at.
    pub fn occupant(path: &Path) -> Result<Option<Occupant>, StoreError> {
        file::occupant(path)
    }

    /// Insists on a database that has been used before.
    ///
    /// # Errors
    /// When there is none.
    pub fn check_there(path: &Path) -> Result<(), StoreError> {
        file::check_there(path)
    }

    /// Opens an existing database beside whoever owns it, to change single rows. While an owner is just making it, or brings
    /// its schema up to date, it is waited for.
    ///
    /// # Errors
    /// When it is not there, not ours, or of another schema than ours.
    pub async fn beside(path: &Path) -> Result<Self, StoreError> {
        for _ in 0..MIGRATION_LOOKS {
            match Self::beside_now(path).await {
                Err(StoreError::NotThere { .. } | StoreError::Older { .. })
                    if file::occupant(path)?.is_some() =>
                {
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
                opened => return opened,
            }
        }
        Self::beside_now(path).await
    }

    async fn beside_now(path: &Path) -> Result<Self, StoreError> {
        file::check_there(path)?;
        file::check_ours(path)?;
        let store = Self::connect(path, None).await?;
        file::check_schema(path, &store.reader).await?;
        Ok(store)
    }

    async fn connect(path: &Path, owner: Option<file::Owner>) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("wal_autocheckpoint", LOG_PAGES)
            .busy_timeout(BUSY_TIMEOUT);
        let error = |error| StoreError::open(path, error);
        let writer =
            SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(error)?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.pragma("query_only", "on"))
            .await
            .map_err(error)?;
        let path: Arc<Path> = path.into();
        let shared = Some(path.clone());
        Ok(Self { writer, reader, path, shared, only: None, owner: owner.map(Arc::new) })
    }

    /// Writes what is still in the log into the database file and closes it.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// A transaction that writes: it takes the write lock at once, because one that reads first and
    /// writes later fails whenever another process wrote in between.
    ///
    /// When the disk is full, `SQLite` rolls back by itself, and the connection is left believing that it is
    /// still inside a transaction: it is replaced.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        match self.writer.begin_with("BEGIN IMMEDIATE").await {
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await?.close().await?;
                Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
            }
            other => Ok(other?),
        }
    }

    /// Clears away what is half done: staged rows of a pass that did not end, leases of whoever is no more, requests
    /// that he had taken, which are taken again, and what was wrong with tenants then. What was found for rows that wait may be
    /// old: it is read anew.
    /// Nothing may be reading or delivering.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clear(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM staged_users").execute(&mut *tx).await?;
        sqlx::query("DELETE FROM staged_operations").execute(&mut *tx).await?;
        // An export is read again by its schedule, and not because somebody has started.
        sqlx::query("DELETE FROM troubles WHERE part <> 'export'").execute(&mut *tx).await?;
        sqlx::query(
            "UPDATE passes SET finished_at = $1, result = 'failed', reason = 'interrupted'
             WHERE result IS NULL AND id NOT IN (SELECT pass FROM runs)",
        )
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
        opening::clear(&mut tx, self.shared.as_deref()).await?;
        found::forget(&mut tx).await?;
        jobs::clear(&mut tx, now).await?;
        unclear::remember_in_flight(&mut tx).await?;
        let moved: Vec<(i64, bool)> = sqlx::query_as(
            "UPDATE operations SET state = CASE superseded WHEN 1 THEN 'superseded' ELSE 'ready' END,
                 finished_at = CASE superseded WHEN 1 THEN $1 END,
                 superseded = 0, due_at = $1, touched_at = $1
             WHERE state = 'leased' AND job IS NULL RETURNING id, state = 'superseded'",
        )
        .bind(now.millis())
        .fetch_all(&mut *tx)
        .await?;
        let superseded: Vec<i64> =
            moved.into_iter().filter_map(|(id, superseded)| superseded.then_some(id)).collect();
        row_settlement::end_with(&mut tx, &superseded, (Outcome::Superseded, None), now).await?;
        requests::put_back(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes finished operations, passes, runs, holds, requests and webhooks that are older than a week; a pass that is held
    /// is kept, and a run whose rows wait for something: for a look-up, for an approval, or for a dead letter that may be
    /// replayed. And files that were being read when their reader died.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        let before = now.minus(RETENTION).millis();
        let mut tx = self.write().await?;
        for delete in [
            "DELETE FROM operations WHERE finished_at < $1",
            "DELETE FROM run_rows WHERE run IN (SELECT id FROM runs WHERE finished_at < $1
                 AND NOT EXISTS (SELECT 1 FROM run_rows WHERE run = runs.id AND state = 'waiting' AND outcome IS NULL)
                 AND id NOT IN (SELECT r.run FROM operations o CROSS JOIN run_rows r ON r.operation = o.id
                     WHERE o.state IN ('ready', 'leased', 'stale', 'held', 'dead') AND o.kind <> 'teams'))",
            "DELETE FROM runs WHERE finished_at < $1 AND NOT EXISTS (SELECT 1 FROM run_rows WHERE run = runs.id)",
            "DELETE FROM passes WHERE finished_at < $1 AND id NOT IN (SELECT pass FROM runs)
                 AND id NOT IN (SELECT pass FROM holds WHERE decision IS NULL)",
            "DELETE FROM holds WHERE decided_at < $1",
            "DELETE FROM bulk_jobs WHERE finished_at < $1",
            // Nobody waits any more for what was never taken.
            "DELETE FROM requests WHERE coalesce(finished_at, CASE bound WHEN 0 THEN asked_at END) < $1",
            "DELETE FROM webhooks WHERE finished_at < $1",
        ] {
            sqlx::query(delete).bind(before).execute(&mut *tx).await?;
        }
        opening::clear(&mut tx, self.shared.as_deref()).await?;
        tx.commit().await?;
        Ok(())
    }
}
