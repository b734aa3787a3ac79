//! What an answer means. Pure: the table of the tenant contract, row by row.

use std::time::Duration;

use super::reason::Reason;

/// What an answer that is no success means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Too many calls (429): nobody is at fault, all wait.
    Throttled {
        /// At least this long, if the tenant said so.
        wait: Option<Duration>,
    },
    /// The tenant or the way to it fails (408, 5xx, connection, time-out, a gateway's 404): later.
    Unavailable {
        /// At least this long, if the tenant said so.
        wait: Option<Duration>,
    },
    /// It does not know us, not even with a token fetched anew.
    Unauthorized,
    /// It knows us and does not let us (403).
    Forbidden,
    /// The resource does not exist (404 or 410 in SCIM's form).
    Gone,
    /// The resource has changed since it was read (412, 409, 400 `invalidVers`): decide anew.
    Conflict,
    /// What was to be created is there already (409 `uniqueness`).
    Exists,
    /// The tenant answered 2xx and has not done what it was told. No answer says so: whoever reads back does.
    Ignored,
    /// The request is wrong (400, 413, 415, 422, 501 and what nobody foresaw): never the same again.
    Rejected,
    /// The call was not made, because we are stopping.
    NotSent,
}

impl Verdict {
    /// The tenant has understood the call and answered it, whatever it answered.
    #[must_use]
    pub const fn answered(&self) -> bool {
        !matches!(
            self,
            Self::Throttled { .. } | Self::Unavailable { .. } | Self::Unauthorized | Self::NotSent
        )
    }

    /// The word in logs and spans (`error.type` where there is no status).
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Gone => "gone",
            Self::Conflict => "conflict",
            Self::Exists => "exists",
            Self::Ignored => "ignored",
            Self::Rejected => "rejected",
            Self::NotSent => "not_sent",
        }
    }
}

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it means.
    pub verdict: Verdict,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why, for a person, as the tenant put it. It may hold personal data: the log gets it redacted.
    pub reason: String,
    /// By which the vendor's support finds the call.
    pub correlation_id: Option<String>,
    /// The start of the answer's body, at most 2 KiB. It may hold personal data and never goes to a log.
    pub answer: Option<String>,
    /// What was asked for may have been done all the same: nobody can tell.
    pub unclear: bool,
}

impl Failure {
    /// A failure before anything was asked of the tenant.
    pub(super) fn local(verdict: Verdict, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { verdict, status: None, reason, correlation_id: None, answer: None, unclear: false }
    }

    /// What was read is not what it should be.
    pub fn unreadable(reason: impl Into<String>) -> Self {
        Self::local(Verdict::Rejected, reason)
    }

    /// An answer with status 2xx whose body is not what was asked for; the next try may bring it.
    pub(super) fn broken(status: u16, reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Unavailable { wait: None },
            status: Some(status),
            reason: reason.into(),
            correlation_id: None,
            answer: None,
            unclear: true,
        }
    }
}

/// What a status outside 2xx means, with what its body and headers said.
pub(super) fn verdict(status: u16, reason: &Reason, wait: Option<Duration>) -> Verdict {
    let code = reason.code.as_deref().unwrap_or_default();
    match status {
        429 => Verdict::Throttled { wait },
        401 => Verdict::Unauthorized,
        403 => Verdict::Forbidden,
        404 | 410 if reason.scim => Verdict::Gone,
        409 if code == "uniqueness" => Verdict::Exists,
        409 | 412 => Verdict::Conflict,
        400 if code == "invalidVers" => Verdict::Conflict,
        404 | 408 | 423 | 425 | 500 | 502..=599 => Verdict::Unavailable { wait },
        _ => Verdict::Rejected,
    }
}

/// Whether a call that was answered like this may have been carried out. What is refused, or put off before anybody has
/// looked at it, has not been; a server that fails may do so after it has written.
pub(super) const fn unclear(status: u16, verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Unavailable { .. }) && !matches!(status, 404 | 423 | 425)
}

/// What a status means at the token endpoint (RFC 6749 §5.2), which reports its own rate limit as a 400. What it says is
/// about us or about itself, never about what the token was wanted for.
pub(super) fn token_verdict(status: u16, reason: &Reason, wait: Option<Duration>) -> Verdict {
    let throttled = reason.text.to_ascii_lowercase().contains("rate limit exceeded");
    match status {
        400 if throttled => Verdict::Throttled { wait },
        429 => verdict(status, reason, wait),
        400 | 401 | 403 => Verdict::Unauthorized,
        _ => Verdict::Unavailable { wait },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Verdict = Verdict::Unavailable { wait: None };
    const PAUSE: Verdict = Verdict::Throttled { wait: None };

    fn reason(code: &str, text: &str, scim: bool) -> Reason {
        Reason { text: text.into(), code: (!code.is_empty()).then(|| code.into()), context_id: None, scim }
    }

    #[test]
    fn the_table_of_the_contract() {
        for (status, code, scim, expected) in [
            (401, "", false, Verdict::Unauthorized),
            (403, "", false, Verdict::Forbidden),
            (404, "", true, Verdict::Gone),
            (404, "", false, LATER),
            (409, "uniqueness", true, Verdict::Exists),
            (409, "", true, Verdict::Conflict),
            (412, "", false, Verdict::Conflict),
            (400, "invalidVers", true, Verdict::Conflict),
            (400, "invalidValue", true, Verdict::Rejected),
            (413, "", false, Verdict::Rejected),
            (415, "", false, Verdict::Rejected),
            (422, "", false, Verdict::Rejected),
            (501, "", false, Verdict::Rejected),
            (302, "", false, Verdict::Rejected),
            (408, "", false, LATER),
            (429, "", false, PAUSE),
            (500, "", false, LATER),
            (502, "", false, LATER),
            (503, "", false, LATER),
            (504, "", false, LATER),
        ] {
            let verdict = verdict(status, &reason(code, "", scim), None);
            assert_eq!(verdict, expected, "{status} {code}");
            let may_be_done = [408, 500, 502, 503, 504].contains(&status);
            assert_eq!(unclear(status, &verdict), may_be_done, "{status} {code}");
        }
    }

    #[test]
    fn what_the_tenant_asks_to_wait_is_kept() {
        let wait = Duration::from_secs(9);
        let none = reason("", "", false);
        assert_eq!(verdict(429, &none, Some(wait)), Verdict::Throttled { wait: Some(wait) });
        assert_eq!(verdict(503, &none, Some(wait)), Verdict::Unavailable { wait: Some(wait) });
    }

    #[test]
    fn the_token_endpoint_has_rules_of_its_own() {
        let limited = reason("invalid_request", "Client rate limit exceeded", false);
        assert_eq!(token_verdict(400, &limited, None), PAUSE);
        for status in [400, 401, 403] {
            let refused = reason("invalid_client", "unknown client", false);
            assert_eq!(token_verdict(status, &refused, None), Verdict::Unauthorized);
        }
        for status in [302, 404, 410, 501, 503] {
            assert_eq!(token_verdict(status, &reason("", "", true), None), LATER, "{status}");
        }
    }
}
