//! A JSON line of attributes: `{"id": …, "attributes": {…}}`.

use serde_json::Value;

use super::key::Named;
use super::{Draft, judge_key};
use crate::model::quoted;
use crate::source::input::{Input, Lines, Trouble, object};

/// The next row; null removes.
pub(super) fn next(lines: &mut Lines<Input>) -> Result<Option<Draft>, Trouble> {
    while let Some(line) = lines.next()? {
        return Ok(Some(match line.text {
            Ok(text) if text.trim().is_empty() => continue,
            Ok(text) => read(line.number, &text),
            Err(reason) => Draft::broken(line.number, reason),
        }));
    }
    Ok(None)
}

fn read(line: u64, text: &str) -> Draft {
    let members = match object(text) {
        Ok(members) => members,
        Err(reason) => return Draft::broken(line, reason),
    };
    let mut draft = Draft::at(line);
    let (mut names, mut attributes) = (0, false);
    for (member, value) in members {
        match (Named::by(&member), value) {
            (Some(by), value) => {
                names += 1;
                match value {
                    Value::String(text) => draft.user(by, &text),
                    Value::Number(number) if number.is_i64() || number.is_u64() => {
                        draft.user(by, &number.to_string());
                    }
                    _ => draft.fault(by.column(), "is no text"),
                }
            }
            (None, Value::Object(keys)) if member == "attributes" => {
                attributes = true;
                for (key, value) in keys {
                    match (judge_key(&key), value) {
                        (Err(reason), _) => draft.fault("attributes", reason),
                        (Ok(()), Value::Null) => {
                            draft.remove.insert(key);
                        }
                        (Ok(()), value) => draft.set(&key, value),
                    }
                }
            }
            (None, _) if member == "attributes" => {
                attributes = true;
                draft.fault("attributes", "is no object: write {\"KEY\": VALUE, …}");
            }
            (None, _) => {
                draft.fault(&quoted(&member), "is not known: attributes stand within \"attributes\": {…}");
            }
        }
    }
    if names != 1 {
        draft.fault("row", "says not once whose attributes they are: write one of id, userName, externalId");
    }
    if !attributes {
        draft.fault("attributes", "is missing: write \"attributes\": {\"KEY\": VALUE, …}");
    }
    draft
}
