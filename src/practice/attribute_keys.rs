//! Custom attributes that the tenant knows: what a body or a PATCH says about another is refused. Pure.
//!
//! Without a list of keys every key is known.

use serde_json::{Map, Value};

use super::answer::Refusal;
use super::path::{Path, Selector};
use super::record::CUSTOM;

/// Checks the body of a POST or PUT.
pub(super) fn check_body(known: &[String], body: &Map<String, Value>) -> Result<(), Refusal> {
    body.get(CUSTOM).map_or(Ok(()), |values| check_value(known, values))
}

/// Checks a PATCH (RFC 7644 §3.5.2); what cannot be read is left to whoever applies it.
pub(super) fn check_patch(known: &[String], request: &Map<String, Value>) -> Result<(), Refusal> {
    for operation in request.get("Operations").and_then(Value::as_array).into_iter().flatten() {
        let value = operation.get("value").unwrap_or(&Value::Null);
        if let Some(path) = operation.get("path") {
            check_path(known, path.as_str().unwrap_or_default(), value)?;
        } else {
            let mut parts = value.as_object().into_iter().flatten();
            parts.try_for_each(|(path, value)| check_path(known, path, value))?;
        }
    }
    Ok(())
}

fn check_path(known: &[String], text: &str, value: &Value) -> Result<(), Refusal> {
    let Ok(path) = Path::parse(text) else { return Ok(()) };
    if !path.attribute.eq_ignore_ascii_case(CUSTOM) {
        return Ok(());
    }
    match (&path.selector, &path.sub) {
        (Some(Selector::Key(key)), _) => check_key(known, key, text),
        (Some(Selector::Where(_)), _) => Ok(()),
        (None, Some(sub)) => check_key(known, sub, text),
        (None, None) => check_value(known, value),
    }
}

fn check_value(known: &[String], values: &Value) -> Result<(), Refusal> {
    let mut keys = values.as_object().into_iter().flat_map(Map::keys);
    keys.try_for_each(|key| check_key(known, key, &format!("{CUSTOM}[{}]", Value::from(key.as_str()))))
}

fn check_key(known: &[String], key: &str, path: &str) -> Result<(), Refusal> {
    if known.is_empty() || known.iter().any(|known| known == key) {
        return Ok(());
    }
    Err(Refusal::no_such_path(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_keys_of_the_list_are_known() {
        let known = ["dept".to_owned(), r#"a"b"#.to_owned()];
        for (operation, unknown) in [
            (json!({"op": "replace", "path": r#"customAttributes["dept"]"#, "value": "x"}), None),
            (json!({"op": "remove", "path": r#"customAttributes["a\"b"]"#}), None),
            (
                json!({"op": "replace", "path": r#"customAttributes["Dept"]"#}),
                Some(r#"customAttributes["Dept"]"#),
            ),
            (json!({"op": "remove", "path": "customattributes.x"}), Some("customattributes.x")),
            (
                json!({"op": "add", "path": "customAttributes", "value": {"dept": "x", "c\"d": "y"}}),
                Some(r#"customAttributes["c\"d"]"#),
            ),
            (
                json!({"op": "add", "value": {"title": "t", "customAttributes": {"z": "y"}}}),
                Some(r#"customAttributes["z"]"#),
            ),
            (json!({"op": "add", "value": {"title": "t", "customAttributes": {"dept": "y"}}}), None),
            (json!({"op": "add", "path": "title", "value": {"z": 1}}), None),
            (json!({"op": "add", "path": "customAttributes[", "value": 1}), None),
        ] {
            let request = json!({ "Operations": [operation] });
            let request = request.as_object().expect("an object");
            let expected = unknown.map_or(Ok(()), |path| Err(Refusal::no_such_path(path)));
            assert_eq!(check_patch(&known, request), expected, "{request:?}");
            assert_eq!(check_patch(&[], request), Ok(()), "{request:?}");
        }
        let body = json!({"customAttributes": {"x": 1}});
        assert!(check_body(&known, body.as_object().expect("an object")).is_err());
        assert_eq!(check_body(&known, &Map::new()), Ok(()));
    }
}
