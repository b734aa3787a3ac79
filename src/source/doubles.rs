//! The same user twice on one page. Pure.
//!
//! Of two records the one that was modified later counts. Where they differ and neither says that it is newer, neither
//! is believed: the user counts as unreadable, and is asked for by id. (On two pages the later one counts: the list has
//! moved.)

use std::collections::{BTreeMap, BTreeSet};

use super::users::UnreadableAt;
use crate::model::{User, UserId};
use crate::scim::Unreadable;

/// One record of each user, in the order of the page, and those users whose records contradict each other. Each record
/// comes with its position.
pub(super) fn without_doubles(records: Vec<(u64, User)>) -> (Vec<User>, Vec<UnreadableAt>) {
    let mut kept: Vec<(u64, User)> = Vec::with_capacity(records.len());
    let mut places: BTreeMap<UserId, usize> = BTreeMap::new();
    let mut contradicted = BTreeSet::new();
    for (position, user) in records {
        let Some(&place) = places.get(&user.id) else {
            places.insert(user.id.clone(), kept.len());
            kept.push((position, user));
            continue;
        };
        let known = &mut kept[place];
        if known.1 == user {
            continue;
        }
        match (known.1.last_modified, user.last_modified) {
            (Some(before), Some(after)) if after > before => {
                contradicted.remove(&user.id);
                *known = (position, user);
            }
            (Some(before), Some(after)) if after < before => {}
            _ => {
                contradicted.insert(user.id);
            }
        }
    }
    let (unreadable, users): (Vec<_>, Vec<_>) =
        kept.into_iter().partition(|(_, user)| contradicted.contains(&user.id));
    let unreadable = unreadable.into_iter().map(|(position, user)| UnreadableAt {
        position,
        unreadable: Unreadable {
            id: Some(user.id),
            reason: "two records of this user differ, and neither is newer".to_owned(),
        },
    });
    (users.into_iter().map(|(_, user)| user).collect(), unreadable.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Role, Timestamp};

    fn user(id: &str, role: &str, modified: Option<i64>) -> User {
        User {
            id: UserId::from(id),
            active: true,
            roles: [Role::from(role)].into(),
            teams: BTreeSet::new(),
            version: None,
            last_modified: modified.map(Timestamp::from_millis),
        }
    }

    /// (role, lastModified) of each record of one user → the role that counts.
    fn role(records: &[(&str, Option<i64>)]) -> Option<String> {
        let other = user("other", "x", None);
        let records = records.iter().map(|(role, modified)| user("u", role, *modified));
        let (users, unreadable) =
            without_doubles((1..).zip([other.clone()].into_iter().chain(records)).collect());
        assert_eq!(users[0], other);
        assert_eq!(users.len() + unreadable.len(), 2);
        assert!(unreadable.iter().all(|at| at.unreadable.id == Some(UserId::from("u")) && at.position > 1));
        users.get(1).map(|user| user.roles.first().unwrap().to_string())
    }

    #[test]
    fn the_newer_record_counts_and_a_contradiction_counts_for_nothing() {
        for (records, expected) in [
            (&[("a", None)][..], Some("a")),
            (&[("a", None), ("a", None)], Some("a")),
            (&[("a", Some(1)), ("b", Some(2))], Some("b")),
            (&[("a", Some(2)), ("b", Some(1))], Some("a")),
            (&[("a", Some(1)), ("b", Some(1))], None),
            (&[("a", Some(1)), ("b", None)], None),
            (&[("a", None), ("b", None)], None),
            (&[("a", Some(1)), ("b", Some(1)), ("c", Some(2))], Some("c")),
            (&[("a", Some(2)), ("b", Some(2)), ("c", Some(1))], None),
        ] {
            assert_eq!(role(records), expected.map(str::to_owned), "{records:?}");
        }
    }
}
