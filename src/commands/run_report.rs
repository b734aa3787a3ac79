//! What has become of a run: a summary with a table of what is wrong, JSON, and a file with a line for each row.
//!
//! Rows are named by line and ids; what the tenant said passes the redaction.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::row_report::RowReport;
use super::{CommandError, Exit, answer, complain, error};
use crate::daemon::{Carried, PlannedRun, RunEnd, RunFailure};
use crate::deliver::Trouble;
use crate::model::{Action, Outcome, RejectedRow};
use crate::store::{ROWS_AT_ONCE, RowEnd, Run, RunCounts, Store};
use crate::telemetry;

/// How a run ended.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) run: Run,
    /// `None` when it was cut short.
    pub(super) carried: Option<Result<Carried, RunFailure>>,
}

impl Told {
    pub(super) const fn of(run: Run, carried: Option<Result<Carried, RunFailure>>) -> Self {
        Self { run, carried }
    }
}

/// Tells what has become of a run, on standard output and in the file `report`.
pub(super) async fn tell(
    store: &Store,
    told: &Told,
    report: Option<RowReport>,
    as_json: bool,
) -> Result<Exit, CommandError> {
    let run = store.run(told.run.id).await?;
    let counts = store.run_summary(run.id).await?;
    let mut left = Vec::new();
    let (mut report, mut skip) = (report, 0);
    loop {
        let rows = store.row_ends(run.id, skip, ROWS_AT_ONCE).await?;
        if rows.is_empty() {
            break;
        }
        skip += u64::try_from(rows.len()).unwrap_or(0);
        for row in rows {
            if let Some(report) = &mut report {
                report.row(&row)?;
            }
            if row.outcome.is_none_or(Outcome::left) {
                left.push(row);
            }
        }
    }
    if let Some(report) = report {
        report.finish()?;
    }
    let (exit, end) = exit_of(told, &counts);
    if as_json {
        answer(&format!("{:#}\n", value(&run, &counts, &left, exit, &end)))?;
    } else {
        answer(&text(&run, &counts, &left, &end))?;
    }
    if let Some(Err(failure)) = &told.carried {
        complain(&format!("{}: {failure}", run.tenant));
    }
    Ok(exit)
}

fn exit_of(told: &Told, counts: &RunCounts) -> (Exit, String) {
    match &told.carried {
        None => (Exit::Failed, "cut short; run the same command again to go on".to_owned()),
        Some(Err(RunFailure::Store(_))) => (Exit::Failed, "failed".to_owned()),
        Some(Err(failure @ RunFailure::Read(_))) => (
            error::of_blame(failure.blame()),
            "the tenant could not be read; run the same command again to go on".to_owned(),
        ),
        Some(Ok(Carried::Stopped)) => {
            (Exit::Left, "interrupted; run the same command again to go on".to_owned())
        }
        Some(Ok(Carried::Trouble(trouble))) => {
            let exit = error::of_trouble(Some(*trouble)).unwrap_or(Exit::Left);
            let what =
                if *trouble == Trouble::Outage { "the tenant cannot be reached" } else { trouble.as_str() };
            (exit, format!("{what}; run the same command again to go on"))
        }
        Some(Ok(Carried::Ended(RunEnd::Stopped))) => (Exit::Left, "stopped".to_owned()),
        Some(Ok(Carried::Ended(RunEnd::Superseded))) => (Exit::Left, "superseded by a newer file".to_owned()),
        Some(Ok(Carried::Ended(RunEnd::Finished))) if counts.left() > 0 => {
            (Exit::Left, "finished".to_owned())
        }
        Some(Ok(Carried::Ended(RunEnd::Finished))) => (Exit::Done, "finished".to_owned()),
    }
}

/// Failed rows of those for which something was to be done, 0 to 1.
fn error_rate(counts: &RunCounts) -> f64 {
    let wrong = counts.rejected + counts.unresolved + counts.failed;
    #[expect(clippy::cast_precision_loss, reason = "rows are far below 2^52")]
    let rate = wrong as f64 / counts.rows.max(1) as f64;
    rate
}

pub(super) fn record(row: &RowEnd) -> [String; 7] {
    [
        row.line.map(|line| line.to_string()).unwrap_or_default(),
        row.external_id.clone().unwrap_or_default(),
        row.user.as_ref().map(ToString::to_string).unwrap_or_default(),
        row.outcome.map_or(if row.action.is_some() { "planned" } else { "open" }, Outcome::as_str).to_owned(),
        row.action.map(|action| action.as_str().to_owned()).unwrap_or_default(),
        reason(row),
        row.operation.map(|operation| operation.to_string()).unwrap_or_default(),
    ]
}

/// Why a row is as it is; of a rejected one all that is wrong with it.
fn reason(row: &RowEnd) -> String {
    if let Some(rejected) = &row.rejected {
        let faults = rejected.faults.iter().map(|fault| match &fault.value {
            Some(value) => format!("{} {value}: {}", fault.field, fault.reason),
            None => format!("{}: {}", fault.field, fault.reason),
        });
        return faults.collect::<Vec<_>>().join("; ");
    }
    let ids: Vec<&str> =
        row.user.iter().map(crate::model::UserId::as_str).chain(row.external_id.as_deref()).collect();
    row.reason
        .as_deref()
        .map(|reason| telemetry::redact::text_about(reason, &ids).into_owned())
        .unwrap_or_default()
}

fn text(run: &Run, counts: &RunCounts, left: &[RowEnd], end: &str) -> String {
    let mut out = String::new();
    let rejected: Vec<&RejectedRow> = left.iter().filter_map(|row| row.rejected.as_ref()).collect();
    if !rejected.is_empty() {
        out.push_str(&fault_table(rejected));
        out.push('\n');
    }
    let others: Vec<&RowEnd> = left
        .iter()
        .filter(|row| row.rejected.is_none() && row.outcome.is_some_and(|outcome| outcome != Outcome::Held))
        .collect();
    if !others.is_empty() {
        let mut table = table(&["line", "externalId", "user", "outcome", "reason"]);
        for row in others {
            let [line, external_id, user, outcome, _, reason, _] = record(row);
            table.add_row([line, external_id, user, outcome, reason]);
        }
        let _ = writeln!(out, "{table}\n");
    }
    let _ = writeln!(out, "{}: run {} of {} ({}): {end}", run.tenant, run.id, run.file, run.kind);
    if let Some(reason) = &run.reason {
        let _ = writeln!(
            out,
            "  stopped: {}\n  nothing else was accepted before; {} rows are held. Mend the file, or run the same command with --force",
            telemetry::redact::text(reason),
            counts.held
        );
    }
    let processed = counts.rows - counts.open;
    let _ = write!(out, "  {processed} of {} rows processed", counts.rows);
    for (count, what) in numbers(counts) {
        if count > 0 {
            let _ = write!(out, ", {count} {what}");
        }
    }
    let _ = write!(out, "\n  error rate {:.2} %", error_rate(counts) * 100.0);
    if let (Some(mean), Some(p95)) = (counts.mean_latency_ms, counts.p95_latency_ms) {
        let _ = write!(out, ", latency {mean} ms on average, {p95} ms for the slowest twentieth");
    }
    out.push('\n');
    if counts.held > 0 && run.reason.is_none() {
        out.push_str("  what is held waits for an approval: `rosterd status` says why, and how to approve\n");
    }
    out
}

const fn numbers(counts: &RunCounts) -> [(u64, &'static str); 12] {
    [
        (counts.created, "created"),
        (counts.updated, "updated"),
        (counts.reactivated, "reactivated"),
        (counts.deactivated, "deactivated"),
        (counts.unchanged, "unchanged"),
        (counts.skipped, "skipped"),
        (counts.conflicts, "conflicts met"),
        (counts.rejected, "rejected"),
        (counts.unresolved, "unresolved"),
        (counts.failed, "failed"),
        (counts.held, "held"),
        (counts.superseded, "superseded"),
    ]
}

fn value(run: &Run, counts: &RunCounts, left: &[RowEnd], exit: Exit, end: &str) -> Value {
    let rows = left.iter().filter(|row| row.rejected.is_none()).map(|row| {
        json!({
            "line": row.line,
            "external_id": row.external_id,
            "user": row.user,
            "outcome": row.outcome.map_or("open", Outcome::as_str),
            "action": row.action,
            "reason": Some(reason(row)).filter(|reason| !reason.is_empty()),
            "operation": row.operation,
        })
    });
    let faults = left.iter().filter_map(|row| row.rejected.as_ref()).flat_map(fault_values);
    json!({
        "tenant": run.tenant,
        "run": run.id,
        "kind": run.kind,
        "file": run.file,
        "state": run.state,
        "end": end,
        "exit_code": exit.code(),
        "reason": run.reason.as_deref().map(telemetry::redact::text),
        "rows": counts.rows,
        "processed": counts.rows - counts.open,
        "open": counts.open,
        "created": counts.created,
        "updated": counts.updated,
        "reactivated": counts.reactivated,
        "deactivated": counts.deactivated,
        "unchanged": counts.unchanged,
        "skipped": counts.skipped,
        "conflicts": counts.conflicts,
        "rejected": counts.rejected,
        "unresolved": counts.unresolved,
        "failed": counts.failed,
        "held": counts.held,
        "superseded": counts.superseded,
        "error_rate": error_rate(counts),
        "mean_latency_ms": counts.mean_latency_ms,
        "p95_latency_ms": counts.p95_latency_ms,
        "faults": faults.collect::<Vec<_>>(),
        "left": rows.collect::<Vec<_>>(),
    })
}

/// Each fault of a rejected row by itself.
pub(super) fn fault_values(rejected: &RejectedRow) -> impl Iterator<Item = Value> + '_ {
    rejected.faults.iter().map(|fault| {
        json!({
            "line": rejected.line,
            "external_id": rejected.external_id,
            "field": fault.field,
            "value": fault.value,
            "reason": fault.reason,
        })
    })
}

/// All faults of rejected rows, a line each.
pub(super) fn fault_table<'a>(rejected: impl IntoIterator<Item = &'a RejectedRow>) -> String {
    let mut table = table(&["line", "field", "value", "reason"]);
    for row in rejected {
        for fault in &row.faults {
            let value = fault.value.clone().unwrap_or_default();
            table.add_row([row.line.to_string(), fault.field.clone(), value, fault.reason.clone()]);
        }
    }
    format!("{table}\n")
}

fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    table
}

/// Tells what would be done.
pub(super) fn tell_plan(
    planned: &PlannedRun,
    report: Option<RowReport>,
    as_json: bool,
) -> Result<Exit, CommandError> {
    if let Some(mut report) = report {
        planned.ends.iter().try_for_each(|row| report.row(row))?;
        report.finish()?;
    }
    let faults = || planned.ends.iter().filter_map(|row| row.rejected.as_ref());
    let refused = || {
        planned
            .ends
            .iter()
            .filter(|row| row.rejected.is_none() && row.outcome.is_some_and(Outcome::left))
            .filter(|row| row.outcome != Some(Outcome::Held))
    };
    let exit = match () {
        () if faults().next().is_some() || refused().next().is_some() => Exit::Left,
        () if planned.rows.is_empty() => Exit::Done,
        () => Exit::Changes,
    };
    let count = |action| planned.rows.iter().filter(|row| row.action == Some(action)).count();
    if as_json {
        let rows: Vec<Value> = planned
            .rows
            .iter()
            .map(|row| {
                json!({
                    "line": row.line, "external_id": row.external_id, "user": row.user, "action": row.action,
                    "attributes": row.names,
                })
            })
            .collect();
        let left: Vec<Value> = refused()
            .map(|row| {
                json!({
                    "line": row.line, "external_id": row.external_id, "outcome": row.outcome, "reason": reason(row),
                })
            })
            .collect();
        let value = json!({
            "tenant": planned.run.tenant, "file": planned.run.file, "kind": planned.run.kind, "exit_code": exit.code(),
            "create": count(Action::Create), "update": count(Action::Update), "reactivate": count(Action::Reactivate),
            "deactivate": count(Action::Deactivate), "attributes": count(Action::Attributes),
            "rows": planned.counts.rows, "unchanged": planned.counts.unchanged, "held": planned.counts.held,
            "planned": rows, "faults": faults().flat_map(fault_values).collect::<Vec<_>>(), "left": left,
        });
        answer(&format!("{value:#}\n"))?;
        return Ok(exit);
    }
    let mut out = String::new();
    if faults().next().is_some() {
        out.push_str(&fault_table(faults()));
        out.push('\n');
    }
    if !planned.rows.is_empty() || refused().next().is_some() {
        let mut table = table(&["line", "externalId", "user", "action", "attributes"]);
        for row in &planned.rows {
            table.add_row([
                row.line.map(|line| line.to_string()).unwrap_or_default(),
                row.external_id.clone().unwrap_or_default(),
                row.user.as_ref().map(ToString::to_string).unwrap_or_default(),
                row.action.map(|action| action.to_string()).unwrap_or_default(),
                row.names.join(", "),
            ]);
        }
        for row in refused() {
            let [line, external_id, user, outcome, _, reason, _] = record(row);
            table.add_row([line, external_id, user, outcome, reason]);
        }
        let _ = writeln!(out, "{table}\n");
    }
    let _ = writeln!(
        out,
        "{}: {} rows: {} to create, {} to change, {} to reactivate, {} to deactivate, {} as they should be, {} rejected; \
         nothing was changed",
        planned.run.tenant,
        planned.counts.rows,
        count(Action::Create),
        count(Action::Update) + count(Action::Attributes),
        count(Action::Reactivate),
        count(Action::Deactivate),
        planned.counts.unchanged,
        planned.counts.rejected
    );
    if planned.counts.held > 0 {
        let _ =
            writeln!(out, "  {} deactivations would be held until they are approved", planned.counts.held);
    }
    answer(&out)?;
    Ok(exit)
}
