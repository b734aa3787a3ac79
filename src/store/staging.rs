//! `staged_users`, `staged_operations`: what a running pass has read and decided. Nobody acts on it before
//! the pass commits.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::SqliteConnection;

use super::{Store, StoreError};
use crate::model::{Kind, Operation, Timestamp, User};

/// A user as read, and what was decided for him; `None` is a decision too.
#[derive(Clone, Debug)]
pub struct Decision {
    /// As read.
    pub user: User,
    /// What has to change.
    pub operation: Option<Operation>,
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
        pass: i64,
        decisions: &[Decision],
        read_at: Timestamp,
        traceparent: Option<&str>,
    ) -> Result<u64, StoreError> {
        let mut new = 0;
        let mut tx = self.write().await?;
        for decision in decisions {
            let staged = stage_user(&mut tx, pass, &decision.user, read_at).await?;
            new += u64::from(staged == Staged::New);
            if staged != Staged::Outdated {
                stage_operation(&mut tx, pass, decision, read_at, traceparent).await?;
            }
        }
        tx.commit().await?;
        Ok(new)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Staged {
    New,
    Again,
    Outdated,
}

async fn stage_user(
    tx: &mut SqliteConnection,
    pass: i64,
    user: &User,
    read_at: Timestamp,
) -> Result<Staged, StoreError> {
    let inserted = bind_user(
        sqlx::query(
            "INSERT INTO staged_users (pass, id, active, roles, teams, version, last_modified, read_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        ),
        pass,
        user,
        read_at,
    )
    .execute(&mut *tx)
    .await?;
    if inserted.rows_affected() > 0 {
        return Ok(Staged::New);
    }
    let updated = bind_user(
        sqlx::query(
            "UPDATE staged_users SET active = $3, roles = $4, teams = $5, version = $6, last_modified = $7, read_at = $8
             WHERE pass = $1 AND id = $2 AND ($7 IS NULL OR last_modified IS NULL OR last_modified <= $7)",
        ),
        pass,
        user,
        read_at,
    )
    .execute(&mut *tx)
    .await?;
    Ok(if updated.rows_affected() > 0 { Staged::Again } else { Staged::Outdated })
}

type Query = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_user(query: Query, pass: i64, user: &User, read_at: Timestamp) -> Query {
    query
        .bind(pass)
        .bind(user.id.as_str().to_owned())
        .bind(user.active)
        .bind(json(&user.roles))
        .bind(json(&user.teams))
        .bind(user.version.clone())
        .bind(user.last_modified.map(Timestamp::millis))
        .bind(read_at.millis())
}

async fn stage_operation(
    tx: &mut SqliteConnection,
    pass: i64,
    decision: &Decision,
    read_at: Timestamp,
    traceparent: Option<&str>,
) -> Result<(), StoreError> {
    let operation = decision.operation.as_ref();
    let payload = operation.map(|operation| serde_json::to_string(&operation.payload)).transpose();
    let payload =
        payload.map_err(|error| StoreError::damaged(format!("a decision cannot be written: {error}")))?;
    sqlx::query(
        "INSERT INTO staged_operations (pass, user_id, kind, target, payload, cause, version, traceparent, read_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (pass, user_id, kind) DO UPDATE SET target = excluded.target, payload = excluded.payload,
             cause = excluded.cause, version = excluded.version, traceparent = excluded.traceparent,
             read_at = excluded.read_at",
    )
    .bind(pass)
    .bind(decision.user.id.as_str())
    .bind(Kind::Teams.as_str())
    .bind(operation.map(|operation| operation.payload.target()))
    .bind(payload)
    .bind(operation.map(|operation| operation.cause.as_str()))
    .bind(operation.and_then(|operation| operation.version.as_deref()))
    .bind(traceparent.filter(|_| operation.is_some()))
    .bind(read_at.millis())
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
