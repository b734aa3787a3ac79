//! Rows that are wrong: all of them are named in one go, and none stops a good one, unless that was asked for.

use std::fs;

use serde_json::{Value, json};

use super::people::{MODES, assert_there, export, known, newcomer, records, rig, writes};
use super::quick;
use crate::home::Home;
use crate::rig::Rig;

/// Good rows in lines 2, 6 and 12; each of the others is wrong in its own way.
fn mixed() -> String {
    let rows = [
        newcomer(1),
        ",new-0002@example.com,new-0002@example.com,New,Person,,,".to_owned(),
        "HR-0003,person.three,new-0003@example.com,New,Person,,,".to_owned(),
        "HR-0004,new-0004@example.com,not-a-mail-address,New,Person,,,".to_owned(),
        newcomer(5),
        "HR-0006,NEW-0001@example.com,new-0006@example.com,New,Person,,,".to_owned(),
        "HR-0001,new-0007@example.com,new-0007@example.com,New,Person,,,".to_owned(),
        "HR-0008,new-0008@example.com,new-0008@example.com,,Person,,,".to_owned(),
        "HR-0009,new-0009@example.com,new-0009@example.com,New,Person,,perhaps,".to_owned(),
        "HR-0010,new-0010@example.com,,New,Person,,,HR_PILOT".to_owned(),
        newcomer(11),
    ];
    export(rows)
}

fn with_roles(file: &str) -> Rig {
    let rig = rig(5, MODES[0]);
    rig.set(&format!("{}\nprovision.roles = [\"HR_SALES\", \"HR_FINANCE\"]", quick("jobs")));
    rig.write("hr.csv", file);
    rig
}

/// Line, field and value of each fault.
fn faults(told: &Value) -> Vec<(u64, &str, &str)> {
    let faults = told["faults"].as_array().unwrap().iter().map(|fault| {
        let text = |name: &str| fault[name].as_str().unwrap_or_default();
        assert!(!text("reason").is_empty(), "{fault}");
        (fault["line"].as_u64().unwrap(), text("field"), text("value"))
    });
    faults.collect()
}

const EXPECTED: [(u64, &str, &str); 9] = [
    (3, "externalId", ""),
    (4, "userName", "***"),
    (5, "email", "***"),
    (7, "userName", "N***@***"),
    (8, "externalId", "HR-0001"),
    (9, "name.givenName", ""),
    (10, "active", "perhaps"),
    (11, "roles", "HR_PILOT"),
    (11, "emails", ""),
];

/// Each key of what the commands say, and each column of the report, is explained.
#[test]
fn docs_name_whatever_is_said_of_a_run() {
    let rig = rig(2, MODES[2]);
    rig.write("hr.csv", &export([newcomer(1), known(1, "Lead", ""), ",bad,,,,,,".to_owned()]));
    rig.write("attributes.csv", "externalId,desk\nE-0002,A-17\nHR-9999,A-17\n");
    let mut said = Vec::new();
    for command in [["provision", "hr.csv"], ["attributes", "attributes.csv"]] {
        let [name, file] = command;
        said.push(rig.run(&[name, file, "--plan", "--json"]).ended(3).json());
        said.push(rig.run(&[name, file, "--json", "--report", "report.csv"]).ended(3).json());
    }
    let docs = include_str!("../../../docs/JSON.md");
    let section = docs.split("**`provision`**").nth(1).unwrap().split("**`status`**").next().unwrap();
    let explained = |word: &str| section.contains(&format!("`{word}`"));
    for answer in &said {
        let rows = ["planned", "faults", "left"].map(|list| answer[list].as_array().into_iter().flatten());
        for object in rows.into_iter().flatten().chain([answer]) {
            for key in object.as_object().unwrap().keys() {
                assert!(explained(key), "docs/JSON.md does not explain {key}");
            }
        }
    }
    let report = fs::read_to_string(rig.path("report.csv")).unwrap();
    let header = report.lines().next().unwrap();
    assert!(explained(header), "docs/JSON.md does not show {header}");
}

#[test]
fn each_wrong_row_is_named_and_every_good_one_is_carried_out() {
    let rig = with_roles(&mixed());
    let ran = rig.run(&["provision", "hr.csv", "--json"]).ended(3);
    let told = ran.json();
    assert_eq!(faults(&told), EXPECTED, "{told:#}");
    assert_eq!(
        (&told["rows"], &told["created"], &told["rejected"], &told["exit_code"]),
        (&json!(11), &json!(3), &json!(8), &json!(3))
    );
    assert_eq!((&told["error_rate"], &told["left"]), (&json!(8.0 / 11.0), &json!([])));
    for private in ["person.three", "not-a-mail", "new-0002", "Person"] {
        assert!(!ran.stdout.contains(private) && !ran.stderr.contains(private), "{private}");
    }
    assert_there(&rig, 5, [1, 5, 11]);

    let ran =
        rig.run(&["provision", "hr.csv"]).ended(3).says("11 of 11 rows processed, 3 unchanged, 8 rejected");
    let table: Vec<Vec<&str>> = ran
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<&str>| {
            words.first().is_some_and(|word| word.parse::<u64>().is_ok()) && words[1] != "of"
        })
        .collect();
    let lines: Vec<u64> = table.iter().map(|words| words[0].parse().unwrap()).collect();
    let fields: Vec<&str> = table.iter().map(|words| words[1]).collect();
    assert_eq!(lines, EXPECTED.map(|(line, ..)| line), "{}", ran.stdout);
    assert_eq!(fields, EXPECTED.map(|(_, field, _)| field), "{}", ran.stdout);
}

#[test]
fn a_password_must_be_strong_and_is_shown_nowhere() {
    let rig = rig(2, MODES[2]);
    let row = |number: u32, password: &str| {
        format!("HR-{number},new-{number}@example.com,new-{number}@example.com,New,{password}\n")
    };
    let header = "externalId,userName,email,givenName,password\n";
    let weak = ["Sh0rtXy", "NODIGITSxy", "n0capitals", "N0SMALLONES"];
    let rows: String = (1..).zip(weak).map(|(number, weak)| row(number, weak)).collect();
    rig.write("hr.csv", &format!("{header}{rows}{}", row(5, "Str0ngEnough")));
    let ran = rig.run(&["provision", "hr.csv", "--json", "--report", "report.csv"]).ended(3);
    assert_eq!(faults(&ran.json()), [2, 3, 4, 5].map(|line| (line, "password", "***")), "{}", ran.stdout);
    assert_eq!(records(&rig).len(), 3);
    let seen = ["report.csv", "audit.jsonl"].map(|name| fs::read_to_string(rig.path(name)).unwrap()).concat();
    let database = fs::read(rig.database()).unwrap();
    for password in weak.into_iter().chain(["Str0ngEnough"]) {
        let kept = database.windows(password.len()).any(|window| window == password.as_bytes());
        let told = [&seen, &ran.stdout, &ran.stderr].into_iter().any(|text| text.contains(password));
        assert!(!(told || kept && password != "Str0ngEnough"), "{password}");
    }
}

#[test]
fn with_strict_one_wrong_row_stops_all() {
    let rig = with_roles(&mixed());
    let ran = rig.run(&["provision", "hr.csv", "--strict", "--json"]).ended(3);
    assert_eq!(faults(&ran.json()), EXPECTED);
    let ran = rig.run(&["provision", "hr.csv", "--strict"]).ended(3);
    let ran = ran.says("roles").complains("8 rows are wrong: nothing was done (--strict)");
    assert!(ran.stdout.contains("HR_PILOT"));
    assert_eq!((writes(&rig), records(&rig).len()), (0, 5));
    rig.write("hr.csv", &export([newcomer(1)]));
    rig.run(&["provision", "hr.csv", "--strict"]).ended(0).says("1 created");
}

#[test]
fn whom_a_row_makes_inactive_is_changed_and_only_whom_none_names_is_deactivated() {
    let rig = rig(5, MODES[0]);
    rig.write("hr.csv", &export([known(1, "", "false"), known(2, "", "")]));
    let plan = rig.run(&["provision", "hr.csv", "--plan"]).ended(2);
    plan.says("1 to change, 0 to reactivate, 0 to deactivate because no row names them, 1 as they should be");
    rig.run(&["provision", "hr.csv"]).ended(0).says("1 updated, 1 unchanged\n");
    assert_eq!(records(&rig)["E-0001"]["active"], json!(false));
}

#[test]
fn a_plan_shows_all_and_changes_nothing() {
    for mode in MODES {
        let rig = rig(5, mode);
        rig.write("hr.csv", &export([newcomer(1), known(1, "Lead", ""), known(2, "", "")]));
        let told = rig.run(&["provision", "hr.csv", "--plan", "--json"]).ended(2).json();
        let planned: Vec<(&Value, &Value, &Value)> = told["planned"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (&row["line"], &row["external_id"], &row["action"]))
            .collect();
        assert_eq!(
            planned,
            [
                (&json!(2), &json!("HR-0001"), &json!("create")),
                (&json!(3), &json!("E-0001"), &json!("update"))
            ]
        );
        assert_eq!((&told["planned"][1]["attributes"], &told["unchanged"]), (&json!(["title"]), &json!(1)));
        let text = rig.run(&["provision", "hr.csv", "--plan"]).ended(2);
        text.says("3 rows: 1 to create, 1 to change, 0 to reactivate, 0 to deactivate because no row names them, 1 as they should be, 0 rejected; nothing was changed");
        assert_eq!((writes(&rig), records(&rig).len()), (0, 5));

        rig.run(&["provision", "hr.csv"]).ended(0).says("1 created, 1 updated, 1 unchanged");
        rig.run(&["provision", "hr.csv", "--plan"]).ended(0).says("0 to create, 0 to change");
    }
    let rig = with_roles(&mixed());
    let told = rig.run(&["provision", "hr.csv", "--plan", "--json"]).ended(3).json();
    assert_eq!((faults(&told), told["planned"].as_array().unwrap().len()), (EXPECTED.to_vec(), 3));
    assert_eq!(writes(&rig), 0);
}

/// The lines of a report, by cell.
fn report(home: &Home) -> Vec<[String; 7]> {
    let mut reader = csv::Reader::from_path(home.path("report.csv")).unwrap();
    assert_eq!(
        reader.headers().unwrap(),
        vec!["line", "external_id", "user_id", "outcome", "action", "reason", "operation"]
    );
    let cells = |row: csv::StringRecord| {
        let row: Vec<String> = row.iter().map(str::to_owned).collect();
        row.try_into().unwrap()
    };
    reader.records().map(|row| cells(row.unwrap())).collect()
}

#[test]
fn the_report_has_a_line_for_each_row() {
    let rig = with_roles(&format!("{}{}\n{}\n", mixed(), known(1, "Lead", ""), known(2, "", "")));
    rig.run(&["provision", "hr.csv", "--report", "report.csv"]).ended(3);
    let (rows, people) = (report(&rig), records(&rig));
    let lines: Vec<u64> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(lines, (2..=14).collect::<Vec<u64>>());
    for row in &rows {
        let [line, external_id, user, outcome, action, reason, operation] =
            row.each_ref().map(String::as_str);
        let (expected, what) = match line {
            "2" | "6" | "12" => ("created", "create"),
            "13" => ("updated", "update"),
            "14" => ("unchanged", ""),
            _ => ("rejected", ""),
        };
        assert_eq!((outcome, action), (expected, what), "{row:?}");
        assert_eq!(reason.is_empty(), outcome != "rejected", "{row:?}");
        assert_eq!(operation.is_empty(), what.is_empty(), "{row:?}");
        if outcome == "rejected" {
            assert_eq!(external_id.is_empty(), line == "3", "{row:?}");
        } else {
            assert_eq!(people[external_id]["id"], user, "{row:?}");
        }
    }
    let text = fs::read_to_string(rig.path("report.csv")).unwrap();
    assert!(!text.contains("person.three") && !text.contains("new-0"), "{text}");
    assert!(rows[9][5].contains("emails") && rows[9][5].contains("roles HR_PILOT"), "{:?}", rows[9]);
}

#[test]
fn no_more_users_are_created_than_the_tenant_may_have() {
    for mode in MODES {
        let rig = rig(5, mode);
        rig.set(&format!("{}\nprovision.max_users = 8", quick(mode.0)));
        rig.write("hr.csv", &export((1..=5).map(newcomer).chain([known(1, "Lead", "")])));
        let strict = rig.run(&["provision", "hr.csv", "--strict"]).ended(3).says("it may have 8 users");
        strict.complains("2 rows cannot be carried out: nothing was done (--strict)");
        assert_eq!(writes(&rig), 0);
        let told = rig.run(&["provision", "hr.csv", "--json"]).ended(3).json();
        assert_eq!(
            (&told["created"], &told["updated"], &told["rejected"]),
            (&json!(3), &json!(1), &json!(2))
        );
        let left: Vec<&Value> = told["left"].as_array().unwrap().iter().collect();
        assert_eq!(left.iter().map(|row| &row["line"]).collect::<Vec<_>>(), [&json!(5), &json!(6)]);
        let reason = left[0]["reason"].as_str().unwrap();
        assert!(reason.contains("it may have 8 users (provision.max_users)"), "{reason}");
        assert_there(&rig, 5, 1..=3);
        rig.run(&["provision", "hr.csv"]).ended(3).says("4 unchanged, 2 rejected");
        assert_there(&rig, 5, 1..=3);
    }
}

#[test]
fn a_file_that_cannot_be_read_leaves_everything_as_it_is() {
    let rig = rig(2, MODES[0]);
    rig.run(&["provision", "hr.csv"]).ended(64).complains("hr.csv");
    for (text, complaint) in [
        ("externalId,userName,email,givenname,roles,shoeSize\n", "shoeSize"),
        ("a,b\n1,2\n", "none of its 2 columns is known"),
        ("externalId;userName;email;givenName\n", "save it with commas"),
        ("externalId,userName,email\n", "there is no column givenName"),
    ] {
        rig.write("hr.csv", text);
        rig.run(&["provision", "hr.csv"]).ended(64).complains(complaint);
    }
    assert_eq!(rig.stats().requests.len(), 0, "nobody was asked");
}

#[test]
fn a_report_does_not_mix_with_the_summary_by_chance() {
    let rig = rig(3, MODES[2]);
    rig.write("hr.csv", &export([newcomer(1)]));
    for how in [&[][..], &["--plan"]] {
        let ran = rig.run(&[&["provision", "hr.csv", "--report", "-"][..], how].concat()).ended(64);
        assert_eq!(ran.complains("name a file, or /dev/stdout").stdout, "");
    }
    assert!(!rig.path("-").exists() && rig.stats().requests.is_empty(), "nothing was done");
}
