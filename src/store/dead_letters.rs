//! Dead letters: operations that were given up, with the request and the answer.

use sqlx::FromRow;

use super::rereads::reread_now;
use super::{Store, StoreError};
use crate::model::{Payload, TenantId, Timestamp, UserId};

/// An operation that was given up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its row.
    pub id: i64,
    /// Whose it is.
    pub tenant: TenantId,
    /// For whom.
    pub user: UserId,
    /// Why the user was to be changed.
    pub cause: String,
    /// What was to be done; `None` when the row is damaged.
    pub payload: Option<Payload>,
    /// The version it was decided from.
    pub version: Option<String>,
    /// The pass that decided it.
    pub pass: i64,
    /// When it was decided.
    pub created_at: Timestamp,
    /// When it was given up.
    pub given_up_at: Timestamp,
    /// Failed attempts that counted.
    pub attempts: u32,
    /// The last answer's HTTP status.
    pub status: Option<u16>,
    /// Why, as the tenant put it.
    pub reason: Option<String>,
    /// By which the vendor's support finds the call.
    pub correlation_id: Option<String>,
    /// The start of the last answer's body.
    pub answer: Option<String>,
}

/// Which dead letters.
#[derive(Clone, Debug)]
pub enum Selection {
    /// All, or all of one tenant.
    All(Option<TenantId>),
    /// These.
    Ids(Vec<i64>),
}

#[derive(FromRow)]
struct Row {
    id: i64,
    tenant: String,
    user_id: String,
    cause: String,
    payload: String,
    version: Option<String>,
    pass: i64,
    created_at: i64,
    touched_at: i64,
    attempts: u32,
    status: Option<u16>,
    reason: Option<String>,
    correlation_id: Option<String>,
    answer: Option<String>,
}

impl Store {
    /// The selected dead letters, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dead_letters(&self, selection: &Selection) -> Result<Vec<DeadLetter>, StoreError> {
        let (all, tenant, ids) = bindings(selection);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, tenant, user_id, cause, payload, version, pass, created_at, touched_at, attempts, status,
                 reason, correlation_id, answer
             FROM operations
             WHERE state = 'dead' AND (($1 AND ($2 IS NULL OR tenant = $2)) OR id IN (SELECT value FROM json_each($3)))
             ORDER BY touched_at, id",
        )
        .bind(all)
        .bind(tenant)
        .bind(ids)
        .fetch_all(&self.reader)
        .await?;
        Ok(rows.into_iter().map(Row::letter).collect())
    }

    /// Puts the selected dead letters back into the queue, due now and with all their attempts before them;
    /// returns which. A list of teams may be old by now: it waits until its user is read by id and decided anew.
    ///
    /// # Errors
    /// When the database fails; then none was moved.
    pub async fn replay(&self, selection: &Selection, now: Timestamp) -> Result<Vec<i64>, StoreError> {
        let (all, tenant, ids) = bindings(selection);
        let mut tx = self.write().await?;
        let moved: Vec<(i64, bool)> = sqlx::query_as(
            "UPDATE operations SET state = CASE kind WHEN 'teams' THEN 'stale' ELSE 'ready' END, due_at = $4, attempts = 0
             WHERE state = 'dead' AND (($1 AND ($2 IS NULL OR tenant = $2)) OR id IN (SELECT value FROM json_each($3)))
             RETURNING id, state = 'stale'",
        )
        .bind(all)
        .bind(tenant)
        .bind(ids)
        .bind(now.millis())
        .fetch_all(&mut *tx)
        .await?;
        let stale: Vec<i64> = moved.iter().filter_map(|(id, stale)| stale.then_some(*id)).collect();
        reread_now(&mut tx, &stale, now).await?;
        tx.commit().await?;
        Ok(moved.into_iter().map(|(id, _)| id).collect())
    }

    /// The same for those that were given up a moment ago: what they carry is as old as all that waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revive(&self, ids: Vec<i64>, now: Timestamp) -> Result<Vec<i64>, StoreError> {
        self.move_dead(
            "UPDATE operations SET state = 'ready', due_at = $4, attempts = 0
             WHERE state = 'dead' AND (($1 AND ($2 IS NULL OR tenant = $2)) OR id IN (SELECT value FROM json_each($3)))
             RETURNING id",
            &Selection::Ids(ids),
            now,
        )
        .await
    }

    /// Gives up the selected dead letters for good; returns which. A later decision for their users makes
    /// new operations.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn discard(&self, selection: &Selection, now: Timestamp) -> Result<Vec<i64>, StoreError> {
        self.move_dead(
            "UPDATE operations SET state = 'discarded', finished_at = $4
             WHERE state = 'dead' AND (($1 AND ($2 IS NULL OR tenant = $2)) OR id IN (SELECT value FROM json_each($3)))
             RETURNING id",
            selection,
            now,
        )
        .await
    }

    async fn move_dead(
        &self,
        sql: &'static str,
        selection: &Selection,
        now: Timestamp,
    ) -> Result<Vec<i64>, StoreError> {
        let (all, tenant, ids) = bindings(selection);
        let moved = sqlx::query_scalar(sql)
            .bind(all)
            .bind(tenant)
            .bind(ids)
            .bind(now.millis())
            .fetch_all(&self.writer)
            .await?;
        Ok(moved)
    }
}

fn bindings(selection: &Selection) -> (bool, Option<&str>, String) {
    match selection {
        Selection::All(tenant) => (true, tenant.as_ref().map(TenantId::as_str), "[]".to_owned()),
        Selection::Ids(ids) => (false, None, serde_json::json!(ids).to_string()),
    }
}

impl Row {
    fn letter(self) -> DeadLetter {
        DeadLetter {
            payload: serde_json::from_str(&self.payload).ok(),
            id: self.id,
            tenant: TenantId::from(self.tenant),
            user: UserId::from(self.user_id),
            cause: self.cause,
            version: self.version,
            pass: self.pass,
            created_at: Timestamp::from_millis(self.created_at),
            given_up_at: Timestamp::from_millis(self.touched_at),
            attempts: self.attempts,
            status: self.status,
            reason: self.reason,
            correlation_id: self.correlation_id,
            answer: self.answer,
        }
    }
}
