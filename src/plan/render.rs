//! A plan for people and for scripts: what a pass would do, or has done, and for whom. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::content::content_before;
use crate::model::{
    Cause, Finding, Operation, PassKind, Payload, Role, State, TeamId, TeamPatch, TeamsPayload, UserId,
    counted,
};

/// What a pass decides: the same for one that is only tried, for a file that somebody reviews, and for one that ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The tenant's name.
    pub tenant: String,
    /// What kind of pass; of a list and the remap after it, the remap.
    pub kind: PassKind,
    /// When its pass began, RFC 3339.
    pub made_at: String,
    /// Users changed since then were read, RFC 3339; `None`: all.
    pub since: Option<String>,
    /// Of the rules that it was decided by.
    pub mapping_digest: String,
    /// Who gains and loses what, as one number: the one under which the daemon would hold it; of several passes, that
    /// of the one that is held.
    pub digest: String,
    /// Distinct users read.
    pub users_read: u64,
    /// Records of the list that could not be read; those with an id are read once more, by id.
    pub unreadable: u64,
    /// Known users whom the list did not show.
    pub missing: u64,
    /// Whether all was read that was to be read.
    pub complete: bool,
    /// What the guard objects to: the daemon would hold it, or holds it.
    pub findings: Vec<Finding>,
    /// What is to change, in the order of the users' ids.
    pub changes: Vec<Change>,
}

/// What is to change for one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Whom it is for.
    pub user: UserId,
    /// Why.
    pub cause: Cause,
    /// Those of his roles that a rule names.
    pub roles: BTreeSet<Role>,
    /// Teams that he gains.
    pub added: BTreeSet<TeamId>,
    /// Teams that he loses.
    pub removed: BTreeSet<TeamId>,
    /// The complete list after the change.
    pub teams: BTreeSet<TeamId>,
    /// How it is spelled on the wire.
    pub patch: TeamPatch,
    /// The version of the record that it was decided from, if the tenant has versions.
    pub version: Option<String>,
    /// What it was decided from, as [`content_of`](super::content_of) has it.
    pub content: String,
    /// The same was decided before, and is open.
    pub already: Option<Already>,
    /// He is made inactive, because no row of an export names him any more.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub deactivated: bool,
}

/// What has become so far of a change that was decided before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Already {
    /// It waits to be sent, or is in flight.
    Waiting,
    /// It waits for an approval.
    Held,
    /// It was given up.
    DeadLetter,
}

impl Already {
    /// What an operation in this state is already; `None` when it is finished.
    #[must_use]
    pub const fn of(state: State) -> Option<Self> {
        match state {
            State::Ready | State::Leased | State::Stale => Some(Self::Waiting),
            State::Held => Some(Self::Held),
            State::Dead => Some(Self::DeadLetter),
            State::Done | State::Superseded | State::Gone | State::Discarded => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "already waiting",
            Self::Held => "held",
            Self::DeadLetter => "dead letter",
        }
    }
}

impl From<&Operation> for Change {
    fn from(operation: &Operation) -> Self {
        let teams = operation.payload.teams();
        Self {
            user: operation.user.clone(),
            cause: operation.cause,
            roles: teams.roles.clone(),
            added: teams.added.clone(),
            removed: teams.removed.clone(),
            teams: teams.teams.clone(),
            patch: teams.patch,
            version: operation.version.clone(),
            content: content_before(operation),
            already: None,
            deactivated: operation.cause == Cause::Missing,
        }
    }
}

impl Change {
    /// The operation that carries it out, from `version` of the user's record on.
    #[must_use]
    pub fn operation(&self, version: Option<String>) -> Operation {
        let teams = TeamsPayload {
            teams: self.teams.clone(),
            added: self.added.clone(),
            removed: self.removed.clone(),
            patch: self.patch,
            roles: self.roles.clone(),
        };
        Operation { user: self.user.clone(), payload: Payload::Teams(teams), cause: self.cause, version }
    }

    /// It is sent when the plan is carried out: it is neither given up nor held already.
    #[must_use]
    pub fn counts(&self) -> bool {
        matches!(self.already, None | Some(Already::Waiting))
    }

    /// As a line without its end: `+` for teams gained and `-` for teams lost, and for whoever becomes inactive what is
    /// written.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut line = format!("{} ({}):", self.user, self.cause);
        let gained = self.added.iter().map(|team| ('+', team));
        for (sign, team) in gained.chain(self.removed.iter().map(|team| ('-', team))) {
            let _ = write!(line, " {sign}{team}");
        }
        if self.deactivated {
            line.push_str(" active: true -> false");
        }
        if let Some(already) = self.already {
            let _ = write!(line, " [{}]", already.as_str());
        }
        line
    }
}

impl Plan {
    /// How many users it would change.
    #[must_use]
    pub fn to_change(&self) -> usize {
        self.changes.iter().filter(|change| change.counts()).count()
    }

    /// The plan as text: a line for each user, then the sum.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for change in &self.changes {
            out.push_str(&change.to_text());
            out.push('\n');
        }
        let since = self.since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "{}: {}{since}, {} read, {} to change ({})",
            self.tenant,
            self.kind,
            counted(self.users_read, "user", "users"),
            self.to_change(),
            self.sum()
        );
        self.objections(&mut out);
        out
    }

    /// What changes for how many.
    fn sum(&self) -> String {
        let inactive = self.count(|change| change.deactivated);
        if inactive > 0 {
            return counted(inactive, "becomes inactive", "become inactive");
        }
        format!(
            "{}, {}",
            counted(self.count(|change| !change.added.is_empty()), "gains a team", "gain a team"),
            counted(self.count(|change| !change.removed.is_empty()), "loses one", "lose one")
        )
    }

    /// What is wrong with it, a line for each.
    fn objections(&self, out: &mut String) {
        let mut line = |what: String| {
            let _ = writeln!(out, "{}: {what}", self.tenant);
        };
        let left = self.changes.len() - self.to_change();
        if left > 0 {
            line(counted(
                left,
                "more is held or a dead letter, and stays so",
                "more are held or dead letters, and stay so",
            ));
        }
        if self.unreadable > 0 {
            line(format!(
                "{} could not be read; the log says which",
                counted(self.unreadable, "record", "records")
            ));
        }
        if !self.complete {
            line("the list could not be read completely; there may be more to change".to_owned());
        }
        for finding in &self.findings {
            line(format!("the guard holds it: {finding}"));
        }
        if !self.findings.is_empty() {
            line(format!("its digest is {}", self.digest));
        }
    }

    fn count(&self, which: impl Fn(&Change) -> bool) -> usize {
        self.changes.iter().filter(|change| change.counts() && which(change)).count()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::ProfilePayload;

    pub(in super::super) fn change(user: &str, cause: Cause, added: &[&str], removed: &[&str]) -> Change {
        let teams = |ids: &[&str]| ids.iter().map(|id| TeamId::from(*id)).collect::<BTreeSet<_>>();
        Change {
            user: user.into(),
            cause,
            roles: [Role::from("HR_SALES")].into(),
            added: teams(added),
            removed: teams(removed),
            teams: teams(added),
            patch: TeamPatch::Replace,
            version: None,
            content: "c0ffee".to_owned(),
            already: None,
            deactivated: false,
        }
    }

    pub(in super::super) fn plan(changes: Vec<Change>) -> Plan {
        Plan {
            tenant: "acme".to_owned(),
            kind: PassKind::Delta,
            made_at: "2026-01-01T00:05:00.000Z".to_owned(),
            since: Some("2026-01-01T00:00:00.000Z".to_owned()),
            mapping_digest: "b0a7".to_owned(),
            digest: "9f86d081".to_owned(),
            users_read: 40,
            unreadable: 0,
            missing: 0,
            complete: true,
            findings: Vec::new(),
            changes,
        }
    }

    #[test]
    fn a_person_can_read_it() {
        let already = |already, change| Change { already: Some(already), ..change };
        let changes = vec![
            change("user-1", Cause::Mapped, &["team-a", "team-b"], &["team-c"]),
            change("user-2", Cause::Inactive, &[], &["team-a"]),
            already(Already::Waiting, change("user-3", Cause::Mapped, &["team-a"], &[])),
            already(Already::DeadLetter, change("user-4", Cause::Mapped, &["team-a"], &[])),
            already(Already::Held, change("user-5", Cause::Unmapped, &[], &["team-b"])),
        ];
        let limit = "max_removals_percent".to_owned();
        let finding = Finding {
            limit,
            team: None,
            found: 2,
            of: 4,
            allowed: 20.0,
            window_seconds: Some(5400),
            deactivations: false,
        };
        let plan = Plan { unreadable: 1, complete: false, findings: vec![finding], ..plan(changes) };
        insta::assert_snapshot!(plan.to_text(), @r"
        user-1 (mapped): +team-a +team-b -team-c
        user-2 (inactive): -team-a
        user-3 (mapped): +team-a [already waiting]
        user-4 (mapped): +team-a [dead letter]
        user-5 (unmapped): -team-b [held]
        acme: delta since 2026-01-01T00:00:00.000Z, 40 users read, 3 to change (2 gain a team, 2 lose one)
        acme: 2 more are held or dead letters, and stay so
        acme: 1 record could not be read; the log says which
        acme: the list could not be read completely; there may be more to change
        acme: the guard holds it: 2 of 4 users lose a managed team: more than 20 % in the last 1h 30m (max_removals_percent)
        acme: its digest is 9f86d081
        ");
    }

    #[test]
    fn whoever_becomes_inactive_is_told_of_by_id() {
        let payload = ProfilePayload::Update {
            changes: vec![crate::model::Change { path: "active".to_owned(), value: false.into() }],
        };
        let inactive = |user: &str| {
            let payload = Payload::Profile(payload.clone());
            Change::from(&Operation { user: user.into(), payload, cause: Cause::Missing, version: None })
        };
        let changes = vec![inactive("user-1"), inactive("user-2")];
        let plan = Plan { kind: PassKind::Provision, since: None, ..plan(changes) };
        insta::assert_snapshot!(plan.to_text(), @r"
        user-1 (missing): active: true -> false
        user-2 (missing): active: true -> false
        acme: provision, 40 users read, 2 to change (2 become inactive)
        ");
    }

    #[test]
    fn a_change_is_carried_out_as_it_was_decided() {
        let change = change("user-1", Cause::Mapped, &["team-a"], &["team-c"]);
        let operation = change.operation(Some("W/\"7\"".to_owned()));
        let again = Change::from(&operation);
        assert_eq!(
            again,
            Change { version: Some("W/\"7\"".to_owned()), content: content_before(&operation), ..change }
        );
    }
}
