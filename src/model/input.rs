//! What a line of an input file asks for: a user as HR wants him, or attributes of a user who is there.
//!
//! It holds personal data. No type here is ever printed into a log, a span or an error as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::UserId;

/// A line of an HRIS export as it was read, before anything is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRow {
    /// From 1, as an editor counts; of a record over several lines, the first.
    pub line: u64,
    /// What stands there, by attribute: `userName`, `name.givenName`, or the full URN path of an extension attribute. An
    /// attribute that is not there, or empty, has no entry.
    pub fields: Vec<(String, RawValue)>,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawValue {
    /// From a cell, which knows no types.
    Text(String),
    /// From JSON.
    Json(Value),
}

/// A row that passed all checks: a user as HR wants him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedUser {
    /// Where it stands in the file.
    pub line: u64,
    /// By which HR knows him; unique within the file.
    pub external_id: String,
    /// Unique within the file, whatever its case.
    pub user_name: String,
    /// The SCIM User (RFC 7643 §4.1), `schemas`, `externalId` and `userName` included. It holds what the file names and
    /// nothing else.
    pub user: Map<String, Value>,
}

/// A row that is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// Where it stands in the file.
    pub line: u64,
    /// By which HR knows the user, if the row says.
    pub external_id: Option<String>,
    /// His user name, if the row says; it goes nowhere but into a comparison.
    #[serde(skip)]
    pub user_name: Option<String>,
    /// All that is wrong with it, never empty.
    pub faults: Vec<RowFault>,
}

/// What is wrong with a value of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFault {
    /// The attribute.
    pub field: String,
    /// What stands there, masked where it is personal; `None` when nothing does.
    pub value: Option<String>,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

/// How a line names the user that it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UserKey {
    /// By the tenant's id.
    Id(UserId),
    /// By `userName`, whatever its case.
    UserName(String),
    /// By `externalId`.
    ExternalId(String),
}

/// A row that passed all checks: custom attributes of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedAttributes {
    /// Where it stands in the file.
    pub line: u64,
    /// Whose they are.
    pub user: UserKey,
    /// By key, what they are to be.
    pub set: BTreeMap<String, Value>,
    /// Keys that are to go; none of them stands in `set`.
    pub remove: BTreeSet<String>,
}
