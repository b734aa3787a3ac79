//! What has become of a run: a summary with a table of what is wrong, or JSON, and a file with a line for each row.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::run_rows::{self, RowFile, fault_table, fault_values};
use super::{CommandError, Exit, answer, complain, error};
use crate::daemon::{Carried, RunEnd, RunFailure};
use crate::model::{Outcome, RunKind, RunState, counted};
use crate::store::{RowEnd, Run, RunCounts, Store};
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
    mut file: Option<RowFile>,
    as_json: bool,
) -> Result<Exit, CommandError> {
    let run = store.run(told.run.id).await?;
    let counts = store.run_summary(run.id).await?;
    let left = left(store, run.id, &mut file).await?;
    if let Some(file) = file {
        file.finish()?;
    }
    let (exit, end) = exit_of(told, &run, &counts);
    if as_json {
        let mut value = value(&run, &counts, &left);
        value["end"] = json!(end);
        value["exit_code"] = json!(exit.code());
        if let Some(Err(failure)) = &told.carried {
            value["error"] = json!(failure.to_string());
        }
        answer(&format!("{value:#}\n"))?;
    } else {
        answer(&text(&run, &counts, &left, &end))?;
    }
    if let Some(Err(failure)) = &told.carried {
        complain(&format!("{}: {failure}", run.tenant));
    }
    Ok(exit)
}

/// Rows that somebody has to look at; each row is written to `file`. All else is forgotten, and what is open is counted.
pub(super) async fn left(
    store: &Store,
    run: i64,
    file: &mut Option<RowFile>,
) -> Result<Vec<RowEnd>, CommandError> {
    let mut left = Vec::new();
    let mut ends = store.row_ends(run);
    while let Some(rows) = ends.next().await? {
        for row in rows {
            if let Some(file) = file {
                file.add(&row)?;
            }
            if row.outcome.is_some_and(Outcome::left) {
                left.push(row);
            }
        }
    }
    Ok(left)
}

fn exit_of(told: &Told, run: &Run, counts: &RunCounts) -> (Exit, String) {
    match &told.carried {
        None => (Exit::Failed, "cut short; run the same command again to go on".to_owned()),
        Some(Err(RunFailure::Store(_) | RunFailure::Audit(_))) => (Exit::Failed, "failed".to_owned()),
        Some(Err(failure @ RunFailure::Read(_))) => (
            error::of_blame(failure.blame()),
            "the tenant could not be read; run the same command again to go on".to_owned(),
        ),
        Some(Ok(Carried::GoesOn)) => {
            let (run, instead) = (
                run.id,
                match run.kind {
                    RunKind::Provision => "a newer export",
                    RunKind::Attributes => "another file with --drop-unfinished",
                },
            );
            let end = format!(
                "not followed any longer; the daemon goes on with run {run}. `rosterd status --run {run}` shows how far it is; to \
                 stop it, stop the daemon, which goes on after its next start, or give it up with {instead}"
            );
            (Exit::Left, end)
        }
        Some(Ok(Carried::Stopped)) => {
            (Exit::Left, "interrupted; run the same command again to go on".to_owned())
        }
        Some(Ok(Carried::Waited(Some(last)))) => {
            let said = telemetry::redact::text(&last.said);
            (error::of_blame(last.blame), format!("{said}; run the same command again to go on"))
        }
        Some(Ok(Carried::Waited(None))) => (
            Exit::Left,
            "nothing has moved for as long as --wait allows; run the same command again to go on".to_owned(),
        ),
        Some(Ok(Carried::Trouble(trouble))) => {
            let exit = error::of_trouble(Some(*trouble)).unwrap_or(Exit::Left);
            (exit, format!("{}; run the same command again to go on", trouble.as_str()))
        }
        Some(Ok(Carried::Ended(RunEnd::Stopped))) => (Exit::Left, "stopped".to_owned()),
        Some(Ok(Carried::Ended(RunEnd::Superseded))) => (Exit::Left, "superseded by a newer file".to_owned()),
        Some(Ok(Carried::Ended(RunEnd::Finished))) if counts.left() > 0 || run.not_deactivated.is_some() => {
            (Exit::Left, "finished".to_owned())
        }
        Some(Ok(Carried::Ended(RunEnd::Finished))) => (Exit::Done, "finished".to_owned()),
    }
}

/// Rows that came to nothing, of all, 0 to 1.
fn error_rate(counts: &RunCounts) -> f64 {
    let wrong = counts.rejected + counts.unresolved + counts.failed;
    #[expect(clippy::cast_precision_loss, reason = "rows are far below 2^52")]
    let rate = wrong as f64 / (counts.rows + counts.unnamed).max(1) as f64;
    rate
}

/// How many rows are processed, and what has become of them.
pub(super) fn became(counts: &RunCounts) -> String {
    let mut out = format!("{} of {} processed", counts.processed(), counted(counts.rows, "row", "rows"));
    if counts.unnamed > 0 {
        let processed = counts.unnamed - counts.unnamed_open;
        let users = counted(counts.unnamed, "user", "users");
        let _ = write!(out, ", {processed} of {users} whom no row names");
    }
    for (name, count) in counts.numbers() {
        if count > 0 {
            // The only one that is no outcome.
            let _ = match name {
                "conflicts" => write!(out, ", {} met", counted(count, "conflict", "conflicts")),
                name => write!(out, ", {count} {name}"),
            };
        }
    }
    out
}

/// In words.
pub(super) fn text(run: &Run, counts: &RunCounts, left: &[RowEnd], end: &str) -> String {
    let mut out = fault_table(left.iter().filter_map(|row| row.rejected.as_ref()));
    let in_table = |row: &&RowEnd| row.rejected.is_none() && row.outcome != Some(Outcome::Held);
    out.push_str(&run_rows::left_table(left.iter().filter(in_table)));
    let _ = writeln!(out, "{}: run {} of {} ({}): {end}", run.tenant, run.id, run.file, run.kind);
    match &run.reason {
        Some(reason) if run.state == RunState::Stopped => {
            let _ = writeln!(
                out,
                "  stopped: {}\n  nothing was accepted before; {} held. If the tenant is mended, run the same \
                 command again; to go on regardless, run the same command with --force; if the file is mended, give this run up \
                 with --drop-unfinished",
                shown(reason, left),
                counted(counts.held, "row is", "rows are")
            );
        }
        // Nobody goes on with it.
        Some(reason) => {
            let _ = writeln!(out, "  it was stopped: {}", shown(reason, left));
        }
        None => {}
    }
    let _ = write!(out, "  {}", became(counts));
    let _ = write!(out, "\n  error rate {:.2} %", error_rate(counts) * 100.0);
    if let (Some(mean), Some(p95)) = (counts.mean_latency_ms, counts.p95_latency_ms) {
        let _ = write!(out, "; a call took {mean} ms on average, nineteen of twenty {p95} ms at most");
    }
    out.push('\n');
    if let Some(why) = &run.not_deactivated {
        let _ = writeln!(out, "  {why}");
    }
    if counts.held > 0 && run.reason.is_none() {
        out.push_str("  what is held waits for an approval: `rosterd status` says why, and how to approve\n");
    }
    out
}

/// Why a run was stopped: for the reason of rows that are left.
fn shown<'a>(reason: &'a str, left: &[RowEnd]) -> Cow<'a, str> {
    telemetry::redact::text_naming(reason, left.iter().flat_map(|row| &row.names))
}

/// The same for scripts.
pub(super) fn value(run: &Run, counts: &RunCounts, left: &[RowEnd]) -> Value {
    let rows = left.iter().filter(|row| row.rejected.is_none()).map(run_rows::value);
    let faults = fault_values(left.iter().filter_map(|row| row.rejected.as_ref()));
    let mut value = json!({
        "tenant": run.tenant,
        "run": run.id,
        "pass": run.pass,
        "kind": run.kind,
        "file": run.file,
        "state": run.state,
        "reason": run.reason.as_deref().map(|reason| shown(reason, left)),
        "not_deactivated": run.not_deactivated,
        "rows": counts.rows,
        "processed": counts.processed(),
        "open": counts.open,
        "unnamed": counts.unnamed,
        "unnamed_open": counts.unnamed_open,
        "error_rate": error_rate(counts),
        "mean_latency_ms": counts.mean_latency_ms,
        "p95_latency_ms": counts.p95_latency_ms,
        "faults": faults,
        "left": rows.collect::<Vec<_>>(),
    });
    for (name, count) in counts.numbers() {
        value[name] = json!(count);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::{Blame, LastWord};
    use crate::deliver::Trouble;
    use crate::model::{TenantId, Timestamp};

    fn run() -> Run {
        Run {
            id: 3,
            tenant: TenantId::from("acme"),
            kind: RunKind::Provision,
            digest: String::new(),
            file: "hr.csv".to_owned(),
            options: String::new(),
            pass: 4,
            state: RunState::Finished,
            reason: None,
            not_deactivated: None,
            read: true,
            operator: None,
            started_at: Timestamp::EPOCH,
            finished_at: None,
        }
    }

    fn ended(carried: Carried, counts: &RunCounts) -> Exit {
        exit_of(&Told::of(run(), Some(Ok(carried))), &run(), counts).0
    }

    #[test]
    fn the_exit_code_says_whether_anything_is_left() {
        let clean = RunCounts { rows: 2, created: 2, ..RunCounts::default() };
        let finished = Carried::Ended(RunEnd::Finished);
        assert_eq!(ended(finished.clone(), &clean), Exit::Done);
        for left in [
            RunCounts { rejected: 1, ..clean.clone() },
            RunCounts { unresolved: 1, ..clean.clone() },
            RunCounts { failed: 1, ..clean.clone() },
            RunCounts { held: 1, ..clean.clone() },
        ] {
            assert_eq!(ended(finished.clone(), &left), Exit::Left, "{left:?}");
        }
        let refused = Run { not_deactivated: Some("the export has no good row".to_owned()), ..run() };
        let told = Told::of(run(), Some(Ok(finished.clone())));
        assert_eq!(exit_of(&told, &refused, &clean).0, Exit::Left);
        let skipped = RunCounts { skipped: 1, superseded: 1, conflicts: 1, ..clean.clone() };
        assert_eq!(ended(finished, &skipped), Exit::Done);
        let said = |blame| Carried::Waited(Some(LastWord { blame, said: "it answers 200: <h1>".to_owned() }));
        for (carried, exit) in [
            (Carried::Ended(RunEnd::Stopped), Exit::Left),
            (Carried::Ended(RunEnd::Superseded), Exit::Left),
            (Carried::Stopped, Exit::Left),
            (Carried::GoesOn, Exit::Left),
            (Carried::Waited(None), Exit::Left),
            (said(Blame::Unreachable), Exit::Unavailable),
            (said(Blame::Other), Exit::Failed),
            (Carried::Trouble(Trouble::Unauthorized), Exit::Refused),
        ] {
            assert_eq!(ended(carried.clone(), &clean), exit, "{carried:?}");
        }
        assert_eq!(exit_of(&Told::of(run(), None), &run(), &clean).0, Exit::Failed);
    }

    #[test]
    fn what_nothing_became_of_is_told_by_number_and_rate() {
        let counts =
            RunCounts { rows: 8, open: 2, created: 4, rejected: 1, failed: 1, ..RunCounts::default() };
        let one =
            RunCounts { rows: 1, updated: 1, conflicts: 1, unnamed: 5, held: 5, ..RunCounts::default() };
        let told = became(&one);
        assert_eq!(
            told,
            "1 of 1 row processed, 5 of 5 users whom no row names, 1 updated, 1 conflict met, 5 held"
        );
        let told = text(&run(), &counts, &[], "finished");
        let expected = "acme: run 3 of hr.csv (provision): finished\n  6 of 8 rows processed, 4 created, 1 rejected, \
                        1 failed\n  error rate 25.00 %\n";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_run_that_was_stopped_says_why_and_how_to_go_on() {
        let stopped =
            Run { state: RunState::Stopped, reason: Some("no attribute \"a\"".to_owned()), ..run() };
        let counts = RunCounts { rows: 30, failed: 20, held: 10, ..RunCounts::default() };
        let told = text(&stopped, &counts, &[], "stopped");
        for says in ["stopped: no attribute \"a\"", "10 rows are held", "--force", "--drop-unfinished"] {
            assert!(told.contains(says), "{told}");
        }
        assert!(!told.contains("approval"), "{told}");

        let superseded = Run { state: RunState::Superseded, ..stopped };
        let counts = RunCounts { rows: 30, failed: 20, superseded: 10, ..RunCounts::default() };
        let told = text(&superseded, &counts, &[], "superseded");
        let expected = "acme: run 3 of hr.csv (provision): superseded\n  it was stopped: no attribute \"a\"\n  \
                        30 of 30 rows processed, 20 failed, 10 superseded\n  error rate 66.67 %\n";
        assert_eq!(told, expected);
    }
}
