//! `run_rows`: what was decided about rows, and the operations that carry it.
//!
//! A row is planned in one transaction with its operation, or ends without one. Why it does is not asked here, only
//! what it takes the place of.
//!
//! `+state` keeps the database from going through all operations in that state where those of a few users are asked for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use sqlx::SqliteConnection;

use super::rows::{json, number, stored, superseded_rows};
use super::{Run, Store, StoreError, holds, provisioned, row_settlement};
use crate::model::{
    Action, AttributesPayload, Cause, Finding, Kind, Operation, Outcome, Payload, RunKind, TenantId,
    Timestamp, UserId,
};

/// What was decided about a row.
#[derive(Clone, Debug)]
pub struct RowStep {
    /// Where it stands.
    pub line: u64,
    /// Whom it means.
    pub user: Option<UserId>,
    /// By which HR knows him, if no row names him.
    pub external_id: Option<String>,
    /// What is done for it.
    pub next: RowNext,
}

/// What is done for a row.
#[derive(Clone, Debug)]
pub enum RowNext {
    /// This is sent.
    Send {
        /// What it comes to.
        action: Action,
        /// What.
        operation: Operation,
        /// In a bulk request.
        packed: bool,
        /// It counts as so many failed attempts already.
        attempts: u32,
        /// Not before.
        due: Timestamp,
    },
    /// Nothing is.
    End {
        /// What has become of it.
        outcome: Outcome,
        /// Why, if it is not as the row wants it.
        reason: Option<String>,
    },
}

impl Store {
    /// Carries out what was decided about rows of a run, as far as it can be now: a user who has an operation of this kind
    /// in flight is decided later.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved.
    pub async fn decide_rows(&self, run: &Run, steps: &[RowStep], now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        take(&mut tx, run, steps, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Carries out what was decided about rows of a run, but holds it until it is approved under `digest`: nothing of it
    /// can be sent before. It is one plan: as long as something of this kind is in flight for any of them nothing moves, and
    /// the answer is `false`. So it is when the same was approved since `window` and withdrawn before anything of it was
    /// done, as when the command is given once more: that approval stands, and nothing is held.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved.
    pub async fn hold_rows(
        &self,
        run: &Run,
        steps: &[RowStep],
        (digest, findings): (&str, &[Finding]),
        (window, now): (Timestamp, Timestamp),
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        if !leased(&mut tx, run, steps).await?.is_empty() {
            return Ok(false);
        }
        let approved = holds::approved(&mut tx, run, digest, (window, now)).await?;
        take(&mut tx, run, steps, now).await?;
        let lines = serde_json::json!(steps.iter().map(|step| step.line).collect::<Vec<_>>()).to_string();
        if let Some(hold) = approved {
            sqlx::query(
                "UPDATE operations SET hold = $3, counts_removal = 0 WHERE state = 'ready' AND id IN (
                     SELECT operation FROM run_rows WHERE run = $1 AND line IN (SELECT value FROM json_each($2)))",
            )
            .bind(run.id)
            .bind(&lines)
            .bind(hold)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            return Ok(false);
        }
        let hold: i64 = sqlx::query_scalar(
            "INSERT INTO holds (tenant, digest, pass, created_at, operations, findings)
             VALUES ($1, $2, $3, $4, 0, $5)
             ON CONFLICT (tenant, digest) WHERE decision IS NULL DO UPDATE SET findings = excluded.findings, pass = excluded.pass
             RETURNING id",
        )
        .bind(run.tenant.as_str())
        .bind(digest)
        .bind(run.pass)
        .bind(now.millis())
        .bind(json(&findings)?)
        .fetch_one(&mut *tx)
        .await?;
        // Whoever approves it may deliver it by a pass, which makes no bulk requests.
        sqlx::query(
            "UPDATE operations SET state = 'held', hold = $3, packed = 0, counts_removal = 0 WHERE state = 'ready' AND id IN (
                 SELECT operation FROM run_rows WHERE run = $1 AND line IN (SELECT value FROM json_each($2)))",
        )
        .bind(run.id)
        .bind(&lines)
        .bind(hold)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE run_rows SET outcome = 'held', finished_at = $3 WHERE run = $1 AND outcome IS NULL
                 AND line IN (SELECT value FROM json_each($2))",
        )
        .bind(run.id)
        .bind(&lines)
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE passes SET hold = $2, digest = $3 WHERE id = $1")
            .bind(run.pass)
            .bind(hold)
            .bind(digest)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "UPDATE holds SET operations = (SELECT count(*) FROM operations WHERE hold = $1 AND state = 'held') WHERE id = $1",
        )
        .bind(hold)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Nearly all users have nothing open: they are taken together, because a statement costs far more than a row.
async fn take(
    tx: &mut SqliteConnection,
    run: &Run,
    steps: &[RowStep],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut busy = busy(tx, &run.tenant, steps).await?;
    let in_flight = in_flight(tx, run, steps).await?;
    let open = open(tx, run, steps).await?;
    let unclear = unclear_before(tx, run).await?;
    let (mut alone, mut together, mut ended, mut later) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for step in steps.iter().filter(|step| open.contains(&step.line)) {
        match &step.next {
            RowNext::End { .. } if step.user.as_ref().is_some_and(|user| in_flight.contains(user)) => {
                later.push(step.line);
            }
            RowNext::End { outcome, reason } => ended.push((step, *outcome, reason.as_deref())),
            RowNext::Send { operation, .. }
                if operation.payload.creates() && unclear.contains(&step.line) =>
            {
                later.push(step.line);
            }
            RowNext::Send { action, operation, packed, attempts, due } => {
                let sent = Sent {
                    step,
                    action: *action,
                    operation,
                    packed: *packed,
                    attempts: *attempts,
                    due: *due,
                    takes_over: None,
                };
                let is_free = busy.insert((operation.user.clone(), operation.payload.kind()));
                if is_free { together.push(sent) } else { alone.push(sent) }
            }
        }
    }
    put_off(tx, run, &later, now).await?;
    send(tx, run, &together, now).await?;
    for sent in &alone {
        plan(tx, run, sent, now).await?;
    }
    end(tx, run, &ended, now).await
}

/// What is sent for a row.
struct Sent<'a> {
    step: &'a RowStep,
    action: Action,
    operation: &'a Operation,
    packed: bool,
    attempts: u32,
    due: Timestamp,
    /// The operation whose rows it carries too.
    takes_over: Option<i64>,
}

/// Lines that are still to be decided. Meanwhile a newer file may have taken the place of this one: then only those rows are
/// open that have to be looked up, and nobody stands for a user whom no row names.
async fn open(tx: &mut SqliteConnection, run: &Run, steps: &[RowStep]) -> Result<HashSet<u64>, StoreError> {
    let lines: Vec<i64> = steps.iter().map(|step| stored(step.line)).collect();
    let open: Vec<i64> = sqlx::query_scalar(
        "SELECT l.value FROM json_each($2) l LEFT JOIN run_rows r ON r.run = $1 AND r.line = l.value
         WHERE (r.state = 'waiting' AND r.outcome IS NULL)
             OR (r.line IS NULL AND (SELECT state FROM runs WHERE id = $1) = 'open')",
    )
    .bind(run.id)
    .bind(json(&lines)?)
    .fetch_all(tx)
    .await?;
    Ok(open.into_iter().map(number).collect())
}

/// Those whom rows of an export find as they are to be, while something is in flight that may change them.
async fn in_flight(
    tx: &mut SqliteConnection,
    run: &Run,
    steps: &[RowStep],
) -> Result<HashSet<UserId>, StoreError> {
    let found = steps
        .iter()
        .filter(|step| matches!(step.next, RowNext::End { .. }) && run.kind == RunKind::Provision);
    leased(tx, run, found).await
}

/// Those of them for whom something of an export is in flight.
async fn leased(
    tx: &mut SqliteConnection,
    run: &Run,
    steps: impl IntoIterator<Item = &RowStep>,
) -> Result<HashSet<UserId>, StoreError> {
    let found: Vec<&str> = steps.into_iter().filter_map(|step| Some(step.user.as_ref()?.as_str())).collect();
    let users: Vec<String> = sqlx::query_scalar(
        "SELECT user_id FROM operations WHERE tenant = $1 AND user_id IN (SELECT value FROM json_each($2))
             AND kind = 'profile' AND state = 'leased'",
    )
    .bind(run.tenant.as_str())
    .bind(json(&found)?)
    .fetch_all(tx)
    .await?;
    Ok(users.into_iter().map(UserId::from).collect())
}

/// Those for whom something is sent, and who have an open operation of its kind.
async fn busy(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    steps: &[RowStep],
) -> Result<HashSet<(UserId, Kind)>, StoreError> {
    let users: Vec<&str> = steps
        .iter()
        .filter_map(|step| match &step.next {
            RowNext::Send { operation, .. } => Some(operation.user.as_str()),
            RowNext::End { .. } => None,
        })
        .collect();
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT user_id, kind FROM operations
         WHERE tenant = $1 AND user_id IN (SELECT value FROM json_each($2))
             AND +state IN ('ready', 'leased', 'stale', 'held', 'dead')",
    )
    .bind(tenant.as_str())
    .bind(json(&users)?)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().filter_map(|(user, kind)| Some((UserId::from(user), Kind::parse(&kind)?))).collect())
}

/// Rows whose user may have been created for an export that was superseded, and is still to be looked up for it.
async fn unclear_before(tx: &mut SqliteConnection, run: &Run) -> Result<HashSet<u64>, StoreError> {
    let lines: Vec<i64> = sqlx::query_scalar(
        "SELECT n.line FROM runs u
         CROSS JOIN run_rows b ON b.run = u.id AND b.state = 'waiting' AND b.outcome IS NULL
         CROSS JOIN run_rows n ON n.run = $2 AND n.external_id = b.external_id
         WHERE u.tenant = $1 AND u.state = 'superseded'",
    )
    .bind(run.tenant.as_str())
    .bind(run.id)
    .fetch_all(tx)
    .await?;
    Ok(lines.into_iter().map(number).collect())
}

/// Something is in flight for whom these rows mean: it will have ended by then, most of the time.
async fn put_off(
    tx: &mut SqliteConnection,
    run: &Run,
    lines: &[u64],
    now: Timestamp,
) -> Result<(), StoreError> {
    const A_MOMENT: Duration = Duration::from_secs(1);
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE run_rows SET due_at = $3, state = 'waiting'
         WHERE run = $1 AND line IN (SELECT value FROM json_each($2))",
    )
    .bind(run.id)
    .bind(json(&lines)?)
    .bind(now.plus(A_MOMENT).millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// An operation that waits is replaced by a newer one. Custom attributes are merged with those of the same run; a dead letter of
/// an earlier one that is sent once more goes first, by itself: what is wrong with it is none of this row's business.
async fn plan(
    tx: &mut SqliteConnection,
    run: &Run,
    sent: &Sent<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let operation = sent.operation;
    let open: Option<(i64, String, String, bool)> = sqlx::query_as(
        "SELECT id, state, payload, EXISTS (SELECT 1 FROM run_rows WHERE operation = operations.id AND run = $4)
         FROM operations WHERE tenant = $1 AND user_id = $2 AND kind = $3
             AND state IN ('ready', 'leased', 'stale', 'held', 'dead')",
    )
    .bind(run.tenant.as_str())
    .bind(operation.user.as_str())
    .bind(operation.payload.kind().as_str())
    .bind(run.id)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((id, state, waiting, ours)) = open else {
        return send(tx, run, std::slice::from_ref(sent), now).await;
    };
    let replayed = state == "ready" && !ours && run.kind == RunKind::Attributes;
    if replayed {
        // Whoever delivers nothing but this run delivers it, too.
        sqlx::query("UPDATE operations SET pass = $2 WHERE id = $1")
            .bind(id)
            .bind(run.pass)
            .execute(&mut *tx)
            .await?;
    }
    if replayed || state == "leased" {
        return put_off(tx, run, &[sent.step.line], now).await;
    }
    sqlx::query("UPDATE operations SET state = 'superseded', finished_at = $2 WHERE id = $1")
        .bind(id)
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
    let (Payload::Attributes(newer), Ok(Payload::Attributes(waiting)), "ready" | "held") =
        (&operation.payload, serde_json::from_str(&waiting), state.as_str())
    else {
        return send(tx, run, std::slice::from_ref(sent), now).await;
    };
    let payload = Payload::Attributes(AttributesPayload::then(waiting, newer));
    let merged = Operation { payload, ..operation.clone() };
    send(tx, run, &[Sent { operation: &merged, takes_over: Some(id), ..*sent }], now).await
}

/// An operation as it is written.
#[derive(Serialize)]
struct NewOperation<'a> {
    user: &'a str,
    kind: &'static str,
    target: String,
    payload: String,
    cause: &'static str,
    version: Option<&'a str>,
    due: i64,
    attempts: u32,
    packed: bool,
    /// It counts towards the guard's limit on those who lose something.
    removes: bool,
}

/// A row as it is planned.
#[derive(Serialize)]
struct PlannedStep<'a> {
    line: i64,
    user: Option<&'a str>,
    external_id: Option<&'a str>,
    action: &'static str,
    operation: i64,
    takes_over: Option<i64>,
    /// Whose operation that is.
    whose: &'a str,
    kind: &'static str,
}

/// Writes operations for users who have no open one of their kind, and what they mean for rows.
async fn send(
    tx: &mut SqliteConnection,
    run: &Run,
    sent: &[Sent<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    if sent.is_empty() {
        return Ok(());
    }
    let operations = add(tx, run, sent, now).await?;
    let planned: Vec<PlannedStep<'_>> = sent
        .iter()
        .filter_map(|sent| {
            let (whose, kind) = (sent.operation.user.as_str(), sent.operation.payload.kind().as_str());
            Some(PlannedStep {
                line: stored(sent.step.line),
                user: sent.step.user.as_ref().map(UserId::as_str),
                external_id: sent.step.external_id.as_deref(),
                action: sent.action.as_str(),
                operation: *operations.get(&(whose.to_owned(), kind.to_owned()))?,
                takes_over: sent.takes_over,
                whose,
                kind,
            })
        })
        .collect();
    let planned = json(&planned)?;
    if sent.iter().any(|sent| sent.takes_over.is_some()) {
        sqlx::query(
            "UPDATE run_rows SET operation = p.value ->> 'operation'
             FROM json_each($1) p WHERE run_rows.operation = p.value ->> 'takes_over'",
        )
        .bind(&planned)
        .execute(&mut *tx)
        .await?;
    }
    // What another run had planned for them is decided otherwise now.
    sqlx::query(superseded_rows!(
        "outcome IS NULL AND operation IN (
             SELECT o.id FROM json_each($2) p CROSS JOIN operations o ON o.tenant = $3
                 AND o.user_id = p.value ->> 'whose' AND o.kind = p.value ->> 'kind'
                 AND +o.state = 'superseded' AND o.id < p.value ->> 'operation')
             AND NOT (run = $4 AND line IN (SELECT p.value ->> 'line' FROM json_each($2) p))"
    ))
    .bind(now.millis())
    .bind(&planned)
    .bind(run.tenant.as_str())
    .bind(run.id)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO run_rows (run, line, state, user_id, action, operation, external_id)
         SELECT $1, p.value ->> 'line', 'planned', p.value ->> 'user', p.value ->> 'action', p.value ->> 'operation',
             p.value ->> 'external_id' FROM json_each($2) p WHERE true
         ON CONFLICT (run, line) DO UPDATE SET state = 'planned', user_id = coalesce(excluded.user_id, user_id),
             action = excluded.action, operation = excluded.operation, outcome = NULL",
    )
    .bind(run.id)
    .bind(&planned)
    .execute(&mut *tx)
    .await?;
    let asked = sent.iter().filter(|sent| {
        sent.operation.cause == Cause::Asked && matches!(sent.operation.payload, Payload::Profile(_))
    });
    let meant =
        asked.filter_map(|sent| Some((run.id, stored(sent.step.line), sent.step.user.as_ref()?.as_str())));
    provisioned::remember(tx, &run.tenant, meant, now).await
}

/// Writes these operations; returns which is whose, and of which kind.
async fn add(
    tx: &mut SqliteConnection,
    run: &Run,
    sent: &[Sent<'_>],
    now: Timestamp,
) -> Result<HashMap<(String, String), i64>, StoreError> {
    let operations = sent
        .iter()
        .map(|Sent { operation, due, attempts, packed, .. }| {
            Ok(NewOperation {
                user: operation.user.as_str(),
                kind: operation.payload.kind().as_str(),
                target: operation.payload.target(),
                payload: json(&operation.payload)?,
                cause: operation.cause.as_str(),
                version: operation.version.as_deref(),
                due: due.millis(),
                attempts: *attempts,
                packed: *packed,
                removes: operation.cause == Cause::Missing,
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let added: Vec<(String, String, i64)> = sqlx::query_as(
        "INSERT INTO operations (tenant, pass, created_at, user_id, kind, state, target, payload, cause, version, due_at,
             attempts, packed, counts_removal)
         SELECT $1, $2, $3, o.value ->> 'user', o.value ->> 'kind', 'ready', o.value ->> 'target', o.value ->> 'payload',
             o.value ->> 'cause', o.value ->> 'version', o.value ->> 'due', o.value ->> 'attempts',
             o.value ->> 'packed', o.value ->> 'removes'
         FROM json_each($4) o RETURNING user_id, kind, id",
    )
    .bind(run.tenant.as_str())
    .bind(run.pass)
    .bind(now.millis())
    .bind(json(&operations)?)
    .fetch_all(tx)
    .await?;
    Ok(added.into_iter().map(|(user, kind, id)| ((user, kind), id)).collect())
}

/// Rows end without an operation, each with what has become of it, and why.
async fn end(
    tx: &mut SqliteConnection,
    run: &Run,
    ended: &[(&RowStep, Outcome, Option<&str>)],
    now: Timestamp,
) -> Result<(), StoreError> {
    if ended.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = ended
        .iter()
        .map(|(step, outcome, reason)| {
            (run.id, stored(step.line), outcome.as_str(), reason, step.user.as_ref().map(UserId::as_str))
        })
        .collect();
    // Both columns of the key come from the list, or all rows of the run would be gone through for each of its.
    sqlx::query(
        "UPDATE run_rows SET state = 'finished', outcome = e.value ->> 2, reason = e.value ->> 3,
             user_id = coalesce(e.value ->> 4, user_id), finished_at = $3, wanted = NULL,
             user_name = iif((SELECT state FROM runs WHERE id = $1) = 'superseded', NULL, user_name)
         FROM json_each($2) e WHERE run_rows.run = e.value ->> 0 AND run_rows.line = e.value ->> 1",
    )
    .bind(run.id)
    .bind(json(&rows)?)
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    // What was sent for whoever is found to be created has done it, though nobody answered.
    let created = ended.iter().filter(|(_, outcome, _)| *outcome == Outcome::Created);
    let created: Vec<i64> = created.map(|(step, ..)| stored(step.line)).collect();
    sqlx::query(
        "UPDATE operations SET state = 'done' WHERE state = 'superseded' AND id IN (
             SELECT operation FROM run_rows WHERE run = $1 AND line IN (SELECT value FROM json_each($2)))",
    )
    .bind(run.id)
    .bind(json(&created)?)
    .execute(&mut *tx)
    .await?;
    let there = |outcomes: &'static [Outcome]| {
        let rows = ended.iter().filter(move |(_, outcome, _)| outcomes.contains(outcome));
        rows.filter_map(|(step, ..)| Some((run.id, stored(step.line), step.user.as_ref()?.as_str())))
    };
    let known = there(&[Outcome::Unchanged, Outcome::Created, Outcome::Skipped]);
    provisioned::remember(tx, &run.tenant, known, now).await?;
    let right = there(&[Outcome::Unchanged, Outcome::Created]).map(|(.., user)| user);
    take_away(tx, run, right.collect(), now).await
}

/// An export finds users as they are to be: what an earlier one decided otherwise, and has not sent, is not sent any more.
async fn take_away(
    tx: &mut SqliteConnection,
    run: &Run,
    users: Vec<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    if run.kind != RunKind::Provision || users.is_empty() {
        return Ok(());
    }
    let taken: Vec<i64> = sqlx::query_scalar(
        "UPDATE operations SET state = 'superseded', finished_at = $3
         WHERE tenant = $1 AND user_id IN (SELECT value FROM json_each($2)) AND kind = 'profile'
             AND +state IN ('ready', 'held', 'dead') AND pass <= $4
         RETURNING id",
    )
    .bind(run.tenant.as_str())
    .bind(json(&users)?)
    .bind(now.millis())
    .bind(run.pass)
    .fetch_all(&mut *tx)
    .await?;
    row_settlement::end_with(tx, &taken, (Outcome::Superseded, None), now).await
}
