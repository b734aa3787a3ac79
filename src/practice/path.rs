//! The path of a PATCH operation (RFC 7644 §3.5.2, figure 7). Pure.
//!
//! `teams`, `name.familyName`, `emails[type eq "work"].value`, the documents' `customAttributes["key"]`,
//! and any of them behind the URN of a schema.

use super::answer::Refusal;
use super::filter::{Filter, quoted};

/// The enterprise extension (RFC 7643 §4.3), whose attributes lie in an object under this name.
pub(super) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Core schemas, whose URN before an attribute means nothing more than the attribute.
const CORE: [&str; 2] =
    ["urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:core:2.0:Group"];

/// Where an operation points.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    /// The attribute at the top of the resource.
    pub(super) attribute: String,
    /// What stands in square brackets.
    pub(super) selector: Option<Selector>,
    /// What follows the dot.
    pub(super) sub: Option<String>,
}

/// What stands in square brackets.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Selector {
    /// The key of a map, as in `customAttributes["department"]`.
    Key(String),
    /// The elements of a list.
    Where(Filter),
}

impl Path {
    /// Reads a path.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim();
        if text == ENTERPRISE {
            return Ok(Self { attribute: text.to_owned(), selector: None, sub: None });
        }
        if let Some(sub) = text.strip_prefix(ENTERPRISE).and_then(|rest| rest.strip_prefix(':')) {
            let attribute = ENTERPRISE.to_owned();
            return Ok(Self { attribute, selector: None, sub: Some(name(sub)?) });
        }
        let core = CORE.iter().find_map(|urn| text.strip_prefix(urn)?.strip_prefix(':'));
        Self::relative(core.unwrap_or(text))
    }

    fn relative(text: &str) -> Result<Self, Refusal> {
        let Some((attribute, rest)) = text.split_once('[') else {
            let (attribute, sub) = text.split_once('.').map_or((text, None), |(a, sub)| (a, Some(sub)));
            return Ok(Self { attribute: name(attribute)?, selector: None, sub: sub.map(name).transpose()? });
        };
        let inside = inside(rest).ok_or_else(|| invalid(text))?;
        let selector = if inside.trim_start().starts_with('"') {
            let key = inside.trim();
            match quoted(key) {
                Ok((said, used)) if used == key.len() => Selector::Key(said),
                _ => return Err(invalid(text)),
            }
        } else {
            Selector::Where(Filter::parse(inside)?)
        };
        let sub = match &rest[inside.len() + 1..] {
            "" => None,
            tail => Some(name(tail.strip_prefix('.').ok_or_else(|| invalid(text))?)?),
        };
        Ok(Self { attribute: name(attribute)?, selector: Some(selector), sub })
    }
}

/// What stands before the closing bracket; brackets inside strings do not count.
fn inside(text: &str) -> Option<&str> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, ']') => return Some(&text[..at]),
            _ => {}
        }
    }
    None
}

/// An attribute name (RFC 7643 §2.1); that of a part, as in an extension's `manager.value`, keeps its dot.
fn name(text: &str) -> Result<String, Refusal> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_$.".contains(c);
    if text.split('.').any(str::is_empty) || !text.chars().all(legal) {
        return Err(invalid(text));
    }
    Ok(text.to_owned())
}

fn invalid(path: &str) -> Refusal {
    Refusal::bad("invalidPath", format!("Invalid SCIM patch operation: path '{path}' cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(attribute: &str, selector: Option<Selector>, sub: Option<&str>) -> Path {
        Path { attribute: attribute.to_owned(), selector, sub: sub.map(str::to_owned) }
    }

    #[test]
    fn the_forms_of_a_path() {
        let key = |key: &str| Some(Selector::Key(key.to_owned()));
        let filter = |text: &str| Some(Selector::Where(Filter::parse(text).expect(text)));
        for (text, expected) in [
            ("teams", path("teams", None, None)),
            ("name.familyName", path("name", None, Some("familyName"))),
            (r#"customAttributes["department"]"#, path("customAttributes", key("department"), None)),
            (r#"customAttributes["a\"b\\c]d"]"#, path("customAttributes", key(r#"a"b\c]d"#), None)),
            (r#"customAttributes["with.dot"]"#, path("customAttributes", key("with.dot"), None)),
            (r#"teams[value eq "t]1"]"#, path("teams", filter(r#"value eq "t]1""#), None)),
            (r#"emails[type eq "work"].value"#, path("emails", filter(r#"type eq "work""#), Some("value"))),
            ("urn:ietf:params:scim:schemas:core:2.0:User:userName", path("userName", None, None)),
            (
                "urn:ietf:params:scim:schemas:core:2.0:User:name.familyName",
                path("name", None, Some("familyName")),
            ),
            (ENTERPRISE, path(ENTERPRISE, None, None)),
            (&format!("{ENTERPRISE}:department"), path(ENTERPRISE, None, Some("department"))),
            (&format!("{ENTERPRISE}:manager.value"), path(ENTERPRISE, None, Some("manager.value"))),
        ] {
            assert_eq!(Path::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "a b",
            "teams[",
            r#"customAttributes["a]"#,
            r#"a["b"x]"#,
            r#"a["b"]c"#,
            "a.",
            "a..b",
            "teams[value]",
        ] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
