//! What can be wrong with a tenant as a whole, and when it is looked at again. Pure.

use std::time::Duration;

use crate::model::Timestamp;
use crate::scim::Verdict;

/// Between probes in the first minute of an outage, at most.
const OUTAGE_PROBE: Duration = Duration::from_secs(10);
/// How long trouble counts as young: what was decided before it began is still good.
pub(super) const YOUNG: Duration = Duration::from_mins(1);
/// The first wait of a quarantine.
const QUARANTINE_FIRST: Duration = Duration::from_secs(5);
/// Between probes of whatever trouble, at most.
const LONGEST: Duration = Duration::from_mins(15);

/// What is wrong with the tenant as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It does not answer.
    Outage,
    /// It does not know us.
    Unauthorized,
    /// It does not let us read, or write.
    Forbidden,
    /// It rejects one operation after the other: the configuration is wrong.
    Rejected,
    /// It knows none of its users.
    Gone,
    /// It says that it has written, and has not.
    Ignored,
}

impl Trouble {
    /// For a log line, for `status` and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Unauthorized => "credentials refused",
            Self::Forbidden => "permission missing",
            Self::Rejected => "operations rejected",
            Self::Gone => "users unknown",
            Self::Ignored => "writes ignored",
        }
    }

    /// What a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let all =
            [Self::Outage, Self::Unauthorized, Self::Forbidden, Self::Rejected, Self::Gone, Self::Ignored];
        all.into_iter().find(|trouble| trouble.as_str() == word)
    }

    /// What a failed write says about the tenant, if other users meet it too.
    pub(super) const fn of_write(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::Unavailable { .. } => Some(Self::Outage),
            Verdict::Unauthorized => Some(Self::Unauthorized),
            Verdict::Forbidden => Some(Self::Forbidden),
            Verdict::Rejected => Some(Self::Rejected),
            Verdict::Gone => Some(Self::Gone),
            Verdict::Ignored => Some(Self::Ignored),
            Verdict::Throttled { .. } | Verdict::Conflict | Verdict::Exists | Verdict::NotSent => None,
        }
    }

    /// What a pass that could not read says about it. A list that is rejected, or answered with nothing but
    /// 429, is asked for again when the schedule says so.
    pub(super) const fn of_read(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::Unavailable { .. } => Some(Self::Outage),
            Verdict::Unauthorized => Some(Self::Unauthorized),
            Verdict::Forbidden => Some(Self::Forbidden),
            _ => None,
        }
    }
}

/// Trouble that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Down {
    pub(super) trouble: Trouble,
    /// What the tenant said last. It may hold personal data.
    pub(super) reason: String,
    pub(super) since: Timestamp,
    pub(super) probe_at: Timestamp,
    probes: u32,
}

impl Down {
    /// Trouble that is noticed `now`.
    pub(super) fn begin(trouble: Trouble, reason: &str, now: Timestamp) -> Self {
        Self { trouble, reason: String::new(), since: now, probe_at: now, probes: 0 }
            .probed(trouble, reason, now)
    }

    /// A probe has failed, too.
    pub(super) fn probed(self, trouble: Trouble, reason: &str, now: Timestamp) -> Self {
        let probe_at = now.plus(wait(trouble, self.probes, now.since(self.since)));
        Self { trouble, reason: reason.to_owned(), since: self.since, probe_at, probes: self.probes + 1 }
    }

    /// Whether a probe may go. One that is further away than any wait was set before our clock was set back.
    pub(super) fn due(&self, now: Timestamp) -> bool {
        self.probe_at <= now || self.probe_at > now.plus(LONGEST)
    }
}

/// The wait before probe number `probes + 1`.
fn wait(trouble: Trouble, probes: u32, down_for: Duration) -> Duration {
    let doubled = |first: Duration| first * 2_u32.pow(probes.min(10));
    match trouble {
        Trouble::Outage if down_for < YOUNG => doubled(Duration::from_secs(1)).min(OUTAGE_PROBE),
        Trouble::Outage => (down_for / 4).min(LONGEST),
        _ => doubled(QUARANTINE_FIRST).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    /// The waits, in seconds, of a tenant whose every probe fails at once.
    fn waits(trouble: Trouble, until: u64, most: usize) -> Vec<u64> {
        let mut down = Down::begin(trouble, "why", at(0));
        let (mut now, mut waits) = (at(0), Vec::new());
        while now < at(until) && waits.len() < most {
            waits.push(down.probe_at.since(now).as_secs());
            now = down.probe_at;
            down = down.probed(trouble, "why", now);
        }
        waits
    }

    #[test]
    fn an_outage_is_probed_every_ten_seconds_at_least_while_it_is_young() {
        assert_eq!(waits(Trouble::Outage, 60, 99), [1, 2, 4, 8, 10, 10, 10, 10, 10]);
    }

    #[test]
    fn an_old_outage_is_probed_less_and_less_often() {
        let all = waits(Trouble::Outage, 1_000_000, 99);
        assert!(all.is_sorted() && all.last() == Some(&900), "{all:?}");
    }

    #[test]
    fn a_quarantine_doubles_from_five_seconds_to_a_quarter_of_an_hour() {
        for trouble in [Trouble::Unauthorized, Trouble::Forbidden, Trouble::Ignored] {
            assert_eq!(waits(trouble, u64::MAX, 10), [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        }
    }

    #[test]
    fn a_probe_is_due_at_its_time_and_when_the_clock_was_set_back() {
        let down = Down::begin(Trouble::Unauthorized, "why", at(10_000));
        for (now, due) in [(10_000, false), (10_004, false), (10_005, true), (9_000, true)] {
            assert_eq!(down.due(at(now)), due, "{now}");
        }
    }
}
