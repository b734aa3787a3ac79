//! An operation: one thing to be changed in the tenant, with all that is needed to send it.
//!
//! It is written left of the outbox and only carried out right of it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{TeamId, UserId};

/// What an operation is about. A user has at most one waiting and one in flight of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Membership in managed teams.
    Teams,
}

impl Kind {
    /// The word in the database, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Teams => "teams",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a change of teams is spelled in a PATCH (RFC 7644 §3.5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeamPatch {
    /// One `replace` with the complete list, as in the documents.
    #[default]
    Replace,
    /// `add` and `remove` of what differs.
    AddRemove,
}

/// A change of teams, complete and as a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamsPayload {
    /// The complete list after the change, unmanaged teams included.
    pub teams: BTreeSet<TeamId>,
    /// Managed teams that the user gains.
    pub added: BTreeSet<TeamId>,
    /// Managed teams that the user loses.
    pub removed: BTreeSet<TeamId>,
    /// How it is spelled on the wire.
    pub patch: TeamPatch,
}

/// What is to be done, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Payload {
    /// Membership in managed teams.
    Teams(TeamsPayload),
}

impl Payload {
    /// The kind of operation that carries it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Teams(_) => Kind::Teams,
        }
    }
}

/// One thing to be changed for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whom it changes.
    pub user: UserId,
    /// What it changes.
    pub payload: Payload,
    /// Why, in a word for the log: `mapped`, `unmapped` or `inactive`.
    pub cause: &'static str,
    /// The version of the record that it was decided from, for `If-Match`.
    pub version: Option<String>,
}
