//! Has the tenant done what it said? A sample of the writes is read back. Pure.
//!
//! Once a tenant was caught answering 2xx to what it did not do, every write is read back, until one was seen to
//! work.

use crate::model::{Payload, TeamId, User};

/// Which writes are read back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// 0 to 100.
    percent: f64,
    doubted: bool,
}

impl Sample {
    pub(super) const fn new(percent: f64) -> Self {
        Self { percent, doubted: false }
    }

    /// Whether the next write is read back. `draw` is chance, from 0 up to but not including 1.
    pub(super) fn takes(&self, draw: f64) -> bool {
        self.doubted || draw * 100.0 < self.percent
    }

    /// A write was read back, and was there or not.
    pub(super) const fn seen(&mut self, works: bool) {
        self.doubted = !works;
    }
}

/// What `user`, read after the write, shows of `payload` not having been done; `None` is that it was. Only the
/// difference counts: others may have changed his other teams meanwhile.
pub(super) fn ignored(payload: &Payload, user: &User) -> Option<String> {
    let teams = payload.teams();
    let missing = names(teams.added.difference(&user.teams));
    let left = names(teams.removed.intersection(&user.teams));
    let what: Vec<String> = [(missing, "he is not in"), (left, "he is still in")]
        .into_iter()
        .filter(|(teams, _)| !teams.is_empty())
        .map(|(teams, what)| format!("{what} {teams}"))
        .collect();
    (!what.is_empty()).then(|| format!("answered 2xx and changed nothing: {}", what.join(", ")))
}

fn names<'a>(teams: impl Iterator<Item = &'a TeamId>) -> String {
    teams.map(TeamId::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TeamPatch, TeamsPayload, UserId};

    #[test]
    fn what_was_added_must_be_there_and_what_was_removed_must_not() {
        let set = |ids: &[&str]| ids.iter().map(|id| TeamId::from(*id)).collect();
        let payload = Payload::Teams(TeamsPayload {
            teams: set(&["a", "b", "own"]),
            added: set(&["a", "b"]),
            removed: set(&["x", "y"]),
            patch: TeamPatch::Replace,
            roles: [].into(),
        });
        for (now, expected) in [
            (&["a", "b", "own"][..], None),
            (&["a", "b"], None),
            (&["a", "b", "own", "by-hand"], None),
            (&["b", "own"], Some("he is not in a")),
            (&["a", "b", "own", "x"], Some("he is still in x")),
            (&["own", "x", "y"], Some("he is not in a b, he is still in x y")),
            (&[], Some("he is not in a b")),
        ] {
            let user = User {
                id: UserId::from("user-0001"),
                active: true,
                roles: [].into(),
                teams: set(now),
                version: None,
                last_modified: None,
            };
            let expected = expected.map(|what| format!("answered 2xx and changed nothing: {what}"));
            assert_eq!(ignored(&payload, &user), expected, "{now:?}");
        }
    }

    #[test]
    fn a_sample_is_read_back_and_everything_while_there_is_doubt() {
        for (percent, draw, taken) in
            [(0.0, 0.0, false), (1.0, 0.0099, true), (1.0, 0.01, false), (100.0, 0.999, true)]
        {
            assert_eq!(Sample::new(percent).takes(draw), taken, "{percent} % {draw}");
        }
        let mut sample = Sample::new(1.0);
        sample.seen(false);
        assert!(sample.takes(0.9));
        sample.seen(true);
        assert!(!sample.takes(0.9));
    }
}
