//! Addresses: what a region stands for, and which URLs may be talked to.
//!
//! Faults do not quote a URL: a password may be part of it.

use std::net::IpAddr;
use std::path::PathBuf;

use url::{Host, Url};

use super::reader::{Judged, nearest};

/// The vendor's regions at the time of writing. Another domain is taken as it is.
const REGIONS: [&str; 18] = [
    "mypurecloud.com",
    "use2.us-gov-pure.cloud",
    "usw2.pure.cloud",
    "cac1.pure.cloud",
    "mypurecloud.ie",
    "euw2.pure.cloud",
    "mypurecloud.de",
    "euc2.pure.cloud",
    "mypurecloud.jp",
    "apne2.pure.cloud",
    "apne3.pure.cloud",
    "aps1.pure.cloud",
    "apse1.pure.cloud",
    "mypurecloud.com.au",
    "sae1.pure.cloud",
    "mec1.pure.cloud",
    "mxc1.pure.cloud",
    "edee1.eusc-pure.cloud",
];

/// A region: a domain in small letters, without the `api.` or `login.` that we put before it.
pub(super) fn region(text: &str) -> Judged<String> {
    let domain = text.to_ascii_lowercase();
    if ["api.", "login.", "apps."].iter().any(|host| domain.starts_with(host)) {
        return Err("is a host: write the domain alone, such as mypurecloud.com".to_owned());
    }
    if is_domain(&domain) {
        return Ok(domain);
    }
    let hint =
        nearest(&domain, &REGIONS).map_or_else(String::new, |region| format!("; did you mean {region}?"));
    Err(format!("is no region: write its domain, such as {}{hint}", REGIONS[0]))
}

/// Letters, digits and hyphens between dots (RFC 1123 §2.1), at least two labels, the last one no number.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(is_label)
        && last.chars().any(|c| c.is_ascii_alphabetic())
}

/// The SCIM base of a region.
pub(super) fn base_of(region: &str) -> Judged<Url> {
    url(&format!("https://api.{region}/api/v2/scim/v2"))
}

/// The token endpoint of a region.
pub(super) fn token_of(region: &str) -> Judged<Url> {
    url(&format!("https://login.{region}/oauth/token"))
}

/// A URL that tokens and users may be sent to: https, or http on this machine; no trailing slash.
pub(super) fn url(text: &str) -> Judged<Url> {
    let mut url = private(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds a query or a fragment: leave what follows `?` or `#` out".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A URL that messages are sent to, to the letter: receivers tell by path and query who it is.
pub(super) fn webhook(text: &str) -> Judged<Url> {
    let url = private(text)?;
    if url.fragment().is_some() {
        return Err("holds a fragment: leave what follows `#` out".to_owned());
    }
    Ok(url)
}

/// A URL where nobody listens on the way: https, or http on this machine; without a user.
fn private(text: &str) -> Judged<Url> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err("is plain http, which is accepted for loopback hosts only: write https".to_owned());
        }
        _ => return Err("is neither https nor http".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password: leave them out".to_owned());
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// The scheme and host of a URL whose path or query is a secret of its own, as those of webhooks are.
pub(super) fn without_path(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_path("***");
    shown.set_query(None);
    shown.to_string()
}

/// The file of a `sqlite://PATH`.
pub(super) fn database(text: &str) -> Judged<PathBuf> {
    let path =
        text.strip_prefix("sqlite://").ok_or("is no database of this version: write \"sqlite://PATH\"")?;
    if path.is_empty() || path.ends_with('/') {
        return Err("names no file: write \"sqlite://rosterd.db\"".to_owned());
    }
    if path.contains(":memory:") || path.contains(['?', '#', '\0']) {
        return Err("is more than a file: write \"sqlite://PATH\" without parameters".to_owned());
    }
    Ok(PathBuf::from(path))
}
