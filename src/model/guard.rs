//! What the guard looks at and what it objects to. Plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TeamId;

/// How much a tenant would change: the pass at hand together with what passes decided within the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Users known before the pass.
    pub known: u64,
    /// Users that it read.
    pub read: u64,
    /// Users who are changed.
    pub changes: u64,
    /// Users who lose a managed team.
    pub removals: u64,
    /// Nothing was known of the tenant before.
    pub first: bool,
    /// The same for each team that anybody gains or loses.
    pub teams: BTreeMap<TeamId, TeamTally>,
}

/// How much one team would change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TeamTally {
    /// Its members as last read.
    pub members: u64,
    /// Users who gain or lose it.
    pub changes: u64,
    /// Users who lose it.
    pub removals: u64,
}

/// How many users would be made inactive because no row of an export names them, together with those of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deactivations {
    /// Users concerned.
    pub found: u64,
    /// Users whom runs before this one had to do with, and who were active when the window began.
    pub known: u64,
    /// Those of them with whom that was so when the window began.
    pub known_before: u64,
    /// Users of the tenant of whom anything is known: the greater of those whom passes know and of those whom exports ever
    /// named, inactive ones included.
    pub tenant: u64,
}

/// An objection: a limit that is exceeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The key of the limit.
    pub limit: String,
    /// The team, if it is a single one's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub team: Option<TeamId>,
    /// Users concerned.
    pub found: u64,
    /// Of so many.
    pub of: u64,
    /// What is allowed: percent, or users where the limit is absolute.
    pub allowed: f64,
    /// In seconds, over how long they were counted; `None`: in one pass.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub window_seconds: Option<u64>,
    /// The users are those whom earlier exports named, and who are to be made inactive.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub deactivations: bool,
}

impl Finding {
    /// The limit is a share of the users.
    #[must_use]
    pub fn is_percent(&self) -> bool {
        self.limit.ends_with("_percent")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, of) = (self.found, self.of);
        let what = if self.deactivations {
            "users whom earlier exports named are to be made inactive"
        } else if self.limit.contains("missing") {
            "known users are missing from the list"
        } else if self.limit.contains("removals") {
            "users lose"
        } else {
            "users are changed in"
        };
        write!(f, "{found} of {of} {what}")?;
        match &self.team {
            _ if self.deactivations || self.limit.contains("missing") => {}
            Some(team) => write!(f, " team {team}")?,
            None => write!(
                f,
                " {}",
                if self.limit.contains("removals") { "a managed team" } else { "their teams" }
            )?,
        }
        let unit = if self.is_percent() { " %" } else { "" };
        write!(f, ": more than {}{unit}", self.allowed)?;
        if let Some(seconds) = self.window_seconds {
            write!(f, " in the last {}", humantime::format_duration(Duration::from_secs(seconds)))?;
        }
        write!(f, " ({})", self.limit)
    }
}
