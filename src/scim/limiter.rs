//! The one gate that every call to a tenant passes, its token's and its reads' included: the [`Pacer`]
//! with a queue in front of it.
//!
//! Callers go in the order in which they came. Only the first in the queue looks at the time, so a pause
//! that begins while others wait holds for all of them at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::{Mutex as Turn, Notify};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::headers;
use super::pacer::Pacer;
use super::verdict::{Failure, Verdict};
use crate::clock::Clock;

/// Paces the calls to one tenant; cheap to clone.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    born: Instant,
    pacer: Mutex<Pacer>,
    turn: Turn<()>,
    changed: Notify,
    closed: AtomicBool,
}

/// The right to make one call, made out at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permit {
    sent: f64,
}

impl Limiter {
    /// For a tenant that allows `rate` calls a second (above 0) and `burst` at once (at least 1).
    #[must_use]
    pub fn new(rate: f64, burst: u32, clock: Clock) -> Self {
        let born = clock.instant();
        let pacer = Mutex::new(Pacer::new(rate, burst));
        Self(Arc::new(Inner {
            clock,
            born,
            pacer,
            turn: Turn::new(()),
            changed: Notify::new(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Calls a second that go at the moment, pauses left out.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.pacer(|pacer, now| pacer.rate(now))
    }

    /// How long no call goes from now on; zero when calls go.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.pacer(|pacer, now| Duration::from_secs_f64((pacer.paused_until() - now).max(0.0)))
    }

    /// From now on no call goes; those that wait are told so.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    /// Waits for its turn and for its time. Dropping the future gives the turn to the next.
    ///
    /// # Errors
    /// [`Verdict::NotSent`] once the limiter is closed.
    pub(super) async fn permit(&self) -> Result<Permit, Failure> {
        let _turn = self.0.turn.lock().await;
        loop {
            let changed = self.0.changed.notified();
            if self.0.closed.load(Ordering::SeqCst) {
                return Err(Failure::local(Verdict::NotSent, "not sent, because we are stopping"));
            }
            let wait = self.pacer(|pacer, now| {
                let wait = pacer.next(now) - now;
                if wait <= 0.0 {
                    pacer.take(now);
                    Ok(Permit { sent: now })
                } else {
                    Err(wait)
                }
            });
            match wait {
                Ok(permit) => return Ok(permit),
                Err(wait) => tokio::select! {
                    () = sleep_until(self.0.clock.instant() + Duration::from_secs_f64(wait)) => {}
                    () = changed => {}
                },
            }
        }
    }

    /// Learns from an answer to the call that `permit` was for: its headers, and its verdict, which is
    /// `None` for a success.
    pub(super) fn learn(&self, permit: Permit, headers: &HeaderMap, verdict: Option<&Verdict>) {
        let window = headers::window(headers, self.0.clock.now());
        let pause = self.pacer(|pacer, now| {
            let before = pacer.paused_until().max(now);
            match verdict {
                Some(Verdict::Throttled { wait }) => pacer.throttled(permit.sent, now, *wait),
                Some(Verdict::NotSent) => {}
                _ => pacer.accepted(permit.sent, now),
            }
            if let Some(window) = window {
                pacer.window(now, window.remaining, window.reset);
            }
            (before <= now && pacer.paused_until() > now)
                .then(|| Duration::from_secs_f64(pacer.paused_until() - now))
        });
        if let Some(pause) = pause {
            self.0.changed.notify_waiters();
            let retry_at = self.0.clock.now().plus(pause);
            warn!(%retry_at, rate_per_second = (self.rate() * 100.0).round() / 100.0, "tenant paused");
        }
    }

    fn pacer<T>(&self, act: impl FnOnce(&mut Pacer, f64) -> T) -> T {
        let now = self.0.clock.instant().saturating_duration_since(self.0.born).as_secs_f64();
        act(&mut self.0.pacer.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use futures_util::FutureExt;

    use super::*;

    fn limiter() -> Limiter {
        Limiter::new(100.0, 1, Clock::system())
    }

    async fn settle(
        future: &mut (impl Future<Output = Result<Permit, Failure>> + Unpin),
        for_: Duration,
    ) -> Option<Permit> {
        tokio::time::timeout(for_, future).await.ok().map(Result::unwrap)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_those_who_already_wait() {
        let limiter = limiter();
        let first = limiter.permit().await.unwrap();
        let mut waiting = Box::pin(limiter.permit());
        assert!(waiting.as_mut().now_or_never().is_none());
        let throttled = Verdict::Throttled { wait: Some(Duration::from_secs(5)) };
        limiter.learn(first, &HeaderMap::new(), Some(&throttled));
        assert!(settle(&mut waiting, Duration::from_millis(4900)).await.is_none(), "the tenant said 5 s");
        assert!(settle(&mut waiting, Duration::from_millis(200)).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_go_in_the_order_in_which_they_came() {
        let limiter = limiter();
        let first = limiter.permit().await.unwrap();
        let (second, third) = tokio::try_join!(limiter.permit(), limiter.permit()).unwrap();
        assert!(first.sent < second.sent && second.sent < third.sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_gives_up_costs_nobody_his_turn() {
        let limiter = limiter();
        limiter.permit().await.unwrap();
        drop(tokio::time::timeout(Duration::from_millis(1), limiter.permit()).await);
        assert!(settle(&mut Box::pin(limiter.permit()), Duration::from_millis(12)).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_limiter_sends_away_those_who_wait() {
        let limiter = limiter();
        limiter.permit().await.unwrap();
        let mut waiting = Box::pin(limiter.permit());
        assert!(waiting.as_mut().now_or_never().is_none());
        limiter.close();
        assert_eq!(waiting.await.unwrap_err().verdict, Verdict::NotSent);
    }
}
