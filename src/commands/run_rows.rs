//! Rows of a run, as they are told: in tables, in JSON, and in a CSV file with a line for each.
//!
//! Rows are named by line and ids; what the tenant said passes the redaction.

use std::fs::File;
use std::path::{Path, PathBuf};

use comfy_table::Table;
use serde_json::{Value, json};

use super::CommandError;
use crate::model::{Outcome, RejectedRow, UserId};
use crate::store::RowEnd;
use crate::telemetry;

/// A CSV file with a line for each row and what became of it.
pub(super) struct RowFile {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl RowFile {
    /// Begins a new file, in the place of one that is there.
    pub(super) fn create(path: &Path) -> Result<Self, CommandError> {
        let writer = csv::Writer::from_path(path).map_err(|error| unwritten(path, &error))?;
        let mut file = Self { path: path.to_owned(), writer };
        file.write(["line", "external_id", "user_id", "outcome", "action", "reason", "operation"])?;
        Ok(file)
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: &RowEnd) -> Result<(), CommandError> {
        self.write(cells(row))
    }

    /// All rows are there.
    pub(super) fn finish(mut self) -> Result<(), CommandError> {
        self.writer.flush().map_err(|error| unwritten(&self.path, &error.into()))
    }

    fn write<T: AsRef<[u8]>>(&mut self, cells: [T; 7]) -> Result<(), CommandError> {
        self.writer.write_record(cells).map_err(|error| unwritten(&self.path, &error))
    }
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
    let ids: Vec<&str> = row.user.iter().map(UserId::as_str).chain(row.external_id.as_deref()).collect();
    row.reason.as_deref().map(|reason| telemetry::redact::text_about(reason, &ids).into_owned())
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
            rejected: None,
            operation: Some(12),
            conflicted: false,
        }
    }

    #[test]
    fn a_row_is_told_by_ids_and_without_what_is_personal() {
        let cells = cells(&row());
        assert_eq!(cells, ["7", "HR-1", "u-1", "failed", "update", "HR-1 belongs to [mail]", "12"]);
        assert_eq!(value(&row())["reason"], "HR-1 belongs to [mail]");
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
