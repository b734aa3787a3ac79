//! `run_rows`, as they are told: what is to be done for each row, and what has become of it. Nothing is changed here.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use sqlx::FromRow;

use super::rows::{ROWS_AT_ONCE, UNNAMED, number};
use super::{Store, StoreError};
use crate::model::{Action, Outcome, Payload, Refusal, RejectedRow, UserId};

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
    /// What of it that reason names: attributes, or keys.
    pub names: BTreeSet<String>,
    /// Why it was rejected.
    pub rejected: Option<RejectedRow>,
    /// The operation that carried it.
    pub operation: Option<i64>,
    /// The tenant has said that he is there already.
    pub conflicted: bool,
}

/// Rows of a run and what has become of them, some at a time.
#[derive(Debug)]
pub struct RowEnds<'a> {
    store: &'a Store,
    run: i64,
    /// The last line that was read: what comes before it is not looked at again.
    after: i64,
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
struct End {
    line: i64,
    external_id: Option<String>,
    user_id: Option<String>,
    action: Option<String>,
    outcome: Option<String>,
    reason: Option<String>,
    refusal: Option<String>,
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

impl Store {
    /// Rows of a run and what has become of them, in their order.
    #[must_use]
    pub fn row_ends(&self, run: i64) -> RowEnds<'_> {
        RowEnds { store: self, run, after: 0 }
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
}

impl RowEnds<'_> {
    /// The next rows; `None` after the last.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn next(&mut self) -> Result<Option<Vec<RowEnd>>, StoreError> {
        let rows: Vec<End> = sqlx::query_as(
            "SELECT line, external_id, user_id, action, outcome, reason, refusal, faults, operation, conflicted <> 0 AS conflicted
             FROM run_rows WHERE run = $1 AND line > $2 ORDER BY line LIMIT $3",
        )
        .bind(self.run)
        .bind(self.after)
        .bind(i64::try_from(ROWS_AT_ONCE).unwrap_or(i64::MAX))
        .fetch_all(&self.store.reader)
        .await?;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = last.line;
        rows.into_iter().map(End::row).collect::<Result<_, _>>().map(Some)
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
        let damaged = |_| StoreError::damaged(format!("what is wrong with row {} cannot be read", self.line));
        let refusal: Option<Refusal> =
            self.refusal.as_deref().map(serde_json::from_str).transpose().map_err(damaged)?;
        Ok(RowEnd {
            line: Some(number(self.line)).filter(|line| *line < UNNAMED),
            external_id: self.external_id,
            user: self.user_id.map(UserId::from),
            action: self.action.as_deref().and_then(Action::parse),
            outcome: self.outcome.as_deref().and_then(Outcome::parse),
            reason: self.reason,
            names: refusal.map(|refusal| refusal.names).unwrap_or_default(),
            rejected: self.faults.as_deref().map(serde_json::from_str).transpose().map_err(damaged)?,
            operation: self.operation,
            conflicted: self.conflicted,
        })
    }
}
