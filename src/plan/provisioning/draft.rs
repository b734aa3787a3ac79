//! A user in the making: the attributes of a row, one after the other, and what is wrong with them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::check::is_blank;
use super::mask;
use super::value::{self, Judged};
use crate::model::{
    CORE_USER, ENTERPRISE_USER, RawValue, RejectedRow, RowFault, WantedUser, nearest, split_urn,
};

/// What was taken so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    core: Map<String, Value>,
    name: Map<String, Value>,
    /// By schema.
    extensions: BTreeMap<String, Map<String, Value>>,
    /// The one address of `email`, and those of `emails`, as objects.
    email: Option<String>,
    emails: Vec<Map<String, Value>>,
    /// All attributes that the row names, right or wrong.
    named: BTreeSet<String>,
    faults: Vec<RowFault>,
}

impl Draft {
    /// Takes what the row says of an attribute.
    pub(super) fn take(&mut self, path: &str, value: RawValue, roles: Option<&BTreeSet<String>>) {
        if is_blank(&value) && path != "password" {
            return;
        }
        self.named.insert(path.to_owned());
        match path {
            "externalId" => self.put(path, id(&value), &value, mask::id),
            "userName" => self.put(path, address(&value), &value, mask::mail),
            "displayName" | "title" => self.put(path, value::text(&value), &value, hidden),
            "name.givenName" | "name.familyName" => match value::text(&value) {
                Ok(text) => {
                    self.name.insert(path["name.".len()..].to_owned(), text.into());
                }
                Err(reason) => self.fault(path, shown(&value, hidden), reason),
            },
            "email" => match address(&value) {
                Ok(mail) => self.email = Some(mail),
                Err(reason) => self.fault(path, shown(&value, mask::mail), reason),
            },
            "emails" => self.take_emails(&value),
            "roles" => self.take_roles(&value, roles),
            "active" => match value::flag(&value) {
                Ok(active) => {
                    self.core.insert(path.to_owned(), active.into());
                }
                Err(reason) => self.fault(path, shown(&value, mask::id), reason),
            },
            "password" => self.put(path, value::password(&value), &value, hidden),
            _ => self.take_extension(path, value),
        }
    }

    fn put(&mut self, path: &str, judged: Judged<String>, value: &RawValue, mask: fn(&str) -> String) {
        match judged {
            Ok(text) => {
                self.core.insert(path.to_owned(), text.into());
            }
            Err(reason) => self.fault(path, shown(value, mask), reason),
        }
    }

    fn take_emails(&mut self, value: &RawValue) {
        for entry in entries(value) {
            match entry.and_then(|entry| {
                value::mail(&entry.value).map_err(|reason| (mask::mail(&entry.value), reason))?;
                Ok(entry)
            }) {
                Ok(Entry { value, more }) => {
                    let mut mail = more;
                    mail.insert("value".to_owned(), value.into());
                    self.emails.push(mail);
                }
                Err((shown, reason)) => self.fault("emails", Some(shown), reason),
            }
        }
        if self.emails.iter().filter(|mail| is_primary(mail)).count() > 1 {
            self.fault("emails", None, "are primary more than once: only one can be".to_owned());
        }
    }

    fn take_roles(&mut self, value: &RawValue, known: Option<&BTreeSet<String>>) {
        let mut roles: Vec<Value> = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in entries(value) {
            let judged = entry.and_then(|entry| {
                let judged = value::visible(&entry.value).and_then(|()| is_known(&entry.value, known));
                judged.map_err(|reason| (mask::id(&entry.value), reason)).map(|()| entry)
            });
            match judged {
                Ok(Entry { value, more }) => {
                    if seen.insert(value.clone()) {
                        let mut role = more;
                        role.insert("value".to_owned(), value.into());
                        roles.push(role.into());
                    }
                }
                Err((shown, reason)) => self.fault("roles", Some(shown), reason),
            }
        }
        if !roles.is_empty() {
            self.core.insert("roles".to_owned(), roles.into());
        }
    }

    fn take_extension(&mut self, path: &str, value: RawValue) {
        let Some((schema, attribute)) = split_urn(path) else {
            return self.fault(path, None, "is no attribute that a row may name".to_owned());
        };
        let judged = match (schema == ENTERPRISE_USER, attribute, value) {
            (true, "manager", value) => manager(&value).map_err(|reason| (shown(&value, mask::id), reason)),
            (true, "employeeNumber", value) => {
                id(&value).map(Value::from).map_err(|reason| (shown(&value, mask::id), reason))
            }
            (false, _, RawValue::Json(value)) if !value.is_string() => {
                let judged = value::anything(&value);
                judged.map(|()| value).map_err(|reason| (hidden(""), reason))
            }
            (_, _, value) => {
                value::text(&value).map(Value::from).map_err(|reason| (shown(&value, hidden), reason))
            }
        };
        match judged {
            Ok(value) => {
                let extension = self.extensions.entry(schema.to_owned()).or_default();
                extension.insert(attribute.to_owned(), value);
            }
            Err((shown, reason)) => self.fault(path, shown, reason),
        }
    }

    fn fault(&mut self, path: &str, value: impl Into<Option<String>>, reason: String) {
        self.faults.push(RowFault { field: path.to_owned(), value: value.into(), reason });
    }

    /// One address is as good as several.
    pub(super) fn require(&mut self, path: &str) {
        let there = self.named.contains(path) || (path == "emails" && self.named.contains("email"));
        if !there {
            self.fault(path, None, "is missing".to_owned());
        }
    }

    pub(super) fn external_id(&self) -> Option<&str> {
        self.core.get("externalId").and_then(Value::as_str)
    }

    pub(super) fn user_name(&self) -> Option<&str> {
        self.core.get("userName").and_then(Value::as_str)
    }

    /// Two rows that name the same user: the later one goes.
    pub(super) fn refuse_double(&mut self, path: &str, first: Option<u64>) {
        let Some(first) = first else { return };
        let text = self.core.get(path).and_then(Value::as_str).unwrap_or_default();
        let shown = if path == "userName" { mask::mail(text) } else { mask::id(text) };
        self.fault(path, Some(shown), format!("is that of line {first}, too: keep one of them"));
    }

    /// The user, if nothing is wrong with him.
    pub(super) fn finish(mut self, line: u64) -> Result<WantedUser, RejectedRow> {
        let external_id = self.external_id().map(str::to_owned);
        let user_name = self.user_name().map(str::to_owned);
        let (Some(id), Some(name), true) = (external_id.clone(), user_name.clone(), self.faults.is_empty())
        else {
            return Err(RejectedRow { line, external_id, user_name, faults: self.faults });
        };
        let emails = self.all_emails();
        let mut user = self.core;
        if !emails.is_empty() {
            user.insert("emails".to_owned(), emails.into());
        }
        if !self.name.is_empty() {
            user.insert("name".to_owned(), self.name.into());
        }
        let schemas = std::iter::once(CORE_USER).chain(self.extensions.keys().map(String::as_str));
        user.insert("schemas".to_owned(), schemas.collect::<Vec<_>>().into());
        user.extend(self.extensions.into_iter().map(|(schema, extension)| (schema, extension.into())));
        Ok(WantedUser { line, external_id: id, user_name: name, user })
    }

    /// Each address once, whatever its case, the primary one first: that of `email`, or the one that says so, or the
    /// first. It is for work, and the others are other, unless the file says what they are.
    fn all_emails(&mut self) -> Vec<Value> {
        let mut all = std::mem::take(&mut self.emails);
        match self.email.take() {
            Some(email) => {
                let at = all.iter().position(|mail| same(mail, &email));
                let mut first = at.map_or_else(Map::new, |at| all.remove(at));
                first.entry("value").or_insert(email.into());
                all.insert(0, first);
            }
            None => all.sort_by_key(|mail| !is_primary(mail)),
        }
        let mut seen = BTreeSet::new();
        all.retain(|mail| seen.insert(mail["value"].as_str().map(str::to_lowercase)));
        for (number, mail) in all.iter_mut().enumerate() {
            mail.remove("primary");
            mail.entry("type").or_insert(json!(if number == 0 { "work" } else { "other" }));
        }
        if let Some(first) = all.first_mut() {
            first.insert("primary".to_owned(), json!(true));
        }
        all.into_iter().map(Value::Object).collect()
    }
}

fn same(mail: &Map<String, Value>, email: &str) -> bool {
    mail.get("value")
        .and_then(Value::as_str)
        .is_some_and(|other| other.to_lowercase() == email.to_lowercase())
}

fn is_primary(mail: &Map<String, Value>) -> bool {
    mail.get("primary") == Some(&Value::Bool(true))
}

/// One value of several, and its other sub-attributes.
struct Entry {
    value: String,
    more: Map<String, Value>,
}

/// Those of a cell, which `;` separates, or of a list. What is wrong with one comes with what may be shown of it.
fn entries(value: &RawValue) -> Vec<Result<Entry, (String, String)>> {
    match value {
        RawValue::Text(text) | RawValue::Json(Value::String(text)) => {
            let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| Ok(Entry { value: part.to_owned(), more: Map::new() })).collect()
        }
        RawValue::Json(Value::Array(list)) => list.iter().map(entry).collect(),
        RawValue::Json(value) => vec![entry(value)],
    }
}

/// `"VALUE"`, or `{"value": "VALUE", …}` with the sub-attributes of RFC 7643 §2.4.
fn entry(item: &Value) -> Result<Entry, (String, String)> {
    let fault = |reason: String| (mask::HIDDEN.to_owned(), reason);
    let Value::Object(members) = item else {
        let value = value::text(&RawValue::Json(item.clone())).map_err(fault)?;
        return if value.is_empty() {
            Err(fault("is empty".to_owned()))
        } else {
            Ok(Entry { value, more: Map::new() })
        };
    };
    let (mut text, mut more) = (String::new(), Map::new());
    for (key, member) in members {
        match (key.as_str(), member) {
            (_, Value::Null) => {}
            ("value", member) => text = value::text(&RawValue::Json(member.clone())).map_err(fault)?,
            ("primary", Value::Bool(_)) => {
                more.insert(key.clone(), member.clone());
            }
            ("type" | "display", Value::String(word)) => {
                value::sound(word).map_err(fault)?;
                more.insert(key.clone(), member.clone());
            }
            _ => {
                let reason = "holds more than value, type, display (text) and primary (true or false)";
                return Err(fault(reason.to_owned()));
            }
        }
    }
    if text.is_empty() { Err(fault("has no value".to_owned())) } else { Ok(Entry { value: text, more }) }
}

/// Text by which somebody is found.
fn id(value: &RawValue) -> Judged<String> {
    let text = value::text(value)?;
    value::visible(&text)?;
    Ok(text)
}

fn address(value: &RawValue) -> Judged<String> {
    let text = value::text(value)?;
    value::mail(&text)?;
    Ok(text)
}

/// `{"value": ID}` (RFC 7643 §4.3), from an id or from such an object.
fn manager(value: &RawValue) -> Judged<Value> {
    let inner = match value {
        RawValue::Json(Value::Object(members)) => match members.get("value") {
            Some(inner) if members.len() == 1 => &RawValue::Json(inner.clone()),
            _ => return Err("is neither an id nor {\"value\": ID}".to_owned()),
        },
        value => value,
    };
    if is_blank(inner) {
        return Err("has no value".to_owned());
    }
    Ok(json!({ "value": id(inner)? }))
}

fn is_known(role: &str, known: Option<&BTreeSet<String>>) -> Judged<()> {
    let Some(known) = known.filter(|known| !known.contains(role)) else { return Ok(()) };
    let words: Vec<&str> = known.iter().map(String::as_str).collect();
    Err(match nearest(role, &words) {
        Some(near) => format!("is no role that is known; did you mean {near}?"),
        None => "is no role that is known: see provision.roles".to_owned(),
    })
}

fn hidden(_: &str) -> String {
    mask::HIDDEN.to_owned()
}

/// What may be shown of a value; all but text is hidden.
fn shown(value: &RawValue, mask: fn(&str) -> String) -> String {
    match value {
        RawValue::Text(text) | RawValue::Json(Value::String(text)) => mask(text.trim()),
        RawValue::Json(_) => hidden(""),
    }
}
