//! Custom attributes of a user: what of them differs. Pure.

use serde_json::{Map, Value};

use crate::model::AttributesPayload;

/// What is left to do for a user who has the attributes `now`; `None` when nothing is.
#[must_use]
pub fn missing_attributes(wanted: AttributesPayload, now: &Map<String, Value>) -> Option<AttributesPayload> {
    let AttributesPayload { mut set, mut remove } = wanted;
    set.retain(|key, value| now.get(key) != Some(value));
    remove.retain(|key| now.contains_key(key));
    (!set.is_empty() || !remove.is_empty()).then_some(AttributesPayload { set, remove })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_left_to_do() {
        let Value::Object(now) = json!({"a": "1", "b": "2", "n": 3}) else { unreachable!() };
        let wanted = |set: &[(&str, Value)], remove: &[&str]| AttributesPayload {
            set: set.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            remove: remove.iter().map(|key| (*key).to_owned()).collect(),
        };
        for (asked, left) in [
            (wanted(&[("a", json!("1"))], &["c"]), None),
            (wanted(&[("a", json!("1")), ("b", json!("3"))], &[]), Some(wanted(&[("b", json!("3"))], &[]))),
            (wanted(&[("a", json!("1"))], &["b"]), Some(wanted(&[], &["b"]))),
            (wanted(&[("n", json!("3"))], &[]), Some(wanted(&[("n", json!("3"))], &[]))),
        ] {
            assert_eq!(missing_attributes(asked, &now), left);
        }
    }
}
