//! A user as far as rosters are concerned: no name, no mail address.

use std::collections::BTreeSet;

use super::{Role, TeamId, Timestamp, UserId};

/// What one properly read SCIM User says (RFC 7643 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The address of every operation on this user.
    pub id: UserId,
    /// False for a leaver; a record that does not say counts as active (RFC 7643 §4.1.1).
    pub active: bool,
    /// HR roles.
    pub roles: BTreeSet<Role>,
    /// All current teams, managed or not.
    pub teams: BTreeSet<TeamId>,
    /// `meta.version`, the entity tag, as the tenant wrote it.
    pub version: Option<String>,
    /// `meta.lastModified`.
    pub last_modified: Option<Timestamp>,
}
