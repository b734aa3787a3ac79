//! What `config check` and `config show` write.

use rosterd::commands::Exit;
use rosterd::commands::config::{check_report, show_report};
use rosterd::config::{Sources, next_runs};
use rosterd::model::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

use crate::{ACME, Case, ID, SECRET};

const TEN_FAULTS: &str = r#"
shutdown_grace = 30
stor = "sqlite://x"
[tenants.acme]
region = "us-east-1"
client_id = "hush"
client_secret = { env = "NOT_SET" }
schedule = "0 0 0 30 2 *"
page_size = 0
base_url = "http://tenant.example/"
[tenants.acme.delivery]
workers = "ten"
[tenants.acme.mapping]
HR_A = ""
"#;

#[test]
fn ten_faults_are_reported_at_once() {
    let case = Case::new(TEN_FAULTS);
    let mut keys: Vec<String> = case.faults().into_iter().map(|fault| fault.key).collect();
    keys.sort();
    let expected = [
        "shutdown_grace",
        "stor",
        "tenants.acme.base_url",
        "tenants.acme.client_id",
        "tenants.acme.client_secret",
        "tenants.acme.delivery.workers",
        "tenants.acme.mapping.HR_A",
        "tenants.acme.page_size",
        "tenants.acme.region",
        "tenants.acme.schedule",
    ];
    assert_eq!(keys, expected);
    let (report, exit) = check_report(&case.sources, false, Timestamp::EPOCH);
    assert_eq!(exit, Exit::Config);
    assert!(!report.contains("hush"));
    insta::assert_snapshot!("ten_faults", case.short(&report));
    assert_eq!(show_report(&case.sources, false), (report, Exit::Config));
}

#[test]
fn faults_as_json() {
    let case = Case::new(TEN_FAULTS);
    let (report, exit) = check_report(&case.sources, true, Timestamp::EPOCH);
    let report: Value = serde_json::from_str(&case.short(&report)).unwrap();
    assert_eq!(
        (exit.code(), &report["ok"], report["faults"].as_array().unwrap().len()),
        (78, &json!(false), 10)
    );
    let first = json!({
        "key": "shutdown_grace",
        "origin": "rosterd.toml",
        "reason": "30 has no unit: write \"30s\", \"5m\" or \"1h\"",
    });
    assert_eq!(report["faults"][0], first);
}

/// A tenant with a bit of everything, before Berlin's clocks go forward.
pub(crate) fn complete() -> (Case, Timestamp) {
    let more = r#"
scope = "scim"
schedule = "0 30 * * * *"
sweep_schedule = "0 30 2 * * *"
time_zone = "Europe/Berlin"
filter = "title eq \"a\\b\""
guard.window = "2h"
webhook.url = "https://hooks.example/T0/hush"
webhook.secret = { credential = "webhook" }
[audit]
path = { env = "AUDIT_LOG_PATH" }
"#;
    let case = Case::new(&format!("{ACME}{more}"))
        .env("AUDIT_LOG_PATH", "/var/log/audit.jsonl")
        .env("ROSTERD__TENANTS__ACME__CLIENT_ID", ID);
    case.file("webhook", SECRET);
    let folder = case.folder.path().to_string_lossy().into_owned();
    let case = case.env("CREDENTIALS_DIRECTORY", &folder);
    (case, Timestamp::parse("2026-03-28T23:10:00.5Z").unwrap())
}

#[test]
fn check_names_the_next_runs_across_a_change_of_the_clock() {
    let (case, now) = complete();
    let (report, exit) = check_report(&case.sources, false, now);
    assert_eq!(exit, Exit::Done);
    insta::assert_snapshot!("check", case.short(&report));
    let (report, exit) = check_report(&case.sources, true, now);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((exit, &report["ok"]), (Exit::Done, &json!(true)));
    let expected = ["2026-03-29T00:30:00+01:00", "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"];
    assert_eq!(report["tenants"][0]["schedule"]["next"], json!(expected));
}

#[test]
fn what_is_set_without_effect_is_named() {
    let case = Case::new(&format!("admin.listen = \"127.0.0.1:9464\"\n{ACME}"));
    assert_eq!(case.settings().not_in_force, ["admin.listen"]);
    let (report, _) = check_report(&case.sources, false, Timestamp::EPOCH);
    assert!(report.ends_with("\nset, but not in force in this version:\n  admin.listen\n"), "{report}");
}

#[test]
fn a_webhook_that_nobody_can_check_is_named() {
    let report = |keys: &str, json| {
        check_report(&Case::new(&format!("{ACME}{keys}\n")).sources, json, Timestamp::EPOCH).0
    };
    let url = "webhook.url = \"https://hooks.example/T0/hush?sig=hush\"";
    let signed = format!("{url}\nwebhook.secret = {{ env = \"GENESYS_CLIENT_SECRET\" }}");
    let unsigned = report(url, false);
    assert!(unsigned.contains(
        "  webhook             https://hooks.example/***, NOT SIGNED: webhook.secret is not set\n"
    ));
    assert!(report(&signed, false).contains("  webhook             https://hooks.example/***\n"));
    let webhook = |keys: &str| {
        serde_json::from_str::<Value>(&report(keys, true)).unwrap()["tenants"][0]["webhook"].take()
    };
    assert_eq!(webhook(""), Value::Null);
    assert_eq!(webhook(url), json!({ "url": "https://hooks.example/***", "signed": false }));
    assert_eq!(webhook(&signed)["signed"], json!(true));
}

#[test]
fn when_an_export_is_read_is_foretold_and_that_it_is_not_there_is_said() {
    let keys =
        "provision.file = \"hr.csv\"\nprovision.schedule = \"0 15 6 * * *\"\ntime_zone = \"Europe/Berlin\"";
    let case = Case::new(&format!("{ACME}{keys}\n"));
    let now = Timestamp::parse("2026-03-28T23:10:00Z").unwrap();
    let report = |json| check_report(&case.sources, json, now);
    let provision =
        || serde_json::from_str::<Value>(&report(true).0).unwrap()["tenants"][0]["provision"].take();
    let path = case.folder.path().join("hr.csv");
    let (text, exit) = report(false);
    assert_eq!(exit, Exit::Done, "it may come later");
    let line = format!("  provision.file      {}", path.display());
    assert!(text.contains(&format!("{line}, NOT THERE\n")), "{text}");
    let runs =
        "  provision.schedule  0 15 6 * * *\n                        next 2026-03-29 06:15:00 +02:00\n";
    assert!(text.contains(runs), "{text}");
    let next = ["2026-03-29T06:15:00+02:00", "2026-03-30T06:15:00+02:00", "2026-03-31T06:15:00+02:00"];
    let schedule = json!({ "cron": "0 15 6 * * *", "next": next });
    assert_eq!(provision(), json!({ "file": path, "found": false, "schedule": schedule }));
    case.file("hr.csv", "externalId\n");
    assert!(report(false).0.contains(&format!("{line}\n")));
    assert_eq!(provision()["found"], json!(true));

    let report = |keys: &str| {
        let report = check_report(&Case::new(&format!("{ACME}{keys}\n")).sources, true, now).0;
        serde_json::from_str::<Value>(&report).unwrap()["tenants"][0]["provision"].take()
    };
    assert_eq!(report(""), Value::Null);
    assert_eq!(report("provision.file = \"hr.csv\"")["schedule"], Value::Null);
}

#[test]
fn show_is_the_configuration_in_effect_and_itself_valid() {
    let (case, _) = complete();
    let (shown, exit) = show_report(&case.sources, false);
    assert_eq!(exit, Exit::Done);
    insta::assert_snapshot!("show", case.short(&shown));

    let again = case.file("shown.toml", &shown);
    let sources = Sources { files: vec![again], env: case.sources.env.clone() };
    let values = |sources: &Sources| {
        let (report, exit) = show_report(sources, true);
        assert_eq!(exit, Exit::Done, "{report}");
        serde_json::from_str::<Value>(&report).unwrap()["config"].take()
    };
    assert_eq!(values(&sources), values(&case.sources));
}

#[rstest]
#[case::fixed_time_skipped("0 30 2 * * *", "2026-03-28T12:00:00Z", "03-29 03:00 +02:00, 03-30 02:30 +02:00")]
#[case::fixed_time_twice("0 30 2 * * *", "2026-10-24T12:00:00Z", "10-25 02:30 +02:00, 10-26 02:30 +01:00")]
#[case::interval_skipped("0 */30 * * * *", "2026-03-29T00:20:00Z", "03-29 01:30 +01:00, 03-29 03:00 +02:00")]
#[case::interval_twice("0 0 * * * *", "2026-10-24T23:30:00Z", "10-25 02:00 +02:00, 10-25 02:00 +01:00")]
#[case::both_days("0 0 0 13 * FRI", "2026-01-01T00:00:00Z", "02-13 00:00 +01:00, 03-13 00:00 +01:00")]
fn runs_around_a_change_of_the_clock(#[case] line: &str, #[case] after: &str, #[case] expected: &str) {
    let runs = next_runs(line, chrono_tz::Europe::Berlin, Timestamp::parse(after).unwrap(), 2);
    let runs: Vec<String> = runs.iter().map(|run| run.format("%m-%d %H:%M %:z").to_string()).collect();
    assert_eq!(runs.join(", "), expected);
}
