//! `provision` is killed in the middle of its work, again and again, and run again: every good row is carried out exactly once,
//! every wrong one is told of.
//!
//! The moments are those at which the tenant has heard of so many creates; so each kill hits another stage.

use std::time::Duration;

use rosterd::practice::{BulkMode, Fault, Faults, Options};
use serde_json::json;
use wiremock::ResponseTemplate;

use super::people::{assert_there, export, known, newcomer, rig_of, writes};
use super::{lines, quick};
use crate::database::{ask, execute, number};
use crate::process::{Daemon, until};
use crate::rig::{Rig, users};
use crate::scripted::{Scripted, list, page, parameter};

const GOOD: usize = 90;

/// Every tenth row is wrong; the other numbers are good.
fn file() -> String {
    let row = |number: usize| {
        if number.is_multiple_of(10) { format!("HR-{number:04},no-mail,,,,,,") } else { newcomer(number) }
    };
    export((1..=GOOD + GOOD / 9).map(row))
}

fn good() -> impl Iterator<Item = usize> {
    (1..=GOOD + GOOD / 9).filter(|number| number % 10 != 0)
}

fn heard(rig: &Rig) -> u64 {
    rig.tenant().creates_by_external_id().values().map(|creates| creates.received).sum()
}

/// Starts it, and kills it once the tenant has heard of `creates` more.
fn live_and_die(rig: &Rig, creates: u64) {
    let goal = heard(rig) + creates;
    let run = Daemon::spawn(rig.command(&["provision", "hr.csv"]));
    until("so many creates have arrived", || heard(rig) >= goal);
    run.kill();
}

/// In the end.
fn assert_whole(rig: &Rig) {
    rig.faults(Faults::default());
    let told = rig.run(&["provision", "hr.csv", "--json", "--report", "report.csv"]).ended(3).json();
    let (created, rejected) = (&told["created"], &told["rejected"]);
    assert_eq!((created, rejected), (&json!(GOOD), &json!(GOOD / 9)), "{told:#}");
    assert_eq!((&told["run"], &told["processed"], &told["open"]), (&json!(1), &json!(100), &json!(0)));
    let wrong: Vec<u64> =
        told["faults"].as_array().unwrap().iter().map(|fault| fault["line"].as_u64().unwrap()).collect();
    assert!((1..=10_u64).all(|at| wrong.contains(&(at * 10 + 1))), "{wrong:?}");
    assert_there(rig, 3, good());
    let once = rig.tenant().creates_by_external_id().into_values().all(|creates| creates.created == 1);
    assert!(once, "{:#?}", rig.tenant().creates_by_external_id());
    let report = std::fs::read_to_string(rig.path("report.csv")).unwrap();
    assert_eq!(report.lines().count(), 101, "the report adds up");
    assert_eq!(report.matches(",created,").count(), GOOD);
    assert_eq!(ask(&rig.database(), "PRAGMA integrity_check"), "ok");
    rig.run(&["audit", "verify"]).ended(0);
    rig.run(&["provision", "hr.csv"]).ended(3).says("run 2 of").says("90 unchanged, 10 rejected\n");
    assert_there(rig, 3, good());
}

fn rig(bulk: BulkMode, mode: &str, faults: Faults) -> Rig {
    let latency = Duration::from_millis(20);
    let rig =
        rig_of(Options { bulk, bulk_max_operations: 10, bulk_polls: 2, latency, faults, ..users(3) }, mode);
    // So slow that there is time to be killed in.
    rig.set(&format!("{}\ndelivery.rate_per_second = 60\ndelivery.burst = 5", quick(mode)));
    rig.write("hr.csv", &file());
    rig
}

#[test]
fn killed_between_single_calls_it_repeats_none() {
    let rig = rig(BulkMode::Off, "off", Faults { lost_answer_rate: 0.1, ..Faults::default() });
    // One that has only begun, and four in the middle.
    for creates in [0, 1, 12, 20, 25] {
        live_and_die(&rig, creates);
    }
    assert_whole(&rig);
    assert!(rig.stats().faults[&Fault::LostAnswer] > 0);
    assert_eq!(rig.stats().bulk.jobs, 0);
}

#[test]
fn a_sync_does_not_call_a_file_done_that_was_killed() {
    let rig = rig(BulkMode::Off, "off", Faults::default());
    live_and_die(&rig, 5);
    let told = rig.run(&["sync", "--json"]).ended(3).json();
    let run = &told["tenants"][0]["unfinished_runs"][0];
    assert_eq!((&run["run"], &run["file"], &run["state"]), (&json!(1), &json!("hr.csv"), &json!("open")));
    rig.run(&["sync"])
        .ended(3)
        .says("acme: run 1 of hr.csv has ")
        .says("run the same command on that file again");
    assert_whole(&rig);
    rig.run(&["sync"]).ended(0);
}

#[test]
fn killed_between_bulk_jobs_it_submits_none_twice() {
    let rig = rig(BulkMode::Jobs, "jobs", Faults::default());
    // A submission is just under way then: its answer may be lost, and its job is followed or looked up.
    for creates in [0, 1, 11, 21] {
        live_and_die(&rig, creates);
    }
    assert_whole(&rig);
}

#[test]
fn a_job_that_was_submitted_is_asked_about_after_a_kill_and_not_submitted_again() {
    let rig = rig(BulkMode::Jobs, "jobs", Faults::default());
    let polls = || rig.stats().count("GET /Bulk/{jobId}");
    for asked in [1, 3] {
        let goal = polls() + asked;
        let run = Daemon::spawn(rig.command(&["provision", "hr.csv"]));
        until("a job has been asked about", || polls() >= goal);
        run.kill();
    }
    assert_whole(&rig);
    assert_eq!((rig.stats().bulk.jobs, rig.stats().count("POST /Users")), (9, 0), "each job once");
    assert_eq!(lines(&rig, "SYNC_SUCCESS").len(), 9);
    assert_eq!(lines(&rig, "SYNC_FAILURE").len(), 0);
}

/// The tenant has created the user and has not said so yet.
#[test]
fn a_create_that_was_not_answered_before_a_kill_is_looked_up() {
    for (mode, call) in [("off", "POST /Users"), ("jobs", "POST /Bulk"), ("rfc7644", "POST /Bulk")] {
        let tenant = Scripted::new(move |name, request| match (name, parameter(request, "filter")) {
            ("GET /ServiceProviderConfig", _) => {
                Some(ResponseTemplate::new(200).set_body_json(json!({ "bulk": { "supported": true } })))
            }
            ("GET /Users", Some(_)) => {
                let mail = "new-0001@example.com";
                Some(list(&[json!({ "id": "u-1", "externalId": "HR-0001", "userName": mail, "active": true,
                    "name": { "givenName": "New", "familyName": "Person 0001" }, "title": "Agent",
                    "emails": [{ "value": mail, "primary": true }], "roles": [{ "value": "HR_SALES" }] })]))
            }
            ("GET /Users", None) => Some(page(&[], 0)),
            (name, _) if name == call => Some(ResponseTemplate::new(500).set_delay(Duration::from_mins(5))),
            _ => None,
        });
        tenant.set(&quick(mode));
        tenant.write("hr.csv", &export([newcomer(1)]));
        let run = Daemon::spawn(tenant.command(&["provision", "hr.csv"]));
        until("the create has arrived", || tenant.named(call).len() == 1);
        run.kill();
        tenant.run(&["provision", "hr.csv"]).ended(0).says("1 of 1 row processed, 1 created\n");
        assert_eq!(tenant.writes(), 1, "{mode}: {:?}", tenant.names());
        let written = lines(&tenant, "user_written");
        assert_eq!(written.len(), 1, "{mode}: {written:#?}");
        let line = &written[0];
        assert_eq!(
            (&line["user"], &line["external_id"], &line["kind"], &line["looked_up"]),
            (&json!("u-1"), &json!("HR-0001"), &json!("profile"), &json!(true)),
            "{mode}: {line}"
        );
        let names: Vec<&str> =
            line["attributes"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert!(names.contains(&"userName") && names.contains(&"active"), "{line}");
        tenant.run(&["audit", "verify"]).ended(0);
    }
}

/// One user as the tenant shows him, and the answer to a call that creates him.
fn made(id: &str, number: usize) -> serde_json::Value {
    let mail = format!("new-{number:04}@example.com");
    json!({ "id": id, "externalId": format!("HR-{number:04}"), "userName": mail, "active": true,
        "name": { "givenName": "New", "familyName": format!("Person {number:04}") }, "title": "Agent",
        "emails": [{ "value": mail, "primary": true }], "roles": [{ "value": "HR_SALES" }] })
}

/// The create was sent and is not answered when a newer export comes: he is looked up before anything else is done for him,
/// whether that export names him or not.
#[test]
fn a_create_that_was_not_answered_before_a_newer_export_is_looked_up_all_the_same() {
    for named_again in [false, true] {
        let tenant = Scripted::new(|name, request| match (name, parameter(request, "filter")) {
            ("GET /Users", Some(filter)) if filter.contains("HR-0001") => Some(list(&[made("u-1", 1)])),
            ("GET /Users", _) => Some(page(&[], 0)),
            ("POST /Users", _) if String::from_utf8_lossy(&request.body).contains("HR-0001") => {
                Some(ResponseTemplate::new(500).set_delay(Duration::from_mins(5)))
            }
            ("POST /Users", _) => Some(ResponseTemplate::new(201).set_body_json(made("u-2", 2))),
            _ => None,
        });
        tenant.set(&quick("off"));
        tenant.write("hr.csv", &export([newcomer(1)]));
        let run = Daemon::spawn(tenant.command(&["provision", "hr.csv"]));
        until("the create has arrived", || tenant.named("POST /Users").len() == 1);
        run.kill();

        let again = named_again.then(|| newcomer(1));
        tenant.write("hr.csv", &export(again.into_iter().chain([newcomer(2)])));
        let said = if named_again { "1 created, 1 unchanged\n" } else { "1 of 1 row processed, 1 created\n" };
        tenant.run(&["provision", "hr.csv"]).ended(0).says(said);
        let sent = tenant.named("POST /Users");
        let first = sent.iter().filter(|call| String::from_utf8_lossy(&call.body).contains("HR-0001"));
        assert_eq!((first.count(), sent.len()), (1, 2), "{:?}", tenant.names());
        let mut told: Vec<(String, bool)> = lines(&tenant, "user_written")
            .iter()
            .map(|line| (line["user"].as_str().unwrap().to_owned(), line["looked_up"] == json!(true)))
            .collect();
        told.sort_unstable();
        assert_eq!(told, [("u-1".to_owned(), true), ("u-2".to_owned(), false)]);
        let open = number(&tenant.database(), "SELECT count(*) FROM run_rows WHERE outcome IS NULL");
        assert_eq!(open, 0, "each row has come to its end");
        let known = number(&tenant.database(), "SELECT count(*) FROM provisioned");
        assert_eq!(known, 2, "a later export that names neither of them can make both inactive");
    }
}

/// He is as he is to be by the time somebody goes on: what was read before the kill says otherwise.
#[test]
fn whoever_goes_on_decides_from_what_the_tenant_says_now() {
    let rig = rig_of(users(5), "off");
    let user = rig.tenant().users().into_iter().find(|user| user.active).unwrap();
    let index = rig.tenant().users().iter().position(|other| other.id == user.id).unwrap();
    rig.faults(Faults { fail_users: [(user.id.to_string(), 503)].into(), ..Faults::default() });
    rig.write("hr.csv", &export([known(index + 1, "", "false")]));
    let run = Daemon::spawn(rig.command(&["provision", "hr.csv"]));
    until("something was sent", || writes(&rig) > 0);
    run.kill();
    // As if it had been killed a moment before: the list is read, and nothing is decided.
    execute(
        &rig.database(),
        "UPDATE run_rows SET state = 'waiting', operation = NULL; DELETE FROM operations; DELETE FROM unclear",
    );
    assert_eq!(ask(&rig.database(), "SELECT read FROM runs"), "1");
    rig.tenant().set_active(&user.id, false).unwrap();
    rig.faults(Faults::default());
    let sent = writes(&rig);
    rig.run(&["provision", "hr.csv"]).ended(0).says("1 unchanged");
    assert_eq!(writes(&rig), sent);
}
