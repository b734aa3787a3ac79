//! A pass: one run from reading the tenant to a commit in the store.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much a pass reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassKind {
    /// Users changed since the watermark.
    Delta,
    /// All users.
    Sweep,
    /// Single users by id: those whose record has to be read again.
    Reread,
    /// Nobody: a changed mapping is applied to all users as they were last read.
    Remap,
    /// The users of a reviewed plan, by id.
    Apply,
    /// Whom an HRIS export names.
    Provision,
    /// Whom a file of custom attributes names.
    Attributes,
}

impl PassKind {
    /// The word in the database, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Sweep => "sweep",
            Self::Reread => "reread",
            Self::Remap => "remap",
            Self::Apply => "apply",
            Self::Provision => "provision",
            Self::Attributes => "attributes",
        }
    }

    /// The kind that a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        const ALL: [PassKind; 7] = [
            PassKind::Delta,
            PassKind::Sweep,
            PassKind::Reread,
            PassKind::Remap,
            PassKind::Apply,
            PassKind::Provision,
            PassKind::Attributes,
        ];
        ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// It reads a list of users.
    #[must_use]
    pub const fn lists(self) -> bool {
        matches!(self, Self::Delta | Self::Sweep)
    }
}

impl fmt::Display for PassKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassResult {
    /// All was read and committed.
    Ok,
    /// Something could not be read, or the list was inconsistent; what was read is committed.
    Degraded,
    /// Nothing was committed.
    Failed,
}

impl PassResult {
    /// The word in the database, in logs and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for PassResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a tenant makes of the parameter `since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It returns who has changed.
    Works,
    /// It returns everybody.
    Ignored,
    /// It returns nobody, whoever has changed.
    Broken,
}

impl Since {
    /// The word in the database and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Ignored => "ignored",
            Self::Broken => "broken",
        }
    }

    /// What a word stands for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Works, Self::Ignored, Self::Broken].into_iter().find(|since| since.as_str() == word)
    }
}
