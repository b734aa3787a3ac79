//! An HRIS export, row by row. What its values must be is for the plan to say.

mod header;
mod object;

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use super::input::{Form, Input, InputError, Lines, Records, Trouble, open};
use crate::model::{Columns, RawRow, RawValue, RejectedRow, RowFault, counted};

/// The rows of an export. It ends after its last row, or with the error that keeps it from reading on.
pub struct Export {
    path: PathBuf,
    rows: Rows,
}

enum Rows {
    /// `targets`: by column, the attributes that it is for.
    Csv {
        records: Records<Input>,
        targets: Vec<Vec<String>>,
    },
    Jsonl {
        lines: Lines<Input>,
        columns: Columns,
    },
    Ended,
}

impl Export {
    /// Opens an export and reads its header. `required` are paths of attributes; a CSV file that has no column for one
    /// of them has no row that could be right. An empty file has no rows.
    ///
    /// # Errors
    /// When the file cannot be read, is of no form that is known, or has a header that cannot be understood.
    pub fn open(path: &Path, columns: &Columns, required: &BTreeSet<String>) -> Result<Self, InputError> {
        let form = Form::of(path)?;
        Self::read(path, open(path)?, form, columns, required)
    }

    /// The same from bytes.
    ///
    /// # Errors
    /// As for a file.
    pub fn from_bytes(
        bytes: Vec<u8>,
        form: Form,
        columns: &Columns,
        required: &BTreeSet<String>,
    ) -> Result<Self, InputError> {
        let path = Path::new("bytes");
        let input = super::input::behind_mark(Cursor::new(bytes)).map_err(|trouble| trouble.of(path))?;
        Self::read(path, input, form, columns, required)
    }

    fn read(
        path: &Path,
        input: Input,
        form: Form,
        columns: &Columns,
        required: &BTreeSet<String>,
    ) -> Result<Self, InputError> {
        let rows = match form {
            Form::Csv => {
                let mut records = Records::new(input);
                let targets = first(&mut records, columns, required).map_err(|trouble| trouble.of(path))?;
                targets.map_or(Rows::Ended, |targets| Rows::Csv { records, targets })
            }
            Form::Jsonl => Rows::Jsonl { lines: Lines::new(input), columns: columns.clone() },
        };
        Ok(Self { path: path.to_owned(), rows })
    }

    fn row(&mut self) -> Result<Option<Result<RawRow, RejectedRow>>, Trouble> {
        match &mut self.rows {
            Rows::Ended => Ok(None),
            Rows::Csv { records, targets } => {
                while let Some(record) = records.next()? {
                    let cells = match record.cells {
                        Ok(cells) if cells.iter().all(|cell| cell.trim().is_empty()) => continue,
                        Ok(cells) if cells.len() == targets.len() => cells,
                        Ok(cells) => {
                            let reason = miscounted(cells.len(), targets.len(), record.line, record.last);
                            let row = broken(record.line, reason);
                            return Ok(Some(Err(named(row, cells, targets))));
                        }
                        Err(reason) => return Ok(Some(Err(broken(record.line, reason)))),
                    };
                    return Ok(Some(Ok(RawRow { line: record.line, fields: fields(cells, targets) })));
                }
                Ok(None)
            }
            Rows::Jsonl { lines, columns } => {
                while let Some(line) = lines.next()? {
                    let row = match line.text {
                        Ok(text) if text.trim().is_empty() => continue,
                        Ok(text) => object::row(line.number, &text, columns),
                        Err(reason) => Err(broken(line.number, reason)),
                    };
                    return Ok(Some(row));
                }
                Ok(None)
            }
        }
    }
}

impl Iterator for Export {
    /// A row, or one that cannot be one; an error ends it.
    type Item = Result<Result<RawRow, RejectedRow>, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.row() {
            Ok(Some(row)) => Some(Ok(row)),
            Ok(None) => {
                self.rows = Rows::Ended;
                None
            }
            Err(trouble) => {
                self.rows = Rows::Ended;
                match trouble {
                    // Nothing behind it can be told into rows; what stands before it can.
                    Trouble::OpenQuote(line) => Some(Ok(Err(broken(line, trouble.reason())))),
                    trouble => Some(Err(trouble.of(&self.path))),
                }
            }
        }
    }
}

/// What the columns are for; `None` in an empty file.
fn first(
    records: &mut Records<Input>,
    columns: &Columns,
    required: &BTreeSet<String>,
) -> Result<Option<Vec<Vec<String>>>, Trouble> {
    let Some(record) = records.next()? else { return Ok(None) };
    let cells =
        record.cells.map_err(|reason| Trouble::Header(vec![format!("line {}: {reason}", record.line)]))?;
    header::read(&cells, columns, required).map(Some).map_err(Trouble::Header)
}

/// A cell that is for several attributes is said of each. An empty one says nothing.
fn fields(cells: Vec<String>, targets: &[Vec<String>]) -> Vec<(String, RawValue)> {
    let filled = cells.into_iter().zip(targets).filter(|(cell, _)| !cell.is_empty());
    let fields = filled
        .flat_map(|(cell, paths)| paths.iter().map(move |path| (path.clone(), RawValue::Text(cell.clone()))));
    fields.collect()
}

/// Whom a row of another length seems to be about: nothing is done for him, and nothing because he is not there.
fn named(row: RejectedRow, cells: Vec<String>, targets: &[Vec<String>]) -> RejectedRow {
    let (mut external_id, mut user_name) = (None, None);
    for (path, value) in fields(cells, targets) {
        let RawValue::Text(text) = value else { continue };
        match path.as_str() {
            "externalId" => external_id = Some(text.trim().to_owned()),
            "userName" => user_name = Some(text.trim().to_owned()),
            _ => {}
        }
    }
    RejectedRow { external_id, user_name, ..row }
}

/// A record that spans lines may have swallowed them.
pub(in crate::source) fn miscounted(found: usize, expected: usize, first: u64, last: u64) -> String {
    let spans = if last > first {
        format!(", over lines {first} to {last}: is a quote left open?")
    } else {
        ": a comma within a cell needs quotes around the cell".to_owned()
    };
    format!("has {}, and the header has {expected}{spans}", counted(found, "cell", "cells"))
}

/// A row of which nothing can be said but where it stands.
pub(super) fn broken(line: u64, reason: String) -> RejectedRow {
    let fault = RowFault { field: "row".to_owned(), value: None, reason };
    RejectedRow { line, external_id: None, user_name: None, faults: vec![fault] }
}

#[cfg(test)]
mod tests;
