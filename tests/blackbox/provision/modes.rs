//! An export is carried out in each of the ways in which a tenant takes many changes, to the same end.

use rosterd::practice::BulkMode;
use serde_json::json;

use super::people::{MODES, assert_there, export, known, newcomer, records, rig, rig_of, writes};
use super::{lines, quick};
use crate::rig::{Rig, users};

/// Twelve newcomers, and of ten who are there: three with another title, two who come back, five as they are.
fn mixed() -> String {
    let rows = (1..=12).map(newcomer).chain((1..=10).map(|number| match number {
        1..=3 => known(number, "Lead", ""),
        4..=5 => known(number, "", "true"),
        _ => known(number, "", ""),
    }));
    export(rows)
}

/// A tenant of ten, two of whom are not active.
fn with_leavers(mode: (&str, BulkMode)) -> Rig {
    let rig = rig(10, mode);
    for user in rig.tenant().users() {
        rig.tenant().set_active(&user.id, true).unwrap();
    }
    for index in [3, 4] {
        rig.tenant().set_active(&rig.tenant().users()[index].id, false).unwrap();
    }
    rig.write("hr.csv", &mixed());
    rig
}

#[test]
fn in_each_mode_users_are_created_changed_taken_back_and_left_alone() {
    for mode in MODES {
        let rig = with_leavers(mode);
        let before = records(&rig);
        let told = rig.run(&["provision", "hr.csv", "--json"]).ended(0).json();
        for (count, expected) in [
            ("rows", 22),
            ("processed", 22),
            ("created", 12),
            ("updated", 3),
            ("reactivated", 2),
            ("unchanged", 5),
            ("failed", 0),
            ("conflicts", 0),
        ] {
            assert_eq!(told[count], expected, "{count} {mode:?}");
        }
        assert_eq!((&told["end"], &told["error_rate"]), (&json!("finished"), &json!(0.0)));
        assert!(told["mean_latency_ms"].is_u64() && told["p95_latency_ms"].is_u64(), "{told:#}");
        assert_there(&rig, 10, 1..=12);

        let after = records(&rig);
        let mail = json!([{ "value": "new-0001@example.com", "type": "work", "primary": true }]);
        let new = &after["HR-0001"];
        assert_eq!((&new["userName"], &new["emails"]), (&json!("new-0001@example.com"), &mail));
        assert_eq!((&new["active"], &new["roles"]), (&json!(true), &json!([{ "value": "HR_SALES" }])));
        for number in 1..=10 {
            let id = format!("E-{number:04}");
            let mut expected = before[&id].clone();
            if number <= 3 {
                expected["title"] = json!("Lead");
            } else if number <= 5 {
                expected["active"] = json!(true);
            }
            let mut now = after[&id].clone();
            for user in [&mut now, &mut expected] {
                user.as_object_mut().unwrap().remove("meta");
            }
            assert_eq!(now, expected, "only that has changed {mode:?}");
        }

        let (stats, singles) = (rig.stats(), |class| rig.stats().count(class));
        let (posts, patches) = (singles("POST /Users"), singles("PATCH /Users/{id}"));
        match mode.1 {
            BulkMode::Off => assert_eq!((stats.bulk.jobs, posts, patches), (0, 12, 5)),
            BulkMode::Jobs | BulkMode::Rfc7644 => {
                assert_eq!((stats.bulk.jobs, stats.bulk.operations, posts, patches), (1, 17, 0, 0));
            }
        }
        assert_eq!(stats.patches_without_effect, 0);
    }
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    for mode in MODES {
        let rig = with_leavers(mode);
        rig.run(&["provision", "hr.csv"]).ended(0).says("22 of 22 rows processed, 12 created, 3 updated");
        let (sent, written) = (writes(&rig), lines(&rig, "user_written").len());
        rig.run(&["provision", "hr.csv"])
            .ended(0)
            .says("run 2 of hr.csv (provision): finished")
            .says("22 of 22 rows processed, 22 unchanged\n");
        assert_eq!((writes(&rig), lines(&rig, "user_written").len()), (sent, written), "{mode:?}");
    }
}

#[test]
fn what_the_tenant_can_do_is_found_out() {
    for (_, bulk) in MODES {
        let rig = with_leavers(("auto", bulk));
        rig.run(&["provision", "hr.csv"]).ended(0).says("12 created, 3 updated, 2 reactivated, 5 unchanged");
        let in_bulk = rig.stats().bulk.operations;
        assert_eq!(in_bulk, if bulk == BulkMode::Off { 0 } else { 17 }, "{bulk:?}");
        assert_there(&rig, 10, 1..=12);
    }
}

#[test]
fn requests_are_no_larger_than_the_tenant_says() {
    for (keys, most) in [(10, 1 << 20), (100, 4096)] {
        let options = rosterd::practice::Options {
            bulk: BulkMode::Rfc7644,
            bulk_max_operations: keys,
            bulk_max_payload: most,
            ..users(2)
        };
        let rig = rig_of(options, "rfc7644");
        rig.write("hr.csv", &export((1..=25).map(newcomer)));
        rig.run(&["provision", "hr.csv"]).ended(0).says("25 created");
        let stats = rig.stats();
        assert!(stats.bulk.jobs >= 3, "{stats:?}");
        assert_eq!((stats.status(413), stats.bulk.operations), (0, 25), "none was too large");
        assert_there(&rig, 2, 1..=25);
    }
}

#[test]
fn each_user_has_a_line_in_the_audit_and_so_has_each_bulk_job() {
    for mode in MODES {
        let rig = with_leavers(mode);
        rig.run(&["provision", "hr.csv"]).ended(0);
        let written = lines(&rig, "user_written");
        let people = records(&rig);
        let mut ids: Vec<&str> = written.iter().map(|line| line["user"].as_str().unwrap()).collect();
        let numbers = (1..=12).map(super::people::hr).chain((1..=5).map(|number| format!("E-{number:04}")));
        let mut expected: Vec<String> =
            numbers.map(|id| people[&id]["id"].as_str().unwrap().to_owned()).collect();
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected, "one for each user {mode:?}");
        let one = people["HR-0007"]["id"].as_str().unwrap();
        let created = written.iter().find(|line| line["user"] == one).unwrap();
        assert_eq!((&created["external_id"], &created["kind"]), (&json!("HR-0007"), &json!("profile")));
        let names: Vec<&str> =
            created["attributes"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert!(names.contains(&"userName") && names.contains(&"title"), "{created}");
        let changed = written.iter().find(|line| line["user"] == people["E-0001"]["id"]).unwrap();
        assert_eq!(
            (&changed["external_id"], &changed["attributes"]),
            (&json!(null), &json!(["title"])),
            "names, never values"
        );
        let jobs = lines(&rig, "SYNC_SUCCESS");
        match mode.1 {
            BulkMode::Off => assert!(jobs.is_empty()),
            BulkMode::Jobs | BulkMode::Rfc7644 => {
                assert_eq!(jobs.len(), 1);
                let job = &jobs[0];
                assert_eq!((&job["userCount"], &job["error"]), (&json!(17), &json!(null)), "{job}");
                assert!(job["latencyMs"].is_u64() && job["at"].is_string(), "{job}");
                assert_eq!(job["jobId"].is_string(), mode.1 == BulkMode::Jobs, "{job}");
            }
        }
        let audit = std::fs::read_to_string(rig.path("audit.jsonl")).unwrap();
        assert!(!audit.contains("@example.com") && !audit.contains("Person"), "nobody's data is in it");
        rig.run(&["audit", "verify"]).ended(0).says("the chain is whole");
    }
}

#[test]
fn a_manager_and_whatever_the_export_names_arrive_by_their_schemas() {
    let rig = rig(3, MODES[2]);
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    rig.set(&format!(
        "{}\n[tenants.acme.provision.columns]\nexternalId = \"Staff No\"\nuserName = \"Mail\"\nemail = \"Mail\"",
        quick("off")
    ));
    rig.write(
        "hr.csv",
        &format!(
            "\u{feff}Staff No,Mail,givenName,familyName,department,employeeNumber,{enterprise}:costCenter,roles\r\n\
             HR-1,new-1@example.com,\"Quote \"\"Q\"\"\",\"Comma, Inc\",North,17,CC-1,HR_SALES;HR_FINANCE\r\n"
        ),
    );
    rig.run(&["provision", "hr.csv"]).ended(0).says("1 created");
    let user = records(&rig)["HR-1"].clone();
    assert_eq!(user["name"], json!({ "givenName": "Quote \"Q\"", "familyName": "Comma, Inc" }));
    assert_eq!(
        user[enterprise],
        json!({ "department": "North", "employeeNumber": "17", "costCenter": "CC-1" })
    );
    assert_eq!(user["roles"], json!([{ "value": "HR_SALES" }, { "value": "HR_FINANCE" }]));

    let line = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", enterprise], "externalId": "HR-2",
        "userName": "new-2@example.com", "name": { "givenName": "Two" }, "emails": [{ "value": "new-2@example.com" }],
        enterprise: { "department": "South" } });
    let flat = json!({ "externalId": "HR-3", "userName": "new-3@example.com", "email": "new-3@example.com",
        "givenName": "Three", "department": "West", "active": false });
    rig.set(&quick("off"));
    rig.write("hr.jsonl", &format!("{line}\n{flat}\n"));
    rig.run(&["provision", "hr.jsonl"]).ended(0).says("2 created");
    let people = records(&rig);
    assert_eq!(people["HR-2"][enterprise]["department"], "South");
    assert_eq!(
        (&people["HR-3"][enterprise]["department"], &people["HR-3"]["active"]),
        (&json!("West"), &json!(false))
    );
}
