//! Sends what waits for one receiver, one message at a time, in the order in which they were created.
//!
//! A message that was not taken makes way for those behind it and comes back by its schedule. A receiver that takes
//! nothing is asked less and less often. Nothing is decided here: [`next_step`] and [`backoff`] do that.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use url::Url;

use super::schedule::next_step;
use super::signature::Signer;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::TenantId;
use crate::scim::{backoff, http_client, retry_after, transport_reason};
use crate::store::{NextWebhook, Store, StoreError, Webhook, WebhookCounts, WebhookSettlement, WebhookStep};
use crate::telemetry;

/// The longest that one call may take, from connect to the last byte; Standard Webhooks recommends 15 to 30 s.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Of an answer no more is read; a connection whose answer is longer is not used again.
const MAX_ANSWER: usize = 2 * 1024;
/// The database is looked at this often.
const LOOK: Duration = Duration::from_secs(2);

/// Tells one receiver.
#[derive(Debug)]
pub struct Sender {
    tenant: TenantId,
    store: Store,
    http: reqwest::Client,
    url: Address,
    signer: Option<Signer>,
    clock: Clock,
    chance: Chance,
    /// Attempts in a row that failed, of whichever message.
    failures: u32,
    /// What became of an attempt, as long as the database does not know it.
    unsettled: Option<WebhookSettlement>,
}

/// A URL whose path may be a secret of its own.
struct Address(Url);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.host_str().unwrap_or_default())
    }
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turned {
    /// A message was sent; none is before this time has passed.
    Sent(Duration),
    /// None is due before this time has passed.
    NotBefore(Duration),
    /// None waits.
    Idle,
}

/// How an attempt ended.
struct Outcome {
    status: Option<u16>,
    reason: Option<String>,
    wait: Option<Duration>,
}

impl Sender {
    /// Sends nothing yet. Without a secret nothing is signed.
    ///
    /// # Errors
    /// When the machine's certificates cannot be read.
    pub fn new(
        tenant: TenantId,
        store: Store,
        url: Url,
        secret: Option<&SecretString>,
        (clock, chance): (Clock, Chance),
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            tenant,
            store,
            http: http_client(TIMEOUT)?,
            url: Address(url),
            signer: secret.map(Signer::new),
            clock,
            chance,
            failures: 0,
            unsettled: None,
        })
    }

    /// Sends until told to stop; a call that is on its way then is finished, which takes 15 s at most.
    pub async fn run(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let wait = match self.turn().await {
                Ok(Turned::Sent(wait)) => wait,
                Ok(Turned::NotBefore(wait)) => wait.min(LOOK),
                Ok(Turned::Idle) => LOOK,
                Err(error) => {
                    error!(tenant = %self.tenant, reason = %error, "database cannot be used");
                    LOOK
                }
            };
            self.rest(wait, stop).await;
        }
        // What the receiver has taken need not be sent again after the next start.
        if let Err(error) = self.settle().await {
            error!(tenant = %self.tenant, reason = %error, "database cannot be used");
        }
    }

    /// Sends what waits, repeats included, until nothing does, until the next attempt would come after `deadline`, or
    /// until told to stop; a call that is on its way then is finished. Answers with what is left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drain(
        &mut self,
        deadline: Instant,
        stop: &CancellationToken,
    ) -> Result<WebhookCounts, StoreError> {
        while !stop.is_cancelled() {
            let wait = match self.turn().await? {
                Turned::Sent(wait) | Turned::NotBefore(wait) => wait,
                Turned::Idle => break,
            };
            if self.clock.instant() + wait >= deadline {
                break;
            }
            self.rest(wait, stop).await;
        }
        self.store.webhook_counts(&self.tenant).await
    }

    async fn rest(&self, wait: Duration, stop: &CancellationToken) {
        if !wait.is_zero() {
            tokio::select! {
                () = self.clock.sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Sends the next message, if one is due.
    async fn turn(&mut self) -> Result<Turned, StoreError> {
        self.settle().await?;
        let now = self.clock.now();
        let message = match self.store.next_webhook(&self.tenant, now).await? {
            NextWebhook::Due(message) => message,
            NextWebhook::At(due) => return Ok(Turned::NotBefore(due.since(now))),
            NextWebhook::Nothing => return Ok(Turned::Idle),
        };
        let began = self.clock.instant();
        let Outcome { status, reason, wait } = self.send(&message).await;
        let took = self.clock.instant() - began;
        let step = next_step(message.attempts, status, wait, self.clock.now(), self.chance.draw());
        self.report(&message, step, status, reason.as_deref(), took);
        self.unsettled = Some(WebhookSettlement { id: message.id, step, status, reason });
        self.settle().await?;
        self.failures = if step == WebhookStep::Delivered { 0 } else { self.failures.saturating_add(1) };
        Ok(Turned::Sent(match self.failures {
            0 => Duration::ZERO,
            failures => backoff(failures, self.chance.draw()).max(wait.unwrap_or_default()),
        }))
    }

    /// Hands in what became of the last attempt, once the database takes it.
    async fn settle(&mut self) -> Result<(), StoreError> {
        if let Some(settlement) = &self.unsettled {
            self.store.settle_webhook(settlement, self.clock.now()).await?;
            self.unsettled = None;
        }
        Ok(())
    }

    async fn send(&self, message: &Webhook) -> Outcome {
        let timestamp = self.clock.now().millis().div_euclid(1000);
        let mut call = self
            .http
            .post(self.url.0.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", timestamp);
        if let Some(signer) = &self.signer {
            call = call.header("webhook-signature", signer.sign(&message.id, timestamp, &message.body));
        }
        let mut answer = match call.body(message.body.clone()).send().await {
            Ok(answer) => answer,
            Err(error) => {
                return Outcome { status: None, reason: Some(transport_reason(&error)), wait: None };
            }
        };
        let advice = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = advice.and_then(|value| retry_after(value, self.clock.now()));
        let mut read = 0;
        // An answer is its status: a body that breaks off changes nothing.
        while let Ok(Some(chunk)) = answer.chunk().await {
            read += chunk.len();
            if read > MAX_ANSWER {
                break;
            }
        }
        Outcome { status: Some(answer.status().as_u16()), reason: None, wait }
    }

    fn report(
        &self,
        message: &Webhook,
        step: WebhookStep,
        status: Option<u16>,
        reason: Option<&str>,
        took: Duration,
    ) {
        let (tenant, webhook, kind) = (&self.tenant, message.id.as_str(), message.kind.as_str());
        let attempt = i64::from(message.attempts) + 1;
        let status = status.map(i64::from);
        let reason = reason.map(telemetry::redact::text);
        let reason = reason.as_deref();
        let duration_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        match step {
            WebhookStep::Delivered => {
                debug!(%tenant, webhook, kind, status, attempt, duration_ms, "webhook delivered");
            }
            WebhookStep::Later { due } => {
                warn!(%tenant, webhook, kind, status, reason, attempt, duration_ms, retry_at = %due, "webhook failed");
            }
            WebhookStep::Dead => {
                error!(%tenant, webhook, kind, status, reason, attempt, duration_ms, "webhook is dead");
            }
        }
    }
}
