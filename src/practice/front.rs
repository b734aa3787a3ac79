//! The way of a call: count it, let it in or turn it away, let it go wrong, put the answer on the wire.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};

use super::answer::{Answer, Refusal};
use super::bucket::retry_after;
use super::bulk;
use super::control;
use super::creates;
use super::faults::Fault;
use super::net::Fuse;
use super::resources::{self, Call};
use super::route::{Route, Target};
use super::tenant::Tenant;

/// The longest body of a call that is not a bulk request, in bytes: 1 MiB.
const MAX_BODY: usize = 1 << 20;

/// How a call ends.
enum Ending {
    Answer(Answer),
    /// The connection is cut in the middle of the body.
    Cut(Answer),
    /// The JSON breaks off, the connection does not.
    Garbled(Answer),
    /// The connection is reset without an answer.
    Reset,
}

/// Counts a call while it is in flight.
struct InFlight<'a>(&'a Tenant);

impl<'a> InFlight<'a> {
    fn enter(tenant: &'a Tenant, class: String) -> Self {
        tenant.book().enter(class);
        Self(tenant)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.book().leave();
    }
}

/// Takes every call to the tenant.
pub(super) async fn front(
    State(tenant): State<Tenant>,
    ConnectInfo(fuse): ConnectInfo<Fuse>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::parse(parts.uri.path());
    let counted = match route {
        Route::Control(_) => None,
        _ => Some(InFlight::enter(&tenant, format!("{} {}", parts.method, route.label()))),
    };
    let limit = match route {
        Route::Scim(_, Target::Bulk) => tenant.options().bulk_max_payload,
        _ => MAX_BODY,
    };
    // What is a little too long is read to its end: a client that is still sending would not hear the answer.
    let body = to_bytes(body, limit.saturating_mul(2)).await.ok().filter(|body| body.len() <= limit);
    let Some(body) = body else {
        let why = format!("the body is longer than {limit} bytes, or broke off");
        tenant.book().answered(StatusCode::PAYLOAD_TOO_LARGE.as_u16());
        let answer = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why).into();
        return put_on_wire(&tenant, &fuse, Ending::Answer(answer));
    };
    let query = parts.uri.query().unwrap_or_default();
    let call = Call { method: &parts.method, query, headers: &parts.headers, body: &body };
    if let Route::Control(path) = &route {
        return put_on_wire(&tenant, &fuse, Ending::Answer(control::answer(&tenant, path, &call)));
    }
    if let (Route::Scim(_, target), &Method::POST) = (&route, call.method) {
        for external_id in creates::named(target, call.body) {
            tenant.creates().received(external_id);
        }
    }
    let ending = serve(&tenant, &route, &call).await;
    if let Ending::Answer(answer) | Ending::Cut(answer) | Ending::Garbled(answer) = &ending {
        tenant.book().answered(answer.status.as_u16());
    }
    drop(counted);
    put_on_wire(&tenant, &fuse, ending)
}

async fn serve(tenant: &Tenant, route: &Route, call: &Call<'_>) -> Ending {
    let latency = tenant.options().latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let fault = tenant.dice().before();
    if fault != Some(Fault::Outage)
        && let Err(wait) = tenant.admit()
    {
        tenant.book().rate_limited += 1;
        return Ending::Answer(too_many(wait, tenant.options().burst));
    }
    if let Some(fault) = fault {
        tenant.book().befell(fault);
    }
    match fault {
        None => finish(tenant, route, call),
        Some(Fault::Timeout) => {
            tenant.stopped().cancelled().await;
            Ending::Reset
        }
        Some(Fault::Reset) => Ending::Reset,
        Some(Fault::Error) => {
            let status = StatusCode::from_u16(tenant.dice().faults.error_status);
            let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            Ending::Answer(Refusal::new(status, "an error on command").into())
        }
        Some(_) => {
            Ending::Answer(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "an outage on command").into())
        }
    }
}

/// Does what is asked, and lets the answer go wrong.
fn finish(tenant: &Tenant, route: &Route, call: &Call<'_>) -> Ending {
    let answer = resources::answer(tenant, route, call);
    if !answer.status.is_success() {
        return Ending::Answer(answer);
    }
    let is_write = call.method != Method::GET
        && matches!(route, Route::Scim(_, Target::Collection(_) | Target::Resource(..) | Target::Bulk));
    let fault = tenant.dice().after(is_write);
    if let Some(fault) = fault {
        tenant.book().befell(fault);
        bulk::orphan(tenant, &answer);
    }
    match fault {
        Some(Fault::LostAnswer) => Ending::Answer(Answer::gateway_timeout()),
        Some(Fault::CutBody) => Ending::Cut(answer),
        Some(Fault::Garbled) => Ending::Garbled(answer),
        _ => Ending::Answer(answer),
    }
}

/// 429, with the waiting time in the standard header and in those of the platform.
fn too_many(wait: Duration, burst: u32) -> Answer {
    let seconds = retry_after(wait).to_string();
    Answer::from(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded"))
        .with(header::RETRY_AFTER, seconds.clone())
        .with(HeaderName::from_static("inin-ratelimit-count"), burst.to_string())
        .with(HeaderName::from_static("inin-ratelimit-allowed"), burst.to_string())
        .with(HeaderName::from_static("inin-ratelimit-reset"), seconds)
}

fn put_on_wire(tenant: &Tenant, fuse: &Fuse, ending: Ending) -> Response {
    match ending {
        Ending::Answer(answer) => {
            let body = answer.encode();
            respond(tenant, &answer, body, Body::from)
        }
        Ending::Garbled(answer) => {
            let body = answer.encode();
            respond(tenant, &answer, body, |mut bytes| {
                bytes.truncate(bytes.len() / 2);
                Body::from(bytes)
            })
        }
        Ending::Cut(answer) => match answer.encode() {
            None => reset(fuse),
            Some((media, bytes)) => {
                let whole = bytes.len();
                let mut response = respond(tenant, &answer, Some((media, bytes)), half);
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(whole));
                response
            }
        },
        Ending::Reset => reset(fuse),
    }
}

/// The first half of a body, and then the end of the connection.
fn half(mut bytes: Vec<u8>) -> Body {
    bytes.truncate(bytes.len() / 2);
    let first = stream::once(async { Ok(Bytes::from(bytes)) });
    let then = stream::once(async {
        // The server sends what it has when it must wait, and throws it away when it meets an error.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Body::from_stream(first.chain(then))
}

/// What is returned here never reaches the client: the blown fuse lets nothing through.
fn reset(fuse: &Fuse) -> Response {
    fuse.blow();
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn respond(
    tenant: &Tenant,
    answer: &Answer,
    body: Option<(HeaderValue, Vec<u8>)>,
    make: impl FnOnce(Vec<u8>) -> Body,
) -> Response {
    let (media, body) = match body {
        None => (None, Body::empty()),
        Some((media, bytes)) => (Some(media), make(bytes)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.extend(media.map(|media| (header::CONTENT_TYPE, media)));
    let date = u64::try_from(tenant.now().millis()).unwrap_or(0);
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(date));
    let own =
        [(header::DATE, date), (HeaderName::from_static("inin-correlation-id"), tenant.correlation_id())];
    for (name, value) in answer.headers.iter().chain(&own) {
        // A value that no header can hold would come from an id with control characters.
        headers.extend(HeaderValue::from_str(value).ok().map(|value| (name.clone(), value)));
    }
    response
}
