//! One attempt: one operation, sent once, and perhaps read back.

use std::time::Duration;

use serde_json::{Map, Value};
use tracing::{Instrument, Span};

use super::verify::ignored;
use crate::clock::Clock;
use crate::model::{Kind, Payload, ProfilePayload, Timestamp, UserId};
use crate::scim::{
    Failure, ListQuery, Receipt, RoleAttribute, ServiceProvider, Verdict, read_record, read_user,
    replacement, write_of,
};
use crate::store::Leased;
use crate::telemetry;

/// A tenant may need a moment until it shows what it has written.
const SETTLED: Duration = Duration::from_secs(2);

/// Who was read no longer ago than this is replaced without being read again.
const FRESH: Duration = Duration::from_secs(10);

/// What is to be done with an operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// Send it.
    Write,
    /// Send it and read it back.
    WriteAndVerify,
    /// Only read its user, to see whether the tenant answers.
    Read,
}

/// What was done.
#[derive(Debug)]
pub(super) enum Sent {
    /// It was written.
    Written {
        receipt: Receipt,
        /// It was read back, and was there.
        verified: bool,
    },
    /// Its user was read.
    Read,
}

/// What a user shows after a write.
enum Shown {
    Done,
    Missing(String),
    Nothing,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) leased: Leased,
    pub(super) result: Result<Sent, Failure>,
    /// Whether the tenant answers other calls, so that a failure is the operation's own; `None` if nobody knows.
    pub(super) tenant_answers: Option<bool>,
    pub(super) took: Duration,
    /// The operation's span: what is logged about its end belongs in it.
    pub(super) span: Span,
}

/// Sends operations of one tenant.
#[derive(Clone, Debug)]
pub(super) struct Sender<P> {
    pub(super) provider: P,
    pub(super) clock: Clock,
    pub(super) role_attribute: RoleAttribute,
}

impl<P: ServiceProvider> Sender<P> {
    /// Makes one attempt.
    pub(super) async fn attempt(self, leased: Leased, task: Task, span: Span) -> Outcome {
        let began = self.clock.instant();
        let answered = self.provider.answered();
        let result = match task {
            Task::Read => self.read(&leased).instrument(span.clone()).await,
            Task::Write | Task::WriteAndVerify => {
                let attempt = span.in_scope(|| telemetry::span::attempt(leased.attempts + 1));
                self.write(&leased, matches!(task, Task::WriteAndVerify)).instrument(attempt).await
            }
        };
        let took = self.clock.instant().saturating_duration_since(began);
        let tenant_answers = match &result {
            Err(Failure { verdict: Verdict::Unavailable { .. }, .. }) => {
                if self.provider.answered() > answered {
                    Some(true)
                } else if matches!(task, Task::Read) {
                    Some(false)
                } else {
                    self.answers_a_read(&leased).instrument(span.clone()).await
                }
            }
            _ => Some(true),
        };
        Outcome { leased, result, tenant_answers, took, span }
    }

    async fn write(&self, leased: &Leased, verify: bool) -> Result<Sent, Failure> {
        let operation = &leased.operation;
        let asked = async || match &operation.version {
            Some(_) => self.provider.honours_if_match().await,
            None => Ok(false),
        };
        // Until now nothing was asked to be changed.
        let honours = asked().await.map_err(|failure| Failure { unclear: false, ..failure })?;
        let version = operation.version.as_deref().filter(|_| honours);
        let (write, mut body) = write_of(&operation.payload);
        let old = |read_at: Option<Timestamp>| read_at.is_none_or(|at| self.clock.now().since(at) > FRESH);
        if let Payload::Profile(ProfilePayload::Replace { user, paths, read_at }) = &operation.payload
            && version.is_none()
            && old(*read_at)
        {
            // Nothing else keeps it from undoing what was written since he was read.
            let now = self.read_now(&operation.user).await?;
            body = Value::Object(replacement(&now, user, paths));
        }
        let body = body.to_string();
        let receipt = self.provider.write_user(write, &operation.user, body.as_bytes(), version).await?;
        if !verify || operation.payload.kind() != Kind::Teams {
            return Ok(Sent::Written { receipt, verified: false });
        }
        match self.verify(leased).await {
            Ok(verified) => Ok(Sent::Written { receipt, verified }),
            Err(reason) => Err(Failure {
                verdict: Verdict::Ignored,
                status: None,
                reason,
                correlation_id: receipt.correlation_id,
                answer: None,
                unclear: true,
            }),
        }
    }

    /// The whole record of `user`, before anything is asked to be changed.
    async fn read_now(&self, user: &UserId) -> Result<Map<String, Value>, Failure> {
        let read = async {
            let record = self.provider.get_user(user).await?;
            let record = read_record(&record).map_err(Failure::unreadable)?;
            if record.id == *user { Ok(record.attributes) } else { Err(Failure::unreadable("another user")) }
        };
        read.await.map_err(|failure: Failure| Failure { unclear: false, ..failure })
    }

    /// Whether the write was seen to be done; a user who cannot be read proves nothing.
    ///
    /// # Errors
    /// With what was not done.
    async fn verify(&self, leased: &Leased) -> Result<bool, String> {
        let shown = match self.read_back(leased).await {
            Shown::Missing(_) => {
                self.clock.sleep(SETTLED).await;
                self.read_back(leased).await
            }
            shown => shown,
        };
        match shown {
            Shown::Done => Ok(true),
            Shown::Nothing => Ok(false),
            Shown::Missing(what) => Err(what),
        }
    }

    async fn read_back(&self, leased: &Leased) -> Shown {
        let operation = &leased.operation;
        let Ok(record) = self.provider.get_user(&operation.user).await else { return Shown::Nothing };
        match read_user(&record, self.role_attribute) {
            Ok(user) if user.id == operation.user => {
                ignored(&operation.payload, &user).map_or(Shown::Done, Shown::Missing)
            }
            _ => Shown::Nothing,
        }
    }

    /// Reads whom it is about; who is only to be created cannot be, so that some user has to do.
    async fn look(&self, leased: &Leased) -> Result<(), Failure> {
        let operation = &leased.operation;
        if operation.payload.creates() {
            let some = ListQuery { since: None, filter: None, start_index: 1, count: 1 };
            self.provider.list_users(&some).await.map(drop)
        } else {
            self.provider.get_user(&operation.user).await.map(drop)
        }
    }

    /// Any answer will do.
    async fn read(&self, leased: &Leased) -> Result<Sent, Failure> {
        match self.look(leased).await {
            Err(failure) if !failure.verdict.answered() => Err(failure),
            Ok(()) | Err(_) => Ok(Sent::Read),
        }
    }

    /// A failure that stands alone: does the tenant answer when the same user is only read?
    async fn answers_a_read(&self, leased: &Leased) -> Option<bool> {
        match self.look(leased).await {
            Ok(()) => Some(true),
            Err(failure) => match failure.verdict {
                Verdict::NotSent => None,
                Verdict::Throttled { .. } => Some(true),
                verdict => Some(verdict.answered()),
            },
        }
    }
}
