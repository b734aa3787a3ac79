//! Whole records of users: all of them, page by page, or those with certain names. For files that say who is to be there.
//!
//! A record that is not what was asked for is never taken for it, whatever the tenant makes of a filter.

use std::collections::{BTreeMap, BTreeSet};

use super::complete::{Reading, Tally};
use super::users::{ListSettings, ReadError, repeat};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{UserId, UserKey};
use crate::scim::{Failure, ListQuery, Record, ServiceProvider, Verdict, read_record};

/// So many names are asked for in one call; a filter of that length still fits into an address.
pub const NAMES_AT_ONCE: usize = 20;

/// All users, as whole records.
#[derive(Debug)]
pub struct RecordList<'a, P> {
    provider: &'a P,
    settings: &'a ListSettings,
    clock: &'a Clock,
    chance: Chance,
    tally: Tally,
    next: Option<u64>,
    total: u64,
}

impl<'a, P: ServiceProvider> RecordList<'a, P> {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(provider: &'a P, settings: &'a ListSettings, clock: &'a Clock, chance: Chance) -> Self {
        Self { provider, settings, clock, chance, tally: Tally::default(), next: Some(1), total: 0 }
    }

    /// The next page, or `None` at the end. Between two pages the caller says with [`Self::new_users`] how many of them
    /// it had not seen before. A record that cannot be read is left out: nobody is found by it.
    ///
    /// # Errors
    /// When a page cannot be read, after several tries.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        let Some(start_index) = self.next else { return Ok(None) };
        let count = self.settings.page_size;
        let query = ListQuery { since: None, filter: self.settings.filter.clone(), start_index, count };
        let page = repeat(self.clock, self.chance, || self.provider.list_users(&query)).await;
        let place = || format!("users from position {start_index} on");
        let page = page.map_err(|failure| ReadError { place: place(), failure })?;
        let records: Vec<Record> =
            page.resources.iter().filter_map(|record| read_record(record.get().as_bytes()).ok()).collect();
        let shown = u64::try_from(page.resources.len()).unwrap_or(u64::MAX);
        let unreadable = shown - u64::try_from(records.len()).unwrap_or(shown);
        self.total = page.total;
        self.tally.page(count, shown, page.total);
        (0..unreadable).for_each(|_| self.tally.unreadable(None));
        if self.tally.too_many() {
            let failure = Failure::unreadable("the list has no end");
            return Err(ReadError { place: place(), failure });
        }
        self.next = Some(self.tally.records() + 1);
        Ok(Some(records))
    }

    /// So many users of the last page had not been read before.
    pub fn new_users(&mut self, new: u64) {
        if self.tally.new_users(self.settings.page_size, new) {
            let again = self.tally.end_run() == Reading::Again;
            self.next = again.then_some(1);
        }
    }

    /// How many users the tenant says it has, as of the last page.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }
}

/// How many users the tenant says it has.
///
/// # Errors
/// When it cannot be asked, after several tries.
pub async fn how_many(
    provider: &impl ServiceProvider,
    clock: &Clock,
    chance: Chance,
) -> Result<u64, ReadError> {
    let query = ListQuery { since: None, filter: None, start_index: 1, count: 1 };
    let page = repeat(clock, chance, || provider.list_users(&query)).await;
    page.map(|page| page.total)
        .map_err(|failure| ReadError { place: "the number of users".to_owned(), failure })
}

/// One user's whole record by his id; `None` when he is not there.
///
/// # Errors
/// When he cannot be read, after several tries.
pub async fn read_record_by_id(
    provider: &impl ServiceProvider,
    id: &UserId,
    clock: &Clock,
    chance: Chance,
) -> Result<Option<Record>, ReadError> {
    let error = |failure| ReadError { place: format!("user {id}"), failure };
    match repeat(clock, chance, || provider.get_user(id)).await {
        Ok(record) => {
            let record = read_record(&record).map_err(|reason| error(Failure::unreadable(reason)))?;
            Ok((record.id == *id).then_some(record))
        }
        Err(Failure { verdict: Verdict::Gone, .. }) => Ok(None),
        Err(failure) => Err(error(failure)),
    }
}

/// Whom a tenant shows when it is asked for users by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// Those of them whom it has.
    These(BTreeMap<UserKey, Record>),
    /// Somebody whom nobody asked for: it makes nothing of a filter, and who is not shown may be there all the same.
    Anybody,
}

/// Those of `keys` whom the tenant shows when it is asked for all of them at once, at most [`NAMES_AT_ONCE`]. Of several, who
/// is not among them is not proven to be missing: not every tenant understands `or`.
///
/// # Errors
/// When they cannot be asked for, after several tries.
pub async fn find_records(
    provider: &impl ServiceProvider,
    keys: &[UserKey],
    clock: &Clock,
    chance: Chance,
) -> Result<Shown, ReadError> {
    let filter = keys.iter().map(condition).collect::<Vec<_>>().join(" or ");
    let count = u32::try_from(keys.len() + 1).unwrap_or(u32::MAX);
    let filter = Some(("filter".to_owned(), filter));
    let query = ListQuery { since: None, filter, start_index: 1, count };
    let page = repeat(clock, chance, || provider.list_users(&query)).await;
    let page = page.map_err(|failure| ReadError { place: "users by name".to_owned(), failure })?;
    let records: Vec<Record> =
        page.resources.iter().filter_map(|record| read_record(record.get().as_bytes()).ok()).collect();
    if records.iter().any(|record| !keys.iter().any(|key| is_like(key, record))) {
        return Ok(Shown::Anybody);
    }
    Ok(Shown::These(meant(keys, &records)))
}

/// The same from the list of all users, for a tenant that makes nothing of a filter.
///
/// # Errors
/// When the list cannot be read, after several tries.
pub async fn list_records(
    provider: &impl ServiceProvider,
    keys: &[UserKey],
    settings: &ListSettings,
    (clock, chance): (&Clock, Chance),
) -> Result<BTreeMap<UserKey, Record>, ReadError> {
    let mut list = RecordList::new(provider, settings, clock, chance);
    let (mut found, mut seen) = (BTreeMap::new(), BTreeSet::new());
    while let Some(records) = list.next().await? {
        let before = seen.len();
        seen.extend(records.iter().map(|record| record.id.clone()));
        found.extend(meant(keys, &records));
        list.new_users(u64::try_from(seen.len() - before).unwrap_or(0));
    }
    Ok(found)
}

fn meant(keys: &[UserKey], records: &[Record]) -> BTreeMap<UserKey, Record> {
    let pair = |key: &UserKey| {
        let record = records.iter().find(|record| is_meant(key, record))?;
        Some((key.clone(), record.clone()))
    };
    keys.iter().filter_map(pair).collect()
}

/// A name in a filter is a JSON string (RFC 7644 §3.4.2.2).
fn condition(key: &UserKey) -> String {
    let (attribute, value) = match key {
        UserKey::Id(id) => ("id", id.as_str()),
        UserKey::UserName(name) => ("userName", name.as_str()),
        UserKey::ExternalId(id) => ("externalId", id.as_str()),
    };
    format!("{attribute} eq {}", serde_json::Value::from(value))
}

fn is_meant(key: &UserKey, record: &Record) -> bool {
    match key {
        UserKey::Id(id) => record.id == *id,
        UserKey::UserName(name) => record.user_name == name.to_lowercase(),
        UserKey::ExternalId(id) => record.external_id.as_deref() == Some(id),
    }
}

/// He may be shown to whoever asks for him, by a tenant that does not tell capital letters from small ones.
fn is_like(key: &UserKey, record: &Record) -> bool {
    match key {
        UserKey::ExternalId(id) => {
            record.external_id.as_ref().is_some_and(|shown| shown.to_lowercase() == id.to_lowercase())
        }
        UserKey::Id(_) | UserKey::UserName(_) => is_meant(key, record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_in_a_filter() {
        for (key, expected) in [
            (UserKey::ExternalId("HR-1".to_owned()), r#"externalId eq "HR-1""#),
            (UserKey::UserName(r#"a"b\c@example.com"#.to_owned()), r#"userName eq "a\"b\\c@example.com""#),
            (UserKey::Id(UserId::from("u-1")), r#"id eq "u-1""#),
        ] {
            assert_eq!(condition(&key), expected);
        }
    }

    #[test]
    fn whoever_is_shown_is_only_taken_for_whom_he_was_asked_for() {
        let record =
            read_record(br#"{"id": "u-1", "userName": "User-0001@example.com", "externalId": "HR-1"}"#)
                .unwrap();
        for (key, meant) in [
            (UserKey::Id(UserId::from("u-1")), true),
            (UserKey::Id(UserId::from("U-1")), false),
            (UserKey::UserName("user-0001@EXAMPLE.com".to_owned()), true),
            (UserKey::UserName("user-0002@example.com".to_owned()), false),
            (UserKey::ExternalId("HR-1".to_owned()), true),
            (UserKey::ExternalId("hr-1".to_owned()), false),
        ] {
            assert_eq!(is_meant(&key, &record), meant, "{key:?}");
        }
    }
}
