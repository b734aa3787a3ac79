//! Commands beside a running daemon: they go through it, follow what becomes of it, and never do half of it.

use rosterd::clock::Clock;
use rosterd::model::TenantId;
use rosterd::practice::Faults;
use rosterd::store::{Request, Store};
use serde_json::{Value, json};

use crate::home::{RULES, TENANT};
use crate::process::{Daemon, until};
use crate::rig::{Rig, runtime, users};

/// A daemon whose schedule does nothing for a long time: what happens was asked for.
fn asleep(rig: &Rig) -> Daemon {
    rig.set("schedule = \"0 0 0 1 1 *\"\nsweep_schedule = \"0 0 0 1 1 *\"");
    let daemon = Daemon::start(rig);
    daemon.until_said("pass finished");
    until("all is delivered", || rig.misplaced().is_empty());
    until("and that is known", || open(rig) == 0);
    daemon
}

fn open(rig: &Rig) -> u64 {
    let operations = rig.status()["operations"].take();
    ["ready", "in_flight", "stale"].iter().map(|state| operations[state].as_u64().unwrap()).sum()
}

fn someone_changes(rig: &Rig) {
    let user = rig.some(|user| user.active);
    let (role, _) = RULES.into_iter().find(|(role, _)| !user.roles.contains(&(*role).into())).unwrap();
    rig.set_roles(&user.id, &[role]);
}

/// Somebody who owns the database and does nothing: a daemon that hangs.
struct Occupied {
    runtime: tokio::runtime::Runtime,
    store: Store,
}

impl Occupied {
    fn new(rig: &Rig) -> Self {
        let runtime = runtime();
        let store = runtime.block_on(Store::own(&rig.database(), Clock::system().now())).unwrap();
        store.announce_daemon().unwrap();
        Self { runtime, store }
    }

    fn open(&self) -> Vec<Request> {
        self.runtime.block_on(self.store.open_requests(&TenantId::from(TENANT))).unwrap()
    }

    fn until_asked(&self) -> Request {
        until("somebody asks", || !self.open().is_empty());
        self.open().remove(0)
    }

    fn take(&self) {
        self.runtime.block_on(self.store.take(&TenantId::from(TENANT), Clock::system().now())).unwrap();
    }

    /// Ends like a process that is killed.
    fn end(self) -> Store {
        self.store
    }
}

#[test]
fn a_sync_beside_a_daemon_goes_through_it() {
    let rig = Rig::live(users(60));
    let daemon = asleep(&rig);
    let (role, _) = RULES[0];
    let moved: Vec<_> = rig.tenant().users().into_iter().filter(|user| user.active).take(7).collect();
    for user in &moved {
        rig.set_roles(&user.id, &[role]);
    }
    let misplaced = rig.misplaced().len();
    let ran = rig.run(&["sync", "--full", "--json"]).ended(0);
    let ran = ran.complains(&format!("a daemon owns the database (process {})", daemon.pid()));
    rig.assert_right();
    let end = ran.json()["tenants"][0].take();
    assert_eq!(
        (&end["kind"], &end["result"], &end["users_read"], &end["planned"]),
        (&json!("sweep"), &json!("ok"), &json!(60), &json!(misplaced))
    );
    assert_eq!(
        (&end["delivered"], &end["waiting"], &end["exit_code"]),
        (&json!(misplaced), &json!(0), &json!(0))
    );

    someone_changes(&rig);
    let text = rig.run(&["sync"]).ended(0).says("acme: delta pass ").says(" 0 still waiting, 0 dead letters");
    assert!(!text.stdout.contains(" 0 planned"), "{}", text.stdout);
    rig.assert_right();
    let ended = daemon.stop().with(0);
    assert_eq!(ended.said("request carried out"), 2);
}

#[test]
fn a_sync_through_the_daemon_ends_with_the_same_code_as_alone() {
    let rig = Rig::live(users(30));
    let id = rig.misplaced()[0].clone();
    rig.faults(Faults { fail_users: [(id.to_string(), 400)].into(), ..Faults::default() });
    rig.set("schedule = \"0 0 0 1 1 *\"");
    let daemon = Daemon::start(&rig);
    daemon.until_said("operation is a dead letter");
    rig.run(&["sync"]).ended(3).says("0 still waiting, 1 dead letter");
    rig.faults(Faults { outage: true, ..Faults::default() });
    let ran = rig.run(&["sync", "--json"]).ended(69).complains("acme: users could not be read");
    assert_eq!(ran.json()["tenants"][0]["exit_code"], 69);
    daemon.stop().with(0);
}

#[test]
fn several_who_ask_at_once_are_answered_one_after_the_other() {
    let rig = Rig::live(users(30));
    let daemon = asleep(&rig);
    let home: &crate::home::Home = &rig;
    let sync: (&crate::home::Home, &[&str]) = (home, &["sync", "--full"]);
    for ran in crate::home::Home::run_all(&[sync; 3]) {
        ran.ended(0).says("30 users read");
    }
    let ended = daemon.stop().with(0);
    assert_eq!(ended.said("request carried out"), 3);
}

#[test]
fn status_shows_who_is_at_work_and_what_is_asked() {
    let rig = Rig::still(users(10));
    rig.sync();
    let status = |rig: &Rig| rig.run(&["status", "--json"]).ended(0).json();
    assert_eq!(status(&rig)["owner"], Value::Null);
    rig.run(&["status"]).ended(0).says("no daemon is at work");
    let owner = Occupied::new(&rig);
    let sync = Daemon::spawn(rig.command(&["sync"]));
    let asked = owner.until_asked();
    let seen = status(&rig);
    assert_eq!(seen["owner"]["pid"], std::process::id());
    let request = &seen["tenants"][0]["requests"][0];
    assert_eq!((&request["id"], &request["what"]), (&json!(asked.id), &json!("sync")));
    assert_eq!(request["operator"], json!(rosterd::daemon::operator()));
    rig.run(&["status"]).says(&format!("process {} is at work", std::process::id())).says("sync, asked ");
    sync.signal("INT");
    sync.wait().with(1);
}

#[test]
fn an_interrupted_command_takes_its_request_back() {
    let rig = Rig::still(users(10));
    rig.sync();
    let owner = Occupied::new(&rig);
    let sync = Daemon::spawn(rig.command(&["sync"]));
    owner.until_asked();
    sync.signal("INT");
    let ended = sync.wait().with(1);
    assert!(ended.err.concat().contains("the request is withdrawn and nothing was done"), "{:?}", ended.err);
    assert!(owner.open().is_empty());

    // One that was taken is not theirs to take back.
    let sync = Daemon::spawn(rig.command(&["sync"]));
    let asked = owner.until_asked();
    owner.take();
    sync.signal("INT");
    let ended = sync.wait().with(1);
    assert!(ended.err.concat().contains("the daemon has begun with it and goes on"), "{:?}", ended.err);
    assert_eq!(owner.open()[0].id, asked.id);
}

#[test]
fn a_daemon_that_ends_meanwhile_is_noticed_and_the_request_is_withdrawn() {
    for taken in [false, true] {
        let rig = Rig::still(users(10));
        rig.sync();
        let owner = Occupied::new(&rig);
        let sync = Daemon::spawn(rig.command(&["sync"]));
        owner.until_asked();
        if taken {
            owner.take();
        }
        drop(owner.end());
        let ended = sync.wait().with(1);
        let said = ended.err.concat();
        assert!(said.contains("the daemon has stopped before it had answered"), "{said}");
        assert_eq!(said.contains("some of it may have been done"), taken, "{said}");
        assert_eq!(rig.status()["requests"], json!([]));
        rig.sync();
    }
}

/// The next owner does what a killed one had begun.
#[test]
fn what_a_killed_owner_had_taken_is_taken_again() {
    let rig = Rig::still(users(20));
    rig.sync();
    let owner = Occupied::new(&rig);
    let tenant = TenantId::from(TENANT);
    let ask = rosterd::daemon::Ask::Sync { full: true };
    let left = owner.store.leave(&tenant, ask.as_str(), &ask, None, Clock::system().now());
    let id = owner.runtime.block_on(left).unwrap();
    owner.take();
    drop(owner.end());
    rig.set("schedule = \"0 0 0 1 1 *\"");
    let daemon = Daemon::start(&rig);
    until("it is answered", || rig.status()["requests"] == json!([]));
    daemon.until_said("request carried out");
    daemon.stop().with(0);
    let owner = Occupied::new(&rig);
    let request = owner.runtime.block_on(owner.store.request(id)).unwrap().unwrap();
    let answer: Value = serde_json::from_str(&request.answer.unwrap()).unwrap();
    assert_eq!((&answer["answer"], &answer["report"]["kind"]), (&json!("synced"), &json!("sweep")));
}

#[test]
fn a_request_that_is_not_understood_is_refused() {
    let rig = Rig::still(users(20));
    rig.sync();
    let owner = Occupied::new(&rig);
    let tenant = TenantId::from(TENANT);
    let ask = json!({ "ask": "dance" });
    let left = owner.store.leave(&tenant, "dance", &ask, None, Clock::system().now());
    let id = owner.runtime.block_on(left).unwrap();
    drop(owner.end());
    rig.set("schedule = \"0 0 0 1 1 *\"");
    let daemon = Daemon::start(&rig);
    until("it is answered", || rig.status()["requests"] == json!([]));
    daemon.stop().with(0);
    let owner = Occupied::new(&rig);
    let request = owner.runtime.block_on(owner.store.request(id)).unwrap().unwrap();
    assert!(request.answer.unwrap().contains("cannot be understood"));
}

/// A tenant that was added to the configuration, and the daemon was not told.
#[test]
fn a_tenant_that_the_daemon_does_not_know_is_refused() {
    let (rig, other) = (Rig::live(users(10)), Rig::still(users(10)));
    let daemon = asleep(&rig);
    rig.and_other(
        &other.practice().base_url(),
        &other.practice().token_url(),
        "mapping.HR_SALES = \"team-sales\"",
    );
    rig.run(&["sync", "--tenant", "other"]).ended(1).complains("the daemon has no tenant other; SIGHUP");
    assert_eq!(other.stats().requests.len(), 0);
    daemon.signal("HUP");
    daemon.until_said("configuration reloaded");
    rig.run(&["sync", "--full", "--tenant", "other"]).ended(0).says("other: ").says("10 users read");
    daemon.stop().with(0);
}

#[test]
fn letters_are_moved_by_the_daemon_if_there_is_one() {
    let rig = Rig::live(users(30));
    let id = rig.misplaced()[0].clone();
    rig.faults(Faults { fail_users: [(id.to_string(), 400)].into(), ..Faults::default() });
    rig.set("schedule = \"0 0 0 1 1 *\"");
    let daemon = Daemon::start(&rig);
    daemon.until_said("operation is a dead letter");
    until("the others are delivered", || rig.misplaced() == [id.clone()]);
    rig.faults(Faults::default());
    let said = "a daemon owns the database";
    rig.run(&["dead-letters", "replay", "--all"])
        .ended(0)
        .says("1 dead letter will be sent again")
        .complains(said);
    until("it is delivered", || rig.misplaced().is_empty());
    rig.run(&["dead-letters", "replay", "--all"]).ended(0).says("0 dead letters");
    assert_eq!(daemon.stop().with(0).said("request carried out"), 1);
}

/// The audit says "approved", and the owner dies before he has done it.
#[test]
fn what_may_stand_in_the_audit_is_carried_out_at_the_next_start() {
    let rig = Rig::still(users(60));
    rig.set("guard.max_removals = 0\nschedule = \"0 0 0 1 1 *\"");
    let ran = rig.run(&["sync"]).ended(3);
    let mut said = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let digest = said.find_map(|line| line["digest"].as_str().map(ToOwned::to_owned)).unwrap();
    let owner = Occupied::new(&rig);
    let approve = Daemon::spawn(rig.command(&["approve", &digest]));
    let asked = owner.until_asked();
    owner.take();
    owner.runtime.block_on(owner.store.bind(asked.id)).unwrap();
    drop(owner.end());
    let ended = approve.wait().with(1);
    let said = ended.err.concat();
    assert!(said.contains("goes on with it at its next start"), "{said}");
    assert!(!said.contains("withdrawn"), "{said}");
    assert_eq!(rig.status()["requests"][0]["id"], json!(asked.id));
    let daemon = Daemon::start(&rig);
    daemon.until_said("request carried out");
    until("it is answered", || rig.status()["requests"] == json!([]));
    assert_eq!(rig.status()["operations"]["held"], 0);
    daemon.stop().with(0);
    let audit = std::fs::read_to_string(rig.path("audit.jsonl")).unwrap();
    assert_eq!(audit.matches(r#""event":"approved""#).count(), 1);
}
