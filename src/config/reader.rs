//! Reads a table key by key: typed values out, every fault on record, and it goes on.
//!
//! A getter that finds a fault answers with the default, so that reading can go on; whoever asks for the result
//! looks at the faults first. A key that nobody took by [`Section::finish`] is unknown, and so a fault.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::effective::{Effective, dotted};
use super::fault::Fault;
use super::tree::{Kind, Node, Origin, Table, reference};
pub(super) use crate::model::{nearest, quoted};

/// A fault was found and is on record; there is nothing more to say about this key.
pub(super) struct Faulted;

/// What reading a key gave.
pub(super) type Read<T> = Result<T, Faulted>;

/// Why a value will not do, as the end of a sentence that begins with the value.
pub(super) type Judged<T> = Result<T, String>;

/// What is written down while the tables are read.
pub(super) struct Notes<'a> {
    pub(super) env: &'a BTreeMap<String, String>,
    log: RefCell<Log>,
}

/// The notes, once all is read.
#[derive(Default)]
pub(super) struct Log {
    pub(super) faults: Vec<Fault>,
    pub(super) effective: Effective,
    pub(super) not_in_force: Vec<String>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(env: &'a BTreeMap<String, String>, faults: Vec<Fault>) -> Self {
        Self { env, log: RefCell::new(Log { faults, ..Log::default() }) }
    }

    pub(super) fn into_log(self) -> Log {
        self.log.into_inner()
    }

    pub(super) fn fault(&self, path: &[String], origin: &Origin, reason: impl Into<String>) -> Faulted {
        let fault = Fault { key: dotted(path), origin: origin.to_string(), reason: reason.into() };
        self.log.borrow_mut().faults.push(fault);
        Faulted
    }

    /// Records a value in effect.
    pub(super) fn show(&self, path: Vec<String>, value: Value, origin: Origin, in_force: bool) {
        self.log.borrow_mut().effective.push(path, value, origin, in_force);
    }

    /// A variable that `{ env = "NAME" }` or a secret names.
    pub(super) fn variable(&self, name: &str) -> Judged<&'a str> {
        match self.env.get(name).map(String::as_str) {
            None => Err(format!("the environment variable {name} is not set")),
            Some("") => Err(format!("the environment variable {name} is empty")),
            Some(value) if value.contains('\u{fffd}') => {
                Err(format!("the environment variable {name} is not UTF-8"))
            }
            Some(value) => Ok(value),
        }
    }
}

/// One table and where it stands.
pub(super) struct Section<'a> {
    pub(super) notes: &'a Notes<'a>,
    path: Vec<String>,
    origin: Origin,
    table: Table,
    known: Vec<&'static str>,
    in_force: bool,
}

/// A value that is no reference any more.
pub(super) struct Raw {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
}

impl Raw {
    /// The text, or why it is none.
    pub(super) fn text(&self) -> Judged<&str> {
        match &self.kind {
            Kind::Text(text) => Ok(text),
            _ => Err("is not text: write it in quotes".to_owned()),
        }
    }

    /// How a fault calls the value. What came through `{ env }` is not quoted: it may be the wrong variable, and secret.
    fn subject(&self) -> String {
        match (&self.kind, &self.origin) {
            (_, Origin::Named { variable, .. }) => format!("the value of {variable}"),
            (Kind::Text(text), _) => quoted(text),
            (Kind::Integer(value), _) => value.to_string(),
            (Kind::Float(value), _) => value.to_string(),
            (Kind::Bool(value), _) => value.to_string(),
            (kind @ (Kind::List(_) | Kind::Table(_)), _) => kind.describe().to_owned(),
        }
    }
}

impl<'a> Section<'a> {
    pub(super) fn new(notes: &'a Notes<'a>, path: Vec<String>, origin: Origin, table: Table) -> Self {
        Self { notes, path, origin, table, known: Vec::new(), in_force: true }
    }

    /// The full path of one of its keys.
    pub(super) fn at(&self, key: &str) -> Vec<String> {
        self.path.iter().cloned().chain([key.to_owned()]).collect()
    }

    /// Records a fault of this table itself.
    pub(super) fn fault_here(&self, reason: impl Into<String>) -> Faulted {
        self.notes.fault(&self.path, &self.origin, reason)
    }

    /// Records a fault of one of its keys.
    pub(super) fn fault(&self, key: &str, origin: &Origin, reason: impl Into<String>) -> Faulted {
        self.notes.fault(&self.at(key), origin, reason)
    }

    /// Records that a key must be set, as a fault of this table.
    pub(super) fn missing(&self, key: &str, what: &str) -> Faulted {
        self.fault(key, &self.origin, format!("is missing: {what}"))
    }

    /// Records the value in effect.
    pub(super) fn show(&self, key: &str, value: Value, origin: Origin) {
        self.notes.show(self.at(key), value, origin, self.in_force);
    }

    /// Records that a key has its default.
    pub(super) fn show_default(&self, key: &str, value: Value) {
        self.show(key, value, Origin::Default);
    }

    /// A table within; empty when it is not set.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let path = self.at(key);
        let (origin, table) = match self.take_node(key) {
            Some(Node { kind: Kind::Table(table), origin }) => (origin, table),
            Some(Node { kind, origin }) => {
                let reason =
                    format!("is a table, and {} stands here: set the keys in it one by one", kind.describe());
                self.notes.fault(&path, &origin, reason);
                (origin, Table::new())
            }
            None => (self.origin.clone(), Table::new()),
        };
        Section::new(self.notes, path, origin, table)
    }

    /// A table within whose keys are valid but do nothing in this version; those that are set are noted.
    pub(super) fn section_without_effect(&mut self, key: &'static str) -> Section<'a> {
        let mut section = self.section(key);
        section.in_force = false;
        section
    }

    /// The tables within, whatever their names.
    pub(super) fn into_sections(self) -> impl Iterator<Item = (String, Section<'a>)> {
        let Self { notes, path, table, .. } = self;
        table.into_iter().filter_map(move |(name, Node { kind, origin })| {
            let path: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
            if let Kind::Table(table) = kind {
                return Some((name, Section::new(notes, path, origin, table)));
            }
            notes.fault(&path, &origin, format!("is a table, and {} stands here", kind.describe()));
            None
        })
    }

    /// The value as it stands, references and all.
    pub(super) fn take_node(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let node = self.table.remove(key)?;
        if !self.in_force {
            self.notes.log.borrow_mut().not_in_force.push(dotted(&self.at(key)));
        }
        Some(node)
    }

    /// The value of a key that is not named among those that are known.
    pub(super) fn remove(&mut self, key: &'static str) -> Option<Node> {
        self.table.remove(key)
    }

    /// The value with `{ env = "NAME" }` replaced by what the variable holds.
    fn take(&mut self, key: &'static str) -> Read<Option<Raw>> {
        let Some(node) = self.take_node(key) else { return Ok(None) };
        resolve(self.notes, node).map(Some).map_err(|(origin, reason)| self.fault(key, &origin, reason))
    }

    /// A value that has no default.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        judge: impl FnOnce(&Raw) -> Judged<T>,
        shown: impl FnOnce(&T) -> Value,
    ) -> Read<Option<T>> {
        let Some(raw) = self.take(key)? else { return Ok(None) };
        match judge(&raw) {
            Ok(value) => {
                self.show(key, shown(&value), raw.origin);
                Ok(Some(value))
            }
            Err(predicate) => Err(self.fault(key, &raw.origin, format!("{} {predicate}", raw.subject()))),
        }
    }

    /// Like [`Self::optional`], for a value that no fault may quote.
    pub(super) fn discreet<T>(
        &mut self,
        key: &'static str,
        judge: impl FnOnce(&str) -> Judged<T>,
        shown: impl FnOnce(&T) -> Value,
    ) -> Read<Option<T>> {
        let Some(raw) = self.take(key)? else { return Ok(None) };
        match raw.text().and_then(judge) {
            Ok(value) => {
                self.show(key, shown(&value), raw.origin);
                Ok(Some(value))
            }
            Err(predicate) => Err(self.fault(key, &raw.origin, format!("the value {predicate}"))),
        }
    }

    /// A value with a default.
    pub(super) fn or_default<T>(
        &mut self,
        key: &'static str,
        default: T,
        judge: impl FnOnce(&Raw) -> Judged<T>,
        shown: impl Fn(&T) -> Value,
    ) -> T {
        match self.optional(key, judge, &shown) {
            Ok(Some(value)) => value,
            Ok(None) => {
                self.show(key, shown(&default), Origin::Default);
                default
            }
            Err(Faulted) => default,
        }
    }

    /// Flags every key that nobody took.
    pub(super) fn finish(self) {
        for (key, node) in &self.table {
            let hint = nearest(key, &self.known).map_or_else(
                || format!("known here: {}", self.known.join(", ")),
                |known| format!("did you mean {known}?"),
            );
            self.fault(key, &node.origin, format!("is not a key that rosterd knows; {hint}"));
        }
    }
}

/// Follows `{ env = "NAME" }`; the other forms are for secrets.
pub(super) fn resolve(notes: &Notes<'_>, node: Node) -> Result<Raw, (Origin, String)> {
    let Node { kind, origin } = node;
    let Kind::Table(table) = &kind else { return Ok(Raw { kind, origin }) };
    match reference(table) {
        Some(("env", name)) => match notes.variable(name) {
            Ok(value) => {
                let origin = Origin::Named { variable: name.to_owned(), by: Box::new(origin) };
                Ok(Raw { kind: Kind::Text(value.to_owned()), origin })
            }
            Err(reason) => Err((origin, reason)),
        },
        Some((form, _)) => Err((
            origin,
            format!("{{ {form} }} is for secrets only: write the value, or {{ env = \"NAME\" }}"),
        )),
        None => Err((
            origin,
            "a table stands where a value belongs: write the value, or { env = \"NAME\" }".to_owned(),
        )),
    }
}
