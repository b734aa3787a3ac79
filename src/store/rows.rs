//! `run_rows`: the rows of a run, as they were read from its file, and which of them wait to be decided.
//!
//! A row waits until it is decided, is planned while an operation carries it, and is finished with an outcome. It moves in
//! one transaction with its operation.

use serde_json::{Value, json};
use sqlx::FromRow;

use super::outbox::LONGEST_DELAY;
use super::{Run, Store, StoreError};
use crate::model::{Met, RejectedRow, Timestamp, UserId};

/// So many rows are written or read in one transaction.
pub const ROWS_AT_ONCE: usize = 500;
/// From here on a line stands for a user whom no row names; no file has so many.
pub(super) const UNNAMED: u64 = 1 << 40;

/// Ends rows that are decided otherwise now, at the time $1: those of which `$which` is true.
macro_rules! superseded_rows {
    ($which:literal) => {
        concat!(
            "UPDATE run_rows SET state = 'finished', outcome = 'superseded', finished_at = $1, wanted = NULL
             WHERE ",
            $which
        )
    };
}
pub(super) use superseded_rows;

/// A row as it was read from its file.
#[derive(Clone, Debug)]
pub struct NewRow {
    /// Where it stands.
    pub line: u64,
    /// By which HR knows the user.
    pub external_id: Option<String>,
    /// In small letters.
    pub user_name: Option<String>,
    /// The tenant's id of him, if the row names it.
    pub user: Option<UserId>,
    /// What it wants, as JSON; or why it is wrong.
    pub wanted: Result<String, RejectedRow>,
}

/// A row that is to be decided.
#[derive(Clone, Debug)]
pub struct WaitingRow {
    /// Where it stands.
    pub line: u64,
    /// By which HR knows the user.
    pub external_id: Option<String>,
    /// In small letters.
    pub user_name: Option<String>,
    /// What it wants, as JSON.
    pub wanted: String,
    /// Why he is looked up.
    pub met: Met,
    /// Attempts of its operations so far.
    pub attempts: u32,
    /// The last of them.
    pub operation: Option<i64>,
    /// Whom it means, by the tenant's id.
    pub user: Option<UserId>,
}

#[derive(FromRow)]
struct Waiting {
    line: i64,
    external_id: Option<String>,
    user_name: Option<String>,
    wanted: String,
    met: String,
    attempts: i64,
    operation: Option<i64>,
    user_id: Option<String>,
}

impl NewRow {
    /// Its line, `externalId`, `userName`, id, what it wants, and why it is wrong.
    fn json(&self) -> Result<Value, StoreError> {
        let (wanted, faults) = match &self.wanted {
            Ok(wanted) => (Some(wanted.as_str()), None),
            Err(rejected) => (None, Some(json(rejected)?)),
        };
        let user = self.user.as_ref().map(UserId::as_str);
        Ok(json!([self.line, self.external_id, self.user_name, user, wanted, faults]))
    }
}

impl Store {
    /// Hands in rows of a run that is being read.
    ///
    /// # Errors
    /// When the database fails, or has no such run that is being read.
    pub async fn add_rows(&self, run: i64, rows: &[NewRow], now: Timestamp) -> Result<(), StoreError> {
        let rows = rows.iter().map(NewRow::json).collect::<Result<Vec<_>, _>>()?;
        let mut tx = self.write().await?;
        let there: i64 =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM runs WHERE id = $1 AND state = 'reading')")
                .bind(run)
                .fetch_one(&mut *tx)
                .await?;
        if there == 0 {
            return Err(StoreError::NoRun { run });
        }
        sqlx::query(
            "INSERT INTO run_rows (run, line, external_id, user_name, user_id, wanted, faults, state, outcome, finished_at)
             SELECT $1, n.value ->> 0, n.value ->> 1, n.value ->> 2, n.value ->> 3, n.value ->> 4, n.value ->> 5,
                 iif(n.value ->> 5 IS NULL, 'waiting', 'finished'),
                 iif(n.value ->> 5 IS NULL, NULL, 'rejected'), iif(n.value ->> 5 IS NULL, NULL, $3)
             FROM json_each($2) n WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(run)
        .bind(json(&rows)?)
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Rows that wait to be decided and are due, in their order, after the line `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting_rows(
        &self,
        run: i64,
        after: u64,
        most: usize,
        now: Timestamp,
    ) -> Result<Vec<WaitingRow>, StoreError> {
        let rows: Vec<Waiting> = sqlx::query_as(
            "SELECT line, external_id, user_name, wanted, met, attempts, operation, user_id FROM run_rows
             WHERE run = $1 AND state = 'waiting' AND outcome IS NULL AND line > $2 AND (due_at <= $3 OR due_at > $5)
             ORDER BY line LIMIT $4",
        )
        .bind(run)
        .bind(stored(after))
        .bind(now.millis())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .bind(now.plus(LONGEST_DELAY).millis())
        .fetch_all(&self.reader)
        .await?;
        let row = |row: Waiting| WaitingRow {
            line: number(row.line),
            external_id: row.external_id,
            user_name: row.user_name,
            wanted: row.wanted,
            met: Met::parse(&row.met).unwrap_or(Met::Unclear),
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            operation: row.operation,
            user: row.user_id.map(UserId::from),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Rows of a run that wait to be decided.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rows_waiting(&self, run: i64) -> Result<u64, StoreError> {
        let rows: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM run_rows WHERE run = $1 AND state = 'waiting' AND outcome IS NULL",
        )
        .bind(run)
        .fetch_one(&self.reader)
        .await?;
        Ok(number(rows))
    }

    /// Whether a row of a run has no outcome yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rows_open(&self, run: i64) -> Result<bool, StoreError> {
        let open: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND state = 'waiting' AND outcome IS NULL)
                 OR EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND state = 'planned' AND outcome IS NULL)",
        )
        .bind(run)
        .fetch_one(&self.reader)
        .await?;
        Ok(open > 0)
    }

    /// The line of another row that means this user, by its `externalId` or because it was decided so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn other_row(
        &self,
        run: i64,
        line: u64,
        user: &UserId,
        external_id: Option<&str>,
    ) -> Result<Option<u64>, StoreError> {
        let other: Option<i64> = sqlx::query_scalar(
            "SELECT min(line) FROM (
                 SELECT line FROM run_rows WHERE run = $1 AND user_id = $3 AND line <> $2
                 UNION ALL
                 SELECT line FROM run_rows WHERE run = $1 AND external_id = $4 AND line <> $2)",
        )
        .bind(run)
        .bind(stored(line))
        .bind(user.as_str())
        .bind(external_id)
        .fetch_one(&self.reader)
        .await?;
        Ok(other.map(number))
    }

    /// Users who are being created for a run, or are to be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn creations_open(&self, run: i64) -> Result<u64, StoreError> {
        let rows: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM run_rows WHERE run = $1 AND state = 'planned' AND outcome IS NULL AND action = 'create'",
        )
        .bind(run)
        .fetch_one(&self.reader)
        .await?;
        Ok(number(rows))
    }

    /// Whether a row of a run says how somebody is to be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn any_good_row(&self, run: i64) -> Result<bool, StoreError> {
        let any: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND line < $2 AND outcome IS NOT 'rejected')",
        )
        .bind(run)
        .bind(stored(UNNAMED))
        .fetch_one(&self.reader)
        .await?;
        Ok(any > 0)
    }

    /// Rows of a run, which is not finished, that are wrong and do not even say whom they are about. One says so whose
    /// `externalId` or `userName` is that of a user of the tenant, of one whom earlier runs had to do with, or of a good row;
    /// and one that has both names, neither of them known, which is about a newcomer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn nameless_rows(&self, run: &Run) -> Result<u64, StoreError> {
        let rows: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM run_rows b WHERE run = $1 AND outcome = 'rejected' AND faults IS NOT NULL
                 AND (external_id IS NULL OR user_name IS NULL)
                 AND NOT EXISTS (SELECT 1 FROM provisioned p WHERE p.tenant = $2 AND p.external_id = b.external_id)
                 AND NOT EXISTS (SELECT 1 FROM run_found f WHERE f.run = $1 AND f.external_id = b.external_id)
                 AND NOT EXISTS (SELECT 1 FROM run_found f WHERE f.run = $1 AND f.user_name = b.user_name)
                 AND NOT EXISTS (SELECT 1 FROM run_rows g WHERE g.run = $1 AND g.external_id = b.external_id
                     AND g.outcome IS NOT 'rejected')
                 AND NOT EXISTS (SELECT 1 FROM run_rows g WHERE g.run = $1 AND g.user_name = b.user_name
                     AND g.outcome IS NOT 'rejected')",
        )
        .bind(run.id)
        .bind(run.tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        Ok(number(rows))
    }
}

pub(super) fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

pub(super) fn stored(line: u64) -> i64 {
    i64::try_from(line).unwrap_or(i64::MAX)
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::damaged(format!("a row cannot be written: {error}")))
}
