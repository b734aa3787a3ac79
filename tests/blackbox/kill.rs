//! The daemon is killed again and again, at any moment, while HR and others go on changing users and the tenant fails
//! now and then. In the end nothing is lost, and nobody else's membership was touched.
//!
//! `KILLS` says how often; 20 times if it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rosterd::model::{Role, TeamId, UserId};
use rosterd::practice::{Fault, Faults, Options, Tenant};

use crate::database::ask;
use crate::home::RULES;
use crate::process::Daemon;
use crate::rig::{Rig, Teams, users};

/// What is changed, and when the daemon dies, follows from it.
const SEED: u64 = 20_260_101;
/// A start takes about a tenth of it, and a pass and its delivery the rest.
const LONGEST_LIFE: Duration = Duration::from_millis(1500);
/// Teams that no rule names.
const BY_HAND: [&str; 2] = ["team-by-hand", "team-by-hand-too"];

fn kills() -> u32 {
    std::env::var("KILLS").map_or(20, |kills| kills.parse().unwrap())
}

/// The end of the changes, also when the test fails before it has come to it.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Roles, leavers and hand-made memberships change until the end; returns who is where by hand.
fn churn(tenant: &Tenant, ended: &AtomicBool) -> Teams {
    let mut dice = StdRng::seed_from_u64(SEED);
    let ids: Vec<UserId> = tenant.users().into_iter().map(|user| user.id).collect();
    let mut by_hand: Teams = BTreeMap::new();
    while !ended.load(Ordering::SeqCst) {
        let id = ids.choose(&mut dice).unwrap();
        match dice.random_range(0..8) {
            0 => tenant.set_active(id, dice.random_bool(0.7)).unwrap(),
            1 | 2 => {
                let team = TeamId::from(*BY_HAND.choose(&mut dice).unwrap());
                let teams = by_hand.entry(id.clone()).or_default();
                if !teams.remove(&team) {
                    teams.insert(team);
                }
                let others = tenant.user(id).unwrap().teams.into_iter().filter(|team| !is_by_hand(team));
                tenant.set_teams(id, others.chain(teams.iter().cloned())).unwrap();
            }
            _ => {
                let names = RULES.iter().map(|(role, _)| *role).chain(["HR_GUEST"]);
                let roles: Vec<Role> = names.filter(|_| dice.random_bool(0.3)).map(Role::from).collect();
                tenant.set_roles(id, roles).unwrap();
            }
        }
        // So that it goes on beside the daemon, and does not starve it.
        thread::sleep(Duration::from_millis(dice.random_range(0..25)));
    }
    by_hand
}

fn is_by_hand(team: &TeamId) -> bool {
    BY_HAND.contains(&team.as_str())
}

/// Starts the daemon and kills it, after a time that hits starts as well as passes and delivery.
fn live_and_die(rig: &Rig, dice: &mut StdRng) {
    let life = LONGEST_LIFE.mul_f64(if dice.random_bool(0.3) { 0.1 } else { 1.0 } * dice.random::<f64>());
    let daemon = Daemon::spawn(rig.command(&["run"]));
    // The moment has to be a random one: nothing is waited for here.
    thread::sleep(life);
    daemon.kill();
}

#[test]
fn killed_at_any_moment_it_loses_nothing() {
    let faults = Faults { error_rate: 0.05, lost_answer_rate: 0.1, cut_body_rate: 0.02, ..Faults::default() };
    let rig = Rig::live(Options {
        faults,
        page_cap: 10,
        latency: Duration::from_millis(5),
        rate_per_second: Some(250.0),
        burst: 10,
        ..users(80)
    });
    // The tenant allows less than the daemon believes; and whoever is edited all the time conflicts all the time.
    rig.set(
        "schedule = \"* * * * * *\"\nsweep_schedule = \"*/3 * * * * *\"\noverlap = \"2m\"\n\
         delivery.max_attempts = 100",
    );
    let ended = AtomicBool::new(false);
    let by_hand = thread::scope(|scope| {
        let churning = scope.spawn(|| churn(rig.tenant(), &ended));
        let end = End(&ended);
        let mut dice = StdRng::seed_from_u64(SEED + 1);
        for _ in 0..kills() {
            live_and_die(&rig, &mut dice);
        }
        drop(end);
        churning.join().unwrap()
    });

    let stats = rig.stats();
    for fault in [Fault::Error, Fault::LostAnswer] {
        assert!(stats.faults.get(&fault).is_some_and(|times| *times > 0), "{fault:?}: {:?}", stats.faults);
    }
    assert!(rig.patches() > u64::from(kills()), "{} writes", rig.patches());
    assert_eq!(ask(&rig.database(), "PRAGMA integrity_check"), "ok");
    rig.run(&["audit", "verify"]).ended(0);
    rig.faults(Faults::default());
    rig.run(&["sync", "--full"]).ended(0).says("0 still waiting, 0 dead letters");
    rig.assert_right();
    for (id, teams) in rig.teams() {
        let kept: BTreeSet<TeamId> = teams.into_iter().filter(is_by_hand).collect();
        assert_eq!(kept, by_hand.get(&id).cloned().unwrap_or_default(), "{id}");
    }
    let patches = rig.patches();
    rig.run(&["sync", "--full"]).ended(0).says("0 planned");
    assert_eq!(rig.patches(), patches);
    assert_eq!(ask(&rig.database(), "PRAGMA integrity_check"), "ok");
    rig.run(&["audit", "verify"]).ended(0);
    let done = ask(&rig.database(), "SELECT json_group_array(id) FROM operations WHERE state = 'done'");
    let audit = std::fs::read_to_string(rig.path("audit.jsonl")).unwrap();
    let operation = |line: &str| Some(line.split_once("\"operation\":")?.1.split_once(',')?.0.to_owned());
    let applied: BTreeSet<String> = audit.lines().filter_map(operation).collect();
    let mut done = done.trim_matches(['[', ']']).split(',');
    assert!(done.all(|id| applied.contains(id)), "each change that was applied has its line");
    let interrupted = ask(&rig.database(), "SELECT count(*) FROM passes WHERE reason = 'interrupted'");
    assert_ne!(interrupted, "0", "no pass was hit");
}
