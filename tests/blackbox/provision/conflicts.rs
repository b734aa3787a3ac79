//! Somebody else creates a user between our look and our create: what `on_conflict` says is done, once, and nothing is
//! tried over and over.

use rosterd::practice::Faults;
use serde_json::{Value, json};
use wiremock::{Request, ResponseTemplate};

use super::people::{MODES, export, hr, known, newcomer, records, rig};
use super::quick;
use crate::scripted::{Scripted, list, page, parameter};

/// The user as somebody else has just made him.
fn twin(title: &str) -> Value {
    json!({
        "id": "u-1", "externalId": "HR-0001", "userName": "new-0001@example.com", "active": true, "title": title,
        "name": { "givenName": "New", "familyName": "Person 0001", "formatted": "Dr New" },
        "emails": [{ "value": "new-0001@example.com", "type": "work", "primary": true }],
        "roles": [{ "value": "HR_SALES" }], "nickName": "N",
    })
}

fn taken() -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "409", "scimType": "uniqueness",
        "detail": "a user with this externalId exists" })
}

/// A tenant whose list has nobody yet, while whoever asks by name finds the twin, if he can be found by this attribute.
fn tenant(mode: &str, found_by: &'static str, title: &'static str) -> Scripted {
    let bulk = mode != "off";
    let tenant = Scripted::new(move |name, request| {
        let filter = parameter(request, "filter");
        match (name, filter) {
            ("GET /ServiceProviderConfig", _) => {
                Some(ResponseTemplate::new(200).set_body_json(json!({ "bulk": { "supported": bulk } })))
            }
            ("GET /Users", Some(filter)) if filter.starts_with(found_by) => Some(list(&[twin(title)])),
            ("GET /Users", _) => Some(page(&[], 0)),
            ("POST /Users", _) => Some(ResponseTemplate::new(409).set_body_json(taken())),
            ("POST /Bulk", _) => Some(bulk_answer(request)),
            ("PATCH /Users/u-1" | "PUT /Users/u-1", _) => Some(ResponseTemplate::new(200)),
            _ => None,
        }
    });
    tenant.write("hr.csv", &export([newcomer(1)]));
    tenant
}

/// Every create meets the twin.
fn bulk_answer(request: &Request) -> ResponseTemplate {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let results: Vec<Value> = body["Operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| {
            json!({ "method": "POST", "bulkId": operation["bulkId"], "status": "409", "response": taken() })
        })
        .collect();
    ResponseTemplate::new(200).set_body_json(json!({ "Operations": results }))
}

fn keys(mode: &str, policy: &str) -> String {
    format!("{}\nprovision.on_conflict = {policy:?}", quick(mode))
}

#[test]
fn whoever_is_there_already_is_updated_left_alone_or_reported_and_asked_for_once() {
    for mode in ["rfc7644", "off"] {
        for found_by in ["externalId", "userName"] {
            for (policy, code, outcome) in
                [("update", 0, "updated"), ("skip", 0, "skipped"), ("fail", 3, "failed")]
            {
                let tenant = tenant(mode, found_by, "Clerk");
                tenant.set(&keys(mode, policy));
                let told = tenant.run(&["provision", "hr.csv", "--json"]).ended(code).json();
                assert_eq!((&told[outcome], &told["conflicts"]), (&json!(1), &json!(1)), "{told:#}");
                let creates = tenant.named("POST /Users").len() + tenant.named("POST /Bulk").len();
                assert_eq!(creates, 1, "no loop: {:?}", tenant.names());
                let patches = tenant.named("PATCH /Users/u-1");
                if policy == "update" {
                    assert_eq!(patches.len(), 1);
                    let body: Value = serde_json::from_slice(&patches[0].body).unwrap();
                    assert_eq!(
                        body["Operations"],
                        json!([{ "op": "replace", "path": "title", "value": "Agent" }]),
                        "what differs, and nothing else"
                    );
                } else {
                    assert_eq!((patches.len(), tenant.writes()), (0, 1));
                }
                if policy == "fail" {
                    let reason = told["left"][0]["reason"].as_str().unwrap();
                    assert!(reason.contains("on_conflict says fail"), "{reason}");
                }
            }
        }
    }
}

#[test]
fn one_who_is_there_as_he_should_be_is_left_alone() {
    let tenant = tenant("off", "externalId", "Agent");
    tenant.set(&keys("off", "update"));
    tenant.run(&["provision", "hr.csv"]).ended(0).says("1 unchanged, 1 conflict met");
    assert_eq!(tenant.writes(), 1, "the create");
}

#[test]
fn put_writes_the_whole_user_and_keeps_what_hr_does_not_name() {
    let tenant = tenant("off", "externalId", "Clerk");
    tenant.set(&format!("{}\nprovision.update_with = \"put\"", keys("off", "update")));
    tenant.run(&["provision", "hr.csv"]).ended(0).says("1 updated");
    let put = tenant.named("PUT /Users/u-1");
    assert_eq!((put.len(), tenant.named("PATCH /Users/u-1").len()), (1, 0));
    let body: Value = serde_json::from_slice(&put[0].body).unwrap();
    let mut expected = twin("Agent");
    expected["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User"]);
    assert_eq!(body, expected);
}

#[test]
fn put_keeps_what_somebody_else_has_written_since_the_list_was_read() {
    let tenant = Scripted::new(|name, _| match name {
        "GET /ServiceProviderConfig" => {
            Some(ResponseTemplate::new(200).set_body_json(json!({ "bulk": { "supported": true } })))
        }
        "GET /Users" => Some(list(&[twin("Clerk")])),
        "GET /Users/u-1" => {
            let mut twin = twin("Clerk");
            twin["teams"] = json!([{ "value": "team-by-hand" }]);
            Some(ResponseTemplate::new(200).set_body_json(twin))
        }
        "PUT /Users/u-1" => Some(ResponseTemplate::new(200)),
        _ => None,
    });
    tenant.write("hr.csv", &export([newcomer(1)]));
    tenant.set(&format!("{}\nprovision.update_with = \"put\"", keys("rfc7644", "update")));
    tenant.run(&["provision", "hr.csv"]).ended(0).says("1 updated");
    let put: Value = serde_json::from_slice(&tenant.named("PUT /Users/u-1")[0].body).unwrap();
    assert_eq!((&put["title"], &put["teams"]), (&json!("Agent"), &json!([{ "value": "team-by-hand" }])));
}

#[test]
fn put_on_a_tenant_changes_only_what_differs() {
    for mode in MODES {
        let rig = rig(4, mode);
        rig.set(&format!("{}\nprovision.update_with = \"put\"", quick(mode.0)));
        let (before, teams) = (records(&rig), rig.teams());
        rig.write("hr.csv", &export([known(1, "Lead", ""), known(2, "", "")]));
        rig.run(&["provision", "hr.csv"]).ended(0).says("1 updated, 1 unchanged");
        let after = records(&rig);
        for (id, user) in &before {
            let mut user = user.clone();
            if id == "E-0001" {
                user["title"] = json!("Lead");
                user["meta"] = after[id]["meta"].clone();
            }
            assert_eq!(after[id], user, "{mode:?}");
        }
        assert_eq!(rig.teams(), teams);
        assert_eq!(rig.patches(), 0);
    }
}

/// The tenant says that he is there, and shows him to nobody.
#[test]
fn whom_nobody_can_find_fails_and_is_not_tried_again() {
    for mode in MODES {
        let rig = rig(3, mode);
        rig.tenant().set_active(&rig.tenant().users()[0].id, false).unwrap();
        rig.faults(Faults { hide_inactive: true, ..Faults::default() });
        rig.write("hr.csv", &export([known(1, "Lead", ""), newcomer(1)]));
        let told = rig.run(&["provision", "hr.csv", "--json"]).ended(3).json();
        assert_eq!(
            (&told["created"], &told["failed"], &told["conflicts"]),
            (&json!(1), &json!(1), &json!(1))
        );
        assert_eq!(
            (&told["left"][0]["line"], &told["left"][0]["external_id"]),
            (&json!(2), &json!("E-0001"))
        );
        let reason = told["left"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("nobody with this externalId or userName"), "{reason}");
        assert_eq!(rig.tenant().creates_by_external_id()["E-0001"].received, 1, "{mode:?}");
        rig.faults(Faults::default());
        assert!(records(&rig).contains_key(&hr(1)));
    }
}

#[test]
fn two_rows_never_mean_the_same_user() {
    for mode in MODES {
        let rig = rig(3, mode);
        // HR has given the user of E-0001 a new number, and there is still a row with the old one.
        let renumbered = known(1, "Lead", "").replace("E-0001,", "HR-9000,");
        let old = known(1, "", "").replace("user-0001@practice.example", "user-new@practice.example");
        rig.write("hr.csv", &export([renumbered, old]));
        let told = rig.run(&["provision", "hr.csv", "--json"]).ended(3).json();
        assert_eq!((&told["updated"], &told["failed"]), (&json!(1), &json!(1)), "{mode:?} {told:#}");
        let reason = told["left"][0]["reason"].as_str().unwrap();
        assert_eq!(
            (&told["left"][0]["line"], reason),
            (&json!(2), "the user of this userName is that of line 3")
        );
        let user = records(&rig)["E-0001"].clone();
        assert_eq!((&user["userName"], user.get("title")), (&json!("user-new@practice.example"), None));
    }
}

#[test]
fn an_export_whose_place_another_took_is_told_of_to_its_end_and_once() {
    let rig = rig(3, MODES[2]);
    let receiver = format!("webhook.url = \"{}/webhook\"", rig.practice().control_url());
    rig.set(&format!("{}\n{receiver}", quick("off")));
    rig.faults(Faults {
        fail_external_ids: [(hr(1), 400), (hr(2), 503), (hr(3), 503)].into(),
        ..Faults::default()
    });
    rig.write("hr.csv", &export((1..=3).map(newcomer)));
    rig.run(&["provision", "hr.csv", "--wait", "1s"]);
    let told = || -> Vec<Value> {
        rig.tenant().webhooks().iter().map(|told| serde_json::from_str(&told.body).unwrap()).collect()
    };
    assert_eq!(told(), Vec::<Value>::new(), "it is not over");

    rig.faults(Faults::default());
    rig.write("hr.csv", &export([newcomer(4)]));
    rig.run(&["provision", "hr.csv"]).ended(0).says("1 created");
    let kinds: Vec<Value> =
        told().into_iter().map(|told| json!([told["run"], told["type"], told["line"]])).collect();
    let finished = json!("provision.finished");
    assert_eq!(
        kinds,
        [json!([1, "provision.row_failed", 2]), json!([1, finished, null]), json!([2, finished, null])]
    );
    let counts = &told()[1]["counts"];
    assert_eq!(
        (&counts["rows"], &counts["failed"], &counts["superseded"]),
        (&json!(3), &json!(1), &json!(2)),
        "{counts}"
    );
    assert!(told()[1]["details"].as_str().unwrap().contains("superseded by a newer export"));

    rig.run(&["provision", "hr.csv"]).ended(0);
    assert_eq!(told().len(), 4, "only what is new");
}
