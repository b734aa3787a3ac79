//! `run_rows`, `run_found`, `provisioned`: the rows of a run, whom they mean, and what becomes of each.
//!
//! A row waits until it is decided, is planned while an operation carries it, and is finished with an outcome. It moves in
//! one transaction with its operation.

use futures_util::TryStreamExt as _;
use sqlx::{FromRow, SqliteConnection};

use super::{Run, Store, StoreError};
use crate::model::{
    Action, AttributesPayload, Cause, Finding, Met, Operation, Outcome, Payload, RejectedRow, TenantId,
    Timestamp, UserId,
};

/// So many rows are written or read in one transaction.
pub const ROWS_AT_ONCE: usize = 500;
/// From here on a line stands for a user whom no row names; no file has so many.
const UNNAMED: u64 = 1 << 40;

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

/// A user of the tenant whom a row may mean.
#[derive(Clone, Debug)]
pub struct Found {
    /// His id.
    pub user: UserId,
    /// By which HR knows him.
    pub external_id: Option<String>,
    /// In small letters.
    pub user_name: String,
    /// His record, JSON.
    pub record: String,
}

/// What was decided about a row.
#[derive(Clone, Debug)]
pub struct RowStep {
    /// Where it stands.
    pub line: u64,
    /// Whom it means.
    pub user: Option<UserId>,
    /// By which HR knows him, if no row names him.
    pub external_id: Option<String>,
    /// What is done for it.
    pub next: RowNext,
}

/// What is done for a row.
#[derive(Clone, Debug)]
pub enum RowNext {
    /// This is sent.
    Send {
        /// What it comes to.
        action: Action,
        /// What.
        operation: Operation,
        /// In a bulk request.
        packed: bool,
        /// It counts as so many failed attempts already.
        attempts: u32,
        /// Not before.
        due: Timestamp,
    },
    /// Nothing is.
    End {
        /// What has become of it.
        outcome: Outcome,
        /// Why, if it is not as the row wants it.
        reason: Option<String>,
    },
}

/// A row and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowEnd {
    /// Where it stands; `None` for a user whom no row names.
    pub line: Option<u64>,
    /// By which HR knows the user.
    pub external_id: Option<String>,
    /// The tenant's id of him.
    pub user: Option<UserId>,
    /// What was to be done.
    pub action: Option<Action>,
    /// What has become of it; `None` while it is open.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: Option<String>,
    /// Why it was rejected.
    pub rejected: Option<RejectedRow>,
    /// The operation that carried it.
    pub operation: Option<i64>,
    /// The tenant has said that he is there already.
    pub conflicted: bool,
}

/// Users whom no row of a run names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnamed {
    /// By id, each with what HR knows him by.
    pub users: Vec<(UserId, String)>,
    /// How many users earlier runs have created or found to be meant, and we have not made inactive.
    pub known: u64,
    /// The first line that stands for none of them yet.
    pub line: u64,
}

/// What is to be done for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRow {
    /// Where it stands; `None` for a user whom no row names.
    pub line: Option<u64>,
    /// By which HR knows the user.
    pub external_id: Option<String>,
    /// The tenant's id of him, if he is there.
    pub user: Option<UserId>,
    /// What it comes to.
    pub action: Option<Action>,
    /// The names of what is written, never the values.
    pub names: Vec<String>,
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

#[derive(FromRow)]
struct End {
    line: i64,
    external_id: Option<String>,
    user_id: Option<String>,
    action: Option<String>,
    outcome: Option<String>,
    reason: Option<String>,
    faults: Option<String>,
    operation: Option<i64>,
    conflicted: bool,
}

#[derive(FromRow)]
struct Planned {
    line: i64,
    external_id: Option<String>,
    user_id: Option<String>,
    action: Option<String>,
    payload: String,
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn stored(line: u64) -> i64 {
    i64::try_from(line).unwrap_or(i64::MAX)
}

impl Store {
    /// Hands in rows of a run that is being read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_rows(&self, run: i64, rows: &[NewRow], now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for row in rows {
            let (wanted, rejected) = match &row.wanted {
                Ok(wanted) => (Some(wanted.as_str()), None),
                Err(rejected) => (None, Some(json(rejected)?)),
            };
            let state = if rejected.is_some() { "finished" } else { "waiting" };
            sqlx::query(
                "INSERT INTO run_rows (run, line, state, external_id, user_name, user_id, wanted, faults, outcome,
                     finished_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            )
            .bind(run)
            .bind(stored(row.line))
            .bind(state)
            .bind(row.external_id.as_deref())
            .bind(row.user_name.as_deref())
            .bind(row.user.as_ref().map(UserId::as_str))
            .bind(wanted)
            .bind(&rejected)
            .bind(rejected.as_ref().map(|_| Outcome::Rejected.as_str()))
            .bind(rejected.as_ref().map(|_| now.millis()))
            .execute(&mut *tx)
            .await?;
        }
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
             WHERE run = $1 AND state = 'waiting' AND outcome IS NULL AND line > $2 AND due_at <= $3
             ORDER BY line LIMIT $4",
        )
        .bind(run)
        .bind(stored(after))
        .bind(now.millis())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
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

    /// Keeps those of `found` whom a row of the run may mean.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_found(&self, run: i64, found: &[Found]) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for found in found {
            sqlx::query(
                "INSERT INTO run_found (run, user_id, external_id, user_name, record)
                 SELECT $1, $2, $3, $4, $5 WHERE EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND external_id = $3)
                     OR EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND user_name = $4)
                 ON CONFLICT (run, user_id) DO UPDATE SET external_id = excluded.external_id,
                     user_name = excluded.user_name, record = excluded.record",
            )
            .bind(run)
            .bind(found.user.as_str())
            .bind(found.external_id.as_deref())
            .bind(&found.user_name)
            .bind(&found.record)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Whom a row may mean: by `externalId`, then by `userName`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn found(
        &self,
        run: i64,
        external_id: Option<&str>,
        user_name: Option<&str>,
    ) -> Result<Option<Found>, StoreError> {
        let row: Option<(String, Option<String>, String, String)> = sqlx::query_as(
            "SELECT user_id, external_id, user_name, record FROM (
                 SELECT 0 AS rank, f.* FROM run_found f WHERE run = $1 AND external_id = $2
                 UNION ALL
                 SELECT 1, f.* FROM run_found f WHERE run = $1 AND user_name = $3)
             ORDER BY rank, user_id LIMIT 1",
        )
        .bind(run)
        .bind(external_id)
        .bind(user_name)
        .fetch_optional(&self.reader)
        .await?;
        Ok(row.map(|(user, external_id, user_name, record)| Found {
            user: UserId::from(user),
            external_id,
            user_name,
            record,
        }))
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

    /// Whether we have made this user inactive because no row named him.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deactivated_by_us(&self, tenant: &TenantId, user: &UserId) -> Result<bool, StoreError> {
        let by_us: Option<bool> =
            sqlx::query_scalar("SELECT deactivated <> 0 FROM provisioned WHERE tenant = $1 AND user_id = $2")
                .bind(tenant.as_str())
                .bind(user.as_str())
                .fetch_optional(&self.reader)
                .await?;
        Ok(by_us.unwrap_or(false))
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

    /// Carries out what was decided about rows of a run, but holds it until it is approved under `digest`: nothing of it
    /// can be sent before.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved.
    pub async fn hold_rows(
        &self,
        run: &Run,
        steps: &[RowStep],
        (digest, findings): (&str, &[Finding]),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for step in steps {
            take(&mut tx, (&run.tenant, run.id, run.pass), step, now).await?;
        }
        let hold: i64 = sqlx::query_scalar(
            "INSERT INTO holds (tenant, digest, pass, created_at, operations, findings)
             VALUES ($1, $2, $3, $4, 0, $5)
             ON CONFLICT (tenant, digest) WHERE decision IS NULL DO UPDATE SET findings = excluded.findings, pass = excluded.pass
             RETURNING id",
        )
        .bind(run.tenant.as_str())
        .bind(digest)
        .bind(run.pass)
        .bind(now.millis())
        .bind(json(&findings)?)
        .fetch_one(&mut *tx)
        .await?;
        let lines = serde_json::json!(steps.iter().map(|step| step.line).collect::<Vec<_>>()).to_string();
        for statement in [
            // Whoever approves it may deliver it by a pass, which makes no bulk requests.
            "UPDATE operations SET state = 'held', hold = $3, packed = 0 WHERE state = 'ready' AND $4 > 0 AND id IN (
                 SELECT operation FROM run_rows WHERE run = $1 AND line IN (SELECT value FROM json_each($2)))",
            "UPDATE run_rows SET outcome = 'held', finished_at = $4 WHERE run = $1 AND outcome IS NULL AND $3 > 0
                 AND line IN (SELECT value FROM json_each($2))",
        ] {
            sqlx::query(statement)
                .bind(run.id)
                .bind(&lines)
                .bind(hold)
                .bind(now.millis())
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("UPDATE passes SET hold = $2, digest = $3 WHERE id = $1")
            .bind(run.pass)
            .bind(hold)
            .bind(digest)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "UPDATE holds SET operations = (SELECT count(*) FROM operations WHERE hold = $1 AND state = 'held') WHERE id = $1",
        )
        .bind(hold)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Carries out what was decided about rows of a run, as far as it can be now: a user who has an operation of this kind
    /// in flight is decided later.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved.
    pub async fn decide_rows(&self, run: &Run, steps: &[RowStep], now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for step in steps {
            take(&mut tx, (&run.tenant, run.id, run.pass), step, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Rows of a run and what has become of them, in their order, after the first `skip` of them.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn row_ends(&self, run: i64, skip: u64, most: usize) -> Result<Vec<RowEnd>, StoreError> {
        let rows: Vec<End> = sqlx::query_as(
            "SELECT line, external_id, user_id, action, outcome, reason, faults, operation, conflicted <> 0 AS conflicted
             FROM run_rows WHERE run = $1 ORDER BY line LIMIT $3 OFFSET $2",
        )
        .bind(run)
        .bind(stored(skip))
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(End::row).collect()
    }

    /// What is to be done for the rows of a run, in their order.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn planned_rows(&self, run: i64) -> Result<Vec<PlannedRow>, StoreError> {
        let mut rows = sqlx::query_as::<_, Planned>(
            "SELECT r.line, r.external_id, r.user_id, r.action, o.payload
             FROM run_rows r JOIN operations o ON o.id = r.operation WHERE r.run = $1 ORDER BY r.line",
        )
        .bind(run)
        .fetch(&self.reader);
        // What is written is dropped row by row: only its names are kept.
        let mut planned = Vec::new();
        while let Some(row) = rows.try_next().await? {
            planned.push(row.row()?);
        }
        Ok(planned)
    }

    /// Rows of a run that are wrong and do not even say whom they are about.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn nameless_rows(&self, run: i64) -> Result<u64, StoreError> {
        let rows: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM run_rows WHERE run = $1 AND outcome = 'rejected' AND faults IS NOT NULL
                 AND external_id IS NULL AND user_name IS NULL",
        )
        .bind(run)
        .fetch_one(&self.reader)
        .await?;
        Ok(number(rows))
    }

    /// The user as whom an earlier run knows the one with this `externalId`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn provisioned_as(
        &self,
        tenant: &TenantId,
        external_id: &str,
    ) -> Result<Option<UserId>, StoreError> {
        let user: Option<String> = sqlx::query_scalar(
            "SELECT user_id FROM provisioned WHERE tenant = $1 AND external_id = $2 LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(external_id)
        .fetch_optional(&self.reader)
        .await?;
        Ok(user.map(UserId::from))
    }

    /// Whom a run names in no row, not even in a bad one, of those whom earlier runs have created or found to be meant;
    /// whom we have made inactive already is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn no_longer_named(&self, tenant: &TenantId, run: i64) -> Result<Unnamed, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT user_id, external_id FROM provisioned p
             WHERE tenant = $1 AND run <> $2 AND deactivated = 0
                 AND NOT EXISTS (SELECT 1 FROM run_rows r WHERE r.run = $2 AND r.external_id = p.external_id)
                 AND NOT EXISTS (SELECT 1 FROM run_rows r WHERE r.run = $2 AND r.user_id = p.user_id)
                 AND NOT EXISTS (SELECT 1 FROM run_found f JOIN run_rows r ON r.run = f.run AND r.user_name = f.user_name
                     WHERE f.run = $2 AND f.user_id = p.user_id)
             ORDER BY user_id",
        )
        .bind(tenant.as_str())
        .bind(run)
        .fetch_all(&self.reader)
        .await?;
        let known: i64 =
            sqlx::query_scalar("SELECT count(*) FROM provisioned WHERE tenant = $1 AND deactivated = 0")
                .bind(tenant.as_str())
                .fetch_one(&self.reader)
                .await?;
        let line: i64 = sqlx::query_scalar(
            "SELECT coalesce(max(line) + 1, $2) FROM run_rows WHERE run = $1 AND line >= $2",
        )
        .bind(run)
        .bind(stored(UNNAMED))
        .fetch_one(&self.reader)
        .await?;
        let users = rows.into_iter().map(|(user, external_id)| (UserId::from(user), external_id)).collect();
        Ok(Unnamed { users, known: number(known), line: number(line) })
    }
}

impl Planned {
    fn row(self) -> Result<PlannedRow, StoreError> {
        let damaged =
            |_| StoreError::damaged(format!("what is planned for row {} cannot be read", self.line));
        let payload: Payload = serde_json::from_str(&self.payload).map_err(damaged)?;
        Ok(PlannedRow {
            line: Some(number(self.line)).filter(|line| *line < UNNAMED),
            external_id: self.external_id,
            user: self.user_id.map(UserId::from),
            action: self.action.as_deref().and_then(Action::parse),
            names: payload.names().into_iter().map(str::to_owned).collect(),
        })
    }
}

impl End {
    fn row(self) -> Result<RowEnd, StoreError> {
        let damaged = |_| StoreError::damaged(format!("the faults of row {} cannot be read", self.line));
        Ok(RowEnd {
            line: Some(number(self.line)).filter(|line| *line < UNNAMED),
            external_id: self.external_id,
            user: self.user_id.map(UserId::from),
            action: self.action.as_deref().and_then(Action::parse),
            outcome: self.outcome.as_deref().and_then(Outcome::parse),
            reason: self.reason,
            rejected: self.faults.as_deref().map(serde_json::from_str).transpose().map_err(damaged)?,
            operation: self.operation,
            conflicted: self.conflicted,
        })
    }
}

async fn take(
    tx: &mut SqliteConnection,
    (tenant, run, pass): (&TenantId, i64, i64),
    step: &RowStep,
    now: Timestamp,
) -> Result<(), StoreError> {
    match &step.next {
        RowNext::Send { action, operation, packed, attempts, due } => {
            let sent = (*action, operation, *packed, *attempts, *due);
            plan(tx, (tenant, run, pass), step, sent, now).await
        }
        RowNext::End { outcome, reason } => {
            let ended = (step.line, step.user.as_ref());
            end(tx, (tenant, run), ended, *outcome, reason.as_deref(), now).await
        }
    }
}

/// An operation that waits is replaced by a newer one; custom attributes are merged with it.
async fn plan(
    tx: &mut SqliteConnection,
    (tenant, run, pass): (&TenantId, i64, i64),
    step: &RowStep,
    (action, operation, packed, attempts, due): (Action, &Operation, bool, u32, Timestamp),
    now: Timestamp,
) -> Result<(), StoreError> {
    /// Somebody's operation is in flight: it will have ended by then, most of the time.
    const IN_FLIGHT: std::time::Duration = std::time::Duration::from_secs(1);
    let kind = operation.payload.kind();
    let open: Option<(i64, String, String)> = sqlx::query_as(
        "SELECT id, state, payload FROM operations WHERE tenant = $1 AND user_id = $2 AND kind = $3
             AND state IN ('ready', 'leased', 'stale', 'held', 'dead')",
    )
    .bind(tenant.as_str())
    .bind(operation.user.as_str())
    .bind(kind.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let in_flight = open.as_ref().is_some_and(|(_, state, _)| state == "leased");
    if in_flight || (operation.payload.creates() && unclear_before(tx, tenant, (run, step.line)).await?) {
        sqlx::query("UPDATE run_rows SET due_at = $3, state = 'waiting' WHERE run = $1 AND line = $2")
            .bind(run)
            .bind(stored(step.line))
            .bind(now.plus(IN_FLIGHT).millis())
            .execute(tx)
            .await?;
        return Ok(());
    }
    let mut payload = operation.payload.clone();
    let mut taken_over = None;
    if let Some((id, state, waiting)) = open {
        if let (Payload::Attributes(newer), Ok(Payload::Attributes(waiting)), "ready" | "held") =
            (&payload, serde_json::from_str(&waiting), state.as_str())
        {
            payload = Payload::Attributes(AttributesPayload::then(waiting, newer));
            taken_over = Some(id);
        }
        sqlx::query("UPDATE operations SET state = 'superseded', finished_at = $2 WHERE id = $1")
            .bind(id)
            .bind(now.millis())
            .execute(&mut *tx)
            .await?;
    }
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO operations (tenant, user_id, kind, state, target, payload, cause, version, traceparent, pass,
             created_at, due_at, attempts, packed)
         VALUES ($1, $2, $3, 'ready', $4, $5, $6, $7, NULL, $8, $9, $12, $10, $11) RETURNING id",
    )
    .bind(tenant.as_str())
    .bind(operation.user.as_str())
    .bind(kind.as_str())
    .bind(payload.target())
    .bind(json(&payload)?)
    .bind(operation.cause.as_str())
    .bind(operation.version.as_deref())
    .bind(pass)
    .bind(now.millis())
    .bind(attempts)
    .bind(packed)
    .bind(due.millis())
    .fetch_one(&mut *tx)
    .await?;
    if let Some(earlier) = taken_over {
        sqlx::query("UPDATE run_rows SET operation = $2 WHERE operation = $1")
            .bind(earlier)
            .bind(id)
            .execute(&mut *tx)
            .await?;
    } else {
        // What another run had planned for him is decided otherwise now.
        sqlx::query(
            "UPDATE run_rows SET state = 'finished', outcome = 'superseded', finished_at = $2, wanted = NULL
             WHERE outcome IS NULL AND operation IN (SELECT id FROM operations WHERE tenant = $3 AND user_id = $4
                 AND kind = $5 AND state = 'superseded' AND id < $1) AND NOT (run = $6 AND line = $7)",
        )
        .bind(id)
        .bind(now.millis())
        .bind(tenant.as_str())
        .bind(operation.user.as_str())
        .bind(kind.as_str())
        .bind(run)
        .bind(stored(step.line))
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query(
        "INSERT INTO run_rows (run, line, state, user_id, action, operation, external_id)
         VALUES ($1, $2, 'planned', $3, $4, $5, $6)
         ON CONFLICT (run, line) DO UPDATE SET state = 'planned', user_id = coalesce(excluded.user_id, user_id),
             action = excluded.action, operation = excluded.operation, outcome = NULL",
    )
    .bind(run)
    .bind(stored(step.line))
    .bind(step.user.as_ref().map(UserId::as_str))
    .bind(action.as_str())
    .bind(id)
    .bind(step.external_id.as_deref())
    .execute(&mut *tx)
    .await?;
    if let (Some(user), Cause::Asked, Payload::Profile(_)) = (&step.user, operation.cause, &operation.payload)
    {
        remember(tx, tenant, run, step.line, user).await?;
    }
    Ok(())
}

/// Whether the user of a row may have been created for an export that was superseded, and is still to be looked up for it.
async fn unclear_before(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    (run, line): (i64, u64),
) -> Result<bool, StoreError> {
    let unclear: i64 = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM runs u CROSS JOIN run_rows n CROSS JOIN run_rows b
             WHERE u.tenant = $1 AND u.state = 'superseded' AND n.run = $2 AND n.line = $3
                 AND b.run = u.id AND b.external_id = n.external_id AND b.state = 'waiting' AND b.outcome IS NULL)",
    )
    .bind(tenant.as_str())
    .bind(run)
    .bind(stored(line))
    .fetch_one(tx)
    .await?;
    Ok(unclear > 0)
}

/// The rows that these operations were to carry come to this end, as far as they have come to none.
pub(super) async fn end_with(
    tx: &mut SqliteConnection,
    operations: &[i64],
    (outcome, reason): (Outcome, Option<&str>),
    now: Timestamp,
) -> Result<(), StoreError> {
    if operations.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE run_rows SET state = 'finished', outcome = $2, reason = $3, finished_at = $4, wanted = NULL
         WHERE operation IN (SELECT value FROM json_each($1)) AND state = 'planned'
             AND (outcome IS NULL OR outcome = 'held')",
    )
    .bind(serde_json::json!(operations).to_string())
    .bind(outcome.as_str())
    .bind(reason)
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

async fn end(
    tx: &mut SqliteConnection,
    (tenant, run): (&TenantId, i64),
    (line, user): (u64, Option<&UserId>),
    outcome: Outcome,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE run_rows SET state = 'finished', outcome = $3, reason = $4, user_id = coalesce($5, user_id),
             finished_at = $6, wanted = NULL, user_name = CASE WHEN (SELECT state FROM runs WHERE id = $1) = 'superseded'
                 THEN NULL ELSE user_name END
         WHERE run = $1 AND line = $2",
    )
    .bind(run)
    .bind(stored(line))
    .bind(outcome.as_str())
    .bind(reason)
    .bind(user.map(UserId::as_str))
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    if let (Outcome::Unchanged | Outcome::Created | Outcome::Skipped, Some(user)) = (outcome, user) {
        remember(tx, tenant, run, line, user).await?;
        if outcome != Outcome::Skipped {
            take_away(tx, tenant, run, user, now).await?;
        }
    }
    Ok(())
}

/// An export finds a user as he is to be: what an earlier one decided otherwise, and has not sent, is not sent any more.
async fn take_away(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    run: i64,
    user: &UserId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let taken: Vec<i64> = sqlx::query_scalar(
        "UPDATE operations SET state = 'superseded', finished_at = $4
         WHERE tenant = $1 AND user_id = $2 AND kind = 'profile' AND state IN ('ready', 'held', 'dead')
             AND pass <= (SELECT pass FROM runs WHERE id = $3 AND kind = 'provision')
         RETURNING id",
    )
    .bind(tenant.as_str())
    .bind(user.as_str())
    .bind(run)
    .bind(now.millis())
    .fetch_all(&mut *tx)
    .await?;
    end_with(tx, &taken, (Outcome::Superseded, None), now).await
}

/// A row means this user. Of an attributes file nothing is remembered: it does not say who is to be there.
async fn remember(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    run: i64,
    line: u64,
    user: &UserId,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO provisioned (tenant, user_id, external_id, run)
         SELECT $1, $2, external_id, $3 FROM run_rows
         WHERE run = $3 AND line = $4 AND external_id IS NOT NULL
             AND (SELECT kind FROM runs WHERE id = $3) = 'provision'
         ON CONFLICT (tenant, user_id) DO UPDATE SET external_id = excluded.external_id, run = excluded.run",
    )
    .bind(tenant.as_str())
    .bind(user.as_str())
    .bind(run)
    .bind(stored(line))
    .execute(tx)
    .await?;
    Ok(())
}

/// The operation `operation` has come to its end: so have the rows that it carries, and those that had failed with it before
/// it was sent once more. What a creation has made is known by `user` from now on.
pub(super) async fn settle(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    operation: i64,
    settled: &Settled<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows: Vec<(i64, i64, Option<String>, bool, bool)> = sqlx::query_as(
        "SELECT r.run, r.line, r.action, r.wanted IS NOT NULL, u.state = 'superseded'
         FROM run_rows r JOIN runs u ON u.id = r.run
         WHERE r.operation = $1 AND (r.state = 'planned' OR r.outcome = 'failed')",
    )
    .bind(operation)
    .fetch_all(&mut *tx)
    .await?;
    for (run, line, action, wants, superseded) in rows {
        let action = action.as_deref().and_then(Action::parse);
        let ended = match settled.end {
            // A newer export says how he is to be; but whom we may have created we must know of.
            RowSettled::LookUp(Met::Conflict | Met::Changed, _) if superseded => RowSettled::Superseded,
            // No row says any more how he is to be: the next run decides anew.
            RowSettled::LookUp(..) if !wants => RowSettled::Failed,
            end => end,
        };
        let (state, outcome) = match ended {
            RowSettled::Done => ("finished", action.map(Action::outcome)),
            RowSettled::Failed => ("finished", Some(Outcome::Failed)),
            RowSettled::Superseded => ("finished", Some(Outcome::Superseded)),
            RowSettled::LookUp(..) => ("waiting", None),
        };
        let reason = match (settled.end, ended) {
            (RowSettled::LookUp(..), RowSettled::Failed) => settled
                .reason
                .or(Some("it is not known whether it was done: the next run of the file looks it up")),
            _ => settled.reason,
        };
        let (met, due) = match ended {
            RowSettled::LookUp(met, due) => (met, due),
            RowSettled::Done | RowSettled::Failed | RowSettled::Superseded => (Met::Nothing, now),
        };
        sqlx::query(
            "UPDATE run_rows SET state = $3, outcome = $4, reason = $5, met = $6, latency_ms = $7, attempts = $8,
                 user_id = coalesce($9, user_id), conflicted = conflicted OR $6 = 'conflict', due_at = $11,
                 finished_at = CASE WHEN $3 = 'finished' THEN $10 END,
                 wanted = CASE WHEN $3 = 'finished' THEN NULL ELSE wanted END,
                 user_name = CASE WHEN $3 = 'finished' AND $12 THEN NULL ELSE user_name END
             WHERE run = $1 AND line = $2",
        )
        .bind(run)
        .bind(line)
        .bind(state)
        .bind(outcome.map(Outcome::as_str))
        .bind(reason)
        .bind(met.as_str())
        .bind(settled.latency_ms)
        .bind(settled.attempts)
        .bind(settled.user.map(UserId::as_str))
        .bind(now.millis())
        .bind(due.millis())
        .bind(superseded)
        .execute(&mut *tx)
        .await?;
        if let (RowSettled::Done, Some(user)) = (ended, settled.user) {
            if action == Some(Action::Deactivate) {
                sqlx::query("UPDATE provisioned SET deactivated = 1 WHERE tenant = $1 AND user_id = $2")
                    .bind(tenant.as_str())
                    .bind(user.as_str())
                    .execute(&mut *tx)
                    .await?;
            } else {
                remember(tx, tenant, run, number(line), user).await?;
                sqlx::query(
                    "UPDATE provisioned SET deactivated = 0 WHERE tenant = $1 AND user_id = $2 AND $3 = 'reactivate'",
                )
                .bind(tenant.as_str())
                .bind(user.as_str())
                .bind(action.map(Action::as_str))
                .execute(&mut *tx)
                .await?;
            }
        }
        if ended == RowSettled::Failed {
            stop_refused(tx, run, reason, now).await?;
        }
    }
    Ok(())
}

/// How an operation that carries a row has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowSettled {
    /// It is done.
    Done,
    /// It was given up.
    Failed,
    /// It was decided otherwise while it was in flight, and is not sent again.
    Superseded,
    /// Whether it is done has to be looked up.
    LookUp(Met, Timestamp),
}

/// The end of an operation, for the rows that it carries.
pub(super) struct Settled<'a> {
    pub(super) end: RowSettled,
    pub(super) reason: Option<&'a str>,
    pub(super) latency_ms: Option<i64>,
    pub(super) attempts: i64,
    pub(super) user: Option<&'a UserId>,
}

/// A run of which nothing but refusals for one reason come back is stopped: the rest is held.
async fn stop_refused(
    tx: &mut SqliteConnection,
    run: i64,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let stopped = sqlx::query(
        "UPDATE runs SET state = 'stopped', reason = $2
         WHERE id = $1 AND state = 'open' AND stop_after IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND state = 'finished' AND latency_ms IS NOT NULL
                 AND outcome <> 'failed')
             AND (SELECT count(*) FROM run_rows WHERE run = $1 AND state = 'finished' AND outcome = 'failed'
                 AND reason IS $2) >= stop_after",
    )
    .bind(run)
    .bind(reason)
    .execute(&mut *tx)
    .await?;
    if stopped.rows_affected() == 0 {
        return Ok(());
    }
    for hold in [
        "UPDATE operations SET state = 'held'
         WHERE state = 'ready' AND $2 > 0 AND pass = (SELECT pass FROM runs WHERE id = $1)",
        "UPDATE run_rows SET outcome = 'held', finished_at = $2
         WHERE run = $1 AND outcome IS NULL AND (state = 'waiting'
             OR operation IN (SELECT id FROM operations WHERE state = 'held'))",
    ] {
        sqlx::query(hold).bind(run).bind(now.millis()).execute(&mut *tx).await?;
    }
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::damaged(format!("a row cannot be written: {error}")))
}
