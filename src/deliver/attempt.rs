//! One attempt: one operation, sent once.

use std::time::Duration;

use tracing::{Instrument, Span};

use crate::clock::Clock;
use crate::scim::{Failure, Receipt, ServiceProvider, Verdict, patch_body};
use crate::store::Leased;
use crate::telemetry;

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) leased: Leased,
    pub(super) result: Result<Receipt, Failure>,
    /// Whether the tenant answers other calls, so that a failure is the operation's own; `None` if nobody knows.
    pub(super) tenant_answers: Option<bool>,
    pub(super) took: Duration,
    /// The operation's span: what is logged about its end belongs in it.
    pub(super) span: Span,
}

/// Sends one operation.
pub(super) async fn attempt<P: ServiceProvider>(
    provider: P,
    clock: Clock,
    leased: Leased,
    span: Span,
) -> Outcome {
    let began = clock.instant();
    let answered = provider.answered();
    let attempt = span.in_scope(|| telemetry::span::attempt(leased.attempts + 1));
    let result = send(&provider, &leased).instrument(attempt).await;
    let took = clock.instant().saturating_duration_since(began);
    let tenant_answers = match &result {
        Err(Failure { verdict: Verdict::Unavailable { .. }, .. }) => {
            if provider.answered() > answered {
                Some(true)
            } else {
                answers_a_read(&provider, &leased).instrument(span.clone()).await
            }
        }
        _ => Some(true),
    };
    Outcome { leased, result, tenant_answers, took, span }
}

async fn send(provider: &impl ServiceProvider, leased: &Leased) -> Result<Receipt, Failure> {
    let operation = &leased.operation;
    let version = match &operation.version {
        Some(version) if provider.honours_if_match().await? => Some(version.as_str()),
        _ => None,
    };
    provider.patch_user(&operation.user, &patch_body(&operation.payload), version).await
}

/// A failure that stands alone: does the tenant answer when the same user is only read?
async fn answers_a_read(provider: &impl ServiceProvider, leased: &Leased) -> Option<bool> {
    match provider.get_user(&leased.operation.user).await {
        Ok(_) => Some(true),
        Err(failure) => match failure.verdict {
            Verdict::NotSent => None,
            Verdict::Throttled { .. } => Some(true),
            verdict => Some(verdict.answered()),
        },
    }
}
