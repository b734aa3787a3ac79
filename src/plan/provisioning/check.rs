//! A row of an HRIS export, checked: all of its faults at once.
//!
//! Text is trimmed, because exports pad their cells; only a password is taken to the letter. Text that is blank says
//! nothing, as an empty cell does: the attribute is left alone, and is missing where it is required. Whether `active` is
//! to be set on a user who is new is not decided here: a row without it does not name it.

use std::collections::BTreeSet;

use super::draft::Draft;
use crate::model::{FirstLines, RawRow, RawValue, RejectedRow, WantedUser};

/// What a row must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Paths of attributes that each row must name. `externalId` and `userName` always are among them.
    pub required: BTreeSet<String>,
    /// The names of the roles that there are; `None` when any will do.
    pub roles: Option<BTreeSet<String>>,
}

impl Default for Rules {
    /// Who a user is to HR and to the tenant, what he is called, and where he is reached; any role.
    fn default() -> Self {
        let required = ["externalId", "userName", "name.givenName", "emails"];
        Self { required: required.map(str::to_owned).into(), roles: None }
    }
}

/// Checks the rows of one file, in their order.
#[derive(Debug)]
pub struct Checker {
    rules: Rules,
    external_ids: FirstLines,
    user_names: FirstLines,
}

impl Checker {
    /// For a file of which no row has been read.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, external_ids: FirstLines::default(), user_names: FirstLines::default() }
    }

    /// The user whom a row asks for. A row that was rejected for another reason still has its `externalId` and
    /// `userName`: a later row with one of them contradicts it.
    ///
    /// # Errors
    /// With all that is wrong with the row. Personal values are masked; a password is not shown at all.
    pub fn check(&mut self, row: RawRow) -> Result<WantedUser, RejectedRow> {
        let line = row.line;
        let mut draft = Draft::default();
        for (path, value) in row.fields {
            draft.take(&path, value, self.rules.roles.as_ref());
        }
        let always = ["externalId", "userName"].into_iter();
        let required: BTreeSet<&str> = always.chain(self.rules.required.iter().map(String::as_str)).collect();
        for path in required {
            draft.require(path);
        }
        let first = draft.external_id().and_then(|id| self.external_ids.note(id, line));
        draft.refuse_double("externalId", first);
        let first = draft.user_name().and_then(|name| self.user_names.note(&name.to_lowercase(), line));
        draft.refuse_double("userName", first);
        draft.finish(line)
    }
}

/// The text of a value that may stand for one.
pub(super) fn is_blank(value: &RawValue) -> bool {
    match value {
        RawValue::Text(text) | RawValue::Json(serde_json::Value::String(text)) => text.trim().is_empty(),
        RawValue::Json(value) => value.is_null(),
    }
}

#[cfg(test)]
mod tests;
