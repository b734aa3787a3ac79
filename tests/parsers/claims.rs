//! What each parser promises for whatever it is given; the tests and the fuzz targets both ask for it.

use std::collections::BTreeSet;
use std::time::Duration;

use rosterd::config::{RulesForm, read_rules};
use rosterd::model::{Columns, RejectedRow, Timestamp};
use rosterd::plan::{Checker, Rules};
use rosterd::scim::{self, Page, RoleAttribute, read_user};
use rosterd::source::{Assignments, AttributeFile, Export, Form, UserFile};

/// 1 January 2026.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Whatever the bytes are: a page, whose records are users or unreadable, or a reason.
pub(crate) fn list(bytes: &[u8]) {
    let Ok(page) = Page::read(bytes, None) else { return };
    assert!(page.resources.len() <= 10_000 && page.resources.len() <= bytes.len());
    for record in &page.resources {
        for attribute in [RoleAttribute::Roles, RoleAttribute::Teams] {
            let id = match read_user(record.get().as_bytes(), attribute) {
                Ok(user) => {
                    assert!(user.roles.len() <= 10_000 && user.teams.len() <= 10_000);
                    Some(user.id)
                }
                Err(unreadable) => unreadable.id,
            };
            assert!(id.is_none_or(|id| (1..=512).contains(&id.as_str().len())));
        }
    }
}

/// Whatever the text is: rules that ask for something, or reasons.
pub(crate) fn mapping(text: &str) {
    for form in [RulesForm::Csv, RulesForm::Json] {
        match read_rules(text, form) {
            Ok(mapping) => {
                let rules = mapping.rules();
                assert!(rules.values().map(BTreeSet::len).sum::<usize>() <= text.len());
                assert!(rules.iter().all(|(role, teams)| !role.as_str().is_empty() && !teams.is_empty()));
                assert!(mapping.managed().iter().all(|team| !team.as_str().is_empty()));
            }
            Err(reasons) => assert!(!reasons.is_empty() && reasons.len() <= text.len() + 1, "{reasons:?}"),
        }
    }
}

/// Whatever the text is: no wait is longer than an hour.
pub(crate) fn retry_after(text: &str) {
    assert!(scim::retry_after(text, NOW).is_none_or(|wait| wait <= Duration::from_hours(1)));
}

/// Whatever the bytes are: rows of users or reasons, each on a line of its own, and every user with his names.
pub(crate) fn export(bytes: &[u8]) {
    let required = Rules::default().required;
    for form in [Form::Csv, Form::Jsonl] {
        let rows = Export::from_bytes(bytes.to_vec(), form, &Columns::default(), &required);
        let mut checker = Checker::new(Rules::default());
        let mut last = 0;
        for row in rows.into_iter().flatten().map_while(Result::ok) {
            let outcome = row.and_then(|row| {
                assert!(row.fields.len() <= bytes.len());
                checker.check(row)
            });
            let line = match outcome {
                Ok(wanted) => {
                    assert!(!wanted.external_id.is_empty() && wanted.user_name.contains('@'));
                    assert!(wanted.user["emails"][0]["primary"].as_bool().unwrap_or_default());
                    wanted.line
                }
                Err(rejected) => line_of(&rejected),
            };
            assert!(last < line && line <= bytes.len() as u64, "{line} after {last}");
            last = line;
        }
    }
}

/// Whatever the bytes are: attributes of users or reasons, each on a line of its own.
pub(crate) fn attributes(bytes: &[u8]) {
    let assignments = Assignments::parse(&["key=value".to_owned()], "-").unwrap_or_default();
    let files = [Form::Csv, Form::Jsonl].map(|form| AttributeFile::from_bytes(bytes.to_vec(), form, "-"));
    let users = UserFile::from_bytes(bytes.to_vec(), assignments);
    let rows = files.into_iter().flatten().map(|rows| rows.map_while(Result::ok).collect::<Vec<_>>());
    for rows in rows.chain(users.into_iter().map(|rows| rows.map_while(Result::ok).collect())) {
        let mut last = 0;
        for row in rows {
            let line = match row {
                Ok(wanted) => {
                    assert!(wanted.remove.iter().all(|key| !wanted.set.contains_key(key)));
                    wanted.line
                }
                Err(rejected) => line_of(&rejected),
            };
            assert!(last < line && line <= bytes.len() as u64, "{line} after {last}");
            last = line;
        }
    }
}

fn line_of(rejected: &RejectedRow) -> u64 {
    assert!(!rejected.faults.is_empty() && rejected.faults.iter().all(|fault| !fault.reason.is_empty()));
    rejected.line
}
