//! The requests and answers that the document about bulk provisioning prints, to the letter.
//!
//! Its answers to `GET /Bulk/{jobId}` carry a status and, as it says, a status code for each operation; where it prints none,
//! they are those of RFC 7644 §3.7.3.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use wiremock::{Request, ResponseTemplate};

use super::{lines, quick};
use crate::scripted::{Scripted, list, page, parameter, refusal};

/// "Expected Request Body Structure".
const USER: &str = r#"{
  "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
  "userName": "jane.doe@example.com",
  "externalId": "HRIS-98765",
  "active": true,
  "name": { "givenName": "Jane", "familyName": "Doe" },
  "emails": [{ "value": "jane.doe@example.com", "type": "work", "primary": true }],
  "roles": [{ "value": "a1b2c3d4-e5f6-7890-abcd-ef1234567890" }]
}"#;

/// What HR exports of her.
const FILE: &str = "externalId,email,userName,givenName,familyName,roles\n\
     HRIS-98765,jane.doe@example.com,jane.doe@example.com,Jane,Doe,a1b2c3d4-e5f6-7890-abcd-ef1234567890\n";

fn user() -> Value {
    serde_json::from_str(USER).unwrap()
}

/// As the tenant shows her, with this title.
fn there(title: &str) -> Value {
    let mut there = user();
    there["id"] = json!("u-1");
    there["title"] = json!(title);
    there
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

/// Nobody is listed; whoever asks for her by name gets `found`; `bulk` answers the questions about the job, by their number.
fn tenant(
    found: Vec<Value>,
    submitted: ResponseTemplate,
    job: impl Fn(usize, &str) -> Value + Send + Sync + 'static,
) -> Scripted {
    let (asked, bulk_id) = (AtomicUsize::new(0), std::sync::Mutex::new(String::new()));
    let tenant = Scripted::new(move |name, request| match (name, parameter(request, "filter")) {
        ("GET /Users", Some(_)) => Some(list(&found)),
        ("GET /Users", None) => Some(page(&[], 0)),
        ("POST /Bulk", _) => {
            let id = body(request)["Operations"][0]["bulkId"].as_str().unwrap().to_owned();
            *bulk_id.lock().unwrap() = id;
            Some(submitted.clone())
        }
        ("GET /Bulk/job-1", _) => {
            Some(ok(&job(asked.fetch_add(1, Ordering::SeqCst), &bulk_id.lock().unwrap())))
        }
        ("POST /Users", _) => Some(ResponseTemplate::new(201).set_body_json(json!({ "id": "u-1" }))),
        ("PATCH /Users/u-1" | "PUT /Users/u-1", _) => Some(ResponseTemplate::new(200)),
        _ => None,
    });
    tenant.set(&quick("jobs"));
    tenant.write("hr.csv", FILE);
    tenant
}

fn accepted() -> ResponseTemplate {
    ok(&json!({ "jobId": "job-1" }))
}

/// A job that has come to its end, with one result.
fn ended(bulk_id: &str, status: &str, response: &Value) -> Value {
    let mut result = json!({ "method": "POST", "bulkId": bulk_id, "status": status,
        "location": "https://api.mygenesys.ca/api/v2/scim/v2/Users/u-1" });
    if !response.is_null() {
        result["response"] = response.clone();
        result.as_object_mut().unwrap().remove("location");
    }
    json!({ "jobId": "job-1", "status": "completed", "Operations": [result] })
}

#[test]
fn a_user_is_sent_as_printed() {
    let tenant = tenant(Vec::new(), accepted(), |_, _| json!({}));
    tenant.set(&quick("off"));
    tenant.run(&["provision", "hr.csv"]).ended(0).says("1 created");
    let created = tenant.named("POST /Users");
    assert_eq!((created.len(), body(&created[0])), (1, user()));
}

#[test]
fn a_bulk_request_becomes_a_job_that_is_asked_about_until_it_is_completed() {
    let tenant = tenant(Vec::new(), accepted(), |asked, bulk_id| match asked {
        0 => json!({ "jobId": "job-1", "status": "queued" }),
        1 => json!({ "jobId": "job-1", "status": "running" }),
        _ => ended(bulk_id, "201", &Value::Null),
    });
    tenant.run(&["provision", "hr.csv"]).ended(0).says("1 created");
    let submitted = tenant.named("POST /Bulk");
    assert_eq!(submitted.len(), 1);
    let request = body(&submitted[0]);
    let bulk_id = request["Operations"][0]["bulkId"].clone();
    assert!(bulk_id.as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!(
        request,
        json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
            "failOnErrors": false,
            "Operations": [{ "method": "POST", "path": "/Users", "bulkId": bulk_id, "data": user() }],
        })
    );
    assert_eq!(tenant.named("GET /Bulk/job-1").len(), 3);
    assert_eq!(tenant.writes(), 1);

    let audited = lines(&tenant, "SYNC_SUCCESS");
    assert_eq!(audited.len(), 1);
    let line = &audited[0];
    assert_eq!(
        (&line["jobId"], &line["userCount"], &line["error"]),
        (&json!("job-1"), &json!(1), &Value::Null)
    );
    assert!(line["latencyMs"].as_u64().unwrap() >= 300, "three questions, a tenth of a second apart: {line}");
    let written = lines(&tenant, "user_written");
    assert_eq!((written.len(), &written[0]["user"]), (1, &json!("u-1")));
    tenant.run(&["audit", "verify"]).ended(0);
}

#[test]
fn a_job_that_failed_or_was_canceled_is_settled_by_look_ups() {
    for status in ["failed", "canceled"] {
        for there_already in [true, false] {
            let found = if there_already {
                vec![{
                    let mut there = user();
                    there["id"] = json!("u-1");
                    there
                }]
            } else {
                Vec::new()
            };
            let tenant = tenant(found, accepted(), move |_, _| json!({ "jobId": "job-1", "status": status }));
            tenant.run(&["provision", "hr.csv"]).ended(0).says("1 created");
            let by_name: Vec<String> =
                tenant.named("GET /Users").iter().filter_map(|call| parameter(call, "filter")).collect();
            assert_eq!(by_name[0], "externalId eq \"HRIS-98765\"");
            let creates = tenant.named("POST /Users");
            assert_eq!(creates.len(), usize::from(!there_already), "{status}");
            assert!(creates.iter().all(|create| body(create) == user()));
            assert_eq!(tenant.named("POST /Bulk").len(), 1, "it is not submitted again");
            let audited = lines(&tenant, "SYNC_FAILURE");
            assert_eq!(
                (&audited[0]["jobId"], &audited[0]["userCount"], &audited[0]["error"]),
                (&json!("job-1"), &json!(1), &json!(format!("the tenant says: {status}")))
            );
        }
    }
}

#[test]
fn a_job_without_an_end_is_given_up_after_as_many_questions_as_configured() {
    let tenant = tenant(Vec::new(), accepted(), |_, _| json!({ "jobId": "job-1", "status": "running" }));
    tenant.set(&format!("{}\nbulk.max_polls = 3", quick("jobs")));
    tenant.run(&["provision", "hr.csv"]).ended(0).says("1 created");
    assert_eq!(tenant.named("GET /Bulk/job-1").len(), 3);
    assert_eq!(tenant.named("POST /Users").len(), 1);
}

#[test]
fn a_409_leads_to_a_look_up_and_an_update_and_never_to_a_loop() {
    let conflict = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "409",
        "scimType": "uniqueness", "detail": "Duplicate externalId" });
    for (keys, write) in [("", "PATCH /Users/u-1"), ("provision.update_with = \"put\"", "PUT /Users/u-1")] {
        let response = conflict.clone();
        let found = there("");
        let mut found = found;
        found["name"]["givenName"] = json!("Janet");
        let tenant = tenant(vec![found], accepted(), move |_, bulk_id| ended(bulk_id, "409", &response));
        tenant.set(&format!("{}\n{keys}", quick("jobs")));
        tenant.run(&["provision", "hr.csv"]).ended(0).says("1 updated, 1 conflict met");
        assert_eq!((tenant.named("POST /Bulk").len(), tenant.named("POST /Users").len()), (1, 0));
        let looked_up = tenant.named("GET /Users").iter().find_map(|call| parameter(call, "filter"));
        assert_eq!(looked_up.as_deref(), Some("externalId eq \"HRIS-98765\""), "as printed");
        let written = tenant.named(write);
        assert_eq!(written.len(), 1, "{:?}", tenant.names());
        let sent = body(&written[0]);
        if keys.is_empty() {
            assert_eq!(
                sent,
                json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                    "Operations": [{ "op": "replace", "path": "name.givenName", "value": "Jane" }] })
            );
        } else {
            let mut whole = there("");
            whole["name"]["givenName"] = json!("Jane");
            assert_eq!(sent, whole);
        }
    }
}

/// The document meets it on the submission as a whole.
#[test]
fn a_409_on_the_submission_is_settled_row_by_row() {
    let tenant = tenant(vec![there("")], refusal(409, "Duplicate externalId or userName"), |_, _| json!({}));
    tenant.run(&["provision", "hr.csv"]).ended(0).says("1 created");
    assert_eq!((tenant.named("POST /Bulk").len(), tenant.named("POST /Users").len()), (1, 1));
    assert_eq!(lines(&tenant, "SYNC_FAILURE").len(), 1);
}

#[test]
fn a_429_or_503_on_the_submission_is_tried_again() {
    for status in [429, 503] {
        let submissions = AtomicUsize::new(0);
        let tenant = Scripted::new(move |name, request| match name {
            "GET /Users" => Some(page(&[], 0)),
            "POST /Bulk" if submissions.fetch_add(1, Ordering::SeqCst) == 0 => {
                Some(ResponseTemplate::new(status).insert_header("Retry-After", "1"))
            }
            "POST /Bulk" => {
                let id = body(request)["Operations"][0]["bulkId"].clone();
                Some(ok(&json!({ "Operations": [{ "bulkId": id, "method": "POST", "status": "201",
                    "location": "/Users/u-1" }] })))
            }
            "POST /Users" => Some(ResponseTemplate::new(201).set_body_json(json!({ "id": "u-1" }))),
            _ => None,
        });
        tenant.set(&quick("jobs"));
        tenant.write("hr.csv", FILE);
        tenant.run(&["provision", "hr.csv"]).ended(0).says("1 created");
        // What was throttled was not done; what is unavailable may have been, and is looked up.
        let (bulk, single) = (tenant.named("POST /Bulk").len(), tenant.named("POST /Users").len());
        assert_eq!((bulk, single), if status == 429 { (2, 0) } else { (1, 1) });
    }
}

#[test]
fn what_the_document_forbids_never_reaches_the_tenant() {
    let tenant = tenant(Vec::new(), accepted(), |_, _| json!({}));
    let header = "externalId,email,userName,givenName,password\n";
    for (row, reason) in [
        ("HRIS-1,a@corp.com,,Alice,", "is missing"),
        ("HRIS-1,a@corp.com,alice,Alice,", "mail address"),
        (",a@corp.com,a@corp.com,Alice,", "is missing"),
        ("HRIS-1,a@corp.com,a@corp.com,,", "is missing"),
        ("HRIS-1,,a@corp.com,Alice,", "is missing"),
        ("HRIS-1,a@corp.com,a@corp.com,Alice,weak", "8"),
    ] {
        tenant.write("hr.csv", &format!("{header}{row}\n"));
        let told = tenant.run(&["provision", "hr.csv", "--json"]).ended(3).json();
        assert_eq!(told["faults"].as_array().unwrap().len(), 1, "{told:#}");
        let said = told["faults"][0]["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(tenant.writes(), 0);
}

#[test]
fn a_job_of_which_nothing_was_done_is_a_failure_in_the_audit() {
    let refused = json!({ "detail": "the department is not known", "status": "400" });
    let tenant = tenant(Vec::new(), accepted(), move |_, bulk_id| ended(bulk_id, "400", &refused));
    tenant.run(&["provision", "hr.csv"]).ended(3).says("1 failed");
    assert_eq!(lines(&tenant, "SYNC_SUCCESS").len(), 0);
    let audited = lines(&tenant, "SYNC_FAILURE");
    let error = audited[0]["error"].as_str().unwrap();
    assert!(error.contains("nothing of it was done") && error.contains("400 the department"), "{error}");
}

#[test]
fn a_result_that_contradicts_itself_is_settled_by_a_look_up() {
    for order in [["201", "400"], ["400", "201"]] {
        let mut there = user();
        there["id"] = json!("u-1");
        let tenant = tenant(vec![there], accepted(), move |_, bulk_id| {
            let mut both = ended(bulk_id, order[0], &Value::Null);
            let second = ended(bulk_id, order[1], &Value::Null)["Operations"][0].take();
            both["Operations"].as_array_mut().unwrap().push(second);
            both
        });
        tenant.run(&["provision", "hr.csv"]).ended(0).says("1 created");
        let asked: Vec<String> =
            tenant.named("GET /Users").iter().filter_map(|call| parameter(call, "filter")).collect();
        assert!(!asked.is_empty(), "{order:?}");
        assert_eq!((tenant.named("POST /Bulk").len(), tenant.named("POST /Users").len()), (1, 0));
    }
}
