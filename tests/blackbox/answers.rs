//! `status`, `config`, and what is said to wrong usage.

use serde_json::json;

use crate::home::{CLIENT_ID, CLIENT_SECRET};
use crate::rig::{Rig, users};

#[test]
fn status_tells_how_far_a_tenant_is() {
    let rig = Rig::still(users(30));
    rig.run(&["status"])
        .ended(1)
        .complains("there is no database yet; `rosterd run` or `rosterd sync` makes it");
    let misplaced = rig.misplaced().len();
    rig.sync();
    let status = rig.status();
    let operations = json!({ "ready": 0, "in_flight": 0, "stale": 0, "held": 0, "dead_letters": 0, "discarded": 0, "delivered": misplaced });
    assert_eq!(
        (&status["users"], &status["rereads"], &status["operations"]),
        (&json!(30), &json!(0), &operations)
    );
    let newest = rig.tenant().users().iter().filter_map(|user| user.last_modified).max().unwrap();
    assert_eq!(status["watermark"], json!(newest.to_string()), "the tenant's clock stands still");
    let pass = &status["passes"][0];
    assert_eq!(
        (&pass["kind"], &pass["result"], &pass["users_read"]),
        (&json!("sweep"), &json!("ok"), &json!(30))
    );

    let text = rig.run(&["status"]).ended(0);
    let text = text.says("tenant acme").says("users known    30").says("dead letters   0");
    text.says(&format!("delivered      {misplaced} in the last 7 days"))
        .says("pass 1         sweep ok, began ");
    rig.run(&["status", "--tenant", "nobody"]).ended(64).complains("no tenant \"nobody\"");
}

#[test]
fn config_check_shows_tenant_and_schedules() {
    let rig = Rig::still(users(1));
    let check = rig.run(&["config", "check"]).ended(0).says("tenant acme").says(&rig.practice().base_url());
    assert_eq!(check.stdout.matches("next 2").count(), 6, "{}", check.stdout);
    assert_eq!(rig.stats().requests.len(), 0);
    assert!(!rig.database().exists());
}

#[test]
fn config_check_names_every_fault_at_once() {
    let rig = Rig::still(users(1));
    rig.set("pagesize = 5\nschedule = \"0 0 0 31 2 *\"\nmapping.HR_SALES = \"\"\ndelivery.workers = \"ten\"");
    let check = rig.run(&["config", "check"]).ended(78).says("4 faults in the configuration");
    for key in ["pagesize", "schedule", "mapping.HR_SALES", "delivery.workers"] {
        let line = check.stdout.lines().find(|line| line.contains(&format!("tenants.acme.{key}")));
        assert!(line.is_some_and(|line| line.contains("more.toml")), "{key}\n{}", check.stdout);
    }
    for command in ["run", "sync", "plan", "status"] {
        rig.run(&[command]).ended(78).complains("tenants.acme.pagesize");
    }
    assert!(!rig.database().exists());
}

#[test]
fn config_show_masks_secrets() {
    let rig = Rig::still(users(1));
    for args in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = rig.run(args).ended(0).says("client_secret").says("HR_SUPPORT");
        assert!(
            !shown.stdout.contains(CLIENT_SECRET) && !shown.stdout.contains(CLIENT_ID),
            "{}",
            shown.stdout
        );
    }
}

#[test]
fn wrong_usage_ends_with_64_and_help_with_0() {
    let rig = Rig::still(users(1));
    for args in
        [&["synch"][..], &[], &["sync", "--fast"], &["dead-letters", "replay"], &["sync", "--wait", "long"]]
    {
        rig.run(args).ended(64).complains("--help");
    }
    rig.bare(&["--help"]).ended(0).says("dead-letters").says("Exit codes");
    rig.bare(&["--version"]).ended(0).says(env!("CARGO_PKG_VERSION"));
}

/// Whoever asks for JSON gets JSON, whatever was wrong.
#[test]
fn a_failure_is_told_in_json_as_well() {
    let rig = Rig::still(users(1));
    let error = |args: &[&str], code: i32| {
        let ran = rig.run(args).ended(code);
        assert!(!ran.stderr.is_empty(), "people are told, too");
        let error = ran.json()["error"].take();
        assert_eq!(error["exit_code"], json!(code), "{args:?}");
        (error["message"].as_str().unwrap().to_owned(), error)
    };
    for (args, code, words) in [
        (&["status", "--json"][..], 1, "there is no database yet"),
        (&["status", "--json", "--fast"], 64, "--fast"),
        (&["--log-level", "loud", "status", "--json"], 64, "loud"),
        (&["state", "backup", "copy.db", "--json"], 1, "there is no database yet"),
        (&["apply", "missing.json", "--json"], 64, "missing.json"),
        (&["audit", "verify", "missing.jsonl", "--json"], 64, "missing.jsonl"),
        (&["explain", "nobody", "--json"], 1, "no user \"nobody\""),
        (&["dead-letters", "replay", "--json"], 64, "--all"),
    ] {
        let message = error(args, code).0;
        assert!(message.contains(words), "{args:?}: {message}");
    }
    rig.sync();
    for args in [
        &["approve", "c0ffee", "--json"][..],
        &["dead-letters", "show", "9", "--json"],
        &["dead-letters", "replay", "9", "--json"],
        &["status", "--pass", "9", "--json"],
    ] {
        error(args, 1);
    }
    rig.set("page_size = 0");
    let (message, error) = error(&["status", "--json"], 78);
    assert!(message.contains("page_size"), "{message}");
    assert_eq!(error["faults"][0]["key"], "tenants.acme.page_size");
    let check = rig.run(&["config", "check", "--json"]).ended(78).json();
    assert_eq!((&check["ok"], &check["error"]), (&json!(false), &error));
}

#[test]
fn without_a_configuration_there_is_78_and_a_way_out() {
    let rig = Rig::still(users(1));
    std::fs::remove_file(rig.path("rosterd.toml")).unwrap();
    rig.bare(&["sync"]).ended(78).complains("rosterd.toml");
    rig.bare(&["--config", "missing.toml", "run"]).ended(78).complains("missing.toml");
}
