//! What the process says about itself: lines of JSON in the documented words, without anybody's name.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};

use rosterd::model::Role;
use rosterd::practice::{Faults, Options};
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::home::{CLIENT_ID, CLIENT_SECRET};
use crate::process::{Daemon, until};
use crate::rig::{Rig, users};
use crate::scripted::{Scripted, list, refusal, token, user};

/// A run in which nearly everything goes wrong once.
fn eventful_run() -> (Vec<String>, Vec<String>) {
    let rig = Rig::live(Options { etag: true, ..users(60) });
    rig.set("schedule = \"* * * * * *\"\noverlap = \"1m\"\ndelivery.max_attempts = 2");
    let refused = rig.misplaced()[0].to_string();
    rig.faults(Faults {
        error_rate: 0.1,
        cut_body_rate: 0.03,
        garbled_rate: 0.03,
        reset_rate: 0.03,
        user_without_id: 1,
        role_not_a_string: 1,
        token_rate_limited: 1,
        fail_users: [(refused, 400)].into(),
        ..Faults::default()
    });
    let daemon = Daemon::spawn(rig.command(&["--log-format", "json", "--log-level", "trace", "run"]));
    daemon.until_said("record cannot be read");
    daemon.until_said("operation is a dead letter");
    daemon.until_said("attempt failed");
    let user = rig.some(|user| user.active && !user.roles.contains(&Role::from("HR_SALES")));
    rig.set_roles(&user.id, &["HR_SALES"]);
    let gone = rig.some(|other| other.id != user.id).id;
    rig.tenant().delete_user(&gone).unwrap();
    rig.tenant().revoke_tokens();
    until("some passes", || daemon.said("pass finished") >= 3);
    rig.set("pagesize = 3");
    daemon.signal("HUP");
    daemon.until_said("configuration refused");
    rig.set("guard.min_users = 60");
    daemon.signal("HUP");
    daemon.until_said("configuration reloaded");
    rig.faults(Faults { outage: true, ..Faults::default() });
    let ended = daemon.stop();
    (ended.out, ended.err)
}

#[test]
fn every_line_is_json_in_documented_words_and_names_nobody() {
    let (out, err) = eventful_run();
    assert_eq!(err, Vec::<String>::new());
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/LOGGING.md")).unwrap();
    let guide = guide.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut unexplained = BTreeSet::new();
    for line in &out {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        let fields = value.as_object().unwrap();
        for key in ["timestamp", "level", "target", "message"] {
            assert!(fields[key].is_string(), "{line}");
        }
        assert!(fields.values().all(|value| !value.is_object() && !value.is_array()), "flat: {line}");
        let message = fields["message"].as_str().unwrap();
        if !guide.contains(&format!("**{message}**")) {
            unexplained.insert(format!("message {message}"));
        }
        unexplained.extend(fields.keys().filter(|key| !guide.contains(&format!("`{key}`"))).cloned());
        for personal in ["@practice.example", "User 0", CLIENT_ID, CLIENT_SECRET, "practice-"] {
            assert!(!line.contains(personal), "{personal} in {line}");
        }
    }
    assert!(unexplained.is_empty(), "docs/LOGGING.md does not explain {unexplained:#?}");
}

/// The tenant puts names, mail addresses and secrets into everything that it says.
#[test]
fn a_tenant_that_talks_of_people_is_not_quoted() {
    const GOSSIP: &str = "user 'Firstname Lastname' <user-0001@practice.example>, phone +49 30 1234567, token=hush-hush-1 is wrong";
    const PERSONAL: [&str; 6] =
        ["Firstname", "Lastname", "user-0001@", "1234567", "hush-hush", "token-that-nobody-may-see"];
    let answers = Arc::new(Mutex::new(0));
    let tenant = Scripted::new(move |name, _| {
        let mut count = answers.lock().unwrap();
        *count += 1;
        let gossip =
            json!({ "detail": GOSSIP, "userName": "user-0001@practice.example", "displayName": "Lastname" });
        match name {
            "POST /oauth/token" => Some(token("token-that-nobody-may-see")),
            "GET /Users" if *count < 4 => Some(ResponseTemplate::new(503).set_body_json(gossip)),
            "GET /Users" => {
                let mut odd = user("u-9", &[], &[]);
                odd["active"] = json!("Lastname");
                Some(list(&[user("u-1", &["HR_SALES"], &[]), user("u-2", &["HR_SALES"], &[]), odd]))
            }
            "PATCH /Users/u-1" => Some(refusal(400, GOSSIP)),
            "PATCH /Users/u-2" => {
                Some(ResponseTemplate::new(403).set_body_json(json!({ "message": GOSSIP, "code": "x" })))
            }
            _ => None,
        }
    });
    let ran = tenant
        .run(&["--log-level", "trace", "sync", "--json"])
        .ended(3)
        .complains("operation is a dead letter");
    assert!(ran.stderr.contains("[mail]"), "{}", ran.stderr);
    let failed = Scripted::new(|name, _| (name == "GET /Users").then(|| refusal(400, GOSSIP)));
    let refused = Scripted::new(|name, _| {
        let body = json!({ "error": "invalid_client", "error_description": GOSSIP });
        (name == "POST /oauth/token").then(|| ResponseTemplate::new(401).set_body_json(body))
    });
    let mut said = vec![ran];
    for command in ["sync", "plan"] {
        said.push(failed.run(&["--log-level", "trace", command]).ended(1));
        said.push(refused.run(&["--log-level", "trace", command]).ended(77));
    }
    said.push(tenant.run(&["status"]).ended(0));
    said.push(failed.run(&["status", "--json"]).ended(0));
    for ran in said {
        for word in PERSONAL.into_iter().chain([CLIENT_ID, CLIENT_SECRET]) {
            assert!(!ran.stdout.contains(word) && !ran.stderr.contains(word), "{word} in {ran:?}");
        }
    }
}

#[test]
fn one_shot_commands_keep_stdout_for_the_answer() {
    let rig = Rig::still(users(10));
    let ran = rig.run(&["sync", "--json"]).ended(0);
    ran.json();
    assert!(ran.stderr.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", ran.stderr);
    let text = rig.run(&["--log-format", "text", "sync", "--full"]).ended(0);
    assert!(text.stderr.lines().next().unwrap().contains("INFO rosterd::daemon"), "{}", text.stderr);
    rig.run(&["--log-level", "loud", "sync"]).ended(64).complains("loud");
    let mut command = rig.command(&["sync"]);
    let ended = command.env("RUST_LOG", "louder").output().unwrap();
    assert_eq!(ended.status.code(), Some(78), "the environment is configuration");
}
