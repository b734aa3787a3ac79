//! The practice tenant over real HTTP: every behaviour and every fault that others rely on.

#![allow(clippy::disallowed_methods, reason = "the tests bring a plain client of their own")]

mod bulk;
mod provisioning;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::sync::Once;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rosterd::clock::Clock;
use rosterd::model::{Role, TeamId, Timestamp, UserId};
use rosterd::practice::{self, Fault, Faults, Options, Practice};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const START: Timestamp = Timestamp::from_millis(1_767_225_600_123);
const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// A tenant, a client with a token, and the clock that the tenant lives by.
struct Rig {
    practice: Practice,
    client: Client,
    token: String,
    clock: Clock,
}

impl Rig {
    async fn new(options: Options) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            rustls::crypto::ring::default_provider().install_default().expect("installed once");
        });
        let clock = Clock::manual(START);
        let practice = practice::start(options, clock.clone()).await.expect("the tenant starts");
        let client = Client::builder().no_proxy().build().expect("a client");
        let mut rig = Self { practice, client, token: String::new(), clock };
        rig.renew().await;
        rig
    }

    async fn small(users: usize) -> Self {
        Self::new(Options { users, ..Options::default() }).await
    }

    async fn renew(&mut self) {
        let answer = self.token_call("practice", "practice").send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        json_of(answer).await["access_token"].as_str().expect("a token").clone_into(&mut self.token);
    }

    fn token_call(&self, id: &str, secret: &str) -> RequestBuilder {
        let form = [("grant_type", "client_credentials")];
        self.client.post(self.practice.token_url()).basic_auth(id, Some(secret)).form(&form)
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.practice.base_url())).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Response {
        self.call(Method::GET, path).send().await.expect("an answer")
    }

    async fn list(&self, query: &[(&str, &str)]) -> Value {
        let answer = self.call(Method::GET, "/Users").query(query).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{query:?}");
        json_of(answer).await
    }

    async fn total(&self, query: &[(&str, &str)]) -> u64 {
        self.list(query).await["totalResults"].as_u64().expect("a number")
    }

    fn patch(&self, id: &UserId, operations: &Value) -> RequestBuilder {
        let body = json!({ "schemas": [PATCH_SCHEMA], "Operations": operations });
        self.call(Method::PATCH, &format!("/Users/{id}")).json(&body)
    }

    fn put_into(&self, id: &UserId, teams: &[&str]) -> RequestBuilder {
        let reference = |id: &&str| json!({ "value": id, "$ref": format!("/api/v2/scim/v2/Groups/{id}") });
        let value: Value = teams.iter().map(reference).collect();
        self.patch(id, &json!([{ "op": "replace", "path": "teams", "value": value }]))
    }

    fn fault(&self, faults: Faults) {
        self.practice.tenant().set_faults(faults).expect("legal faults");
    }

    fn id(&self, index: usize) -> UserId {
        self.practice.tenant().users()[index].id.clone()
    }

    fn teams(&self, id: &UserId) -> Vec<String> {
        let user = self.practice.tenant().user(id).expect("the user exists");
        user.teams.iter().map(ToString::to_string).collect()
    }

    fn befell(&self, fault: Fault) -> u64 {
        self.practice.tenant().stats().faults.get(&fault).copied().unwrap_or(0)
    }
}

async fn json_of(answer: Response) -> Value {
    answer.json().await.expect("a JSON body")
}

fn ids(page: &Value) -> Vec<String> {
    let users = page["Resources"].as_array().expect("Resources");
    users.iter().map(|user| user["id"].as_str().expect("an id").to_owned()).collect()
}

/// An error in SCIM's form, with this status and this `scimType`.
async fn assert_refused(answer: Response, status: u16, scim_type: Option<&str>) {
    assert_eq!(answer.status(), status);
    let body = json_of(answer).await;
    assert_eq!(body["schemas"], json!([ERROR_SCHEMA]));
    assert_eq!(body["status"], json!(status.to_string()));
    assert_eq!(body["scimType"].as_str(), scim_type, "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
}

#[tokio::test]
async fn tokens_are_given_for_the_right_credentials_only() {
    let rig = Rig::small(1).await;
    let url = rig.practice.token_url();
    let form = |pairs: &[(&str, &str)]| rig.client.post(&url).form(pairs).send();
    let grant = ("grant_type", "client_credentials");

    let right =
        form(&[grant, ("client_id", "practice"), ("client_secret", "practice")]).await.expect("answer");
    assert_eq!(right.status(), 200);
    let body = json_of(right).await;
    assert_eq!((body["token_type"].as_str(), body["expires_in"].as_u64()), (Some("bearer"), Some(3600)));

    let wrong = rig.token_call("practice", "wrong").send().await.expect("answer");
    assert_eq!(wrong.status(), 401);
    assert!(wrong.headers()["www-authenticate"].to_str().expect("text").starts_with("Basic"));
    assert_eq!(json_of(wrong).await["error"], "invalid_client");

    let wrong = form(&[grant, ("client_id", "practice"), ("client_secret", "x")]).await.expect("answer");
    assert_eq!(wrong.status(), 400);
    assert_eq!(json_of(wrong).await["error"], "invalid_client");

    let credentials = [("client_id", "practice"), ("client_secret", "practice")];
    for (grant, error) in [(None, "invalid_request"), (Some("password"), "unsupported_grant_type")] {
        let pairs: Vec<_> = grant.map(|grant| ("grant_type", grant)).into_iter().chain(credentials).collect();
        let answer = form(&pairs).await.expect("answer");
        assert_eq!((answer.status().as_u16(), json_of(answer).await["error"].as_str()), (400, Some(error)));
    }
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_token_lives_as_long_as_it_says() {
    let options = Options { users: 1, token_lifetime: Duration::from_secs(2), ..Options::default() };
    let mut rig = Rig::new(options).await;
    rig.clock.set(START.plus(Duration::from_millis(1_999)));
    assert_eq!(rig.get("/Users").await.status(), 200);

    rig.clock.set(START.plus(Duration::from_secs(2)));
    let answer = rig.get("/Users").await;
    assert!(answer.headers()["www-authenticate"].to_str().expect("text").starts_with("Bearer"));
    assert_refused(answer, 401, None).await;

    rig.renew().await;
    assert_eq!(rig.get("/Users").await.status(), 200);
    rig.fault(Faults { revoke_tokens: true, ..Faults::default() });
    assert_eq!(rig.get("/Users").await.status(), 401);
    assert!(!rig.practice.tenant().faults().revoke_tokens, "it acts once");
    rig.renew().await;
    assert_eq!(rig.get("/Users").await.status(), 200);

    rig.token = "made-up".to_owned();
    assert_eq!(rig.get("/Users").await.status(), 401);
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_list_is_paged_in_a_stable_order() {
    let rig = Rig::new(Options { users: 23, page_cap: 10, ..Options::default() }).await;
    let mut seen = Vec::new();
    for start in ["1", "11", "21"] {
        let page = rig.list(&[("startIndex", start), ("count", "500")]).await;
        assert_eq!(page["totalResults"], 23);
        assert_eq!(page["itemsPerPage"], ids(&page).len());
        seen.extend(ids(&page));
    }
    let all: Vec<_> = rig.practice.tenant().users().iter().map(|user| user.id.to_string()).collect();
    assert_eq!(seen, all);
    for (query, expected) in [
        (&[][..], 10),
        (&[("count", "3")][..], 3),
        (&[("count", "0")], 0),
        (&[("count", "-1")], 0),
        (&[("startIndex", "0"), ("count", "2")], 2),
        (&[("startIndex", "24")], 0),
    ] {
        let page = rig.list(query).await;
        assert_eq!((ids(&page).len(), &page["totalResults"]), (expected, &json!(23)), "{query:?}");
    }
    assert_refused(rig.get("/Users?count=many").await, 400, Some("invalidValue")).await;
    assert_eq!(rig.practice.tenant().stats().users_listed, 23 + 15);
    rig.practice.stop().await;
}

#[tokio::test]
async fn since_means_strictly_later() {
    let rig = Rig::small(30).await;
    let (id, before) = (rig.id(4), START.to_string());
    assert_eq!(rig.total(&[("since", &before)]).await, 0);

    let later = START.plus(Duration::from_millis(1));
    rig.clock.set(later);
    rig.practice.tenant().set_roles(&id, [Role::from("HR_NEW")]).expect("the user exists");
    let page = rig.list(&[("since", &before), ("_queryFilter", "userName ne ''")]).await;
    assert_eq!(ids(&page), [id.as_str()]);
    assert_eq!(page["Resources"][0]["roles"], json!([{ "value": "HR_NEW" }]));
    assert_eq!(page["Resources"][0]["meta"]["lastModified"], later.to_string());
    assert_eq!(rig.total(&[("since", &later.to_string())]).await, 0);
    assert_eq!(rig.total(&[("since", "1970-01-01T00:00:00Z")]).await, 30);
    assert_refused(rig.get("/Users?since=yesterday").await, 400, Some("invalidValue")).await;

    rig.fault(Faults { ignore_since: true, ..Faults::default() });
    assert_eq!(rig.total(&[("since", &later.to_string())]).await, 30);
    rig.practice.stop().await;
}

#[tokio::test]
async fn filters_pick_users() {
    let rig = Rig::small(40).await;
    let (one, leaver) = (rig.id(0), rig.id(1));
    let tenant = rig.practice.tenant();
    for user in tenant.users() {
        tenant.set_active(&user.id, user.id != leaver).expect("the user exists");
    }
    let later = START.plus(Duration::from_secs(1));
    rig.clock.set(later);
    tenant.set_teams(&one, [TeamId::from("team-new")]).expect("the user exists");
    let (by_id, at) = (format!("id eq \"{one}\""), format!("meta.lastModified ge \"{later}\""));
    let after = format!("meta.lastModified gt \"{later}\"");
    for (filter, expected) in [
        ("userName ne ''", 40),
        ("active eq false", 1),
        ("active eq true", 39),
        ("userName eq \"USER-0003@practice.example\"", 1),
        ("userName eq \"nobody\"", 0),
        ("externalId eq \"E-0007\"", 1),
        ("externalId eq \"E-0007\" and active eq false", 0),
        ("externalId eq \"E-0007\" or active eq false", 2),
        ("teams.value eq \"team-new\"", 1),
        (&by_id, 1),
        (&at, 1),
        (&after, 0),
    ] {
        assert_eq!(rig.total(&[("filter", filter)]).await, expected, "{filter}");
        assert_eq!(rig.total(&[("_queryFilter", filter)]).await, expected, "{filter}");
    }
    assert_eq!(rig.total(&[("filter", "active eq false"), ("_queryFilter", &by_id)]).await, 0, "both count");
    for wrong in ["userName like 'x'", "userNam eq 'x'", "userName eq"] {
        let answer =
            rig.call(Method::GET, "/Users").query(&[("filter", wrong)]).send().await.expect("answer");
        assert_refused(answer, 400, Some("invalidFilter")).await;
    }
    rig.practice.stop().await;
}

#[tokio::test]
async fn both_bases_show_the_same_users() {
    let rig = Rig::small(2).await;
    let id = rig.id(0);
    let other = rig.practice.base_url().trim_end_matches("/v2").to_owned();
    let body = json!({
        "schemas": [PATCH_SCHEMA],
        "Operations": [{ "op": "replace", "path": "teams", "value": [{ "value": "t-1" }] }],
    });
    let url = format!("{other}/Users/{id}");
    let answer = rig.client.patch(&url).bearer_auth(&rig.token).json(&body).send().await.expect("answer");
    assert_eq!(answer.status(), 200);
    let there = json_of(answer).await;
    let here = json_of(rig.get(&format!("/Users/{id}")).await).await;
    assert_eq!(there["meta"]["location"], url);
    assert_eq!(here["meta"]["location"], format!("{}/Users/{id}", rig.practice.base_url()));
    assert_eq!(here["teams"][0]["value"], "t-1");
    assert_eq!(here["teams"][0]["$ref"], format!("{}/Groups/t-1", rig.practice.base_url()));
    assert_eq!(here["meta"]["version"], there["meta"]["version"]);
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_patch_changes_the_user_and_an_empty_one_is_only_counted() {
    let rig = Rig::small(3).await;
    let id = rig.id(0);
    rig.practice.tenant().set_teams(&id, []).expect("the user exists");
    let later = START.plus(Duration::from_secs(5));
    rig.clock.set(later);
    let answer = rig.put_into(&id, &["team-sales", "team-social"]).send().await.expect("answer");
    assert_eq!(answer.status(), 200);
    let tag = answer.headers()["etag"].to_str().expect("text").to_owned();
    let body = json_of(answer).await;
    assert_eq!(body["meta"]["version"], tag);
    assert_eq!(body["meta"]["lastModified"], later.to_string());
    assert_eq!(rig.teams(&id), ["team-sales", "team-social"]);

    rig.clock.set(later.plus(Duration::from_secs(5)));
    let again = rig.put_into(&id, &["team-social", "team-sales"]).send().await.expect("answer");
    assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().ok()), (200, Some(&*tag)));
    assert_eq!(json_of(again).await["meta"]["lastModified"], later.to_string());
    let stats = rig.practice.tenant().stats();
    assert_eq!((stats.patches_without_effect, stats.count("PATCH /Users/{id}")), (1, 2));
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_patch_that_is_wrong_changes_nothing() {
    let rig = Rig::small(1).await;
    let id = rig.id(0);
    let before = json_of(rig.get(&format!("/Users/{id}")).await).await;
    for (operations, word) in [
        (json!([{ "op": "replace", "path": "teams", "value": ["t"] }]), "invalidValue"),
        (json!([{ "op": "replace", "path": "active", "value": "no" }]), "invalidValue"),
        (json!([{ "op": "remove", "path": "userName" }]), "invalidValue"),
        (
            json!([{ "op": "remove", "path": "teams" }, { "op": "replace", "path": "id", "value": "x" }]),
            "mutability",
        ),
    ] {
        let answer = rig.patch(&id, &operations).send().await.expect("answer");
        assert_refused(answer, 400, Some(word)).await;
    }
    let plain = rig.call(Method::PATCH, &format!("/Users/{id}")).body("{}").send().await.expect("answer");
    assert_refused(plain, 415, None).await;
    let broken = rig.call(Method::PATCH, &format!("/Users/{id}")).header("content-type", "application/json");
    assert_refused(broken.body("{").send().await.expect("answer"), 400, Some("invalidSyntax")).await;
    let nobody = rig.put_into(&UserId::from("nobody"), &[]).send().await.expect("answer");
    assert_refused(nobody, 404, None).await;
    assert_eq!(json_of(rig.get(&format!("/Users/{id}")).await).await, before);
    assert_eq!(rig.practice.tenant().stats().patches_without_effect, 0, "refused is not without effect");
    rig.practice.stop().await;
}

#[tokio::test]
async fn custom_attributes_are_set_and_removed_by_key() {
    let rig = Rig::small(1).await;
    let id = rig.id(0);
    let set = json!([
        { "op": "replace", "path": "customAttributes[\"department\"]", "value": "North" },
        { "op": "add", "path": "customAttributes[\"a\\\"b\\\\c\"]", "value": "odd" },
    ]);
    let body = json_of(rig.patch(&id, &set).send().await.expect("answer")).await;
    assert_eq!(body["customAttributes"], json!({ "department": "North", "a\"b\\c": "odd" }));
    let unset = json!([{ "op": "remove", "path": "customAttributes[\"department\"]" }]);
    let body = json_of(rig.patch(&id, &unset).send().await.expect("answer")).await;
    assert_eq!(body["customAttributes"], json!({ "a\"b\\c": "odd" }));
    rig.practice.stop().await;
}

#[tokio::test]
async fn users_are_created_replaced_and_deleted() {
    let rig = Rig::small(1).await;
    let new = json!({ "userName": "new@practice.example", "externalId": "E-N", "shoeSize": 43 });
    let post = |body: &Value| rig.call(Method::POST, "/Users").json(body).send();
    let made = post(&new).await.expect("answer");
    assert_eq!(made.status(), 201);
    let location = made.headers()["location"].to_str().expect("text").to_owned();
    let body = json_of(made).await;
    assert_eq!(body["meta"]["location"], location);
    assert_eq!((&body["active"], &body["shoeSize"]), (&json!(true), &json!(43)));

    for twin in
        [json!({ "userName": "NEW@practice.example" }), json!({ "userName": "x", "externalId": "E-N" })]
    {
        assert_refused(post(&twin).await.expect("answer"), 409, Some("uniqueness")).await;
    }
    assert_refused(post(&json!({ "userName": "" })).await.expect("answer"), 400, Some("invalidValue")).await;

    let path = format!("/Users/{}", body["id"].as_str().expect("an id"));
    let whole = json!({ "userName": "newer@practice.example", "teams": [{ "value": "team-sales" }] });
    let replaced = rig.call(Method::PUT, &path).json(&whole).send().await.expect("answer");
    assert_eq!(replaced.status(), 200);
    let replaced = json_of(replaced).await;
    assert_eq!((&replaced["shoeSize"], &replaced["externalId"]), (&Value::Null, &Value::Null));
    assert_eq!(replaced["teams"][0]["value"], "team-sales");

    let gone = rig.call(Method::DELETE, &path).send().await.expect("answer");
    assert_eq!(gone.status(), 204);
    assert_eq!(gone.text().await.expect("a body"), "");
    assert_refused(rig.get(&path).await, 404, None).await;
    assert_eq!(post(&new).await.expect("answer").status(), 201, "both names are free again");
    rig.practice.stop().await;
}

#[tokio::test]
async fn if_match_guards_against_lost_updates() {
    let rig = Rig::small(1).await;
    let id = rig.id(0);
    let old = rig.get(&format!("/Users/{id}")).await.headers()["etag"].clone();
    rig.practice.tenant().set_teams(&id, [TeamId::from("team-by-hand")]).expect("the user exists");
    let stale = rig.put_into(&id, &[]).header("if-match", &old).send().await.expect("answer");
    assert_refused(stale, 412, None).await;
    assert_eq!(rig.teams(&id), ["team-by-hand"]);
    let stale = rig.call(Method::DELETE, &format!("/Users/{id}")).header("if-match", &old);
    assert_refused(stale.send().await.expect("answer"), 412, None).await;

    let new = rig.get(&format!("/Users/{id}")).await.headers()["etag"].clone();
    let list = format!("\"x\", {}", new.to_str().expect("text"));
    let fresh = rig.put_into(&id, &["t-1"]).header("if-match", list).send().await.expect("answer");
    assert_eq!(fresh.status(), 200);
    let any = rig.put_into(&id, &["t-2"]).header("if-match", "*").send().await.expect("answer");
    assert_eq!(any.status(), 200);
    rig.practice.stop().await;
}

#[tokio::test]
async fn without_etags_there_is_no_version_anywhere() {
    let rig = Rig::new(Options { users: 1, etag: false, ..Options::default() }).await;
    let id = rig.id(0);
    let answer = rig.put_into(&id, &["t"]).header("if-match", "W/\"99\"").send().await.expect("answer");
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("etag"));
    assert_eq!(json_of(answer).await["meta"]["version"], Value::Null);
    let config = json_of(rig.get("/ServiceProviderConfig").await).await;
    assert_eq!(config["etag"]["supported"], false);
    rig.practice.stop().await;
}

#[tokio::test]
async fn members_of_a_group_are_the_users_in_the_team() {
    let rig = Rig::small(3).await;
    let (a, b) = (rig.id(0), rig.id(1));
    for user in rig.practice.tenant().users() {
        rig.practice.tenant().set_teams(&user.id, []).expect("the user exists");
    }
    assert_eq!(rig.put_into(&a, &["team-x"]).send().await.expect("answer").status(), 200);
    let group = json_of(rig.get("/Groups/team-x").await).await;
    assert_eq!(group["members"][0]["value"], a.as_str());
    let version = json_of(rig.get(&format!("/Users/{b}")).await).await["meta"]["version"].clone();

    let patch = |operations: Value| {
        let body = json!({ "schemas": [PATCH_SCHEMA], "Operations": operations });
        rig.call(Method::PATCH, "/Groups/team-x").json(&body).send()
    };
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": b.as_str() }] }]);
    assert_eq!(patch(add).await.expect("answer").status(), 200);
    assert_eq!(rig.teams(&b), ["team-x"]);
    assert_ne!(json_of(rig.get(&format!("/Users/{b}")).await).await["meta"]["version"], version);

    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{a}\"]") }]);
    assert_eq!(patch(remove).await.expect("answer").status(), 200);
    assert!(rig.teams(&a).is_empty());
    let stranger = json!([{ "op": "add", "path": "members", "value": [{ "value": "nobody" }] }]);
    assert_refused(patch(stranger).await.expect("answer"), 400, Some("invalidValue")).await;

    let found = rig.get("/Groups?filter=displayName+eq+%22team-x%22").await;
    assert_eq!(json_of(found).await["totalResults"], 1);
    let gone = rig.call(Method::DELETE, "/Groups/team-x").send().await.expect("answer");
    assert_eq!(gone.status(), 204);
    assert!(rig.teams(&b).is_empty());
    rig.practice.stop().await;
}

#[tokio::test]
async fn what_the_tenant_can_do_is_published() {
    let rig = Rig::small(2).await;
    let config = json_of(rig.get("/ServiceProviderConfig").await).await;
    for (what, expected) in
        [("patch", true), ("bulk", true), ("filter", true), ("etag", true), ("sort", false)]
    {
        assert_eq!(config[what]["supported"], expected, "{what}");
    }
    assert_eq!(config["filter"]["maxResults"], 100);
    assert_eq!(json_of(rig.get("/ResourceTypes").await).await["totalResults"], 2);
    let user = json_of(rig.get("/Schemas/urn:ietf:params:scim:schemas:core:2.0:User").await).await;
    let attributes = user["attributes"].as_array().expect("attributes").iter();
    let names: BTreeSet<_> = attributes.filter_map(|attribute| attribute["name"].as_str()).collect();
    assert!(names.is_superset(&["userName", "roles", "teams", "customAttributes"].into()));
    let some = rig.list(&[("attributes", "userName")]).await;
    assert!(some["Resources"][0].get("roles").is_none() && some["Resources"][0].get("userName").is_some());
    rig.practice.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_scim_form() {
    let rig = Rig::small(1).await;
    for (method, path, status) in [
        (Method::GET, "/Nothing", 404),
        (Method::GET, "/Users/nobody", 404),
        (Method::GET, "/Schemas/none", 404),
        (Method::POST, "/Schemas", 405),
        (Method::PUT, "/Users", 405),
    ] {
        let answer = rig.call(method, path).send().await.expect("answer");
        assert_refused(answer, status, None).await;
    }
    let root = rig.practice.base_url().replace("/api/v2/scim/v2", "/elsewhere");
    assert_refused(rig.client.get(root).send().await.expect("answer"), 404, None).await;
    let stats = rig.practice.tenant().stats();
    assert_eq!((stats.status(404), stats.status(405)), (4, 2));
    rig.practice.stop().await;
}

#[tokio::test]
async fn every_answer_is_dated_by_the_clock_and_can_be_named() {
    let rig = Rig::small(1).await;
    rig.clock.set(Timestamp::parse("2031-02-03T04:05:06.789Z").expect("a date"));
    let mut names = BTreeSet::new();
    for path in ["/ServiceProviderConfig", "/Users", "/Nothing"] {
        let answer = rig.get(path).await;
        assert_eq!(answer.headers()["date"], "Mon, 03 Feb 2031 04:05:06 GMT", "{path}");
        names.insert(answer.headers()["inin-correlation-id"].clone());
    }
    assert_eq!(names.len(), 3);
    rig.practice.stop().await;
}

#[tokio::test]
async fn the_rate_limit_counts_every_call_but_the_controls() {
    let limits = Options { users: 1, rate_per_second: Some(0.01), burst: 3, ..Options::default() };
    let rig = Rig::new(limits).await;
    assert_eq!(rig.get("/Users").await.status(), 200);
    assert_eq!(rig.get("/Groups").await.status(), 200);
    let answer = rig.get("/Users").await;
    let wait: u64 = answer.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=100).contains(&wait), "{wait}");
    assert_eq!(answer.headers()["inin-ratelimit-allowed"], "3");
    assert_refused(answer, 429, None).await;
    let token = rig.token_call("practice", "practice").send().await.expect("answer");
    assert_eq!(token.status(), 429);

    let stats = rig.client.get(format!("{}/stats", rig.practice.control_url())).send().await.expect("answer");
    assert_eq!(stats.status(), 200);
    let stats = json_of(stats).await;
    assert_eq!(stats["rate_limited"], 2);
    assert_eq!(stats["requests"]["POST /oauth/token"], 2);
    assert_eq!(stats["requests"]["GET /Users"], 2);
    rig.practice.stop().await;
}

#[tokio::test]
async fn errors_and_outages_have_no_effect_on_users() {
    let rig = Rig::small(1).await;
    let id = rig.id(0);
    let before = rig.teams(&id);
    rig.fault(Faults { error_rate: 1.0, error_status: 502, ..Faults::default() });
    assert_refused(rig.put_into(&id, &["t"]).send().await.expect("answer"), 502, None).await;
    rig.fault(Faults { outage: true, ..Faults::default() });
    assert_refused(rig.put_into(&id, &["t"]).send().await.expect("answer"), 503, None).await;
    assert_eq!(rig.token_call("practice", "practice").send().await.expect("answer").status(), 503);
    assert_eq!(rig.teams(&id), before);
    assert_eq!((rig.befell(Fault::Error), rig.befell(Fault::Outage)), (1, 2));
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_a_write_that_was_applied() {
    let rig = Rig::small(1).await;
    let id = rig.id(0);
    rig.fault(Faults { lost_answer_rate: 1.0, ..Faults::default() });
    let answer = rig.put_into(&id, &["t"]).send().await.expect("answer");
    assert_eq!(answer.status(), 504);
    assert!(answer.text().await.expect("a body").contains("<html>"));
    assert_eq!(rig.teams(&id), ["t"]);
    assert_eq!(rig.get("/Users").await.status(), 200, "reads keep their answers");
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_cut_body_ends_before_its_length() {
    let rig = Rig::small(5).await;
    rig.fault(Faults { cut_body_rate: 1.0, ..Faults::default() });
    let mut answer = rig.get("/Users").await;
    assert_eq!(answer.status(), 200);
    let promised = answer.content_length().expect("a length");
    let mut came = 0;
    let error = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => came += chunk.len(),
            Ok(None) => panic!("the body ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert!(came > 0 && u64::try_from(came).expect("small") < promised, "{came} of {promised}");
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_garbled_answer_is_whole_but_no_json() {
    let rig = Rig::small(5).await;
    let id = rig.id(0);
    rig.fault(Faults { garbled_rate: 1.0, ..Faults::default() });
    let answer = rig.put_into(&id, &["t"]).send().await.expect("answer");
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.expect("the whole body");
    assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    assert_eq!(rig.teams(&id), ["t"]);
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_reset_closes_the_connection_without_an_answer() {
    let rig = Rig::small(1).await;
    let (id, before) = (rig.id(0), rig.teams(&rig.id(0)));
    rig.fault(Faults { reset_rate: 1.0, ..Faults::default() });
    let error = rig.put_into(&id, &["t"]).send().await.expect_err("no answer");
    assert!(error.is_request(), "{error:?}");
    let mut cause = error.source();
    while let Some(outer) = cause.filter(|cause| !cause.is::<std::io::Error>()) {
        cause = outer.source();
    }
    let io = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    assert_eq!(io.map(std::io::Error::kind), Some(std::io::ErrorKind::ConnectionReset), "{error:?}");
    assert_eq!(rig.teams(&id), before);
    assert_eq!(rig.practice.tenant().stats().statuses.get(&503), None);
    rig.fault(Faults::default());
    assert_eq!(rig.get("/Users").await.status(), 200, "the next connection is fine");
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_silent_call_lasts_until_the_tenant_stops() {
    let rig = Rig::small(1).await;
    let (id, before) = (rig.id(0), rig.teams(&rig.id(0)));
    rig.fault(Faults { timeout_rate: 1.0, ..Faults::default() });
    let tenant = rig.practice.tenant().clone();
    let calls = [1, 2, 3].map(|_| rig.put_into(&id, &["t"]).send());
    let stop = async {
        while tenant.stats().in_flight < 3 {
            tokio::task::yield_now().await;
        }
        rig.practice.stop().await;
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(calls), stop);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    let stats = tenant.stats();
    assert_eq!((stats.in_flight, stats.peak_in_flight), (0, 3));
    assert_eq!(stats.faults, BTreeMap::from([(Fault::Timeout, 3)]));
    let teams: Vec<_> = tenant.user(&id).expect("exists").teams.iter().map(ToString::to_string).collect();
    assert_eq!(teams, before);
}

#[tokio::test]
async fn a_moving_list_repeats_one_user_and_misses_another() {
    let rig = Rig::small(30).await;
    let read = async |rig: &Rig| {
        let mut seen = Vec::new();
        for start in ["1", "11", "21"] {
            seen.extend(ids(&rig.list(&[("startIndex", start), ("count", "10")]).await));
        }
        seen
    };
    rig.fault(Faults { moving_list: true, ..Faults::default() });
    let first = read(&rig).await;
    let distinct: BTreeSet<_> = first.iter().cloned().collect();
    assert_eq!((first.len(), distinct.len()), (30, 28), "two repeated, two missed");
    let second = read(&rig).await;
    let both: BTreeSet<_> = first.into_iter().chain(second).collect();
    assert_eq!(both.len(), 30, "a second run finds them");

    let id = rig.id(17);
    rig.put_into(&id, &["t-new"]).send().await.expect("answer");
    assert_eq!(rig.id(0), id, "who was written goes to the front");
    rig.fault(Faults::default());
    let still = read(&rig).await;
    assert_eq!(still, read(&rig).await);
    rig.practice.stop().await;
}

#[tokio::test]
async fn chosen_users_fail_and_others_do_not() {
    let rig = Rig::small(2).await;
    let (poison, fine) = (rig.id(0), rig.id(1));
    rig.fault(Faults { fail_users: [(poison.to_string(), 422)].into(), ..Faults::default() });
    for _ in 0..2 {
        assert_refused(rig.put_into(&poison, &["t"]).send().await.expect("answer"), 422, None).await;
    }
    assert_eq!(rig.put_into(&fine, &["t"]).send().await.expect("answer").status(), 200);
    assert_eq!(rig.get(&format!("/Users/{poison}")).await.status(), 200, "he can be read");
    rig.practice.stop().await;
}

#[tokio::test]
async fn the_token_endpoint_refuses_on_command() {
    let rig = Rig::small(1).await;
    rig.fault(Faults { token_rate_limited: 1, ..Faults::default() });
    let limited = rig.token_call("practice", "practice").send().await.expect("answer");
    assert_eq!(limited.status(), 400);
    let body = json_of(limited).await;
    assert_eq!(
        (&body["error"], &body["description"]),
        (&json!("invalid_request"), &json!("rate limit exceeded"))
    );
    assert_eq!(rig.token_call("practice", "practice").send().await.expect("answer").status(), 200, "once");

    rig.fault(Faults { reject_token_credentials: true, ..Faults::default() });
    let refused = rig.token_call("practice", "practice").send().await.expect("answer");
    assert_eq!(
        (refused.status().as_u16(), json_of(refused).await["error"].as_str()),
        (401, Some("invalid_client"))
    );
    assert_eq!(rig.get("/Users").await.status(), 200, "the token that was given stays valid");
    rig.practice.stop().await;
}

#[tokio::test]
async fn malformed_pages_come_as_often_as_asked() {
    let rig = Rig::small(3).await;
    let once =
        Faults { page_without_resources: 1, user_without_id: 1, role_not_a_string: 1, ..Faults::default() };
    rig.fault(once);
    let page = rig.list(&[]).await;
    assert_eq!((page.get("Resources"), &page["totalResults"]), (None, &json!(3)));
    let page = rig.list(&[]).await;
    assert_eq!((page["Resources"][0].get("id"), page["Resources"][1].get("id").is_some()), (None, true));
    assert!(rig.list(&[]).await["Resources"][0]["roles"][0]["value"].is_number());
    let page = rig.list(&[]).await;
    assert_eq!(ids(&page).len(), 3);
    assert!(page["Resources"][0]["roles"][0]["value"].is_string());
    rig.practice.stop().await;
}

#[tokio::test]
async fn the_controls_need_no_token_and_survive_an_outage() {
    let rig = Rig::small(2).await;
    let control = |method: Method, path: &str| {
        rig.client.request(method, format!("{}/{path}", rig.practice.control_url()))
    };
    let set = control(Method::POST, "faults").body(r#"{"outage": true}"#).send().await.expect("answer");
    assert_eq!((set.status(), &json_of(set).await["outage"]), (StatusCode::OK, &json!(true)));
    assert_eq!(rig.get("/Users").await.status(), 503);

    for wrong in [r#"{"outrage": true}"#, r#"{"error_rate": 2}"#, "no"] {
        let answer = control(Method::POST, "faults").body(wrong).send().await.expect("answer");
        assert_refused(answer, 400, Some("invalidValue")).await;
    }
    let read = control(Method::GET, "faults").send().await.expect("answer");
    assert_eq!(json_of(read).await["outage"], true, "what was refused changed nothing");

    let id = rig.id(0);
    let roles =
        |id: &str| control(Method::POST, &format!("users/{id}/roles")).body(r#"["HR_X", "HR_Y"]"#).send();
    assert_eq!(roles(id.as_str()).await.expect("answer").status(), 204);
    let now = rig.practice.tenant().user(&id).expect("exists").roles;
    assert_eq!(now, ["HR_X", "HR_Y"].map(Role::from).into());
    assert_refused(roles("nobody").await.expect("answer"), 404, None).await;
    assert_refused(control(Method::PUT, "stats").send().await.expect("answer"), 405, None).await;
    assert_refused(control(Method::GET, "nothing").send().await.expect("answer"), 404, None).await;

    assert_eq!(control(Method::DELETE, "faults").send().await.expect("answer").status(), 200);
    assert_eq!(rig.get("/Users").await.status(), 200);
    assert_eq!(rig.practice.tenant().stats().count("POST /practice"), 0);
    rig.practice.stop().await;
}

#[tokio::test]
async fn hr_changes_users_behind_the_back_of_http() {
    let rig = Rig::small(2).await;
    let tenant = rig.practice.tenant();
    let id = tenant.add_user(77, &[Role::from("HR_SALES")]).expect("the number is free");
    assert!(tenant.add_user(77, &[]).is_err());
    let user = json_of(rig.get(&format!("/Users/{id}")).await).await;
    assert_eq!(
        (&user["userName"], &user["externalId"]),
        (&json!("user-0077@practice.example"), &json!("E-0077"))
    );

    rig.clock.set(START.plus(Duration::from_secs(1)));
    tenant.set_active(&id, false).expect("exists");
    let version = tenant.user(&id).expect("exists").version;
    rig.clock.set(START.plus(Duration::from_secs(2)));
    tenant.set_active(&id, false).expect("exists");
    let same = tenant.user(&id).expect("exists");
    assert_eq!((same.version, same.last_modified), (version, Some(START.plus(Duration::from_secs(1)))));
    tenant.delete_user(&id).expect("exists");
    assert_refused(rig.get(&format!("/Users/{id}")).await, 404, None).await;
    assert!(tenant.set_roles(&id, []).is_err() && tenant.delete_user(&id).is_err());
    rig.practice.stop().await;
}

#[tokio::test]
async fn a_stopped_tenant_listens_no_more() {
    let rig = Rig::small(1).await;
    let url = rig.practice.token_url();
    assert_eq!(rig.get("/Users").await.status(), 200, "a connection stays open");
    rig.practice.stop().await;
    let error = rig.client.post(url).send().await.expect_err("nobody listens");
    assert!(error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn a_client_that_never_finishes_does_not_hold_up_the_stop() {
    let rig = Rig::small(1).await;
    let base = reqwest::Url::parse(&rig.practice.base_url()).expect("a URL");
    let address = ("127.0.0.1", base.port().expect("a port"));
    let mut slow = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let head = "PATCH /api/v2/scim/v2/Users/x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.expect("it listens");
    let tenant = rig.practice.tenant().clone();
    while tenant.stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    rig.practice.stop().await;
    assert_eq!(tenant.stats().in_flight, 0);
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.expect("the connection is closed");
    assert!(!String::from_utf8_lossy(&rest).starts_with("HTTP/1.1 2"));
}

#[tokio::test]
async fn wrong_options_are_refused() {
    for options in [
        Options { rate_per_second: Some(0.0), ..Options::default() },
        Options { burst: 0, ..Options::default() },
        Options { page_cap: 0, ..Options::default() },
        Options { faults: Faults { error_rate: -1.0, ..Faults::default() }, ..Options::default() },
    ] {
        let error = practice::start(options, Clock::system()).await.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
