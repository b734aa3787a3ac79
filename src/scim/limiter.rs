//! The one gate that every call to a tenant passes, its token's and its reads' included: the [`Pacer`]
//! with a queue in front of it.
//!
//! Callers go in the order in which they came. Only the first in the queue looks at the time, so a pause
//! that begins while others wait holds for all of them at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use tokio::sync::{Mutex as Turn, Notify};
use tokio::time::{Instant, sleep_until};

use super::headers;
use super::pacer::Pacer;
use super::verdict::Verdict;
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
        Self(Arc::new(Inner { clock, born, pacer, turn: Turn::new(()), changed: Notify::new() }))
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

    /// Waits for its turn and for its time. Dropping the future gives the turn to the next.
    pub(super) async fn permit(&self) -> Permit {
        let _turn = self.0.turn.lock().await;
        loop {
            let changed = self.0.changed.notified();
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
                Ok(permit) => return permit,
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
        self.pacer(|pacer, now| {
            match verdict {
                Some(Verdict::Throttled { wait }) => pacer.throttled(permit.sent, now, *wait),
                _ => pacer.accepted(permit.sent, now),
            }
            if let Some(window) = window {
                pacer.window(now, window.remaining, window.reset);
            }
        });
        self.0.changed.notify_waiters();
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

    async fn settle(future: &mut (impl Future<Output = Permit> + Unpin), for_: Duration) -> Option<Permit> {
        tokio::time::timeout(for_, future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_those_who_already_wait() {
        let limiter = limiter();
        let first = limiter.permit().await;
        let mut waiting = Box::pin(limiter.permit());
        assert!(waiting.as_mut().now_or_never().is_none());
        let throttled = Verdict::Throttled { wait: Duration::from_secs(5) };
        limiter.learn(first, &HeaderMap::new(), Some(&throttled));
        assert!(settle(&mut waiting, Duration::from_millis(4900)).await.is_none(), "the tenant said 5 s");
        assert!(settle(&mut waiting, Duration::from_millis(200)).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_go_in_the_order_in_which_they_came() {
        let limiter = limiter();
        let (first, second) = (limiter.permit().await, limiter.permit());
        let (third, second) = (limiter.permit(), second);
        let (second, third) = tokio::join!(second, third);
        assert!(first.sent < second.sent && second.sent < third.sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_gives_up_costs_nobody_his_turn() {
        let limiter = limiter();
        limiter.permit().await;
        drop(tokio::time::timeout(Duration::from_millis(1), limiter.permit()).await);
        assert!(settle(&mut Box::pin(limiter.permit()), Duration::from_millis(12)).await.is_some());
    }
}
