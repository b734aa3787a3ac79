//! Passes, for `status`: each in a line, and one with all that it decided and what became of it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::outcome::{self, ago, short};
use super::{CommandError, Exit, answer};
use crate::daemon;
use crate::model::{PassKind, Timestamp, counted};
use crate::plan::Plan;
use crate::store::{Drift, PassRow, Sent, Store, StoreError};

/// A pass in one line, and `why` it is not ok.
pub(super) fn line(pass: &PassRow, why: Option<&str>, now: Timestamp) -> String {
    let (result, totals) = (pass.result.as_deref().unwrap_or("running"), pass.totals);
    let mut text = format!("{} {result}, began {}, ", pass.kind, ago(pass.started_at, now));
    let planned = totals.planned;
    let _ = match pass.kind {
        PassKind::Apply => {
            text.write_str(&counted(planned, "change taken from the plan", "changes taken from the plan"))
        }
        PassKind::Provision | PassKind::Attributes => {
            write!(text, "{}, {planned} sent", counted(totals.users_read, "row", "rows"))
        }
        PassKind::Remap => write!(text, "{planned} planned"),
        PassKind::Delta | PassKind::Sweep | PassKind::Reread => {
            write!(text, "{} read, {planned} planned", counted(totals.users_read, "user", "users"))
        }
    };
    if let Some(reason) = why {
        let _ = write!(text, " ({reason})");
    }
    text
}

/// The same for scripts.
pub(super) fn value(pass: &PassRow) -> Value {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": pass.id,
        "tenant": pass.tenant,
        "kind": pass.kind.as_str(),
        "started_at": pass.started_at.to_string(),
        "finished_at": text(pass.finished_at),
        "result": pass.result,
        "reason": pass.reason,
        "users_read": pass.totals.users_read,
        "pages": pass.totals.pages,
        "planned": pass.totals.planned,
        "skipped": pass.totals.skipped,
        "unreadable": pass.totals.unreadable,
        "missing": pass.totals.missing,
        "complete": pass.complete,
        "watermark_before": text(pass.watermark_before),
        "watermark_after": text(pass.watermark_after),
        "mapping_digest": pass.mapping_digest,
        "digest": pass.digest,
        "drift": drift_value(pass.drift),
        "hold": pass.hold,
    })
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
    let operations = store.operations_of_pass(pass).await?;
    let plan = daemon::plan_of_pass(store, &row, &operations).await?;
    let text = if as_json {
        format!("{:#}\n", json!({ "pass": value(&row), "plan": plan_value(&plan, &operations) }))
    } else {
        let held = store.holds(Some(&row.tenant)).await?.into_iter().find(|hold| Some(hold.id) == row.hold);
        let held = held.map(|hold| super::holds::text(&hold, now)).unwrap_or_default();
        pass_text(&row, &plan, &operations, now) + &held
    };
    answer(&text)?;
    Ok(Exit::Done)
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
