//! Which teams a user should be in, and what has to change for that.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Mapping;
use crate::model::{Cause, Operation, Payload, TeamId, TeamPatch, TeamsPayload, User};

/// What becomes of a user's managed teams when his record no longer asks for any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenGone {
    /// He leaves them.
    #[default]
    Remove,
    /// He stays in those that he has.
    Keep,
}

/// The choices of the configuration that shape a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// For a user none of whose roles is mapped.
    pub when_unmapped: WhenGone,
    /// For a user whose record says `active: false`.
    pub when_inactive: WhenGone,
    /// How an operation on teams is spelled.
    pub team_patch: TeamPatch,
}

/// Decides one user from his own record; `None` when nothing has to change.
///
/// Unmanaged teams stay as they are and are part of the complete list.
#[must_use]
pub fn decide(user: &User, mapping: &Mapping, policy: Policy) -> Option<Operation> {
    let (cause, desired) = desired(user, mapping, policy)?;
    let managed = mapping.managed();
    let current: BTreeSet<&TeamId> = user.teams.intersection(managed).collect();
    let added: BTreeSet<TeamId> = desired.iter().filter(|team| !current.contains(team)).cloned().collect();
    let removed: BTreeSet<TeamId> =
        current.into_iter().filter(|team| !desired.contains(*team)).cloned().collect();
    if added.is_empty() && removed.is_empty() {
        return None;
    }
    let teams = user.teams.difference(managed).cloned().chain(desired).collect();
    Some(Operation {
        user: user.id.clone(),
        payload: Payload::Teams(TeamsPayload {
            teams,
            added,
            removed,
            patch: policy.team_patch,
            roles: BTreeSet::new(),
        }),
        cause,
        version: user.version.clone(),
    })
}

/// The managed teams that the user should be in, and why; `None` when he keeps what he has.
fn desired(user: &User, mapping: &Mapping, policy: Policy) -> Option<(Cause, BTreeSet<TeamId>)> {
    if !user.active {
        return (policy.when_inactive == WhenGone::Remove).then(|| (Cause::Inactive, BTreeSet::new()));
    }
    match mapping.teams_for(&user.roles) {
        Some(teams) => Some((Cause::Mapped, teams)),
        None => (policy.when_unmapped == WhenGone::Remove).then(|| (Cause::Unmapped, BTreeSet::new())),
    }
}
