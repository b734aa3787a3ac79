//! One run: steps happen, what must always hold is looked at after each, and what must hold in the end at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rosterd::clock::Clock;
use rosterd::config::{self, Sources, TenantSettings};
use rosterd::model::{PassKind, Role, TeamId, TeamPatch, Timestamp, UserId};
use rosterd::plan::{Limit, Limits, Mapping};
use rosterd::store::{HoldDecision, Store};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use crate::house::House;
use crate::steps::{Case, MANAGEABLE, ROLES, Rules, Step, TEAMS};
use crate::tenant::{By, Tenant};

/// 1 January 2026.
const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// Between two steps.
const TICK: Duration = Duration::from_millis(211);
/// By then all is quiet.
const ROUNDS: u32 = 12;
/// No wait of the daemon's is longer.
const LONGEST_WAIT: Duration = Duration::from_mins(22);

/// A case that runs.
pub(crate) struct World {
    house: House,
    tenant: Tenant,
    mappings: Vec<Mapping>,
    mapping: usize,
    created: usize,
    /// A hold was.
    discarded: bool,
    /// Users whom the daemon has ever known.
    met: BTreeSet<String>,
    database: SqliteConnection,
    _folder: TempDir,
}

/// Runs one case, on a runtime of its own.
///
/// # Panics
/// With what went wrong.
pub(crate) fn run(case: &Case) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(case).await;
        for step in &case.steps {
            world.step(step).await;
            world.check(&format!("{step:?}")).await;
        }
        world.finish().await;
    });
}

impl World {
    async fn new(case: &Case) -> Self {
        let clock = Clock::driven(START);
        let tenant = Tenant::new(case.nature, clock.clone());
        let mappings: Vec<Mapping> = case.mappings.iter().copied().map(mapping).collect();
        for (number, (roles, teams)) in case.people.iter().enumerate() {
            tenant.create(&id(number), bits(&ROLES, *roles), &named(&TEAMS, *teams), number);
        }
        // What there was at the start is older than anything that happens.
        clock.advance(Duration::from_hours(1));
        let folder = folder();
        let path = folder.path().join("rosterd.db");
        std::fs::copy(template(), &path).unwrap();
        let house = House::new(tenant.clone(), clock, settings(case, &mappings[0]), path.clone()).await;
        let options = SqliteConnectOptions::new().filename(&path).read_only(true);
        let database = SqliteConnection::connect_with(&options).await.unwrap();
        Self {
            house,
            tenant,
            mappings,
            mapping: 0,
            created: case.people.len(),
            discarded: false,
            met: BTreeSet::new(),
            database,
            _folder: folder,
        }
    }

    /// The user who is meant, if there is any.
    fn user(&self, number: u8) -> Option<UserId> {
        let state = self.tenant.state();
        let users: Vec<&UserId> = state.people.keys().collect();
        (!users.is_empty()).then(|| users[usize::from(number) % users.len()].clone())
    }

    async fn step(&mut self, step: &Step) {
        self.house.elapse(TICK).await;
        if let Some((user, step)) =
            of_a_user(step).and_then(|(number, step)| Some((self.user(number)?, step)))
        {
            return self.change(&user, step).await;
        }
        match *step {
            Step::Create { roles, teams, place } => {
                let id = id(self.created);
                self.created += 1;
                self.tenant.create(&id, bits(&ROLES, roles), &named(&TEAMS, teams), usize::from(place));
            }
            Step::Fail { call, fault, times } => self.tenant.fail(call, fault, u32::from(times)),
            Step::Land => self.tenant.land(),
            Step::OurClock { by } => {
                let by = i64::from(by) * 1000;
                self.tenant.our_clock_was_set(by);
                self.house.clock.set(Timestamp::from_millis(self.house.clock.now().millis() + by));
            }
            Step::TheirClock { by } => self.tenant.set_clock(i64::from(by) * 1000),
            Step::Elapse { by } => self.house.elapse(Duration::from_secs(u64::from(by))).await,
            Step::Mapping { which } => {
                self.mapping = usize::from(which) % self.mappings.len();
                self.house.settings.mapping = self.mappings[self.mapping].clone();
                self.house.reload().await;
            }
            Step::Reload => self.house.reload().await,
            Step::Crash { arrives } => self.house.crash(arrives).await,
            Step::CrashIn { steps, arrives } => self.house.crash_in(u32::from(steps), arrives).await,
            Step::Sweep => self.house.tick(PassKind::Sweep).await,
            Step::Delta => self.house.tick(PassKind::Delta).await,
            Step::Pass { calls } => self.house.pass(u32::from(calls)).await,
            Step::Deliver { calls } => self.house.deliver(u32::from(calls)).await,
            Step::Go => self.house.go(20, Duration::ZERO).await,
            Step::Decide { approve } => {
                let decision = if approve { HoldDecision::Approve } else { HoldDecision::Discard };
                self.decide(decision).await;
            }
            Step::Replay => self.house.replay().await,
            _ => {}
        }
    }

    async fn change(&mut self, user: &UserId, step: &Step) {
        let team = |team: u8| TEAMS[usize::from(team)];
        let leaves = matches!(step, Step::Delete { .. } | Step::Active { active: false, .. });
        if leaves && self.house.passing() {
            self.tenant.vanishes();
        }
        match *step {
            Step::Roles { roles, .. } => self.tenant.edit(user, |it| it.roles = bits(&ROLES, roles)),
            Step::Active { active, .. } => self.tenant.edit(user, |it| it.active = active),
            Step::Delete { .. } => self.tenant.delete(user),
            Step::Put { team: to, .. } => {
                let granted = self.granted(user, team(to)).await;
                self.tenant.put(user, team(to), granted);
            }
            Step::TakeOut { team: from, .. } => self.tenant.take_out(user, team(from)),
            Step::Move { place, .. } => self.tenant.move_to(user, usize::from(place)),
            Step::Garble { times, .. } => {
                self.tenant.state().people.get_mut(user).unwrap().garbled = u32::from(times);
            }
            _ => {}
        }
    }

    /// The oldest hold is decided about, between two passes.
    async fn decide(&mut self, decision: HoldDecision) {
        if self.house.passing() {
            return;
        }
        let holds = self.house.store().holds(None).await.unwrap();
        if let Some(hold) = holds.first() {
            self.discarded |= decision == HoldDecision::Discard;
            self.house.decide(hold, decision).await;
        }
    }

    /// Whether the daemon believes that it has put this user into this team.
    async fn granted(&mut self, user: &UserId, team: &str) -> bool {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM grants WHERE user_id = $1 AND team = $2)")
            .bind(user.as_str())
            .bind(team)
            .fetch_one(&mut self.database)
            .await
            .unwrap()
    }

    /// What must always hold.
    async fn check(&mut self, after: &str) {
        let violations = self.tenant.state().violations.clone();
        assert!(violations.is_empty(), "after {after}: {violations:?}");
        // Only a pass or a start moves what is known.
        if std::mem::take(&mut self.house.moved) {
            let unread = self.unread().await;
            assert!(unread.is_empty(), "after {after}, the watermark has passed changes of {unread:?}");
        }
    }

    /// Users changed before the watermark whose change is not known, and who are not about to be read by id.
    ///
    /// When a list loses somebody who was read and gains somebody else, the number of users is right though a third was moved
    /// to a page that had been read: the next sweep finds him. A clock that was set back makes dates that nobody can go by, until the next sweep. Lists that do not show
    /// leavers hide that somebody has left, until the next sweep.
    async fn unread(&mut self) -> Vec<UserId> {
        let known: Vec<(String, Option<i64>, bool, String, String)> =
            sqlx::query_as("SELECT id, last_modified, active, roles, teams FROM users")
                .fetch_all(&mut self.database)
                .await
                .unwrap();
        let wanted: Vec<String> =
            sqlx::query_scalar("SELECT user_id FROM rereads UNION SELECT user_id FROM hold_missing")
                .fetch_all(&mut self.database)
                .await
                .unwrap();
        self.met.extend(known.iter().map(|row| row.0.clone()));
        let Some(watermark) = self.watermark().await else { return Vec::new() };
        let known: BTreeMap<&str, _> = known.iter().map(|row| (row.0.as_str(), row)).collect();
        let state = self.tenant.state();
        if state.vanished.is_some() {
            return Vec::new();
        }
        let hides_leavers = !state.nature.lists_inactive;
        let unread = state.people.iter().filter(|(id, person)| {
            let excused = person.backdated.is_some()
                || (hides_leavers && !person.active)
                || wanted.iter().any(|user| user == id.as_str());
            let read = known.get(id.as_str()).is_some_and(|(_, modified, active, roles, teams)| {
                modified.is_some_and(|modified| modified >= person.modified.millis())
                    || (*active == person.active
                        && *roles == text(&person.roles)
                        && *teams == text(&person.teams.keys().collect()))
            });
            person.modified < watermark && !excused && !read
        });
        unread.map(|(id, _)| id.clone()).collect()
    }

    async fn watermark(&mut self) -> Option<Timestamp> {
        let watermark: Option<Option<i64>> = sqlx::query_scalar("SELECT watermark FROM tenants")
            .fetch_optional(&mut self.database)
            .await
            .unwrap();
        watermark.flatten().map(Timestamp::from_millis)
    }

    /// Nothing goes wrong any more: in the end everybody is where he should be.
    ///
    /// A mapping whose remap was discarded is tried again at the next start, and not before.
    async fn finish(&mut self) {
        self.tenant.calm();
        if self.discarded {
            self.house.reload().await;
        }
        let mut rounds = 0;
        loop {
            let writes = self.tenant.state().writes;
            self.house.replay().await;
            self.house.tick(PassKind::Sweep).await;
            self.house.go(60, LONGEST_WAIT).await;
            while !self.house.store().holds(None).await.unwrap().is_empty() {
                self.decide(HoldDecision::Approve).await;
            }
            let mut left = self.left().await;
            if !left.is_empty() {
                self.house.elapse(LONGEST_WAIT).await;
                self.house.go(60, LONGEST_WAIT).await;
                left = self.left().await;
            }
            self.check("one of the last rounds").await;
            if left.is_empty() && self.tenant.state().writes == writes {
                break;
            }
            rounds += 1;
            assert!(rounds < ROUNDS, "it does not come to an end: {left}");
        }
        self.assert_right();
    }

    /// What is left to be done.
    async fn left(&mut self) -> String {
        let store = self.house.store();
        let counts = store.operation_counts(self.house.name()).await.unwrap();
        let open = store.open_work(self.house.name()).await.unwrap();
        let holds = store.holds(None).await.unwrap();
        let remap = self.house.remap_due().await;
        if open + counts.dead + counts.held == 0 && holds.is_empty() && !remap {
            return String::new();
        }
        format!("{open} open, {counts:?}, {} holds, remap due: {remap}", holds.len())
    }

    /// Every user is in exactly the teams that he should be in.
    ///
    /// Where lists do not show leavers, the daemon cannot know of one whom it had not met before he left.
    fn assert_right(&self) {
        let mapping = &self.mappings[self.mapping];
        let state = self.tenant.state();
        for (id, person) in &state.people {
            if !person.active && !state.nature.lists_inactive && !self.met.contains(id.as_str()) {
                continue;
            }
            let roles: BTreeSet<Role> = person.roles.iter().map(|role| Role::from(role.as_str())).collect();
            let wanted = wanted(mapping, &roles, person.active);
            for team in TEAMS {
                let by = person.teams.get(team);
                let (team, managed) = (TeamId::from(team), mapping.managed().contains(&TeamId::from(team)));
                if managed {
                    assert_eq!(by.is_some(), wanted.contains(&team), "{id} in {team}: {person:?}");
                } else {
                    assert_ne!(
                        by,
                        Some(&By::Us),
                        "{id} is left in {team}, which has left the mapping: {person:?}"
                    );
                }
            }
        }
    }
}

/// The teams that a user should be in, as far as they are managed. Written without any of the code that it judges.
fn wanted(mapping: &Mapping, roles: &BTreeSet<Role>, active: bool) -> BTreeSet<TeamId> {
    let asking = mapping.rules().iter().filter(|(role, _)| active && roles.contains(*role));
    asking.flat_map(|(_, teams)| teams.clone()).collect()
}

fn of_a_user(step: &Step) -> Option<(u8, &Step)> {
    match step {
        Step::Roles { user, .. }
        | Step::Active { user, .. }
        | Step::Delete { user }
        | Step::Put { user, .. }
        | Step::TakeOut { user, .. }
        | Step::Move { user, .. }
        | Step::Garble { user, .. } => Some((*user, step)),
        _ => None,
    }
}

fn id(number: usize) -> UserId {
    UserId::from(format!("user-{number:02}"))
}

fn named(names: &[&str], bits: u8) -> Vec<String> {
    let set = names.iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
    set.map(|(_, name)| (*name).to_owned()).collect()
}

fn bits(names: &[&str], bits: u8) -> BTreeSet<String> {
    named(names, bits).into_iter().collect()
}

fn text<T: AsRef<str> + Ord>(set: &BTreeSet<T>) -> String {
    serde_json::json!(set.iter().map(AsRef::as_ref).collect::<Vec<&str>>()).to_string()
}

fn mapping(rules: Rules) -> Mapping {
    let teams = &TEAMS[..MANAGEABLE as usize];
    let rules =
        rules.into_iter().zip(ROLES).filter(|(bits, _)| *bits != 0).map(|(bits, role)| {
            (Role::from(role), named(teams, bits).into_iter().map(TeamId::from).collect())
        });
    Mapping::new(rules.collect())
}

fn settings(case: &Case, mapping: &Mapping) -> TenantSettings {
    static SETTINGS: OnceLock<TenantSettings> = OnceLock::new();
    let mut settings = SETTINGS.get_or_init(configured).clone();
    settings.mapping = mapping.clone();
    settings.reading.overlap = Duration::from_secs(u64::from(case.overlap));
    settings.policy.team_patch = if case.add_remove { TeamPatch::AddRemove } else { TeamPatch::Replace };
    if case.guard {
        let percent = |percent| Limit { percent: Some(percent), users: None };
        settings.guard.limits = Limits {
            removals: percent(30.0),
            changes: percent(60.0),
            missing_percent: 40.0,
            min_users: 1,
            ..Limits::default()
        };
    }
    settings
}

/// From a file, as an operator's: every default is the real one. Three users are too few for the guard's percentages.
fn configured() -> TenantSettings {
    let folder = folder();
    let file = folder.path().join("rosterd.toml");
    let text = r#"
        [tenants.acme]
        base_url = "http://127.0.0.1:1"
        client_id = { env = "CLIENT" }
        client_secret = { env = "CLIENT" }
        token_url = "http://127.0.0.1:1"
        page_size = 2
        delivery.workers = 2
        delivery.max_attempts = 4
        [tenants.acme.mapping]
        role-1 = "team-a"
    "#;
    std::fs::write(&file, text).unwrap();
    let env = [("CLIENT".to_owned(), "practice".to_owned())].into();
    let settings = config::load(&Sources { files: vec![file], env }).unwrap();
    settings.tenants.into_values().next().unwrap()
}

/// In memory if there is such a place: thousands of databases are made.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}

/// An empty database with its tables; to make them takes longer than most cases.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = TEMPLATE.get_or_init(|| {
        let folder = folder();
        let path = folder.path().join("template.db");
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let place = path.clone();
        let make =
            move || runtime().block_on(async { Store::own(&place, START).await.unwrap().close().await });
        std::thread::spawn(make).join().unwrap();
        (folder, path)
    });
    path
}
