//! `webhooks`: what the receiver of a tenant's webhooks has still to be told, and what became of it.
//!
//! What is to be told is written down together with what it tells of. What a body says, when it is sent again and when
//! it is given up is decided elsewhere.

use std::time::Duration;

use sqlx::{FromRow, SqliteConnection};

use super::{Store, StoreError};
use crate::model::{TenantId, Timestamp};

/// Nothing is put off for longer: a due time further ahead was written before our clock was set back.
const LONGEST_DELAY: Duration = Duration::from_hours(48);

/// A message to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWebhook {
    /// By which the receiver knows it again; unique everywhere.
    pub id: String,
    /// What it tells of; unique for the tenant. Of messages with the same key only the first is kept.
    pub key: String,
    /// What has happened, in one word.
    pub kind: String,
    /// As it is sent: JSON.
    pub body: String,
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// By which the receiver knows it again.
    pub id: String,
    /// What has happened, in one word.
    pub kind: String,
    /// As it is sent: JSON.
    pub body: String,
    /// Failed attempts so far.
    pub attempts: u32,
}

/// Which message is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextWebhook {
    /// The first created of those that are due.
    Due(Webhook),
    /// None is due before this moment.
    At(Timestamp),
    /// None waits.
    Nothing,
}

/// What happens next to a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookStep {
    /// The receiver has it.
    Delivered,
    /// It is sent again, not before `due`.
    Later {
        /// When.
        due: Timestamp,
    },
    /// It is given up.
    Dead,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettlement {
    /// The message.
    pub id: String,
    /// What happens next.
    pub step: WebhookStep,
    /// The answer's HTTP status, if there was one.
    pub status: Option<u16>,
    /// Why there was none.
    pub reason: Option<String>,
}

/// Messages of a tenant that the receiver does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookCounts {
    /// Still to be sent.
    pub waiting: u64,
    /// Given up, as long as they are remembered.
    pub dead: u64,
}

#[derive(FromRow)]
struct Row {
    id: String,
    kind: String,
    body: String,
    attempts: u32,
}

impl Store {
    /// Writes down what is to be told, in this order; returns how much of it is new.
    ///
    /// # Errors
    /// When the database fails; then nothing is written.
    pub async fn enqueue_webhooks(
        &self,
        tenant: &TenantId,
        messages: &[NewWebhook],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let mut new = 0;
        for message in messages {
            new += u64::from(enqueue(&mut tx, tenant, message, now).await?);
        }
        tx.commit().await?;
        Ok(new)
    }

    /// Which message for the receiver of `tenant` is next.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_webhook(&self, tenant: &TenantId, now: Timestamp) -> Result<NextWebhook, StoreError> {
        let due: Option<Row> = sqlx::query_as(
            "SELECT id, type AS kind, body, attempts FROM webhooks
             WHERE tenant = $1 AND state = 'waiting' AND (due_at <= $2 OR due_at > $3) ORDER BY seq LIMIT 1",
        )
        .bind(tenant.as_str())
        .bind(now.millis())
        .bind(now.plus(LONGEST_DELAY).millis())
        .fetch_optional(&self.reader)
        .await?;
        if let Some(Row { id, kind, body, attempts }) = due {
            return Ok(NextWebhook::Due(Webhook { id, kind, body, attempts }));
        }
        let at: Option<i64> =
            sqlx::query_scalar("SELECT min(due_at) FROM webhooks WHERE tenant = $1 AND state = 'waiting'")
                .bind(tenant.as_str())
                .fetch_one(&self.reader)
                .await?;
        Ok(at.map_or(NextWebhook::Nothing, |at| NextWebhook::At(Timestamp::from_millis(at))))
    }

    /// Notes what became of an attempt. A message that waits no more is left alone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_webhook(
        &self,
        settlement: &WebhookSettlement,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (state, due, failed) = match settlement.step {
            WebhookStep::Delivered => ("delivered", None, false),
            WebhookStep::Later { due } => ("waiting", Some(due), true),
            WebhookStep::Dead => ("dead", None, true),
        };
        sqlx::query(
            "UPDATE webhooks SET state = $2, due_at = coalesce($3, due_at), attempts = attempts + $4, status = $5,
                 reason = $6, finished_at = CASE $2 WHEN 'waiting' THEN NULL ELSE $7 END
             WHERE id = $1 AND state = 'waiting'",
        )
        .bind(&settlement.id)
        .bind(state)
        .bind(due.map(Timestamp::millis))
        .bind(failed)
        .bind(settlement.status)
        .bind(&settlement.reason)
        .bind(now.millis())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// What the receiver of `tenant` does not have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn webhook_counts(&self, tenant: &TenantId) -> Result<WebhookCounts, StoreError> {
        let (waiting, dead): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'dead')
             FROM webhooks WHERE tenant = $1",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        let number = |count| u64::try_from(count).unwrap_or(0);
        Ok(WebhookCounts { waiting: number(waiting), dead: number(dead) })
    }
}

/// Writes down what is to be told, in the transaction of what it tells of; false when it was before.
pub(super) async fn enqueue(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    message: &NewWebhook,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let written = sqlx::query(
        "INSERT INTO webhooks (id, tenant, key, type, body, created_at, due_at) VALUES ($1, $2, $3, $4, $5, $6, $6)
         ON CONFLICT DO NOTHING",
    )
    .bind(&message.id)
    .bind(tenant.as_str())
    .bind(&message.key)
    .bind(&message.kind)
    .bind(&message.body)
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(written.rows_affected() > 0)
}
