//! `attributes` and `excludedAttributes` (RFC 7644 §3.9): which parts of a resource are shown. Pure.

use serde_json::{Map, Value};

use super::path::ENTERPRISE;

/// Shown whatever is asked for (RFC 7643 §7, "returned": always).
const ALWAYS: [&str; 2] = ["id", "schemas"];

/// Which attributes a client wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Projection {
    /// All of them.
    #[default]
    All,
    /// These, `name` or `name.sub`.
    Only(Vec<String>),
    /// All but these.
    Without(Vec<String>),
}

impl Projection {
    /// From the two lists of a request; `attributes` wins.
    pub(super) fn new(attributes: Vec<String>, excluded: Vec<String>) -> Self {
        match (attributes.is_empty(), excluded.is_empty()) {
            (false, _) => Self::Only(attributes),
            (true, false) => Self::Without(excluded),
            (true, true) => Self::All,
        }
    }

    /// The part of the resource that is shown.
    pub(super) fn show(&self, resource: Value) -> Value {
        let Value::Object(mut object) = resource else { return resource };
        match self {
            Self::All => {}
            Self::Only(names) => keep(&mut object, names),
            Self::Without(names) => names.iter().for_each(|name| leave_out(&mut object, name)),
        }
        Value::Object(object)
    }
}

fn keep(object: &mut Map<String, Value>, names: &[String]) {
    let wanted = |key: &str| {
        names
            .iter()
            .map(|name| split(name))
            .filter(|(name, _)| name.eq_ignore_ascii_case(key))
            .collect::<Vec<_>>()
    };
    object.retain(|key, value| {
        let wanted = wanted(key);
        if !wanted.is_empty() && wanted.iter().all(|(_, sub)| sub.is_some()) {
            each_object(value, &|part| {
                part.retain(|key, _| {
                    wanted.iter().any(|(_, sub)| sub.is_some_and(|s| s.eq_ignore_ascii_case(key)))
                });
            });
        }
        !wanted.is_empty() || ALWAYS.contains(&key.as_str())
    });
}

fn leave_out(object: &mut Map<String, Value>, name: &str) {
    let (name, sub) = split(name);
    if ALWAYS.contains(&name) {
        return;
    }
    match sub {
        None => object.retain(|key, _| !key.eq_ignore_ascii_case(name)),
        Some(sub) => {
            for (_, value) in object.iter_mut().filter(|(key, _)| key.eq_ignore_ascii_case(name)) {
                each_object(value, &|part| part.retain(|key, _| !key.eq_ignore_ascii_case(sub)));
            }
        }
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    if let Some(rest) = name.strip_prefix(ENTERPRISE) {
        return (ENTERPRISE, rest.strip_prefix(':').and_then(|sub| sub.split('.').next()));
    }
    // A URN has dots in its version, and its attribute behind the last colon.
    let name = if name.starts_with("urn:") { name.rsplit(':').next().unwrap_or(name) } else { name };
    name.split_once('.').map_or((name, None), |(name, sub)| (name, Some(sub)))
}

fn each_object(value: &mut Value, change: &dyn Fn(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => change(object),
        Value::Array(list) => list.iter_mut().filter_map(Value::as_object_mut).for_each(change),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_of_a_resource() {
        let user = json!({
            "schemas": ["s"], "id": "1", "userName": "u", "name": {"givenName": "g", "familyName": "f"},
            "teams": [{"value": "t", "$ref": "r"}],
        });
        let mut extended = user.clone();
        extended[ENTERPRISE] = json!({"department": "d", "division": "v"});
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (attributes, excluded, shown) in [
            (&[][..], &[][..], user.clone()),
            (&["USERNAME"], &[], json!({"schemas": ["s"], "id": "1", "userName": "u"})),
            (&["name.givenName"], &[], json!({"schemas": ["s"], "id": "1", "name": {"givenName": "g"}})),
            (&["teams.value"], &[], json!({"schemas": ["s"], "id": "1", "teams": [{"value": "t"}]})),
            (
                &["urn:ietf:params:scim:schemas:core:2.0:User:userName"],
                &[],
                json!({"schemas": ["s"], "id": "1", "userName": "u"}),
            ),
            (&[], &["name", "teams", "id"], json!({"schemas": ["s"], "id": "1", "userName": "u"})),
            (
                &[],
                &["name.givenName", "teams", "userName"],
                json!({"schemas": ["s"], "id": "1", "name": {"familyName": "f"}}),
            ),
        ] {
            let projection = Projection::new(list(attributes), list(excluded));
            assert_eq!(projection.show(user.clone()), shown, "{attributes:?} {excluded:?}");
        }
        let department = Projection::new(list(&[&format!("{ENTERPRISE}:department")]), Vec::new());
        let shown = json!({"schemas": ["s"], "id": "1", ENTERPRISE: {"department": "d"}});
        assert_eq!(department.show(extended.clone()), shown);
        assert_eq!(Projection::new(Vec::new(), list(&[ENTERPRISE])).show(extended), user);
    }
}
