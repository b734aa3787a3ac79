//! What happens next to an operation, from what its answer means. Pure.

use std::time::Duration;

use crate::model::{Met, Payload, Timestamp};
use crate::scim::{Verdict, backoff};
use crate::store::Step;

/// How long we keep trying.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Failed attempts, as far as they count, after which an operation is a dead letter; at least 1.
    pub max_attempts: u32,
}

/// What an operation may come to that is not like a change of a user who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// It changes his teams from a complete list; a repeat changes nothing.
    Teams,
    /// It changes single attributes, or writes his record anew: a repeat changes nothing.
    Change,
    /// It creates him: whoever repeats it must look first.
    Creation,
}

impl Nature {
    /// That of an operation with this payload.
    #[must_use]
    pub fn of(payload: &Payload) -> Self {
        match payload {
            Payload::Teams(_) => Self::Teams,
            payload if payload.creates() => Self::Creation,
            Payload::Profile(_) | Payload::Attributes(_) => Self::Change,
        }
    }
}

/// The next step of an operation with `failures` counted attempts behind it, after one that ended with `verdict` (`None` is
/// success). `counted` says whether a failure is the operation's own, because the tenant answers other calls. `draw` is
/// chance, 0 up to 1.
#[must_use]
pub fn next_step(
    nature: Nature,
    failures: u32,
    verdict: Option<&Verdict>,
    counted: bool,
    policy: Policy,
    now: Timestamp,
    draw: f64,
) -> Step {
    let last = failures + 1 >= policy.max_attempts;
    let later = |wait: Option<Duration>| now.plus(backoff(failures + 1, draw).max(wait.unwrap_or_default()));
    match (nature, verdict) {
        // What a creation that nobody answered has come to must be looked up, and so must whoever is there already.
        (Nature::Creation, Some(Verdict::Unavailable { .. } | Verdict::Ignored)) => {
            Step::LookUp { met: Met::Unclear, due: later(None), counted }
        }
        (Nature::Creation, Some(Verdict::Exists | Verdict::Conflict)) => {
            Step::LookUp { met: Met::Conflict, due: now, counted: true }
        }
        (Nature::Change, Some(Verdict::Conflict)) if !last => {
            Step::LookUp { met: Met::Changed, due: now, counted: true }
        }
        (_, None) => Step::Done,
        (_, Some(Verdict::NotSent)) => Step::Released,
        // The limiter holds every call back for as long as the tenant asked.
        (_, Some(Verdict::Throttled { .. } | Verdict::Unauthorized)) => {
            Step::Later { due: now, counted: false }
        }
        (_, Some(Verdict::Unavailable { .. } | Verdict::Ignored)) if counted && last => Step::Dead,
        (_, Some(Verdict::Unavailable { wait })) => Step::Later { due: later(*wait), counted },
        (_, Some(Verdict::Ignored)) => Step::Later { due: later(None), counted },
        (_, Some(Verdict::Conflict)) if last => Step::Dead,
        // The first conflict is everyday life; one after the other is a fault of the tenant.
        (_, Some(Verdict::Conflict)) if failures == 0 => Step::Stale { due: now },
        (_, Some(Verdict::Conflict)) => Step::Stale { due: later(None) },
        (Nature::Teams | Nature::Change, Some(Verdict::Gone)) => Step::Gone,
        (_, Some(Verdict::Gone | Verdict::Forbidden | Verdict::Rejected | Verdict::Exists)) => Step::Dead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const POLICY: Policy = Policy { max_attempts: 3 };

    fn step(failures: u32, verdict: &Verdict, counted: bool) -> Step {
        next_step(Nature::Teams, failures, Some(verdict), counted, POLICY, NOW, 1.0)
    }

    fn unavailable(seconds: Option<u64>) -> Verdict {
        Verdict::Unavailable { wait: seconds.map(Duration::from_secs) }
    }

    fn later(millis: u64, counted: bool) -> Step {
        Step::Later { due: NOW.plus(Duration::from_millis(millis)), counted }
    }

    #[test]
    fn failures_are_tried_again_with_growing_waits_until_they_have_failed_too_often() {
        assert_eq!(step(0, &unavailable(None), true), later(500, true));
        assert_eq!(step(1, &unavailable(None), true), later(1000, true));
        assert_eq!(step(2, &unavailable(None), true), Step::Dead);
    }

    #[test]
    fn failures_of_the_whole_tenant_never_make_a_dead_letter() {
        assert_eq!(step(2, &unavailable(None), false), later(2000, false));
        assert_eq!(step(9, &Verdict::Throttled { wait: Duration::from_secs(5) }, true), later(0, false));
        assert_eq!(step(9, &Verdict::Unauthorized, true), later(0, false));
    }

    #[test]
    fn a_write_that_was_ignored_is_a_failed_attempt() {
        assert_eq!(step(0, &Verdict::Ignored, true), later(500, true));
        assert_eq!(step(2, &Verdict::Ignored, true), Step::Dead);
        assert_eq!(step(2, &Verdict::Ignored, false), later(2000, false), "all writes are");
    }

    #[test]
    fn the_tenant_is_given_the_time_that_it_asks_for() {
        assert_eq!(step(0, &unavailable(Some(60)), true), later(60_000, true));
    }

    #[test]
    fn a_creation_is_never_repeated_unseen() {
        let creation = |failures, verdict: &Verdict| {
            next_step(Nature::Creation, failures, Some(verdict), true, POLICY, NOW, 1.0)
        };
        let look_up = |met| Step::LookUp { met, due: NOW, counted: true };
        let unclear = |millis| Step::LookUp {
            met: Met::Unclear,
            due: NOW.plus(Duration::from_millis(millis)),
            counted: true,
        };
        assert_eq!(creation(0, &unavailable(None)), unclear(500));
        assert_eq!(
            creation(1, &unavailable(None)),
            unclear(1000),
            "it may be there, however often it failed"
        );
        assert_eq!(creation(0, &Verdict::Exists), look_up(Met::Conflict));
        assert_eq!(creation(0, &Verdict::Conflict), look_up(Met::Conflict));
        assert_eq!(creation(0, &Verdict::Rejected), Step::Dead);
        assert_eq!(creation(0, &Verdict::Gone), Step::Dead);
        assert_eq!(creation(0, &Verdict::NotSent), Step::Released);
        let throttled = Verdict::Throttled { wait: Duration::from_secs(1) };
        assert_eq!(creation(0, &throttled), later(0, false), "nothing was done");
    }

    #[test]
    fn whoever_has_changed_is_looked_up_before_he_is_written_again() {
        let change = |failures, verdict: &Verdict| {
            next_step(Nature::Change, failures, Some(verdict), true, POLICY, NOW, 1.0)
        };
        assert_eq!(
            change(0, &Verdict::Conflict),
            Step::LookUp { met: Met::Changed, due: NOW, counted: true }
        );
        assert_eq!(change(2, &Verdict::Conflict), Step::Dead);
        assert_eq!(change(0, &unavailable(None)), later(500, true));
        assert_eq!(change(0, &Verdict::Gone), Step::Gone);
    }

    #[test]
    fn the_rest_of_the_table() {
        assert_eq!(next_step(Nature::Teams, 0, None, true, POLICY, NOW, 1.0), Step::Done);
        for (verdict, expected) in [
            (Verdict::NotSent, Step::Released),
            (Verdict::Gone, Step::Gone),
            (Verdict::Rejected, Step::Dead),
            (Verdict::Forbidden, Step::Dead),
            (Verdict::Conflict, Step::Stale { due: NOW }),
        ] {
            assert_eq!(step(0, &verdict, true), expected, "{verdict:?}");
        }
        assert_eq!(step(2, &Verdict::Conflict, true), Step::Dead, "conflicts without end");
    }
}
