//! When a message that was not taken is sent again, and when it is given up. Pure.

use std::time::Duration;

use crate::model::Timestamp;
use crate::store::WebhookStep;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The waits between the attempts of a message, in seconds: ten attempts over a good three days, so that a receiver may
/// be down over a weekend.
pub const SCHEDULE: [u64; 9] =
    [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];

/// A wait is longer than the schedule says by up to this part of it, so that messages that failed together do not come
/// back together.
const JITTER: f64 = 0.1;

/// The next step of a message with `failures` failed attempts behind it, after one that was answered with `status`
/// (`None`: not at all). Any 2xx has taken it; 410 never wants to hear of it again (RFC 9110 §15.5.11); all else may be
/// a fault that somebody mends, and is tried again. `wait` is what the receiver asked for, `draw` is chance, 0 up to 1.
#[must_use]
pub fn next_step(
    failures: u32,
    status: Option<u16>,
    wait: Option<Duration>,
    now: Timestamp,
    draw: f64,
) -> WebhookStep {
    const GONE: u16 = 410;
    match (status, SCHEDULE.get(failures as usize)) {
        (Some(200..=299), _) => WebhookStep::Delivered,
        (Some(GONE), _) | (_, None) => WebhookStep::Dead,
        (_, Some(seconds)) => {
            let planned = Duration::from_secs(*seconds).mul_f64(1.0 + JITTER * draw.clamp(0.0, 1.0));
            WebhookStep::Later { due: now.plus(planned.max(wait.unwrap_or_default())) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn later(seconds: u64) -> WebhookStep {
        WebhookStep::Later { due: NOW.plus(Duration::from_secs(seconds)) }
    }

    #[test]
    fn what_an_answer_leads_to() {
        for (status, expected) in [
            (Some(200), WebhookStep::Delivered),
            (Some(204), WebhookStep::Delivered),
            (Some(299), WebhookStep::Delivered),
            (Some(410), WebhookStep::Dead),
            (None, later(5)),
            (Some(302), later(5)),
            (Some(400), later(5)),
            (Some(401), later(5)),
            (Some(404), later(5)),
            (Some(408), later(5)),
            (Some(429), later(5)),
            (Some(500), later(5)),
            (Some(503), later(5)),
        ] {
            assert_eq!(next_step(0, status, None, NOW, 0.0), expected, "{status:?}");
        }
    }

    #[test]
    fn ten_attempts_over_three_days_and_no_more() {
        let mut waited = Duration::ZERO;
        for failures in 0..9 {
            let WebhookStep::Later { due } = next_step(failures, Some(503), None, NOW, 0.0) else {
                panic!("given up after {failures} failures")
            };
            waited += due.since(NOW);
        }
        assert_eq!(waited.as_secs() / 3600, 75);
        assert_eq!(next_step(9, Some(503), None, NOW, 0.0), WebhookStep::Dead);
        assert_eq!(next_step(9, Some(200), None, NOW, 0.0), WebhookStep::Delivered);
        assert_eq!(next_step(u32::MAX, None, None, NOW, 0.0), WebhookStep::Dead);
    }

    #[test]
    fn a_wait_that_is_asked_for_is_kept_and_chance_only_makes_it_longer() {
        let minute = Some(Duration::from_mins(1));
        assert_eq!(next_step(0, Some(429), minute, NOW, 0.0), later(60));
        assert_eq!(next_step(1, Some(429), minute, NOW, 0.0), later(300));
        assert_eq!(next_step(1, Some(503), None, NOW, 1.0), later(330));
    }
}
