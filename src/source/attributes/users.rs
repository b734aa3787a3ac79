//! A list of users who all get the same attributes: one column below `id`, `userName` or `externalId`, or nothing but
//! ids, one a line.

use std::path::{Path, PathBuf};

use super::key::Named;
use super::{Assignments, Draft};
use crate::model::{FirstLines, RejectedRow, WantedAttributes};
use crate::source::input::{Input, InputError, Record, Records, Trouble, behind_mark, open};

/// The users of a list. It ends after the last one, or with the error that keeps it from reading on.
pub struct UserFile {
    path: PathBuf,
    records: Option<Records<Input>>,
    /// The first line, when it is a user.
    first: Option<Record>,
    named: Named,
    assignments: Assignments,
    users: FirstLines,
}

impl UserFile {
    /// Opens a list, whatever its name. Each user on it is to have these attributes.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path, assignments: Assignments) -> Result<Self, InputError> {
        Self::read(path, open(path)?, assignments).map_err(|trouble| trouble.of(path))
    }

    /// The same from bytes.
    ///
    /// # Errors
    /// As for a file.
    pub fn from_bytes(bytes: Vec<u8>, assignments: Assignments) -> Result<Self, InputError> {
        let path = Path::new("bytes");
        let read = || Self::read(path, behind_mark(std::io::Cursor::new(bytes))?, assignments);
        read().map_err(|trouble| trouble.of(path))
    }

    fn read(path: &Path, input: Input, assignments: Assignments) -> Result<Self, Trouble> {
        let mut records = Records::new(input);
        let first = records.next()?;
        let header = first.as_ref().and_then(|record| match record.cells.as_deref() {
            Ok([only]) => Named::by(only),
            _ => None,
        });
        Ok(Self {
            path: path.to_owned(),
            records: Some(records),
            first: if header.is_some() { None } else { first },
            named: header.unwrap_or(Named::Id),
            assignments,
            users: FirstLines::default(),
        })
    }

    fn row(&mut self) -> Result<Option<Result<WantedAttributes, RejectedRow>>, Trouble> {
        loop {
            let record = match (self.first.take(), &mut self.records) {
                (Some(first), _) => Some(first),
                (None, Some(records)) => records.next()?,
                (None, None) => None,
            };
            let Some(record) = record else { return Ok(None) };
            let draft = match record.cells.as_deref() {
                Ok([only]) if only.trim().is_empty() => continue,
                Ok([only]) => {
                    let mut draft = Draft::at(record.line);
                    draft.user(self.named, only);
                    draft
                }
                Ok(_) => {
                    Draft::broken(record.line, "is more than one cell: write one user a line".to_owned())
                }
                Err(reason) => Draft::broken(record.line, reason.clone()),
            };
            let row = draft.finish(&mut self.users);
            return Ok(Some(row.map(|row| self.assignments.of(row.line, row.user))));
        }
    }
}

impl Iterator for UserFile {
    /// A user and his attributes, or a row that is not carried out; an error ends it.
    type Item = Result<Result<WantedAttributes, RejectedRow>, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.row();
        if !matches!(row, Ok(Some(_))) {
            self.records = None;
        }
        row.map_err(|trouble| trouble.of(&self.path)).transpose()
    }
}
