//! What a pass decides by: the mapping in force and the policy.

use std::collections::BTreeSet;

use crate::model::{Operation, PassKind, TeamId, TenantId, User};
use crate::plan::{self, Mapping, Policy};
use crate::store::{Store, StoreError, TenantState};

/// What one pass decides by.
#[derive(Debug)]
pub(super) struct Rules {
    mapping: Mapping,
    /// Of the mapping.
    pub(super) digest: String,
    policy: Policy,
    /// The mapping is not in force yet.
    pub(super) new: bool,
}

impl Rules {
    /// A remap decides by the mapping that the configuration names, every other pass by the one in force. Before
    /// the first pass, and when the rules in force are not known any more, these are the same.
    pub(super) async fn of_pass(
        kind: PassKind,
        tenant: &TenantId,
        (configured, digest): (&Mapping, &str),
        policy: Policy,
        state: &TenantState,
        store: &Store,
    ) -> Result<Self, StoreError> {
        let old = match state.mapping_digest.as_deref() {
            Some(in_force) if in_force != digest && kind != PassKind::Remap => {
                store.mapping(tenant, in_force).await?.map(|rules| (Mapping::new(rules), in_force))
            }
            _ => None,
        };
        let (mapping, digest) =
            old.map_or_else(|| (configured.clone(), digest.to_owned()), |(old, of)| (old, of.to_owned()));
        let new = kind == PassKind::Remap || state.mapping_digest.is_none();
        Ok(Self { mapping, digest, policy, new })
    }

    /// Those that a reviewed plan was made by: the mapping in force, or the one that the configuration names, which
    /// comes into force with it. `None` when that is neither.
    pub(super) async fn of_plan(
        made_by: &str,
        tenant: &TenantId,
        configured: (&Mapping, &str),
        policy: Policy,
        state: &TenantState,
        store: &Store,
    ) -> Result<Option<Self>, StoreError> {
        let in_force = state.mapping_digest.as_deref();
        let kind =
            if in_force.is_some_and(|digest| digest != made_by) { PassKind::Remap } else { PassKind::Apply };
        let rules = Self::of_pass(kind, tenant, configured, policy, state, store).await?;
        Ok((rules.digest == made_by).then_some(rules))
    }

    /// Which role asks for which teams.
    pub(super) const fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Decides one user; `granted` are the teams that he was given.
    pub(super) fn decide(&self, user: &User, granted: Option<&BTreeSet<TeamId>>) -> Option<Operation> {
        const NONE: &BTreeSet<TeamId> = &BTreeSet::new();
        plan::decide(user, &self.mapping, self.policy, granted.unwrap_or(NONE))
    }
}
