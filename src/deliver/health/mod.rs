//! Is it the operation or the tenant? Pure: fed with the end of every pass and every operation, it says how much
//! may be sent, and whether passes wait.
//!
//! A tenant that fails is not asked to death. Its two parts, reading and delivery, each stop but for one probe,
//! whose success ends the trouble; what a probe finds out is nobody's failed attempt. A tenant that refuses our
//! reading is left alone by delivery as well.
//!
//! What waits was decided from lists. After a long trouble, as after a start, they may be old: then nothing is
//! written before a list has been read.

use std::time::Duration;

use super::trouble::{Down, Trouble, YOUNG};
use crate::model::{Timestamp, UserId, without};
use crate::scim::{Failure, Verdict};
use crate::store::Part;

/// So many different users in a row with the same failure are no coincidence.
const STREAK: usize = 10;
/// A list that was wanted and could not be read is not asked for again before this, unless the schedule says so.
const LIST_AGAIN: Duration = YOUNG;

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// So many operations may be in flight.
    Write(usize),
    /// One operation, as a probe.
    Probe,
    /// One operation, as a probe, of which only the user is read.
    ProbeByReading,
    /// Nothing before this.
    Wait(Timestamp),
    /// Nothing before a list has been read.
    Unlisted,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It was written; perhaps it was read back, and was there.
    Done {
        /// It was.
        verified: bool,
    },
    /// It was not sent, but its user was read.
    Read,
    /// It failed.
    Failed {
        /// How.
        failure: &'a Failure,
        /// No other call of the tenant was answered meanwhile, not even a read.
        alone: bool,
    },
}

/// What changed with an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Trouble goes on.
    Down {
        /// It began with this outcome, or is another one from now on.
        news: bool,
    },
    /// It is over.
    Up {
        /// When it had begun.
        since: Timestamp,
    },
}

/// The health of one tenant.
#[derive(Debug, Default)]
pub struct Health {
    reading: Option<Down>,
    /// Delivery has been answered since reading's trouble began: its probe was put forward.
    hastened: bool,
    delivery: Option<Down>,
    /// Delivery's trouble is one of the tenant as a whole, reads included.
    silent: bool,
    streak: Option<Streak>,
    /// When the last list was committed, as long as it counts.
    listed_at: Option<Timestamp>,
    /// Somebody waits for a list, and it may be read from then on.
    list_wanted: Option<Timestamp>,
}

#[derive(Debug)]
struct Streak {
    trouble: Trouble,
    reason: String,
    users: Vec<UserId>,
}

impl Health {
    /// What may be sent at `now` with `workers` workers.
    #[must_use]
    pub fn allowance(&self, workers: usize, now: Timestamp) -> Allowance {
        if let Some(down) = self.reading.as_ref().filter(|down| down.trouble != Trouble::Outage) {
            return Allowance::Wait(down.probe_at);
        }
        let fresh = self.fresh(now);
        match &self.delivery {
            Some(down) if !down.due(now) => Allowance::Wait(down.probe_at),
            Some(_) if !fresh && self.silent => Allowance::ProbeByReading,
            _ if !fresh => Allowance::Unlisted,
            Some(_) => Allowance::Probe,
            None => Allowance::Write(workers),
        }
    }

    /// What is wrong with delivery at the moment.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.delivery.as_ref().map(|down| down.trouble)
    }

    /// What is wrong with a part at the moment.
    pub(super) const fn down(&self, part: Part) -> Option<&Down> {
        match part {
            Part::Reading => self.reading.as_ref(),
            Part::Delivery => self.delivery.as_ref(),
            // No tenant is asked for it.
            Part::Export => None,
        }
    }

    /// Until when passes leave the tenant alone; at that time one is due. `None` while reading works.
    #[must_use]
    pub fn left_alone_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.reading.as_ref().map(|down| if down.due(now) { now } else { down.probe_at })
    }

    /// When a list pass is due beside the schedule, because delivery waits for it.
    #[must_use]
    pub const fn list_due(&self) -> Option<Timestamp> {
        self.list_wanted
    }

    /// Something waits that may not be sent before a list has been read; returns whether that is news. Whoever asks
    /// may have found that out before the last list was read.
    pub fn want_list(&mut self, now: Timestamp) -> bool {
        let news = self.list_wanted.is_none() && self.allowance(1, now) == Allowance::Unlisted;
        if news {
            self.list_wanted = Some(now);
        }
        news
    }

    /// A pass that read a list has committed.
    pub fn list_read(&mut self, now: Timestamp) -> [Change; 2] {
        self.listed_at = Some(now);
        self.list_wanted = None;
        let reading = over(&mut self.reading);
        let delivery = if self.silent { self.up(now) } else { Change::None };
        [reading, delivery]
    }

    /// A pass has failed, by the tenant's fault if there is a `failure`.
    pub fn read_failed(&mut self, failure: Option<&Failure>, now: Timestamp) -> Change {
        self.list_wanted = self.list_wanted.map(|_| now.plus(LIST_AGAIN));
        let Some((failure, trouble)) =
            failure.and_then(|failure| Some((failure, Trouble::of_read(&failure.verdict)?)))
        else {
            return Change::None;
        };
        let before = self.reading.take();
        self.hastened &= before.is_some();
        let (news, down) = probed(before, trouble, &failure.reason, now);
        self.reading = Some(down);
        Change::Down { news }
    }

    /// An operation for `user` has ended.
    pub fn observe(&mut self, user: &UserId, seen: Seen<'_>, now: Timestamp) -> Change {
        let (failure, alone) = match seen {
            Seen::Failed { failure, alone } => (failure, alone),
            Seen::Done { verified: false } if self.doubted() => return self.unproven(now),
            Seen::Done { .. } | Seen::Read => {
                self.hasten(now);
                return self.up(now);
            }
        };
        let Some(trouble) = Trouble::of_write(&failure.verdict) else {
            return if matches!(failure.verdict, Verdict::Throttled { .. } | Verdict::NotSent) {
                Change::None
            } else {
                self.up(now)
            };
        };
        self.hastened &= !matches!(trouble, Trouble::Outage | Trouble::Unauthorized);
        let silent = alone || trouble == Trouble::Unauthorized;
        if self.delivery.as_ref().is_some_and(|down| !down.due(now)) {
            return Change::None; // in flight since before
        }
        if self.delivery.is_none() {
            self.count(user, trouble, &failure.reason);
            let many = self.streak.as_ref().is_some_and(|streak| streak.users.len() >= STREAK);
            if !silent && !many {
                return Change::None;
            }
        }
        self.silent = silent;
        let (news, down) = probed(self.delivery.take(), trouble, &failure.reason, now);
        self.delivery = Some(down);
        Change::Down { news }
    }

    /// Delivery is not in trouble any more. When it was for long, lists that were read before count no more.
    fn up(&mut self, now: Timestamp) -> Change {
        if !self.fresh(now) {
            self.listed_at = None;
        }
        self.streak = None;
        self.silent = false;
        over(&mut self.delivery)
    }

    /// The tenant answers again, as delivery has found out: reading's probe need not wait. Once only, because a
    /// tenant may well take writes and refuse lists.
    fn hasten(&mut self, now: Timestamp) {
        let Some(down) = self.reading.as_mut().filter(|_| !self.hastened) else { return };
        if matches!(down.trouble, Trouble::Outage | Trouble::Unauthorized) {
            down.probe_at = now;
            self.hastened = true;
        }
    }

    /// Whether what waits may be written, as far as the lists that it was decided from are concerned.
    fn fresh(&self, now: Timestamp) -> bool {
        let young = |since: Timestamp| now.since(since) <= YOUNG;
        self.listed_at.is_some_and(|listed| {
            young(listed) || self.delivery.as_ref().is_none_or(|down| young(down.since))
        })
    }

    /// A tenant that ignores what it is told is not judged by what could not be read back.
    fn unproven(&mut self, now: Timestamp) -> Change {
        let Some(down) = self.delivery.take() else { return Change::None };
        let reason = down.reason.clone();
        self.delivery = Some(if down.due(now) { down.probed(Trouble::Ignored, &reason, now) } else { down });
        Change::Down { news: false }
    }

    fn doubted(&self) -> bool {
        let streak = self.streak.as_ref().map(|streak| streak.trouble);
        self.trouble().or(streak) == Some(Trouble::Ignored)
    }

    /// Rejections count together only when they give the same reason, whomever it names.
    fn count(&mut self, user: &UserId, trouble: Trouble, reason: &str) {
        let reason =
            if trouble == Trouble::Rejected { without(reason, user.as_str()) } else { String::new() };
        let streak = self.streak.take().filter(|streak| streak.trouble == trouble && streak.reason == reason);
        let mut streak = streak.unwrap_or_else(|| Streak { trouble, reason, users: Vec::new() });
        if !streak.users.contains(user) {
            streak.users.push(user.clone());
        }
        self.streak = Some(streak);
    }
}

fn over(down: &mut Option<Down>) -> Change {
    down.take().map_or(Change::None, |down| Change::Up { since: down.since })
}

/// Trouble that begins or goes on, and whether that is news.
fn probed(down: Option<Down>, trouble: Trouble, reason: &str, now: Timestamp) -> (bool, Down) {
    match down {
        Some(down) => (down.trouble != trouble, down.probed(trouble, reason, now)),
        None => (true, Down::begin(trouble, reason, now)),
    }
}

#[cfg(test)]
mod tests;
