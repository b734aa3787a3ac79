//! One HTTP exchange: its span, and its answer, read to the end but no further than a bound.

use reqwest::Response;
use reqwest::header::{HeaderMap, LOCATION};
use tracing::Span;
use url::Url;

use super::headers;
use super::http::transport_reason;
use super::verdict::Failure;
use super::wire::addressable;
use crate::model::{Timestamp, UserId};
use crate::telemetry;

/// No other answer is larger.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;

/// Of an error no more is read.
const MAX_ERROR: usize = 64 * 1024;

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) date: Option<Timestamp>,
    pub(super) correlation_id: Option<String>,
    /// Who is at the address in `Location` (RFC 7644 §3.3).
    pub(super) location: Option<UserId>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Any 2xx is success, with or without a body.
    pub(super) const fn success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// The span of one HTTP exchange, named by method and template.
pub(super) fn span(method: &str, template: &'static str, url: &Url) -> Span {
    telemetry::span::http(method, template, url.host_str().unwrap_or_default())
}

/// Notes on its span how an exchange ended.
pub(super) fn ended(span: &Span, failure: Option<&Failure>, status: Option<u16>) {
    match (status, failure) {
        (Some(status), _) => telemetry::span::http_answered(span, status),
        (None, Some(failure)) => telemetry::span::http_failed(span, failure.verdict.as_str()),
        (None, None) => {}
    }
}

/// Reads an answer to its end, but no further than `limit` bytes. Without a limit a success is a success
/// even when its body breaks off, and an error is what its status says.
pub(super) async fn receive(response: Response, limit: Option<usize>) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let date = headers::date(response.headers());
    let correlation_id = correlation_id(response.headers());
    let location = location(response.headers());
    let success = matches!(status, 200..=299);
    let body = if success {
        match body(response, status, limit.unwrap_or(MAX_ANSWER)).await {
            Ok(body) => body,
            Err(_) if limit.is_none() => Vec::new(),
            Err(failure) => return Err(Failure { correlation_id, ..failure }),
        }
    } else {
        start(response).await
    };
    Ok(Answer { status, date, correlation_id, location, body })
}

/// The start of an error's body. One that is cut off or far too long does not change what the status means.
async fn start(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < MAX_ERROR {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(MAX_ERROR);
    body
}

async fn body(mut response: Response, status: u16, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                return Err(Failure::broken(status, format!("the answer is larger than {limit} bytes")));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(Failure::broken(status, transport_reason(&error))),
        }
    }
}

/// The last part of the address of what was created.
fn location(headers: &HeaderMap) -> Option<UserId> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let id = Url::parse(location).map_or_else(
        |_| location.rsplit('/').next().map(str::to_owned),
        |url| url.path_segments()?.next_back().map(str::to_owned),
    )?;
    let id = percent_encoding::percent_decode_str(&id).decode_utf8().ok()?;
    addressable(&id).then(|| UserId::from(&*id))
}

/// The vendor's id of the call, if it is one: short and printable.
fn correlation_id(headers: &HeaderMap) -> Option<String> {
    const LONGEST: usize = 128;
    let id = headers.get("inin-correlation-id")?.to_str().ok()?;
    (!id.is_empty() && id.len() <= LONGEST).then(|| id.to_owned())
}
