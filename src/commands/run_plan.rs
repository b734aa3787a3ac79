//! What a file would do, in a table or in JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::run_rows::{self, RowFile, fault_table, fault_values, table};
use super::{CommandError, Exit, answer};
use crate::daemon::PlannedRun;
use crate::model::{Action, Outcome, RejectedRow, RunKind, counted};
use crate::store::{PlannedRow, RowEnd};

/// Tells it on standard output.
pub(super) fn tell(
    planned: &PlannedRun,
    report: Option<RowFile>,
    as_json: bool,
) -> Result<Exit, CommandError> {
    if let Some(mut report) = report {
        planned.ends.iter().try_for_each(|row| report.add(row))?;
        report.finish()?;
    }
    let exit = exit(planned);
    if as_json {
        answer(&format!("{:#}\n", value(planned, exit)))?;
    } else {
        answer(&text(planned))?;
    }
    Ok(exit)
}

fn exit(planned: &PlannedRun) -> Exit {
    let refuses = planned.not_deactivated.is_some();
    if refuses || rejected(planned).next().is_some() || refused(planned).next().is_some() {
        Exit::Left
    } else if planned.rows.is_empty() {
        Exit::Done
    } else {
        Exit::Changes
    }
}

fn rejected(planned: &PlannedRun) -> impl Iterator<Item = &RejectedRow> {
    planned.ends.iter().filter_map(|row| row.rejected.as_ref())
}

/// Rows for which nothing could be planned, though they are not wrong.
pub(super) fn refused(planned: &PlannedRun) -> impl Iterator<Item = &RowEnd> {
    let refused = |outcome: Outcome| outcome.left() && outcome != Outcome::Held;
    planned.ends.iter().filter(move |row| row.rejected.is_none() && row.outcome.is_some_and(refused))
}

fn value(planned: &PlannedRun, exit: Exit) -> Value {
    let rows = planned.rows.iter().map(|row| {
        json!({
            "line": row.line,
            "external_id": row.external_id,
            "user": row.user,
            "action": row.action,
            "attributes": row.names,
        })
    });
    json!({
        "tenant": planned.run.tenant,
        "kind": planned.run.kind,
        "file": planned.run.file,
        "exit_code": exit.code(),
        "create": count(planned, Action::Create),
        "update": count(planned, Action::Update),
        "reactivate": count(planned, Action::Reactivate),
        "deactivate": count(planned, Action::Deactivate),
        "attributes": count(planned, Action::Attributes),
        "rows": planned.counts.rows,
        "unchanged": planned.counts.unchanged,
        "held": planned.counts.held,
        "not_deactivated": planned.not_deactivated.map(|why| why.to_string()),
        "planned": rows.collect::<Vec<_>>(),
        "faults": fault_values(rejected(planned)),
        "left": refused(planned).map(run_rows::value).collect::<Vec<_>>(),
    })
}

/// Rows that come to this.
fn count(planned: &PlannedRun, action: Action) -> usize {
    planned.rows.iter().filter(|row| row.action == Some(action)).count()
}

fn text(planned: &PlannedRun) -> String {
    let mut out = fault_table(rejected(planned));
    let mut rows = table(&["line", "externalId", "user", "action", "attributes"]);
    for row in &planned.rows {
        rows.add_row(line(row));
    }
    for row in refused(planned) {
        rows.add_row(run_rows::line(row));
    }
    if !rows.is_empty() {
        let _ = writeln!(out, "{rows}\n");
    }
    let counts = &planned.counts;
    let _ = write!(out, "{}: {}: ", planned.run.tenant, counted(counts.rows, "row", "rows"));
    let changed = count(planned, Action::Update) + count(planned, Action::Attributes);
    if planned.run.kind == RunKind::Provision {
        let _ = write!(
            out,
            "{} to create, {changed} to change, {} to reactivate, {} to deactivate because no row \
             names them",
            count(planned, Action::Create),
            count(planned, Action::Reactivate),
            count(planned, Action::Deactivate)
        );
    } else {
        let _ = write!(out, "{changed} to change");
    }
    let _ = write!(out, ", {} as they should be, {} rejected", counts.unchanged, counts.rejected);
    if counts.unresolved > 0 {
        let _ = write!(out, ", {} unresolved", counts.unresolved);
    }
    out.push_str("; nothing was changed\n");
    if counts.held > 0 {
        let held = counted(
            counts.held,
            "deactivation would be held until it is approved",
            "deactivations would be held until they are approved",
        );
        let _ = writeln!(out, "  {held}");
    }
    if let Some(why) = planned.not_deactivated {
        let _ = writeln!(out, "  {why}");
    }
    out
}

fn line(row: &PlannedRow) -> [String; 5] {
    [
        row.line.map(|line| line.to_string()).unwrap_or_default(),
        row.external_id.clone().unwrap_or_default(),
        row.user.as_ref().map(ToString::to_string).unwrap_or_default(),
        row.action.map(|action| action.to_string()).unwrap_or_default(),
        row.names.join(", "),
    ]
}
