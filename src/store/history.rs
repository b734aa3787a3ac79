//! What became of decisions: operations with all that is remembered of them, by pass, by hold, by user, and those
//! that are open. But for what is held, only changes of teams are told of here.
//!
//! It only reads. Finished operations are remembered for a week.

use sqlx::FromRow;

use super::{Store, StoreError};
use crate::model::{Cause, Operation, State, TenantId, Timestamp, UserId};

/// An operation and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its row.
    pub id: i64,
    /// What was decided.
    pub operation: Operation,
    /// Where it is on its way.
    pub state: State,
    /// The pass that decided it.
    pub pass: i64,
    /// When that was.
    pub created_at: Timestamp,
    /// It is not sent before.
    pub due_at: Timestamp,
    /// Failed attempts that counted.
    pub attempts: u32,
    /// When it was last sent or answered; `None` if it never was sent.
    pub touched_at: Option<Timestamp>,
    /// When it was finished; `None` while it is open.
    pub finished_at: Option<Timestamp>,
    /// The last answer's HTTP status, if it was no success.
    pub status: Option<u16>,
    /// Why, as the tenant put it.
    pub reason: Option<String>,
    /// By which the vendor's support finds the call.
    pub correlation_id: Option<String>,
    /// The hold that it is in, or was.
    pub hold: Option<i64>,
}

/// What was decided for a user, and what waits for him.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// His operations, newest first, finished ones included.
    pub operations: Vec<Sent>,
    /// When his record is read again, if it has to be.
    pub reread_at: Option<Timestamp>,
}

impl Work {
    /// The one that is open, if there is one.
    #[must_use]
    pub fn open(&self) -> Option<&Sent> {
        self.operations.iter().find(|sent| sent.state.open())
    }
}

#[derive(FromRow)]
struct Row {
    id: i64,
    user_id: String,
    state: String,
    payload: String,
    cause: String,
    version: Option<String>,
    pass: i64,
    created_at: i64,
    due_at: i64,
    attempts: i64,
    touched_at: i64,
    finished_at: Option<i64>,
    status: Option<u16>,
    reason: Option<String>,
    correlation_id: Option<String>,
    hold: Option<i64>,
}

macro_rules! operations {
    ($rest:literal) => {
        concat!(
            "SELECT id, user_id, state, payload, cause, version, pass, created_at, due_at, attempts, touched_at,
                 finished_at, status, reason, correlation_id, hold
             FROM operations ",
            $rest
        )
    };
}

impl Store {
    /// What the pass `pass` decided, by user.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn operations_of_pass(&self, pass: i64) -> Result<Vec<Sent>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(operations!("WHERE pass = $1 AND kind = 'teams' ORDER BY user_id, id"))
                .bind(pass)
                .fetch_all(&self.reader)
                .await?;
        rows.into_iter().map(Row::sent).collect()
    }

    /// What the hold `hold` still holds, by user.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn operations_of_hold(&self, hold: i64) -> Result<Vec<Sent>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(operations!("WHERE hold = $1 AND state = 'held' ORDER BY user_id, id"))
                .bind(hold)
                .fetch_all(&self.reader)
                .await?;
        rows.into_iter().map(Row::sent).collect()
    }

    /// All operations of `tenant` that are open, by user.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn open_operations(&self, tenant: &TenantId) -> Result<Vec<Sent>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(operations!(
            "WHERE tenant = $1 AND kind = 'teams' AND state IN ('ready', 'leased', 'stale', 'held', 'dead') ORDER BY user_id, id"
        ))
        .bind(tenant.as_str())
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(Row::sent).collect()
    }

    /// The dead letters of these users of `tenant`.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn dead_among(
        &self,
        tenant: &TenantId,
        users: impl IntoIterator<Item = &UserId>,
    ) -> Result<Vec<Sent>, StoreError> {
        let users: Vec<&str> = users.into_iter().map(UserId::as_str).collect();
        // Found by user: there may be any number of others.
        let rows: Vec<Row> = sqlx::query_as(operations!(
            "WHERE state = 'dead' AND id IN (SELECT o.id FROM json_each($2) u
                 CROSS JOIN operations o ON o.tenant = $1 AND o.user_id = u.value)"
        ))
        .bind(tenant.as_str())
        .bind(serde_json::json!(users).to_string())
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(Row::sent).collect()
    }

    /// What was decided for a user, and what waits for him.
    ///
    /// # Errors
    /// When the database fails, or a row is damaged.
    pub async fn work_of(&self, tenant: &TenantId, user: &UserId) -> Result<Work, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(operations!(
            "WHERE tenant = $1 AND user_id = $2 AND kind = 'teams' ORDER BY id DESC"
        ))
        .bind(tenant.as_str())
        .bind(user.as_str())
        .fetch_all(&self.reader)
        .await?;
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT coalesce(nullif(due_at, 0), since, 0) FROM rereads WHERE tenant = $1 AND user_id = $2",
        )
        .bind(tenant.as_str())
        .bind(user.as_str())
        .fetch_optional(&self.reader)
        .await?;
        let operations = rows.into_iter().map(Row::sent).collect::<Result<_, _>>()?;
        Ok(Work { operations, reread_at: due.map(Timestamp::from_millis) })
    }
}

impl Row {
    fn sent(self) -> Result<Sent, StoreError> {
        let damaged = |what: &str| StoreError::damaged(format!("operation {} has {what}", self.id));
        let payload =
            serde_json::from_str(&self.payload).map_err(|_| damaged("a payload that cannot be read"))?;
        let cause = Cause::parse(&self.cause).ok_or_else(|| damaged("an unknown cause"))?;
        let state = State::parse(&self.state).ok_or_else(|| damaged("an unknown state"))?;
        Ok(Sent {
            id: self.id,
            operation: Operation { user: UserId::from(self.user_id), payload, cause, version: self.version },
            state,
            pass: self.pass,
            created_at: Timestamp::from_millis(self.created_at),
            due_at: Timestamp::from_millis(self.due_at),
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            touched_at: (self.touched_at > 0).then_some(Timestamp::from_millis(self.touched_at)),
            finished_at: self.finished_at.map(Timestamp::from_millis),
            status: self.status,
            reason: self.reason,
            correlation_id: self.correlation_id,
            hold: self.hold,
        })
    }
}
