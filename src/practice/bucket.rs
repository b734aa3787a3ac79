//! The tenant's rate limit: a token bucket in monotonic time. Pure; the caller tells the time.

use std::time::Duration;

use tokio::time::Instant;

/// Calls that are allowed at once, refilled at a steady rate.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    burst: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket: `burst` calls at once, `rate` more every second.
    pub(super) fn new(rate: f64, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst.max(1));
        Self { rate, burst, left: burst, at: now }
    }

    /// Takes one call, or says how long to wait for one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = passed.mul_add(self.rate, self.left).min(self.burst);
        self.at = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.left) / self.rate;
        Err(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }
}

/// A wait as `Retry-After` writes it (RFC 9110 §10.2.3): whole seconds, rounded up, at least one.
pub(super) fn retry_after(wait: Duration) -> u64 {
    let whole = wait.as_secs();
    if wait.subsec_nanos() == 0 { whole.max(1) } else { whole.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn it_allows_the_burst_then_the_rate() {
        let start = Clock::system().instant();
        let mut bucket = Bucket::new(10.0, 3, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        let wait = bucket.take(start).expect_err("the burst is used up");
        assert!((wait.as_secs_f64() - 0.1).abs() < 1e-6, "{wait:?}");
        let later = start + Duration::from_millis(101);
        assert_eq!(bucket.take(later), Ok(()));
        assert!(bucket.take(later).is_err());
    }

    #[test]
    fn a_long_rest_fills_it_no_further_than_the_burst() {
        let start = Clock::system().instant();
        let mut bucket = Bucket::new(10.0, 2, start);
        let later = start + Duration::from_mins(1);
        assert_eq!([bucket.take(later).is_ok(), bucket.take(later).is_ok()], [true, true]);
        assert!(bucket.take(later).is_err());
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up() {
        for (millis, seconds) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (90_000, 90)] {
            assert_eq!(retry_after(Duration::from_millis(millis)), seconds, "{millis} ms");
        }
    }
}
