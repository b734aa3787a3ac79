//! The token endpoint: client credentials (RFC 6749 §4.4), by Basic or in the form.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::form_urlencoded;

use super::answer::{Answer, Content};
use crate::model::Timestamp;

/// The tokens that are valid, each until its moment.
pub(super) struct Tokens {
    valid: HashMap<String, Timestamp>,
    rng: StdRng,
}

impl Tokens {
    pub(super) fn new(seed: u64) -> Self {
        Self { valid: HashMap::new(), rng: StdRng::seed_from_u64(seed) }
    }

    fn issue(&mut self, lifetime: Duration, now: Timestamp) -> String {
        self.valid.retain(|_, until| *until > now);
        let token = format!("practice-{:032x}", self.rng.random::<u128>());
        self.valid.insert(token.clone(), now.plus(lifetime));
        token
    }

    /// Makes all tokens invalid.
    pub(super) fn revoke(&mut self) {
        self.valid.clear();
    }

    /// Whether a call carries a valid token (RFC 6750 §2.1).
    pub(super) fn admits(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        credentials(headers, "Bearer")
            .and_then(|token| self.valid.get(token))
            .is_some_and(|until| *until > now)
    }
}

/// Who may have a token, and for how long.
pub(super) struct Client<'a> {
    pub(super) id: &'a str,
    pub(super) secret: &'a SecretString,
    pub(super) lifetime: Duration,
    /// Refuse everybody.
    pub(super) reject: bool,
}

/// Answers a call to the token endpoint.
pub(super) fn token(
    tokens: &mut Tokens,
    client: &Client<'_>,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Answer {
    let form: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str);
    let basic = credentials(headers, "Basic").map(decode_basic);
    let given = match &basic {
        Some(pair) => pair.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str())),
        None => field("client_id").zip(field("client_secret")),
    };
    if client.reject || given != Some((client.id, client.secret.expose_secret())) {
        return invalid_client(basic.is_some());
    }
    match field("grant_type") {
        Some("client_credentials") => {}
        Some(_) => {
            return error(StatusCode::BAD_REQUEST, "unsupported_grant_type", "only client_credentials");
        }
        None => return error(StatusCode::BAD_REQUEST, "invalid_request", "grant_type is missing"),
    }
    let body = json!({
        "access_token": tokens.issue(client.lifetime, now),
        "token_type": "bearer",
        "expires_in": client.lifetime.as_secs(),
    });
    Answer::new(StatusCode::OK, Content::Json(body)).with(header::CACHE_CONTROL, "no-store")
}

/// The tenant's own limit on token calls, which it reports as a 400.
pub(super) fn rate_limited() -> Answer {
    error(StatusCode::BAD_REQUEST, "invalid_request", "rate limit exceeded")
}

/// RFC 6749 §5.2: 401 with a challenge for Basic, else 400.
fn invalid_client(basic: bool) -> Answer {
    let status = if basic { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    let answer = error(status, "invalid_client", "client not found or client credentials are wrong");
    if basic { answer.with(header::WWW_AUTHENTICATE, "Basic realm=\"practice\"") } else { answer }
}

fn error(status: StatusCode, error: &str, description: &str) -> Answer {
    let body = json!({ "error": error, "description": description, "error_description": description });
    Answer::new(status, Content::Json(body))
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Id and secret out of Basic credentials; both may be form-encoded (RFC 6749 §2.3.1).
fn decode_basic(text: &str) -> Option<(String, String)> {
    let plain = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (id, secret) = plain.split_once(':')?;
    let decode = |part: &str| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned();
    Some((decode(id), decode(secret)))
}
