//! The one HTTP client, with its limits. It follows no redirect, because a bearer token must not travel
//! to where a redirect points, and it repeats nothing. Webhooks go by it too.

use std::time::Duration;

use reqwest::redirect::Policy;

/// Who we are, on every call.
const USER_AGENT: &str = concat!("rosterd/", env!("CARGO_PKG_VERSION"));
/// A host that does not answer a connect for this long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than the idle time-outs of common load balancers, so that we close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Builds the client for one tenant; `timeout` bounds a whole call, from connect to the last byte.
///
/// # Errors
/// When the machine's certificates cannot be read.
pub fn http_client(timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .build()
}

/// What went wrong on the way, in words that hold no address and no header.
#[must_use]
pub fn transport_reason(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "no answer within the time-out"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the connection broke"
    };
    match innermost(error) {
        Some(cause) => format!("{what}: {cause}"),
        None => what.to_owned(),
    }
}

/// The last cause in the chain: the operating system's own words.
fn innermost(error: &reqwest::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error)?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}
