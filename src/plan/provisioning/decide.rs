//! What is done for a row of an HRIS export, from the row and from whom the tenant has. Pure.

use serde_json::{Map, Value};

use super::difference::{differences, laid_over};
use crate::model::{Action, Met, Outcome, ProfilePayload, Timestamp, UserId};

/// What to do with a user who is there already though he was to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// What differs is changed.
    Update,
    /// He is left alone.
    Skip,
    /// His row has failed.
    Fail,
}

/// How a user who is there is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateWith {
    /// By what differs (RFC 7644 §3.5.2).
    Patch,
    /// By his whole record (RFC 7644 §3.5.1).
    Put,
}

/// A user of the tenant whom a row means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// His id.
    pub user: UserId,
    /// His record.
    pub record: Map<String, Value>,
    /// When he was read by himself; `None` when he is one of a list.
    pub read_at: Option<Timestamp>,
    /// We have made him inactive, because no row named him.
    pub deactivated_by_us: bool,
}

/// What is done for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// Something is sent.
    Send {
        /// What it comes to.
        action: Action,
        /// What is sent.
        payload: ProfilePayload,
    },
    /// Nothing is.
    End {
        /// What has become of the row.
        outcome: Outcome,
        /// Why, if it is not as the row wants it.
        reason: Option<&'static str>,
    },
}

/// Decides about a row that wants `wanted`, when the tenant has `found`, who was looked up because of `met`.
#[must_use]
pub fn decide(
    wanted: &Map<String, Value>,
    found: Option<&Match>,
    met: Met,
    (on_conflict, update_with): (OnConflict, UpdateWith),
) -> Course {
    let Some(found) = found else { return create(wanted, met) };
    if met == Met::Conflict {
        match on_conflict {
            OnConflict::Update => {}
            OnConflict::Skip => return end(Outcome::Skipped, Some("he is there already")),
            OnConflict::Fail => {
                return end(Outcome::Failed, Some("he is there already, and on_conflict says fail"));
            }
        }
    }
    let mut wanted = wanted.clone();
    if found.deactivated_by_us {
        wanted.entry("active").or_insert(Value::Bool(true));
    }
    let changes = differences(&wanted, &found.record);
    if changes.is_empty() {
        // What nobody answered has been done.
        return end(if met == Met::Unclear { Outcome::Created } else { Outcome::Unchanged }, None);
    }
    let active = |user: &Map<String, Value>| user.get("active").and_then(Value::as_bool).unwrap_or(true);
    let reactivates = !active(&found.record) && active(&wanted) && wanted.contains_key("active");
    let action = if reactivates { Action::Reactivate } else { Action::Update };
    let payload = match update_with {
        UpdateWith::Patch => ProfilePayload::Update { changes },
        UpdateWith::Put => ProfilePayload::Replace {
            user: laid_over(&found.record, &wanted),
            paths: changes.into_iter().map(|change| change.path).collect(),
            read_at: found.read_at,
        },
    };
    Course::Send { action, payload }
}

fn create(wanted: &Map<String, Value>, met: Met) -> Course {
    match met {
        Met::Nothing | Met::Unclear => {
            let mut user = wanted.clone();
            user.entry("active").or_insert(Value::Bool(true));
            Course::Send { action: Action::Create, payload: ProfilePayload::Create { user } }
        }
        Met::Conflict => end(
            Outcome::Failed,
            Some("the tenant says that he is there already, but has nobody with this externalId or userName"),
        ),
        Met::Changed => end(Outcome::Failed, Some("he was deleted meanwhile")),
    }
}

const fn end(outcome: Outcome, reason: Option<&'static str>) -> Course {
    Course::End { outcome, reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Change;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { unreachable!("{value}") };
        map
    }

    fn wanted() -> Map<String, Value> {
        map(json!({"externalId": "HR-1", "userName": "user-0001@example.com", "title": "Agent"}))
    }

    fn found(record: Value) -> Match {
        let mut record = map(record);
        record.entry("externalId").or_insert(json!("HR-1"));
        record.entry("userName").or_insert(json!("user-0001@example.com"));
        Match { user: UserId::from("u-1"), record, read_at: None, deactivated_by_us: false }
    }

    fn course(found: Option<&Match>, met: Met, on_conflict: OnConflict) -> Course {
        decide(&wanted(), found, met, (on_conflict, UpdateWith::Patch))
    }

    fn update(action: Action, changes: &[(&str, Value)]) -> Course {
        let changes = changes
            .iter()
            .map(|(path, value)| Change { path: (*path).to_owned(), value: value.clone() })
            .collect();
        Course::Send { action, payload: ProfilePayload::Update { changes } }
    }

    #[test]
    fn nobody_is_there() {
        let mut user = wanted();
        user.insert("active".to_owned(), json!(true));
        let create = Course::Send { action: Action::Create, payload: ProfilePayload::Create { user } };
        assert_eq!(course(None, Met::Nothing, OnConflict::Update), create);
        assert_eq!(course(None, Met::Unclear, OnConflict::Update), create, "a look-up has said so");
        for met in [Met::Conflict, Met::Changed] {
            assert!(matches!(
                course(None, met, OnConflict::Update),
                Course::End { outcome: Outcome::Failed, .. }
            ));
        }
    }

    #[test]
    fn somebody_is_there() {
        let same = found(json!({"title": "Agent", "active": true}));
        let other = found(json!({"title": "Clerk", "active": true}));
        let title = update(Action::Update, &[("title", json!("Agent"))]);
        for (found, met, on_conflict, expected) in [
            (&same, Met::Nothing, OnConflict::Fail, end(Outcome::Unchanged, None)),
            (&same, Met::Unclear, OnConflict::Fail, end(Outcome::Created, None)),
            (&same, Met::Conflict, OnConflict::Update, end(Outcome::Unchanged, None)),
            (&other, Met::Nothing, OnConflict::Skip, title.clone()),
            (&other, Met::Unclear, OnConflict::Fail, title.clone()),
            (&other, Met::Changed, OnConflict::Fail, title.clone()),
            (&other, Met::Conflict, OnConflict::Update, title),
            (&other, Met::Conflict, OnConflict::Skip, end(Outcome::Skipped, Some("he is there already"))),
            (
                &same,
                Met::Conflict,
                OnConflict::Fail,
                end(Outcome::Failed, Some("he is there already, and on_conflict says fail")),
            ),
        ] {
            assert_eq!(course(Some(found), met, on_conflict), expected, "{met} {on_conflict:?}");
        }
    }

    #[test]
    fn whoever_was_made_inactive_is_made_active_again_when_the_row_says_so_or_when_it_was_us() {
        let inactive = found(json!({"title": "Agent", "active": false}));
        assert_eq!(course(Some(&inactive), Met::Nothing, OnConflict::Update), end(Outcome::Unchanged, None));
        let by_us = Match { deactivated_by_us: true, ..inactive.clone() };
        let again = update(Action::Reactivate, &[("active", json!(true))]);
        assert_eq!(course(Some(&by_us), Met::Nothing, OnConflict::Update), again);
        let mut row = wanted();
        row.insert("active".to_owned(), json!(true));
        let policy = (OnConflict::Update, UpdateWith::Patch);
        assert_eq!(decide(&row, Some(&inactive), Met::Nothing, policy), again);
        row.insert("active".to_owned(), json!(false));
        assert_eq!(decide(&row, Some(&by_us), Met::Nothing, policy), end(Outcome::Unchanged, None));
    }

    #[test]
    fn a_put_carries_the_whole_record() {
        let other = found(json!({"id": "u-1", "title": "Clerk", "nickName": "x", "meta": {}}));
        let course = decide(&wanted(), Some(&other), Met::Nothing, (OnConflict::Update, UpdateWith::Put));
        let Course::Send { action: Action::Update, payload: ProfilePayload::Replace { user, paths, .. } } =
            course
        else {
            unreachable!("{course:?}")
        };
        assert_eq!((&user["nickName"], &user["title"]), (&json!("x"), &json!("Agent")));
        assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["title"]);
    }
}
