//! `requests`: what operators ask of the owner from another process, and what became of it.
//!
//! What a request means is not known here: it is a word and a piece of JSON. A request that was taken and not
//! answered when its owner died is taken again by the next one.

use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};

use super::{Store, StoreError};
use crate::model::{TenantId, Timestamp};

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its row.
    pub id: i64,
    /// Whom it is about.
    pub tenant: TenantId,
    /// What is asked for, in one word.
    pub what: String,
    /// In full, as JSON.
    pub argument: String,
    /// The user id of the process that asks.
    pub operator: Option<u32>,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When the owner began with it.
    pub taken_at: Option<Timestamp>,
    /// When it was answered, or withdrawn.
    pub finished_at: Option<Timestamp>,
    /// What became of it, as JSON; `None` when it was withdrawn.
    pub answer: Option<String>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    tenant: String,
    what: String,
    argument: String,
    operator: Option<u32>,
    asked_at: i64,
    taken_at: Option<i64>,
    finished_at: Option<i64>,
    answer: Option<String>,
}

impl From<Row> for Request {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            tenant: TenantId::from(row.tenant),
            what: row.what,
            argument: row.argument,
            operator: row.operator,
            asked_at: Timestamp::from_millis(row.asked_at),
            taken_at: row.taken_at.map(Timestamp::from_millis),
            finished_at: row.finished_at.map(Timestamp::from_millis),
            answer: row.answer,
        }
    }
}

impl Store {
    /// Leaves a request for the owner; returns its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave(
        &self,
        tenant: &TenantId,
        what: &str,
        argument: &impl Serialize,
        operator: Option<u32>,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let id = sqlx::query_scalar(
            "INSERT INTO requests (tenant, what, argument, operator, asked_at) VALUES ($1, $2, $3, $4, $5)
             RETURNING id",
        )
        .bind(tenant.as_str())
        .bind(what)
        .bind(json(argument)?)
        .bind(operator)
        .bind(now.millis())
        .fetch_one(&self.writer)
        .await?;
        Ok(id)
    }

    /// Requests about `tenant` that are not finished, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_requests(&self, tenant: &TenantId) -> Result<Vec<Request>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, tenant, what, argument, operator, asked_at, taken_at, finished_at, answer
             FROM requests WHERE tenant = $1 AND finished_at IS NULL ORDER BY id",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.reader)
        .await?;
        Ok(rows.into_iter().map(Request::from).collect())
    }

    /// Whether somebody asks for something about `tenant` that nobody has taken.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_asked_about(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM requests
                 WHERE tenant = $1 AND finished_at IS NULL AND taken_at IS NULL)",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.reader)
        .await?)
    }

    /// Tenants about whom somebody asks for something that nobody has taken.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn asked_about(&self) -> Result<Vec<TenantId>, StoreError> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT tenant FROM requests WHERE finished_at IS NULL AND taken_at IS NULL",
        )
        .fetch_all(&self.reader)
        .await?;
        Ok(names.into_iter().map(TenantId::from).collect())
    }

    /// Takes the oldest request about `tenant` that nobody has taken. Looking is cheap when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take(&self, tenant: &TenantId, now: Timestamp) -> Result<Option<Request>, StoreError> {
        if !self.is_asked_about(tenant).await? {
            return Ok(None);
        }
        let row: Option<Row> = sqlx::query_as(
            "UPDATE requests SET taken_at = $2 WHERE id = (
                 SELECT min(id) FROM requests WHERE tenant = $1 AND taken_at IS NULL AND finished_at IS NULL)
             RETURNING id, tenant, what, argument, operator, asked_at, taken_at, finished_at, answer",
        )
        .bind(tenant.as_str())
        .bind(now.millis())
        .fetch_optional(&self.writer)
        .await?;
        Ok(row.map(Request::from))
    }

    /// Says what became of a request. One that was withdrawn meanwhile stays so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answer(&self, id: i64, answer: &impl Serialize, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE requests SET finished_at = $2, answer = $3 WHERE id = $1 AND finished_at IS NULL",
        )
        .bind(id)
        .bind(now.millis())
        .bind(json(answer)?)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// One request, as long as it is remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn request(&self, id: i64) -> Result<Option<Request>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, tenant, what, argument, operator, asked_at, taken_at, finished_at, answer
             FROM requests WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.reader)
        .await?;
        Ok(row.map(Request::from))
    }

    /// Takes a request back, if nobody has begun with it; returns whether that is so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdraw(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        let withdrawn = sqlx::query(
            "UPDATE requests SET finished_at = $2 WHERE id = $1 AND taken_at IS NULL AND bound = 0 AND finished_at IS NULL",
        )
        .bind(id)
        .bind(now.millis())
        .execute(&self.writer)
        .await?;
        Ok(withdrawn.rows_affected() > 0)
    }

    /// What is asked for is about to be written into the audit: from now on it is carried out, by the next owner if this
    /// one dies, and cannot be called off.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bind(&self, id: i64) -> Result<(), StoreError> {
        sqlx::query("UPDATE requests SET bound = 1 WHERE id = $1").bind(id).execute(&self.writer).await?;
        Ok(())
    }

    /// Takes back a request whose owner is gone, whether he had begun with it or not, unless it is bound; returns whether
    /// that is so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn call_off(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        let called_off = sqlx::query(
            "UPDATE requests SET finished_at = $2 WHERE id = $1 AND bound = 0 AND finished_at IS NULL",
        )
        .bind(id)
        .bind(now.millis())
        .execute(&self.writer)
        .await?;
        Ok(called_off.rows_affected() > 0)
    }
}

/// What a killed owner had taken is there to be taken again.
pub(super) async fn put_back(tx: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE requests SET taken_at = NULL WHERE finished_at IS NULL").execute(tx).await?;
    Ok(())
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::damaged(format!("a request cannot be written: {error}")))
}
