//! Somebody in HR: gives users other roles, lets some go and takes some back.

use std::time::Duration;

use crate::chance::Chance;
use crate::model::{Role, UserId};
use crate::practice::{self, Tenant};

/// Somebody's record changes this often.
pub(super) const BETWEEN_CHANGES: Duration = Duration::from_millis(150);
/// One change in so many is somebody who leaves or comes back.
const ONE_LEAVES_IN: f64 = 10.0;

/// Somebody in HR.
#[derive(Debug)]
pub(super) struct Hr {
    tenant: Tenant,
    users: Vec<UserId>,
    roles: Vec<Role>,
    chance: Chance,
    changes: u64,
}

impl Hr {
    /// Begins with nobody.
    pub(super) fn new(tenant: Tenant, chance: Chance) -> Self {
        let users = tenant.users().into_iter().map(|user| user.id).collect();
        Self { tenant, users, roles: practice::roles(), chance, changes: 0 }
    }

    /// Changes somebody's record.
    pub(super) fn change_one(&mut self) {
        let Some(id) = pick(&self.users, self.chance.draw()).cloned() else { return };
        let Some(user) = self.tenant.user(&id) else { return };
        let changed = if self.chance.draw() * ONE_LEAVES_IN < 1.0 {
            self.tenant.set_active(&id, !user.active)
        } else {
            let roles = [self.chance.draw(), self.chance.draw()].map(|draw| pick(&self.roles, draw).cloned());
            self.tenant.set_roles(&id, roles.into_iter().flatten())
        };
        self.changes += u64::from(changed.is_ok());
    }

    /// Records changed so far.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }
}

/// The thing that a draw from 0 up to 1 falls on.
fn pick<T>(things: &[T], draw: f64) -> Option<&T> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    things.get((draw * things.len() as f64) as usize)
}
