//! Whom an export no longer names: he becomes inactive, or that is held, or nobody does, because the export may be wrong
//! about him. Says what was decided; whether that is logged is for whoever asked.

use std::fmt;

use tracing::{error, warn};

use super::runner::{RunFailure, Runner};
use crate::daemon::report::signed;
use crate::model::{Action, Cause, Change, Operation, Payload, PlanDigest, ProfilePayload, TeamId, counted};
use crate::plan::examine_deactivations;
use crate::store::{RowNext, RowStep, Run, Store, StoreError, Unnamed};

/// Why nobody is made inactive, though no row names somebody whom earlier exports did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDeactivated {
    /// There is no good row at all.
    NoGoodRow {
        /// Users whom no row names.
        users: usize,
    },
    /// Bad rows do not even say whom they are about: he may be anybody whom no other row names.
    Nameless {
        /// So many.
        rows: u64,
        /// Users whom no row names.
        users: usize,
    },
}

impl NotDeactivated {
    /// What becomes of `users` whom no row names, in an export with so many `nameless` rows, and with or without a good one.
    const fn of(users: usize, nameless: u64, any_good: bool) -> Option<Self> {
        match (users, nameless, any_good) {
            (0, ..) | (_, 0, true) => None,
            (_, 0, false) => Some(Self::NoGoodRow { users }),
            (_, rows, _) => Some(Self::Nameless { rows, users }),
        }
    }
}

impl fmt::Display for NotDeactivated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NoGoodRow { users } | Self::Nameless { users, .. }) = self;
        let users = u64::try_from(*users).unwrap_or(u64::MAX);
        let users = counted(users, "user whom no row names", "users whom no row names");
        match self {
            Self::NoGoodRow { .. } => {
                write!(f, "nobody is made inactive, of {users}: the export has no good row")
            }
            Self::Nameless { rows, .. } => {
                let rows = counted(*rows, "row does not say whom it is", "rows do not say whom they are");
                write!(f, "nobody is made inactive, of {users}: {rows} about")
            }
        }
    }
}

async fn left_alone(store: &Store, run: &Run, users: usize) -> Result<Option<NotDeactivated>, StoreError> {
    let (nameless, any_good) = (store.nameless_rows(run).await?, store.any_good_row(run.id).await?);
    Ok(NotDeactivated::of(users, nameless, any_good))
}

/// What was decided of whoever is no longer named.
#[derive(Debug)]
pub(super) enum Missing {
    /// All are named.
    Nobody,
    /// The export may be wrong about them.
    LeftAlone(NotDeactivated),
    /// They are made inactive, perhaps because that was approved before; or somebody has decided otherwise meanwhile.
    Decided,
    /// They are too many.
    Held {
        digest: String,
        operations: usize,
        /// Which limits they go beyond.
        reason: String,
    },
}

impl Missing {
    /// Why nobody is made inactive, when somebody would have been.
    pub(super) const fn left_alone(&self) -> Option<NotDeactivated> {
        match self {
            Self::LeftAlone(why) => Some(*why),
            Self::Nobody | Self::Decided | Self::Held { .. } => None,
        }
    }

    /// Logs what an operator has to know; returns whether anything is still to come of it.
    pub(super) fn logged(self, run: &Run) -> bool {
        match self {
            Self::Nobody => false,
            Self::LeftAlone(why) => {
                let operations = match why {
                    NotDeactivated::NoGoodRow { .. } => 0,
                    NotDeactivated::Nameless { rows, .. } => signed(rows),
                };
                warn!(tenant = %run.tenant, run = run.id, operations, "nobody is deactivated");
                false
            }
            Self::Decided => true,
            Self::Held { digest, operations, reason } => {
                let operations = i64::try_from(operations).unwrap_or(i64::MAX);
                error!(tenant = %run.tenant, run = run.id, digest, operations, reason,
                    "deactivations are held until they are approved or discarded");
                true
            }
        }
    }
}

/// Nobody's teams change.
fn no_teams<'a>() -> std::iter::Empty<&'a TeamId> {
    std::iter::empty()
}

impl Runner<'_> {
    /// Makes whoever is no longer named inactive, or holds that.
    pub(super) async fn deactivate_missing(&self, run: &Run) -> Result<Missing, RunFailure> {
        let now = self.clock.now();
        let window = self.policy.window;
        let Unnamed { users, tally, line } = self.store.no_longer_named(run, now.minus(window), now).await?;
        if users.is_empty() {
            return Ok(Missing::Nobody);
        }
        if let Some(why) = left_alone(self.store, run, users.len()).await? {
            return Ok(Missing::LeftAlone(why));
        }
        let operations = users.len();
        let findings = examine_deactivations(&tally, &self.policy.limits, window);
        let mut digest = PlanDigest::default();
        let mut steps = Vec::new();
        for (line, (user, external_id)) in (line..).zip(users) {
            digest.change(&user, no_teams(), no_teams());
            let change = Change { path: "active".to_owned(), value: false.into() };
            let operation = Operation {
                user: user.clone(),
                payload: Payload::Profile(ProfilePayload::Update { changes: vec![change] }),
                cause: Cause::Missing,
                version: None,
            };
            let next = RowNext::Send {
                action: Action::Deactivate,
                operation,
                packed: self.packed(),
                attempts: 0,
                due: now,
            };
            steps.push(RowStep { line, user: Some(user), external_id: Some(external_id), next });
        }
        let decided = if findings.is_empty() {
            self.store.decide_rows(run, &steps, now).await?;
            Missing::Decided
        } else {
            let digest = digest.finish();
            if !self.store.hold_rows(run, &steps, (&digest, &findings), (now.minus(window), now)).await? {
                return Ok(Missing::Decided);
            }
            let reason = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            Missing::Held { digest, operations, reason }
        };
        for waiting in self.wake {
            waiting.notify_one();
        }
        Ok(decided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_may_be_wrong_about_the_unnamed_says_so() {
        for (users, nameless, any_good, says) in [
            (0, 3, false, None),
            (2, 0, true, None),
            (
                2,
                0,
                false,
                Some("nobody is made inactive, of 2 users whom no row names: the export has no good row"),
            ),
            (
                1,
                1,
                true,
                Some(
                    "nobody is made inactive, of 1 user whom no row names: 1 row does not say whom it is about",
                ),
            ),
            (
                2,
                3,
                false,
                Some(
                    "nobody is made inactive, of 2 users whom no row names: 3 rows do not say whom they are about",
                ),
            ),
        ] {
            let told = NotDeactivated::of(users, nameless, any_good).map(|why| why.to_string());
            assert_eq!(told.as_deref(), says);
        }
    }
}
