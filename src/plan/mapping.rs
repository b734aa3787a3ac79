//! The rules: which HR role asks for which teams.
//!
//! A team that no rule names is not ours and is never touched.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::model::{Role, TeamId, hex};

/// All rules of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    rules: BTreeMap<Role, BTreeSet<TeamId>>,
    managed: BTreeSet<TeamId>,
}

impl Mapping {
    /// Takes the rules as they are; the configuration has checked that no team id is empty.
    #[must_use]
    pub fn new(rules: BTreeMap<Role, BTreeSet<TeamId>>) -> Self {
        let managed = rules.values().flatten().cloned().collect();
        Self { rules, managed }
    }

    /// The rules, by role.
    #[must_use]
    pub const fn rules(&self) -> &BTreeMap<Role, BTreeSet<TeamId>> {
        &self.rules
    }

    /// Every team that a rule names.
    #[must_use]
    pub const fn managed(&self) -> &BTreeSet<TeamId> {
        &self.managed
    }

    /// What these roles ask for, all rules together; `None` when no rule names any of them.
    #[must_use]
    pub fn teams_for(&self, roles: &BTreeSet<Role>) -> Option<BTreeSet<TeamId>> {
        let mut hits = roles.iter().filter_map(|role| self.rules.get(role)).peekable();
        hits.peek()?;
        Some(hits.flatten().cloned().collect())
    }

    /// SHA-256 over the rules in hexadecimal: equal for equal rules, whatever their order in the file.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (role, teams) in &self.rules {
            for text in std::iter::once(role.as_str()).chain(teams.iter().map(TeamId::as_str)) {
                hash.update(text.len().to_be_bytes());
                hash.update(text);
            }
            hash.update(u64::MAX.to_be_bytes());
        }
        hex(&hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(rules: &[(&str, &[&str])]) -> Mapping {
        let teams = |ids: &[&str]| ids.iter().map(|id| TeamId::from(*id)).collect();
        Mapping::new(rules.iter().map(|(role, ids)| (Role::from(*role), teams(ids))).collect())
    }

    #[test]
    fn several_roles_ask_for_the_union_of_their_teams() {
        let mapping = mapping(&[("ENGINEER", &["t1", "t2"]), ("SUPPORT", &["t2", "t3"])]);
        let roles = ["ENGINEER", "SUPPORT", "unknown"].map(Role::from).into();
        assert_eq!(mapping.teams_for(&roles), Some(["t1", "t2", "t3"].map(TeamId::from).into()));
    }

    #[test]
    fn roles_are_told_apart_by_case_and_unmapped_ones_ask_for_nothing() {
        let mapping = mapping(&[("ENGINEER", &["t1"])]);
        assert_eq!(mapping.teams_for(&["engineer"].map(Role::from).into()), None);
        assert_eq!(mapping.teams_for(&BTreeSet::new()), None);
    }

    #[test]
    fn the_digest_sees_every_difference_and_no_order() {
        let one = mapping(&[("A", &["1", "2"]), ("B", &[])]);
        assert_eq!(one.digest(), mapping(&[("B", &[]), ("A", &["2", "1"])]).digest());
        for other in [mapping(&[("A", &["12"]), ("B", &[])]), mapping(&[("A", &["1"]), ("B", &["2"])])] {
            assert_ne!(one.digest(), other.digest());
        }
    }
}
