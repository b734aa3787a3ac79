//! Passes, for `status`: each in a line, and one with all that it decided and what became of it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::outcome::{self, ago, short};
use super::{CommandError, Exit, answer, run_report};
use crate::daemon;
use crate::model::{PassKind, Timestamp, counted};
use crate::plan::Plan;
use crate::store::{Drift, PassRow, PassTotals, Run, RunCounts, Sent, Store, StoreError};

/// A pass, and the run to which it belongs, if it is one of a run.
pub(super) struct Shown<'a> {
    pub(super) pass: &'a PassRow,
    pub(super) run: Option<(Run, RunCounts)>,
}

impl<'a> Shown<'a> {
    /// With what is known of its run now.
    pub(super) async fn of(store: &Store, pass: &'a PassRow) -> Result<Self, StoreError> {
        let run = match store.run_of_pass(pass.id).await? {
            Some(run) => {
                let counts = store.run_summary(run.id).await?;
                Some((run, counts))
            }
            None => None,
        };
        Ok(Self { pass, run })
    }
}

/// In one line, and `why` it is not ok.
pub(super) fn line(shown: &Shown<'_>, why: Option<&str>, now: Timestamp) -> String {
    let Shown { pass, run } = shown;
    let (result, totals) = (pass.result.as_deref().unwrap_or("running"), pass.totals);
    let began = ago(pass.started_at, now);
    let planned = totals.planned;
    let mut text = match (run, pass.kind) {
        (Some((run, counts)), _) => {
            let Run { id, file, kind, state, .. } = run;
            format!("run {id} of {file} ({kind}) {state}, began {began}, {}", run_report::became(counts))
        }
        (None, PassKind::Remap | PassKind::Provision | PassKind::Attributes) => {
            format!("{} {result}, began {began}, {planned} planned", pass.kind)
        }
        (None, PassKind::Apply) => {
            let taken = counted(planned, "change taken from the plan", "changes taken from the plan");
            format!("{} {result}, began {began}, {taken}", pass.kind)
        }
        (None, PassKind::Delta | PassKind::Sweep | PassKind::Reread) => {
            let read = counted(totals.users_read, "user", "users");
            format!("{} {result}, began {began}, {read} read, {planned} planned", pass.kind)
        }
    };
    if let Some(reason) = why {
        let _ = write!(text, " ({reason})");
    }
    text
}

/// The same for scripts.
pub(super) fn value(shown: &Shown<'_>) -> Value {
    let Shown { pass, run } = shown;
    let totals = run.as_ref().map_or(pass.totals, |(_, counts)| totals(counts));
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": pass.id,
        "tenant": pass.tenant,
        "kind": pass.kind.as_str(),
        "started_at": pass.started_at.to_string(),
        "finished_at": text(pass.finished_at),
        "result": pass.result,
        "reason": pass.reason,
        "users_read": totals.users_read,
        "pages": totals.pages,
        "planned": totals.planned,
        "skipped": totals.skipped,
        "unreadable": totals.unreadable,
        "missing": totals.missing,
        "complete": pass.complete,
        "watermark_before": text(pass.watermark_before),
        "watermark_after": text(pass.watermark_after),
        "mapping_digest": pass.mapping_digest,
        "digest": pass.digest,
        "drift": drift_value(pass.drift),
        "hold": pass.hold,
        "hold_decision": pass.hold_decision,
        "run": run.as_ref().map(|(run, counts)| json!({
            "run": run.id,
            "file": run.file,
            "state": run.state,
            "rows": counts.rows,
            "processed": counts.processed(),
            "open": counts.open,
        })),
    })
}

/// The numbers of a run in the words of a pass: what is held, or was not decided yet, is not planned.
fn totals(counts: &RunCounts) -> PassTotals {
    PassTotals {
        users_read: counts.rows,
        pages: 0,
        planned: counts.done() + counts.failed + counts.planned,
        skipped: counts.unchanged + counts.skipped,
        unreadable: counts.rejected,
        missing: counts.unnamed,
    }
}

/// What a sweep found, for scripts.
pub(super) fn drift_value(drift: Drift) -> Value {
    json!({ "deleted": drift.deleted, "edited": drift.edited, "missed": drift.missed })
}

/// What a sweep found, in words.
pub(super) fn drift_text(drift: Drift) -> String {
    format!(
        "{} deleted, {} edited by others, {} missed by delta passes",
        counted(drift.deleted, "user", "users"),
        drift.edited,
        counted(drift.missed, "change", "changes")
    )
}

/// `status --pass N`: what the pass did.
pub(super) async fn show(
    store: &Store,
    pass: i64,
    now: Timestamp,
    as_json: bool,
) -> Result<Exit, CommandError> {
    let row = store.pass(pass).await?.ok_or(StoreError::Forgotten { pass })?;
    let shown = Shown::of(store, &row).await?;
    let operations = store.operations_of_pass(pass).await?;
    let plan = daemon::plan_of_pass(store, &row, &operations).await?;
    let held = store.holds(Some(&row.tenant)).await?.into_iter().filter(|hold| hold.pass == row.id);
    let held: String = held.map(|hold| super::holds::text(&hold, now)).collect();
    let text = match (&shown.run, as_json) {
        (_, true) => {
            let mut all = json!({ "pass": value(&shown), "plan": plan_value(&plan, &operations) });
            if let Some((run, counts)) = &shown.run {
                all["run"] =
                    run_report::value(run, counts, &run_report::left(store, run.id, &mut None).await?);
            }
            format!("{all:#}\n")
        }
        (Some((run, counts)), false) => {
            let left = run_report::left(store, run.id, &mut None).await?;
            run_head(&row, now) + &run_report::text(run, counts, &left, run.state.as_str()) + &held
        }
        (None, false) => pass_text(&row, &plan, &operations, now) + &held,
    };
    answer(&text)?;
    Ok(Exit::Done)
}

/// When a run began and ended, for a person.
fn run_head(row: &PassRow, now: Timestamp) -> String {
    let took = row.finished_at.map_or_else(
        || "not ended yet".to_owned(),
        |ended| format!("took {}", outcome::span(ended.since(row.started_at))),
    );
    format!("pass {} of tenant {}, began {}, {took}\n", row.id, row.tenant, ago(row.started_at, now))
}

/// The plan, each change with what became of it.
fn plan_value(plan: &Plan, operations: &[Sent]) -> Value {
    let mut value = json!(plan);
    let changes = value["changes"].as_array_mut().into_iter().flatten();
    for (change, sent) in changes.zip(operations) {
        change["operation"] = outcome::value(sent);
    }
    value
}

fn pass_text(row: &PassRow, plan: &Plan, operations: &[Sent], now: Timestamp) -> String {
    let mut out = format!("pass {} of tenant {}\n", row.id, row.tenant);
    let mut put = |word: &str, value: String| {
        let _ = writeln!(out, "  {word:15}{value}");
    };
    let or_none = |at: Option<Timestamp>| at.map_or_else(|| "none".to_owned(), |at| at.to_string());
    put("kind", row.kind.to_string());
    put("began", ago(row.started_at, now));
    match row.finished_at {
        Some(ended) => put("took", outcome::span(ended.since(row.started_at))),
        None => put("took", "running".to_owned()),
    }
    put("result", row.result.clone().unwrap_or_else(|| "running".to_owned()));
    if let Some(reason) = &row.reason {
        put("reason", reason.clone());
    }
    let totals = row.totals;
    put(
        "users",
        format!(
            "{} read, {} need nothing, {} planned, {} unreadable, {} missing",
            totals.users_read, totals.skipped, totals.planned, totals.unreadable, totals.missing
        ),
    );
    put("watermark", format!("{} → {}", or_none(row.watermark_before), or_none(row.watermark_after)));
    if row.drift.any() {
        put("drift", drift_text(row.drift));
    }
    for (word, digest) in [("mapping", &row.mapping_digest), ("plan", &row.digest)] {
        put(word, digest.as_deref().map_or("none", short).to_owned());
    }
    for (change, sent) in plan.changes.iter().zip(operations) {
        let change = crate::plan::Change { already: None, ..change.clone() };
        let _ = writeln!(out, "{}; {}", change.to_text(), outcome::text(sent, now));
    }
    out
}
