//! Answers that are not what was asked for, tenants that refuse us or are not there, addresses that nobody
//! should talk to: a clear word, the documented exit code, and nothing half done.

use rosterd::practice::Faults;
use serde_json::{Value, json};

use crate::home::{CLIENT_SECRET, Home};
use crate::rig::{Rig, users};

/// Nothing listens on port 1.
const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn a_list_without_resources_is_not_an_empty_list() {
    let rig = Rig::still(users(30));
    rig.faults(Faults { page_without_resources: 1, ..Faults::default() });
    let ran = rig.run(&["sync"]).ended(0).says("30 users read");
    ran.complains("the list has no Resources, though totalResults is 30");
    rig.assert_right();
}

#[test]
fn a_record_that_cannot_be_read_is_named_and_holds_up_nobody_else() {
    let without_id = Faults { user_without_id: 1, ..Faults::default() };
    let wrong_role = Faults { role_not_a_string: 1, ..Faults::default() };
    for (faults, place, named) in [
        (without_id, "missing field id", false),
        (wrong_role, "roles[0].value: found integer, expected a string", true),
    ] {
        let rig = Rig::still(users(30));
        let first = rig.tenant().users()[0].id.clone();
        let wanted = rig.wanted();
        // One more for the plan, which changes nothing.
        rig.faults(faults.clone());
        rig.run(&["plan"]).ended(2).says("1 record could not be read");
        rig.faults(faults);
        let ran = rig.run(&["sync"]).ended(3).says("degraded: 29 users read").says("1 record unreadable");
        let lines = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.into_iter().find(|line| line["message"] == "record cannot be read").unwrap();
        assert!(line["reason"].as_str().unwrap().starts_with(place), "{line}");
        assert_eq!(line["position"], json!(1));
        assert_eq!(line["user"], if named { json!(first) } else { Value::Null });
        for (id, teams) in rig.teams() {
            assert!(id == first || wanted[&id] == teams);
        }
        rig.sync();
        assert_eq!(rig.teams(), wanted);
    }
}

#[test]
fn wrong_credentials_end_with_77() {
    let rig = Rig::still(users(5));
    rig.faults(Faults { reject_token_credentials: true, ..Faults::default() });
    for command in ["sync", "plan"] {
        let ran =
            rig.run(&[command]).ended(77).complains("token endpoint: ").complains("credentials are wrong");
        assert!(!ran.stderr.contains(CLIENT_SECRET));
    }
    assert_eq!(rig.stats().count("POST /oauth/token"), 2, "wrong credentials are not tried again");
    assert_eq!((rig.patches(), rig.status()["watermark"].clone()), (0, Value::Null));
}

/// Reads are repeated for about half a minute before they are given up, here all at once.
#[test]
fn a_tenant_that_is_not_there_or_talks_nonsense_is_given_up_with_the_right_code() {
    let [nowhere, nobody] =
        [(); 2].map(|()| Home::new(&format!("{NOBODY}/scim"), &format!("{NOBODY}/token")));
    let [down, broken] = [(); 2].map(|()| Rig::still(users(20)));
    down.faults(Faults { outage: true, ..Faults::default() });
    broken.faults(Faults { page_without_resources: 99, ..Faults::default() });
    let runs: [(&Home, &[&str]); 4] =
        [(&nowhere, &["sync"]), (&nobody, &["plan"]), (&down, &["sync"]), (&broken, &["sync"])];
    let ran: [_; 4] = Home::run_all(&runs).try_into().unwrap();
    let [sync, plan, outage, nonsense] = ran;
    for ran in [sync, plan] {
        ran.ended(69).complains(
            "rosterd: acme: users could not be read: users from position 1 on: token endpoint: no connection",
        );
    }
    outage.ended(69).complains("users from position 1 on").complains("503");
    nonsense.ended(1).complains("the list has no Resources, though totalResults is 20");
    for rig in [&down, &broken] {
        let status = rig.status();
        assert_eq!((rig.patches(), &status["watermark"], &status["users"]), (0, &Value::Null, &json!(0)));
        assert_eq!(status["passes"][0]["result"], "failed");
        rig.faults(Faults::default());
        rig.sync();
        rig.assert_right();
    }
}

#[test]
fn plain_http_is_for_this_machine_only() {
    for url in ["http://tenant.example/scim", "http://10.0.0.1/scim", "ftp://127.0.0.1/scim"] {
        for home in [Home::new(url, NOBODY), Home::new(NOBODY, url)] {
            let ran = home.run(&["sync"]).ended(78).complains("rosterd.toml");
            let key = if ran.stderr.contains("token_url") { "token_url" } else { "base_url" };
            ran.complains(&format!("tenants.acme.{key}")).complains("http");
            assert!(!home.database().exists());
        }
    }
}

#[test]
fn a_missing_secret_is_named() {
    let rig = Rig::still(users(5));
    let mut command = rig.command(&["sync"]);
    let output = command.env_remove("CLIENT_SECRET").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("tenants.acme.client_secret") && said.contains("CLIENT_SECRET"), "{said}");
    assert_eq!(rig.stats().requests.len(), 0);
}
