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

/// What a user's record asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Why.
    pub cause: Cause,
    /// The managed teams that he should be in.
    pub teams: BTreeSet<TeamId>,
}

/// Decides one user from his own record; `None` when nothing has to change.
///
/// `granted` are teams that we put him into; those that no rule names any more he leaves. All other unmanaged
/// teams stay as they are and are part of the complete list.
#[must_use]
pub fn decide(
    user: &User,
    mapping: &Mapping,
    policy: Policy,
    granted: &BTreeSet<TeamId>,
) -> Option<Operation> {
    let Desired { cause, teams: desired } = desired(user, mapping, policy);
    let managed = mapping.managed();
    let ours = |team: &&TeamId| managed.contains(*team) || granted.contains(*team);
    let current: BTreeSet<&TeamId> = user.teams.iter().filter(ours).collect();
    let added: BTreeSet<TeamId> = desired.iter().filter(|team| !current.contains(team)).cloned().collect();
    let removed: BTreeSet<TeamId> =
        current.into_iter().filter(|team| !desired.contains(*team)).cloned().collect();
    if added.is_empty() && removed.is_empty() {
        return None;
    }
    let teams = user.teams.iter().filter(|team| !ours(team)).cloned().chain(desired).collect();
    let roles = user.roles.iter().filter(|role| mapping.rules().contains_key(*role)).cloned().collect();
    Some(Operation {
        user: user.id.clone(),
        payload: Payload::Teams(TeamsPayload { teams, added, removed, patch: policy.team_patch, roles }),
        cause,
        version: user.version.clone(),
    })
}

/// The managed teams that the user should be in, and why.
#[must_use]
pub fn desired(user: &User, mapping: &Mapping, policy: Policy) -> Desired {
    let mapped = mapping.teams_for(&user.roles).filter(|_| user.active);
    let (cause, gone) = match mapped {
        Some(teams) => return Desired { cause: Cause::Mapped, teams },
        None if user.active => (Cause::Unmapped, policy.when_unmapped),
        None => (Cause::Inactive, policy.when_inactive),
    };
    let teams = match gone {
        WhenGone::Remove => BTreeSet::new(),
        WhenGone::Keep => user.teams.intersection(mapping.managed()).cloned().collect(),
    };
    Desired { cause, teams }
}
