//! Exports as HR writes them, and the tenant's users as it shows them.

use std::collections::BTreeMap;
use std::fs;

use rosterd::practice::{BulkMode, Options};
use serde_json::Value;

use crate::home::{CLIENT_ID, CLIENT_SECRET, Home};
use crate::rig::{Rig, runtime, tls, users};

/// The columns of every export here.
const HEADER: &str = "externalId,userName,email,givenName,familyName,title,active,roles";

/// The modes of `bulk.mode` that say what to do, and a tenant that does it.
pub(super) const MODES: [(&str, BulkMode); 3] =
    [("jobs", BulkMode::Jobs), ("rfc7644", BulkMode::Rfc7644), ("off", BulkMode::Off)];

/// Keys of the tenant: nobody waits for long until a job is asked about.
pub(crate) fn quick(mode: &str) -> String {
    format!("bulk.mode = {mode:?}\nbulk.poll_interval = \"100ms\"")
}

/// A practice tenant of `count` users that takes bulk requests in one way, and a rosterd that is told so.
pub(super) fn rig(count: usize, (mode, bulk): (&str, BulkMode)) -> Rig {
    rig_of(Options { bulk, ..users(count) }, mode)
}

/// The same with further options.
pub(super) fn rig_of(options: Options, mode: &str) -> Rig {
    let rig = Rig::live(options);
    rig.set(&quick(mode));
    rig
}

/// The row of somebody who is new to the tenant.
pub(super) fn newcomer(number: usize) -> String {
    let mail = format!("new-{number:04}@example.com");
    format!("{},{mail},{mail},New,Person {number:04},Agent,,HR_SALES", hr(number))
}

/// By which HR knows a newcomer.
pub(super) fn hr(number: usize) -> String {
    format!("HR-{number:04}")
}

/// The row of a user of the practice tenant, with these cells for `title` and `active`.
pub(super) fn known(number: usize, title: &str, active: &str) -> String {
    let mail = format!("user-{number:04}@practice.example");
    format!("E-{number:04},{mail},{mail},User,{number:04},{title},{active},")
}

/// An export of these rows; the first one stands in line 2.
pub(super) fn export(rows: impl IntoIterator<Item = String>) -> String {
    let rows: Vec<String> = [HEADER.to_owned()].into_iter().chain(rows).collect();
    rows.join("\n") + "\n"
}

/// The tenant's users by `externalId`, as it shows them to whoever asks.
pub(crate) fn records(rig: &Rig) -> BTreeMap<String, Value> {
    #[allow(clippy::disallowed_methods, reason = "the test asks as another client")]
    async fn all(rig: &Rig) -> Vec<Value> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let form = [("grant_type", "client_credentials")];
        let token = client.post(rig.practice().token_url()).basic_auth(CLIENT_ID, Some(CLIENT_SECRET));
        let token: Value = token.form(&form).send().await.unwrap().json().await.unwrap();
        let (token, url) =
            (token["access_token"].as_str().unwrap(), format!("{}/Users", rig.practice().base_url()));
        let mut users = Vec::new();
        loop {
            let query = [("startIndex", users.len() + 1), ("count", 100)];
            let page = client.get(&url).bearer_auth(token).query(&query).send().await.unwrap();
            let page: Value = page.json().await.unwrap();
            users.extend(page["Resources"].as_array().unwrap().iter().cloned());
            if Some(users.len()) >= page["totalResults"].as_u64().map(|total| usize::try_from(total).unwrap())
            {
                return users;
            }
        }
    }
    tls();
    let users = runtime().block_on(all(rig));
    let count = users.len();
    let by_id: BTreeMap<String, Value> =
        users.into_iter().map(|user| (user["externalId"].as_str().unwrap().to_owned(), user)).collect();
    assert_eq!(by_id.len(), count, "nobody is there twice");
    by_id
}

/// The audit's lines of one event.
pub(crate) fn lines(home: &Home, event: &str) -> Vec<Value> {
    let text = fs::read_to_string(home.path("audit.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

/// Calls that may have changed somebody.
pub(super) fn writes(rig: &Rig) -> u64 {
    let stats = rig.stats();
    let changes = stats
        .requests
        .iter()
        .filter(|(class, _)| !class.starts_with("GET ") && class.as_str() != "POST /oauth/token");
    changes.map(|(_, count)| count).sum()
}

/// Every newcomer of `numbers` is there, once, and no create was sent twice.
#[track_caller]
pub(super) fn assert_there(rig: &Rig, before: usize, numbers: impl IntoIterator<Item = usize>) {
    let people = records(rig);
    let mut count = before;
    for number in numbers {
        assert_eq!(people[&hr(number)]["title"], "Agent", "{number}");
        count += 1;
    }
    assert_eq!(people.len(), count, "and nobody else");
    assert_eq!(rig.stats().creates_repeated, 0, "{:#?}", rig.tenant().creates_by_external_id());
}
