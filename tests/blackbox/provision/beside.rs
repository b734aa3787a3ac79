//! Files that are carried out by the daemon: those that somebody hands in while it runs, those that somebody has left, and
//! the one that it reads by a schedule.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use rosterd::practice::{Faults, Options};
use serde_json::json;

use super::people::{MODES, assert_there, export, hr, known, newcomer, records, rig, rig_of, writes};
use super::{lines, quick};
use crate::home::Home;
use crate::process::{Daemon, until};
use crate::rig::{Rig, users};

/// The daemon's own passes change nothing.
const QUIET: &str = "schedule = \"0 0 0 1 1 *\"\nwhen_unmapped = \"keep\"\nwhen_inactive = \"keep\"\ndelivery.max_attempts = 8";

fn daemon_beside(rig: &Rig) -> Daemon {
    let daemon = Daemon::start(rig);
    daemon.until_said("pass finished");
    until("what the first pass has found is delivered", || {
        let status = rig.status();
        status["operations"]["ready"] == json!(0) && status["operations"]["in_flight"] == json!(0)
    });
    daemon
}

#[test]
fn the_daemon_carries_out_what_is_handed_in_beside_it() {
    for mode in MODES {
        let rig = rig(5, mode);
        rig.set(&format!("{}\n{QUIET}", quick(mode.0)));
        let daemon = daemon_beside(&rig);
        rig.write(
            "hr.csv",
            &export((1..=10).map(newcomer).chain([known(1, "Lead", ""), ",bad,,,,,,".to_owned()])),
        );
        let ran = rig.run(&["provision", "hr.csv", "--report", "report.csv"]).ended(3);
        let ran = ran.says("12 of 12 rows processed, 10 created, 1 updated, 1 rejected");
        assert!(ran.stderr.contains(&daemon.pid().to_string()), "it says who does it: {}", ran.stderr);
        assert_there(&rig, 5, 1..=10);
        assert_eq!(std::fs::read_to_string(rig.path("report.csv")).unwrap().lines().count(), 13);
        rig.run(&["provision", "hr.csv", "--plan"]).ended(3).says("0 to create, 0 to change");
        rig.run(&["provision", "hr.csv"]).ended(3).says("11 unchanged, 1 rejected");
        let ended = daemon.stop().with(0);
        assert_eq!(ended.said("run finished"), 2);
        assert_eq!(lines(&rig, "user_written").len(), 11);
        rig.run(&["audit", "verify"]).ended(0);
    }
}

#[test]
fn what_somebody_has_left_the_daemon_goes_on_with() {
    let rig = rig(3, MODES[2]);
    rig.set(&format!("{}\n{QUIET}", quick("off")));
    rig.write("hr.csv", &export((1..=10).map(newcomer)));
    rig.faults(Faults { fail_external_ids: (1..=10).map(|at| (hr(at), 503)).collect(), ..Faults::default() });
    rig.run(&["provision", "hr.csv", "--wait", "0s"]).ended(3).says("nothing has moved");
    rig.faults(Faults::default());
    let daemon = Daemon::start(&rig);
    daemon.until_said("run finished");
    assert_there(&rig, 3, 1..=10);
    daemon.stop().with(0);
}

#[test]
fn what_was_left_packed_a_sync_delivers_in_bulk_requests() {
    for mode in [MODES[0], MODES[1]] {
        let latency = Duration::from_millis(200);
        let rig = rig_of(
            Options { bulk: mode.1, bulk_max_operations: 10, bulk_polls: 1, latency, ..users(3) },
            mode.0,
        );
        rig.write("hr.csv", &export((1..=40).map(newcomer)));
        let run = Daemon::spawn(rig.command(&["provision", "hr.csv"]));
        until("the first request has arrived", || rig.stats().bulk.jobs >= 1);
        run.kill();
        let before = rig.status();
        assert!(before["operations"]["ready"].as_u64().unwrap() >= 20, "{before:#}");
        let ran = rig.run(&["sync"]).ended(3).says("0 still waiting, 0 dead letters");
        ran.says("run 1 of hr.csv has ");
        assert_eq!(rig.status()["operations"]["in_flight"], json!(0));
        let stats = rig.stats();
        assert!(stats.bulk.jobs >= 4 && stats.count("POST /Users") <= 10, "{stats:?}");
        rig.run(&["provision", "hr.csv"]).ended(0).says("40 of 40 rows processed, 40 created\n");
        assert_there(&rig, 3, 1..=40);
        // What the database did not hear of in time has a second line for the same operation.
        let written = lines(&rig, "user_written");
        let operations: BTreeSet<u64> =
            written.iter().map(|line| line["operation"].as_u64().unwrap()).collect();
        assert_eq!(operations.len(), 40);
        rig.run(&["audit", "verify"]).ended(0);
    }
}

#[test]
fn by_its_schedule_an_export_is_carried_out_once_for_each_new_content() {
    let rig = rig_of(Options { ..users(3) }, "jobs");
    let file = rig.path("hr.csv");
    rig.set(&format!(
        "{}\n{QUIET}\nprovision.file = {file:?}\nprovision.schedule = \"* * * * * *\"",
        quick("jobs")
    ));
    rig.write("hr.csv", &export((1..=3).map(newcomer)));
    let daemon = daemon_beside(&rig);
    until("the export is carried out", || daemon.said("run finished") == 1);
    assert_there(&rig, 3, 1..=3);
    let sent = writes(&rig);
    let nothing_new = |daemon: &Daemon, runs: usize| {
        // It comes due every second: this is time for what must not happen.
        thread::sleep(Duration::from_secs(3));
        assert_eq!(daemon.said("export read"), runs);
    };
    nothing_new(&daemon, 1);

    // Half a content is never read: it is put in its place whole.
    let put = |rows: std::ops::RangeInclusive<usize>| {
        rig.write("new.csv", &export(rows.map(newcomer)));
        std::fs::rename(rig.path("new.csv"), &file).unwrap();
    };
    put(1..=5);
    until("the new content is carried out", || daemon.said("run finished") == 2);
    assert_there(&rig, 3, 1..=5);
    assert_eq!(writes(&rig) - sent, 1, "one job for the two who are new");

    std::fs::remove_file(&file).unwrap();
    until("its absence is told of", || daemon.said("export was not read") > 0);
    let trouble = rig.status()["troubles"][0].take();
    assert_eq!((&trouble["part"], &trouble["trouble"]), (&json!("export"), &json!("unread")));
    assert!(trouble["reason"].as_str().unwrap().contains("hr.csv"), "{trouble:#}");
    rig.run(&["status"]).ended(0).says("  export         cannot be read since ");
    put(1..=5);
    nothing_new(&daemon, 2);
    assert_eq!(rig.status()["troubles"], json!([]), "it was read");
    put(1..=6);
    until("a later content is carried out", || daemon.said("run finished") == 3);
    assert_there(&rig, 3, 1..=6);
    put(1..=5);
    until("an earlier content is carried out when it comes back", || daemon.said("run finished") == 4);
    // Nor is what somebody has asked more of.
    rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(0).says("1 deactivated");
    nothing_new(&daemon, 4);
    let ended = daemon.stop().with(0);
    assert_eq!((ended.said("export read"), ended.said("run finished")), (4, 5), "once for each content");

    // Nor is what was carried out before a restart.
    let daemon = daemon_beside(&rig);
    nothing_new(&daemon, 0);
    daemon.stop().with(0);
}

#[test]
fn a_scheduled_export_without_rows_does_not_look_right() {
    let rig = rig(3, MODES[2]);
    let file = rig.path("hr.csv");
    rig.set(&format!(
        "{}\n{QUIET}\nprovision.file = {file:?}\nprovision.schedule = \"* * * * * *\"",
        quick("off")
    ));
    rig.write("hr.csv", &export([]));
    let daemon = Daemon::start(&rig);
    daemon.until_said("run finished");
    let finished = daemon.lines().into_iter().find(|line| line["message"] == "run finished").unwrap();
    assert_eq!((&finished["level"], &finished["rows"]), (&json!("WARN"), &json!(0)), "{finished}");
    daemon.stop().with(0);
}

#[test]
fn what_a_scheduled_export_leaves_is_in_the_log_of_the_daemon() {
    for mode in MODES {
        let rig = rig(3, mode);
        let gone = records(&rig)["E-0002"]["id"].as_str().unwrap().to_owned();
        rig.faults(Faults {
            fail_external_ids: [(hr(2), 400)].into(),
            fail_users: [(gone.clone(), 404)].into(),
            ..Faults::default()
        });
        let file = rig.path("hr.csv");
        rig.set(&format!(
            "{}\n{QUIET}\nprovision.file = {file:?}\nprovision.schedule = \"* * * * * *\"",
            quick(mode.0)
        ));
        rig.write(
            "hr.csv",
            &export((1..=3).map(newcomer).chain([
                known(1, "", ""),
                known(2, "Lead", ""),
                ",bad,,,,,,".to_owned(),
            ])),
        );
        let daemon = Daemon::start(&rig);
        daemon.until_said("run finished");
        let lines = daemon.lines();
        let said = |message: &str| {
            let mut said = lines.iter().filter(|line| line["message"] == message);
            let line = said.next().unwrap_or_else(|| panic!("{mode:?}: no {message}"));
            assert!(said.next().is_none(), "{mode:?}: {message} twice");
            line
        };
        let dead = said("operation is a dead letter");
        assert_eq!(
            (&dead["level"], &dead["status"], &dead["attempt"], &dead["user"]),
            (&json!("ERROR"), &json!(400), &json!(1), &json!("externalId:HR-0002")),
            "{dead}"
        );
        assert!(dead["operation"].is_string(), "{dead}");
        assert!(
            dead["tenant"].is_string() && dead["reason"].is_string() && dead["duration_ms"].is_u64(),
            "{dead}"
        );
        let nobody = said("user is gone");
        assert_eq!((&nobody["level"], &nobody["user"]), (&json!("WARN"), &json!(gone)), "{nobody}");
        assert!(nobody["operation"].is_string() && nobody["tenant"].is_string(), "{nobody}");
        let finished = said("run finished");
        assert_eq!(finished["level"], "WARN", "{finished}");
        for (field, rows) in [
            ("rows", 6),
            ("done", 2),
            ("skipped", 1),
            ("rejected", 1),
            ("unresolved", 0),
            ("failed", 2),
            ("held", 0),
            ("superseded", 0),
            ("discarded", 0),
        ] {
            assert_eq!(finished[field], json!(rows), "{field}: {finished}");
        }

        // Mended, nobody has to care.
        rig.faults(Faults::default());
        rig.write("new.csv", &export((1..=3).map(newcomer).chain([known(1, "", "")])));
        std::fs::rename(rig.path("new.csv"), &file).unwrap();
        until("the mended content is carried out", || daemon.said("run finished") == 2);
        let finished = daemon.lines().into_iter().rfind(|line| line["message"] == "run finished").unwrap();
        assert_eq!((&finished["level"], &finished["done"]), (&json!("INFO"), &json!(1)), "{finished}");
        daemon.stop().with(0);
    }
}

#[test]
fn the_same_file_handed_in_by_several_at_once_is_carried_out_once() {
    let rig = rig(3, MODES[2]);
    rig.set(&format!("{}\n{QUIET}", quick("off")));
    rig.write("hr.csv", &export((1..=300).map(newcomer)));
    let args: &[&str] = &["provision", "hr.csv"];
    let daemon = daemon_beside(&rig);
    for ran in Home::run_all(&[(&*rig, args); 4]) {
        ran.ended(0).says("300 of 300 rows processed, 300 ");
    }
    assert_there(&rig, 3, 1..=300);
    assert_eq!(rig.stats().count("POST /Users"), 300);
    daemon.stop().with(0);
}

#[test]
fn whoever_stops_following_is_told_that_the_daemon_goes_on() {
    let rig = rig(3, MODES[2]);
    rig.set(&format!("{}\n{QUIET}", quick("off")));
    rig.write("hr.csv", &export((1..=3).map(newcomer)));
    let failing = (1..=3).map(|at| (hr(at), 503)).collect();
    rig.faults(Faults { fail_external_ids: failing, ..Faults::default() });
    let daemon = Daemon::start(&rig);
    let command = Daemon::spawn(rig.command(&["provision", "hr.csv"]));
    until("the run is there", || rig.status()["passes"].to_string().contains("hr.csv"));
    command.signal("INT");
    let ended = command.wait().with(3);
    let told = ended.out.join("\n");
    assert!(told.contains("the daemon goes on with run 1") && told.contains("status --run 1"), "{told}");
    rig.faults(Faults::default());
    daemon.until_said("run finished");
    daemon.stop().with(0);
}

#[test]
fn a_command_beside_another_command_waits_for_its_end() {
    let rig = rig(3, MODES[2]);
    rig.set(&quick("off"));
    rig.write("hr.csv", &export((1..=3).map(newcomer)));
    rig.write("attributes.csv", "externalId,desk\nE-0001,A-17\n");
    let failing = (1..=3).map(|at| (hr(at), 503)).collect();
    rig.faults(Faults { fail_external_ids: failing, ..Faults::default() });
    let first = Daemon::spawn(rig.command(&["provision", "hr.csv"]));
    until("the run is there", || {
        rig.database().exists() && rig.status()["passes"].to_string().contains("hr.csv")
    });
    let commands = [
        rig.command(&["attributes", "attributes.csv"]),
        rig.command(&["sync"]),
        rig.command(&["state", "reset", "watermark"]),
    ];
    let others = commands.map(Daemon::spawn);
    for other in &others {
        until("it says that it waits", || {
            other
                .complaints()
                .contains(&format!("another command is at work on the database (process {})", first.pid()))
        });
    }
    rig.faults(Faults::default());
    first.wait().with(0);
    for other in others {
        other.wait().with(0);
    }
}

#[test]
fn two_commands_on_a_new_database_both_come_to_their_end() {
    for _ in 0..3 {
        let rig = rig(3, MODES[2]);
        rig.set(&quick("off"));
        rig.write("hr.csv", &export((1..=3).map(newcomer)));
        let commands = [
            rig.command(&["provision", "hr.csv"]),
            rig.command(&["provision", "hr.csv"]),
            rig.command(&["plan"]),
        ];
        let [one, other, plan] = commands.map(Daemon::spawn);
        one.wait().with(0);
        other.wait().with(0);
        let plan = plan.wait();
        assert!(matches!(plan.code, Some(0 | 2)), "{plan:?}");
        assert_there(&rig, 3, 1..=3);
    }
}
