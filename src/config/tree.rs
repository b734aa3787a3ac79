//! The raw configuration: a tree of values, each of which knows where it came from.
//!
//! It judges nothing but what a later file puts over an earlier one. It has no `Debug`: it may hold a secret
//! that somebody wrote into a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Value, ValueKind};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody set it.
    Default,
    /// It follows from another key of the same table.
    From(&'static str),
    /// A file.
    File(PathBuf),
    /// A variable `ROSTERD__…`.
    Variable(String),
    /// A variable that `{ env = "…" }` names, and where that stands.
    Named { variable: String, by: Box<Origin> },
}

impl Origin {
    /// Values from the environment are text, whatever they mean.
    pub(super) const fn is_environment(&self) -> bool {
        matches!(self, Self::Variable(_) | Self::Named { .. })
    }

    /// The place of a relative path: beside the file that names it, otherwise in the working directory.
    pub(super) fn locate(&self, path: &str) -> PathBuf {
        match self {
            Self::File(file) => file.parent().unwrap_or(Path::new("")).join(path),
            _ => PathBuf::from(path),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::From(key) => write!(f, "from {key}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Named { variable, by } => write!(f, "{variable}, named in {by}"),
        }
    }
}

/// A value and its origin.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
}

/// What TOML can say.
#[derive(Clone)]
pub(super) enum Kind {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(Table),
}

/// Keys in their order, so that faults come in the same order each time.
pub(super) type Table = BTreeMap<String, Node>;

/// The forms in which a value stands elsewhere.
pub(super) const REFERENCES: [&str; 3] = ["env", "file", "credential"];

impl Kind {
    /// What a person would call it.
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// `{ env = "NAME" }` and its kin as (`env`, NAME).
pub(super) fn reference(table: &Table) -> Option<(&str, &str)> {
    let (form, node) = table.first_key_value().filter(|_| table.len() == 1)?;
    match &node.kind {
        Kind::Text(name) if REFERENCES.contains(&form.as_str()) => Some((form, name)),
        _ => None,
    }
}

/// Gives what the TOML reader found an origin and an order.
pub(super) fn adopt(values: impl IntoIterator<Item = (String, Value)>, origin: &Origin) -> Table {
    let adopted = values.into_iter().filter_map(|(key, value)| Some((key, node(value.kind, origin)?)));
    adopted.collect()
}

/// `None` for a value that is none; TOML has no such thing.
fn node(kind: ValueKind, origin: &Origin) -> Option<Node> {
    let kind = match kind {
        ValueKind::Nil => return None,
        ValueKind::Boolean(value) => Kind::Bool(value),
        ValueKind::I64(value) => Kind::Integer(value),
        ValueKind::Float(value) => Kind::Float(value),
        ValueKind::String(value) => Kind::Text(value),
        ValueKind::Table(table) => Kind::Table(adopt(table, origin)),
        ValueKind::Array(list) => {
            Kind::List(list.into_iter().filter_map(|value| node(value.kind, origin)).collect())
        }
        // TOML numbers never get here; should the reader change, the text is refused as the wrong type.
        wide @ (ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_)) => Kind::Text(wide.to_string()),
    };
    Some(Node { kind, origin: origin.clone() })
}

/// Puts `over` on top: tables melt into each other, everything else is replaced. A reference is one value, not a
/// table: `{ file }` over `{ env }` is `{ file }`.
pub(super) fn overlay(base: &mut Table, over: Table) {
    for (key, Node { kind, origin }) in over {
        match (base.get_mut(&key).map(|node| &mut node.kind), kind) {
            (Some(Kind::Table(below)), Kind::Table(table))
                if reference(below).is_none() && reference(&table).is_none() =>
            {
                overlay(below, table);
            }
            (_, kind) => {
                base.insert(key, Node { kind, origin });
            }
        }
    }
}
