//! The only caller of `now()`. Everything else gets the time as an argument, or a [`Clock`].
//!
//! Two times are told apart: the wall clock, which is compared with the tenant's dates and may
//! jump, and the monotonic one, which paces calls and measures durations.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use crate::model::Timestamp;

/// Tells the time; cheap to clone. A test makes one that stands still until it is told to move.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
    Driven(Arc<Driven>),
}

/// A clock on which time passes only when somebody says so.
#[derive(Debug, Default)]
struct Driven {
    wall: AtomicI64,
    /// How much time has passed, whatever the wall clock was set to, and when who sleeps wakes up.
    passed: Mutex<(Duration, Vec<Duration>)>,
    moved: Notify,
}

impl Driven {
    fn passed(&self) -> MutexGuard<'_, (Duration, Vec<Duration>)> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who sleeps on a driven clock, until he is dropped.
struct Sleeper<'a> {
    clock: &'a Driven,
    until: Duration,
}

impl<'a> Sleeper<'a> {
    fn new(clock: &'a Driven, wait: Duration) -> Self {
        let mut passed = clock.passed();
        let until = passed.0 + wait;
        passed.1.push(until);
        Self { clock, until }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        let sleepers = &mut self.clock.passed().1;
        if let Some(place) = sleepers.iter().position(|until| *until == self.until) {
            sleepers.swap_remove(place);
        }
    }
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `start` until [`Clock::set`] moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.millis()))))
    }

    /// A clock that shows `start` and goes on only by [`Clock::advance`]: until then, whoever sleeps goes on
    /// sleeping. [`Clock::set`] sets it without any time passing.
    #[must_use]
    pub fn driven(start: Timestamp) -> Self {
        let wall = AtomicI64::new(start.millis());
        Self(Source::Driven(Arc::new(Driven { wall, ..Driven::default() })))
    }

    /// Sets a manual or driven clock, and all its clones; the machine's clock is left alone.
    pub fn set(&self, to: Timestamp) {
        match &self.0 {
            Source::System => {}
            Source::Manual(at) => at.store(to.millis(), Ordering::SeqCst),
            Source::Driven(driven) => driven.wall.store(to.millis(), Ordering::SeqCst),
        }
    }

    /// Lets time pass on a driven clock, and wakes whose sleep is over.
    pub fn advance(&self, by: Duration) {
        if let Source::Driven(driven) = &self.0 {
            self.set(self.now().plus(by));
            driven.passed().0 += by;
            driven.moved.notify_waiters();
        }
    }

    /// How long those who sleep on a driven clock will go on sleeping, in no order.
    #[must_use]
    pub fn sleepers(&self) -> Vec<Duration> {
        match &self.0 {
            Source::Driven(driven) => {
                let passed = driven.passed();
                passed.1.iter().map(|until| until.saturating_sub(passed.0)).collect()
            }
            Source::System | Source::Manual(_) => Vec::new(),
        }
    }

    /// The wall clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_now(),
            Source::Manual(at) => Timestamp::from_millis(at.load(Ordering::SeqCst)),
            Source::Driven(driven) => Timestamp::from_millis(driven.wall.load(Ordering::SeqCst)),
        }
    }

    /// Waits. A manual clock does not wait: it moves ahead by as much. On a driven one it lasts until
    /// [`Clock::advance`] has let enough time pass.
    pub async fn sleep(&self, wait: Duration) {
        match &self.0 {
            Source::System => tokio::time::sleep(wait).await,
            Source::Manual(_) => {
                tokio::task::yield_now().await;
                self.set(self.now().plus(wait));
            }
            Source::Driven(driven) => {
                let sleeper = Sleeper::new(driven, wait);
                loop {
                    let moved = driven.moved.notified();
                    if driven.passed().0 >= sleeper.until {
                        return;
                    }
                    moved.await;
                }
            }
        }
    }

    /// The monotonic clock; it follows tokio's paused time.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn instant(&self) -> tokio::time::Instant {
        tokio::time::Instant::now()
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that may")]
fn system_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.plus(since_epoch)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn on_a_driven_clock_only_time_that_passes_ends_a_sleep() {
        let clock = Clock::driven(Timestamp::EPOCH);
        let sleeper = clock.clone();
        let mut sleep = Box::pin(sleeper.sleep(Duration::from_secs(5)));
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.set(Timestamp::from_millis(60_000));
        assert!(sleep.as_mut().now_or_never().is_none(), "the clock was set, and no time has passed");
        clock.advance(Duration::from_secs(4));
        assert!(sleep.as_mut().now_or_never().is_none());
        assert_eq!((clock.now().millis(), clock.sleepers()), (64_000, vec![Duration::from_secs(1)]));
        clock.advance(Duration::from_secs(1));
        assert!(sleep.now_or_never().is_some());
        assert!(clock.sleepers().is_empty());
    }
}
