//! When passes run: cron lines become ticks in channels of our own, each of capacity 1.
//!
//! The scheduler does nothing else. What a tick means, what happens when one comes during a pass, and how
//! it all ends is decided by whoever takes the ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::Offset;
use chrono::TimeZone;
use chrono_tz::Tz;
use tokio::sync::mpsc::{Receiver, channel, error::TrySendError};
use tokio::time::Instant;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::clock::Clock;
use crate::config::Cadence;
use crate::model::{PassKind, Timestamp};

/// The clock is looked at this often while nothing ticks.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(15);
/// Wall clock and monotonic clock may drift apart by this much before the wall clock counts as set.
const CLOCKS_AGREE: Duration = Duration::from_secs(5);

/// The ticks of one tenant.
pub(super) struct Ticks {
    scheduler: JobScheduler,
    cadence: Cadence,
    clock: Clock,
    /// The offset from UTC, in seconds, with which the scheduler computes: it keeps the one that held when
    /// its jobs were made.
    offset: i32,
    /// When its jobs were made, by both clocks.
    made: Timestamp,
    instant: Instant,
    delta: Receiver<()>,
    sweep: Receiver<()>,
    missed: Arc<AtomicU64>,
}

impl Ticks {
    /// Begins to tick.
    pub(super) async fn start(cadence: Cadence, clock: Clock) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let missed = Arc::new(AtomicU64::new(0));
        let delta = add(&scheduler, &cadence.schedule, cadence.time_zone, missed.clone()).await?;
        // A sweep tick that finds one waiting already adds nothing: one sweep serves both.
        let unheeded = Arc::default();
        let sweep = add(&scheduler, &cadence.sweep_schedule, cadence.time_zone, unheeded).await?;
        scheduler.start().await?;
        let offset = offset(cadence.time_zone, &clock);
        let (made, instant) = (clock.now(), clock.instant());
        Ok(Self { scheduler, cadence, clock, offset, made, instant, delta, sweep, missed })
    }

    /// Waits for the next tick. A sweep that is due goes before a delta pass.
    pub(super) async fn next(&mut self) -> Result<PassKind, JobSchedulerError> {
        loop {
            let kind = tokio::select! {
                biased;
                Some(()) = self.sweep.recv() => Some(PassKind::Sweep),
                Some(()) = self.delta.recv() => Some(PassKind::Delta),
                () = tokio::time::sleep(LOOK_AT_CLOCK) => None,
            };
            self.follow_the_clock().await?;
            if let Some(kind) = kind {
                return Ok(kind);
            }
        }
    }

    /// Forgets the delta ticks that came while a pass was running; returns how many there were.
    pub(super) fn skip(&mut self) -> u64 {
        let waiting = u64::from(self.delta.try_recv().is_ok());
        waiting + self.missed.swap(0, Ordering::Relaxed)
    }

    pub(super) async fn stop(mut self) -> Result<(), JobSchedulerError> {
        self.scheduler.shutdown().await
    }

    /// Makes the jobs anew when the clocks have changed in their zone, or when our clock was set: the scheduler
    /// waits for the moment that it has computed, however far away that is now.
    async fn follow_the_clock(&mut self) -> Result<(), JobSchedulerError> {
        let went = self.clock.instant().saturating_duration_since(self.instant);
        let was_set = was_set(self.made, self.clock.now(), went);
        if was_set || offset(self.cadence.time_zone, &self.clock) != self.offset {
            let fresh = Self::start(self.cadence.clone(), self.clock.clone()).await?;
            std::mem::replace(self, fresh).stop().await?;
        }
        Ok(())
    }
}

/// Whether the wall clock shows something else than `before` and the time that `went` by.
fn was_set(before: Timestamp, now: Timestamp, went: Duration) -> bool {
    let expected = before.plus(went);
    now.since(expected).max(expected.since(now)) > CLOCKS_AGREE
}

async fn add(
    scheduler: &JobScheduler,
    line: &str,
    zone: Tz,
    missed: Arc<AtomicU64>,
) -> Result<Receiver<()>, JobSchedulerError> {
    let (tick, ticks) = channel(1);
    let job = Job::new_async_tz(line, zone, move |_, _| {
        if let Err(TrySendError::Full(())) = tick.try_send(()) {
            missed.fetch_add(1, Ordering::Relaxed);
        }
        Box::pin(std::future::ready(()))
    })?;
    scheduler.add(job).await?;
    Ok(ticks)
}

fn offset(zone: Tz, clock: &Clock) -> i32 {
    let now = clock.now().to_utc().unwrap_or_default();
    zone.offset_from_utc_datetime(&now.naive_utc()).fix().local_minus_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed_in_both_directions() {
        let at = |seconds| Timestamp::EPOCH.plus(Duration::from_secs(seconds));
        let minute = Duration::from_mins(1);
        assert!(!was_set(at(1000), at(1060), minute));
        assert!(!was_set(at(1000), at(1063), minute), "it drifts");
        assert!(was_set(at(1000), at(460), minute));
        assert!(was_set(at(1000), at(4660), minute));
    }
}
