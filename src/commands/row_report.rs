//! `--report FILE`: a CSV file with one line for each row of a run and what became of it.
//!
//! It is opened before anything is done: whoever asks for a report that cannot be written is told so at once.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::CommandError;
use super::run_report::record;
use crate::store::RowEnd;

/// The header; a column is never renamed.
const HEADER: [&str; 7] = ["line", "external_id", "user_id", "outcome", "action", "reason", "operation"];

/// The file, open.
pub(super) struct RowReport {
    path: PathBuf,
    rows: csv::Writer<File>,
}

impl RowReport {
    /// Begins the file anew, if one is asked for.
    pub(super) fn open(path: Option<&Path>) -> Result<Option<Self>, CommandError> {
        let Some(path) = path else { return Ok(None) };
        let failed = |error| failed(path, &error);
        let mut rows = csv::Writer::from_path(path).map_err(failed)?;
        rows.write_record(HEADER).map_err(failed)?;
        Ok(Some(Self { path: path.to_owned(), rows }))
    }

    /// One row.
    pub(super) fn row(&mut self, row: &RowEnd) -> Result<(), CommandError> {
        self.rows.write_record(record(row)).map_err(|error| failed(&self.path, &error))
    }

    /// All rows are written.
    pub(super) fn finish(mut self) -> Result<(), CommandError> {
        self.rows.flush().map_err(|error| failed(&self.path, &error.into()))
    }
}

fn failed(path: &Path, error: &csv::Error) -> CommandError {
    let path = path.display();
    CommandError::Usage(format!(
        "{path}: the report cannot be written: {error}; name another file with --report"
    ))
}
