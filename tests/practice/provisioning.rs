//! What a client that provisions users relies on: creates that are counted, attributes of all kinds, look-ups.

use super::*;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

impl Rig {
    async fn create(&self, body: &Value) -> Response {
        self.call(Method::POST, "/Users").json(body).send().await.expect("an answer")
    }

    /// What the control says about one `externalId`.
    async fn counted(&self, id: &str) -> Value {
        let url = format!("{}/creates", self.practice.control_url());
        let answer = self.client.get(url).send().await.expect("an answer");
        json_of(answer).await[id].clone()
    }

    fn repeated(&self) -> u64 {
        self.practice.tenant().stats().creates_repeated
    }
}

fn person(number: usize) -> Value {
    json!({ "userName": format!("new-{number}@practice.example"), "externalId": format!("N-{number}") })
}

#[tokio::test]
async fn a_create_may_be_repeated_only_while_it_had_no_effect() {
    let rig = Rig::small(1).await;
    for faults in [
        Faults { error_rate: 1.0, error_status: 429, ..Faults::default() },
        Faults { outage: true, ..Faults::default() },
        Faults { fail_external_ids: [("N-1".to_owned(), 503)].into(), ..Faults::default() },
    ] {
        rig.fault(faults);
        assert!(rig.create(&person(1)).await.status().as_u16() >= 429);
    }
    rig.fault(Faults { lost_answer_rate: 1.0, ..Faults::default() });
    assert_eq!(rig.create(&person(1)).await.status(), 504);
    rig.fault(Faults::default());
    let own = json!({ "received": 4, "executed": 1, "created": 1, "repeated": false });
    assert_eq!((rig.counted("N-1").await, rig.repeated()), (own, 0));

    assert_refused(rig.create(&person(1)).await, 409, Some("uniqueness")).await;
    assert_refused(rig.create(&person(1)).await, 409, Some("uniqueness")).await;
    let own = json!({ "received": 6, "executed": 3, "created": 1, "repeated": true });
    assert_eq!((rig.counted("N-1").await, rig.repeated()), (own, 1));

    // Somebody else has the name: the create had no effect, and may come again once that is mended.
    let mut namesake = person(1);
    namesake["externalId"] = json!("N-2");
    for _ in 0..2 {
        assert_refused(rig.create(&namesake).await, 409, Some("uniqueness")).await;
    }
    assert_eq!(rig.counted("N-2").await["executed"], 0);
    assert_eq!(rig.repeated(), 1);
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_create_in_bulk_counts_as_one_that_is_single() {
    let rig = Rig::small(1).await;
    let operation = json!({ "method": "POST", "path": "/Users", "bulkId": "b", "data": person(1) });
    let body = json!({ "Operations": [operation] });
    let job = json_of(rig.call(Method::POST, "/Bulk").json(&body).send().await.expect("answer")).await;
    assert_eq!((&rig.counted("N-1").await["received"], rig.repeated()), (&json!(1), 0));
    rig.get(&format!("/Bulk/{}", job["jobId"].as_str().expect("an id"))).await;
    rig.create(&person(1)).await;
    assert_eq!((&rig.counted("N-1").await["executed"], rig.repeated()), (&json!(2), 1));
    rig.practice.stop().await;
}

#[tokio::test]
async fn who_was_deleted_may_be_created_again() {
    let rig = Rig::small(1).await;
    for _ in 0..2 {
        let made = json_of(rig.create(&person(1)).await).await;
        let path = format!("/Users/{}", made["id"].as_str().expect("an id"));
        assert_eq!(rig.call(Method::DELETE, &path).send().await.expect("answer").status(), 204);
    }
    let made = json_of(rig.create(&person(1)).await).await;
    rig.practice.tenant().delete_user(&UserId::from(made["id"].as_str().expect("an id"))).expect("exists");
    rig.create(&person(1)).await;
    let own = rig.practice.tenant().creates_by_external_id()["N-1"];
    assert_eq!((own.created, own.executed, own.repeated, rig.repeated()), (4, 1, false, 0));
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_user_with_everything_comes_back_but_for_his_password() {
    let rig = Rig::small(2).await;
    let manager = rig.id(0);
    let whole = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "userName": "all@example.com", "externalId": "N-1", "active": false, "password": "Secret-0001",
        "name": {
            "formatted": "Dr User One", "familyName": "One", "givenName": "User", "middleName": "M",
            "honorificPrefix": "Dr", "honorificSuffix": "Jr",
        },
        "displayName": "User One", "nickName": "U", "profileUrl": "https://example.com/u", "title": "Agent",
        "userType": "Employee", "preferredLanguage": "de", "locale": "de-DE", "timezone": "Europe/Berlin",
        "emails": [{ "value": "all@example.com", "type": "work", "primary": true }],
        "phoneNumbers": [{ "value": "tel:+1-201-555-0123", "type": "mobile" }],
        "ims": [{ "value": "user-one", "type": "xmpp" }],
        "photos": [{ "value": "https://example.com/p.png", "type": "photo" }],
        "addresses": [{ "type": "work", "streetAddress": "1 Street", "locality": "Town", "country": "DE" }],
        "entitlements": [{ "value": "e-1" }],
        "roles": [{ "value": "HR_SALES" }],
        "x509Certificates": [{ "value": "AAAA" }],
        "customAttributes": { "team": "a" },
        ENTERPRISE: {
            "employeeNumber": "1", "costCenter": "c", "organization": "o", "division": "v", "department": "d",
            "manager": { "value": manager.as_str() },
        },
    });
    let made = rig.create(&whole).await;
    assert_eq!(made.status(), 201);
    let made = json_of(made).await;
    let path = format!("/Users/{}", made["id"].as_str().expect("an id"));
    let mut expected = whole.clone();
    expected.as_object_mut().expect("an object").remove("password");
    let all_but = |mut user: Value| {
        for name in ["id", "meta", "teams"] {
            user.as_object_mut().expect("an object").remove(name);
        }
        user
    };
    assert_eq!(all_but(made.clone()), expected);
    assert_eq!(all_but(json_of(rig.get(&path).await).await), expected);

    let mut other = whole.clone();
    other["password"] = json!("Secret-0002");
    other["title"] = json!("Lead");
    let put = json_of(rig.call(Method::PUT, &path).json(&other).send().await.expect("answer")).await;
    assert_eq!((&put["title"], put.get("password")), (&json!("Lead"), None));

    let id = UserId::from(made["id"].as_str().expect("an id"));
    let department = format!("{ENTERPRISE}:department");
    let operations = json!([
        { "op": "replace", "path": "name.givenName", "value": "Other" },
        { "op": "replace", "path": "emails", "value": [{ "value": "other@example.com", "type": "work" }] },
        { "op": "replace", "path": department, "value": "North" },
        { "op": "remove", "path": format!("{ENTERPRISE}:division") },
        { "op": "replace", "path": format!("{ENTERPRISE}:manager.value"), "value": "m-2" },
        { "op": "replace", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "tel:+1-201-555-0124" },
        { "op": "replace", "path": "password", "value": "Secret-0003" },
        { "op": "replace", "value": { "active": true, format!("{ENTERPRISE}:costCenter"): "cc" } },
    ]);
    let patched = rig.patch(&id, &operations).send().await.expect("answer");
    assert_eq!(patched.status(), 200);
    let patched = json_of(patched).await;
    assert_eq!(
        (&patched["name"]["givenName"], &patched["name"]["familyName"]),
        (&json!("Other"), &json!("One"))
    );
    assert_eq!(patched["emails"], json!([{ "value": "other@example.com", "type": "work" }]));
    assert_eq!(patched["phoneNumbers"][0]["value"], "tel:+1-201-555-0124");
    assert_eq!((&patched["active"], patched.get("password")), (&json!(true), None));
    let employer = json!({
        "employeeNumber": "1", "costCenter": "cc", "organization": "o", "department": "North",
        "manager": { "value": "m-2" },
    });
    assert_eq!(patched[ENTERPRISE], employer);

    let filter = format!("{department} eq \"north\"");
    assert_eq!(rig.total(&[("filter", &filter)]).await, 1);
    assert_eq!(
        rig.list(&[("filter", "externalId eq \"N-1\""), ("attributes", &department)]).await["Resources"][0]
            [ENTERPRISE],
        json!({ "department": "North" })
    );
    rig.practice.stop().await;
}

#[tokio::test]
async fn only_the_keys_of_the_tenant_can_be_written() {
    let keys = vec!["department".to_owned(), "a\"b".to_owned()];
    let rig = Rig::new(Options { users: 1, attribute_keys: keys, ..Options::default() }).await;
    let id = rig.id(0);
    let set = |key: &str| {
        let path = format!("customAttributes[{}]", Value::from(key));
        rig.patch(&id, &json!([{ "op": "replace", "path": path, "value": "x" }])).send()
    };
    assert_eq!(set("department").await.expect("answer").status(), 200);
    assert_eq!(set("a\"b").await.expect("answer").status(), 200);
    let refused = set("invalid").await.expect("answer");
    assert_eq!(refused.status(), 400);
    let detail = "Invalid SCIM patch operation: path 'customAttributes[\"invalid\"]' does not exist.";
    assert_eq!(json_of(refused).await, json!({ "errors": [{ "detail": detail, "status": "400" }] }));
    assert_eq!(set("Department").await.expect("answer").status(), 400, "the case counts");
    let mut with = person(1);
    with["customAttributes"] = json!({ "invalid": "x" });
    assert_eq!(rig.create(&with).await.status(), 400);
    let put = rig.call(Method::PUT, &format!("/Users/{id}")).json(&with).send().await.expect("answer");
    assert_eq!(put.status(), 400);
    let user = json_of(rig.get(&format!("/Users/{id}")).await).await;
    assert_eq!(user["customAttributes"], json!({ "department": "x", "a\"b": "x" }));
    rig.practice.stop().await;
}

#[tokio::test]
async fn many_are_looked_up_at_once_in_the_order_of_the_list() {
    let rig = Rig::small(30).await;
    let any = |ids: &[usize]| {
        let ids: Vec<String> = ids.iter().map(|id| format!("externalId eq \"E-{id:04}\"")).collect();
        ids.join(" or ")
    };
    let at = |index: usize| rig.id(index).to_string();
    let found = rig.list(&[("filter", &any(&[9, 2, 77, 5, 2]))]).await;
    assert_eq!((ids(&found), &found["totalResults"]), (vec![at(1), at(4), at(8)], &json!(3)));
    let mixed =
        "userName eq \"USER-0004@Practice.example\" or externalId eq \"E-0004\" or externalId eq \"E-0003\"";
    assert_eq!(ids(&rig.list(&[("filter", mixed)]).await), [at(2), at(3)]);
    rig.practice.tenant().set_active(&rig.id(4), false).expect("exists");
    let leavers = format!("({}) and active eq false", any(&[4, 5]));
    assert_eq!(ids(&rig.list(&[("filter", &leavers)]).await), [at(4)]);
    rig.practice.stop().await;
}
