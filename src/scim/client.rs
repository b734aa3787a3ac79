//! Calls to one tenant: each takes a permit from the limiter, carries a token and comes back as a success
//! or as a [`Failure`] with its verdict.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, IF_MATCH};
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;
use tracing::Instrument;
use url::Url;

use super::answer::{Answer, MAX_ANSWER, ended, receive, span};
use super::auth::{Auth, Token};
use super::bulk::{self, BulkAnswer, BulkSupport};
use super::headers;
use super::http::transport_reason;
use super::limiter::Limiter;
use super::patch::Write;
use super::provider::{Receipt, ServiceProvider};
use super::reason::{beginning, excerpt, reason};
use super::verdict::{Failure, Verdict, unclear, verdict};
use super::wire::{self, Page};
use crate::clock::Clock;
use crate::model::{Timestamp, UserId};

/// No page of a list is larger: 1,000 users of 32 KiB.
const MAX_PAGE: usize = 32 * 1024 * 1024;
/// What is accepted, on every call (RFC 7644 §3.8).
const ACCEPTED: &str = "application/scim+json, application/json";

/// Where a tenant is and how bodies are labelled there.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The SCIM base, without a trailing slash.
    pub base_url: Url,
    /// `application/json` for Genesys, `application/scim+json` elsewhere.
    pub content_type: &'static str,
}

/// One page of a list of users.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Only users changed since.
    pub since: Option<Timestamp>,
    /// The name of the parameter that carries `filter`, and the filter.
    pub filter: Option<(String, String)>,
    /// 1-based position of the first user.
    pub start_index: u64,
    /// Users on the page.
    pub count: u32,
}

/// A client for one tenant; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    auth: Auth,
    limiter: Limiter,
    clock: Clock,
    endpoint: Endpoint,
    calls: AtomicU64,
    answered: AtomicU64,
    /// Why the last call came to nothing; `None` while calls do not.
    failed: Mutex<Option<Failure>>,
    etags: OnceCell<bool>,
}

/// One call, before a token.
struct Call<'a> {
    method: Method,
    /// Low-cardinality name of the resource: `/Users/{id}`.
    template: &'static str,
    url: Url,
    body: Option<&'a [u8]>,
    if_match: Option<&'a str>,
    /// The longest body that is read of a success; without one its body does not matter.
    limit: Option<usize>,
}

impl Client {
    /// Makes no call yet.
    #[must_use]
    pub fn new(
        http: reqwest::Client,
        auth: Auth,
        limiter: Limiter,
        clock: Clock,
        endpoint: Endpoint,
    ) -> Self {
        let (calls, answered) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner {
            http,
            auth,
            limiter,
            clock,
            endpoint,
            calls,
            answered,
            failed: Mutex::default(),
            etags: OnceCell::new(),
        }))
    }

    /// The gate that all calls pass.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    /// Calls made so far, tokens left out.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Why the last call came to nothing that was made; `None` if it did not, or the tenant understood it and said no.
    #[must_use]
    pub fn last_failure(&self) -> Option<Failure> {
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, failure: Option<&Failure>) {
        let failure = match failure {
            Some(Failure { verdict: Verdict::NotSent, .. }) => return,
            failure => failure.filter(|failure| !failure.verdict.answered()).cloned(),
        };
        *self.0.failed.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// An answer with a status of success that is not what was asked for, and why.
    fn broken(&self, answer: Answer, why: String) -> Failure {
        let why = match beginning(&answer.body) {
            Some(said) => format!("{why}; it says: {said}"),
            None => why,
        };
        let failure = Failure {
            correlation_id: answer.correlation_id,
            answer: Some(excerpt(&answer.body)),
            ..Failure::broken(answer.status, why)
        };
        self.remember(Some(&failure));
        failure
    }

    /// The record of the user with this `userName`, whatever its case (RFC 7643 §4.1.1), as bytes. A tenant that does
    /// not understand the filter (RFC 7644 §3.4.2.2) may answer with others: they are not taken for him.
    ///
    /// # Errors
    /// When the call fails, or what comes back is no list.
    pub async fn find_user(&self, user_name: &str) -> Result<Option<Vec<u8>>, Failure> {
        // A name in a filter is a JSON string.
        let filter = format!("userName eq {}", serde_json::Value::from(user_name));
        let filter = Some(("filter".to_owned(), filter));
        let page = self.list_users(&ListQuery { since: None, filter, start_index: 1, count: 2 }).await?;
        let mut records = page.resources.iter().map(|record| record.get().as_bytes());
        Ok(records.find(|record| wire::is_named(record, user_name)).map(<[u8]>::to_vec))
    }

    async fn asks_for_etags(&self) -> Result<bool, Failure> {
        match self.call(self.on(Method::GET, "/ServiceProviderConfig", &["ServiceProviderConfig"])).await {
            Ok(answer) => Ok(wire::etag_supported(&answer.body)),
            Err(failure) if failure.verdict.answered() || failure.status == Some(404) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn on_user(&self, method: Method, id: &UserId) -> Call<'static> {
        self.on(method, "/Users/{id}", &["Users", id.as_str()])
    }

    fn on(&self, method: Method, template: &'static str, segments: &[&str]) -> Call<'static> {
        let url = self.url(segments);
        Call { method, template, url, body: None, if_match: None, limit: Some(MAX_ANSWER) }
    }

    /// Submits a bulk request (RFC 7644 §3.7).
    ///
    /// # Errors
    /// When the call fails, or what comes back is no answer to one.
    pub async fn bulk(&self, body: &[u8]) -> Result<BulkAnswer, Failure> {
        let call = self.on(Method::POST, "/Bulk", &["Bulk"]);
        self.bulk_answer(Call { body: Some(body), limit: Some(MAX_PAGE), ..call }).await
    }

    /// Asks how far a bulk request is that goes by this name.
    ///
    /// # Errors
    /// As above.
    pub async fn bulk_job(&self, name: &str) -> Result<BulkAnswer, Failure> {
        let call = self.on(Method::GET, "/Bulk/{id}", &["Bulk", name]);
        self.bulk_answer(Call { limit: Some(MAX_PAGE), ..call }).await
    }

    async fn bulk_answer(&self, call: Call<'_>) -> Result<BulkAnswer, Failure> {
        let answer = self.call(call).await?;
        bulk::read(&answer.body, answer.correlation_id.clone()).map_err(|why| self.broken(answer, why))
    }

    /// What the tenant says of itself about bulk requests; nothing, when it says nothing of itself at all.
    ///
    /// # Errors
    /// When no call can be made now.
    pub async fn bulk_support(&self) -> Result<BulkSupport, Failure> {
        match self.call(self.on(Method::GET, "/ServiceProviderConfig", &["ServiceProviderConfig"])).await {
            Ok(answer) => Ok(bulk::support(&answer.body)),
            Err(failure) if failure.verdict.answered() || failure.status == Some(404) => {
                Ok(bulk::support(b""))
            }
            Err(failure) => Err(failure),
        }
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.0.endpoint.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Makes a call; a 401 is worth a new token and one more try.
    async fn call(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let ended = self.call_twice(call).await;
        self.remember(ended.as_ref().err());
        ended
    }

    async fn call_twice(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let refused = match self.attempt(&call).await? {
            Ok(answer) => return Ok(answer),
            Err(refused) => refused,
        };
        self.0.auth.discard(refused.token).await;
        match self.attempt(&call).await? {
            Ok(answer) => Ok(answer),
            Err(again) => Err(again.failure),
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Result<Answer, Refused>, Failure> {
        let span = span(call.method.as_str(), call.template, &call.url);
        let result = self.send(call).instrument(span.clone()).await;
        match &result {
            Ok(Ok(answer)) => ended(&span, None, Some(answer.status)),
            Ok(Err(Refused { failure, .. })) | Err(failure) => ended(&span, Some(failure), failure.status),
        }
        result
    }

    /// One HTTP exchange. The permit comes before the token, because a token taken first may expire in the queue.
    async fn send(&self, call: &Call<'_>) -> Result<Result<Answer, Refused>, Failure> {
        let inner = &*self.0;
        let permit = inner.limiter.permit().await?;
        let token = inner.auth.token().await?;
        inner.calls.fetch_add(1, Ordering::Relaxed);
        let response = self.request(call, &token).send().await.map_err(|error| {
            // What cannot even be written down as a request is the operation's fault, not the tenant's.
            let verdict =
                if error.is_builder() { Verdict::Rejected } else { Verdict::Unavailable { wait: None } };
            // Whoever could not be connected to was asked for nothing.
            let unclear = !error.is_builder() && !error.is_connect();
            Failure { unclear, ..Failure::local(verdict, transport_reason(&error)) }
        })?;
        let headers = response.headers().clone();
        let answer = receive(response, call.limit).await?;
        if answer.success() {
            inner.limiter.learn(permit, &headers, None);
            inner.answered.fetch_add(1, Ordering::Relaxed);
            return Ok(Ok(answer));
        }
        let failure = failure(answer, &headers, inner.clock.now());
        inner.limiter.learn(permit, &headers, Some(&failure.verdict));
        if failure.verdict.answered() {
            inner.answered.fetch_add(1, Ordering::Relaxed);
        }
        if failure.verdict == Verdict::Unauthorized {
            return Ok(Err(Refused { token: token.number, failure }));
        }
        Err(failure)
    }

    fn request(&self, call: &Call<'_>, token: &Token) -> reqwest::RequestBuilder {
        let mut request = self
            .0
            .http
            .request(call.method.clone(), call.url.clone())
            .bearer_auth(token.value.expose_secret())
            .header(ACCEPT, ACCEPTED);
        if let Some(version) = call.if_match {
            request = request.header(IF_MATCH, version);
        }
        match call.body {
            Some(body) => request.header(CONTENT_TYPE, self.0.endpoint.content_type).body(body.to_vec()),
            None => request,
        }
    }
}

impl ServiceProvider for Client {
    async fn list_users(&self, query: &ListQuery) -> Result<Page, Failure> {
        let mut url = self.url(&["Users"]);
        {
            let mut pairs = url.query_pairs_mut();
            if let Some((name, filter)) = &query.filter {
                pairs.append_pair(name, filter);
            }
            if let Some(since) = query.since {
                pairs.append_pair("since", &since.to_string());
            }
            pairs.append_pair("startIndex", &query.start_index.to_string());
            pairs.append_pair("count", &query.count.to_string());
        }
        let call = Call {
            method: Method::GET,
            template: "/Users",
            url,
            body: None,
            if_match: None,
            limit: Some(MAX_PAGE),
        };
        let answer = self.call(call).await?;
        Page::read(&answer.body, answer.date).map_err(|why| self.broken(answer, why))
    }

    async fn get_user(&self, id: &UserId) -> Result<Vec<u8>, Failure> {
        self.call(self.on_user(Method::GET, id)).await.map(|answer| answer.body)
    }

    async fn write_user(
        &self,
        write: Write,
        id: &UserId,
        body: &[u8],
        version: Option<&str>,
    ) -> Result<Receipt, Failure> {
        let call = match write {
            Write::Patch => self.on_user(Method::PATCH, id),
            Write::Replace => self.on_user(Method::PUT, id),
            Write::Create => self.on(Method::POST, "/Users", &["Users"]),
        };
        let answer = self.call(Call { body: Some(body), if_match: version, limit: None, ..call }).await?;
        let created = (write == Write::Create)
            .then(|| wire::read_record(&answer.body).ok().map(|record| record.id).or(answer.location))
            .flatten();
        Ok(Receipt { correlation_id: answer.correlation_id, created })
    }

    async fn honours_if_match(&self) -> Result<bool, Failure> {
        const TRIES: u32 = 3;
        for _ in 0..TRIES {
            let asked = self.0.etags.get_or_try_init(|| self.asks_for_etags()).await;
            match asked {
                Ok(honours) => return Ok(*honours),
                Err(failure) if matches!(failure.verdict, Verdict::Unavailable { .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(false)
    }

    fn answered(&self) -> u64 {
        self.0.answered.load(Ordering::Relaxed)
    }
}

/// A call that was answered 401, and the number of the token it carried.
struct Refused {
    token: u64,
    failure: Failure,
}

fn failure(answer: Answer, headers: &HeaderMap, now: Timestamp) -> Failure {
    let why = reason(answer.status, &answer.body);
    let wait = headers::wait(headers, &why.text, now);
    let verdict = verdict(answer.status, &why, wait);
    Failure {
        unclear: unclear(answer.status, &verdict),
        verdict,
        status: Some(answer.status),
        reason: why.text,
        correlation_id: answer.correlation_id.or(why.context_id),
        answer: Some(excerpt(&answer.body)),
    }
}
