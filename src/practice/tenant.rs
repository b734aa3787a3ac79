//! The tenant itself: its state, and what a program in the same process may ask and change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::Options;
use super::answer::Refusal;
use super::bucket::Bucket;
use super::bulk::Jobs;
use super::creates::{Creates, Ledger};
use super::directory::Directory;
use super::faults::{Dice, Faults, WrongFault};
use super::oauth::Tokens;
use super::population;
use super::record::{Draft, Kind, Record, View};
use super::stats::Stats;
use super::webhooks::{Inbox, Webhook};
use crate::clock::Clock;
use crate::model::{Role, TeamId, Timestamp, User, UserId};

/// There is no such user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the practice tenant has no user {0}")]
pub struct NoSuchUser(pub UserId);

/// A handle on a practice tenant; cheap to clone. It sees and changes the tenant as HR would, without
/// HTTP, rate limit and faults.
#[derive(Clone)]
pub struct Tenant(Arc<Inner>);

struct Inner {
    options: Options,
    clock: Clock,
    origin: String,
    stop: CancellationToken,
    directory: Mutex<Directory>,
    dice: Mutex<Dice>,
    stats: Mutex<Stats>,
    tokens: Mutex<Tokens>,
    jobs: Mutex<Jobs>,
    creates: Mutex<Ledger>,
    inbox: Mutex<Inbox>,
    bucket: Option<Mutex<Bucket>>,
    answers: AtomicU64,
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").field("origin", &self.0.origin).finish_non_exhaustive()
    }
}

/// A panic while a lock was held is that call's failure, not the end of the tenant.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tenant {
    pub(super) fn new(
        options: Options,
        clock: Clock,
        origin: String,
        stop: CancellationToken,
    ) -> Result<Self, Refusal> {
        let seed = options.seed;
        let mut directory = Directory::new(seed);
        population::fill(&mut directory, options.users, seed, clock.now())?;
        let bucket =
            options.rate_per_second.map(|rate| Mutex::new(Bucket::new(rate, options.burst, clock.instant())));
        Ok(Self(Arc::new(Inner {
            dice: Mutex::new(Dice::new(options.faults.clone(), seed)),
            stats: Mutex::default(),
            tokens: Mutex::new(Tokens::new(seed)),
            jobs: Mutex::default(),
            creates: Mutex::default(),
            inbox: Mutex::default(),
            directory: Mutex::new(directory),
            bucket,
            answers: AtomicU64::new(0),
            options,
            clock,
            origin,
            stop,
        })))
    }

    /// All users in the order of the list.
    #[must_use]
    pub fn users(&self) -> Vec<User> {
        self.directory().shelf(Kind::User).all().map(to_user).collect()
    }

    /// One user.
    #[must_use]
    pub fn user(&self, id: &UserId) -> Option<User> {
        self.directory().shelf(Kind::User).get(id.as_str()).map(to_user)
    }

    /// Gives a user exactly these HR roles.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_roles(&self, id: &UserId, roles: impl IntoIterator<Item = Role>) -> Result<(), NoSuchUser> {
        let roles: Value = roles.into_iter().map(|role| json!({ "value": role.as_str() })).collect();
        self.change(id, |user| {
            user.insert("roles".to_owned(), roles);
        })
    }

    /// Puts a user into exactly these teams.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_teams(&self, id: &UserId, teams: impl IntoIterator<Item = TeamId>) -> Result<(), NoSuchUser> {
        let teams: Value = teams.into_iter().map(|team| json!({ "value": team.as_str() })).collect();
        self.change(id, |user| {
            user.insert("teams".to_owned(), teams);
        })
    }

    /// Makes a user a leaver, or takes him back.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_active(&self, id: &UserId, active: bool) -> Result<(), NoSuchUser> {
        self.change(id, |user| {
            user.insert("active".to_owned(), active.into());
        })
    }

    /// Adds an active user with these roles and no teams: number 7 is `user-0007@practice.example`, `E-0007`.
    ///
    /// # Errors
    /// When there is a user with this number already.
    pub fn add_user(&self, number: usize, roles: &[Role]) -> Result<UserId, NumberTaken> {
        let roles: Vec<&str> = roles.iter().map(Role::as_str).collect();
        let taken = |_| NumberTaken(number);
        let draft = population::draft::<_, &str>(number, true, &roles, &[]).map_err(taken)?;
        let id = self.directory().create(Kind::User, draft, self.now()).map_err(taken)?;
        Ok(UserId::new(&*id))
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn delete_user(&self, id: &UserId) -> Result<(), NoSuchUser> {
        let missing = |_| NoSuchUser(id.clone());
        let mut directory = self.directory();
        let user = directory.get(Kind::User, id.as_str()).map_err(missing)?;
        if let Some(external_id) = user.attributes.get("externalId").and_then(Value::as_str) {
            self.creates().deleted(external_id);
        }
        directory.delete(Kind::User, id.as_str(), self.now()).map_err(missing)
    }

    /// The creates that came in, by `externalId`.
    #[must_use]
    pub fn creates_by_external_id(&self) -> BTreeMap<String, Creates> {
        self.creates().all().clone()
    }

    /// The messages that came in at `/practice/webhook` and are kept, the oldest first.
    #[must_use]
    pub fn webhooks(&self) -> Vec<Webhook> {
        self.inbox().all()
    }

    /// What the tenant has seen so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.book().clone()
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.dice().faults.clone()
    }

    /// Puts exactly these faults in force; `revoke_tokens` acts at once and does not stay.
    ///
    /// # Errors
    /// When a rate or a status cannot be; then the old faults stay.
    pub fn set_faults(&self, mut faults: Faults) -> Result<(), WrongFault> {
        faults.check()?;
        if std::mem::take(&mut faults.revoke_tokens) {
            self.revoke_tokens();
        }
        self.dice().faults = faults;
        Ok(())
    }

    /// Makes all tokens that were given out invalid.
    pub fn revoke_tokens(&self) {
        self.tokens().revoke();
    }

    fn change(&self, id: &UserId, edit: impl FnOnce(&mut Map<String, Value>)) -> Result<(), NoSuchUser> {
        let missing = |_| NoSuchUser(id.clone());
        let moving = self.faults().moving_list;
        let mut directory = self.directory();
        let mut user = directory.get(Kind::User, id.as_str()).map_err(missing)?.draft(Kind::User);
        edit(&mut user);
        let draft = Draft::read(Kind::User, user).map_err(missing)?;
        commit(&mut directory, Kind::User, id.as_str(), draft, self.now(), moving).map_err(missing)?;
        Ok(())
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(super) fn stopped(&self) -> &CancellationToken {
        &self.0.stop
    }

    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        lock(&self.0.directory)
    }

    pub(super) fn dice(&self) -> MutexGuard<'_, Dice> {
        lock(&self.0.dice)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Stats> {
        lock(&self.0.stats)
    }

    pub(super) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        lock(&self.0.tokens)
    }

    pub(super) fn jobs(&self) -> MutexGuard<'_, Jobs> {
        lock(&self.0.jobs)
    }

    pub(super) fn creates(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.0.creates)
    }

    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.0.inbox)
    }

    pub(super) fn origin(&self) -> &str {
        &self.0.origin
    }

    /// Takes a call from the rate limit, or says how long to wait.
    pub(super) fn admit(&self) -> Result<(), std::time::Duration> {
        let Some(bucket) = &self.0.bucket else { return Ok(()) };
        lock(bucket).take(self.0.clock.instant())
    }

    /// The tenant as it looks from one of its bases.
    pub(super) fn view(&self, base: &str) -> View {
        View { base: format!("{}{base}", self.0.origin), etag: self.0.options.etag }
    }

    /// A number for each answer, in the form of a correlation id.
    pub(super) fn correlation_id(&self) -> String {
        let number = self.0.answers.fetch_add(1, Ordering::Relaxed) + 1;
        uuid::Builder::from_random_bytes(u128::from(number).to_be_bytes()).into_uuid().to_string()
    }
}

/// The number of a new user is in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the practice tenant already has a user with the number {0}")]
pub struct NumberTaken(pub usize);

/// Changes a resource; in a moving list whoever was changed goes to the front.
pub(super) fn commit(
    directory: &mut Directory,
    kind: Kind,
    id: &str,
    draft: Draft,
    now: Timestamp,
    moving: bool,
) -> Result<bool, Refusal> {
    let changed = directory.update(kind, id, draft, now)?;
    if changed && moving {
        directory.shelf_mut(kind).move_to_front(id);
    }
    Ok(changed)
}

fn to_user(record: &Record) -> User {
    let values = |name: &str| record.attributes.get(name).and_then(Value::as_array).into_iter().flatten();
    User {
        id: UserId::new(&*record.id),
        active: record.attributes.get("active").and_then(Value::as_bool).unwrap_or(true),
        roles: values("roles").filter_map(|role| role["value"].as_str()).map(Role::from).collect(),
        teams: record.links.iter().map(|id| TeamId::new(&**id)).collect::<BTreeSet<_>>(),
        version: Some(record.tag()),
        last_modified: Some(record.modified),
    }
}
