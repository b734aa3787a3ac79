//! What is leased beyond what the workers hold, so that they have something to do while a turn is written down. A tenant
//! that answers sooner than the database is worth it; before any other nothing is leased ahead. Pure.
//!
//! It begins nothing: the pump does, whenever something has landed, and gives back what may not be sent any more.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::health::Allowance;

/// For each worker at most so many are leased ahead.
const MOST: usize = 6;
/// What lands in this time after a turn is settled together, as long as something waits to be begun; a tenant that
/// takes longer is not leased ahead of.
const GATHER: Duration = Duration::from_millis(100);

/// Operations that are leased and not begun.
#[derive(Debug)]
pub(super) struct Ahead<T> {
    waiting: VecDeque<T>,
    /// What might be sent when they were leased.
    under: Allowance,
    /// How many are leased beyond what the workers hold.
    target: usize,
    most: usize,
    /// When the last turn was over.
    turned: Instant,
    /// It found as much as it had room for.
    filled: bool,
}

impl<T> Ahead<T> {
    /// Of nothing, for `workers` workers.
    pub(super) const fn new(workers: usize, now: Instant) -> Self {
        let most = MOST.saturating_mul(workers);
        let under = Allowance::Write(workers);
        Self { waiting: VecDeque::new(), under, target: 0, most, turned: now, filled: false }
    }

    /// How many to lease beyond what the workers hold.
    pub(super) const fn target(&self) -> usize {
        self.target
    }

    /// How many wait to be begun.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing waits to be begun.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// So much waits to be begun that no turn is needed yet.
    pub(super) fn is_ample(&self) -> bool {
        self.waiting.len() > self.target / 2
    }

    /// What might be sent when it was leased.
    pub(super) const fn leased_under(&self) -> Allowance {
        self.under
    }

    /// A turn was over at `now`: it had room for so many, and has leased these.
    pub(super) fn turned(&mut self, leased: Vec<T>, room: u32, under: Allowance, now: Instant) {
        self.filled = room > 0 && u32::try_from(leased.len()).is_ok_and(|leased| leased >= room);
        self.waiting.extend(leased);
        (self.under, self.turned) = (under, now);
    }

    /// Until when what lands is gathered.
    pub(super) fn gathered(&self) -> Instant {
        self.turned + GATHER
    }

    /// A turn is next, because so much has landed or it took too long: how far ahead is worth it from now on?
    pub(super) fn learn(&mut self, now: Instant) {
        let quick = now < self.gathered();
        self.target =
            if quick && self.filled { (2 * self.target + 1).min(self.most) } else { self.target / 2 };
    }

    /// The next to be begun.
    pub(super) fn next(&mut self) -> Option<T> {
        self.waiting.pop_front()
    }

    /// All that waits to be begun, and will not be.
    pub(super) fn give_back(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::model::Timestamp;

    const WORKERS: usize = 2;
    const WRITE: Allowance = Allowance::Write(WORKERS);

    fn now() -> Instant {
        Clock::manual(Timestamp::EPOCH).instant()
    }

    /// A turn with room for all that it may lease, of which `found` are there, and what lands after it within `after`.
    fn turn(ahead: &mut Ahead<usize>, found: usize, now: &mut Instant, after: Duration) {
        let room = WORKERS + ahead.target() - ahead.len();
        ahead.turned((0..found.min(room)).collect(), u32::try_from(room).unwrap(), WRITE, *now);
        *now += after;
        while ahead.is_ample() && ahead.next().is_some() {}
        ahead.learn(*now);
    }

    #[test]
    fn a_quick_tenant_is_leased_ahead_of_as_long_as_more_waits() {
        let mut now = now();
        let mut ahead = Ahead::new(WORKERS, now);
        let quick = GATHER / 2;
        let targets: Vec<_> = [100, 100, 100, 100, 0, 0, 0, 0]
            .map(|found| {
                turn(&mut ahead, found, &mut now, quick);
                ahead.target()
            })
            .into();
        assert_eq!(targets, [1, 3, 7, MOST * WORKERS, 6, 3, 1, 0]);
    }

    #[test]
    fn a_slow_tenant_is_not_leased_ahead_of() {
        let mut now = now();
        let mut ahead = Ahead::new(WORKERS, now);
        turn(&mut ahead, 100, &mut now, GATHER);
        assert_eq!(ahead.target(), 0);
        for after in [GATHER / 2, GATHER / 2, GATHER, GATHER] {
            turn(&mut ahead, 100, &mut now, after);
        }
        assert_eq!(ahead.target(), 0);
    }

    #[test]
    fn a_turn_is_due_before_the_last_has_begun() {
        let now = now();
        let mut ahead = Ahead::new(WORKERS, now);
        assert!(!ahead.is_ample(), "nothing is leased ahead");
        ahead.turned(vec![1, 2], 2, WRITE, now);
        assert!(ahead.is_ample());
        ahead.learn(now);
        ahead.learn(now);
        assert_eq!((ahead.target(), ahead.len()), (3, 2));
        assert!(ahead.is_ample());
        assert_eq!(ahead.next(), Some(1));
        assert!(!ahead.is_ample());
        assert_eq!(ahead.give_back(), [2]);
        assert!(ahead.is_empty());
    }
}
