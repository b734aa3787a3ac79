//! A plan for people and for scripts: what would change, and for whom. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use crate::model::{Operation, Payload, TeamId, UserId};

/// What a pass would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The tenant's name.
    pub tenant: String,
    /// `delta` or `sweep`.
    pub kind: &'static str,
    /// Users changed since then were read, RFC 3339; `None`: all.
    pub since: Option<String>,
    /// Distinct users read.
    pub users_read: u64,
    /// Records that could not be read; nothing is planned for them.
    pub unreadable: u64,
    /// Whether the list was read completely.
    pub complete: bool,
    /// What would change, in the order of the users' ids.
    pub changes: Vec<Change>,
}

/// What would change for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whom it is for.
    pub user: UserId,
    /// Why: `mapped`, `unmapped` or `inactive`.
    pub cause: &'static str,
    /// Teams that he gains.
    pub added: Vec<TeamId>,
    /// Teams that he loses.
    pub removed: Vec<TeamId>,
}

impl From<&Operation> for Change {
    fn from(operation: &Operation) -> Self {
        let Payload::Teams(teams) = &operation.payload;
        Self {
            user: operation.user.clone(),
            cause: operation.cause.as_str(),
            added: teams.added.iter().cloned().collect(),
            removed: teams.removed.iter().cloned().collect(),
        }
    }
}

impl Plan {
    /// The plan as text: a line for each user, `+` for teams gained and `-` for teams lost, then the sum.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for change in &self.changes {
            let _ = write!(out, "{} ({}):", change.user, change.cause);
            let gained = change.added.iter().map(|team| ('+', team));
            for (sign, team) in gained.chain(change.removed.iter().map(|team| ('-', team))) {
                let _ = write!(out, " {sign}{team}");
            }
            out.push('\n');
        }
        let since = self.since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
        let (gain, lose) = (self.count(|change| &change.added), self.count(|change| &change.removed));
        let _ = writeln!(
            out,
            "{}: {}{since}, {} users read, {} to change ({gain} gain a team, {lose} lose one)",
            self.tenant,
            self.kind,
            self.users_read,
            self.changes.len()
        );
        if self.unreadable > 0 {
            let _ = writeln!(
                out,
                "{}: {} records could not be read; the log says which",
                self.tenant, self.unreadable
            );
        }
        if !self.complete {
            let _ = writeln!(
                out,
                "{}: the list could not be read completely; there may be more to change",
                self.tenant
            );
        }
        out
    }

    fn count(&self, teams: impl Fn(&Change) -> &Vec<TeamId>) -> usize {
        self.changes.iter().filter(|change| !teams(change).is_empty()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_can_read_it() {
        let change = |user: &str, cause, added: &[&str], removed: &[&str]| Change {
            user: user.into(),
            cause,
            added: added.iter().map(|team| TeamId::from(*team)).collect(),
            removed: removed.iter().map(|team| TeamId::from(*team)).collect(),
        };
        let plan = Plan {
            tenant: "acme".to_owned(),
            kind: "delta",
            since: Some("2026-01-01T00:00:00.000Z".to_owned()),
            users_read: 40,
            unreadable: 1,
            complete: false,
            changes: vec![
                change("user-1", "mapped", &["team-a", "team-b"], &["team-c"]),
                change("user-2", "inactive", &[], &["team-a"]),
            ],
        };
        insta::assert_snapshot!(plan.to_text(), @r"
        user-1 (mapped): +team-a +team-b -team-c
        user-2 (inactive): -team-a
        acme: delta since 2026-01-01T00:00:00.000Z, 40 users read, 2 to change (1 gain a team, 2 lose one)
        acme: 1 records could not be read; the log says which
        acme: the list could not be read completely; there may be more to change
        ");
    }
}
