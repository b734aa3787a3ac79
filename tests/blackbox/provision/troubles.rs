//! What goes wrong on the way: jobs that fail, get lost or never end, answers that are lost, operations that are told off,
//! requests that are too large. Each row still has its own end, and no create is ever repeated blindly.

use std::sync::Mutex;

use rosterd::practice::{BulkMode, Fault, Faults, Options};
use serde_json::{Value, json};
use wiremock::{Request, ResponseTemplate};

use super::people::{MODES, assert_there, export, hr, known, newcomer, records, rig, rig_of};
use super::{lines, quick};
use crate::database::{ask, execute};
use crate::process::{Daemon, until};
use crate::rig::{Rig, users};
use crate::scripted::{Scripted, page, parameter, refusal};

/// Five jobs.
fn in_jobs(faults: Faults, keys: &str) -> Rig {
    let rig = rig_of(Options { bulk_max_operations: 10, faults, ..users(5) }, "jobs");
    rig.set(&format!("{}\n{keys}", quick("jobs")));
    rig.write(
        "hr.csv",
        &export((1..=40).map(newcomer).chain((1..=5).map(|number| known(number, "Lead", "")))),
    );
    rig
}

/// They end with what a look-up finds, and not with an answer; but sent they were, and done.
#[test]
fn creations_whose_answers_are_lost_count_as_delivered() {
    let rig = rig(3, MODES[2]);
    rig.faults(Faults { lost_answer_rate: 0.3, ..Faults::default() });
    rig.write("hr.csv", &export((1..=30).map(newcomer)));
    rig.run(&["provision", "hr.csv"]).ended(0).says("30 created");
    assert!(rig.stats().faults[&Fault::LostAnswer] > 3);
    assert_eq!(rig.status()["operations"]["delivered"], 30);
}

#[test]
fn jobs_that_come_to_nothing_lose_nobody() {
    let none = Faults::default;
    for (fault, faults, keys, said) in [
        (Fault::BulkJobFails, Faults { bulk_job_fails: 2, ..none() }, "", "the tenant says: failed"),
        (Fault::BulkJobCanceled, Faults { bulk_job_canceled: 2, ..none() }, "", "the tenant says: canceled"),
        (Fault::BulkJobForgotten, Faults { bulk_job_forgotten: 2, ..none() }, "", "does not know the job"),
        (
            Fault::BulkJobStalls,
            Faults { bulk_job_stalls: 2, ..none() },
            "bulk.max_polls = 2",
            "did not come to an end in time",
        ),
    ] {
        let rig = in_jobs(faults, keys);
        let told = rig.run(&["provision", "hr.csv", "--json"]).ended(0).json();
        assert_eq!((&told["created"], &told["updated"]), (&json!(40), &json!(5)), "{fault:?} {told:#}");
        assert_eq!(rig.stats().faults[&fault], 2);
        assert_there(&rig, 5, 1..=40);
        let failures = lines(&rig, "SYNC_FAILURE");
        assert_eq!(failures.len(), 2, "{fault:?}");
        for job in &failures {
            assert!(job["error"].as_str().unwrap().contains(said), "{job}");
            assert_eq!((&job["userCount"], job["jobId"].is_string()), (&json!(10), true), "{job}");
            assert!(job["latencyMs"].is_u64(), "{job}");
        }
        rig.run(&["audit", "verify"]).ended(0);
        rig.run(&["provision", "hr.csv"]).ended(0).says("45 of 45 rows processed, 45 unchanged\n");
    }
}

#[test]
fn lost_answers_repeat_no_create() {
    for mode in MODES {
        let faults = Faults { lost_answer_rate: 0.3, ..Faults::default() };
        let rig = rig_of(Options { bulk: mode.1, bulk_max_operations: 5, faults, ..users(5) }, mode.0);
        rig.write("hr.csv", &export((1..=40).map(newcomer)));
        rig.run(&["provision", "hr.csv"]).ended(0).says("40 of 40 rows processed, 40 created\n");
        assert!(rig.stats().faults[&Fault::LostAnswer] > 0, "{mode:?}");
        rig.faults(Faults::default());
        assert_there(&rig, 5, 1..=40);
        let people = records(&rig);
        let mut told: Vec<String> = lines(&rig, "user_written")
            .iter()
            .map(|line| line["user"].as_str().unwrap().to_owned())
            .collect();
        told.sort_unstable();
        let mut expected: Vec<&str> =
            (1..=40).map(|number| people[&hr(number)]["id"].as_str().unwrap()).collect();
        expected.sort_unstable();
        assert_eq!(told, expected, "each user has his line, whether we heard of him or had to look");
    }
}

#[test]
fn no_rate_of_errors_fails_a_row() {
    for mode in MODES {
        for error_status in [429, 500] {
            let faults = Faults { error_rate: 0.2, error_status, ..Faults::default() };
            let rig = rig_of(Options { bulk: mode.1, bulk_max_operations: 4, faults, ..users(5) }, mode.0);
            rig.write("hr.csv", &export((1..=15).map(newcomer).chain([known(1, "Lead", "")])));
            rig.run(&["provision", "hr.csv"]).ended(0).says("15 created, 1 updated");
            assert!(rig.stats().faults.contains_key(&Fault::Error), "{mode:?}");
            rig.faults(Faults::default());
            assert_there(&rig, 5, 1..=15);
        }
    }
}

#[test]
fn an_operation_that_is_told_off_in_bulk_is_tried_again_by_itself() {
    for mode in [MODES[0], MODES[1]] {
        let faults = Faults { bulk_operation_error_rate: 0.3, ..Faults::default() };
        let rig = rig_of(Options { bulk: mode.1, faults, ..users(5) }, mode.0);
        rig.write("hr.csv", &export((1..=30).map(newcomer).chain((1..=5).map(|at| known(at, "Lead", "")))));
        rig.run(&["provision", "hr.csv"]).ended(0).says("35 of 35 rows processed, 30 created, 5 updated\n");
        assert!(rig.stats().faults[&Fault::BulkOperationError] > 2, "{mode:?}");
        assert_there(&rig, 5, 1..=30);
    }
}

#[test]
fn a_row_that_the_tenant_refuses_fails_by_itself() {
    for mode in MODES {
        let rig = rig(5, mode);
        let id = rig.tenant().users()[1].id.to_string();
        rig.faults(Faults {
            fail_external_ids: [(hr(3), 400)].into(),
            fail_users: [(id, 422)].into(),
            ..Faults::default()
        });
        rig.write("hr.csv", &export((1..=6).map(newcomer).chain((1..=3).map(|at| known(at, "Lead", "")))));
        let told = rig.run(&["provision", "hr.csv", "--json"]).ended(3).json();
        assert_eq!(
            (&told["created"], &told["updated"], &told["failed"], &told["conflicts"]),
            (&json!(5), &json!(2), &json!(2), &json!(0)),
            "{mode:?} {told:#}"
        );
        let left: Vec<(&Value, &Value)> =
            told["left"].as_array().unwrap().iter().map(|row| (&row["line"], &row["external_id"])).collect();
        assert_eq!(left, [(&json!(4), &json!("HR-0003")), (&json!(9), &json!("E-0002"))]);
        for row in told["left"].as_array().unwrap() {
            assert!(row["reason"].as_str().unwrap().contains("fails on command"), "{row}");
        }
        assert_there(&rig, 5, [1, 2, 4, 5, 6]);
        let letters = rig.run(&["dead-letters", "list", "--json"]).ended(0).json();
        assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 2, "{letters:#}");
        assert_eq!(lines(&rig, "user_not_written").len(), 2);

        rig.faults(Faults::default());
        rig.run(&["provision", "hr.csv"]).ended(0).says("1 created, 1 updated, 7 unchanged");
        assert_there(&rig, 5, 1..=6);
        assert_eq!(records(&rig)["E-0002"]["title"], "Lead");
    }
}

/// The outcomes of the rows of the first run, in their order.
fn outcomes(rig: &Rig) -> String {
    ask(
        &rig.database(),
        "SELECT group_concat(outcome, ' ') FROM (SELECT * FROM run_rows WHERE run = 1 ORDER BY line)",
    )
}

#[test]
fn a_row_whose_dead_letter_is_replayed_and_delivered_is_done() {
    let rig = rig(2, MODES[2]);
    let refused = |status| Faults { fail_external_ids: [(hr(2), status)].into(), ..Faults::default() };
    rig.faults(refused(400));
    rig.write("hr.csv", &export((1..=2).map(newcomer)));
    rig.run(&["provision", "hr.csv"]).ended(3).says("1 created, 1 failed");

    // Refused again, whatever the reason, it has failed again.
    rig.faults(refused(409));
    rig.run(&["dead-letters", "replay", "--all"]).ended(0);
    rig.run(&["sync"]);
    assert_eq!(outcomes(&rig), "created failed");
    rig.faults(refused(400));
    rig.run(&["provision", "hr.csv"]).ended(3).says("run 2 of").says("1 unchanged, 1 failed");
    rig.faults(Faults::default());
    rig.run(&["dead-letters", "replay", "--all"]).ended(0).says("1 dead letter will be sent again");
    rig.sync();
    assert_there(&rig, 2, 1..=2);
    let second = ask(
        &rig.database(),
        "SELECT group_concat(outcome, ' ') FROM (SELECT * FROM run_rows WHERE run = 2 ORDER BY line)",
    );
    assert_eq!(second, "unchanged created");
    assert_eq!(lines(&rig, "user_written").len(), 2);

    // He counts as one of ours: an export that does not name him makes him inactive.
    rig.write("hr.csv", &export([newcomer(1)]));
    rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(0).says("1 deactivated, 1 unchanged");
    assert_eq!(records(&rig)[&hr(2)]["active"], json!(false));
}

/// How many operations were in each bulk request, and what came of it.
fn sizes(tenant: &Scripted) -> Vec<usize> {
    let size = |call: &Request| {
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        body["Operations"].as_array().unwrap().len()
    };
    tenant.named("POST /Bulk").iter().map(size).collect()
}

#[test]
fn a_request_that_is_too_large_is_halved_until_it_is_not() {
    let created: Mutex<Vec<String>> = Mutex::default();
    let tenant = Scripted::new(move |name, request| match name {
        "GET /ServiceProviderConfig" => Some(ResponseTemplate::new(200).set_body_json(
            json!({ "bulk": { "supported": true, "maxOperations": 40, "maxPayloadSize": 1_048_576 } }),
        )),
        "GET /Users" => Some(page(&[], 0)),
        "POST /Bulk" => {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let operations = body["Operations"].as_array().unwrap();
            if operations.len() > 10 {
                return Some(refusal(413, "the request is too large"));
            }
            let mut created = created.lock().unwrap();
            let results: Vec<Value> = operations
                .iter()
                .map(|operation| {
                    let id = operation["data"]["externalId"].as_str().unwrap().to_owned();
                    assert!(!created.contains(&id), "{id} is created again");
                    created.push(id.clone());
                    json!({ "method": "POST", "bulkId": operation["bulkId"], "status": "201",
                        "location": format!("https://acme.example.com/Users/id-{id}") })
                })
                .collect();
            Some(ResponseTemplate::new(200).set_body_json(json!({ "Operations": results })))
        }
        _ => None,
    });
    tenant.set(&quick("rfc7644"));
    tenant.write("hr.csv", &export((1..=40).map(newcomer)));
    tenant.run(&["provision", "hr.csv"]).ended(0).says("40 of 40 rows processed, 40 created\n");
    assert_eq!(sizes(&tenant), [40, 20, 10, 10, 10, 10]);
    assert_eq!(tenant.named("POST /Users").len(), 0);
}

#[test]
fn what_the_tenant_has_said_is_kept_until_it_can_be_written_down() {
    for mode in &MODES[..2] {
        let rig = rig(5, *mode);
        rig.write(
            "hr.csv",
            &export((1..=20).map(newcomer).chain((1..=5).map(|number| known(number, "Lead", "")))),
        );
        // A database that takes requests, and not what comes of them.
        rig.run(&["sync"]).ended(0);
        execute(
            &rig.database(),
            "CREATE TRIGGER full BEFORE UPDATE ON bulk_jobs BEGIN SELECT RAISE(ABORT, 'it is full'); END",
        );
        let command = Daemon::spawn(rig.command(&["provision", "hr.csv"]));
        until("it has failed twice", || command.complaints().matches("database cannot be used").count() >= 2);
        execute(&rig.database(), "DROP TRIGGER full");
        let ended = command.wait().with(0);
        assert!(ended.out.join("\n").contains("20 created, 5 updated"), "{mode:?} {:?}", ended.out);
        assert_there(&rig, 5, 1..=20);
        assert_eq!((lines(&rig, "user_written").len(), lines(&rig, "SYNC_SUCCESS").len()), (25, 1));
        rig.run(&["audit", "verify"]).ended(0);
    }
}

#[test]
fn nobody_is_created_twice_in_a_tenant_that_makes_nothing_of_a_filter() {
    let users: Mutex<Vec<Value>> = Mutex::default();
    let tenant = Scripted::new(move |name, request| match name {
        "GET /Users" => {
            let users = users.lock().unwrap();
            let number = |name| parameter(request, name).unwrap().parse::<usize>().unwrap();
            let from = (number("startIndex") - 1).min(users.len());
            let to = (from + number("count")).min(users.len());
            Some(page(&users[from..to], users.len()))
        }
        // It is done, and the answer is lost.
        "POST /Users" => {
            let mut user: Value = serde_json::from_slice(&request.body).unwrap();
            user["id"] = format!("id-{}", user["externalId"].as_str().unwrap()).into();
            users.lock().unwrap().push(user);
            Some(ResponseTemplate::new(503))
        }
        _ => None,
    });
    tenant.set(&quick("off"));
    tenant.write("hr.csv", &export((1..=9).map(newcomer)));
    tenant.run(&["provision", "hr.csv"]).ended(0).says("9 created");
    assert_eq!(tenant.named("POST /Users").len(), 9);
}

#[test]
fn a_tenant_that_takes_no_bulk_request_after_all_gets_single_calls() {
    for status in [403, 404, 405, 501] {
        let tenant = Scripted::new(move |name, _| match name {
            "GET /Users" => Some(page(&[], 0)),
            "POST /Bulk" => Some(refusal(status, "no bulk here")),
            "POST /Users" => Some(ResponseTemplate::new(201).set_body_json(json!({ "id": "u-1" }))),
            _ => None,
        });
        tenant.set(&quick("auto"));
        tenant.write("hr.csv", &export([newcomer(1)]));
        tenant.run(&["provision", "hr.csv"]).ended(0).says("1 created");
        assert_eq!((tenant.named("POST /Bulk").len(), tenant.named("POST /Users").len()), (1, 1), "{status}");
    }
}

#[test]
fn wrong_credentials_end_the_run_and_it_goes_on_once_they_are_right() {
    let rig = rig(3, ("jobs", BulkMode::Jobs));
    rig.write("hr.csv", &export((1..=3).map(newcomer)));
    rig.faults(Faults { reject_token_credentials: true, ..Faults::default() });
    rig.run(&["provision", "hr.csv"]).ended(77);
    rig.faults(Faults::default());
    rig.run(&["provision", "hr.csv"]).ended(0).says("3 created").complains("was not finished: it goes on");
    assert_there(&rig, 3, 1..=3);
}

#[test]
fn a_tenant_that_is_out_keeps_the_run_until_it_is_back() {
    for mode in MODES {
        let rig = rig(3, mode);
        rig.write("hr.csv", &export((1..=3).map(newcomer)));
        rig.faults(Faults { outage: true, ..Faults::default() });
        rig.run(&["provision", "hr.csv", "--wait", "1s"])
            .ended(69)
            .says("run the same command again to go on");
        rig.faults(Faults::default());
        rig.run(&["provision", "hr.csv"]).ended(0).says("3 created");
        assert_there(&rig, 3, 1..=3);
    }
}

/// Long after the end of a run somebody finds the time for its letters.
fn weeks_old(rig: &Rig) {
    execute(
        &rig.database(),
        "UPDATE runs SET finished_at = finished_at - 2000000000;
         UPDATE passes SET finished_at = finished_at - 2000000000;
         UPDATE operations SET finished_at = finished_at - 2000000000",
    );
}

#[test]
fn a_run_is_remembered_as_long_as_a_letter_of_it_can_be_replayed() {
    let rig = rig(3, MODES[2]);
    rig.faults(Faults { fail_external_ids: [(hr(2), 400)].into(), ..Faults::default() });
    rig.write("hr.csv", &export((1..=4).map(newcomer)));
    rig.run(&["provision", "hr.csv"]).ended(3).says("3 created, 1 failed");
    weeks_old(&rig);
    rig.run(&["sync"]).ended(3).says("1 dead letter");
    rig.run(&["status", "--run", "1"]).ended(0).says("3 created, 1 failed");
    rig.faults(Faults::default());
    rig.run(&["dead-letters", "replay", "--all"]).ended(0);
    rig.run(&["sync"]).ended(0).says("1 delivered");
    assert_there(&rig, 3, 1..=4);
    let known = ask(&rig.database(), "SELECT count(*) FROM provisioned");
    assert_eq!(known, "4", "whoever was created at last can be missing from a later export, too");
    rig.run(&["status", "--run", "1"]).ended(1).complains("run 1 is not known (any more)");
}

/// Nobody would look up whether he was created.
#[test]
fn a_creation_that_no_row_asks_for_any_more_is_never_lost() {
    let rig = rig(3, MODES[2]);
    rig.faults(Faults { fail_external_ids: [(hr(1), 400)].into(), ..Faults::default() });
    rig.write("hr.csv", &export([newcomer(1)]));
    rig.run(&["provision", "hr.csv"]).ended(3).says("1 failed");
    execute(&rig.database(), "DELETE FROM run_rows; DELETE FROM runs");
    rig.faults(Faults { fail_external_ids: [(hr(1), 409)].into(), ..Faults::default() });
    rig.run(&["dead-letters", "replay", "--all"]).ended(0);
    rig.run(&["sync"]).ended(3).says("0 still waiting, 1 dead letter");
    rig.faults(Faults::default());
    rig.run(&["dead-letters", "replay", "--all"]).ended(0);
    rig.run(&["sync"]).ended(0).says("1 delivered");
    assert_there(&rig, 3, [1]);
}
