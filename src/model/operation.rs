//! An operation: one thing to be changed in the tenant, with all that is needed to send it.
//!
//! It is written left of the outbox and only carried out right of it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Role, TeamId, UserId};

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
    /// HR roles whose rules ask for the managed teams among them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<Role>,
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

    /// What the user is to end up with, as text: equal for equal decisions, whatever they were made from.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Teams(teams) => {
                let ids: Vec<&str> = teams.teams.iter().map(TeamId::as_str).collect();
                serde_json::json!(ids).to_string()
            }
        }
    }
}

/// Why a user is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// His roles ask for other teams than he has.
    Mapped,
    /// None of his roles is mapped.
    Unmapped,
    /// His record says `active: false`.
    Inactive,
}

impl Cause {
    /// The word in the database, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Unmapped => "unmapped",
            Self::Inactive => "inactive",
        }
    }

    /// The cause that a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Mapped, Self::Unmapped, Self::Inactive].into_iter().find(|cause| cause.as_str() == word)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing to be changed for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whom it changes.
    pub user: UserId,
    /// What it changes.
    pub payload: Payload,
    /// Why.
    pub cause: Cause,
    /// The version of the record that it was decided from, for `If-Match`.
    pub version: Option<String>,
}

/// Where an operation is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It waits to be sent.
    Ready,
    /// It is in flight.
    Leased,
    /// It waits for a new decision.
    Stale,
    /// It waits for an approval.
    Held,
    /// It was given up, until somebody replays it or something is decided anew.
    Dead,
    /// It was carried out.
    Done,
    /// A newer decision took its place.
    Superseded,
    /// The user is no more.
    Gone,
    /// An operator dropped it.
    Discarded,
}

impl State {
    const ALL: [Self; 9] = [
        Self::Ready,
        Self::Leased,
        Self::Stale,
        Self::Held,
        Self::Dead,
        Self::Done,
        Self::Superseded,
        Self::Gone,
        Self::Discarded,
    ];

    /// The word in the database and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Stale => "stale",
            Self::Held => "held",
            Self::Dead => "dead",
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Gone => "gone",
            Self::Discarded => "discarded",
        }
    }

    /// The state that a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Something may still become of it: a user has at most one such operation of each kind.
    #[must_use]
    pub const fn open(self) -> bool {
        matches!(self, Self::Ready | Self::Leased | Self::Stale | Self::Held | Self::Dead)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
