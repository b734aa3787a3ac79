//! `staged_users`, `staged_operations`: what a running pass has read and decided. Nobody acts on it before
//! the pass commits.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::SqliteConnection;

use super::{Store, StoreError};
use crate::model::{Kind, Operation, Timestamp, User, UserId};

/// A user as read, and what was decided for him; `None` is a decision too.
#[derive(Clone, Debug)]
pub struct Decision {
    /// As read.
    pub user: User,
    /// What has to change.
    pub operation: Option<Operation>,
}

/// Where decisions come from.
#[derive(Clone, Copy, Debug)]
pub struct Staged<'a> {
    /// The pass.
    pub pass: i64,
    /// A list shows these users; otherwise they were read by id.
    pub listed: bool,
    /// The trace of the pass (W3C Trace Context).
    pub traceparent: Option<&'a str>,
}

impl Store {
    /// Stages one page; returns how many of its users the pass had not read before. Of a user who is read
    /// twice the later record counts.
    ///
    /// `read_at` is our clock when the page was asked for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stage(
        &self,
        staged: Staged<'_>,
        decisions: &[Decision],
        read_at: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut new = 0;
        let mut tx = self.write().await?;
        for decision in decisions {
            let before = stage_user(&mut tx, staged, &decision.user, read_at).await?;
            new += u64::from(before == Before::New);
            if before != Before::Outdated {
                stage_operation(&mut tx, staged, decision, read_at).await?;
            }
        }
        tx.commit().await?;
        Ok(new)
    }

    /// Whom of these users a pass has staged.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn staged_among(
        &self,
        pass: i64,
        users: impl IntoIterator<Item = &UserId>,
    ) -> Result<Vec<UserId>, StoreError> {
        let users: Vec<&str> = users.into_iter().map(UserId::as_str).collect();
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let staged: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM staged_users WHERE pass = $1 AND id IN (SELECT value FROM json_each($2))",
        )
        .bind(pass)
        .bind(serde_json::json!(users).to_string())
        .fetch_all(&self.reader)
        .await?;
        Ok(staged.into_iter().map(UserId::from).collect())
    }

    /// Stages decisions about users as they were last read, each with when that was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stage_known(
        &self,
        staged: Staged<'_>,
        decisions: &[(Decision, Timestamp)],
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for (decision, read_at) in decisions {
            stage_operation(&mut tx, staged, decision, *read_at).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// Whether the pass has read the user before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    New,
    Again,
    Outdated,
}

async fn stage_user(
    tx: &mut SqliteConnection,
    staged: Staged<'_>,
    user: &User,
    read_at: Timestamp,
) -> Result<Before, StoreError> {
    let inserted = bind_user(
        sqlx::query(
            "INSERT INTO staged_users (pass, id, active, roles, teams, version, last_modified, read_at, listed)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        ),
        staged,
        user,
        read_at,
    )
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() > 0 {
        return Ok(Before::New);
    }
    let updated = bind_user(
        sqlx::query(
            "UPDATE staged_users SET active = $3, roles = $4, teams = $5, version = $6, last_modified = $7, read_at = $8,
                 listed = max(listed, $9)
             WHERE pass = $1 AND id = $2 AND ($7 IS NULL OR last_modified IS NULL OR last_modified <= $7)",
        ),
        staged,
        user,
        read_at,
    )
    .execute(&mut *tx)
    .await?;
    Ok(if updated.rows_affected() > 0 { Before::Again } else { Before::Outdated })
}

type Query = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_user(query: Query, staged: Staged<'_>, user: &User, read_at: Timestamp) -> Query {
    query
        .bind(staged.pass)
        .bind(user.id.as_str().to_owned())
        .bind(user.active)
        .bind(json(&user.roles))
        .bind(json(&user.teams))
        .bind(user.version.clone())
        .bind(user.last_modified.map(Timestamp::millis))
        .bind(read_at.millis())
        .bind(staged.listed)
}

async fn stage_operation(
    tx: &mut SqliteConnection,
    staged: Staged<'_>,
    decision: &Decision,
    read_at: Timestamp,
) -> Result<(), StoreError> {
    let operation = decision.operation.as_ref();
    let loses = operation.is_some_and(|operation| !operation.payload.teams().removed.is_empty());
    let payload = operation.map(|operation| serde_json::to_string(&operation.payload)).transpose();
    let payload =
        payload.map_err(|error| StoreError::damaged(format!("a decision cannot be written: {error}")))?;
    sqlx::query(
        "INSERT INTO staged_operations (pass, user_id, kind, target, payload, cause, version, traceparent, read_at, loses)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (pass, user_id, kind) DO UPDATE SET target = excluded.target, payload = excluded.payload,
             cause = excluded.cause, version = excluded.version, traceparent = excluded.traceparent,
             read_at = excluded.read_at, loses = excluded.loses",
    )
    .bind(staged.pass)
    .bind(decision.user.id.as_str())
    .bind(Kind::Teams.as_str())
    .bind(operation.map(|operation| operation.payload.target()))
    .bind(payload)
    .bind(operation.map(|operation| operation.cause.as_str()))
    .bind(operation.and_then(|operation| operation.version.as_deref()))
    .bind(staged.traceparent.filter(|_| operation.is_some()))
    .bind(read_at.millis())
    .bind(loses)
    .execute(tx)
    .await?;
    Ok(())
}

/// Throws away what a pass has staged.
pub(super) async fn drop_staged(tx: &mut SqliteConnection, pass: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM staged_users WHERE pass = $1").bind(pass).execute(&mut *tx).await?;
    sqlx::query("DELETE FROM staged_operations WHERE pass = $1").bind(pass).execute(&mut *tx).await?;
    Ok(())
}

fn json<T: Serialize>(set: &BTreeSet<T>) -> String {
    serde_json::to_string(set).unwrap_or_else(|_| "[]".to_owned())
}
