//! What of a user differs from what HR wants. Pure.
//!
//! Only what the row names is looked at. A password cannot be read, so it never differs: it is set with a creation only.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::model::{Change, READ_ONLY};

/// Attributes that no row changes in a user who is there.
const LEFT_ALONE: [&str; 4] = ["schemas", "password", "id", "meta"];
/// Attributes that are the same whatever their case (RFC 7643 §4.1.1, §4.1.2).
const CASELESS: [&str; 2] = ["userName", "emails"];

/// What `record` needs to be as `wanted`, by path; empty when nothing differs.
#[must_use]
pub fn differences(wanted: &Map<String, Value>, record: &Map<String, Value>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (key, value) in wanted.iter().filter(|(key, _)| !LEFT_ALONE.contains(&key.as_str())) {
        let now = found(record, key);
        match value {
            Value::Object(parts) => {
                let separator = if key.starts_with("urn:") { ':' } else { '.' };
                for (part, value) in parts {
                    let now = now.and_then(Value::as_object).and_then(|now| found(now, part));
                    if !same(part, value, now) {
                        changes
                            .push(Change { path: format!("{key}{separator}{part}"), value: value.clone() });
                    }
                }
            }
            value if !same(key, value, now) => {
                changes.push(Change { path: key.clone(), value: value.clone() });
            }
            _ => {}
        }
    }
    changes
}

/// The whole record as it is to be: what `wanted` names, and else all that was there.
#[must_use]
pub(super) fn laid_over(record: &Map<String, Value>, wanted: &Map<String, Value>) -> Map<String, Value> {
    let mut whole = record.clone();
    whole.retain(|key, _| !READ_ONLY.contains(&key.as_str()));
    for (key, value) in wanted.iter().filter(|(key, _)| *key != "password") {
        let known = whole.keys().find(|known| known.eq_ignore_ascii_case(key)).cloned();
        let place = whole.entry(known.unwrap_or_else(|| key.clone())).or_insert(Value::Null);
        match (place, value) {
            (Value::Object(there), Value::Object(parts)) => {
                there.extend(parts.iter().map(|(part, value)| (part.clone(), value.clone())));
            }
            (Value::Array(there), Value::Array(schemas)) if key == "schemas" => {
                let more: Vec<Value> =
                    schemas.iter().filter(|schema| !there.contains(schema)).cloned().collect();
                there.extend(more);
            }
            (place, value) => *place = value.clone(),
        }
    }
    whole
}

/// Names of attributes are the same whatever their case (RFC 7643 §2.1).
fn found<'a>(record: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    record
        .get(key)
        .or_else(|| record.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

fn same(key: &str, wanted: &Value, now: Option<&Value>) -> bool {
    let caseless = CASELESS.contains(&key);
    match (wanted, now) {
        (Value::String(wanted), Some(Value::String(now))) if caseless => {
            wanted.to_lowercase() == now.to_lowercase()
        }
        // A value that is not there is no value.
        (Value::Array(wanted), now) => {
            let empty = Vec::new();
            let now = now.and_then(Value::as_array).unwrap_or(&empty);
            values(wanted, caseless) == values(now, caseless)
                && (!caseless || primary(wanted).is_none() || primary(wanted) == primary(now))
        }
        // Of a reference only its value is ours to say.
        (Value::Object(parts), Some(Value::Object(now))) => {
            parts.iter().all(|(part, value)| found(now, part) == Some(value))
        }
        (wanted, Some(now)) => wanted == now,
        (_, None) => false,
    }
}

/// The values of a multi-valued attribute, in no order.
fn values(elements: &[Value], caseless: bool) -> BTreeSet<String> {
    let text = |element: &Value| {
        let value = element.get("value").unwrap_or(element);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if caseless { text.to_lowercase() } else { text }
    };
    elements.iter().map(text).collect()
}

fn primary(elements: &[Value]) -> Option<String> {
    let primary = elements.iter().find(|element| element["primary"] == Value::Bool(true))?;
    primary["value"].as_str().map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { unreachable!("{value}") };
        map
    }

    fn record() -> Map<String, Value> {
        map(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
            "id": "u-1", "meta": {"version": "W/\"1\""}, "groups": [],
            "externalId": "HR-1", "userName": "User-0001@example.com", "active": true,
            "name": {"givenName": "User", "familyName": "One", "formatted": "User One"},
            "emails": [{"value": "user-0001@example.com", "type": "work", "primary": true}],
            "roles": [{"value": "b"}, {"value": "a", "display": "A"}],
            ENTERPRISE: {"department": "Sales", "manager": {"value": "u-9", "$ref": "../Users/u-9"}},
        }))
    }

    fn changed(wanted: Value) -> Vec<(String, Value)> {
        differences(&map(wanted), &record()).into_iter().map(|change| (change.path, change.value)).collect()
    }

    #[test]
    fn only_what_the_row_names_and_what_differs_is_changed() {
        for (wanted, expected) in [
            (json!({}), vec![]),
            (json!({"schemas": [], "password": "Passw0rd"}), vec![]),
            (json!({"externalId": "HR-1", "active": true, "userName": "user-0001@EXAMPLE.com"}), vec![]),
            (json!({"title": "Agent"}), vec![("title", json!("Agent"))]),
            (
                json!({"name": {"givenName": "User", "familyName": "Two"}}),
                vec![("name.familyName", json!("Two"))],
            ),
            (json!({"roles": [{"value": "a"}, {"value": "b"}]}), vec![]),
            (
                json!({"roles": [{"value": "A"}, {"value": "b"}]}),
                vec![("roles", json!([{"value": "A"}, {"value": "b"}]))],
            ),
            (json!({"roles": []}), vec![("roles", json!([]))]),
            (json!({"entitlements": []}), vec![]),
            (json!({"emails": [{"value": "USER-0001@example.com", "primary": true}]}), vec![]),
            (json!({ENTERPRISE: {"department": "Sales", "manager": {"value": "u-9"}}}), vec![]),
            (
                json!({ENTERPRISE: {"department": "Support"}}),
                vec![(
                    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                    json!("Support"),
                )],
            ),
            (json!({"active": false}), vec![("active", json!(false))]),
        ] {
            let expected: Vec<(String, Value)> =
                expected.into_iter().map(|(path, value)| (path.to_owned(), value)).collect();
            assert_eq!(changed(wanted.clone()), expected, "{wanted}");
        }
    }

    #[test]
    fn another_primary_address_is_a_difference() {
        let both =
            json!({"emails": [{"value": "a@example.com"}, {"value": "b@example.com", "primary": true}]});
        let now =
            json!({"emails": [{"value": "a@example.com", "primary": true}, {"value": "b@example.com"}]});
        assert_eq!(differences(&map(both.clone()), &map(now)).len(), 1);
        assert_eq!(differences(&map(both.clone()), &map(both)), vec![]);
    }

    #[test]
    fn a_record_that_is_written_whole_loses_nothing_that_the_row_does_not_name() {
        let wanted = map(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:x"], "title": "Agent", "password": "Passw0rd",
            "name": {"familyName": "Two"},
        }));
        let whole = laid_over(&record(), &wanted);
        assert_eq!(whole["name"], json!({"givenName": "User", "familyName": "Two", "formatted": "User One"}));
        assert_eq!(whole["schemas"].as_array().map(Vec::len), Some(3));
        assert_eq!((&whole["title"], &whole["externalId"]), (&json!("Agent"), &json!("HR-1")));
        for absent in ["meta", "groups", "password"] {
            assert!(!whole.contains_key(absent), "{absent}");
        }
    }
}
