//! The configuration as it is in effect: every key with its value and where that came from.
//!
//! A secret is shown as the place that it comes from, never as its value; so the TOML is itself a valid configuration.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::tree::Origin;

/// Every key, its value in effect, its origin.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    path: Vec<String>,
    value: Value,
    origin: Origin,
    in_force: bool,
}

/// Where the comment with the origin begins.
const COMMENT_COLUMN: usize = 44;

impl Effective {
    pub(super) fn push(&mut self, path: Vec<String>, value: Value, origin: Origin, in_force: bool) {
        self.entries.push(Entry { path, value, origin, in_force });
    }

    /// As TOML, each line with its origin as a comment.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut sections: Vec<&[String]> = vec![&[]];
        for entry in &self.entries {
            if !sections.contains(&entry.section()) {
                sections.push(entry.section());
            }
        }
        for section in sections {
            let mut entries = self.entries.iter().filter(|entry| entry.section() == section).peekable();
            if entries.peek().is_some() && !section.is_empty() {
                let gap = if out.is_empty() { "" } else { "\n" };
                let _ = writeln!(out, "{gap}[{}]", dotted(section));
            }
            for entry in entries {
                let line = format!("{} = {}", dotted(&entry.path[section.len()..]), inline(&entry.value));
                let _ = writeln!(out, "{line:COMMENT_COLUMN$} # {}", entry.comment());
            }
        }
        out
    }

    /// As JSON: `config` is the tree of values, `origins` says for each dotted key where its value came from.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut config = Value::Object(Map::new());
        let mut origins = Map::new();
        for entry in &self.entries {
            let mut at = &mut config;
            for key in &entry.path {
                at = &mut at[key.as_str()];
            }
            *at = entry.value.clone();
            origins.insert(dotted(&entry.path), json!(entry.comment()));
        }
        json!({ "config": config, "origins": origins })
    }
}

impl Entry {
    fn section(&self) -> &[String] {
        &self.path[..self.path.len().saturating_sub(1)]
    }

    fn comment(&self) -> String {
        let note = if self.in_force { "" } else { "; not in force in this version" };
        format!("{}{note}", self.origin)
    }
}

/// A key in full, as TOML writes it: `tenants.acme.mapping."HR.ENGINEER"`.
pub(super) fn dotted(path: &[String]) -> String {
    let bare =
        |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let key = |key: &String| if bare(key) { key.clone() } else { text(key) };
    path.iter().map(key).collect::<Vec<_>>().join(".")
}

fn text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A path that means the same wherever it is read.
pub(super) fn absolute(path: &Path) -> Value {
    json!(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy())
}

/// A value on one line. TOML has no null, and nothing here is null.
fn inline(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let pair = |(key, value): (&String, &Value)| {
                format!("{} = {}", dotted(std::slice::from_ref(key)), inline(value))
            };
            format!("{{ {} }}", table.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
