//! Is it the operation or the tenant? Pure: fed with every outcome, it says how much may be sent.
//!
//! A tenant that fails is not asked to death: delivery stops but for one probe, an operation like any
//! other, whose success ends the trouble. What a probe finds out is nobody's failed attempt.

use std::time::Duration;

use crate::model::{Timestamp, UserId};
use crate::scim::{Failure, Verdict};

/// So many different users in a row with the same failure are no coincidence.
const STREAK: usize = 10;
/// Between probes in the first minute of an outage, at most.
const OUTAGE_PROBE: Duration = Duration::from_secs(10);
/// How long an outage counts as young.
const YOUNG: Duration = Duration::from_mins(1);
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
    /// It does not let us write.
    Forbidden,
    /// It rejects one operation after the other: the configuration is wrong.
    Rejected,
    /// It knows none of its users.
    Gone,
}

impl Trouble {
    /// For a log line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Unauthorized => "credentials refused",
            Self::Forbidden => "permission missing",
            Self::Rejected => "operations rejected",
            Self::Gone => "users unknown",
        }
    }
}

/// What changed for the tenant with an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Trouble began, or goes on: the next probe.
    Down {
        /// What is wrong.
        trouble: Trouble,
        /// The next probe.
        probe_at: Timestamp,
        /// This outcome began it.
        began: bool,
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
    streak: Option<Streak>,
    down: Option<Down>,
}

#[derive(Debug)]
struct Streak {
    trouble: Trouble,
    reason: String,
    users: Vec<UserId>,
}

#[derive(Clone, Copy, Debug)]
struct Down {
    trouble: Trouble,
    since: Timestamp,
    probes: u32,
    probe_at: Timestamp,
}

impl Health {
    /// How many operations may be in flight at `now`, of `workers`: all, one as a probe, or none before the
    /// moment that is returned.
    ///
    /// # Errors
    /// The next probe's time, when nothing may be sent before.
    pub fn allowance(&self, workers: usize, now: Timestamp) -> Result<usize, Timestamp> {
        match self.down {
            None => Ok(workers),
            // A probe time further away than any wait was set before our clock was set back.
            Some(down) if down.probe_at <= now || down.probe_at > now.plus(LONGEST) => Ok(1),
            Some(down) => Err(down.probe_at),
        }
    }

    /// What is wrong at the moment.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.down.map(|down| down.trouble)
    }

    /// An operation for `user` ended with `failure` (`None` is success). `alone` says that no other call of
    /// the tenant was answered meanwhile, not even a read.
    pub fn observe(
        &mut self,
        user: &UserId,
        failure: Option<&Failure>,
        alone: bool,
        now: Timestamp,
    ) -> Change {
        let verdict = failure.map(|failure| &failure.verdict);
        let Some(trouble) = trouble(verdict) else {
            return if matches!(verdict, Some(Verdict::Throttled { .. } | Verdict::NotSent)) {
                Change::None
            } else {
                self.up()
            };
        };
        if let Some(down) = self.down {
            return if down.probe_at <= now { self.probed(down, trouble, now) } else { Change::None };
        }
        self.count(user, trouble, failure.map_or("", |failure| &failure.reason));
        let certain = match trouble {
            Trouble::Outage => alone,
            Trouble::Unauthorized => true,
            Trouble::Forbidden | Trouble::Rejected | Trouble::Gone => false,
        };
        if certain || self.streak.as_ref().is_some_and(|streak| streak.users.len() >= STREAK) {
            return self.probed(Down { trouble, since: now, probes: 0, probe_at: now }, trouble, now);
        }
        Change::None
    }

    fn up(&mut self) -> Change {
        self.streak = None;
        self.down.take().map_or(Change::None, |down| Change::Up { since: down.since })
    }

    /// Rejections count together only when they give the same reason.
    fn count(&mut self, user: &UserId, trouble: Trouble, reason: &str) {
        let reason = if trouble == Trouble::Rejected { reason } else { "" };
        let streak = self.streak.take().filter(|streak| streak.trouble == trouble && streak.reason == reason);
        let mut streak =
            streak.unwrap_or_else(|| Streak { trouble, reason: reason.to_owned(), users: Vec::new() });
        if !streak.users.contains(user) {
            streak.users.push(user.clone());
        }
        self.streak = Some(streak);
    }

    fn probed(&mut self, down: Down, trouble: Trouble, now: Timestamp) -> Change {
        let began = down.probes == 0;
        let probe_at = now.plus(wait(trouble, down.probes, now.since(down.since)));
        self.down = Some(Down { trouble, since: down.since, probes: down.probes + 1, probe_at });
        Change::Down { trouble, probe_at, began }
    }
}

/// What a failure says about the tenant, if other users meet it too.
const fn trouble(verdict: Option<&Verdict>) -> Option<Trouble> {
    match verdict {
        Some(Verdict::Unavailable { .. }) => Some(Trouble::Outage),
        Some(Verdict::Unauthorized) => Some(Trouble::Unauthorized),
        Some(Verdict::Forbidden) => Some(Trouble::Forbidden),
        Some(Verdict::Rejected) => Some(Trouble::Rejected),
        Some(Verdict::Gone) => Some(Trouble::Gone),
        None | Some(Verdict::Throttled { .. } | Verdict::Conflict | Verdict::Exists | Verdict::NotSent) => {
            None
        }
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

    const DOWN: Verdict = Verdict::Unavailable { wait: None };

    fn failed(verdict: &Verdict, reason: &str) -> Failure {
        let (verdict, reason) = (verdict.clone(), reason.to_owned());
        Failure { verdict, status: None, reason, correlation_id: None, answer: None }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn user(number: usize) -> UserId {
        UserId::from(format!("user-{number:04}"))
    }

    #[test]
    fn a_failure_that_stands_alone_is_the_tenants() {
        let mut health = Health::default();
        assert_eq!(health.observe(&user(1), Some(&failed(&DOWN, "same")), false, at(0)), Change::None);
        assert_eq!(health.allowance(10, at(0)), Ok(10));
        let expected = Change::Down { trouble: Trouble::Outage, probe_at: at(1), began: true };
        assert_eq!(health.observe(&user(1), Some(&failed(&DOWN, "same")), true, at(0)), expected);
        assert_eq!(health.allowance(10, at(0)), Err(at(1)));
        assert_eq!(health.allowance(10, at(1)), Ok(1));
    }

    #[test]
    fn an_outage_is_probed_every_ten_seconds_at_least_while_it_is_young() {
        let mut health = Health::default();
        let (mut now, mut waits) = (0, Vec::new());
        while now < 60 {
            let Change::Down { probe_at, .. } =
                health.observe(&user(1), Some(&failed(&DOWN, "same")), true, at(now))
            else {
                panic!("up?")
            };
            waits.push(probe_at.since(at(now)).as_secs());
            now += waits.last().unwrap();
        }
        assert_eq!(waits, [1, 2, 4, 8, 10, 10, 10, 10, 10]);
    }

    #[test]
    fn ten_users_in_a_row_are_no_coincidence_and_one_success_ends_it() {
        for (verdict, trouble) in [
            (DOWN, Trouble::Outage),
            (Verdict::Forbidden, Trouble::Forbidden),
            (Verdict::Rejected, Trouble::Rejected),
            (Verdict::Gone, Trouble::Gone),
        ] {
            let mut health = Health::default();
            for number in 0..9 {
                assert_eq!(
                    health.observe(&user(number), Some(&failed(&verdict, "same")), false, at(0)),
                    Change::None
                );
                assert_eq!(
                    health.observe(&user(number), Some(&failed(&verdict, "same")), false, at(0)),
                    Change::None,
                    "same user"
                );
            }
            assert!(matches!(
                health.observe(&user(9), Some(&failed(&verdict, "same")), false, at(0)),
                Change::Down { began: true, .. }
            ));
            assert_eq!(health.trouble(), Some(trouble));
            assert_eq!(health.observe(&user(10), None, false, at(7)), Change::Up { since: at(0) });
            assert_eq!(health.allowance(10, at(7)), Ok(10));
        }
    }

    #[test]
    fn rejections_for_different_reasons_are_the_users_own() {
        let mut health = Health::default();
        for number in 0..20 {
            let rejected = failed(&Verdict::Rejected, &format!("reason {number}"));
            assert_eq!(health.observe(&user(number), Some(&rejected), false, at(0)), Change::None);
        }
    }

    #[test]
    fn a_success_in_between_breaks_the_row() {
        let mut health = Health::default();
        for number in 0..9 {
            health.observe(&user(number), Some(&failed(&Verdict::Rejected, "same")), false, at(0));
        }
        health.observe(&user(100), None, false, at(0));
        assert_eq!(
            health.observe(&user(9), Some(&failed(&Verdict::Rejected, "same")), false, at(0)),
            Change::None
        );
    }

    #[test]
    fn a_quarantine_doubles_from_five_seconds_to_a_quarter_of_an_hour() {
        let mut health = Health::default();
        let (mut now, mut waits) = (0, Vec::new());
        for _ in 0..10 {
            let change =
                health.observe(&user(1), Some(&failed(&Verdict::Unauthorized, "same")), false, at(now));
            let Change::Down { probe_at, .. } = change else { panic!("up?") };
            waits.push(probe_at.since(at(now)).as_secs());
            now += waits.last().unwrap();
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
    }

    #[test]
    fn a_429_says_nothing_about_health() {
        let mut health = Health::default();
        health.observe(&user(1), Some(&failed(&DOWN, "same")), true, at(0));
        let throttled = Verdict::Throttled { wait: Duration::from_secs(1) };
        assert_eq!(health.observe(&user(1), Some(&failed(&throttled, "same")), false, at(1)), Change::None);
        assert_eq!(health.trouble(), Some(Trouble::Outage));
    }
}
