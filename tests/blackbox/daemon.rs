//! `run`: the daemon as an operator has it, with signals, kills, and commands beside it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rosterd::model::{Role, TeamId, UserId};
use rosterd::practice::{Fault, Faults, Options};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::home::{RULES, TENANT};
use crate::process::{Daemon, until};
use crate::rig::{Rig, users, wanted};
use crate::scripted::{Scripted, etags, header, list, parameter, refusal, user};

/// A pass each second, over a tenant whose clock runs.
fn every_second(options: Options) -> Rig {
    let rig = Rig::live(options);
    rig.set("schedule = \"* * * * * *\"\noverlap = \"2m\"");
    rig
}

/// More keys beside those of [`every_second`].
fn also(rig: &Rig, keys: &str) {
    rig.set(&format!("schedule = \"* * * * * *\"\noverlap = \"2m\"\n{keys}"));
}

fn until_right(rig: &Rig) {
    until("every user is where his roles ask for", || rig.misplaced().is_empty());
}

/// An active user, and a role that is not his.
fn someone_else(rig: &Rig) -> (UserId, &'static str) {
    let user = rig.some(|user| user.active);
    let (role, _) = RULES.into_iter().find(|(role, _)| !user.roles.contains(&Role::from(*role))).unwrap();
    (user.id, role)
}

#[test]
fn it_begins_with_a_pass_and_then_follows_its_schedule() {
    let rig = every_second(users(80));
    let daemon = Daemon::start(&rig);
    until_right(&rig);
    for _ in 0..2 {
        let (id, role) = someone_else(&rig);
        rig.set_roles(&id, &[role]);
        until_right(&rig);
    }
    let ended = daemon.stop().with(0);
    for message in ["stopping", "stopped"] {
        assert_eq!(ended.said(message), 1, "{message}");
    }
    assert_eq!(ended.err, Vec::<String>::new());
    assert_eq!(rig.stats().patches_without_effect, 0);
    assert_eq!(rig.status()["passes"][0]["kind"], "delta");
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_leaves_the_rest_for_later() {
    let rig = every_second(Options { latency: Duration::from_millis(100), ..users(150) });
    also(&rig, "delivery.workers = 4");
    let misplaced = rig.misplaced().len() as u64;
    let daemon = Daemon::start(&rig);
    until("delivery is under way", || rig.patches() >= 8);
    let ended = daemon.stop().with(0);
    let sent = rig.patches();
    assert!(sent < misplaced, "it was stopped in the middle: {sent} of {misplaced}");
    assert_eq!(rig.stats().in_flight, 0);
    let operations = rig.status()["operations"].take();
    assert_eq!((operations["delivered"].as_u64(), operations["in_flight"].as_u64()), (Some(sent), Some(0)));
    assert_eq!(operations["ready"].as_u64(), Some(misplaced - sent));
    assert_eq!(ended.said("operation delivered") as u64, sent);

    rig.sync();
    rig.assert_right();
    assert_eq!((rig.patches(), rig.stats().patches_without_effect), (misplaced, 0));
}

#[test]
fn sigterm_breaks_off_a_pass_and_nothing_of_it_counts() {
    let rig = every_second(Options { latency: Duration::from_millis(100), page_cap: 5, ..users(100) });
    let daemon = Daemon::start(&rig);
    until("it reads", || rig.stats().users_listed >= 10);
    let ended = daemon.stop().with(0);
    assert_eq!((ended.said("pass broken off"), ended.said("pass finished")), (1, 0));
    let status = rig.status();
    assert_eq!((&status["users"], &status["watermark"], rig.patches()), (&json!(0), &Value::Null, 0));
    assert_eq!(status["passes"][0]["result"], "failed");
    rig.sync();
    rig.assert_right();
}

#[test]
fn a_sync_stops_softly_too() {
    let rig = Rig::live(Options { latency: Duration::from_millis(100), ..users(100) });
    let misplaced = rig.misplaced().len() as u64;
    let sync = Daemon::spawn(rig.command(&["sync", "--json"]));
    until("delivery is under way", || rig.patches() >= 12);
    sync.signal("INT");
    let ended = sync.wait().with(3);
    let answer: Value = serde_json::from_str(&ended.out.concat()).unwrap();
    let sent = rig.patches();
    assert_eq!(answer["tenants"][0]["delivered"].as_u64(), Some(sent));
    assert_eq!(answer["tenants"][0]["waiting"].as_u64(), Some(misplaced - sent));
    rig.sync();
    rig.assert_right();
    assert_eq!((rig.patches(), rig.stats().patches_without_effect), (misplaced, 0));
}

/// Calls hang, so a soft stop would have to wait for them.
#[test]
fn a_second_signal_stops_at_once() {
    let rig = every_second(Options { latency: Duration::from_millis(50), ..users(100) });
    also(&rig, "delivery.workers = 4");
    let daemon = Daemon::start(&rig);
    until("delivery is under way", || rig.patches() >= 4);
    rig.faults(Faults { timeout_rate: 1.0, ..Faults::default() });
    until("calls hang", || rig.stats().faults.contains_key(&Fault::Timeout));
    daemon.signal("TERM");
    daemon.until_said("stopping");
    daemon.signal("INT");
    let ended = daemon.wait().with(1);
    assert_eq!(ended.said("stopped with operations in flight"), 1);
    rig.faults(Faults::default());
    rig.sync();
    rig.assert_right();
}

#[test]
fn a_stop_waits_no_longer_than_its_grace() {
    let rig = every_second(users(60));
    rig.write(
        "more.toml",
        &format!("shutdown_grace = \"200ms\"\n[tenants.{TENANT}]\ndelivery.rate_per_second = 100"),
    );
    let daemon = Daemon::start(&rig);
    until("delivery is under way", || rig.patches() >= 4);
    rig.faults(Faults { timeout_rate: 1.0, ..Faults::default() });
    until("calls hang", || rig.stats().faults.contains_key(&Fault::Timeout));
    let ended = daemon.stop().with(0);
    assert_eq!(ended.said("stopped with operations in flight"), 1);
    assert_eq!(ended.said("stopped"), 1);
    rig.faults(Faults::default());
    rig.sync();
    rig.assert_right();
}

#[test]
fn sighup_with_a_faulty_file_changes_nothing() {
    let rig = every_second(users(40));
    let daemon = Daemon::start(&rig);
    until_right(&rig);
    also(&rig, "pagesize = 3\nworkers = 4");
    daemon.signal("HUP");
    daemon.until_said("configuration refused");
    let line = daemon.lines().into_iter().find(|line| line["message"] == "configuration refused").unwrap();
    for key in ["tenants.acme.pagesize", "tenants.acme.workers", "more.toml"] {
        assert!(line["reason"].as_str().unwrap().contains(key), "{line}");
    }
    let (id, role) = someone_else(&rig);
    rig.set_roles(&id, &[role]);
    until_right(&rig);
    daemon.stop().with(0);
}

#[test]
fn sighup_with_another_mapping_puts_everybody_where_it_says() {
    let rig = every_second(users(60));
    let daemon = Daemon::start(&rig);
    until_right(&rig);
    also(&rig, "mapping.HR_SALES = [\"team-sales\", \"team-finance\"]\nmapping.HR_GUEST = \"team-support\"");
    daemon.signal("HUP");
    daemon.until_said("configuration reloaded");
    let mut rules = RULES.to_vec();
    rules.retain(|(role, _)| *role != "HR_SALES");
    rules.extend([("HR_SALES", &["team-sales", "team-finance"][..]), ("HR_GUEST", &["team-support"])]);
    until("the new rules are in force", || {
        rig.tenant().users().iter().all(|user| user.teams == wanted(user, &rules))
    });
    let ended = daemon.stop().with(0);
    assert_eq!(ended.said("rosterd started"), 1, "it is still the same process");
}

#[test]
fn sighup_reads_a_mapping_file_again() {
    let rig = every_second(users(30));
    let text = fs::read_to_string(rig.path("rosterd.toml")).unwrap();
    let (without_mapping, _) = text.split_once("[tenants.acme.mapping]").unwrap();
    rig.write("rosterd.toml", &format!("{without_mapping}mapping_file = \"mapping.csv\""));
    rig.write("mapping.csv", "role,team\nHR_SALES,team-sales\n");
    let daemon = Daemon::start(&rig);
    let follows = |rules: &[(&str, &[&str])]| {
        until("the file is in force", || {
            rig.tenant().users().iter().all(|user| user.teams == wanted(user, rules))
        });
    };
    follows(&[("HR_SALES", &["team-sales"])]);
    rig.write("mapping.csv", "role,team\nHR_SALES,team-sales;team-finance\n");
    daemon.signal("HUP");
    follows(&[("HR_SALES", &["team-sales", "team-finance"])]);
    daemon.stop().with(0);
}

#[test]
fn beside_a_daemon_others_may_look_and_ask_but_there_is_no_second_one() {
    let rig = every_second(users(30));
    let daemon = Daemon::start(&rig);
    until_right(&rig);
    let words = format!("another rosterd owns this database (process {})", daemon.pid());
    rig.run(&["run"]).ended(1).complains(&words);
    assert_eq!(rig.status()["users"], 30);
    rig.run(&["plan", "--full"]).ended(0).says("30 users read, 0 to change");
    rig.run(&["dead-letters", "list"]).ended(0);
    daemon.stop().with(0);
}

#[test]
fn a_letter_that_is_replayed_beside_the_daemon_is_delivered_by_it() {
    let rig = every_second(users(30));
    let id = rig.misplaced()[0].clone();
    rig.faults(Faults { fail_users: [(id.to_string(), 400)].into(), ..Faults::default() });
    let daemon = Daemon::start(&rig);
    daemon.until_said("operation is a dead letter");
    until("the others are delivered", || rig.misplaced() == [id.clone()]);
    rig.faults(Faults::default());
    rig.run(&["dead-letters", "replay", "--all"]).ended(0).says("1 dead letter");
    until_right(&rig);
    daemon.stop().with(0);
}

/// Killed while it reads, and three times while it delivers; nothing is lost, and nothing is done that was not
/// in flight at a kill.
#[test]
fn a_kill_at_any_time_is_not_an_event() {
    const WORKERS: u64 = 4;
    let rig =
        every_second(Options { latency: Duration::from_millis(20), page_cap: 10, etag: false, ..users(200) });
    also(&rig, &format!("delivery.workers = {WORKERS}"));
    let misplaced = rig.misplaced().len() as u64;
    let daemon = Daemon::start(&rig);
    until("it reads", || rig.stats().users_listed >= 50);
    daemon.kill();
    assert_eq!(
        (rig.patches(), rig.status()["operations"]["ready"].as_u64()),
        (0, Some(0)),
        "nothing is half done"
    );

    for _ in 0..3 {
        let sent = rig.patches();
        let daemon = Daemon::start(&rig);
        until("it delivers", || rig.patches() > sent + 5);
        daemon.kill();
    }
    assert!(!rig.misplaced().is_empty(), "it was killed in the middle");
    rig.sync();
    rig.assert_right();
    let (patches, needless) = (rig.patches(), rig.stats().patches_without_effect);
    assert!(patches - misplaced <= 3 * WORKERS && needless <= 3 * WORKERS, "{patches} for {misplaced}");
    let interrupted = |pass: &&Value| pass["reason"] == "interrupted";
    assert_eq!(rig.status()["operations"]["in_flight"], 0);
    assert!(rig.status()["passes"].as_array().unwrap().iter().filter(interrupted).count() >= 1);
}

#[test]
fn an_outage_is_survived_without_a_dead_letter() {
    let rig = every_second(Options { latency: Duration::from_millis(10), ..users(120) });
    let daemon = Daemon::start(&rig);
    until("delivery is under way", || rig.patches() >= 5);
    rig.faults(Faults { outage: true, ..Faults::default() });
    daemon.until_said("tenant does not answer");
    rig.faults(Faults::default());
    until_right(&rig);
    daemon.until_said("tenant answers again");
    daemon.stop().with(0);
    assert_eq!(rig.status()["operations"]["dead_letters"], 0);
}

#[test]
fn a_daemon_whose_tenant_refuses_it_at_first_waits_for_better_times() {
    let rig = every_second(users(20));
    rig.faults(Faults { reject_token_credentials: true, ..Faults::default() });
    let daemon = Daemon::start(&rig);
    until("a pass has failed", || daemon.lines().iter().any(|line| line["result"] == "failed"));
    rig.faults(Faults::default());
    until_right(&rig);
    daemon.stop().with(0);
}

/// The daemon sends nothing that waits from before its start until it has read what is new.
#[test]
fn what_waits_at_the_start_is_not_sent_before_a_pass() {
    let rig = every_second(Options { etag: false, ..users(40) });
    rig.run(&["sync", "--wait", "0s"]).ended(3);
    let waits = rig.some(|user| user.active && rig.misplaced().contains(&user.id));
    // Meanwhile somebody puts the user into another team by hand.
    let by_hand = waits.teams.iter().cloned().chain([TeamId::from("team-by-hand")]);
    rig.tenant().set_teams(&waits.id, by_hand).unwrap();
    rig.faults(Faults { page_without_resources: 1, ..Faults::default() });
    let daemon = Daemon::start(&rig);
    until_right(&rig);
    daemon.stop().with(0);
    assert!(rig.teams()[&waits.id].contains(&TeamId::from("team-by-hand")));
}

/// A user has changed between our reading and our writing, and the daemon dies before it has read him again.
#[test]
fn a_user_who_must_be_read_again_is_not_forgotten_by_a_restart() {
    let phase = Arc::new(AtomicUsize::new(0));
    let tenant = Scripted::new({
        let phase = phase.clone();
        move |name, request| {
            let versioned = |version: &str| {
                let mut user = user("u-1", &["HR_SALES"], &[]);
                user["meta"] = json!({ "version": version });
                user
            };
            let restarted = phase.load(Ordering::SeqCst) > 0;
            match name {
                "GET /ServiceProviderConfig" => Some(etags(true)),
                "GET /Users" if parameter(request, "since").is_none() => Some(list(&[versioned("W/\"1\"")])),
                "GET /Users"
                    if parameter(request, "since").as_deref() == Some("1970-01-01T00:00:00.000Z") =>
                {
                    Some(list(&[versioned("W/\"1\"")]))
                }
                "GET /Users" => Some(list(&[])),
                "GET /Users/u-1" if restarted => {
                    Some(ResponseTemplate::new(200).set_body_json(versioned("W/\"2\"")))
                }
                "GET /Users/u-1" => Some(refusal(503, "come back later")),
                "PATCH /Users/u-1" if header(request, "if-match").as_deref() == Some("W/\"2\"") => {
                    Some(ResponseTemplate::new(204))
                }
                "PATCH /Users/u-1" => Some(refusal(412, "changed meanwhile")),
                _ => None,
            }
        }
    });
    tenant.set("schedule = \"* * * * * *\"");
    let daemon = Daemon::start(&tenant);
    until("he is read again", || !tenant.named("GET /Users/u-1").is_empty());
    daemon.kill();
    phase.store(1, Ordering::SeqCst);
    let daemon = Daemon::start(&tenant);
    until("he is delivered", || daemon.said("operation delivered") == 1);
    daemon.stop().with(0);
    assert_eq!(tenant.status()["rereads"], 0);
}

/// Each pass takes longer than the second between two ticks.
#[test]
fn a_tick_during_a_pass_is_skipped_and_passes_never_overlap() {
    let rig = every_second(Options { latency: Duration::from_millis(120), page_cap: 3, ..users(30) });
    rig.set("schedule = \"* * * * * *\"\noverlap = \"1day\"");
    let daemon = Daemon::spawn(rig.command(&["--log-level", "debug", "run"]));
    until("three passes", || daemon.said("pass finished") >= 3);
    let ended = daemon.stop().with(0);
    assert!(ended.said("delta ticks skipped during a pass") >= 1);
    let status = rig.status();
    let passes = status["passes"].as_array().unwrap();
    assert!(passes.len() >= 3);
    for pair in passes.windows(2) {
        let (newer, older) = (&pair[0], &pair[1]);
        assert!(older["finished_at"].as_str() <= newer["started_at"].as_str(), "{older} {newer}");
    }
}
