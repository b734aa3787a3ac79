//! Access tokens by OAuth 2.0 client credentials (RFC 6749 §4.4): cached, refreshed early, one refresh at
//! a time however many callers wait for it, and never shown.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::Instrument;
use url::Url;

use super::answer::{Answer, MAX_ANSWER, ended, receive, span};
use super::headers;
use super::http::transport_reason;
use super::limiter::Limiter;
use super::reason::reason;
use super::verdict::{Failure, Verdict, token_verdict};
use crate::clock::Clock;

/// A token is fetched anew this long before it expires, or after half its life if that is later.
const EARLY: Duration = Duration::from_mins(1);
/// The life of a token whose answer does not tell it (RFC 6749 §5.1 only recommends to).
const DEFAULT_LIFE: Duration = Duration::from_mins(5);
/// And none is taken to live shorter, or each call would need one of its own.
const LEAST_LIFE: Duration = Duration::from_secs(1);
/// When a refresh fails while the old token still holds, the next one waits this long.
const REFRESH_AGAIN: Duration = Duration::from_secs(5);

/// How the token endpoint gets id and secret (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAuth {
    /// In an `Authorization: Basic` header.
    Basic,
    /// In the form body.
    Form,
}

/// What the token endpoint wants to know.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// Where tokens come from.
    pub token_url: Url,
    /// How id and secret are sent there.
    pub token_auth: TokenAuth,
    /// Public half.
    pub client_id: SecretString,
    /// Secret half.
    pub client_secret: SecretString,
    /// Sent only when there is one.
    pub scope: Option<String>,
}

/// The tokens of one tenant.
#[derive(Debug)]
pub struct Auth {
    http: reqwest::Client,
    limiter: Limiter,
    clock: Clock,
    credentials: ClientCredentials,
    state: Mutex<State>,
    fetches: std::sync::atomic::AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Token>,
    failed: Option<Failure>,
}

/// A token and the number of the fetch that brought it.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) value: SecretString,
    pub(super) number: u64,
    refresh_at: Instant,
    expires_at: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
}

/// A number of seconds, also as text; what is neither is as good as missing.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

impl Auth {
    /// Fetches nothing yet.
    #[must_use]
    pub fn new(
        http: reqwest::Client,
        limiter: Limiter,
        clock: Clock,
        credentials: ClientCredentials,
    ) -> Self {
        let fetches = std::sync::atomic::AtomicU64::new(0);
        Self { http, limiter, clock, credentials, state: Mutex::default(), fetches }
    }

    /// A token that holds. Whoever waited while a fetch failed gets that failure, not a fetch of his own.
    pub(super) async fn token(&self) -> Result<Token, Failure> {
        let seen = self.fetches();
        let mut state = self.state.lock().await;
        let now = self.clock.instant();
        if let Some(token) = state.token.as_ref().filter(|token| now < token.refresh_at) {
            return Ok(token.clone());
        }
        if let Some(failure) = state.failed.as_ref().filter(|_| self.fetches() > seen) {
            return Err(failure.clone());
        }
        let fetched = self.fetch().await;
        self.fetches.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match fetched {
            Ok(token) => {
                *state = State { token: Some(token.clone()), failed: None };
                Ok(token)
            }
            Err(failure) => keep_old(&mut state, failure, self.clock.instant()),
        }
    }

    /// Throws away the token that the tenant did not accept, unless it has been replaced already.
    pub(super) async fn discard(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|token| token.number == number) {
            state.token = None;
        }
    }

    fn fetches(&self) -> u64 {
        self.fetches.load(std::sync::atomic::Ordering::SeqCst)
    }

    async fn fetch(&self) -> Result<Token, Failure> {
        let span = span("POST", "/oauth/token", &self.credentials.token_url);
        let answer = self.post().instrument(span.clone()).await;
        ended(
            &span,
            answer.as_ref().err(),
            answer.as_ref().map_or_else(|failure| failure.status, |answer| Some(answer.status)),
        );
        let answer = answer?;
        let body: TokenAnswer = serde_json::from_slice(&answer.body).map_err(|_| {
            Failure::broken(answer.status, "token endpoint: the answer holds no access_token")
        })?;
        let token = body.access_token.expose_secret();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::broken(answer.status, "token endpoint: the access_token is none"));
        }
        let life = body.expires_in.unwrap_or(DEFAULT_LIFE).max(LEAST_LIFE).min(Duration::from_hours(24));
        let now = self.clock.instant();
        Ok(Token {
            value: body.access_token,
            number: self.fetches(),
            refresh_at: now + life.saturating_sub(EARLY).max(life / 2),
            expires_at: now + life,
        })
    }

    async fn post(&self) -> Result<Answer, Failure> {
        let permit = self.limiter.permit().await?;
        let sent = self.http.post(self.credentials.token_url.clone()).header("accept", "application/json");
        let response = self.authenticated(sent).send().await.map_err(|error| unreachable_tenant(&error))?;
        let headers = response.headers().clone();
        // Whatever becomes of it, the call that wants the token has not been made.
        let answer = receive(response, Some(MAX_ANSWER))
            .await
            .map_err(|failure| Failure { unclear: false, ..failure })?;
        if answer.success() {
            self.limiter.learn(permit, &headers, None);
            return Ok(answer);
        }
        let why = reason(answer.status, &answer.body);
        let wait = headers::wait(&headers, &why.text, self.clock.now());
        let verdict = token_verdict(answer.status, &why, wait);
        self.limiter.learn(permit, &headers, Some(&verdict));
        Err(Failure {
            verdict,
            status: Some(answer.status),
            reason: format!("token endpoint: {}", why.text),
            correlation_id: answer.correlation_id.or(why.context_id),
            answer: None,
            unclear: false,
        })
    }

    fn authenticated(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let (id, secret) = (&self.credentials.client_id, &self.credentials.client_secret);
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.credentials.scope.as_deref().map(|scope| ("scope", scope)));
        match self.credentials.token_auth {
            TokenAuth::Basic => {
                request.basic_auth(id.expose_secret(), Some(secret.expose_secret())).form(&form)
            }
            TokenAuth::Form => {
                form.push(("client_id", id.expose_secret()));
                form.push(("client_secret", secret.expose_secret()));
                request.form(&form)
            }
        }
    }
}

/// A refresh that failed is no harm while the old token holds.
fn keep_old(state: &mut State, failure: Failure, now: Instant) -> Result<Token, Failure> {
    if let Some(token) = state.token.as_mut().filter(|token| now < token.expires_at) {
        token.refresh_at = now + REFRESH_AGAIN;
        return Ok(token.clone());
    }
    *state = State { token: None, failed: Some(failure.clone()) };
    Err(failure)
}

fn unreachable_tenant(error: &reqwest::Error) -> Failure {
    Failure::local(
        Verdict::Unavailable { wait: None },
        format!("token endpoint: {}", transport_reason(error)),
    )
}
