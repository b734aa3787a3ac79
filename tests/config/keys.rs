//! Every key: its default, its value, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rosterd::config::{
    AuditSettings, BulkMode, BulkSettings, Credentials, OnConflict, ProvisionSettings, RoleAttribute,
    TokenAuth, UpdateWith,
};
use rosterd::model::{Columns, Role, TeamId, TeamPatch, TenantId};
use rosterd::plan::WhenGone;
use rstest::rstest;
use secrecy::ExposeSecret;

use crate::{ACME, Case, ID, SECRET, acme, assert_one_fault};

#[test]
fn the_smallest_configuration_gets_the_documented_defaults() {
    let settings = Case::new(ACME).settings();
    assert_eq!(settings.store, PathBuf::from("rosterd.db"));
    let audit = AuditSettings { path: PathBuf::from("audit.jsonl"), max_bytes: 100 << 20 };
    assert_eq!(settings.audit, audit);
    assert_eq!(settings.shutdown_grace, Duration::from_secs(30));
    assert_eq!(settings.not_in_force, Vec::<String>::new());
    let tenant = acme(&settings);
    assert_eq!(tenant.base_url.as_str(), "https://api.mypurecloud.com/api/v2/scim/v2");
    let Credentials::Client { token_url, token_auth, client_id, client_secret, scope } = &tenant.credentials;
    assert_eq!(token_url.as_str(), "https://login.mypurecloud.com/oauth/token");
    assert_eq!((*token_auth, scope), (TokenAuth::Basic, &None));
    assert_eq!((client_id.expose_secret(), client_secret.expose_secret()), (ID, SECRET));
    assert_eq!(tenant.cadence.schedule, "0 */5 * * * *");
    assert_eq!(tenant.cadence.sweep_schedule, "0 0 3 * * *");
    assert_eq!(tenant.cadence.time_zone, chrono_tz::UTC);
    assert_eq!(tenant.cadence.jitter, Duration::ZERO);
    assert_eq!(tenant.reading.overlap, Duration::from_mins(2));
    assert_eq!(tenant.reading.page_size, 100);
    assert_eq!(tenant.reading.filter_parameter, "_queryFilter");
    assert_eq!(tenant.reading.filter.as_deref(), Some("userName ne ''"));
    assert_eq!(tenant.reading.role_attribute, RoleAttribute::Roles);
    assert_eq!(tenant.policy.when_unmapped, WhenGone::Remove);
    assert_eq!(tenant.policy.when_inactive, WhenGone::Remove);
    assert_eq!(tenant.policy.team_patch, TeamPatch::Replace);
    assert_eq!(tenant.request_timeout, Duration::from_secs(30));
    let delivery = tenant.delivery;
    assert_eq!((delivery.burst, delivery.workers, delivery.max_attempts), (10, 10, 8));
    assert!((delivery.rate_per_second - 50.0).abs() < f64::EPSILON);
    assert_eq!((tenant.guard.window, tenant.guard.limits.min_users), (Duration::from_hours(1), 50));
    assert!(tenant.webhook.is_none());
    let provision = ProvisionSettings {
        file: None,
        schedule: None,
        columns: Columns::default(),
        required: words(&["userName", "externalId", "name.givenName", "emails"]),
        roles: None,
        max_users: None,
        on_conflict: OnConflict::Update,
        update_with: UpdateWith::Patch,
    };
    assert_eq!(tenant.provision, provision);
    assert_eq!(tenant.attributes.remove_marker, "<remove>");
    let bulk = BulkSettings { mode: BulkMode::Auto, poll_interval: Duration::from_secs(5), max_polls: 60 };
    assert_eq!(tenant.bulk, bulk);
}

fn words(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const FILES: &str = r#"
[tenants.acme.provision]
file = "hr/export.csv"
schedule = "30 4 * * *"
ignore_columns = ["Salary", " Wage "]
required = ["title", "email"]
roles = ["HR_A", "HR_B"]
max_users = 50000
on_conflict = "skip"
update_with = "put"
columns = { externalId = " EmployeeID ", "department" = { env = "GENESYS_CLIENT_ID" }, userName = "Mail", "urn:example:hr:2.0:User:badge" = "Badge" }
[tenants.acme.attributes]
remove_marker = "-"
[tenants.acme.bulk]
mode = "rfc7644"
poll_interval = "100ms"
max_polls = 1
"#;

#[test]
fn every_key_about_files_reaches_its_setting() {
    let case = Case::new(&format!("{ACME}{FILES}"))
        .env("ROSTERD__TENANTS__ACME__PROVISION__COLUMNS__USERNAME", "Login")
        .env("ROSTERD__TENANTS__ACME__PROVISION__ROLES", "HR_C, HR_D");
    let settings = case.settings();
    let tenant = acme(&settings);
    let department = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
    let named = [
        ("externalId", "EmployeeID"),
        (department, ID),
        ("userName", "Login"),
        ("urn:example:hr:2.0:User:badge", "Badge"),
    ];
    let provision = ProvisionSettings {
        file: Some(case.folder.path().join("hr/export.csv")),
        schedule: Some("0 30 4 * * *".to_owned()),
        columns: Columns {
            named: named.map(|(path, header)| (path.to_owned(), header.to_owned())).into(),
            ignored: words(&["Salary", "Wage"]),
        },
        required: words(&["title", "emails"]),
        roles: Some(words(&["HR_C", "HR_D"])),
        max_users: Some(50_000),
        on_conflict: OnConflict::Skip,
        update_with: UpdateWith::Put,
    };
    assert_eq!(tenant.provision, provision);
    assert_eq!(tenant.attributes.remove_marker, "-");
    let bulk =
        BulkSettings { mode: BulkMode::Rfc7644, poll_interval: Duration::from_millis(100), max_polls: 1 };
    assert_eq!(tenant.bulk, bulk);
}

const EVERY_KEY: &str = r#"
shutdown_grace = "1m"
[store]
url = "sqlite:///var/lib/rosterd/rosterd.db"
[audit]
path = "/var/log/rosterd/audit.jsonl"
max_mib = 0
[tenants.acme-2_x]
profile = "genesys-scim"
base_url = "http://127.0.0.1:8080/api/v2/scim/v2/"
token_url = "http://[::1]:8080/oauth/token"
token_auth = "form"
scope = "scim"
client_id = { env = "GENESYS_CLIENT_ID" }
client_secret = { env = "GENESYS_CLIENT_SECRET" }
request_timeout = "1s 500ms"
schedule = "*/10 * * * *"
sweep_schedule = "30 0 3 * * MON"
time_zone = "Europe/Berlin"
jitter = "10s"
overlap = "0s"
page_size = 25
role_attribute = "teams"
filter_parameter = "filter"
filter = ""
when_unmapped = "keep"
when_inactive = "keep"
team_patch = "add-remove"
[tenants.acme-2_x.delivery]
rate_per_second = 0.5
burst = 1
workers = 1000
max_attempts = 3
[tenants.acme-2_x.webhook]
url = "https://hr.example/hook/?sig=1"
secret = { env = "GENESYS_CLIENT_SECRET" }
[tenants.acme-2_x.mapping]
"HR.Engineer" = ["t2", "t1"]
env = "t1"
"#;

#[test]
fn every_key_reaches_its_setting() {
    let settings = Case::new(EVERY_KEY).settings();
    assert_eq!(settings.store, PathBuf::from("/var/lib/rosterd/rosterd.db"));
    let audit = AuditSettings { path: PathBuf::from("/var/log/rosterd/audit.jsonl"), max_bytes: 0 };
    assert_eq!(settings.audit, audit);
    assert_eq!(settings.shutdown_grace, Duration::from_mins(1));
    let tenant = &settings.tenants[&TenantId::from("acme-2_x")];
    assert_eq!(tenant.base_url.as_str(), "http://127.0.0.1:8080/api/v2/scim/v2");
    let Credentials::Client { token_url, token_auth, scope, .. } = &tenant.credentials;
    assert_eq!(token_url.as_str(), "http://[::1]:8080/oauth/token");
    assert_eq!((*token_auth, scope.as_deref()), (TokenAuth::Form, Some("scim")));
    assert_eq!(tenant.request_timeout, Duration::from_millis(1500));
    assert_eq!(tenant.cadence.schedule, "0 */10 * * * *");
    assert_eq!(tenant.cadence.sweep_schedule, "30 0 3 * * MON");
    assert_eq!(tenant.cadence.time_zone, chrono_tz::Europe::Berlin);
    assert_eq!(tenant.cadence.jitter, Duration::from_secs(10));
    assert_eq!(tenant.reading.overlap, Duration::ZERO);
    assert_eq!((tenant.reading.page_size, tenant.reading.role_attribute), (25, RoleAttribute::Teams));
    assert_eq!((tenant.reading.filter_parameter.as_str(), &tenant.reading.filter), ("filter", &None));
    assert_eq!(tenant.policy.when_unmapped, WhenGone::Keep);
    assert_eq!(tenant.policy.when_inactive, WhenGone::Keep);
    assert_eq!(tenant.policy.team_patch, TeamPatch::AddRemove);
    let delivery = tenant.delivery;
    assert_eq!((delivery.burst, delivery.workers, delivery.max_attempts), (1, 1000, 3));
    assert!((delivery.rate_per_second - 0.5).abs() < f64::EPSILON);
    let webhook = tenant.webhook.as_ref().unwrap();
    assert_eq!(webhook.url.as_str(), "https://hr.example/hook/?sig=1");
    assert_eq!(webhook.secret.as_ref().unwrap().expose_secret(), SECRET);
    let rules: BTreeMap<Role, BTreeSet<TeamId>> = BTreeMap::from([
        (Role::from("HR.Engineer"), ["t1", "t2"].map(TeamId::from).into()),
        (Role::from("env"), ["t1"].map(TeamId::from).into()),
    ]);
    assert_eq!(tenant.mapping.rules(), &rules);
}

#[rstest]
#[case::unknown("shedule = '0 0 * * * *'", "shedule", "did you mean schedule?")]
#[case::unknown_near_bearer("bearer_tokn = 'x'", "bearer_tokn", "known here: profile")]
#[case::unknown_far("zzz = 1", "zzz", "known here: profile")]
#[case::unknown_table("delivary = { burst = 1 }", "delivary", "did you mean delivery?")]
#[case::unknown_nested("delivery = { bursts = 1 }", "delivery.bursts", "did you mean burst?")]
#[case::no_table("delivery = 3", "delivery", "is a table, and a number stands here")]
#[case::no_text("schedule = 5", "schedule", "5 is not text")]
#[case::no_number(
    "page_size = '100'",
    "page_size",
    "\"100\" is not a number: write it without quotes; 1 to 1000 may stand there"
)]
#[case::no_number_at_all(
    "page_size = 'ten'",
    "page_size",
    "\"ten\" is not a number; 1 to 1000 may stand there"
)]
#[case::boolean("page_size = true", "page_size", "true is not a number; 1 to 1000 may stand there")]
#[case::list("page_size = [1]", "page_size", "a list is not a number; 1 to 1000 may stand there")]
#[case::table("schedule = { a = 1 }", "schedule", "a table stands where a value belongs")]
#[case::fraction("page_size = 1.5", "page_size", "1.5 is not a whole number; 1 to 1000 may stand there")]
#[case::zero_page("page_size = 0", "page_size", "0 is out of range: 1 to 1000")]
#[case::big_page("page_size = 1001", "page_size", "1001 is out of range: 1 to 1000")]
#[case::negative("delivery.burst = -1", "delivery.burst", "-1 is out of range")]
#[case::no_rate("delivery.rate_per_second = 0", "delivery.rate_per_second", "0 is out of range: 0.01 to")]
#[case::nan("delivery.rate_per_second = nan", "delivery.rate_per_second", "out of range")]
#[case::infinite("delivery.rate_per_second = inf", "delivery.rate_per_second", "out of range")]
#[case::workers("delivery.workers = 1001", "delivery.workers", "out of range: 1 to 1000")]
#[case::attempts("delivery.max_attempts = 0", "delivery.max_attempts", "out of range: 1 to 100")]
#[case::percent("guard.max_removals_percent = 101", "guard.max_removals_percent", "range: 0 to 100")]
#[case::window("guard.window = '1s'", "guard.window", "out of range: 1m to 7days")]
#[case::bare_number("overlap = 120", "overlap", "120 has no unit: write \"30s\"")]
#[case::bare_text("overlap = '120'", "overlap", "\"120\" has no unit")]
#[case::no_duration("overlap = 'soon'", "overlap", "\"soon\" is no duration such as")]
#[case::negative_duration("overlap = '-2m'", "overlap", "\"-2m\" is no duration")]
#[case::long_duration("jitter = '2h'", "jitter", "out of range: 0s to 1h")]
#[case::choice("when_unmapped = 'Remove'", "when_unmapped", "is none of \"remove\", \"keep\"")]
#[case::inactive("when_inactive = 'drop'", "when_inactive", "is none of \"remove\", \"keep\"")]
#[case::attribute("role_attribute = 'groups'", "role_attribute", "is none of \"roles\", \"teams\"")]
#[case::patch("team_patch = 'add'", "team_patch", "is none of \"replace\", \"add-remove\"")]
#[case::token_auth("token_auth = 'body'", "token_auth", "is none of \"basic\", \"form\"")]
#[case::platform("profile = 'genesys-platform'", "profile", "known, but not supported by this version")]
#[case::scim("profile = 'scim'", "profile", "known, but not supported by this version")]
#[case::no_profile("profile = 'okta'", "profile", "\"okta\" is no profile")]
#[case::four_fields("schedule = '0 0 * *'", "schedule", "has 4 fields, not six")]
#[case::seven_fields("schedule = '0 0 0 1 1 * 2030'", "schedule", "has 7 fields, not six")]
#[case::nickname("schedule = '@daily'", "schedule", "not six")]
#[case::bad_cron("schedule = '0 99 * * * *'", "schedule", "is no cron line")]
#[case::impossible("sweep_schedule = '0 0 0 30 2 *'", "sweep_schedule", "never runs")]
#[case::zone("time_zone = 'Mars/Olympus'", "time_zone", "is no IANA time zone")]
#[case::parameter("filter_parameter = 'a b'", "filter_parameter", "is no name of a query parameter")]
#[case::scope("scope = ''", "scope", "is empty: leave the key out")]
#[case::http("base_url = 'http://tenant.example/scim'", "base_url", "accepted for loopback hosts only")]
#[case::http_token("token_url = 'http://10.0.0.1/t'", "token_url", "accepted for loopback hosts only")]
#[case::http_lookalike("base_url = 'http://localhost.example/'", "base_url", "loopback hosts only")]
#[case::http_webhook("webhook.url = 'http://hr.example/'", "webhook.url", "loopback hosts only")]
#[case::ftp("base_url = 'ftp://tenant.example/'", "base_url", "is neither https nor http")]
#[case::no_url("base_url = 'tenant.example'", "base_url", "is no URL")]
#[case::query("base_url = 'https://tenant.example/?a=1'", "base_url", "holds a query or a fragment")]
#[case::fragment("base_url = 'https://tenant.example/#a'", "base_url", "holds a query or a fragment")]
#[case::userinfo("base_url = 'https://a:pw@tenant.example/'", "base_url", "holds a user or a password")]
#[case::bearer("bearer_token = { env = 'T' }", "bearer_token", "is for the profile scim")]
#[case::webhook_secret("webhook.secret = 'x'", "webhook.secret", "must not stand in the file")]
#[case::webhook_fragment("webhook.url = 'https://hr.example/#a'", "webhook.url", "holds a fragment")]
#[case::webhook_userinfo("webhook.url = 'https://a:pw@hr.example/'", "webhook.url", "holds a user")]
#[case::webhook_alone("webhook.secret = { env = 'GENESYS_CLIENT_ID' }", "webhook.url", "needs an address")]
#[case::file_for_text("schedule = { file = 'x' }", "schedule", "{ file } is for secrets only")]
#[case::env_unset(
    "schedule = { env = 'NOT_SET' }",
    "schedule",
    "the environment variable NOT_SET is not set"
)]
#[case::schedule_alone("provision.schedule = '0 0 * * * *'", "provision.schedule", "set file, too")]
#[case::provision_cron("provision = { file = 'a.csv', schedule = 'x' }", "provision.schedule", "not six")]
#[case::no_file("provision.file = ' '", "provision.file", "is empty: leave the key out")]
#[case::no_attribute("provision.required = ['usrName']", "provision.required", "did you mean userName?")]
#[case::no_list("provision.roles = 'A'", "provision.roles", "is no list: write")]
#[case::no_texts("provision.roles = [1]", "provision.roles", "holds a number")]
#[case::empty_list("provision.ignore_columns = []", "provision.ignore_columns", "is empty")]
#[case::no_column("provision.columns.wage = 'W'", "provision.columns.wage", "is no attribute of a user")]
#[case::no_header("provision.columns.title = ''", "provision.columns.title", "is empty")]
#[case::no_columns("provision.columns = 3", "provision.columns", "is a table of attributes")]
#[case::same_column(
    "provision.columns = { givenName = 'A', 'name.givenName' = 'B' }",
    "provision.columns.\"name.givenName\"",
    "is the same attribute"
)]
#[case::no_capacity("provision.max_users = 0", "provision.max_users", "out of range: 1 to 10000000")]
#[case::conflict("provision.on_conflict = 'x'", "provision.on_conflict", "\"update\", \"skip\", \"fail\"")]
#[case::update("provision.update_with = 'post'", "provision.update_with", "none of \"patch\", \"put\"")]
#[case::marker("attributes.remove_marker = ' x'", "attributes.remove_marker", "cells are trimmed")]
#[case::no_marker("attributes.remove_marker = ''", "attributes.remove_marker", "is empty")]
#[case::bulk("bulk.mode = 'on'", "bulk.mode", "\"auto\", \"jobs\", \"rfc7644\", \"off\"")]
#[case::poll("bulk.poll_interval = '99ms'", "bulk.poll_interval", "out of range: 100ms to 10m")]
#[case::polls("bulk.max_polls = 0", "bulk.max_polls", "out of range: 1 to 10000")]
#[case::two_truths("mapping_file = 'mapping.csv'", "mapping", "keep one of them")]
fn a_bad_key_of_a_tenant(#[case] line: &str, #[case] key: &str, #[case] says: &str) {
    let case = Case::new(&format!("{ACME}{line}\n"));
    assert_one_fault(&case, &format!("tenants.acme.{key}"), "rosterd.toml", says);
    assert!(!format!("{:?}", case.faults()).contains("pw@"), "a password is quoted");
}

#[rstest]
#[case::no_dot("localhost", "\"localhost\" is no region")]
#[case::aws("us-east-1", "is no region: write its domain, such as mypurecloud.com")]
#[case::near("mypurecloud,com", "did you mean mypurecloud.com?")]
#[case::url("https://mypurecloud.com", "is no region")]
#[case::host("api.mypurecloud.com", "is a host: write the domain alone")]
#[case::blank("mypure cloud.com", "is no region")]
#[case::path("mypurecloud.com/x", "is no region")]
#[case::address("127.0.0.1", "is no region")]
#[case::empty("", "is no region")]
fn a_region_is_a_domain(#[case] region: &str, #[case] says: &str) {
    let case = Case::new(&ACME.replace("mypurecloud.com", region));
    assert_one_fault(&case, "tenants.acme.region", "rosterd.toml", says);
}

#[test]
fn a_region_that_is_not_in_the_list_is_a_domain_of_its_own() {
    let settings = Case::new(&ACME.replace("mypurecloud.com", "MyGenesys.ca")).settings();
    assert_eq!(acme(&settings).base_url.as_str(), "https://api.mygenesys.ca/api/v2/scim/v2");
}

#[test]
fn a_base_url_alone_says_nothing_about_tokens() {
    let case =
        Case::new(&ACME.replace("region = \"mypurecloud.com\"", "base_url = \"https://tenant.example\""));
    assert_one_fault(&case, "tenants.acme.token_url", "rosterd.toml", "set region, or both");
    let settings = Case::new(&format!("{ACME}base_url = \"http://localhost:8080\"\n")).settings();
    assert_eq!(acme(&settings).base_url.as_str(), "http://localhost:8080/");
    let Credentials::Client { token_url, .. } = &acme(&settings).credentials;
    assert_eq!(token_url.as_str(), "https://login.mypurecloud.com/oauth/token");
}

#[rstest]
#[case::grace("shutdown_grace = '2h'", "shutdown_grace", "out of range: 0s to 1h")]
#[case::store_scheme("store.url = 'postgres://db/x'", "store.url", "is no database of this version")]
#[case::store_password("store.url = 'postgres://a:pw@db/x'", "store.url", "is no database of this version")]
#[case::store_memory("store.url = 'sqlite://:memory:'", "store.url", "is more than a file")]
#[case::store_parameter("store.url = 'sqlite://a.db?mode=ro'", "store.url", "without parameters")]
#[case::store_empty("store.url = 'sqlite://'", "store.url", "names no file")]
#[case::store_folder("store.url = 'sqlite:///var/lib/'", "store.url", "names no file")]
#[case::listen("admin.listen = '9464'", "admin.listen", "is no address with a port")]
#[case::audit("audit.path = ''", "audit.path", "is empty")]
#[case::audit_folder("audit.path = '/var/log/'", "audit.path", "names a folder, not a file")]
#[case::audit_parent("audit.path = '..'", "audit.path", "names a folder, not a file")]
#[case::audit_size("audit.max_mib = 1048577", "audit.max_mib", "out of range: 0 to 1048576")]
#[case::unknown_table("stores.url = 'x'", "stores", "did you mean store?")]
#[case::tenant_value("tenants.beta = 1", "tenants.beta", "is a table, and a number stands here")]
fn a_bad_key_at_the_top(#[case] line: &str, #[case] key: &str, #[case] says: &str) {
    let case = Case::new(&format!("{line}\n{ACME}"));
    assert_one_fault(&case, key, "rosterd.toml", says);
    assert!(!format!("{:?}", case.faults()).contains("pw@"), "a password is quoted");
}

#[test]
fn a_tenant_is_named_in_small_letters() {
    let case = Case::new(&ACME.replace("tenants.acme", "tenants.Acme"));
    assert_one_fault(&case, "tenants.Acme", "rosterd.toml", "use small letters, digits, `_` and `-`");
}

#[test]
fn a_configuration_without_tenants() {
    assert_one_fault(&Case::new(""), "tenants", "rosterd.toml", "set at least one [tenants.NAME]");
}

#[rstest]
#[case::region("region", &["base_url", "token_url"], "set region, or both base_url and token_url")]
#[case::id("client_id", &["client_id"], "is missing: write { env = \"NAME\" }")]
#[case::secret("client_secret", &["client_secret"], "is missing: write { env = \"NAME\" }")]
#[case::mapping("mapping", &["mapping"], "set [tenants.NAME.mapping] or mapping_file")]
fn a_missing_key(#[case] left_out: &str, #[case] keys: &[&str], #[case] says: &str) {
    let kept = ACME.lines().filter(|line| !line.starts_with(left_out));
    let faults = Case::new(&(kept.collect::<Vec<_>>().join("\n") + "\n")).faults();
    let found: Vec<&str> =
        faults.iter().filter_map(|fault| fault.key.strip_prefix("tenants.acme.")).collect();
    assert_eq!(found, keys);
    for fault in faults {
        assert_eq!(fault.origin, "rosterd.toml");
        assert!(fault.reason.contains(says), "{fault}");
    }
}
