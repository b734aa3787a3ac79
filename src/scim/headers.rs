//! What the headers of an answer say about pace: `Retry-After` (RFC 9110 §10.2.3) and the rate headers
//! in use. Pure; the wall clock is an argument, because dates are compared with it.

use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::model::Timestamp;

/// The longest pause that a tenant can impose in one answer. After it one call asks again, so a
/// nonsensical value costs an hour and not a day, and an honest one is asked about once an hour.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// What is left of the tenant's current window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Calls that may still be made in it.
    pub(super) remaining: u64,
    /// Until it ends.
    pub(super) reset: Duration,
}

/// The moment that `Date` shows; it has whole seconds, cut off.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(text(headers, "date")?)
}

/// How long to wait according to `Retry-After`, else to `inin-ratelimit-reset`, else to a platform
/// message such as "Retry the request in [13] seconds". A moment is one of the tenant's clock, which may be another than
/// ours: it counts from the answer's own `Date`, where there is one.
pub(super) fn wait(headers: &HeaderMap, message: &str, now: Timestamp) -> Option<Duration> {
    let now = date(headers).unwrap_or(now);
    text(headers, "retry-after")
        .and_then(|value| retry_after(value, now))
        .or_else(|| number(headers, "inin-ratelimit-reset").map(bounded))
        .or_else(|| seconds_in(message).map(bounded))
}

/// Reads the value of `Retry-After` (RFC 9110 §10.2.3): seconds, or an HTTP date, and never more than an hour. A date
/// that has passed is zero, and anything else is no answer.
#[must_use]
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(bounded(value.parse().unwrap_or(u64::MAX)));
    }
    http_date(value).map(|at| at.since(now).min(LONGEST_PAUSE))
}

/// The tenant's window, by whichever family of rate headers is there; its end, too, is a moment of the tenant's clock.
pub(super) fn window(headers: &HeaderMap, now: Timestamp) -> Option<Window> {
    let now = date(headers).unwrap_or(now);
    inin_window(headers)
        .or_else(|| plain_window(headers, "ratelimit-remaining", "ratelimit-reset", now))
        .or_else(|| plain_window(headers, "x-ratelimit-remaining", "x-ratelimit-reset", now))
}

fn inin_window(headers: &HeaderMap) -> Option<Window> {
    let allowed = number(headers, "inin-ratelimit-allowed")?;
    let count = number(headers, "inin-ratelimit-count")?;
    let reset = bounded(number(headers, "inin-ratelimit-reset")?);
    Some(Window { remaining: allowed.saturating_sub(count), reset })
}

fn plain_window(headers: &HeaderMap, remaining: &str, reset: &str, now: Timestamp) -> Option<Window> {
    /// Greater values of a reset are moments in seconds since the epoch, not a number of seconds.
    const EPOCH_SECONDS: u64 = 1_000_000_000;
    let remaining = number(headers, remaining)?;
    let reset = match number(headers, reset)? {
        at if at >= EPOCH_SECONDS => {
            Timestamp::EPOCH.plus(Duration::from_secs(at)).since(now).min(LONGEST_PAUSE)
        }
        seconds => bounded(seconds),
    };
    Some(Window { remaining, reset })
}

fn bounded(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST_PAUSE)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

fn http_date(value: &str) -> Option<Timestamp> {
    let since_epoch = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::EPOCH.plus(since_epoch))
}

/// The number in `[n] seconds`.
fn seconds_in(message: &str) -> Option<u64> {
    let (before, _) = message.split_once("] seconds")?;
    let (_, digits) = before.rsplit_once('[')?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000); // Thu, 01 Jan 2026 00:00:00 GMT

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, seconds) in [
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("Thu, 01 Jan 2026 00:00:30 GMT", Some(30)),
            ("Wed, 31 Dec 2025 23:00:00 GMT", Some(0)),
            ("86400", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            let waits = wait(&headers(&[("retry-after", value)]), "", NOW);
            assert_eq!(waits, seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    /// Our clock is an hour behind or ahead of the tenant's; neither costs an hour.
    #[test]
    fn a_moment_counts_from_the_date_of_the_answer() {
        const HOUR: Duration = Duration::from_hours(1);
        let at = "Thu, 01 Jan 2026 00:00:30 GMT";
        for ours in [NOW.minus(HOUR), NOW, NOW.plus(HOUR)] {
            let dated = |date| headers(&[("retry-after", at), ("date", date)]);
            assert_eq!(
                wait(&dated("Thu, 01 Jan 2026 00:00:00 GMT"), "", ours),
                Some(Duration::from_secs(30))
            );
            assert_eq!(wait(&dated("Thu, 01 Jan 2026 00:01:00 GMT"), "", ours), Some(Duration::ZERO));
            let family = headers(&[
                ("x-ratelimit-remaining", "20"),
                ("x-ratelimit-reset", "1767225609"),
                ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ]);
            let reset = window(&family, ours).map(|window| window.reset);
            assert_eq!(reset, Some(Duration::from_secs(9)));
        }
        let undated = wait(&headers(&[("retry-after", at), ("date", "soon")]), "", NOW);
        assert_eq!(undated, Some(Duration::from_secs(30)), "our own clock, without a date that can be read");
    }

    #[test]
    fn other_places_are_asked_when_retry_after_is_missing() {
        assert_eq!(wait(&headers(&[("inin-ratelimit-reset", "4")]), "", NOW), Some(Duration::from_secs(4)));
        let message = "Rate limit exceeded the maximum. Retry the request in [13] seconds";
        assert_eq!(wait(&HeaderMap::new(), message, NOW), Some(Duration::from_secs(13)));
        assert_eq!(wait(&HeaderMap::new(), "try again", NOW), None);
    }

    #[test]
    fn three_families_of_rate_headers_are_read() {
        let expect = Some(Window { remaining: 20, reset: Duration::from_secs(9) });
        for family in [
            headers(&[
                ("inin-ratelimit-count", "280"),
                ("inin-ratelimit-allowed", "300"),
                ("inin-ratelimit-reset", "9"),
            ]),
            headers(&[("ratelimit-remaining", "20"), ("ratelimit-reset", "9")]),
            headers(&[("x-ratelimit-remaining", "20"), ("x-ratelimit-reset", "1767225609")]),
        ] {
            assert_eq!(window(&family, NOW), expect, "{family:?}");
        }
        assert_eq!(window(&headers(&[("ratelimit-remaining", "many")]), NOW), None);
    }
}
