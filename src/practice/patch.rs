//! PATCH (RFC 7644 §3.5.2): a resource and a request in, the changed resource out. Pure.
//!
//! Beyond the RFC it takes operation names in any case, `remove` with the values to take out of a
//! list, and dotted or URN names as keys of an operation without a path: clients send all of them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::answer::Refusal;
use super::filter::Filter;
use super::path::{Path, Selector};
use super::record::Kind;
use super::schema;

const REQUEST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

type Object = Map<String, Value>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

/// Applies a whole request, or nothing of it.
pub(super) fn apply(kind: Kind, mut resource: Object, request: &Value) -> Result<Object, Refusal> {
    let schemas = request["schemas"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !schemas.iter().any(|schema| schema == REQUEST_SCHEMA) {
        return Err(Refusal::bad("invalidSyntax", format!("schemas must contain {REQUEST_SCHEMA}")));
    }
    let operations = request["Operations"].as_array().filter(|list| !list.is_empty());
    for operation in operations.ok_or_else(|| Refusal::bad("invalidSyntax", "Operations are missing"))? {
        step(kind, &mut resource, operation)?;
    }
    Ok(resource)
}

fn step(kind: Kind, resource: &mut Object, operation: &Value) -> Result<(), Refusal> {
    let verb = match operation["op"].as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("add") => Verb::Add,
        Some("replace") => Verb::Replace,
        Some("remove") => Verb::Remove,
        _ => return Err(Refusal::bad("invalidSyntax", "op must be add, replace or remove")),
    };
    let value = operation.get("value");
    match (operation.get("path"), verb) {
        (Some(Value::String(path)), _) => at(kind, resource, verb, path, value),
        (Some(_), _) => Err(Refusal::bad("invalidPath", "path must be a text")),
        (None, Verb::Remove) => Err(Refusal::bad("noTarget", "remove needs a path")),
        (None, _) => {
            let Some(Value::Object(parts)) = value else {
                return Err(bad_value("an operation without a path needs an object as its value"));
            };
            parts.iter().try_for_each(|(path, value)| at(kind, resource, verb, path, Some(value)))
        }
    }
}

fn at(
    kind: Kind,
    resource: &mut Object,
    verb: Verb,
    path: &str,
    value: Option<&Value>,
) -> Result<(), Refusal> {
    let path = Path::parse(path)?;
    let info = schema::info(kind, &path.attribute);
    let name = info.map_or(path.attribute.as_str(), |info| info.name.as_str());
    if matches!(name, "id" | "meta") {
        return Err(Refusal::bad("mutability", format!("{name} is read-only")));
    }
    if verb != Verb::Remove && value.is_none() {
        return Err(bad_value("add and replace need a value"));
    }
    let target = Target { name, multi_valued: info.is_some_and(|info| info.multi_valued) };
    match (path.selector, path.sub) {
        (None, None) => target.whole(resource, verb, value),
        (None, Some(sub)) => target.part(resource, verb, &steps(&sub), value),
        (Some(Selector::Key(key)), None) => target.part(resource, verb, &[&key], value),
        (Some(Selector::Key(_)), Some(_)) => Err(Refusal::bad("invalidPath", "a key has no sub-attribute")),
        (Some(Selector::Where(filter)), sub) => {
            target.elements(resource, verb, &filter, sub.as_deref(), value)
        }
    }
}

/// An attribute at the top of a resource.
struct Target<'a> {
    name: &'a str,
    multi_valued: bool,
}

impl Target<'_> {
    fn whole(&self, resource: &mut Object, verb: Verb, value: Option<&Value>) -> Result<(), Refusal> {
        let value = value.unwrap_or(&Value::Null);
        match (verb, resource.get_mut(self.name)) {
            (Verb::Remove, Some(Value::Array(list))) if !value.is_null() => {
                let gone = as_list(value);
                list.retain(|item| !gone.iter().any(|other| same(item, other)));
            }
            (Verb::Remove, _) => {
                resource.remove(self.name);
            }
            (Verb::Add, _) if value.is_null() => return Err(bad_value("add needs a value")),
            (Verb::Add, Some(Value::Array(list))) => join(list, value),
            // "a set of sub-attributes": those that are not named stay (RFC 7644 §3.5.2.3).
            (Verb::Add | Verb::Replace, Some(Value::Object(old))) if value.is_object() => merge(old, value),
            (Verb::Add | Verb::Replace, _) => self.set(resource, value),
        }
        self.tidy(resource);
        Ok(())
    }

    fn set(&self, resource: &mut Object, value: &Value) {
        let value = match value {
            Value::Array(_) | Value::Null => value.clone(),
            value if self.multi_valued => Value::Array(vec![value.clone()]),
            value => value.clone(),
        };
        resource.insert(self.name.to_owned(), value);
    }

    /// What lies at the end of `way` in an object, or in every object of a list.
    fn part(
        &self,
        resource: &mut Object,
        verb: Verb,
        way: &[&str],
        value: Option<&Value>,
    ) -> Result<(), Refusal> {
        if verb == Verb::Remove && !resource.contains_key(self.name) {
            return Ok(());
        }
        match resource.entry(self.name).or_insert_with(|| Value::Object(Object::new())) {
            Value::Object(object) => put(object, verb, way, value)?,
            Value::Array(list) => {
                list.iter_mut()
                    .filter_map(Value::as_object_mut)
                    .try_for_each(|o| put(o, verb, way, value))?;
            }
            _ => return Err(Refusal::bad("invalidPath", format!("{} has no parts", self.name))),
        }
        self.tidy(resource);
        Ok(())
    }

    fn elements(
        &self,
        resource: &mut Object,
        verb: Verb,
        filter: &Filter,
        sub: Option<&str>,
        value: Option<&Value>,
    ) -> Result<(), Refusal> {
        let no_target = || Refusal::bad("noTarget", format!("no element of {} matches", self.name));
        let Some(Value::Array(list)) = resource.get_mut(self.name) else { return Err(no_target()) };
        let hit = |item: &Value| filter.matches(&|name| item.get(name).map(Cow::Borrowed));
        if !list.iter().any(hit) {
            return Err(no_target());
        }
        match (verb, sub) {
            (Verb::Remove, None) => list.retain(|item| !hit(item)),
            (_, Some(sub)) => list
                .iter_mut()
                .filter(|item| hit(item))
                .filter_map(Value::as_object_mut)
                .try_for_each(|object| put(object, verb, &steps(sub), value))?,
            (_, None) => {
                let Some(value @ Value::Object(_)) = value else {
                    return Err(bad_value("an element of a list is an object"));
                };
                for item in list.iter_mut().filter(|item| hit(item)) {
                    match (verb, item.as_object_mut()) {
                        (Verb::Add, Some(old)) => merge(old, value),
                        _ => *item = value.clone(),
                    }
                }
            }
        }
        self.tidy(resource);
        Ok(())
    }

    /// An attribute without a value is not there (RFC 7643 §2.5).
    fn tidy(&self, resource: &mut Object) {
        let empty = match resource.get(self.name) {
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(object)) => object.is_empty(),
            Some(Value::Null) => true,
            _ => false,
        };
        if empty {
            resource.remove(self.name);
        }
    }
}

/// The names on the way down to a part: `manager`, then `value`.
fn steps(sub: &str) -> Vec<&str> {
    sub.split('.').collect()
}

/// Sets or takes away what lies at the end of `way`; what is empty after that goes too.
fn put(object: &mut Object, verb: Verb, way: &[&str], value: Option<&Value>) -> Result<(), Refusal> {
    match way {
        [] => {}
        [key] => set(object, verb, key, value),
        [first, ..] if verb == Verb::Remove && !object.contains_key(*first) => {}
        [first, rest @ ..] => {
            let inner = object.entry(*first).or_insert_with(|| Value::Object(Object::new()));
            let Value::Object(inner) = inner else {
                return Err(Refusal::bad("invalidPath", format!("{first} has no parts")));
            };
            put(inner, verb, rest, value)?;
            if inner.is_empty() {
                object.remove(*first);
            }
        }
    }
    Ok(())
}

fn set(object: &mut Object, verb: Verb, key: &str, value: Option<&Value>) {
    match value {
        Some(value) if verb != Verb::Remove && !value.is_null() => {
            object.insert(key.to_owned(), value.clone());
        }
        _ => {
            object.remove(key);
        }
    }
}

fn merge(old: &mut Object, value: &Value) {
    for (key, value) in value.as_object().into_iter().flatten() {
        set(old, Verb::Replace, key, Some(value));
    }
}

/// Adds what is not there yet; what is there already stays as it is (RFC 7644 §3.5.2.1).
fn join(list: &mut Vec<Value>, value: &Value) {
    for item in as_list(value) {
        if !list.iter().any(|old| same(old, item)) {
            list.push(item.clone());
        }
    }
}

fn as_list(value: &Value) -> &[Value] {
    value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice)
}

/// Whether two elements of a list are one: equal, or of equal `value` and `type`.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (a.get("value").is_some() && a.get("value") == b.get("value") && a.get("type") == b.get("type"))
}

fn bad_value(why: &str) -> Refusal {
    Refusal::bad("invalidValue", why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patched(operations: &Value) -> Result<Value, Refusal> {
        let resource = json!({
            "userName": "u", "title": "old", "name": {"givenName": "User", "familyName": "1"},
            "teams": [{"value": "t1"}, {"value": "t2"}],
            "emails": [{"value": "a@x.example", "type": "work"}, {"value": "b@x.example", "type": "home"}],
            "customAttributes": {"a": "1"},
        });
        let request = json!({"schemas": [REQUEST_SCHEMA], "Operations": operations});
        let resource = serde_json::from_value(resource).expect("an object");
        apply(Kind::User, resource, &request).map(Value::Object)
    }

    #[test]
    fn one_operation_and_what_it_leaves() {
        let teams = |ids: &[&str]| ids.iter().map(|id| json!({"value": id})).collect::<Value>();
        for (operation, pointer, left) in [
            (json!({"op": "replace", "path": "teams", "value": [{"value": "t3"}]}), "/teams", teams(&["t3"])),
            (json!({"op": "replace", "path": "teams", "value": []}), "/teams", Value::Null),
            (json!({"op": "replace", "path": "teams", "value": {"value": "t3"}}), "/teams", teams(&["t3"])),
            (
                json!({"op": "Add", "path": "teams", "value": [{"value": "t2"}, {"value": "t3"}]}),
                "/teams",
                teams(&["t1", "t2", "t3"]),
            ),
            (json!({"op": "remove", "path": "teams"}), "/teams", Value::Null),
            (json!({"op": "remove", "path": "teams", "value": [{"value": "t1"}]}), "/teams", teams(&["t2"])),
            (json!({"op": "remove", "path": "teams[value eq \"t2\"]"}), "/teams", teams(&["t1"])),
            (
                json!({"op": "add", "path": "roles", "value": {"value": "R"}}),
                "/roles",
                json!([{"value": "R"}]),
            ),
            (json!({"op": "replace", "path": "active", "value": false}), "/active", json!(false)),
            (json!({"op": "replace", "path": "USERNAME", "value": "v"}), "/userName", json!("v")),
            (
                json!({"op": "replace", "path": "name.familyName", "value": "2"}),
                "/name/familyName",
                json!("2"),
            ),
            (
                json!({"op": "replace", "path": "name", "value": {"familyName": "2"}}),
                "/name/givenName",
                json!("User"),
            ),
            (json!({"op": "remove", "path": "title"}), "/title", Value::Null),
            (json!({"op": "replace", "path": "title", "value": null}), "/title", Value::Null),
            (
                json!({"op": "replace", "path": "emails[type eq \"work\"].value", "value": "c@x.example"}),
                "/emails/0/value",
                json!("c@x.example"),
            ),
            (
                json!({"op": "replace", "path": "emails[type eq \"home\"]", "value": {"value": "c@x.example"}}),
                "/emails/1",
                json!({"value": "c@x.example"}),
            ),
            (
                json!({"op": "replace", "path": r#"customAttributes["b"]"#, "value": "2"}),
                "/customAttributes",
                json!({"a": "1", "b": "2"}),
            ),
            (
                json!({"op": "add", "path": r#"customAttributes["q\"u\\o"]"#, "value": "2"}),
                "/customAttributes",
                json!({"a": "1", r#"q"u\o"#: "2"}),
            ),
            (json!({"op": "remove", "path": r#"customAttributes["a"]"#}), "/customAttributes", Value::Null),
            (
                json!({"op": "remove", "path": r#"customAttributes["z"]"#}),
                "/customAttributes",
                json!({"a": "1"}),
            ),
            (
                json!({"op": "add", "value": {"title": "new", "teams": [{"value": "t1"}]}}),
                "/title",
                json!("new"),
            ),
            (
                json!({"op": "add", "value": {"title": "new", "teams": [{"value": "t1"}]}}),
                "/teams",
                teams(&["t1", "t2"]),
            ),
            (json!({"op": "replace", "value": {"name.familyName": "3"}}), "/name/familyName", json!("3")),
            (
                json!({"op": "add", "path": format!("{}:department", super::super::path::ENTERPRISE), "value": "d"}),
                "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/department",
                json!("d"),
            ),
            (
                json!({"op": "replace", "path": format!("{}:manager.value", super::super::path::ENTERPRISE), "value": "m"}),
                "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/manager",
                json!({"value": "m"}),
            ),
        ] {
            let after = patched(&json!([operation])).unwrap_or_else(|e| panic!("{operation}: {e}"));
            assert_eq!(after.pointer(pointer).cloned().unwrap_or_default(), left, "{operation}");
        }
    }

    #[test]
    fn operations_are_applied_in_order() {
        let after = patched(&json!([
            {"op": "remove", "path": "teams"},
            {"op": "add", "path": "teams", "value": [{"value": "t9"}]},
        ]));
        assert_eq!(after.expect("legal")["teams"], json!([{"value": "t9"}]));
    }

    #[test]
    fn what_is_wrong_is_refused_with_the_word_for_it() {
        for (operations, word) in [
            (json!([]), "invalidSyntax"),
            (json!([{"op": "move", "path": "teams"}]), "invalidSyntax"),
            (json!([{"op": "remove"}]), "noTarget"),
            (json!([{"op": "remove", "path": "teams[value eq \"t9\"]"}]), "noTarget"),
            (json!([{"op": "replace", "path": "roles[value eq \"R\"].value", "value": "S"}]), "noTarget"),
            (json!([{"op": "replace", "path": "id", "value": "1"}]), "mutability"),
            (json!([{"op": "add", "value": {"meta": {}}}]), "mutability"),
            (json!([{"op": "add", "path": "title"}]), "invalidValue"),
            (json!([{"op": "add", "value": "text"}]), "invalidValue"),
            (json!([{"op": "add", "path": "teams[", "value": 1}]), "invalidPath"),
            (json!([{"op": "add", "path": 1, "value": 1}]), "invalidPath"),
            (json!([{"op": "add", "path": "title.x", "value": 1}]), "invalidPath"),
            (json!([{"op": "add", "path": "name.givenName.x", "value": 1}]), "invalidPath"),
            (json!([{"op": "add", "path": "teams[value like 1]", "value": 1}]), "invalidFilter"),
        ] {
            let refusal = patched(&operations).expect_err(&operations.to_string());
            assert_eq!(refusal.scim_type, Some(word), "{operations}");
        }
        let no_schema = json!({"Operations": [{"op": "remove", "path": "title"}]});
        assert!(apply(Kind::User, Object::new(), &no_schema).is_err());
    }
}
