//! What one tenant's passes and deliveries have done since the start, in numbers, for whoever watches.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::model::Timestamp;

/// Counters of one tenant. They only grow, but for the watermark.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Passes that were committed.
    pub passes: Counter,
    /// Users read.
    pub users_read: Counter,
    /// Operations that became ready.
    pub planned: Counter,
    /// Operations delivered.
    pub delivered: Counter,
    /// Attempts that failed.
    pub failures: Counter,
    /// Operations that became dead letters.
    pub dead: Counter,
    watermark: AtomicI64,
}

impl Vitals {
    /// The watermark, once there is one.
    #[must_use]
    pub fn watermark(&self) -> Option<Timestamp> {
        match self.watermark.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(Timestamp::from_millis(millis)),
        }
    }

    /// Notes the watermark of a commit.
    pub fn set_watermark(&self, watermark: Timestamp) {
        self.watermark.store(watermark.millis(), Ordering::Relaxed);
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The number so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
