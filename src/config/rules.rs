//! The mapping: HR role → team ids, from the configuration, from one JSON object, or from a file.
//!
//! Roles and team ids are taken byte for byte; only the cells of a CSV file are trimmed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};

use super::effective::absolute;
use super::reader::{Judged, Read, Section, quoted, resolve};
use super::tree::{Kind, Node, Origin, Table, reference};
use crate::model::{Role, TeamId, counted};
use crate::plan::Mapping;

const WAYS: &str = "set [tenants.NAME.mapping] or mapping_file";

/// The rules of a tenant, from `mapping` or from `mapping_file`.
pub(super) fn read(tenant: &mut Section<'_>) -> Read<Mapping> {
    let inline = tenant.take_node("mapping");
    let file = tenant.optional(
        "mapping_file",
        |raw| {
            let path = raw.origin.locate(raw.text()?);
            Ok((path, raw.origin.clone()))
        },
        |(path, _)| absolute(path),
    )?;
    let rules = match (inline, file) {
        (None, None) => return Err(tenant.missing("mapping", WAYS)),
        (Some(node), Some((_, origin))) => {
            let reason =
                format!("and mapping_file ({origin}) are both set: there is one truth, keep one of them");
            return Err(tenant.fault("mapping", &node.origin, reason));
        }
        (Some(node), None) => from_tree(tenant, node)?,
        (None, Some((path, _))) => from_file(tenant, &path)?,
    };
    Ok(Mapping::new(rules))
}

type Rules = BTreeMap<Role, BTreeSet<TeamId>>;

fn add(rules: &mut Rules, role: &str, team: &str) -> Judged<()> {
    if role.is_empty() {
        return Err("the role is empty".to_owned());
    }
    if role.chars().any(char::is_control) {
        return Err("the role holds a control character".to_owned());
    }
    if team.is_empty() {
        return Err("the team id is empty".to_owned());
    }
    if team.trim() != team || team.chars().any(char::is_control) {
        return Err(format!(
            "the team id {} begins or ends with a blank, or holds a control character",
            quoted(team)
        ));
    }
    if !rules.entry(Role::from(role)).or_default().insert(TeamId::from(team)) {
        return Err(format!("the rule for team {} is there twice", quoted(team)));
    }
    Ok(())
}

fn add_all(rules: &mut Rules, role: &str, teams: &[String]) -> Judged<()> {
    if teams.is_empty() {
        return Err("the list of teams is empty: name a team or drop the rule".to_owned());
    }
    teams.iter().try_for_each(|team| add(rules, role, team))
}

/// From `[tenants.NAME.mapping]`, or from one variable that holds all of it as JSON.
fn from_tree(tenant: &Section<'_>, node: Node) -> Read<Rules> {
    let fail = |origin: &Origin, reason: String| tenant.fault("mapping", origin, reason);
    let form =
        if let Kind::Table(table) = &node.kind { reference(table).map(|(form, _)| form) } else { None };
    match node.kind {
        Kind::Table(table) if form.is_none() => from_table(tenant, table, &node.origin),
        _ if form.is_some_and(|form| form != "env") => Err(fail(
            &node.origin,
            "cannot be read like a secret: set mapping_file = \"PATH\" instead".to_owned(),
        )),
        kind => {
            let node = Node { kind, origin: node.origin };
            let raw = resolve(tenant.notes, node).map_err(|(origin, reason)| fail(&origin, reason))?;
            match &raw.kind {
                Kind::Text(text) if raw.origin.is_environment() => from_variable(tenant, text, &raw.origin),
                kind => Err(fail(
                    &raw.origin,
                    format!("is a table of rules, and {} stands here", kind.describe()),
                )),
            }
        }
    }
}

fn from_table(tenant: &Section<'_>, table: Table, origin: &Origin) -> Read<Rules> {
    let mut rules = Rules::new();
    let mut outcome = Ok(());
    for (role, node) in table {
        let origin = node.origin.clone();
        let added = teams_of(tenant, node).and_then(|teams| add_all(&mut rules, &role, &teams));
        if let Err(reason) = added {
            outcome = Err(tenant.notes.fault(&rule_path(tenant, &role), &origin, reason));
            continue;
        }
        show(tenant, &rules, &role, origin);
    }
    outcome?;
    not_empty(tenant, "mapping", rules, origin)
}

/// One id, or a list of ids; each may be `{ env = "NAME" }`.
fn teams_of(tenant: &Section<'_>, node: Node) -> Judged<Vec<String>> {
    match node.kind {
        Kind::List(list) => list.into_iter().map(|node| one_team(tenant, node)).collect(),
        kind => Ok(vec![one_team(tenant, Node { kind, origin: node.origin })?]),
    }
}

fn one_team(tenant: &Section<'_>, node: Node) -> Judged<String> {
    let raw = resolve(tenant.notes, node).map_err(|(_, reason)| reason)?;
    raw.text()
        .map(str::to_owned)
        .map_err(|_| format!("{} is not a team id: write it in quotes", raw.kind.describe()))
}

fn from_variable(tenant: &Section<'_>, text: &str, origin: &Origin) -> Read<Rules> {
    let (rules, reasons) = from_json(text);
    report(tenant, "mapping", origin, reasons)?;
    for role in rules.keys() {
        show(tenant, &rules, role.as_str(), origin.clone());
    }
    not_empty(tenant, "mapping", rules, origin)
}

/// How a file of rules is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesForm {
    /// `role,team[;team…]` below that header.
    Csv,
    /// `{"ROLE": "team-id", "OTHER": ["team-id", …]}`.
    Json,
}

/// Reads the text of a file of rules; there may be none in it.
///
/// # Errors
/// With a reason for each rule that is wrong.
pub fn read_rules(text: &str, form: RulesForm) -> Result<Mapping, Vec<String>> {
    rules_in(text, form).map(Mapping::new)
}

fn rules_in(text: &str, form: RulesForm) -> Result<Rules, Vec<String>> {
    let text = text.trim_start_matches('\u{feff}');
    let (rules, reasons) = match form {
        RulesForm::Csv => from_csv(text),
        RulesForm::Json => from_json(text),
    };
    if reasons.is_empty() { Ok(rules) } else { Err(reasons) }
}

fn from_file(tenant: &Section<'_>, path: &Path) -> Read<Rules> {
    let origin = Origin::File(path.to_owned());
    let read = || {
        let text = fs::read_to_string(path).map_err(|error| vec![format!("cannot be read: {error}")])?;
        let form = form_of(path).ok_or_else(|| vec!["is neither .csv nor .json".to_owned()])?;
        rules_in(&text, form)
    };
    let rules =
        read().or_else(|reasons| report(tenant, "mapping_file", &origin, reasons).map(|()| Rules::new()))?;
    not_empty(tenant, "mapping_file", rules, &origin)
}

fn form_of(path: &Path) -> Option<RulesForm> {
    match path.extension()?.to_string_lossy().to_ascii_lowercase().as_str() {
        "csv" => Some(RulesForm::Csv),
        "json" => Some(RulesForm::Json),
        _ => None,
    }
}

/// Puts every reason on record.
fn report(tenant: &Section<'_>, key: &str, origin: &Origin, reasons: Vec<String>) -> Read<()> {
    let mut outcome = Ok(());
    for reason in reasons {
        outcome = Err(tenant.fault(key, origin, reason));
    }
    outcome
}

fn not_empty(tenant: &Section<'_>, key: &str, rules: Rules, origin: &Origin) -> Read<Rules> {
    if rules.is_empty() {
        return Err(tenant.fault(key, origin, "holds no rule: name at least one role and its team"));
    }
    Ok(rules)
}

fn rule_path(tenant: &Section<'_>, role: &str) -> Vec<String> {
    let mut path = tenant.at("mapping");
    path.push(role.to_owned());
    path
}

fn show(tenant: &Section<'_>, rules: &Rules, role: &str, origin: Origin) {
    let teams = rules.get(&Role::from(role));
    tenant.notes.show(rule_path(tenant, role), json!(teams), origin, true);
}

/// Every rule in `{"ROLE": "team-id", "OTHER": ["team-id", …]}`, and what is wrong with it.
fn from_json(text: &str) -> (Rules, Vec<String>) {
    let mut rules = Rules::new();
    let pairs = match serde_json::from_str::<Pairs>(text) {
        Ok(Pairs(pairs)) => pairs,
        // The parser's own text may quote a number, and the variable may be the wrong one, and secret.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let reason = format!("is no JSON object of roles and team ids, line {line}, column {column}");
            return (rules, vec![reason]);
        }
    };
    let mut seen = BTreeSet::new();
    let mut reasons = Vec::new();
    for (role, teams) in pairs {
        let added = match json_teams(teams) {
            _ if !seen.insert(role.clone()) => Err("the role is there twice".to_owned()),
            Ok(teams) => add_all(&mut rules, &role, &teams),
            Err(reason) => Err(reason),
        };
        reasons.extend(added.err().map(|reason| format!("role {}: {reason}", quoted(&role))));
    }
    (rules, reasons)
}

fn json_teams(teams: Value) -> Judged<Vec<String>> {
    let one = |team| match team {
        Value::String(team) => Ok(team),
        _ => Err("a team id is text, or a list of texts".to_owned()),
    };
    match teams {
        Value::Array(list) => list.into_iter().map(one).collect(),
        team => Ok(vec![one(team)?]),
    }
}

/// The members of a JSON object, doubles included, which a map would hide.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Every row of `role,team[;team…]` below that header, and what is wrong with it. A role may have several rows.
fn from_csv(text: &str) -> (Rules, Vec<String>) {
    let mut rules = Rules::new();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    match reader.headers() {
        Ok(header) if header == vec!["role", "team"] => {}
        Ok(_) => return (rules, vec!["line 1: the header is not `role,team`".to_owned()]),
        Err(error) => return (rules, vec![format!("is no CSV: {error}")]),
    }
    let mut reasons = Vec::new();
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                reasons.push(csv_reason(&error));
                continue;
            }
        };
        let (role, teams) = (row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default());
        let teams: Vec<String> = teams.split(';').map(|team| team.trim().to_owned()).collect();
        if let Err(reason) = add_all(&mut rules, role, &teams) {
            let line = row.position().map_or(0, csv::Position::line);
            reasons.push(format!("line {line}, role {}: {reason}", quoted(role)));
        }
    }
    (rules, reasons)
}

fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos: Some(pos), len, .. } => {
            let cells = counted(*len, "cell", "cells");
            format!("line {}: {cells} instead of two; several teams are joined by `;`", pos.line())
        }
        _ => format!("is no CSV: {error}"),
    }
}
