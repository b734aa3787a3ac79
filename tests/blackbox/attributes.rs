//! `attributes`: custom attributes of many users, as the document about them prints the calls, and as the tenant has them
//! afterwards.

use std::collections::BTreeMap;

use rosterd::practice::{Fault, Faults, Options};
use serde_json::{Value, json};
use wiremock::{Request, ResponseTemplate};

use crate::process::Daemon;
use crate::provision::{lines, records};
use crate::rig::{Rig, users};
use crate::scripted::{Scripted, list, page, parameter, refusal, user};

const ATTRIBUTES: &str = "customAttributes";

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn id(rig: &Rig, index: usize) -> String {
    rig.tenant().users()[index].id.to_string()
}

/// The custom attributes of each user, by `externalId`; null for whoever has none.
fn attributes(rig: &Rig) -> BTreeMap<String, Value> {
    records(rig).into_iter().map(|(id, user)| (id, user[ATTRIBUTES].clone())).collect()
}

/// Everyone's cost centre and team.
fn file(rig: &Rig, count: usize) -> String {
    let rows = (0..count).map(|index| format!("{},CC-{index},ALPHA\n", id(rig, index)));
    format!("id,costCenter,teamCode\n{}", rows.collect::<String>())
}

#[test]
fn the_request_of_the_document_is_sent_as_printed_with_its_schema() {
    // "Example Request Payload"
    let printed: Value = serde_json::from_str(
        r#"{
          "Operations": [
            { "op": "replace", "path": "customAttributes[\"department\"]", "value": "Engineering" },
            { "op": "replace", "path": "customAttributes[\"costCenter\"]", "value": "CC-4092" }
          ]
        }"#,
    )
    .unwrap();
    for status in [204, 200] {
        let tenant = Scripted::new(move |name, _| {
            (name == "PATCH /Users/a1b2c3d4-e5f6-7890-abcd-ef1234567890")
                .then(|| ResponseTemplate::new(status))
        });
        tenant.write(
            "attributes.csv",
            "id,department,costCenter\na1b2c3d4-e5f6-7890-abcd-ef1234567890,Engineering,CC-4092\n",
        );
        tenant.run(&["attributes", "attributes.csv"]).ended(0).says("1 of 1 row processed, 1 updated");
        let patches = tenant.named("PATCH /Users/a1b2c3d4-e5f6-7890-abcd-ef1234567890");
        assert_eq!((patches.len(), tenant.writes()), (1, 1));
        let sent = body(&patches[0]);
        assert_eq!(sent["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:PatchOp"]));
        let sorted = |body: &Value| {
            let mut operations = body["Operations"].as_array().unwrap().clone();
            operations.sort_by_key(|operation| operation["path"].to_string());
            operations
        };
        assert_eq!(sorted(&sent), sorted(&printed));
    }
}

#[test]
fn the_whole_example_gives_three_users_the_same_attributes() {
    let ids = [
        "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
        "b2c3d4e5-f6a7-8901-bcde-f12345678901",
        "c3d4e5f6-a7b8-9012-cdef-123456789012",
    ];
    let tenant = Scripted::new(|name, _| name.starts_with("PATCH ").then(|| ResponseTemplate::new(204)));
    tenant.write("users.txt", &(ids.join("\n") + "\n"));
    let set = ["employeeId=EMP-99201", "teamCode=ALPHA", "shiftGroup=US-CENTRAL"];
    let args: Vec<&str> = ["attributes", "--users", "users.txt"]
        .into_iter()
        .chain(set.iter().flat_map(|set| ["--set", *set]))
        .collect();
    tenant.run(&args).ended(0).says("3 updated");
    for id in ids {
        let patches = tenant.named(&format!("PATCH /Users/{id}"));
        assert_eq!(patches.len(), 1);
        let written: BTreeMap<String, Value> = body(&patches[0])["Operations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|operation| (operation["path"].as_str().unwrap().to_owned(), operation["value"].clone()))
            .collect();
        let expected = [("employeeId", "EMP-99201"), ("shiftGroup", "US-CENTRAL"), ("teamCode", "ALPHA")];
        let expected = expected.map(|(key, value)| (format!("customAttributes[\"{key}\"]"), json!(value)));
        assert_eq!(written, expected.into());
    }
    assert_eq!(tenant.writes(), 3, "one call a user");
}

#[test]
fn the_400_of_the_document_fails_that_user_and_names_the_key() {
    // "Expected Response (400 Bad Request)"
    let refused = r#"{ "errors": [ {
        "detail": "Invalid SCIM patch operation: path 'customAttributes[\"invalid\"]' does not exist.", "status": "400" } ] }"#;
    let tenant = Scripted::new(move |name, _| match name {
        "PATCH /Users/u-2" => Some(ResponseTemplate::new(400).set_body_raw(refused, "application/json")),
        "PATCH /Users/u-1" | "PATCH /Users/u-3" => Some(ResponseTemplate::new(204)),
        _ => None,
    });
    tenant.write("attributes.csv", "id,invalid,good\nu-1,,x\nu-2,y,x\nu-3,,x\n");
    let told = tenant.run(&["attributes", "attributes.csv", "--json"]).ended(3).json();
    assert_eq!((&told["updated"], &told["failed"]), (&json!(2), &json!(1)));
    let left = &told["left"][0];
    assert_eq!((&left["line"], &left["user"]), (&json!(3), &json!("u-2")));
    let reason = left["reason"].as_str().unwrap();
    assert!(
        reason.contains("customAttributes[\"invalid\"]") && reason.contains("does not exist"),
        "{reason}"
    );
    assert_eq!(tenant.named("PATCH /Users/u-2").len(), 1, "it is not tried again");

    let letters = tenant.run(&["dead-letters", "list", "--json"]).ended(0).json();
    let letter = &letters["dead_letters"][0];
    assert_eq!((&letter["user"], &letter["status"]), (&json!("u-2"), &json!(400)));
    assert_eq!(lines(&tenant, "user_written").len(), 2);
    assert_eq!(lines(&tenant, "user_not_written").len(), 1);
    tenant.run(&["audit", "verify"]).ended(0);
}

#[test]
fn a_401_fetches_one_new_token_and_loses_nobody() {
    let rig = Rig::live(users(10));
    rig.write("attributes.csv", &file(&rig, 10));
    let told = |rig: &Rig| rig.run(&["attributes", "attributes.csv"]).ended(0).says("10 updated");
    told(&rig);
    rig.tenant().revoke_tokens();
    told(&rig);
    assert_eq!(attributes(&rig)["E-0010"], json!({ "costCenter": "CC-9", "teamCode": "ALPHA" }));
}

#[test]
fn users_are_named_by_id_by_user_name_or_by_external_id() {
    let rig = Rig::live(users(30));
    let named = |by: &str, index: usize| match by {
        "id" => id(&rig, index),
        "userName" => format!("USER-{:04}@practice.example", index + 1),
        _ => format!("E-{:04}", index + 1),
    };
    for (by, team) in [("id", "A"), ("userName", "B"), ("externalId", "C")] {
        let rows: Vec<String> =
            (0..30).map(|index| format!("{},{team}-{index}\n", named(by, index))).collect();
        let rows = rows.concat();
        rig.write("attributes.csv", &format!("{by},teamCode\n{rows}"));
        rig.run(&["attributes", "attributes.csv"]).ended(0).says("30 updated");
        let now = attributes(&rig);
        for index in 0..30 {
            assert_eq!(now[&format!("E-{:04}", index + 1)], json!({ "teamCode": format!("{team}-{index}") }));
        }
    }
    let audited = lines(&rig, "user_written");
    assert_eq!(audited.len(), 90, "one for each user");
    assert!(
        audited.iter().all(|line| line["attributes"] == json!(["teamCode"]) && line["kind"] == "attributes")
    );
    let audit = std::fs::read_to_string(rig.path("audit.jsonl")).unwrap();
    assert!(!audit.contains("A-7") && !audit.contains("@practice.example"), "names of attributes only");
    rig.run(&["audit", "verify"]).ended(0);
}

#[test]
fn names_are_asked_for_many_at_once() {
    let rig = Rig::live(users(100));
    let rows: Vec<String> = (1..=100).map(|number| format!("E-{number:04},X\n")).collect();
    let rows = rows.concat();
    rig.write("attributes.csv", &format!("externalId,teamCode\n{rows}"));
    rig.run(&["attributes", "attributes.csv"]).ended(0).says("100 updated");
    let asked = rig.stats().count("GET /Users");
    assert!(asked <= 20, "{asked} calls for a hundred names");
}

#[test]
fn whom_the_tenant_does_not_know_is_asked_for_alone_before_he_counts_as_unknown() {
    // It shows nobody to whoever asks for several at once.
    let tenant = Scripted::new(|name, request| match (name, parameter(request, "filter")) {
        ("GET /Users", Some(filter)) if filter.contains(" or ") => Some(page(&[], 0)),
        ("GET /Users", Some(filter)) if filter.contains("HR-1") => {
            let mut known = user("u-1", &[], &[]);
            known["externalId"] = json!("HR-1");
            Some(list(&[known]))
        }
        ("GET /Users", _) => Some(page(&[], 0)),
        ("PATCH /Users/u-1", _) => Some(ResponseTemplate::new(204)),
        _ => None,
    });
    tenant.write("attributes.csv", "externalId,teamCode\nHR-1,A\nHR-2,A\n");
    let strict = tenant.run(&["attributes", "attributes.csv", "--strict", "--json"]).ended(3).json();
    assert_eq!((&strict["left"][0]["line"], &strict["faults"], tenant.writes()), (&json!(3), &json!([]), 0));
    let told =
        tenant.run(&["attributes", "attributes.csv", "--json", "--report", "report.csv"]).ended(3).json();
    assert_eq!((&told["updated"], &told["unresolved"]), (&json!(1), &json!(1)));
    let left = &told["left"][0];
    assert_eq!((&left["line"], &left["outcome"]), (&json!(3), &json!("unresolved")));
    assert_eq!(left["reason"], "the tenant has nobody with this externalId");
    let asked: Vec<String> =
        tenant.named("GET /Users").iter().filter_map(|call| parameter(call, "filter")).collect();
    assert!(asked.contains(&"externalId eq \"HR-2\"".to_owned()), "{asked:?}");
    let report = std::fs::read_to_string(tenant.path("report.csv")).unwrap();
    assert_eq!(report.lines().count(), 3);
    assert!(report.contains(",unresolved,"), "{report}");
}

#[test]
fn json_lines_carry_values_of_all_kinds() {
    let rig = Rig::live(users(3));
    let rows = [
        json!({ "id": id(&rig, 0), "attributes": { "level": 7, "remote": true, "teamCode": "A" } }),
        json!({ "externalId": "E-0002", "attributes": { "teamCode": "B" } }),
        json!({ "userName": "user-0003@practice.example", "attributes": { "teamCode": "C" } }),
    ];
    rig.write("attributes.jsonl", &rows.map(|row| row.to_string() + "\n").concat());
    rig.run(&["attributes", "attributes.jsonl"]).ended(0).says("3 updated");
    let now = attributes(&rig);
    assert_eq!(now["E-0001"], json!({ "level": 7, "remote": true, "teamCode": "A" }));
    assert_eq!((&now["E-0002"]["teamCode"], &now["E-0003"]["teamCode"]), (&json!("B"), &json!("C")));
    let gone = json!({ "id": id(&rig, 0), "attributes": { "level": null } });
    rig.write("attributes.jsonl", &format!("{gone}\n"));
    rig.run(&["attributes", "attributes.jsonl"]).ended(0).says("1 updated");
    assert_eq!(attributes(&rig)["E-0001"], json!({ "remote": true, "teamCode": "A" }));
}

#[test]
fn an_empty_cell_leaves_alone_and_the_marker_takes_away() {
    for (keys, marker) in [("", "<remove>"), ("attributes.remove_marker = \"(none)\"", "(none)")] {
        let rig = Rig::live(users(2));
        rig.set(keys);
        let (one, two) = (id(&rig, 0), id(&rig, 1));
        rig.write("attributes.csv", &format!("id,a,b\n{one},1,2\n{two},1,2\n"));
        rig.run(&["attributes", "attributes.csv"]).ended(0);
        rig.write("attributes.csv", &format!("id,a,b\n{one},{marker},\n{two},,3\n"));
        rig.run(&["attributes", "attributes.csv"]).ended(0).says("2 updated");
        let now = attributes(&rig);
        assert_eq!((&now["E-0001"], &now["E-0002"]), (&json!({ "b": "2" }), &json!({ "a": "1", "b": "3" })));
    }
}

#[test]
fn keys_with_quotes_and_backslashes_arrive_as_they_are() {
    let key = r#"a"b\c"#;
    let keys = vec![key.to_owned(), "teamCode".to_owned()];
    let rig = Rig::live(Options { attribute_keys: keys, ..users(2) });
    rig.write("attributes.csv", &format!("id,\"a\"\"b\\c\",teamCode\n{},x,A\n", id(&rig, 0)));
    rig.run(&["attributes", "attributes.csv"]).ended(0).says("1 updated");
    assert_eq!(attributes(&rig)["E-0001"], json!({ key: "x", "teamCode": "A" }));
    rig.write("users.csv", "externalId\nE-0002\n");
    let set = format!("{key}=y=z");
    rig.run(&["attributes", "--users", "users.csv", "--set", &set]).ended(0).says("1 updated");
    assert_eq!(attributes(&rig)["E-0002"], json!({ key: "y=z" }));
}

#[test]
fn with_diff_only_what_differs_is_sent() {
    let rig = Rig::live(users(20));
    rig.write("attributes.csv", &file(&rig, 20));
    rig.run(&["attributes", "attributes.csv"]).ended(0).says("20 updated");
    assert_eq!(rig.patches(), 20);
    rig.run(&["attributes", "attributes.csv", "--diff"]).ended(0).says("20 unchanged");
    assert_eq!(rig.patches(), 20, "nothing differs");
    rig.run(&["attributes", "attributes.csv"]).ended(0).says("20 updated");
    assert_eq!(rig.patches(), 40, "without it all is sent");

    let changed = file(&rig, 20).replace("CC-7,ALPHA", "CC-7,BETA");
    rig.write("attributes.csv", &changed);
    let plan = rig.run(&["attributes", "attributes.csv", "--diff", "--plan", "--json"]).ended(2).json();
    let planned = plan["planned"].as_array().unwrap();
    assert_eq!((planned.len(), &planned[0]["attributes"]), (1, &json!(["teamCode"])), "{plan:#}");
    assert_eq!(rig.patches(), 40);
    rig.run(&["attributes", "attributes.csv", "--diff"]).ended(0).says("1 updated, 19 unchanged");
    assert_eq!((rig.patches(), &attributes(&rig)["E-0008"]["teamCode"]), (41, &json!("BETA")));
}

/// A tenant that knows one key, and a file with that one and another.
fn with_unknown_key(count: usize) -> Rig {
    let rig = Rig::live(Options { attribute_keys: vec!["costCenter".to_owned()], ..users(count) });
    rig.write("attributes.csv", &file(&rig, count));
    rig
}

#[test]
fn after_twenty_refusals_for_one_reason_the_rest_is_held() {
    let rig = with_unknown_key(100);
    // However many calls could be in flight at once.
    rig.set("delivery.workers = 30");
    let ran = rig.run(&["attributes", "attributes.csv", "--json"]).ended(3);
    let told = ran.json();
    assert_eq!((&told["failed"], &told["held"]), (&json!(20), &json!(80)), "{told:#}");
    assert_eq!((&told["state"], rig.patches()), (&json!("stopped"), 20));
    let reason = told["reason"].as_str().unwrap();
    assert!(
        reason.contains("customAttributes[\"teamCode\"]") && reason.contains("does not exist"),
        "{reason}"
    );
    assert!(attributes(&rig).values().all(Value::is_null));
    let stopped: Vec<Value> = ran
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["message"] == "run is stopped")
        .collect();
    assert_eq!(stopped.len(), 1, "{}", ran.stderr);
    let said = &stopped[0];
    assert_eq!(
        (&said["level"], &said["run"], &said["rows"], &said["failed"], &said["held"]),
        (&json!("ERROR"), &told["run"], &json!(100), &json!(20), &json!(80)),
    );
    assert_eq!(said["reason"], told["reason"]);

    // Another file has to wait; the same one without force meets the same wall.
    rig.write("other.csv", &format!("id,costCenter\n{},CC-0\n", id(&rig, 0)));
    let refused = rig.run(&["attributes", "other.csv"]).ended(1);
    refused.complains("run 1 of attributes.csv is not finished: run").complains("--drop-unfinished");
    let sent = rig.patches();
    let before = std::fs::read_to_string(rig.path("attributes.csv")).unwrap();
    rig.write("attributes.csv", &before.replace("teamCode", "desk"));
    let mended = "run 1 of attributes.csv is not finished, and the content of attributes.csv, or what is asked for, is another one";
    for how in [&[][..], &["--plan"], &["--strict"]] {
        let asked = ["attributes", "attributes.csv"];
        let refused = rig.run(&[&asked[..], how].concat()).ended(1);
        assert_eq!(refused.complains(mended).complains("--drop-unfinished").stdout, "", "{how:?}");
    }
    rig.run(&["attributes", "attributes.csv", "--plan", "--drop-unfinished"]).ended(2).says("100 to change");
    assert_eq!(rig.patches(), sent);
    rig.write("attributes.csv", &before);
    rig.run(&["attributes", "attributes.csv", "--plan"]).ended(2).says("100 to change");
    let again = rig.run(&["attributes", "attributes.csv"]).ended(3);
    again.says("stopped").says("run the same command with --force");
    assert!(rig.patches() < 90, "{}", rig.patches());

    let told = rig.run(&["attributes", "attributes.csv", "--force", "--json"]).ended(3).json();
    assert_eq!(
        (&told["failed"], &told["held"], &told["state"]),
        (&json!(100), &json!(0), &json!("finished"))
    );
    rig.run(&["attributes", "other.csv"]).ended(0).says("1 updated");
}

#[test]
fn a_sync_tells_of_a_stopped_file_and_promises_no_approval() {
    let rig = with_unknown_key(60);
    rig.run(&["attributes", "attributes.csv"]).ended(3).says("40 rows are held");
    let ran = rig.run(&["sync"]).ended(3).says(
        "acme: run 1 of attributes.csv is stopped and has 40 open rows: `rosterd status --run 1` says why",
    );
    assert!(!ran.stdout.contains("how to approve"), "nothing waits for an approval: {}", ran.stdout);
    let run = rig.status()["unfinished_runs"][0].take();
    assert_eq!(run, json!({ "run": 1, "file": "attributes.csv", "state": "stopped", "open": 40 }));
    rig.run(&["status"]).ended(0).says("40 open rows of files");
}

#[test]
fn a_run_that_was_stopped_goes_on_once_the_tenant_knows_the_key() {
    let known = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let open = known.clone();
    let tenant = Scripted::new(move |name, _| {
        let accepts = open.load(std::sync::atomic::Ordering::SeqCst);
        let refused = json!({ "errors": [{ "detail": "path 'customAttributes[\"x\"]' does not exist.", "status": "400" }] });
        let answer = if accepts {
            ResponseTemplate::new(204)
        } else {
            ResponseTemplate::new(400).set_body_json(refused)
        };
        name.starts_with("PATCH ").then_some(answer)
    });
    let rows: Vec<String> = (1..=60).map(|number| format!("u-{number},1\n")).collect();
    let rows = rows.concat();
    tenant.write("attributes.csv", &format!("id,x\n{rows}"));
    tenant
        .run(&["attributes", "attributes.csv"])
        .ended(3)
        .says("customAttributes[\"x\"]")
        .says("rows are held");
    known.store(true, std::sync::atomic::Ordering::SeqCst);
    tenant.run(&["attributes", "attributes.csv"]).ended(0).says("60 of 60 rows processed, 60 updated\n");
    tenant.run(&["dead-letters", "list"]).ended(0).says("no dead letters");
}

#[test]
fn what_is_left_of_a_file_can_be_given_up() {
    let rig = with_unknown_key(60);
    rig.run(&["attributes", "attributes.csv"]).ended(3);
    rig.run(&["status"])
        .ended(0)
        .says("run 1 of attributes.csv (attributes) stopped")
        .says("20 failed, 40 held");
    let sent = rig.patches();
    rig.write("other.csv", &format!("id,costCenter\n{},CC-0\n", id(&rig, 59)));
    let ran = rig
        .run(&["attributes", "other.csv", "--drop-unfinished"])
        .ended(0)
        .says("1 of 1 row processed, 1 updated");
    ran.complains("run 1 of attributes.csv is given up");
    assert_eq!(rig.patches(), sent + 1, "nothing of the earlier file");
    let status = rig.run(&["status"]).ended(0);
    status
        .says("run 1 of attributes.csv (attributes) superseded")
        .says("60 of 60 rows processed, 20 failed, 40 superseded");
    let shown = rig.run(&["status", "--run", "1"]).ended(0).says("  it was stopped: ").stdout;
    for advice in ["run the same command again", "--force", "--drop-unfinished"] {
        assert!(!shown.contains(advice), "{shown}");
    }
    rig.run(&["attributes", "attributes.csv", "--plan"]).says("60 rows: 60 to change, 0 as");
}

#[test]
fn one_refusal_among_successes_stops_nothing() {
    let rig = Rig::live(users(60));
    let refused: BTreeMap<String, u16> = (10..40).map(|index| (id(&rig, index), 400)).collect();
    rig.faults(Faults { fail_users: refused, ..Faults::default() });
    rig.set("delivery.workers = 1");
    rig.write("attributes.csv", &file(&rig, 60));
    rig.run(&["attributes", "attributes.csv"])
        .ended(3)
        .says("60 of 60 rows processed, 30 updated, 30 failed");
    let letters = rig.run(&["dead-letters", "list", "--json"]).ended(0).json();
    assert_eq!(letters["dead_letters"].as_array().unwrap().len(), 30);
    rig.faults(Faults::default());
    rig.run(&["attributes", "attributes.csv", "--diff"]).ended(0).says("30 updated, 30 unchanged");
    rig.run(&["dead-letters", "list"]).ended(0).says("no dead letters");
}

#[test]
fn a_dead_letter_that_is_sent_once_more_does_not_spoil_a_later_file() {
    // The tenant knows one key of two; or it refuses the user once.
    for knows_both in [false, true] {
        let keys = if knows_both { vec!["costCenter", "teamCode"] } else { vec!["costCenter"] };
        let keys = keys.into_iter().map(str::to_owned).collect();
        let rig = Rig::live(Options { attribute_keys: keys, ..users(1) });
        let one = id(&rig, 0);
        if knows_both {
            rig.faults(Faults { fail_users: [(one.clone(), 400)].into(), ..Faults::default() });
        }
        rig.write("bad.csv", &format!("id,teamCode\n{one},ALPHA\n"));
        rig.run(&["attributes", "bad.csv"]).ended(3).says("1 failed");
        rig.faults(Faults::default());
        rig.run(&["dead-letters", "replay", "--all"]).ended(0);
        rig.write("good.csv", &format!("id,costCenter\n{one},CC-1\n"));
        let plan = rig.run(&["attributes", "good.csv", "--plan", "--json"]).ended(2).json();
        assert_eq!(plan["planned"][0]["attributes"], json!(["costCenter"]));
        rig.run(&["attributes", "good.csv"]).ended(0).says("1 of 1 row processed, 1 updated\n");
        let team = if knows_both {
            json!({ "costCenter": "CC-1", "teamCode": "ALPHA" })
        } else {
            json!({ "costCenter": "CC-1" })
        };
        assert_eq!(attributes(&rig)["E-0001"], team);
        assert_eq!(rig.patches(), 3, "the letter twice, and the later row by itself");
    }
}

#[test]
fn neither_429_nor_500_fails_a_user() {
    // One of ten is told off, and then one of twenty fails.
    for (error_rate, error_status, count) in [(0.1, 429, 25), (0.05, 500, 150)] {
        let faults = Faults { error_rate, error_status, ..Faults::default() };
        let rig = Rig::live(Options { faults, ..users(count) });
        rig.write("attributes.csv", &file(&rig, count));
        let said = format!("{count} of {count} rows processed, {count} updated\n");
        rig.run(&["attributes", "attributes.csv"]).ended(0).says(&said);
        assert!(rig.stats().faults.contains_key(&Fault::Error));
        rig.faults(Faults::default());
        let now = attributes(&rig);
        for index in 0..count {
            let expected = json!({ "costCenter": format!("CC-{index}"), "teamCode": "ALPHA" });
            assert_eq!(now[&format!("E-{:04}", index + 1)], expected);
        }
        assert_eq!(lines(&rig, "user_written").len(), count);
    }
}

#[test]
fn wrong_rows_are_named_and_stop_nobody_else() {
    let rig = Rig::live(users(3));
    let (one, three) = (id(&rig, 0), id(&rig, 2));
    rig.write("attributes.csv", &format!("id,teamCode\n{one},A\n,B\n{one},C\n{three},D\n{three}\n"));
    rig.run(&["attributes", "attributes.csv", "--strict"]).ended(3).complains("nothing was done (--strict)");
    assert_eq!(rig.patches(), 0);
    let told = rig.run(&["attributes", "attributes.csv", "--json"]).ended(3).json();
    assert_eq!((&told["updated"], &told["rejected"]), (&json!(2), &json!(3)), "{told:#}");
    let lines: Vec<&Value> = told["faults"].as_array().unwrap().iter().map(|fault| &fault["line"]).collect();
    assert_eq!(lines, [&json!(3), &json!(4), &json!(6)]);
    let now = attributes(&rig);
    assert_eq!((&now["E-0001"]["teamCode"], &now["E-0003"]["teamCode"]), (&json!("A"), &json!("D")));

    for (args, complaint) in [
        (&["attributes", "missing.csv"][..], "missing.csv"),
        (&["attributes"], "name a FILE, or write --set KEY=VALUE --users FILE"),
        (&["attributes", "--users", "attributes.csv"], "write --set KEY=VALUE with it"),
        (&["attributes", "--set", "a=1"], "write --users FILE with it"),
        (&["attributes", "attributes.csv", "--set", "a=1"], "write it alone"),
        (&["attributes", "--users", "attributes.csv", "--set", "novalue"], "write KEY=VALUE"),
        (&["attributes", "--users", "attributes.csv", "--set", "=1"], "a key is empty: write KEY=VALUE"),
        (&["attributes", "--users", "attributes.csv", "--set", "a="], "to remove it, write 'a=<remove>'"),
    ] {
        rig.run(args).ended(64).complains(complaint);
    }
}

#[test]
fn the_daemon_carries_out_what_is_handed_in_beside_it() {
    let rig = Rig::live(users(20));
    rig.set("schedule = \"0 0 0 1 1 *\"");
    let daemon = Daemon::start(&rig);
    rig.write("attributes.csv", &file(&rig, 20));
    rig.run(&["attributes", "attributes.csv"]).ended(0).says("20 updated");
    assert_eq!(attributes(&rig)["E-0020"], json!({ "costCenter": "CC-19", "teamCode": "ALPHA" }));
    daemon.stop().with(0);
    rig.run(&["audit", "verify"]).ended(0);
}

/// A tenant that refuses each PATCH with `refusal`, until `accepts` is set.
fn refusing(
    refusal: impl Fn(&str) -> ResponseTemplate + Send + Sync + 'static,
) -> (Scripted, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    let accepts = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let accepted = accepts.clone();
    let tenant = Scripted::new(move |name, _| {
        let user = name.strip_prefix("PATCH /Users/")?;
        let accepted = accepted.load(std::sync::atomic::Ordering::SeqCst);
        Some(if accepted { ResponseTemplate::new(204) } else { refusal(user) })
    });
    let rows: Vec<String> = (1..=60).map(|number| format!("u-{number},A-{number}\n")).collect();
    tenant.write("attributes.csv", &format!("id,Desk\n{}", rows.concat()));
    (tenant, accepts)
}

#[test]
fn a_run_stopped_by_users_whom_nobody_knows_goes_on_when_it_is_resumed() {
    let (tenant, accepts) = refusing(|user| refusal(404, &format!("User {user} not found")));
    let told = tenant.run(&["attributes", "attributes.csv", "--json"]).ended(3).json();
    let is = |told: &Value, state: &str, unresolved: u64, held: u64| {
        assert_eq!(
            (&told["state"], &told["unresolved"], &told["failed"], &told["held"]),
            (&json!(state), &json!(unresolved), &json!(0), &json!(held)),
            "{told:#}"
        );
    };
    is(&told, "stopped", 20, 40);
    assert_eq!(told["left"][0]["reason"], "the tenant has nobody with this id");
    assert_eq!(tenant.writes(), 20);
    let told = tenant.run(&["attributes", "attributes.csv", "--json"]).ended(3).json();
    is(&told, "stopped", 20, 40);
    assert_eq!(tenant.writes(), 40, "what was refused before counts no more");
    let told = tenant.run(&["attributes", "attributes.csv", "--json", "--force"]).ended(3).json();
    is(&told, "finished", 60, 0);
    accepts.store(true, std::sync::atomic::Ordering::SeqCst);
    tenant.run(&["attributes", "attributes.csv"]).ended(0).says("60 updated");
}

#[test]
fn who_was_not_known_is_asked_for_again_when_a_stopped_run_goes_on() {
    let (tenant, accepts) = refusing(|_| refusal(404, "no such user"));
    tenant.run(&["attributes", "attributes.csv"]).ended(3).says("40 held");
    accepts.store(true, std::sync::atomic::Ordering::SeqCst);
    tenant.run(&["attributes", "attributes.csv"]).ended(0).says("60 of 60 rows processed, 60 updated\n");
}

#[test]
fn refusals_that_name_the_user_are_for_one_reason_and_show_the_key() {
    let (tenant, _) = refusing(|user| {
        refusal(400, &format!("attribute \"Desk\" of user '{user}' (Ann Lee) cannot hold 'A{user}'"))
    });
    let told =
        tenant.run(&["attributes", "attributes.csv", "--json", "--report", "report.csv"]).ended(3).json();
    assert_eq!((&told["failed"], &told["held"]), (&json!(20), &json!(40)), "{told:#}");
    let report = std::fs::read_to_string(tenant.path("report.csv")).unwrap();
    for said in [told["reason"].to_string(), told["left"][0]["reason"].to_string(), report] {
        assert!(said.contains("Desk") && !said.contains("Ann"), "{said}");
    }
    let text = tenant.run(&["attributes", "attributes.csv"]).ended(3);
    text.says("stopped: attribute \"Desk\" of user");
}

#[test]
fn a_run_that_is_open_can_be_forced() {
    let down = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_down = down.clone();
    let tenant = Scripted::new(move |name, _| {
        let is_down = is_down.load(std::sync::atomic::Ordering::SeqCst);
        let (user, of_user) = (name.strip_prefix("PATCH /Users/"), name.contains("/Users/"));
        let refused = || Some(refusal(400, &format!("no, {}", user?)));
        if is_down && of_user { Some(ResponseTemplate::new(503)) } else { refused() }
    });
    let rows: Vec<String> = (1..=30).map(|number| format!("u-{number},A\n")).collect();
    tenant.write("attributes.csv", &format!("id,Desk\n{}", rows.concat()));
    tenant.run(&["attributes", "attributes.csv", "--wait", "1s"]).ended(69).says("the tenant answers 503");
    down.store(false, std::sync::atomic::Ordering::SeqCst);
    let forced = tenant.run(&["attributes", "attributes.csv", "--force"]).ended(3);
    forced.says("30 of 30 rows processed, 30 failed");
}

#[test]
fn what_has_begun_goes_on_with_strict_though_a_row_has_failed() {
    let down = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_down = down.clone();
    let tenant = Scripted::new(move |name, _| match name {
        "PATCH /Users/u-1" => Some(refusal(400, "no")),
        "PATCH /Users/u-2" if is_down.load(std::sync::atomic::Ordering::SeqCst) => {
            Some(ResponseTemplate::new(503))
        }
        "PATCH /Users/u-2" => Some(ResponseTemplate::new(204)),
        _ => None,
    });
    tenant.write("attributes.csv", "id,Desk\nu-1,A\nu-2,A\n");
    let ran = tenant.run(&["attributes", "attributes.csv", "--strict", "--wait", "1s"]).ended(69);
    ran.says("1 of 2 rows processed, 1 failed");
    down.store(false, std::sync::atomic::Ordering::SeqCst);
    tenant.run(&["attributes", "attributes.csv", "--strict"]).ended(3).says("1 updated, 1 failed");
}

#[test]
fn rows_that_an_operator_drops_are_not_told_as_done() {
    let down = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_down = down.clone();
    let tenant = Scripted::new(move |name, _| {
        let status = if is_down.load(std::sync::atomic::Ordering::SeqCst) { 503 } else { 204 };
        name.starts_with("PATCH /Users/").then(|| ResponseTemplate::new(status))
    });
    tenant.write("attributes.csv", "id,Desk\nu-1,A\nu-2,A\n");
    tenant.run(&["attributes", "attributes.csv", "--wait", "1s"]).ended(69);
    tenant.run(&["state", "reset", "queue"]).ended(0);
    down.store(false, std::sync::atomic::Ordering::SeqCst);
    let ran = tenant.run(&["attributes", "attributes.csv"]).ended(3);
    ran.says("finished").says("2 of 2 rows processed, 2 discarded").says("dropped by an operator");
    tenant.run(&["attributes", "attributes.csv"]).ended(0).says("2 updated");
}

#[test]
fn a_tenant_in_which_nothing_moves_is_told_by_what_it_answers() {
    let throttled = || ResponseTemplate::new(429).insert_header("retry-after", "1");
    let page = || ResponseTemplate::new(200).set_body_raw("<h1>Sign in</h1>", "text/html");
    let (by_id, by_name) = ("id,Desk\nu-1,A\n", "externalId,Desk\nHR-1,A\n");
    for (answer, file, code, said) in [
        (throttled(), by_id, 69, "the tenant answers 429"),
        (ResponseTemplate::new(503), by_id, 69, "the tenant answers 503 Service Unavailable"),
        (page(), by_name, 1, "[hidden] in"),
    ] {
        let tenant = Scripted::new(move |name, _| {
            (name.starts_with("PATCH ") || name.starts_with("GET /Users")).then(|| answer.clone())
        });
        tenant.write("attributes.csv", file);
        let ended = tenant.run(&["attributes", "attributes.csv", "--wait", "2s"]).ended(code);
        ended.says(said).says("0 of 1 row processed");
    }
}

#[test]
fn what_a_stopped_file_holds_is_none_of_the_guards() {
    let rig = with_unknown_key(60);
    rig.run(&["attributes", "attributes.csv"]).ended(3).says("40 rows are held");
    let reset = rig.run(&["state", "reset", "guard", "--json"]).ended(0).json();
    assert_eq!(reset["operations_discarded"], 0, "{reset:#}");
    rig.run(&["status", "--run", "1"]).ended(0).says("20 failed, 40 held");
}
