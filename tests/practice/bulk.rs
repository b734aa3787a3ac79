//! Bulk requests in all three modes, and what can go wrong with them.

use super::*;
use rosterd::practice::BulkMode;

const REQUEST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

fn create(number: usize) -> Value {
    let data =
        json!({ "userName": format!("new-{number}@practice.example"), "externalId": format!("N-{number}") });
    json!({ "method": "POST", "path": "/Users", "bulkId": format!("b-{number}"), "data": data })
}

fn request(operations: &[Value]) -> Value {
    json!({ "failOnErrors": false, "Operations": operations })
}

fn creates(count: usize) -> Value {
    request(&(1..=count).map(create).collect::<Vec<_>>())
}

/// The statuses of the results.
fn statuses(body: &Value) -> Vec<&str> {
    let results = body["Operations"].as_array().expect("Operations").iter();
    results.map(|result| result["status"].as_str().expect("a status is a text")).collect()
}

impl Rig {
    async fn bulk(&self, body: &Value) -> Response {
        self.call(Method::POST, "/Bulk").json(body).send().await.expect("an answer")
    }

    /// Submits a job and says its id.
    async fn submit(&self, body: &Value) -> String {
        let answer = self.bulk(body).await;
        assert_eq!(answer.status(), 202);
        let location = answer.headers()["location"].to_str().expect("text").to_owned();
        let body = json_of(answer).await;
        assert_eq!((&body["status"], body.get("Operations")), (&json!("queued"), None));
        let id = body["jobId"].as_str().expect("an id").to_owned();
        assert_eq!(location, format!("{}/Bulk/{id}", self.practice.base_url()));
        id
    }

    async fn ask(&self, id: &str) -> Value {
        let answer = self.get(&format!("/Bulk/{id}")).await;
        assert_eq!(answer.status(), 200);
        json_of(answer).await
    }

    async fn there(&self, number: usize) -> bool {
        self.total(&[("filter", &format!("externalId eq \"N-{number}\""))]).await == 1
    }
}

#[tokio::test]
async fn a_job_is_done_after_as_many_questions_as_it_takes() {
    let rig = Rig::new(Options { users: 1, bulk_polls: 2, ..Options::default() }).await;
    let job = rig.submit(&creates(4)).await;
    assert!(!rig.there(1).await, "nothing is done before somebody asks");
    rig.clock.set(START.plus(Duration::from_secs(1)));
    let half = rig.ask(&job).await;
    assert_eq!(
        (&half["status"], &half["progress"], statuses(&half).len()),
        (&json!("running"), &json!(50), 2)
    );
    assert_eq!((&half["startTime"], half.get("endTime")), (&json!(START.to_string()), None));
    assert_eq!((rig.there(2).await, rig.there(3).await), (true, false));

    let end = START.plus(Duration::from_secs(2));
    rig.clock.set(end);
    let whole = rig.ask(&job).await;
    assert_eq!((&whole["status"], &whole["progress"]), (&json!("completed"), &json!(100)));
    assert_eq!((&whole["endTime"], statuses(&whole)), (&json!(end.to_string()), vec!["201"; 4]));
    assert!(rig.there(4).await);
    rig.clock.set(end.plus(Duration::from_secs(1)));
    assert_eq!(rig.ask(&job).await, whole, "what is done stays as it is");
    assert_refused(rig.get("/Bulk/no-such-job").await, 404, None).await;
    let stats = rig.practice.tenant().stats();
    assert_eq!((stats.bulk.jobs, stats.bulk.operations), (1, 4));
    assert_eq!((stats.count("POST /Bulk"), stats.count("GET /Bulk/{jobId}")), (1, 4));
    rig.practice.stop().await;
}

#[tokio::test]
async fn operations_do_what_single_calls_do() {
    let rig = Rig::new(Options { users: 3, bulk: BulkMode::Rfc7644, ..Options::default() }).await;
    let (one, two, three) = (rig.id(0), rig.id(1), rig.id(2));
    let patch = json!({
        "schemas": [PATCH_SCHEMA], "Operations": [{ "op": "replace", "path": "title", "value": "Agent" }],
    });
    let twin = json!({ "userName": "x", "externalId": "N-1" });
    let mut body = request(&[
        create(1),
        json!({ "method": "POST", "path": "/Users", "bulkId": "twin", "data": twin }),
        json!({ "method": "POST", "path": "/Users", "bulkId": "empty", "data": { "userName": "" } }),
        json!({ "method": "POST", "path": "/Users", "data": { "userName": "nameless" } }),
        json!({ "method": "PATCH", "path": format!("/Users/{one}"), "bulkId": "p", "data": patch }),
        json!({ "method": "PUT", "path": format!("/Users/{two}"), "data": { "userName": "two" } }),
        json!({ "method": "PATCH", "path": format!("/Users/{two}"), "version": "W/\"99\"", "data": patch }),
        json!({ "method": "DELETE", "path": format!("/Users/{three}") }),
        json!({ "method": "DELETE", "path": "/Users/nobody" }),
    ]);
    body["schemas"] = json!([REQUEST_SCHEMA]);
    let answer = rig.bulk(&body).await;
    assert_eq!(answer.status(), 200);
    let body = json_of(answer).await;
    assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:BulkResponse"]));
    assert_eq!(statuses(&body), ["201", "409", "400", "400", "200", "200", "412", "204", "404"]);
    let results = &body["Operations"];
    for (at, word) in [(1, "uniqueness"), (2, "invalidValue"), (3, "invalidSyntax")] {
        let response = &results[at]["response"];
        assert_eq!((&response["schemas"], &response["scimType"]), (&json!([ERROR_SCHEMA]), &json!(word)));
        assert_eq!(results[at].get("location"), None);
    }
    assert_eq!((&results[0]["bulkId"], results[0].get("response")), (&json!("b-1"), None));
    assert_eq!((&results[0]["method"], &results[0]["version"]), (&json!("POST"), &json!("W/\"1\"")));
    let made = rig.client.get(results[0]["location"].as_str().expect("a location")).bearer_auth(&rig.token);
    assert_eq!(json_of(made.send().await.expect("answer")).await["externalId"], "N-1");
    let location = format!("{}/Users/{one}", rig.practice.base_url());
    assert_eq!(results[4]["location"], location);
    assert_eq!(json_of(rig.get(&format!("/Users/{one}")).await).await["title"], "Agent");
    assert_eq!(json_of(rig.get(&format!("/Users/{two}")).await).await["userName"], "two");
    assert_refused(rig.get(&format!("/Users/{three}")).await, 404, None).await;
    assert_eq!(rig.practice.tenant().stats().bulk.operations, 8, "one could not even be read");
    rig.practice.stop().await;
}

#[tokio::test]
async fn both_bases_know_the_same_jobs() {
    let rig = Rig::small(1).await;
    let other = rig.practice.base_url().trim_end_matches("/v2").to_owned();
    let post = rig.client.post(format!("{other}/Bulk")).bearer_auth(&rig.token).json(&creates(1));
    let body = json_of(post.send().await.expect("answer")).await;
    let done = rig.ask(body["jobId"].as_str().expect("an id")).await;
    let location = done["Operations"][0]["location"].as_str().expect("a location");
    assert!(location.starts_with(&format!("{other}/Users/")), "{location}");
    rig.practice.stop().await;
}

#[tokio::test]
async fn errors_break_a_request_off_when_the_client_wants_it() {
    let rig = Rig::new(Options { users: 1, bulk: BulkMode::Rfc7644, ..Options::default() }).await;
    let mut body = request(&[create(1), create(1), create(2)]);
    body["Operations"][1]["bulkId"] = json!("other");
    body["failOnErrors"] = json!(1);
    assert_eq!(statuses(&json_of(rig.bulk(&body).await).await), ["201", "409"]);
    assert!(!rig.there(2).await);
    rig.practice.stop().await;
}

#[tokio::test]
async fn the_published_limits_hold() {
    let limits = Options { users: 1, bulk_max_operations: 2, bulk_max_payload: 2000, ..Options::default() };
    let rig = Rig::new(limits).await;
    let config = json_of(rig.get("/ServiceProviderConfig").await).await;
    assert_eq!(config["bulk"], json!({ "supported": true, "maxOperations": 2, "maxPayloadSize": 2000 }));
    assert_refused(rig.bulk(&creates(3)).await, 413, None).await;
    let mut long = creates(1);
    long["Operations"][0]["data"]["title"] = json!("x".repeat(2000));
    assert_refused(rig.bulk(&long).await, 413, None).await;
    assert_refused(rig.bulk(&json!({ "Operations": [] })).await, 400, Some("invalidSyntax")).await;
    assert_refused(rig.get("/Bulk").await, 405, None).await;
    assert_eq!(rig.practice.tenant().stats().bulk.jobs, 0);
    assert_eq!(rig.practice.tenant().stats().status(413), 2);
    assert_eq!(statuses(&rig.ask(&rig.submit(&creates(2)).await).await), ["201", "201"]);
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_tenant_without_bulk_says_so() {
    let rig = Rig::new(Options { users: 1, bulk: BulkMode::Off, ..Options::default() }).await;
    assert_eq!(json_of(rig.get("/ServiceProviderConfig").await).await["bulk"]["supported"], false);
    assert_refused(rig.bulk(&creates(1)).await, 501, None).await;
    assert_refused(rig.get("/Bulk/1").await, 404, None).await;
    assert!(!rig.there(1).await);
    rig.practice.stop().await;
}

#[tokio::test]
async fn jobs_go_wrong_on_command() {
    let rig = Rig::small(1).await;
    for (faults, status, done) in [
        (Faults { bulk_job_fails: 1, ..Faults::default() }, "failed", 2),
        (Faults { bulk_job_canceled: 1, ..Faults::default() }, "canceled", 2),
        (Faults { bulk_job_stalls: 1, ..Faults::default() }, "running", 4),
    ] {
        rig.fault(faults);
        let job = rig.submit(&creates(4)).await;
        for _ in 0..3 {
            let body = rig.ask(&job).await;
            assert_eq!((&body["status"], statuses(&body).len()), (&json!(status), done));
        }
        assert_eq!(
            rig.ask(&rig.submit(&creates(4)).await).await["status"],
            "completed",
            "the next one is fine"
        );
    }
    rig.fault(Faults { bulk_job_forgotten: 1, ..Faults::default() });
    let job = rig.submit(&request(&[create(9)])).await;
    assert_refused(rig.get(&format!("/Bulk/{job}")).await, 404, None).await;
    assert!(rig.there(9).await, "what it was to do is done");
    let befell = [Fault::BulkJobFails, Fault::BulkJobCanceled, Fault::BulkJobStalls, Fault::BulkJobForgotten];
    assert_eq!(befell.map(|fault| rig.befell(fault)), [1; 4]);
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_job_whose_submission_was_not_answered_is_worked_off() {
    let rig = Rig::small(1).await;
    rig.fault(Faults { lost_answer_rate: 1.0, ..Faults::default() });
    assert_eq!(rig.bulk(&creates(2)).await.status(), 504);
    rig.fault(Faults { garbled_rate: 1.0, ..Faults::default() });
    assert_eq!(rig.bulk(&request(&[create(3)])).await.status(), 202);
    rig.fault(Faults::default());
    for number in 1..=3 {
        assert!(rig.there(number).await, "{number}");
    }
    rig.practice.stop().await;
}

#[tokio::test]
async fn single_operations_fail_on_command() {
    let rig = Rig::new(Options { users: 1, bulk: BulkMode::Rfc7644, ..Options::default() }).await;
    rig.fault(Faults { bulk_operation_error_rate: 1.0, ..Faults::default() });
    let body = json_of(rig.bulk(&creates(20)).await).await;
    let seen: BTreeSet<_> = statuses(&body).into_iter().collect();
    assert_eq!(seen, ["429", "500"].into());
    assert_eq!(body["Operations"][0]["response"]["schemas"], json!([ERROR_SCHEMA]));
    assert!(!rig.there(1).await);
    assert_eq!(rig.befell(Fault::BulkOperationError), 20);

    rig.fault(Faults { fail_external_ids: [("N-2".to_owned(), 422)].into(), ..Faults::default() });
    assert_eq!(statuses(&json_of(rig.bulk(&creates(3)).await).await), ["201", "422", "201"]);
    assert_eq!(rig.befell(Fault::FailExternalId), 1);
    rig.practice.stop().await;
}
