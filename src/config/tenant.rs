//! One `[tenants.NAME]`: its keys, their defaults in the profile `genesys-scim`, and their ranges.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono_tz::Tz;
use serde_json::json;
use url::Url;

use super::address;
use super::provision;
use super::reader::{Faulted, Judged, Raw, Read, Section};
use super::rules;
use super::schedule;
use super::settings::{
    Cadence, Credentials, DeliverySettings, GuardSettings, Profile, Reading, RoleAttribute, TenantSettings,
    TokenAuth, WebhookSettings,
};
use super::tree::Origin;
use crate::model::{TeamPatch, TenantId};
use crate::plan::{Limit, Limits, Policy, WhenGone};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// A limit on users is a number of this range.
const MOST_USERS: RangeInclusive<u32> = 0..=10_000_000;

/// Reads all of it before it gives up on any of it.
pub(super) fn read(name: &str, mut tenant: Section<'_>) -> Read<TenantSettings> {
    let profile = profile(&mut tenant);
    let (base_url, token_url) = addresses(&mut tenant);
    let credentials = credentials(&mut tenant, token_url);
    let request_timeout =
        tenant.duration("request_timeout", 30 * SECOND, Duration::from_millis(100)..=10 * MINUTE);
    let cadence = cadence(&mut tenant);
    let reading = reading(&mut tenant);
    let policy = policy(&mut tenant);
    let delivery = delivery(tenant.section("delivery"));
    let guard = guard(tenant.section("guard"));
    let provision = provision::provision(tenant.section("provision"));
    let attributes = provision::attributes(tenant.section("attributes"));
    let bulk = provision::bulk(tenant.section("bulk"));
    let webhook = webhook(tenant.section("webhook"));
    let mapping = rules::read(&mut tenant);
    tenant.finish();

    Ok(TenantSettings {
        name: TenantId::from(name),
        profile,
        base_url: base_url?,
        credentials: credentials?,
        request_timeout,
        cadence,
        reading,
        policy,
        mapping: mapping?,
        delivery,
        guard,
        webhook: webhook?,
        provision,
        attributes,
        bulk,
    })
}

/// Small letters, digits, `_` and `-`.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
}

fn profile(tenant: &mut Section<'_>) -> Profile {
    let judge = |raw: &Raw| match raw.text()? {
        "genesys-scim" => Ok(Profile::GenesysScim),
        "genesys-platform" | "scim" => {
            Err("is known, but not supported by this version: write \"genesys-scim\"".to_owned())
        }
        _ => Err("is no profile: write \"genesys-scim\"".to_owned()),
    };
    tenant.or_default("profile", Profile::GenesysScim, judge, |Profile::GenesysScim| json!("genesys-scim"))
}

/// The SCIM base and the token endpoint: each as it is set, otherwise what the region stands for.
fn addresses(tenant: &mut Section<'_>) -> (Read<Url>, Read<Url>) {
    let region =
        tenant.optional("region", |raw| raw.text().and_then(address::region), |region| json!(region));
    let shown = |url: &Url| json!(url.as_str());
    let base = tenant.discreet("base_url", address::url, shown);
    let token = tenant.discreet("token_url", address::url, shown);
    let region = region.as_ref().map(Option::as_deref);
    let base = address_of(tenant, "base_url", base, region, address::base_of);
    let token = address_of(tenant, "token_url", token, region, address::token_of);
    (base, token)
}

fn address_of(
    tenant: &Section<'_>,
    key: &'static str,
    set: Read<Option<Url>>,
    region: Result<Option<&str>, &Faulted>,
    derive: fn(&str) -> Judged<Url>,
) -> Read<Url> {
    if let Some(url) = set? {
        return Ok(url);
    }
    let Some(region) = region.map_err(|_| Faulted)? else {
        return Err(tenant.missing(key, "set region, or both base_url and token_url"));
    };
    let url = derive(region)
        .map_err(|reason| tenant.missing(key, &format!("what {region} stands for {reason}")))?;
    tenant.show(key, json!(url.as_str()), Origin::From("region"));
    Ok(url)
}

fn credentials(tenant: &mut Section<'_>, token_url: Read<Url>) -> Read<Credentials> {
    let words = [("basic", TokenAuth::Basic), ("form", TokenAuth::Form)];
    let token_auth = tenant.choice("token_auth", TokenAuth::Basic, &words);
    let scope = tenant.optional("scope", |raw| raw.text().and_then(filled), |scope| json!(scope));
    let client_id = tenant.secret("client_id");
    let client_secret = tenant.secret("client_secret");
    let bearer = tenant.refuse(
        "bearer_token",
        "is for the profile scim, which this version does not support: set client_id and client_secret",
    );
    bearer?;
    Ok(Credentials::Client {
        token_url: token_url?,
        token_auth,
        client_id: client_id?,
        client_secret: client_secret?,
        scope: scope?,
    })
}

fn cadence(tenant: &mut Section<'_>) -> Cadence {
    Cadence {
        schedule: tenant.parsed("schedule", "0 */5 * * * *".to_owned(), schedule::line),
        sweep_schedule: tenant.parsed("sweep_schedule", "0 0 3 * * *".to_owned(), schedule::line),
        time_zone: tenant.parsed("time_zone", Tz::UTC, schedule::zone),
        jitter: tenant.duration("jitter", Duration::ZERO, Duration::ZERO..=HOUR),
    }
}

fn reading(tenant: &mut Section<'_>) -> Reading {
    let words = [("roles", RoleAttribute::Roles), ("teams", RoleAttribute::Teams)];
    Reading {
        overlap: tenant.duration("overlap", 2 * MINUTE, Duration::ZERO..=DAY),
        page_size: tenant.whole("page_size", 100, 1..=1000),
        filter_parameter: tenant.parsed("filter_parameter", "_queryFilter".to_owned(), parameter),
        filter: Some(tenant.parsed("filter", "userName ne ''".to_owned(), |text| Ok(text.to_owned())))
            .filter(|filter| !filter.is_empty()),
        role_attribute: tenant.choice("role_attribute", RoleAttribute::Roles, &words),
    }
}

fn policy(tenant: &mut Section<'_>) -> Policy {
    let gone = [("remove", WhenGone::Remove), ("keep", WhenGone::Keep)];
    let patch = [("replace", TeamPatch::Replace), ("add-remove", TeamPatch::AddRemove)];
    Policy {
        when_unmapped: tenant.choice("when_unmapped", WhenGone::Remove, &gone),
        when_inactive: tenant.choice("when_inactive", WhenGone::Remove, &gone),
        team_patch: tenant.choice("team_patch", TeamPatch::Replace, &patch),
    }
}

fn delivery(mut section: Section<'_>) -> DeliverySettings {
    let settings = DeliverySettings {
        rate_per_second: section.number("rate_per_second", 50.0, 0.01..=10_000.0),
        burst: section.whole("burst", 10, 1..=10_000),
        workers: section.whole("workers", 10, 1..=1000) as usize,
        max_attempts: section.whole("max_attempts", 8, 1..=100),
        verify_percent: section.number("verify_percent", 1.0, 0.0..=100.0),
    };
    section.finish();
    settings
}

fn guard(mut section: Section<'_>) -> GuardSettings {
    let tenant = |percent: f64, users| Limit { percent: Some(percent), users };
    let team = |percent, users| Limit { percent, users };
    let limits = Limits {
        removals: tenant(
            section.number("max_removals_percent", 20.0, 0.0..=100.0),
            section.optional_whole("max_removals", MOST_USERS),
        ),
        changes: tenant(
            section.number("max_changes_percent", 50.0, 0.0..=100.0),
            section.optional_whole("max_changes", MOST_USERS),
        ),
        team_removals: team(
            section.optional_number("max_team_removals_percent", 0.0..=100.0),
            section.optional_whole("max_team_removals", MOST_USERS),
        ),
        team_changes: team(
            section.optional_number("max_team_changes_percent", 0.0..=100.0),
            section.optional_whole("max_team_changes", MOST_USERS),
        ),
        missing_percent: section.number("max_missing_percent", 20.0, 0.0..=100.0),
        min_users: u64::from(section.whole("min_users", 50, MOST_USERS)),
    };
    let window = section.duration("window", HOUR, MINUTE..=7 * DAY);
    section.finish();
    GuardSettings { limits, window }
}

fn webhook(mut section: Section<'_>) -> Read<Option<WebhookSettings>> {
    let url = section.discreet("url", address::webhook, |url| json!(address::without_path(url)));
    let secret = section.judged_secret("secret", signing_secret);
    let settings = match (url, secret) {
        (Ok(None), Ok(Some(_))) => Err(section.missing("url", "a webhook with a secret needs an address")),
        (url, secret) => url.and_then(|url| Ok((url, secret?))),
    };
    section.finish();
    let (url, secret) = settings?;
    Ok(url.map(|url| WebhookSettings { url, secret }))
}

/// `whsec_` says that base64 follows (Standard Webhooks, "Signature scheme"); a slip in it would sign with another key.
fn signing_secret(secret: &str) -> Judged<()> {
    let Some(encoded) = secret.strip_prefix("whsec_") else { return Ok(()) };
    let digits = encoded.trim_end_matches('=');
    let fits = digits.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '/');
    if fits && !digits.is_empty() && digits.len() % 4 != 1 {
        Ok(())
    } else {
        Err("begins with whsec_, and what follows is not base64".to_owned())
    }
}

fn filled(text: &str) -> Judged<String> {
    if text.trim().is_empty() { Err("is empty: leave the key out".to_owned()) } else { Ok(text.to_owned()) }
}

/// The name of a query parameter, as it may stand in a URL unescaped (RFC 3986 §2.3).
fn parameter(text: &str) -> Judged<String> {
    let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    if !text.is_empty() && text.chars().all(unreserved) {
        Ok(text.to_owned())
    } else {
        Err("is no name of a query parameter".to_owned())
    }
}
