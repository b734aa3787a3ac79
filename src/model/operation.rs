//! An operation: one thing to be changed in the tenant, with all that is needed to send it.
//!
//! It is written left of the outbox and only carried out right of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Role, TeamId, Timestamp, UserId};

/// What an operation is about. A user has at most one waiting and one in flight of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Membership in managed teams.
    Teams,
    /// What HR says of a user: his creation, too.
    Profile,
    /// Custom attributes.
    Attributes,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Teams, Self::Profile, Self::Attributes];

    /// The kind that a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The word in the database, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Teams => "teams",
            Self::Profile => "profile",
            Self::Attributes => "attributes",
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

/// One attribute of a user that is to become another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its path in a PATCH (RFC 7644 §3.5.2): `name.givenName`.
    pub path: String,
    /// What it is to be.
    pub value: Value,
}

/// What HR says of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "write", rename_all = "lowercase")]
pub enum ProfilePayload {
    /// He is created.
    Create {
        /// The SCIM User.
        user: Map<String, Value>,
    },
    /// What differs is changed.
    Update {
        /// What does; never empty.
        changes: Vec<Change>,
    },
    /// His whole record is written anew.
    Replace {
        /// The SCIM User, with all that the tenant knew of him.
        user: Map<String, Value>,
        /// What differs.
        paths: BTreeSet<String>,
        /// When he was read by himself; `None` when he was one of a list.
        #[serde(default)]
        read_at: Option<Timestamp>,
    },
}

/// What of a user the tenant alone writes (RFC 7643 §3.1, §4.1.2).
pub const READ_ONLY: [&str; 2] = ["meta", "groups"];

impl ProfilePayload {
    /// The names of the attributes that it writes.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<&str> {
        match self {
            Self::Create { user } => {
                user.keys().map(String::as_str).filter(|key| *key != "schemas").collect()
            }
            Self::Update { changes } => changes.iter().map(|change| change.path.as_str()).collect(),
            Self::Replace { paths, .. } => paths.iter().map(String::as_str).collect(),
        }
    }
}

/// Custom attributes that are to be changed, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributesPayload {
    /// What they are to be.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// Keys that are to go; none of them stands in `set`.
    #[serde(default)]
    pub remove: BTreeSet<String>,
}

impl AttributesPayload {
    /// Both in one: key by key, what is newer wins.
    #[must_use]
    pub fn then(mut self, newer: &Self) -> Self {
        for key in newer.set.keys().chain(&newer.remove) {
            self.set.remove(key);
            self.remove.remove(key);
        }
        self.set.extend(newer.set.iter().map(|(key, value)| (key.clone(), value.clone())));
        self.remove.extend(newer.remove.iter().cloned());
        self
    }

    /// The keys that it writes.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<&str> {
        self.set.keys().chain(&self.remove).map(String::as_str).collect()
    }
}

/// What is to be done, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Payload {
    /// Membership in managed teams.
    Teams(TeamsPayload),
    /// What HR says of a user.
    Profile(ProfilePayload),
    /// Custom attributes.
    Attributes(AttributesPayload),
}

impl Payload {
    /// The kind of operation that carries it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Teams(_) => Kind::Teams,
            Self::Profile(_) => Kind::Profile,
            Self::Attributes(_) => Kind::Attributes,
        }
    }

    /// The change of teams; an empty one, if it is about something else.
    #[must_use]
    pub fn teams(&self) -> &TeamsPayload {
        static NONE: TeamsPayload = TeamsPayload {
            teams: BTreeSet::new(),
            added: BTreeSet::new(),
            removed: BTreeSet::new(),
            patch: TeamPatch::Replace,
            roles: BTreeSet::new(),
        };
        match self {
            Self::Teams(teams) => teams,
            Self::Profile(_) | Self::Attributes(_) => &NONE,
        }
    }

    /// A user is created by it: whoever repeats it must look first whether he is there.
    #[must_use]
    pub const fn creates(&self) -> bool {
        matches!(self, Self::Profile(ProfilePayload::Create { .. }))
    }

    /// The names of what it writes: teams, attributes or keys. No personal data.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        match self {
            Self::Teams(teams) => teams.added.union(&teams.removed).map(TeamId::as_str).collect(),
            Self::Profile(profile) => profile.paths(),
            Self::Attributes(attributes) => attributes.keys(),
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
            Self::Profile(profile) => serde_json::json!(profile).to_string(),
            Self::Attributes(attributes) => serde_json::json!(attributes).to_string(),
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
    /// A row of a file asks for it.
    Asked,
    /// No row of HR's export names him any more.
    Missing,
}

impl Cause {
    /// The word in the database, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Unmapped => "unmapped",
            Self::Inactive => "inactive",
            Self::Asked => "asked",
            Self::Missing => "missing",
        }
    }

    /// The cause that a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Mapped, Self::Unmapped, Self::Inactive, Self::Asked, Self::Missing]
            .into_iter()
            .find(|cause| cause.as_str() == word)
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
