//! `config/rosterd.toml`: valid as it is, and true in every line.

use std::fs;

use rosterd::commands::config::show_report;
use serde_json::Value;

use crate::{Case, acme};

fn sample() -> (Case, String) {
    let text = fs::read_to_string("config/rosterd.toml").unwrap();
    let case = Case::new(&text)
        .env("GENESYS_REGION", "mygenesys.ca")
        .env("HRIS_WEBHOOK_URL", "https://hr.example/hook")
        .env("HRIS_WEBHOOK_SECRET", "signed")
        .env("AUDIT_LOG_PATH", "/var/log/audit.jsonl");
    (case, text)
}

fn shown(case: &Case) -> Value {
    let (report, _) = show_report(&case.sources, true);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert!(report["config"].is_object(), "refused: {report:#}");
    report
}

/// The sample with every `#key = value` written out.
fn written_out(text: &str) -> String {
    let key = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
            .map(str::to_owned)
    };
    text.lines().map(|line| key(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn every_key_is_in_the_sample_and_every_default_in_it_is_the_real_one() {
    let (mut case, text) = sample();
    let real = shown(&case);
    case.sources.files = vec![case.file("all.toml", written_out(&text))];
    let written = shown(&case);

    let origins = written["origins"].as_object().unwrap();
    for (key, origin) in origins {
        assert!(origin.as_str().unwrap().contains("all.toml"), "{key} is not in the sample: {origin}");
    }
    let get =
        |tree: &Value, key: &str| key.split('.').fold(tree["config"].clone(), |at, key| at[key].clone());
    for key in real["origins"].as_object().unwrap().keys() {
        assert_eq!(get(&written, key), get(&real, key), "{key}");
    }
    assert_eq!(case.settings().not_in_force, ["admin.listen"]);
}

#[test]
fn every_key_is_in_the_reference() {
    let (mut case, text) = sample();
    case.sources.files = vec![case.file("all.toml", written_out(&text))];
    let reference = fs::read_to_string("docs/CONFIGURATION.md").unwrap();
    let written = shown(&case);
    let named_by_the_operator = |key: &str| key.contains(".mapping.") || key.contains(".columns.");
    for key in written["origins"].as_object().unwrap().keys().filter(|key| !named_by_the_operator(key)) {
        let key = key.strip_prefix("tenants.acme.").unwrap_or(key);
        assert!(reference.contains(&format!("| `{key}` |")), "{key} has no line in docs/CONFIGURATION.md");
    }
}

#[test]
fn the_variables_of_the_documents_work_as_the_sample_writes_them() {
    let (case, text) = sample();
    let or =
        |line: &str| line.strip_prefix("# or: ").or(line.starts_with('[').then_some(line)).map(str::to_owned);
    let alternatives: String = text.lines().filter_map(or).map(|line| line + "\n").collect();
    let case = case.and_file("or.toml", &alternatives);
    let settings = case.settings();
    assert_eq!(acme(&settings).base_url.as_str(), "https://api.mygenesys.ca/api/v2/scim/v2");
    assert_eq!(settings.audit.path.to_str(), Some("/var/log/audit.jsonl"));
    let audit = &shown(&case)["origins"]["audit.path"];
    assert!(audit.as_str().unwrap().starts_with("AUDIT_LOG_PATH, named in "), "{audit}");
}
