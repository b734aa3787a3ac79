//! A JSON line as a row: flat, or as a SCIM User (RFC 7643 §8.2), or both mixed. Pure.

use serde_json::{Map, Value};

use super::broken;
use super::header::unknown_name;
use crate::model::{
    Columns, ENTERPRISE_USER, Purpose, RawRow, RawValue, RejectedRow, RowFault, attribute_path, quoted,
};
use crate::source::input::object;

/// What a server says of a user and nobody else can (RFC 7644 §3.3); and `schemas`, which follows from the rest.
const NOT_ASKED: [&str; 4] = ["schemas", "id", "meta", "groups"];

/// The row that a line says.
pub(super) fn row(line: u64, text: &str, columns: &Columns) -> Result<RawRow, RejectedRow> {
    let members = object(text).map_err(|reason| broken(line, reason))?;
    let mut draft = Draft { fields: Vec::new(), faults: Vec::new() };
    for (key, value) in members {
        draft.member(&key, value, columns);
    }
    let Draft { fields, faults } = draft;
    if faults.is_empty() {
        return Ok(RawRow { line, fields });
    }
    let text = |name: &str| {
        let value = fields.iter().find(|(path, _)| path == name).map(|(_, value)| value);
        match value {
            Some(RawValue::Json(Value::String(text))) => Some(text.clone()),
            _ => None,
        }
    };
    Err(RejectedRow { line, external_id: text("externalId"), user_name: text("userName"), faults })
}

struct Draft {
    fields: Vec<(String, RawValue)>,
    faults: Vec<RowFault>,
}

impl Draft {
    fn member(&mut self, key: &str, value: Value, columns: &Columns) {
        let nested = nested(key, value);
        match (columns.purpose(key), nested) {
            (Purpose::Ignored, _) => {}
            (_, Ok(members)) => {
                for (name, value) in members {
                    match attribute_path(&name) {
                        Some(path) => self.put(path, value),
                        None => self.unknown(&name),
                    }
                }
            }
            (Purpose::Attributes(paths), Err(value)) => {
                for path in paths {
                    self.put(path, value.clone());
                }
            }
            (Purpose::Unknown, _) if NOT_ASKED.contains(&key) => {}
            (Purpose::Unknown, _) => self.unknown(key),
        }
    }

    /// What is null or empty says nothing (RFC 7643 §2.5).
    fn put(&mut self, path: String, value: Value) {
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if self.fields.iter().any(|(other, _)| *other == path) {
            let reason = "is there twice, by two names".to_owned();
            self.faults.push(RowFault { field: path, value: None, reason });
        } else if !empty {
            self.fields.push((path, RawValue::Json(value)));
        }
    }

    fn unknown(&mut self, key: &str) {
        self.faults.push(RowFault { field: quoted(key), value: None, reason: unknown_name(key) });
    }
}

/// The members of `name` and of the object of an extension by their full names; otherwise the value itself.
fn nested(key: &str, value: Value) -> Result<Map<String, Value>, Value> {
    let Value::Object(members) = value else { return Err(value) };
    let within_enterprise = key.len() > ENTERPRISE_USER.len()
        && key.get(..ENTERPRISE_USER.len()).is_some_and(|start| start.eq_ignore_ascii_case(ENTERPRISE_USER));
    let separator = match key.get(..4) {
        _ if key.eq_ignore_ascii_case("name") => '.',
        Some(urn) if urn.eq_ignore_ascii_case("urn:") && !within_enterprise => ':',
        _ => return Err(Value::Object(members)),
    };
    Ok(members.into_iter().map(|(name, value)| (format!("{key}{separator}{name}"), value)).collect())
}
