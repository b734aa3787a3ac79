//! How long to wait before a failed call is tried again. Pure.

use std::time::Duration;

/// The first wait, before chance shortens it.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer, so that a tenant that is back is noticed within minutes.
const LONGEST: Duration = Duration::from_mins(5);

/// The wait before try number `failures + 1`: doubling from half a second to five minutes, of which
/// `draw` (0 up to 1) leaves between a half and all, so that those who failed together do not come
/// back together.
#[must_use]
pub fn backoff(failures: u32, draw: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST * 2_u32.pow(doublings)).min(LONGEST).mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest() {
        let full: Vec<u128> = [1, 2, 3, 9, 10, 11, 90].map(|n| backoff(n, 1.0).as_millis()).into();
        assert_eq!(full, [500, 1000, 2000, 128_000, 256_000, 300_000, 300_000]);
    }

    #[test]
    fn chance_leaves_at_least_half() {
        assert_eq!(backoff(3, 0.0), Duration::from_secs(1));
    }
}
