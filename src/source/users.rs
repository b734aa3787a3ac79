//! SCIM users: a list, page after page, or one by id.
//!
//! A page that fails or is broken is asked for again, and is never taken for an empty one. Only one page is
//! in memory at a time.

use std::time::Duration;

use tracing::{Instrument, warn};

use super::complete::{MOST_USERS, Reading, Tally};
use super::doubles::without_doubles;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{Timestamp, User, UserId};
use crate::scim::{
    Client, Failure, ListQuery, Page, RoleAttribute, ServiceProvider, Unreadable, Verdict, backoff, read_user,
};
use crate::telemetry;

/// A call that fails this often in a row is given up; with the waits between, after about half a minute.
const MOST_FAILURES: u32 = 7;
/// A tenant that answers nothing but 429 this often in a row has no call left for us.
const MOST_PAUSES: u32 = 20;

/// What is asked of the list of users.
#[derive(Clone, Debug)]
pub struct ListSettings {
    /// The name of the parameter that carries the filter, and the filter.
    pub filter: Option<(String, String)>,
    /// Users per page.
    pub page_size: u32,
    /// Which attribute holds the HR roles.
    pub role_attribute: RoleAttribute,
}

/// A page of users.
#[derive(Debug)]
pub struct Batch {
    /// Those who could be read.
    pub users: Vec<User>,
    /// Those who could not.
    pub unreadable: Vec<UnreadableAt>,
    /// Our clock when the page was asked for.
    pub read_at: Timestamp,
}

/// A record that could not be read, and where it stands.
#[derive(Debug)]
pub struct UnreadableAt {
    /// 1-based position in the list.
    pub position: u64,
    /// What is wrong with it.
    pub unreadable: Unreadable,
}

/// The users could not be read. What the tenant said is shown redacted.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {}{}", failure.status.map(|status| format!("{status}: ")).unwrap_or_default(),
    telemetry::redact::text(&failure.reason))]
pub struct ReadError {
    /// Which call.
    pub place: String,
    /// How it failed in the end.
    pub failure: Failure,
}

/// A list of users being read.
#[derive(Debug)]
pub struct UserList<'a, P> {
    provider: &'a P,
    settings: &'a ListSettings,
    since: Option<Timestamp>,
    clock: &'a Clock,
    chance: Chance,
    next: Option<u64>,
    tally: Tally,
    reading: Reading,
    pages: u64,
    date: Option<Timestamp>,
    newest: Option<Timestamp>,
}

impl<'a, P: ServiceProvider> UserList<'a, P> {
    /// All users, or those changed `since`.
    #[must_use]
    pub fn new(
        provider: &'a P,
        settings: &'a ListSettings,
        since: Option<Timestamp>,
        clock: &'a Clock,
        chance: Chance,
    ) -> Self {
        Self {
            provider,
            settings,
            since,
            clock,
            chance,
            next: Some(1),
            tally: Tally::default(),
            reading: Reading::Again,
            pages: 0,
            date: None,
            newest: None,
        }
    }

    /// The next page, or `None` at the end. Between two pages the caller says with [`Self::read_before`] who could not be read
    /// and was on an earlier one, and then with [`Self::new_users`] how many of the users it had not seen before.
    ///
    /// # Errors
    /// When a page cannot be read, after several tries.
    pub async fn next(&mut self) -> Result<Option<Batch>, ReadError> {
        let Some(start_index) = self.next else { return Ok(None) };
        let read_at = self.clock.now();
        let page = self.page(start_index).await?;
        self.pages += 1;
        self.date = self.date.or(page.date);
        let records = u64::try_from(page.resources.len()).unwrap_or(u64::MAX);
        let total = page.total;
        let batch = self.read(page, start_index, read_at);
        self.tally.page(self.settings.page_size, records, total);
        batch.unreadable.iter().for_each(|at| self.tally.unreadable(at.unreadable.id.as_ref()));
        batch.users.iter().for_each(|user| self.tally.read(&user.id));
        if self.tally.too_many() {
            let failure = broken(format!("the list has more than {MOST_USERS} users"));
            return Err(ReadError { place: place(start_index), failure });
        }
        self.next = Some(self.tally.records() + 1);
        Ok(Some(batch))
    }

    /// Users of whom a record was read before.
    pub fn read_before<'u>(&mut self, users: impl IntoIterator<Item = &'u UserId>) {
        users.into_iter().for_each(|user| self.tally.read(user));
    }

    /// So many users of the last page had not been read before. This decides whether there is another page, and after
    /// the last page of a run whether the list is read again.
    pub fn new_users(&mut self, new: u64) {
        if self.tally.new_users(self.settings.page_size, new) {
            self.reading = self.tally.end_run();
            self.next = (self.reading == Reading::Again).then_some(1);
        }
    }

    /// How complete the reading is, once [`Self::next`] has said `None`.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        self.reading
    }

    /// Pages read so far.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// `Date` of the first successful answer.
    #[must_use]
    pub const fn date(&self) -> Option<Timestamp> {
        self.date
    }

    /// The newest `lastModified` in the first answer: no change that comes while the list is read is older.
    #[must_use]
    pub const fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    async fn page(&self, start_index: u64) -> Result<Page, ReadError> {
        let count = self.settings.page_size;
        let query = ListQuery { since: self.since, filter: self.settings.filter.clone(), start_index, count };
        let span = telemetry::span::page(start_index, count);
        let tries = repeat(self.clock, self.chance, || self.provider.list_users(&query));
        tries.instrument(span).await.map_err(|failure| ReadError { place: place(start_index), failure })
    }

    fn read(&mut self, page: Page, start_index: u64, read_at: Timestamp) -> Batch {
        let (mut records, mut unreadable) = (Vec::with_capacity(page.resources.len()), Vec::new());
        for (position, record) in (start_index..).zip(page.resources) {
            match read_user(record.get().as_bytes(), self.settings.role_attribute) {
                Ok(user) => {
                    if self.pages == 1 {
                        self.newest = self.newest.max(user.last_modified);
                    }
                    records.push((position, user));
                }
                Err(reason) => unreadable.push(UnreadableAt { position, unreadable: reason }),
            }
        }
        let (users, contradicted) = without_doubles(records);
        unreadable.extend(contradicted);
        Batch { users, unreadable, read_at }
    }
}

fn place(start_index: u64) -> String {
    format!("users from position {start_index} on")
}

/// Reads one user; `None` when the tenant says in SCIM's form that he is no more.
///
/// # Errors
/// When he cannot be read, after several tries, or his record is broken.
pub async fn read_by_id(
    provider: &impl ServiceProvider,
    id: &UserId,
    role_attribute: RoleAttribute,
    clock: &Clock,
    chance: Chance,
) -> Result<Option<User>, ReadError> {
    let error = |failure| ReadError { place: format!("user {id}"), failure };
    let record = match repeat(clock, chance, || provider.get_user(id)).await {
        Ok(record) => record,
        Err(Failure { verdict: Verdict::Gone, .. }) => return Ok(None),
        Err(failure) => return Err(error(failure)),
    };
    let user = read_user(&record, role_attribute).map_err(|unreadable| error(broken(unreadable.reason)))?;
    if user.id == *id {
        Ok(Some(user))
    } else {
        Err(error(broken("the answer is another user's".to_owned())))
    }
}

/// Looks a user up by `userName`; `None` when the tenant has nobody of this name.
///
/// # Errors
/// When he cannot be read, after several tries, or his record is broken. The name is not in it.
pub async fn find_by_name(
    client: &Client,
    user_name: &str,
    role_attribute: RoleAttribute,
    clock: &Clock,
    chance: Chance,
) -> Result<Option<User>, ReadError> {
    let error = |failure| ReadError { place: "user by userName".to_owned(), failure };
    let record = repeat(clock, chance, || client.find_user(user_name)).await.map_err(error)?;
    let read = |record: Vec<u8>| read_user(&record, role_attribute);
    record.map(read).transpose().map_err(|unreadable| error(broken(unreadable.reason)))
}

fn broken(reason: String) -> Failure {
    let verdict = Verdict::Rejected;
    Failure { verdict, status: None, reason, correlation_id: None, answer: None, unclear: false }
}

/// Tries a read until it succeeds, is refused, or has failed too often.
pub(super) async fn repeat<T, F>(clock: &Clock, chance: Chance, read: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let (mut failures, mut pauses) = (0, 0);
    loop {
        let failure = match read().await {
            Ok(read) => return Ok(read),
            Err(failure) => failure,
        };
        let (sleeps, wait) = match failure.verdict {
            // The limiter holds the next call for as long as the tenant asked.
            Verdict::Throttled { wait } if pauses < MOST_PAUSES => {
                pauses += 1;
                (Duration::ZERO, wait.unwrap_or_default())
            }
            Verdict::Unavailable { wait } if failures + 1 < MOST_FAILURES => {
                failures += 1;
                let wait = backoff(failures, chance.draw()).max(wait.unwrap_or_default());
                (wait, wait)
            }
            _ => return Err(failure),
        };
        warn!(
            status = failure.status.map(i64::from),
            reason = %telemetry::redact::text(&failure.reason),
            correlation_id = failure.correlation_id.as_deref(),
            retry_at = %clock.now().plus(wait),
            "read failed"
        );
        clock.sleep(sleeps).await;
    }
}
