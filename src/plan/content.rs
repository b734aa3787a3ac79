//! What a decision was made from, as one number: whoever is still like that may be changed as it was reviewed. Pure.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::Mapping;
use crate::model::{Cause, Operation, Role, TeamId, User, hex};

/// SHA-256 over a user as far as the rules look at him: whether he is active, those of his roles that a rule names,
/// and all his teams. 64 hexadecimal digits.
#[must_use]
pub fn content_of(user: &User, mapping: &Mapping) -> String {
    let roles = user.roles.iter().filter(|role| mapping.rules().contains_key(*role)).collect();
    content(user.active, &roles, &user.teams.iter().collect())
}

/// The same of the user that an operation was decided from: the operation tells it all.
#[must_use]
pub fn content_before(operation: &Operation) -> String {
    let teams = operation.payload.teams();
    let before = teams.teams.iter().filter(|team| !teams.added.contains(*team)).chain(&teams.removed);
    content(operation.cause != Cause::Inactive, &teams.roles.iter().collect(), &before.collect())
}

/// The same of the user after it, if nothing else has changed.
#[must_use]
pub(super) fn content_after(operation: &Operation) -> String {
    let teams = operation.payload.teams();
    content(operation.cause != Cause::Inactive, &teams.roles.iter().collect(), &teams.teams.iter().collect())
}

fn content(active: bool, roles: &BTreeSet<&Role>, teams: &BTreeSet<&TeamId>) -> String {
    let mut hash = Sha256::new();
    let mut word = |kind: u8, text: &str| {
        hash.update([kind]);
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    };
    word(b'a', if active { "true" } else { "false" });
    for role in roles {
        word(b'r', role.as_str());
    }
    for team in teams {
        word(b't', team.as_str());
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::super::{Policy, WhenGone, decide};
    use super::*;
    use crate::model::UserId;

    fn mapping() -> Mapping {
        let rules = [("ENGINEER", "team-a"), ("SALES", "team-b")];
        Mapping::new(
            rules.map(|(role, team)| (Role::from(role), [TeamId::from(team)].into())).into_iter().collect(),
        )
    }

    fn user(active: bool, roles: &[&str], teams: &[&str]) -> User {
        User {
            id: UserId::from("user-0001"),
            active,
            roles: roles.iter().map(|role| Role::from(*role)).collect(),
            teams: teams.iter().map(|team| TeamId::from(*team)).collect(),
            version: None,
            last_modified: None,
        }
    }

    #[test]
    fn an_operation_tells_what_it_was_decided_from() {
        let granted = [TeamId::from("team-old")].into();
        let keep = Policy { when_inactive: WhenGone::Keep, ..Policy::default() };
        for (policy, user) in [
            (Policy::default(), user(true, &["ENGINEER", "unknown"], &["team-b", "team-x"])),
            (Policy::default(), user(true, &["ENGINEER", "SALES"], &["team-b"])),
            (Policy::default(), user(true, &["unknown"], &["team-a", "team-x"])),
            (Policy::default(), user(false, &["SALES"], &["team-b"])),
            (keep, user(false, &["SALES"], &["team-b", "team-old"])),
        ] {
            let operation = decide(&user, &mapping(), policy, &granted).unwrap();
            assert_eq!(content_before(&operation), content_of(&user, &mapping()), "{user:?}");
        }
    }

    #[test]
    fn every_difference_that_rules_can_see_is_seen_and_no_other() {
        let one = user(true, &["ENGINEER"], &["team-x"]);
        let same = user(true, &["ENGINEER", "unknown"], &["team-x"]);
        assert_eq!(content_of(&one, &mapping()), content_of(&same, &mapping()));
        for other in [
            user(false, &["ENGINEER"], &["team-x"]),
            user(true, &["SALES"], &["team-x"]),
            user(true, &["ENGINEER"], &["team-x", "team-y"]),
            user(true, &["ENGINEER"], &[]),
        ] {
            assert_ne!(content_of(&one, &mapping()), content_of(&other, &mapping()), "{other:?}");
        }
    }
}
