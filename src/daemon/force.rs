//! Which mapping is in force, and why it is not the one that the configuration names. Pure.

use crate::store::{Hold, TenantState};

/// Why the configured mapping is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInForce {
    /// The first pass brings it into force.
    NothingRead,
    /// The next pass applies it to all users.
    RemapDue,
    /// Its remap waits for an approval.
    Held,
    /// Its remap was discarded; it is tried again after the next start.
    Discarded,
}

impl NotInForce {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NothingRead => "nothing read",
            Self::RemapDue => "remap due",
            Self::Held => "held",
            Self::Discarded => "discarded",
        }
    }

    /// In words.
    #[must_use]
    pub const fn explained(self) -> &'static str {
        match self {
            Self::NothingRead => "no list of users has been read yet; the pass that reads one applies it",
            Self::RemapDue => "the next pass applies it to all users",
            Self::Held => "what it changes is held until it is approved",
            Self::Discarded => "what it changes was discarded; the next start or reload tries again",
        }
    }
}

/// Why the mapping with the digest `configured` is not in force; `None` when it is.
#[must_use]
pub fn not_in_force(state: &TenantState, configured: &str, holds: &[Hold]) -> Option<NotInForce> {
    let holds = || holds.iter().any(|hold| hold.mapping_digest.as_deref() == Some(configured));
    match state.mapping_digest.as_deref() {
        Some(in_force) if in_force == configured => None,
        None => Some(NotInForce::NothingRead),
        Some(_) if state.mapping_settled.as_deref() != Some(configured) => Some(NotInForce::RemapDue),
        Some(_) if holds() => Some(NotInForce::Held),
        Some(_) => Some(NotInForce::Discarded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{TenantId, Timestamp};

    #[test]
    fn what_is_configured_is_in_force_or_there_is_a_reason() {
        let hold = Hold {
            id: 1,
            tenant: TenantId::from("acme"),
            digest: "9f86".to_owned(),
            pass: 7,
            created_at: Timestamp::EPOCH,
            operations: 3,
            held: 3,
            missing: 0,
            findings: Vec::new(),
            mapping_digest: Some("new".to_owned()),
        };
        let other = Hold { mapping_digest: None, ..hold.clone() };
        for (in_force, settled, holds, expected) in [
            (None, None, vec![], Some(NotInForce::NothingRead)),
            (Some("new"), None, vec![], None),
            (Some("old"), None, vec![], Some(NotInForce::RemapDue)),
            (Some("old"), Some("older"), vec![], Some(NotInForce::RemapDue)),
            (Some("old"), Some("new"), vec![other, hold], Some(NotInForce::Held)),
            (Some("old"), Some("new"), vec![], Some(NotInForce::Discarded)),
        ] {
            let state = TenantState {
                mapping_digest: in_force.map(ToOwned::to_owned),
                mapping_settled: settled.map(ToOwned::to_owned),
                ..TenantState::default()
            };
            assert_eq!(not_in_force(&state, "new", &holds), expected, "{in_force:?} {settled:?}");
        }
    }
}
