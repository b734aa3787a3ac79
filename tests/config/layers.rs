//! Files over files, the environment over all, and files that cannot be read.

use std::time::Duration;

use rosterd::commands::Exit;
use rosterd::commands::config::check_report;
use rosterd::config::{Credentials, DEFAULT_FILES};
use rosterd::model::Timestamp;
use rstest::rstest;
use secrecy::ExposeSecret;

use crate::{ACME, Case, ID, SECRET, acme, assert_one_fault};

#[test]
fn the_environment_overrides_and_its_text_becomes_numbers() {
    let case = Case::new(ACME)
        .env("ROSTERD__TENANTS__ACME__DELIVERY__RATE_PER_SECOND", "12.5")
        .env("ROSTERD__TENANTS__ACME__PAGE_SIZE", "25")
        .env("ROSTERD__TENANTS__ACME__CLIENT_SECRET", "0123")
        .env("ROSTERD__TENANTS__ACME__OVERLAP", "")
        .env("ROSTERD__SHUTDOWN_GRACE", "5s");
    let settings = case.settings();
    let tenant = acme(&settings);
    assert!((tenant.delivery.rate_per_second - 12.5).abs() < f64::EPSILON);
    assert_eq!(tenant.reading.page_size, 25);
    assert_eq!(tenant.reading.overlap, Duration::from_mins(2), "an empty variable is not set");
    assert_eq!(settings.shutdown_grace, Duration::from_secs(5));
    let Credentials::Client { client_secret, .. } = &tenant.credentials;
    assert_eq!(client_secret.expose_secret(), "0123", "a secret is never a number");
}

#[test]
fn the_environment_alone_is_enough() {
    let case = Case::new("")
        .env("ROSTERD__TENANTS__ACME__REGION", "mypurecloud.ie")
        .env("ROSTERD__TENANTS__ACME__CLIENT_ID", ID)
        .env("ROSTERD__TENANTS__ACME__CLIENT_SECRET", SECRET)
        .env("ROSTERD__TENANTS__ACME__MAPPING", r#"{"A":"t"}"#);
    let settings = without_files(case).settings();
    assert_eq!(acme(&settings).base_url.as_str(), "https://api.mypurecloud.ie/api/v2/scim/v2");
}

fn without_files(mut case: Case) -> Case {
    case.sources.files.clear();
    case
}

#[rstest]
#[case::number(
    "ROSTERD__TENANTS__ACME__PAGE_SIZE",
    "many",
    "tenants.acme.page_size",
    "\"many\" is not a number"
)]
#[case::range("ROSTERD__TENANTS__ACME__PAGE_SIZE", "0", "tenants.acme.page_size", "out of range: 1 to 1000")]
#[case::not_utf8("ROSTERD__TENANTS__ACME__SCOPE", "\u{fffd}", "tenants.acme.scope", "is not UTF-8")]
#[case::unknown("ROSTERD__TENANTS__ACME__PAGESIZE", "1", "tenants.acme.pagesize", "did you mean page_size?")]
#[case::unknown_top("ROSTERD__SHUTDOWN", "1s", "shutdown", "did you mean shutdown_grace?")]
#[case::section("ROSTERD__STORE", "x", "store", "is a table, and text stands here")]
#[case::below_a_value("ROSTERD__STORE__URL__X", "x", "store.url", "a table stands where a value belongs")]
#[case::small("ROSTERD__store__url", "x", "store.url", "written in capitals")]
#[case::role(
    "ROSTERD__TENANTS__ACME__MAPPING__HR_A",
    "t",
    "tenants.acme.mapping.hr_a",
    "ROSTERD__TENANTS__ACME__MAPPING='{\"ROLE\":\"team-id\"}'"
)]
fn a_bad_variable(#[case] name: &str, #[case] value: &str, #[case] key: &str, #[case] says: &str) {
    assert_one_fault(&Case::new(ACME).env(name, value), key, name, says);
}

#[test]
fn two_variables_that_exclude_each_other() {
    let case = Case::new(ACME).env("ROSTERD__STORE", "x").env("ROSTERD__STORE__URL", "sqlite://a.db");
    let faults = case.faults();
    assert!(faults[0].reason.contains("ROSTERD__STORE and ROSTERD__STORE__URL"), "{faults:#?}");
}

#[test]
fn a_later_file_overrides_an_earlier_one() {
    let case = Case::new(&format!("{ACME}page_size = 10\n"))
        .and_file("local.toml", "[tenants.acme]\npage_size = 20\nclient_secret = { file = 'secret' }\n");
    case.file("secret", "from-the-file\n");
    let settings = case.settings();
    assert_eq!(acme(&settings).reading.page_size, 20);
    let Credentials::Client { client_secret, client_id, .. } = &acme(&settings).credentials;
    assert_eq!((client_id.expose_secret(), client_secret.expose_secret()), (ID, "from-the-file"));
    let faulty = case.and_file("last.toml", "[tenants.acme]\npage_size = 0\n");
    assert_one_fault(&faulty, "tenants.acme.page_size", "last.toml", "out of range");
}

#[test]
fn files_that_cannot_be_read_are_all_named() {
    let mut case = Case::new("client_secret = \"hush\nx = 1\n").and_file("two.toml", "a = 1\na = 2\n");
    case.sources.files.push(case.folder.path().join("nowhere.toml"));
    case.sources.files.push(case.file("latin.toml", b"a = \"\xe4\"\n"));
    case.sources.files.push(case.file("wide.toml", "a = 1\nb = 99999999999999999999\n"));
    let all: Vec<String> = case.faults().iter().map(ToString::to_string).collect();
    assert_eq!(all.len(), 5, "{all:#?}");
    assert!(all[0].starts_with("rosterd.toml: is not valid TOML, line 1, column "), "{}", all[0]);
    assert!(!all[0].contains("hush"), "{}", all[0]);
    assert!(all[1].starts_with("two.toml: is not valid TOML, line 2, column 1: duplicate key"), "{}", all[1]);
    assert_eq!(all[2], "nowhere.toml: there is no such file");
    assert_eq!(all[3], "latin.toml: is not UTF-8, from byte 5 on: save it as UTF-8");
    assert!(all[4].starts_with("wide.toml: is not valid TOML"), "{}", all[4]);
}

/// Holds on a machine where rosterd is not installed: the second place is outside of any folder of ours.
#[test]
fn no_file_at_all_says_where_it_looked_and_how_to_start() {
    let case = without_files(Case::new(""));
    let faults = case.faults();
    let text = faults[0].to_string();
    for part in DEFAULT_FILES.into_iter().chain(["--config FILE", "config/rosterd.toml"]) {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(check_report(&case.sources, false, Timestamp::EPOCH).1, Exit::Config);
}
