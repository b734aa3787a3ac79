//! Rows of a run, as they are told: in tables, in JSON, and in a CSV file with a line for each.
//!
//! Rows are named by line and ids; what the tenant said passes the redaction.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use comfy_table::Table;
use serde_json::{Value, json};

use super::{CommandError, complain};
use crate::model::{Outcome, RejectedRow, UserId};
use crate::store::RowEnd;
use crate::telemetry;

const HEADER: [&str; 7] = ["line", "external_id", "user_id", "outcome", "action", "reason", "operation"];

/// A CSV file with a line for each row and what became of it. It takes its name once all rows are there: until then an
/// earlier report stays as it is.
pub(super) struct RowFile {
    path: PathBuf,
    /// Where it is written meanwhile; `None` for what is no file, such as a terminal.
    part: Option<PathBuf>,
    writer: csv::Writer<File>,
}

impl RowFile {
    /// Begins a new file, which can take the place of an earlier report, and of nothing else.
    pub(super) fn create(path: &Path) -> Result<Self, CommandError> {
        if path.as_os_str() == "-" {
            return Err(CommandError::Usage(
                "--report -: standard output is for the summary; name a file, or /dev/stdout to have both there".to_owned(),
            ));
        }
        let is_file = fs::metadata(path).map_or(true, |there| there.is_file());
        let part = is_file.then(|| part_of(path));
        for file in part.iter().map(PathBuf::as_path).chain(is_file.then_some(path)) {
            if !may_be_replaced(file).map_err(|error| unwritten(path, &error.into()))? {
                return Err(CommandError::Usage(format!(
                    "{}: is there already, and is no report; name another file with --report",
                    file.display()
                )));
            }
        }
        let writer = csv::Writer::from_path(part.as_deref().unwrap_or(path))
            .map_err(|error| unwritten(path, &error))?;
        let mut file = Self { path: path.to_owned(), part, writer };
        file.write(HEADER)?;
        Ok(file)
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: &RowEnd) -> Result<(), CommandError> {
        self.write(cells(row))
    }

    /// All rows are there.
    pub(super) fn finish(mut self) -> Result<(), CommandError> {
        let written = self.writer.flush().and_then(|()| match self.part.take() {
            Some(part) => fs::rename(part, &self.path),
            None => Ok(()),
        });
        written.map_err(|error| unwritten(&self.path, &error.into()))
    }

    fn write<T: AsRef<[u8]>>(&mut self, cells: [T; 7]) -> Result<(), CommandError> {
        self.writer.write_record(cells).map_err(|error| unwritten(&self.path, &error))
    }
}

impl Drop for RowFile {
    /// What was not finished is nobody's report.
    fn drop(&mut self) {
        if let Some(part) = self.part.take()
            && let Err(error) = fs::remove_file(&part)
        {
            complain(&format!("{}: cannot be removed: {error}", part.display()));
        }
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// Nothing is there, or nothing is in it, or it is a report.
fn may_be_replaced(path: &Path) -> io::Result<bool> {
    let header = format!("{}\n", HEADER.join(","));
    let mut begin = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        opened => opened?.take(header.len() as u64).read_to_end(&mut begin)?,
    };
    Ok(begin.is_empty() || begin == header.as_bytes())
}

fn unwritten(path: &Path, error: &csv::Error) -> CommandError {
    let path = path.display();
    CommandError::Usage(format!(
        "{path}: the report cannot be written: {error}; name another file with --report"
    ))
}

fn cells(row: &RowEnd) -> [String; 7] {
    [
        row.line.map(|line| line.to_string()).unwrap_or_default(),
        row.external_id.clone().unwrap_or_default(),
        row.user.as_ref().map(ToString::to_string).unwrap_or_default(),
        outcome(row).to_owned(),
        row.action.map(|action| action.to_string()).unwrap_or_default(),
        reason(row).unwrap_or_default(),
        row.operation.map(|operation| operation.to_string()).unwrap_or_default(),
    ]
}

fn outcome(row: &RowEnd) -> &'static str {
    let planned = if row.action.is_some() { "planned" } else { "open" };
    row.outcome.map_or(planned, Outcome::as_str)
}

/// Why a row is as it is; of a rejected one all that is wrong with it.
fn reason(row: &RowEnd) -> Option<String> {
    if let Some(rejected) = &row.rejected {
        let faults = rejected.faults.iter().map(|fault| match &fault.value {
            Some(value) => format!("{} {value}: {}", fault.field, fault.reason),
            None => format!("{}: {}", fault.field, fault.reason),
        });
        return Some(faults.collect::<Vec<_>>().join("; "));
    }
    let ids = row.user.iter().map(UserId::as_str).chain(row.external_id.as_deref());
    let ids: Vec<&str> = ids.chain(telemetry::redact::names(&row.names)).collect();
    row.reason.as_deref().map(|reason| telemetry::redact::text_about(reason, &ids).into_owned())
}

/// Rows that somebody has to look at, in a table.
pub(super) fn left_table<'a>(left: impl IntoIterator<Item = &'a RowEnd>) -> String {
    let mut table = table(&["line", "externalId", "user", "outcome", "reason"]);
    left.into_iter().for_each(|row| {
        table.add_row(line(row));
    });
    if table.is_empty() { String::new() } else { format!("{table}\n\n") }
}

/// A row in a table with the columns line, externalId, user, outcome and reason.
pub(super) fn line(row: &RowEnd) -> [String; 5] {
    let [line, external_id, user, outcome, _, reason, _] = cells(row);
    [line, external_id, user, outcome, reason]
}

/// A row in JSON.
pub(super) fn value(row: &RowEnd) -> Value {
    json!({
        "line": row.line,
        "external_id": row.external_id,
        "user": row.user,
        "outcome": outcome(row),
        "action": row.action,
        "reason": reason(row),
        "operation": row.operation,
    })
}

/// Each fault of rejected rows by itself, in JSON.
pub(super) fn fault_values<'a>(rejected: impl IntoIterator<Item = &'a RejectedRow>) -> Vec<Value> {
    let of = |row: &'a RejectedRow| {
        row.faults.iter().map(|fault| {
            json!({
                "line": row.line,
                "external_id": row.external_id,
                "field": fault.field,
                "value": fault.value,
                "reason": fault.reason,
            })
        })
    };
    rejected.into_iter().flat_map(of).collect()
}

/// All faults of rejected rows, a line each; nothing when there is none.
pub(super) fn fault_table<'a>(rejected: impl IntoIterator<Item = &'a RejectedRow>) -> String {
    let mut table = table(&["line", "field", "value", "reason"]);
    for row in rejected {
        for fault in &row.faults {
            let value = fault.value.clone().unwrap_or_default();
            table.add_row([row.line.to_string(), fault.field.clone(), value, fault.reason.clone()]);
        }
    }
    if table.is_empty() { String::new() } else { format!("{table}\n\n") }
}

/// A table without lines.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{Action, RowFault};

    fn row() -> RowEnd {
        RowEnd {
            line: Some(7),
            external_id: Some("HR-1".to_owned()),
            user: Some(UserId::from("u-1")),
            action: Some(Action::Update),
            outcome: Some(Outcome::Failed),
            reason: Some("HR-1 belongs to user-0001@example.com".to_owned()),
            names: BTreeSet::new(),
            rejected: None,
            operation: Some(12),
            conflicted: false,
        }
    }

    #[test]
    fn a_report_takes_the_place_of_a_report_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("report.csv"), folder.path().join("export.csv"));
        let mut first = RowFile::create(&path).unwrap();
        first.add(&row()).unwrap();
        first.finish().unwrap();
        let told = fs::read_to_string(&path).unwrap();
        assert_eq!(told.lines().count(), 2);
        // One that is begun and not finished leaves the earlier one as it is, and nothing behind.
        drop(RowFile::create(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), told);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        RowFile::create(&path).unwrap().finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        fs::write(&other, "externalId,userName\n").unwrap();
        assert!(RowFile::create(&other).is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "externalId,userName\n");
    }

    #[test]
    fn a_row_is_told_by_ids_and_without_what_is_personal() {
        let cells = cells(&row());
        assert_eq!(cells, ["7", "HR-1", "u-1", "failed", "update", "HR-1 belongs to [mail]", "12"]);
        assert_eq!(value(&row())["reason"], "HR-1 belongs to [mail]");
    }

    #[test]
    fn what_a_refusal_is_about_is_no_name_of_a_person() {
        let reason = Some("\"Desk\" of \"Ann\"".to_owned());
        let refused = RowEnd { reason, names: ["Desk".to_owned()].into(), ..row() };
        assert_eq!(value(&refused)["reason"], "\"Desk\" of \"[hidden]\"");
    }

    #[test]
    fn a_row_without_an_outcome_is_open_and_one_that_no_line_names_has_none() {
        let open = RowEnd { line: None, outcome: None, reason: None, ..row() };
        assert_eq!(line(&open), ["", "HR-1", "u-1", "planned", ""]);
        assert_eq!((&value(&open)["line"], &value(&open)["reason"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn a_rejected_row_tells_all_its_faults() {
        let fault = |field: &str, value: Option<&str>, reason: &str| RowFault {
            field: field.to_owned(),
            value: value.map(str::to_owned),
            reason: reason.to_owned(),
        };
        let faults =
            vec![fault("userName", Some("u***"), "is no mail address"), fault("emails", None, "is missing")];
        let rejected = RejectedRow { line: 7, external_id: None, user_name: None, faults };
        let told = RowEnd { rejected: Some(rejected.clone()), ..row() };
        assert_eq!(reason(&told).as_deref(), Some("userName u***: is no mail address; emails: is missing"));
        assert_eq!(fault_values([&rejected]).len(), 2);
        assert_eq!(fault_table([&rejected]).matches('\n').count(), 4);
        assert_eq!(fault_table([]), "");
    }
}
