//! Secrets: where they may come from, and that nobody sees them.

use rosterd::commands::config::{check_report, show_report};
use rosterd::config::{self, Credentials};
use rstest::rstest;
use secrecy::ExposeSecret;

use crate::reports::complete;
use crate::{ACME, Case, ID, SECRET, acme, assert_one_fault};

#[rstest]
#[case::inline(
    "'hush'",
    "must not stand in the file: write { env = \"NAME\" }, { file = \"PATH\" } or { credential"
)]
#[case::number("12345", "is a secret, not a number")]
#[case::two_places("{ env = 'GENESYS_CLIENT_ID', file = 'x' }", "does not say where it is")]
#[case::other_table("{ vault = 'x' }", "does not say where it is")]
#[case::unset("{ env = 'NOT_SET' }", "the environment variable NOT_SET is not set")]
#[case::empty("{ env = 'EMPTY' }", "the environment variable EMPTY is empty")]
#[case::two_lines("{ env = 'TWO_LINES' }", "holds a line break")]
#[case::not_utf8("{ env = 'NOT_UTF8' }", "the environment variable NOT_UTF8 is not UTF-8")]
#[case::no_file("{ file = 'nowhere' }", "nowhere cannot be read: No such file")]
#[case::empty_file("{ file = 'empty' }", "empty is empty")]
#[case::no_folder("{ credential = 'secret' }", "CREDENTIALS_DIRECTORY is not set: systemd sets it")]
#[case::path("{ credential = '../secret' }", "a credential is a plain name, not a path")]
fn a_bad_secret(#[case] value: &str, #[case] says: &str) {
    let text = ACME.replace("{ env = \"GENESYS_CLIENT_SECRET\" }", value);
    let case =
        Case::new(&text).env("EMPTY", "").env("TWO_LINES", "hush\nhush").env("NOT_UTF8", "hush\u{fffd}");
    case.file("empty", "\n");
    assert_one_fault(&case, "tenants.acme.client_secret", "rosterd.toml", says);
    let faults = format!("{:?}", case.faults());
    assert!(!faults.contains("hush") && !faults.contains("12345"), "{faults}");
}

#[rstest]
#[case::file("{ file = 'secret' }")]
#[case::credential("{ credential = 'secret' }")]
fn a_secret_from_a_file_loses_its_trailing_newline_and_nothing_else(#[case] value: &str) {
    let case = Case::new(&ACME.replace("{ env = \"GENESYS_CLIENT_SECRET\" }", value));
    case.file("secret", " 0123 \r\n");
    let folder = case.folder.path().to_string_lossy().into_owned();
    let settings = case.env("CREDENTIALS_DIRECTORY", &folder).settings();
    let Credentials::Client { client_secret, .. } = &acme(&settings).credentials;
    assert_eq!(client_secret.expose_secret(), " 0123 ");
}

#[rstest]
#[case::nothing("whsec_")]
#[case::no_base64("whsec_hush!")]
#[case::half_a_group("whsec_hush0")]
fn a_signing_secret_that_says_base64_is_base64(#[case] secret: &str) {
    let keys = "webhook.url = 'https://hr.example/'\nwebhook.secret = { env = 'SIGNS' }\n";
    let case = Case::new(&format!("{ACME}{keys}")).env("SIGNS", secret);
    assert_one_fault(&case, "tenants.acme.webhook.secret", "rosterd.toml", "begins with whsec_, and");
    assert!(!format!("{:?}", case.faults()).contains("hush"));
    for fine in ["whsec_aHVzaA==", "whsec_aHVzaA", "whsec-hush", "hush"] {
        let settings = Case::new(&format!("{ACME}{keys}")).env("SIGNS", fine).settings();
        let webhook = acme(&settings).webhook.as_ref().unwrap();
        assert_eq!(webhook.secret.as_ref().unwrap().expose_secret(), fine);
    }
}

#[test]
fn a_secret_is_in_nothing_that_is_written() {
    let (case, now) = complete();
    let settings = case.settings();
    let loaded = config::inspect(&case.sources).unwrap();
    let mut written = format!("{settings:?}{settings:#?}{loaded:?}{:?}", case.sources);
    for json in [false, true] {
        written += &check_report(&case.sources, json, now).0;
        written += &show_report(&case.sources, json).0;
    }
    for hidden in [ID, SECRET, "hush"] {
        assert!(!written.contains(hidden), "{hidden} is in\n{written}");
    }
}

#[rstest]
#[case::number("page_size", "0hush", "the value of WRONG is not a number")]
#[case::duration("overlap", "12hush", "the value of WRONG is no duration")]
#[case::schedule("schedule", "hush", "the value of WRONG has 1 fields")]
#[case::word("when_unmapped", "hush", "the value of WRONG is none of")]
#[case::url("base_url", "hush", "the value is no URL")]
fn a_bad_value_behind_a_name_is_traced_to_both_and_not_quoted(
    #[case] key: &str,
    #[case] value: &str,
    #[case] says: &str,
) {
    let case = Case::new(&format!("{ACME}{key} = {{ env = 'WRONG' }}\n")).env("WRONG", value);
    assert_one_fault(&case, &format!("tenants.acme.{key}"), "WRONG, named in rosterd.toml", says);
    assert!(!format!("{:?}", case.faults()).contains("hush"));
}

#[rstest]
#[case::unquoted("client_secret = hush")]
#[case::unclosed("client_secret = 'hush")]
#[case::twice("client_secret = 'hush'\nclient_secret = 'hush'")]
#[case::two_values("client_secret = 'hush' 'hush'")]
fn a_secret_in_a_file_that_is_no_toml_is_not_quoted(#[case] line: &str) {
    let case = Case::new(&format!("[tenants.acme]\n{line}\n"));
    let faults = case.faults();
    assert!(faults[0].reason.starts_with("is not valid TOML, line "), "{}", faults[0]);
    assert!(!format!("{faults:?}").contains("hush"), "{faults:?}");
}
