//! The spans of a trace, each made in one place so that its name and attributes never differ.
//!
//! `pass` → `page`, `plan`, `commit`; and, perhaps after a restart, `operation` → `attempt` → HTTP call.
//!
//! Numbers are recorded as `i64`: OpenTelemetry has no unsigned ones, and the bridge writes those as text.

use std::fmt::Display;

use tracing::field::Empty;
use tracing::{Span, info_span};

use super::context;
use crate::model::{Kind, PassKind, TenantId, UserId};

/// One pass, from the first read to the commit.
pub fn pass(tenant: &TenantId, kind: PassKind, id: impl Display) -> Span {
    info_span!("pass", %tenant, pass.kind = kind.as_str(), pass.id = %id)
}

/// One page of the list of users: `startIndex` (from 1) and `count` as they are asked for.
#[must_use]
pub fn page(start_index: u64, count: u32) -> Span {
    let start_index = i64::try_from(start_index).unwrap_or(i64::MAX);
    info_span!("page", start_index, count = i64::from(count))
}

/// From what was read to operations.
#[must_use]
pub fn plan() -> Span {
    info_span!("plan")
}

/// Operations, snapshot and watermark become durable.
#[must_use]
pub fn commit() -> Span {
    info_span!("commit")
}

/// One operation, from its lease to its end. `traceparent` is what stands on its row: the change that
/// caused it.
pub fn operation(
    tenant: &TenantId,
    user: &UserId,
    id: impl Display,
    kind: Kind,
    cause: &str,
    traceparent: Option<&str>,
) -> Span {
    let span = info_span!(
        parent: None,
        "operation",
        %tenant,
        user.id = %user,
        operation.id = %id,
        kind = kind.as_str(),
        cause
    );
    if let Some(traceparent) = traceparent {
        context::set_parent(&span, traceparent);
    }
    span
}

/// One try of an operation, from 1.
#[must_use]
pub fn attempt(number: u32) -> Span {
    info_span!("attempt", attempt = i64::from(number))
}

/// One HTTP call (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client>). `route` is
/// the path with `{id}` for ids: it names the span, so it must not differ from user to user. `server` is
/// the host alone. End it with [`http_answered`] or [`http_failed`].
#[must_use]
pub fn http(method: &str, route: &str, server: &str) -> Span {
    info_span!(
        "http",
        otel.name = format_args!("{method} {route}"),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method,
        url.template = route,
        server.address = server,
        http.response.status_code = Empty,
        "error.type" = Empty,
    )
}

/// The call of an [`http`] span was answered; 400 and above is an error of it.
pub fn http_answered(span: &Span, status: u16) {
    span.record("http.response.status_code", i64::from(status));
    if status >= 400 {
        http_failed(span, &status.to_string());
    }
}

/// The call of an [`http`] span had no answer; `kind` is a word such as `timeout` or `connect`.
pub fn http_failed(span: &Span, kind: &str) {
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
}
