//! A plan as a file, to be reviewed and then carried out exactly as it stands there. Pure.
//!
//! A file that was changed by hand is refused: what was reviewed is what the program wrote.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::content::{content_after, content_of};
use super::mapping::Mapping;
use super::render::{Change, Plan};
use crate::model::{User, hex};

/// The form of the file; a later one is refused.
const FORMAT: u32 = 1;

/// A plan in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    rosterd_plan: u32,
    /// The SCIM base of the tenant that it was made for.
    pub base_url: String,
    sha256: String,
    /// What was reviewed.
    pub plan: Plan,
}

/// Why a file is no plan that may be carried out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnfitPlan {
    /// It is something else.
    #[error("is no saved plan ({0}); `rosterd plan --out FILE` writes one")]
    Unreadable(String),
    /// Another version of the program wrote it.
    #[error("is a plan of form {0}, and this rosterd knows form {FORMAT}: make it anew")]
    Format(u32),
    /// Somebody has edited it.
    #[error("was changed after it had been made: make the plan anew")]
    Changed,
}

impl SavedPlan {
    /// A plan to be written down.
    #[must_use]
    pub fn new(plan: Plan, base_url: &str) -> Self {
        let sha256 = seal(&plan, base_url);
        Self { rosterd_plan: FORMAT, base_url: base_url.to_owned(), sha256, plan }
    }

    /// Reads a file back.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn read(text: &str) -> Result<Self, UnfitPlan> {
        #[derive(Deserialize)]
        struct Head {
            rosterd_plan: u32,
        }
        let unreadable = |error: serde_json::Error| UnfitPlan::Unreadable(error.to_string());
        let head: Head = serde_json::from_str(text).map_err(unreadable)?;
        if head.rosterd_plan != FORMAT {
            return Err(UnfitPlan::Format(head.rosterd_plan));
        }
        let saved: Self = serde_json::from_str(text).map_err(unreadable)?;
        if saved.sha256 == seal(&saved.plan, &saved.base_url) { Ok(saved) } else { Err(UnfitPlan::Changed) }
    }

    /// The text of the file.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_text(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// Whether `change` may still be made to `user`: nothing that it was decided from has changed. A version says less:
/// it moves with a telephone number too, and with our own operations.
#[must_use]
pub fn still_fits(change: &Change, user: &User, mapping: &Mapping) -> bool {
    change.content == content_of(user, mapping)
}

/// Whether `user` is as `change` would leave him: it was made already, by us or by somebody else.
#[must_use]
pub fn is_made(change: &Change, user: &User, mapping: &Mapping) -> bool {
    content_after(&change.operation(None)) == content_of(user, mapping)
}

/// SHA-256 over all of it; how it is indented and in which order its keys stand does not matter.
fn seal(plan: &Plan, base_url: &str) -> String {
    let text = serde_json::json!([base_url, plan]).to_string();
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::render::tests::{change, plan};
    use super::super::{Policy, decide};
    use super::*;
    use crate::model::{Cause, Role, TeamId, UserId};

    fn saved() -> String {
        let plan = plan(vec![change("user-1", Cause::Mapped, &["team-a"], &["team-c"])]);
        SavedPlan::new(plan, "https://tenant.example.com/scim").to_text().unwrap()
    }

    #[test]
    fn what_was_written_is_read_back_however_it_is_indented() {
        let text = saved();
        let read = SavedPlan::read(&text).unwrap();
        assert_eq!(read.to_text().unwrap(), text);
        let compact = text.lines().map(str::trim).collect::<String>();
        assert_eq!(SavedPlan::read(&compact).unwrap(), read);
    }

    #[test]
    fn a_file_that_was_changed_is_refused() {
        let text = saved();
        for (from, to) in [
            ("\"team-c\"", "\"team-d\""),
            ("user-1", "user-2"),
            ("tenant.example.com", "other.example.com"),
            ("\"complete\": true", "\"complete\": false"),
            ("\"patch\": \"replace\"", "\"patch\": \"add-remove\""),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            assert_eq!(SavedPlan::read(&text.replace(from, to)), Err(UnfitPlan::Changed), "{from}");
        }
        let later = text.replace("\"rosterd_plan\": 1", "\"rosterd_plan\": 2");
        assert_eq!(SavedPlan::read(&later), Err(UnfitPlan::Format(2)));
        for other in ["", "{}", "[]", "{\"tenants\": []}", &text.replace("\"users_read\"", "\"users\"")] {
            assert!(matches!(SavedPlan::read(other), Err(UnfitPlan::Unreadable(_))), "{other}");
        }
    }

    #[test]
    fn a_change_fits_whoever_is_as_he_was_and_a_version_says_nothing() {
        let mapping = Mapping::new([(Role::from("SALES"), [TeamId::from("team-a")].into())].into());
        let user = |version: &str, team: &str| User {
            id: UserId::from("user-1"),
            active: true,
            roles: [Role::from("SALES")].into(),
            teams: [TeamId::from(team)].into(),
            version: Some(version.to_owned()),
            last_modified: None,
        };
        let operation = decide(&user("1", "team-x"), &mapping, Policy::default(), &BTreeSet::new()).unwrap();
        let change = Change::from(&operation);
        assert!(still_fits(&change, &user("1", "team-x"), &mapping));
        assert!(still_fits(&change, &user("2", "team-x"), &mapping));
        assert!(!still_fits(&change, &user("1", "team-y"), &mapping));
        assert!(!still_fits(&change, &User { active: false, ..user("1", "team-x") }, &mapping));

        let after = |teams: &[&str]| User {
            teams: teams.iter().map(|team| TeamId::from(*team)).collect(),
            ..user("3", "team-x")
        };
        assert!(is_made(&change, &after(&["team-a", "team-x"]), &mapping));
        for teams in [&["team-x"][..], &["team-a"], &["team-a", "team-x", "team-y"]] {
            assert!(!is_made(&change, &after(teams), &mapping), "{teams:?}");
        }
        let gone = User { active: false, ..after(&["team-a", "team-x"]) };
        assert!(!is_made(&change, &gone, &mapping));
    }
}
