//! Somebody in HR: gives users other roles, lets some go and takes some back.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};

use crate::model::{Role, UserId};
use crate::practice::{self, Tenant};

/// Somebody's record changes this often.
pub(super) const BETWEEN_CHANGES: Duration = Duration::from_millis(150);
/// One change in so many is somebody who leaves or comes back.
const ONE_LEAVES_IN: u32 = 10;

/// Somebody in HR.
#[derive(Debug)]
pub(super) struct Hr {
    tenant: Tenant,
    users: Vec<UserId>,
    roles: Vec<Role>,
    rng: SmallRng,
    changes: u64,
}

impl Hr {
    /// Always the same person: the same changes in the same order.
    pub(super) fn new(tenant: Tenant) -> Self {
        let users = tenant.users().into_iter().map(|user| user.id).collect();
        Self { tenant, users, roles: practice::roles(), rng: SmallRng::seed_from_u64(1), changes: 0 }
    }

    /// Changes somebody's record.
    pub(super) fn change_one(&mut self) {
        let Some(id) = self.users.choose(&mut self.rng).cloned() else { return };
        let Some(user) = self.tenant.user(&id) else { return };
        let changed = if self.rng.random_ratio(1, ONE_LEAVES_IN) {
            self.tenant.set_active(&id, !user.active)
        } else {
            let count = self.rng.random_range(1..=2);
            self.tenant.set_roles(&id, self.roles.iter().cloned().choose_multiple(&mut self.rng, count))
        };
        self.changes += u64::from(changed.is_ok());
    }

    /// Records changed so far.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }
}
