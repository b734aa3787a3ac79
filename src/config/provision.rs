//! `[tenants.NAME.provision]`, `[tenants.NAME.attributes]` and `[tenants.NAME.bulk]`: what comes from files, and how it
//! is packed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::json;

use super::effective::absolute;
use super::reader::{Faulted, Judged, Raw, Section, resolve};
use super::schedule;
use super::settings::{AttributeSettings, BulkMode, BulkSettings, OnConflict, ProvisionSettings, UpdateWith};
use super::tree::{Kind, Node};
use crate::model::{Columns, attribute_path, nearest_attribute};
use crate::plan::Rules;

/// Users whom a tenant may have.
const CAPACITY: RangeInclusive<u32> = 1..=10_000_000;

/// How HRIS exports are read, and what becomes of their rows.
pub(super) fn provision(mut section: Section<'_>) -> ProvisionSettings {
    let file =
        section.optional("file", |raw| Ok(raw.origin.locate(filled(raw.text()?)?)), |path| absolute(path));
    let cron = |raw: &Raw| raw.text().and_then(schedule::line).map(|line| (line, raw.origin.clone()));
    let schedule = section.optional("schedule", cron, |(line, _)| json!(line));
    if let (Ok(None), Ok(Some((_, origin)))) = (&file, &schedule) {
        section.fault("schedule", origin, "has no file that it could read: set file, too");
    }
    let named = columns(&mut section);
    let ignored = section.words("ignore_columns", |name| Ok(name.to_owned())).unwrap_or_default();
    let required = section.words("required", |name| attribute(name).map(one_or_many));
    let required = required.unwrap_or_else(|| {
        let default = Rules::default().required;
        section.show_default("required", json!(default));
        default
    });
    let roles = section.words("roles", |role| Ok(role.to_owned()));
    let max_users = section.optional_whole("max_users", CAPACITY);
    let on_conflict =
        [("update", OnConflict::Update), ("skip", OnConflict::Skip), ("fail", OnConflict::Fail)];
    let update_with = [("patch", UpdateWith::Patch), ("put", UpdateWith::Put)];
    let settings = ProvisionSettings {
        file: file.ok().flatten(),
        schedule: schedule.ok().flatten().map(|(line, _)| line),
        columns: Columns { named, ignored },
        required,
        roles,
        max_users,
        on_conflict: section.choice("on_conflict", OnConflict::Update, &on_conflict),
        update_with: section.choice("update_with", UpdateWith::Patch, &update_with),
    };
    section.finish();
    settings
}

/// How files of attributes are read.
pub(super) fn attributes(mut section: Section<'_>) -> AttributeSettings {
    let remove_marker = section.parsed("remove_marker", "<remove>".to_owned(), |text| match text {
        text if text.trim() != text => Err("begins or ends with a blank, and cells are trimmed".to_owned()),
        text => filled(text).map(str::to_owned),
    });
    section.finish();
    AttributeSettings { remove_marker }
}

/// Whether many operations go in one call, and how its end is waited for.
pub(super) fn bulk(mut section: Section<'_>) -> BulkSettings {
    let modes = [
        ("auto", BulkMode::Auto),
        ("jobs", BulkMode::Jobs),
        ("rfc7644", BulkMode::Rfc7644),
        ("off", BulkMode::Off),
    ];
    let polls = Duration::from_millis(100)..=Duration::from_mins(10);
    let settings = BulkSettings {
        mode: section.choice("mode", BulkMode::Auto, &modes),
        poll_interval: section.duration("poll_interval", Duration::from_secs(5), polls),
        max_polls: section.whole("max_polls", 60, 1..=10_000),
    };
    section.finish();
    settings
}

/// Attribute → header. The environment writes attributes in any case, and comes after the files.
fn columns(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut named = BTreeMap::new();
    let table = match section.take_node("columns") {
        None => return named,
        Some(Node { kind: Kind::Table(table), .. }) => table,
        Some(Node { kind, origin }) => {
            let reason = format!("is a table of attributes and headers, and {} stands here", kind.describe());
            section.fault("columns", &origin, reason);
            return named;
        }
    };
    let (from_files, from_environment): (Vec<_>, Vec<_>) =
        table.into_iter().partition(|(_, node)| !node.origin.is_environment());
    for entries in [from_files, from_environment] {
        let mut here = BTreeSet::new();
        for (name, node) in entries {
            if let Ok((path, header)) = column(section, &name, node, &mut here) {
                named.insert(path, header);
            }
        }
    }
    named
}

/// One of them; `here` holds those of the same layer.
fn column(
    section: &Section<'_>,
    name: &str,
    node: Node,
    here: &mut BTreeSet<String>,
) -> Result<(String, String), Faulted> {
    let mut at = section.at("columns");
    at.push(name.to_owned());
    let origin = node.origin.clone();
    let fail = |reason: String| section.notes.fault(&at, &origin, reason);
    let path = attribute(name).map_err(fail)?;
    if !here.insert(path.clone()) {
        return Err(fail("is the same attribute as another key: keep one of them".to_owned()));
    }
    let raw = resolve(section.notes, node).map_err(|(_, reason)| fail(reason))?;
    let header = raw.text().and_then(filled).map_err(fail)?.trim().to_owned();
    section.notes.show(at.clone(), json!(header), raw.origin, true);
    Ok((path, header))
}

/// The path of an attribute that a file may name.
fn attribute(name: &str) -> Judged<String> {
    attribute_path(name).ok_or_else(|| match nearest_attribute(name) {
        Some(near) => format!("is no attribute of a user; did you mean {near}?"),
        None => "is no attribute of a user: write userName, say, or the URN of one".to_owned(),
    })
}

/// Whoever requires an address is content with one.
fn one_or_many(path: String) -> String {
    if path == "email" { "emails".to_owned() } else { path }
}

fn filled(text: &str) -> Judged<&str> {
    if text.trim().is_empty() { Err("is empty: leave the key out".to_owned()) } else { Ok(text) }
}
