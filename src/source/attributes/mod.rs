//! Custom attributes of users, row by row: from a file that names both, or the same ones for a list of users.
//!
//! What an attribute says may be personal: no fault shows it.

mod assign;
mod key;
mod object;
mod table;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use assign::Assignments;
pub use users::UserFile;

use key::Named;
use table::Table;

use super::input::{Form, Input, InputError, Lines, Records, Trouble, behind_mark, open};
use crate::model::{FirstLines, RejectedRow, RowFault, UserKey, WantedAttributes};

/// The longest key and the longest text of an attribute, in characters.
const LONGEST_KEY: usize = 1024;
const LONGEST_VALUE: usize = 8192;

/// The rows of a file of attributes. It ends after its last row, or with the error that keeps it from reading on.
pub struct AttributeFile {
    path: PathBuf,
    rows: Rows,
    users: FirstLines,
}

enum Rows {
    Csv { records: Records<Input>, table: Table },
    Jsonl(Lines<Input>),
    Ended,
}

impl AttributeFile {
    /// Opens a file and reads its header. In a CSV file, `remove_marker` says that an attribute is to go; in JSON it is
    /// null.
    ///
    /// # Errors
    /// When the file cannot be read, is of no form that is known, or has a header that cannot be understood.
    pub fn open(path: &Path, remove_marker: &str) -> Result<Self, InputError> {
        let form = Form::of(path)?;
        Self::read(path, open(path)?, form, remove_marker).map_err(|trouble| trouble.of(path))
    }

    /// The same from bytes.
    ///
    /// # Errors
    /// As for a file.
    pub fn from_bytes(bytes: Vec<u8>, form: Form, remove_marker: &str) -> Result<Self, InputError> {
        let path = Path::new("bytes");
        let read = || Self::read(path, behind_mark(std::io::Cursor::new(bytes))?, form, remove_marker);
        read().map_err(|trouble| trouble.of(path))
    }

    fn read(path: &Path, input: Input, form: Form, remove_marker: &str) -> Result<Self, Trouble> {
        let rows = match form {
            Form::Csv => {
                let mut records = Records::new(input);
                match records.next()? {
                    Some(header) => Rows::Csv { records, table: Table::new(header, remove_marker)? },
                    None => Rows::Ended,
                }
            }
            Form::Jsonl => Rows::Jsonl(Lines::new(input)),
        };
        Ok(Self { path: path.to_owned(), rows, users: FirstLines::default() })
    }

    fn row(&mut self) -> Result<Option<Result<WantedAttributes, RejectedRow>>, Trouble> {
        let draft = match &mut self.rows {
            Rows::Ended => None,
            Rows::Csv { records, table } => table.next(records)?,
            Rows::Jsonl(lines) => object::next(lines)?,
        };
        Ok(draft.map(|draft| draft.finish(&mut self.users)))
    }
}

impl Iterator for AttributeFile {
    /// A row, or one that is not carried out; an error ends it.
    type Item = Result<Result<WantedAttributes, RejectedRow>, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.row();
        if !matches!(row, Ok(Some(_))) {
            self.rows = Rows::Ended;
        }
        row.map_err(|trouble| trouble.of(&self.path)).transpose()
    }
}

/// A row in the making.
#[derive(Default)]
struct Draft {
    line: u64,
    user: Option<UserKey>,
    set: BTreeMap<String, Value>,
    remove: BTreeSet<String>,
    faults: Vec<RowFault>,
}

impl Draft {
    fn at(line: u64) -> Self {
        Self { line, ..Self::default() }
    }

    /// A row of which nothing can be said but where it stands.
    fn broken(line: u64, reason: String) -> Self {
        let mut draft = Self::at(line);
        draft.fault("row", reason);
        draft
    }

    fn fault(&mut self, field: &str, reason: impl Into<String>) {
        self.faults.push(RowFault { field: field.to_owned(), value: None, reason: reason.into() });
    }

    fn user(&mut self, named: Named, text: &str) {
        match named.key(text) {
            Ok(key) => self.user = Some(key),
            Err(reason) => self.fault(named.column(), reason),
        }
    }

    fn set(&mut self, key: &str, value: Value) {
        match judge_value(&value) {
            Ok(()) => {
                self.set.insert(key.to_owned(), value);
            }
            Err(reason) => {
                let value = Some("***".to_owned());
                self.faults.push(RowFault { field: key.to_owned(), value, reason });
            }
        }
    }

    /// Rejected, too, if a row before it is about the same user: nobody can tell which of the two is meant.
    fn finish(mut self, users: &mut FirstLines) -> Result<WantedAttributes, RejectedRow> {
        let named = self.user.as_ref().map(Named::of);
        if let (Some(user), Some(named)) = (&self.user, named)
            && let Some(first) = users.note(&named.told_apart(user), self.line)
        {
            self.fault(named.column(), format!("line {first} is about the same user: keep one of them"));
        }
        match self.user {
            Some(user) if self.faults.is_empty() => {
                Ok(WantedAttributes { line: self.line, user, set: self.set, remove: self.remove })
            }
            user => {
                let external_id = match user {
                    Some(UserKey::ExternalId(id)) => Some(id),
                    _ => None,
                };
                Err(RejectedRow { line: self.line, external_id, user_name: None, faults: self.faults })
            }
        }
    }
}

/// What a key may be; the tenant knows its keys to the letter.
fn judge_key(key: &str) -> Result<(), String> {
    match key {
        "" => Err("a key is empty".to_owned()),
        key if key.chars().any(char::is_control) => Err("a key holds a control character".to_owned()),
        key if key.chars().nth(LONGEST_KEY).is_some() => {
            Err(format!("a key is longer than {LONGEST_KEY} characters"))
        }
        _ => Ok(()),
    }
}

/// What a value may be: a scalar. Text may have several lines.
fn judge_value(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) if text.chars().any(|c| c.is_control() && !"\t\n\r".contains(c)) => {
            Err("holds a control character".to_owned())
        }
        Value::String(text) if text.chars().nth(LONGEST_VALUE).is_some() => {
            Err(format!("is longer than {LONGEST_VALUE} characters"))
        }
        Value::Object(_) | Value::Array(_) => {
            Err("is no single value: write text, a number, true or false; null removes".to_owned())
        }
        Value::Null | Value::String(_) | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
