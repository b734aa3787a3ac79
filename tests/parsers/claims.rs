//! What each parser promises for whatever it is given; the tests and the fuzz targets both ask for it.

use std::collections::BTreeSet;
use std::time::Duration;

use rosterd::config::{RulesForm, read_rules};
use rosterd::model::Timestamp;
use rosterd::scim::{self, Page, RoleAttribute, read_user};

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
