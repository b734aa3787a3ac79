//! Is the tenant as it should be? Computed from the tenant and the rules alone, not by the daemon's planner.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{TeamId, User, UserId};
use crate::plan::Mapping;
use crate::practice::{self, Tenant};

/// What was found.
#[derive(Debug)]
pub(super) struct Verified {
    /// Users in the tenant.
    pub(super) users: usize,
    /// Those who are not in the managed teams that their roles ask for.
    pub(super) wrong: Vec<UserId>,
    /// Those whose unmanaged teams are not those from before.
    pub(super) touched: Vec<UserId>,
}

impl Verified {
    pub(super) fn right(&self) -> bool {
        self.wrong.is_empty() && self.touched.is_empty()
    }
}

/// Each user's teams that no rule names.
pub(super) fn unmanaged(tenant: &Tenant) -> BTreeMap<UserId, BTreeSet<TeamId>> {
    let mapping = practice::mapping();
    tenant.users().into_iter().map(|user| (user.id.clone(), teams_outside(&user, &mapping))).collect()
}

fn teams_outside(user: &User, mapping: &Mapping) -> BTreeSet<TeamId> {
    user.teams.difference(mapping.managed()).cloned().collect()
}

/// Compares every user with the rules, and his unmanaged teams with those from `before`.
pub(super) fn verify(
    tenant: &Tenant,
    mapping: &Mapping,
    before: &BTreeMap<UserId, BTreeSet<TeamId>>,
) -> Verified {
    let users = tenant.users();
    let should = |user: &User| -> BTreeSet<TeamId> {
        let roles = user.roles.iter().filter(|_| user.active);
        roles.filter_map(|role| mapping.rules().get(role)).flatten().cloned().collect()
    };
    let is =
        |user: &User| -> BTreeSet<TeamId> { user.teams.intersection(mapping.managed()).cloned().collect() };
    let ids = |of: &dyn Fn(&User) -> bool| {
        users.iter().filter(|user| of(user)).map(|user| user.id.clone()).collect()
    };
    Verified {
        users: users.len(),
        wrong: ids(&|user| is(user) != should(user)),
        touched: ids(&|user| before.get(&user.id) != Some(&teams_outside(user, mapping))),
    }
}
