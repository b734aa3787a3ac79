//! `key=value`, the same for every user. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{judge_key, judge_value};
use crate::model::{UserKey, WantedAttributes, quoted};

/// What attributes are to be, whoever has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments {
    pub(super) set: BTreeMap<String, Value>,
    pub(super) remove: BTreeSet<String>,
}

impl Assignments {
    /// Reads `key=value`, in which the value is text, or `remove_marker` for an attribute that is to go. The first `=`
    /// counts.
    ///
    /// # Errors
    /// With a reason for each that is wrong, or when there is none; no reason shows a value.
    pub fn parse(texts: &[String], remove_marker: &str) -> Result<Self, Vec<String>> {
        let (mut all, mut reasons) = (Self::default(), Vec::new());
        if texts.is_empty() {
            reasons.push("there is nothing to set: write KEY=VALUE".to_owned());
        }
        for (number, text) in (1..).zip(texts) {
            if let Err(reason) = all.add(text, remove_marker) {
                reasons.push(format!("assignment {number}: {reason}"));
            }
        }
        if reasons.is_empty() { Ok(all) } else { Err(reasons) }
    }

    fn add(&mut self, text: &str, remove_marker: &str) -> Result<(), String> {
        let (key, value) = text.split_once('=').ok_or("has no `=`: write KEY=VALUE")?;
        let (key, value) = (key.trim(), value.trim());
        judge_key(key).map_err(|reason| format!("{reason}: write KEY=VALUE"))?;
        if self.set.contains_key(key) || self.remove.contains(key) {
            return Err(format!("{} is there twice", quoted(key)));
        }
        if value.is_empty() {
            return Err(format!("{} has no value: to remove it, write '{key}={remove_marker}'", quoted(key)));
        }
        if value == remove_marker {
            self.remove.insert(key.to_owned());
            return Ok(());
        }
        let value = Value::from(value);
        judge_value(&value).map_err(|reason| format!("the value of {} {reason}", quoted(key)))?;
        self.set.insert(key.to_owned(), value);
        Ok(())
    }

    pub(super) fn of(&self, line: u64, user: UserKey) -> WantedAttributes {
        WantedAttributes { line, user, set: self.set.clone(), remove: self.remove.clone() }
    }
}
