//! `--deactivate-missing`: whoever is no longer in the export becomes inactive, but only if an earlier run had to do with
//! him, never because his row is bad, and never too many at once.

use rosterd::practice::{BulkMode, Faults};
use serde_json::{Value, json};

use super::people::{MODES, export, hr, known, newcomer, records, rig, writes};
use super::{lines, quick};
use crate::database::{execute, number};
use crate::process::{Daemon, until};
use crate::rig::Rig;

fn inactive(rig: &Rig) -> Vec<String> {
    let people = records(rig).into_iter().filter(|(_, user)| user["active"] == json!(false));
    people.map(|(id, _)| id).collect()
}

/// A tenant of five, and an earlier run that has created ten newcomers and met the first two who were there.
fn settled(mode: (&str, BulkMode), keys: &str) -> Rig {
    let rig = rig(5, mode);
    for user in rig.tenant().users() {
        rig.tenant().set_active(&user.id, true).unwrap();
    }
    rig.set(&format!("{}\n{keys}", quick(mode.0)));
    rig.write("hr.csv", &export((1..=10).map(newcomer).chain([known(1, "", ""), known(2, "Lead", "")])));
    rig.run(&["provision", "hr.csv", "--deactivate-missing"])
        .ended(0)
        .says("10 created, 1 updated, 1 unchanged\n");
    assert_eq!(inactive(&rig), Vec::<String>::new(), "nobody whom no run had to do with");
    rig
}

#[test]
fn whom_the_export_no_longer_names_becomes_inactive_and_nobody_else() {
    for mode in MODES {
        let rig = settled(mode, "");
        let before = records(&rig);
        rig.write("hr.csv", &export((1..=8).map(newcomer).chain([known(2, "Lead", "")])));
        rig.run(&["provision", "hr.csv"]).ended(0).says("9 of 9 rows processed, 9 unchanged\n");
        assert_eq!(inactive(&rig), Vec::<String>::new(), "only when it was asked for");

        let plan =
            rig.run(&["provision", "hr.csv", "--deactivate-missing", "--plan", "--json"]).ended(2).json();
        let planned: Vec<(&Value, &Value)> = plan["planned"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (&row["external_id"], &row["action"]))
            .collect();
        assert_eq!(planned.len(), 3, "{plan:#}");
        assert!(planned.iter().all(|(_, action)| **action == json!("deactivate")));
        assert_eq!(inactive(&rig), Vec::<String>::new());

        rig.run(&["provision", "hr.csv", "--deactivate-missing"])
            .ended(0)
            .says("3 deactivated, 9 unchanged\n");
        assert_eq!(inactive(&rig), ["E-0001", &hr(9), &hr(10)]);
        let now = records(&rig);
        let mut left = before["HR-0009"].clone();
        left["active"] = json!(false);
        left["meta"] = now["HR-0009"]["meta"].clone();
        assert_eq!(now["HR-0009"], left, "nothing else of him");
        let audited = lines(&rig, "user_written");
        let last: Vec<&Value> =
            audited.iter().filter(|line| line["attributes"] == json!(["active"])).collect();
        assert!(last.len() == 3 && last.iter().all(|line| line["cause"] == "missing"), "{last:#?}");

        let sent = writes(&rig);
        rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(0).says("9 unchanged\n");
        assert_eq!(writes(&rig), sent, "once");

        // Whoever comes back is active again, though his row does not say so.
        rig.write("hr.csv", &export((1..=9).map(newcomer).chain([known(2, "Lead", "")])));
        rig.run(&["provision", "hr.csv", "--deactivate-missing"])
            .ended(0)
            .says("1 reactivated, 9 unchanged\n");
        assert_eq!(inactive(&rig), ["E-0001", &hr(10)]);
    }
}

#[test]
fn whose_row_is_bad_stays_active() {
    let rig = settled(MODES[2], "");
    let bad = [
        "HR-0007,no-mail,new-0007@example.com,New,Person,,,".to_owned(),
        "HR-0008,new-0008@example.com,,New,Person,,,".to_owned(),
        "HR-0009,new-0009@example.com,new-0009@example.com,New,Person,,perhaps,".to_owned(),
        "HR-0010,new-0001@example.com,new-0010@example.com,New,Person,,,".to_owned(),
    ];
    rig.write(
        "hr.csv",
        &export((1..=6).map(newcomer).chain([known(1, "", ""), known(2, "", "")]).chain(bad)),
    );
    rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(3).says("8 unchanged, 4 rejected");
    assert_eq!(inactive(&rig), Vec::<String>::new());
}

#[test]
fn an_export_without_a_good_row_says_nothing_about_anybody() {
    let rig = settled(MODES[2], "");
    let no_good_row = "whom no row names: the export has no good row";
    for (rows, users, why) in [
        (vec![], 12, no_good_row),
        (vec!["HR-0009,new-0009@example.com,,New,Person,,,".to_owned()], 11, no_good_row),
        (
            vec![newcomer(1), ",,new-0009@example.com,New,Person,,,".to_owned()],
            11,
            "whom no row names: 1 row does not say whom it is about",
        ),
    ] {
        rig.write("hr.csv", &export(rows));
        let why = format!("nobody is made inactive, of {users} users {why}");
        let asked = ["provision", "hr.csv", "--deactivate-missing"];
        let planned = rig.run(&[&asked[..], &["--plan"]].concat()).ended(3).says(&format!("  {why}\n"));
        assert_eq!(alarms(&planned.stderr), Vec::<String>::new(), "a plan is no news");
        let planned = rig.run(&[&asked[..], &["--plan", "--json"]].concat()).json();
        assert_eq!(planned["not_deactivated"], json!(why));

        let ran = rig.run(&asked).ended(3).says(&format!("  {why}\n"));
        assert!(ran.stderr.contains("nobody is deactivated"), "{}", ran.stderr);
        let finished = alarms(&ran.stderr).into_iter().any(|line| line.contains("\"run finished\""));
        assert!(finished, "what was asked for was refused: {}", ran.stderr);
        let told = rig.run(&[&asked[..], &["--json"]].concat()).ended(3).json();
        assert_eq!(told["not_deactivated"], json!(why));
        let run = told["run"].to_string();
        rig.run(&["status", "--run", &run]).says(&format!("  {why}\n"));
        let shown = rig.run(&["status", "--run", &run, "--json"]).json();
        assert_eq!(shown["run"]["not_deactivated"], json!(why));
        assert_eq!(inactive(&rig), Vec::<String>::new());
        let told = rig.run(&["provision", "hr.csv", "--json"]).json();
        assert_eq!(told["not_deactivated"], Value::Null, "nobody asked for it");
    }
}

#[test]
fn a_bad_row_that_leaves_it_open_whose_it_is_keeps_everybody_active() {
    let rig = settled(MODES[2], "");
    let open = "nobody is made inactive, of 1 user whom no row names: 1 row does not say whom it is about";
    for (bad, left_alone) in [
        // A newcomer's, of whom a good row tells as well.
        (",new-0011@example.com,new-0011@example.com,New,Person,,,", false),
        ("HR-9999,,new-0009@example.com,New,Person,,,", true),
        (",nobody@example.com,new-0009@example.com,New,Person,,,", true),
        (",new-0009,new-0009@example.com,New,Person,,,", true),
        // His, by the name that the tenant knows; a colleague's; and a newcomer's with another fault.
        (",new-0009@example.com,new-0009@example.com,New,Person,,,", false),
        ("HR-0001,,nobody@example.com,New,Person,,,", false),
        ("HR-9999,nobody@example.com,,New,Person,,,", false),
    ] {
        let his = bad.starts_with(",new-0009@");
        let others = (1..=8).chain([10, 11]).map(newcomer);
        rig.write("hr.csv", &export(others.chain([known(1, "", ""), known(2, "", ""), bad.to_owned()])));
        let planned = rig.run(&["provision", "hr.csv", "--deactivate-missing", "--plan", "--json"]).ended(3);
        let planned = planned.json();
        let expected = if left_alone { json!(open) } else { Value::Null };
        assert_eq!(planned["not_deactivated"], expected, "{bad}");
        assert_eq!(planned["deactivate"], json!(u8::from(!left_alone && !his)), "{bad}");
        if left_alone {
            rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(3).says(open);
            assert_eq!(inactive(&rig), Vec::<String>::new(), "{bad}");
        }
    }
}

#[test]
fn a_run_that_makes_somebody_inactive_does_not_say_that_it_does_not() {
    let rig = settled(MODES[2], "");
    // His row has lost its externalId; the tenant knows him by its userName, which is forgotten with the end of the run.
    let bad = ",new-0003@example.com,new-0003@example.com,New,Person,,,".to_owned();
    let others = [1, 2, 4, 5, 6, 7, 8].map(newcomer);
    rig.write("hr.csv", &export(others.into_iter().chain([known(1, "", ""), known(2, "", ""), bad])));
    let asked = ["provision", "hr.csv", "--deactivate-missing"];
    let planned = rig.run(&[&asked[..], &["--plan", "--json"]].concat()).ended(3).json();
    assert_eq!((&planned["deactivate"], &planned["not_deactivated"]), (&json!(2), &Value::Null));
    let told = rig.run(&[&asked[..], &["--json"]].concat()).ended(3).json();
    assert_eq!((&told["deactivated"], &told["not_deactivated"]), (&json!(2), &Value::Null));
    let shown = rig.run(&["status", "--run", &told["run"].to_string(), "--json"]).json();
    assert_eq!(shown["run"]["not_deactivated"], Value::Null);
    assert_eq!(inactive(&rig), [hr(9), hr(10)]);
}

/// What is logged that somebody has to care about.
fn alarms(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["level"] != "INFO").map(|line| line.to_string()).collect()
}

#[test]
fn too_many_are_held_until_they_are_approved() {
    for mode in [MODES[0], MODES[2]] {
        let rig = settled(mode, "guard.max_removals = 3");
        rig.write("hr.csv", &export((1..=5).map(newcomer).chain([known(1, "Chief", "")])));
        let plan = rig.run(&["provision", "hr.csv", "--deactivate-missing", "--plan"]);
        let plan = plan.says("6 deactivations would be held until they are approved");
        assert_eq!(alarms(&plan.stderr), Vec::<String>::new(), "nothing is held yet");
        let ran = rig.run(&["provision", "hr.csv", "--deactivate-missing", "--json"]).ended(3);
        let told = ran.json();
        assert_eq!(
            (&told["held"], &told["updated"], &told["deactivated"]),
            (&json!(6), &json!(1), &json!(0))
        );
        assert_eq!(inactive(&rig), Vec::<String>::new(), "the rest was done, and nobody is inactive");
        let said = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let held = said
            .into_iter()
            .find(|line| line["message"] == "deactivations are held until they are approved or discarded");
        let held = held.unwrap_or_else(|| panic!("{}", ran.stderr));
        assert!(held["reason"].as_str().unwrap().contains("max_removals"), "{held}");
        let digest = held["digest"].as_str().unwrap();
        rig.run(&["status"]).says(&digest[..6]);
        let gone: Vec<String> = ["E-0002".to_owned()].into_iter().chain((6..=10).map(hr)).collect();
        let people = records(&rig);
        let mut ids: Vec<&str> = gone.iter().map(|id| people[id]["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        let shown = rig.run(&["status", "--held", digest]).ended(0);
        let said: Vec<String> =
            ids.iter().map(|id| format!("{id} (missing): active: true -> false")).collect();
        assert_eq!(shown.stdout.lines().take(6).collect::<Vec<_>>(), said, "who, and what changes");
        shown
            .says("6 to change (6 become inactive)")
            .says("are to be made inactive: more than 3 in the last 1h (max_removals)");
        let told = rig.run(&["status", "--held", digest, "--json"]).ended(0).json();
        let users: Vec<&Value> =
            told["plan"]["changes"].as_array().unwrap().iter().map(|change| &change["user"]).collect();
        assert_eq!(users, ids);
        assert_eq!(told["plan"]["changes"][0]["deactivated"], true);
        let finding = &told["hold"]["findings"][0];
        assert_eq!((&finding["limit"], &finding["deactivations"]), (&json!("max_removals"), &json!(true)));

        rig.run(&["approve", digest]).ended(0).says("approved: 6 operations are ready");
        rig.run(&["sync"]).ended(0);
        assert_eq!(inactive(&rig), gone, "{mode:?}");
        rig.run(&["provision", "hr.csv", "--deactivate-missing"])
            .ended(0)
            .says("6 of 6 rows processed, 6 unchanged\n");
        rig.run(&["audit", "verify"]).ended(0);
    }
}

#[test]
fn what_is_discarded_is_held_again_by_the_next_run() {
    let rig = settled(MODES[2], "guard.max_removals = 3");
    rig.write("hr.csv", &export((1..=5).map(newcomer)));
    let first = held(&rig);
    rig.run(&["discard", &first]).ended(0);
    assert_eq!(held(&rig), first, "the same plan has the same digest");
    assert_eq!(inactive(&rig), Vec::<String>::new());
}

/// The digest under which a run holds deactivations.
#[track_caller]
fn held(rig: &Rig) -> String {
    let ran = rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(3);
    let lines = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().find_map(|line| Some(line["digest"].as_str()?.to_owned())).unwrap()
}

#[test]
fn who_may_have_been_made_inactive_is_active_again_when_he_is_named() {
    for mode in MODES {
        let rig = settled(mode, "");
        rig.write("hr.csv", &export((1..=8).map(newcomer).chain([known(1, "", ""), known(2, "Lead", "")])));
        // It is done, and nobody hears of it; then a newer export takes the place of this one.
        rig.faults(Faults { lost_answer_rate: 1.0, ..Faults::default() });
        let command = Daemon::spawn(rig.command(&["provision", "hr.csv", "--deactivate-missing"]));
        until("it is done", || inactive(&rig).len() == 2);
        command.signal("KILL");
        command.wait();
        rig.faults(Faults::default());
        rig.write("hr.csv", &export((1..=10).map(newcomer).chain([known(1, "", ""), known(2, "Lead", "")])));
        rig.run(&["provision", "hr.csv"]).ended(0).says("2 reactivated");
        assert_eq!(inactive(&rig), Vec::<String>::new(), "{mode:?}");
    }
}

#[test]
fn who_was_made_active_by_hand_becomes_inactive_again_when_he_is_not_named() {
    let rig = settled(MODES[2], "");
    let all = || (1..=10).map(newcomer).chain([known(1, "", ""), known(2, "Lead", "")]);
    rig.write("hr.csv", &export(all().skip(1)));
    rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(0).says("1 deactivated");
    let one = records(&rig)[&hr(1)]["id"].as_str().unwrap().to_owned();
    rig.tenant().set_active(&one.as_str().into(), true).unwrap();
    rig.write("hr.csv", &export(all()));
    rig.run(&["provision", "hr.csv"]).ended(0).says("12 unchanged");
    rig.write("hr.csv", &export(all().skip(1)));
    rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(0).says("1 deactivated");
    assert_eq!(inactive(&rig), [hr(1)]);
}

/// Rows by what became of them.
fn outcomes(rig: &Rig, outcome: &'static str) -> u64 {
    match outcome {
        "held" => number(&rig.database(), "SELECT count(*) FROM run_rows WHERE outcome = 'held'"),
        "superseded" => number(&rig.database(), "SELECT count(*) FROM run_rows WHERE outcome = 'superseded'"),
        "discarded" => number(&rig.database(), "SELECT count(*) FROM run_rows WHERE outcome = 'discarded'"),
        _ => number(&rig.database(), "SELECT count(*) FROM run_rows WHERE outcome IS NULL"),
    }
}

#[test]
fn a_newer_export_ends_what_is_held_or_not_sent_yet_of_an_earlier_one() {
    for approved in [false, true] {
        let rig = settled(MODES[2], "guard.max_removals = 3");
        rig.write("hr.csv", &export((1..=5).map(newcomer)));
        let digest = held(&rig);
        if approved {
            rig.run(&["approve", &digest]).ended(0);
            assert_eq!((outcomes(&rig, "held"), outcomes(&rig, "open")), (0, 7), "they wait to be sent");
        }
        // All are named again, two of them in rows that are wrong.
        let bad = (9..=10).map(|at| format!("{},no-mail,,,,,,", hr(at)));
        rig.write(
            "hr.csv",
            &export((1..=8).map(newcomer).chain([known(1, "", ""), known(2, "", "")]).chain(bad)),
        );
        let ran = rig.run(&["provision", "hr.csv"]).ended(3);
        ran.complains("7 users are not made inactive any more").says("10 unchanged, 2 rejected\n");
        rig.run(&["approve", &digest]).ended(1).complains("nothing is held at all");
        rig.run(&["sync"]).ended(0);
        assert_eq!(inactive(&rig), Vec::<String>::new(), "approved before: {approved}");
        assert_eq!((outcomes(&rig, "held"), outcomes(&rig, "open"), outcomes(&rig, "superseded")), (0, 0, 7));
        assert_eq!(rig.status()["operations"]["held"], json!(0));
    }
}

#[test]
fn an_approval_stands_when_the_same_is_asked_for_again() {
    let rig = settled(MODES[2], "guard.max_removals = 3");
    let five = || rig.write("hr.csv", &export((1..=5).map(newcomer)));
    let asked = ["provision", "hr.csv", "--deactivate-missing"];
    five();
    let digest = held(&rig);
    rig.run(&["approve", &digest]).ended(0);
    // Whoever is named again and then not any more is decided anew.
    rig.write("hr.csv", &export((1..=6).map(newcomer)));
    rig.run(&["provision", "hr.csv"]).ended(0);
    five();
    assert_eq!(held(&rig), digest);
    assert_eq!(inactive(&rig), Vec::<String>::new());

    rig.run(&["approve", &digest]).ended(0);
    // The same users, by another file.
    rig.write("hr.csv", &export((1..=5).map(newcomer).chain([newcomer(11)])));
    rig.run(&[&asked[..], &["--plan"]].concat()).ended(2).says("7 to deactivate because no row names them");
    rig.run(&asked).ended(0).says("1 created, 7 deactivated");
    let gone = ["E-0001", "E-0002"].map(str::to_owned).into_iter().chain((6..=10).map(hr));
    assert_eq!(inactive(&rig), gone.collect::<Vec<_>>());
}

#[test]
fn rows_end_with_what_is_discarded() {
    let rig = settled(MODES[2], "guard.max_removals = 3");
    rig.write("hr.csv", &export((1..=5).map(newcomer)));
    let digest = held(&rig);
    assert_eq!(outcomes(&rig, "held"), 7);
    rig.run(&["discard", &digest]).ended(0).says("7 operations are dropped");
    assert_eq!((outcomes(&rig, "held"), outcomes(&rig, "discarded")), (0, 7));
}

/// The limits of everybody: a fifth, of fifty users at least.
const A_FIFTH: &str = "guard.max_removals_percent = 20\nguard.min_users = 50";

/// A tenant in which an export has created so many, with further keys.
fn filled(count: usize, keys: &str) -> Rig {
    let rig = rig(1, MODES[2]);
    rig.set(&format!("{}\n{A_FIFTH}\n{keys}", quick("off")));
    rig.write("hr.csv", &export((1..=count).map(newcomer)));
    rig.run(&["provision", "hr.csv"]).ended(0);
    rig
}

#[test]
fn deactivations_count_over_the_window_and_not_run_by_run() {
    let rig = filled(120, "");
    let left = |count: usize| rig.write("hr.csv", &export((1..=count).map(newcomer)));
    left(100);
    rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(0).says("20 deactivated");
    left(81);
    let ran = rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(3).says("19 held");
    assert!(ran.stderr.contains("39 of 120 users whom earlier exports named"), "{}", ran.stderr);
    left(65);
    let ran = rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(3).says("35 held");
    assert!(ran.stderr.contains("55 of 120 users whom earlier exports named"), "{}", ran.stderr);
    assert_eq!(inactive(&rig).len(), 20);
    // Four more are within the limit, and what somebody forgets counts no more.
    left(96);
    rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(0).says("4 deactivated");
    left(81);
    held(&rig);
    rig.run(&["state", "reset", "guard"]).ended(0);
    rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(0).says("15 deactivated");
}

#[test]
fn whom_a_wrong_export_brings_does_not_make_those_few_who_are_missing_from_it() {
    let rig = filled(60, "");
    rig.write("hr.csv", &export((61..=360).map(newcomer)));
    let ran = rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(3).says("300 created, 60 held");
    assert!(ran.stderr.contains("60 of 60 users"), "{}", ran.stderr);
}

#[test]
fn a_short_export_is_held_in_a_tenant_of_many() {
    let cut = |rig: &Rig, found: &str| {
        rig.write("hr.csv", &export([newcomer(1)]));
        let ran = rig.run(&["provision", "hr.csv", "--deactivate-missing"]).ended(3).says(" held");
        assert!(ran.stderr.contains(found), "{}", ran.stderr);
    };
    // Passes know many whom no export has ever named.
    let many = rig(60, MODES[2]);
    many.set(&format!("{}\n{A_FIFTH}", quick("off")));
    many.run(&["sync"]).ended(0);
    let before = inactive(&many);
    many.write("hr.csv", &export((1..=20).map(newcomer)));
    many.run(&["provision", "hr.csv"]).ended(0);
    cut(&many, "19 of 20 users whom earlier exports named");
    assert_eq!(inactive(&many), before);

    // Exports have named more, who were made inactive long ago.
    let shrunk = filled(60, "");
    shrunk.write("hr.csv", &export((1..=30).map(newcomer)));
    let digest = held(&shrunk);
    shrunk.run(&["approve", &digest]).ended(0);
    shrunk.run(&["sync"]).ended(0);
    execute(&shrunk.database(), "UPDATE operations SET created_at = 0");
    cut(&shrunk, "29 of 30 users whom earlier exports named");
}

#[test]
fn whom_no_row_names_is_no_row_and_what_is_held_is_not_sent() {
    let rig = settled(MODES[2], "guard.max_removals = 1\nguard.min_users = 1");
    // One of those who are no longer named is inactive already.
    let nine = records(&rig)[&hr(9)]["id"].as_str().unwrap().to_owned();
    rig.tenant().set_active(&nine.as_str().into(), false).unwrap();
    rig.write("hr.csv", &export((1..=6).map(newcomer).chain([known(1, "", ""), known(2, "Lead", "")])));
    let told = rig.run(&["provision", "hr.csv", "--deactivate-missing", "--json"]).ended(3).json();
    assert_eq!(
        (&told["rows"], &told["processed"], &told["unnamed"], &told["held"], &told["unchanged"]),
        (&json!(8), &json!(8), &json!(3), &json!(3), &json!(8)),
        "{told:#}"
    );
    let (run, pass) = (told["run"].to_string(), told["pass"].to_string());
    let said = "8 of 8 rows processed, 3 of 3 users whom no row names, 8 unchanged, 3 held";
    let status = rig.run(&["status"]).ended(0);
    status.says(&format!("run {run} of hr.csv (provision) finished, began ")).says(said);
    let shown = rig.status()["passes"][0].take();
    assert_eq!(
        (&shown["users_read"], &shown["planned"], &shown["run"]["run"], &shown["run"]["state"]),
        (&json!(8), &json!(0), &told["run"], &json!("finished")),
        "{shown:#}"
    );
    for args in [["status", "--pass", &pass], ["status", "--run", &run]] {
        rig.run(&args).ended(0).says(said).says(&format!("run {run} of hr.csv")).says("HELD PLAN");
        let args: Vec<&str> = args.into_iter().chain(["--json"]).collect();
        let shown = rig.run(&args).ended(0).json();
        for key in ["rows", "processed", "held", "unchanged", "unnamed", "left"] {
            assert_eq!(shown["run"][key], told[key], "{key}");
        }
    }
    rig.run(&["status", "--run", "99"]).ended(1).complains("run 99 is not known (any more)");
}
