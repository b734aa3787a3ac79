//! A practice tenant and a rosterd that is configured for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::time::Duration;

use rosterd::clock::Clock;
use rosterd::model::{Role, TeamId, Timestamp, User, UserId};
use rosterd::practice::{self, Faults, Options, Practice, Stats, Tenant};
use secrecy::SecretString;
use tokio::runtime::Runtime;

use crate::home::{CLIENT_ID, CLIENT_SECRET, Home, RULES};

/// The teams of every user.
pub(crate) type Teams = BTreeMap<UserId, BTreeSet<TeamId>>;

/// A practice tenant, the clock that it lives by, and a rosterd beside it.
pub(crate) struct Rig {
    practice: Practice,
    clock: Clock,
    home: Home,
    _runtime: Runtime,
}

impl Deref for Rig {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

pub(crate) fn users(users: usize) -> Options {
    Options { users, ..Options::default() }
}

impl Rig {
    /// The tenant's clock stands still, a day ago, until [`Rig::advance`] moves it: what was changed before,
    /// at and after a watermark is no accident.
    pub(crate) fn still(options: Options) -> Self {
        let yesterday = Clock::system().now().minus(Duration::from_hours(24));
        let whole_seconds = Timestamp::from_millis(yesterday.millis() / 1000 * 1000);
        Self::new(options, Clock::manual(whole_seconds))
    }

    /// The tenant's clock runs.
    pub(crate) fn live(options: Options) -> Self {
        Self::new(options, Clock::system())
    }

    fn new(options: Options, clock: Clock) -> Self {
        let runtime = runtime();
        let client_secret = SecretString::from(CLIENT_SECRET);
        let options = Options { client_id: CLIENT_ID.to_owned(), client_secret, ..options };
        let practice = runtime.block_on(practice::start(options, clock.clone())).unwrap();
        let home = Home::new(&practice.base_url(), &practice.token_url());
        Self { practice, clock, home, _runtime: runtime }
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        self.practice.tenant()
    }

    pub(crate) fn practice(&self) -> &Practice {
        &self.practice
    }

    /// Moves the tenant's clock, so that what happened so far lies in the past.
    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.set(self.clock.now().plus(Duration::from_secs(seconds)));
    }

    pub(crate) fn faults(&self, faults: Faults) {
        self.tenant().set_faults(faults).unwrap();
    }

    pub(crate) fn stats(&self) -> Stats {
        self.tenant().stats()
    }

    /// PATCH calls so far.
    pub(crate) fn patches(&self) -> u64 {
        self.stats().count("PATCH /Users/{id}")
    }

    /// Users who are not where their roles ask for.
    pub(crate) fn misplaced(&self) -> Vec<UserId> {
        let wanted = self.wanted();
        self.teams().into_iter().filter(|(id, teams)| wanted[id] != *teams).map(|(id, _)| id).collect()
    }

    pub(crate) fn teams(&self) -> Teams {
        self.tenant().users().into_iter().map(|user| (user.id, user.teams)).collect()
    }

    /// Where every user belongs, as far as [`RULES`] are concerned.
    pub(crate) fn wanted(&self) -> Teams {
        self.tenant().users().into_iter().map(|user| (user.id.clone(), wanted(&user, &RULES))).collect()
    }

    /// One pass and all that follows from it, without anything left.
    #[track_caller]
    pub(crate) fn sync(&self) {
        self.run(&["sync"]).ended(0);
    }

    /// Every user is where his roles ask for, and where others have put him.
    #[track_caller]
    pub(crate) fn assert_right(&self) {
        assert_eq!(self.teams(), self.wanted());
    }

    /// The first user who fits.
    pub(crate) fn some(&self, fits: impl Fn(&User) -> bool) -> User {
        self.tenant().users().into_iter().find(fits).unwrap()
    }

    pub(crate) fn set_roles(&self, id: &UserId, roles: &[&str]) {
        self.tenant().set_roles(id, roles.iter().map(|role| Role::from(*role))).unwrap();
    }
}

/// The teams that a user should be in: those of his roles if he is active, and those that no rule names.
/// Written without any of the code that it judges.
pub(crate) fn wanted(user: &User, rules: &[(&str, &[&str])]) -> BTreeSet<TeamId> {
    let mut teams: BTreeSet<TeamId> = user.teams.clone();
    for (_, ours) in rules {
        teams.retain(|team| !ours.contains(&team.as_str()));
    }
    for (role, asked) in rules {
        if user.active && user.roles.contains(&Role::from(*role)) {
            teams.extend(asked.iter().map(|team| TeamId::from(*team)));
        }
    }
    teams
}

/// For tests that take the place of the binary, whose first act it is.
pub(crate) fn tls() {
    // A test beside this one may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
