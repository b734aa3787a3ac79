//! `operations`, the outbox: what is due is leased, and what became of it is acknowledged.
//!
//! An acknowledgement names operation and lease, so it can never complete a newer row.

use std::time::Duration;

use sqlx::{FromRow, SqliteConnection};

use super::commit::{GONE, NOBODY, forget};
use super::done::settle_done;
use super::row_settlement::{self, RowSettled, Settled};
use super::{AuditHead, Store, StoreError, audit_head, grants, provisioned, unclear};
use crate::model::{Cause, Kind, Met, Operation, Outcome, Payload, Refusal, TenantId, Timestamp, UserId};

/// Nothing is put off for longer: a due time further ahead was written before our clock was set back.
pub(super) const LONGEST_DELAY: Duration = Duration::from_hours(2);

/// An operation in our hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Its row.
    pub id: i64,
    /// The lease that an acknowledgement must name.
    pub lease: i64,
    /// The pass that decided it.
    pub pass: i64,
    /// The digest of the mapping that it was decided by; `None` when the pass is forgotten.
    pub mapping: Option<String>,
    /// What to do.
    pub operation: Operation,
    /// Failed attempts so far that count.
    pub attempts: u32,
    /// It was sent before without an answer, and has been read to be there.
    pub found: bool,
    /// The trace of the pass that decided it (W3C Trace Context).
    pub traceparent: Option<String>,
}

/// What happens next to an operation that was leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is done.
    Done,
    /// It is sent again, not before `due`.
    Later {
        /// When.
        due: Timestamp,
        /// Whether this attempt counts towards the most that there may be.
        counted: bool,
    },
    /// The user has changed since: he is read again and decided anew, not before `due`.
    Stale {
        /// When.
        due: Timestamp,
    },
    /// Nobody knows whether it is done, or the tenant says that it is: the user is looked up and decided anew.
    LookUp {
        /// Why.
        met: Met,
        /// Not before: what nobody answered may still be under way.
        due: Timestamp,
        /// Whether this attempt counts towards the most that there may be.
        counted: bool,
    },
    /// The user is no more: what waits for him is dropped.
    Gone,
    /// It is a dead letter.
    Dead,
    /// It was not sent and waits as before.
    Released,
}

/// What the last answer said, for `dead-letters show`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The HTTP status.
    pub status: Option<u16>,
    /// Why, as the tenant put it.
    pub reason: Option<String>,
    /// By which the vendor's support finds the call.
    pub correlation_id: Option<String>,
    /// The start of the answer's body.
    pub answer: Option<String>,
}

/// An acknowledgement.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The operation.
    pub id: i64,
    /// The lease under which it was sent.
    pub lease: i64,
    /// Whom it was for.
    pub user: UserId,
    /// What happens next.
    pub step: Step,
    /// What the last answer said; `None` keeps what is known.
    pub note: Option<Note>,
    /// It is not known to be done, and may be.
    pub unclear: bool,
    /// Whom it has created.
    pub created: Option<UserId>,
    /// How long the tenant took.
    pub took: Duration,
}

/// A row that could not be read, and is a dead letter now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its row.
    pub id: i64,
    /// Whom it was for.
    pub user: UserId,
    /// What is wrong with it.
    pub reason: String,
}

/// What a turn brought.
#[derive(Debug, Default)]
pub struct Turn {
    /// Now in our hands.
    pub leased: Vec<Leased>,
    /// Given up, because nobody can tell what was to be done.
    pub damaged: Vec<Damaged>,
    /// When the next operation is due, if one waits that was not due yet, or for which there was no room at all.
    pub next_due: Option<Timestamp>,
}

impl Turn {
    /// Operations now in our hands that a pass decided.
    fn of_pass(&self, pass: i64) -> i64 {
        let leased = self.leased.iter().filter(|leased| leased.pass == pass).count();
        i64::try_from(leased).unwrap_or(i64::MAX)
    }
}

/// A run of which nothing was accepted yet, and which is stopped after so many refusals for one reason: no more of it may
/// be in flight than can be refused before that. While nothing is, one may, so that it comes to an end in any case.
#[derive(Clone, Copy, Debug, FromRow)]
struct Careful {
    pass: i64,
    /// Operations that may be leased.
    left: i64,
}

impl Store {
    /// The same database, whose [`turn`](Self::turn) leases nothing but what the pass `pass` decided.
    #[must_use]
    pub fn only(&self, pass: i64) -> Self {
        Self { only: Some(pass), ..self.clone() }
    }

    /// Acknowledges what was sent, with the last line that the audit has of it, and leases up to `room` operations
    /// that are due, oldest first and one for each user, in one transaction. A user with an operation in flight is passed
    /// over, and what is to be sent in a bulk request; whatever carries a complete list is, too, without `lists` and where its
    /// user has to be read again.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved, and the settlements must be handed in again.
    pub async fn turn(
        &self,
        tenant: &TenantId,
        settlements: &[Settlement],
        audited: Option<&AuditHead>,
        (room, lists): (u32, bool),
        now: Timestamp,
    ) -> Result<Turn, StoreError> {
        let mut tx = self.write().await?;
        if let Some(head) = audited {
            audit_head::remember(&mut tx, head).await?;
        }
        settle(&mut tx, tenant, settlements, now).await?;
        let only = self.only;
        let careful = careful(&mut tx, tenant).await?;
        let mut turn = if room > 0 {
            lease(&mut tx, tenant, (only, careful), (room, lists), now).await?
        } else {
            Turn::default()
        };
        let all_taken = u32::try_from(turn.leased.len()).is_ok_and(|taken| taken < room) || room == 0;
        // What waits for an answer to something else of its run is due when that comes back.
        let spent = careful.filter(|careful| careful.left <= turn.of_pass(careful.pass)).map(|run| run.pass);
        turn.next_due = if all_taken { next_due(&mut tx, tenant, (only, spent), now).await? } else { None };
        tx.commit().await?;
        Ok(turn)
    }

    /// Our clock was set back: what was put off to a moment that is far away now is due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn make_due(&self, tenant: &TenantId, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE operations SET due_at = $2 WHERE tenant = $1 AND state = 'ready' AND due_at > $2",
        )
        .bind(tenant.as_str())
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Operations of `tenant` that still have to be sent, in flight or stale ones included, and users who
    /// still have to be read again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_work(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let open: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM operations WHERE tenant = $1 AND state IN ('ready', 'leased', 'stale'))
                  + (SELECT count(*) FROM rereads WHERE tenant = $1)",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        Ok(u64::try_from(open).unwrap_or(0))
    }
}

impl Store {
    /// Operations of one pass that still have to be sent, in flight or stale ones included.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_work_of_pass(&self, pass: i64) -> Result<u64, StoreError> {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM operations WHERE pass = $1 AND state IN ('ready', 'leased', 'stale')",
        )
        .bind(pass)
        .fetch_one(&self.reader)
        .await?;
        Ok(u64::try_from(open).unwrap_or(0))
    }
}

async fn careful(tx: &mut SqliteConnection, tenant: &TenantId) -> Result<Option<Careful>, StoreError> {
    let careful = sqlx::query_as(
        "SELECT pass, max(flying = 0, stop_after - flying
             - coalesce((SELECT count(*) FROM run_rows WHERE run = r.id AND refusal IS NOT NULL
                 AND finished_at >= careful_since GROUP BY refusal ORDER BY 1 DESC LIMIT 1), 0)) AS left
         FROM (SELECT *, (SELECT count(*) FROM operations o WHERE o.pass = runs.pass AND o.state = 'leased') AS flying
             FROM runs) r
         WHERE tenant = $1 AND state = 'open' AND stop_after IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM run_rows WHERE run = r.id AND state = 'finished' AND outcome = 'updated')
         ORDER BY id LIMIT 1",
    )
    .bind(tenant.as_str())
    .fetch_optional(tx)
    .await?;
    Ok(careful)
}

/// Whether the user of operation `o` has to be read again at the time `$2`, and what it carries was decided without that: a
/// complete list may be known to be old.
macro_rules! outdated {
    () => {
        "o.kind = 'teams' AND EXISTS (SELECT 1 FROM rereads r
             WHERE r.tenant = o.tenant AND r.user_id = o.user_id AND r.due_at <= $2)"
    };
}

async fn next_due(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    (only, without): (Option<i64>, Option<i64>),
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let due: Option<i64> = sqlx::query_scalar(concat!(
        "SELECT min(due_at) FROM operations o
         WHERE tenant = $1 AND state = 'ready' AND packed = 0 AND ($3 IS NULL OR pass = $3) AND pass IS NOT $4
             AND NOT (",
        outdated!(),
        ")"
    ))
    .bind(tenant.as_str())
    .bind(now.millis())
    .bind(only)
    .bind(without)
    .fetch_one(tx)
    .await?;
    Ok(due.map(Timestamp::from_millis))
}

pub(super) type Row =
    (i64, i64, String, String, String, Option<String>, i64, Option<String>, i64, bool, Option<String>);

async fn lease(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    (only, careful): (Option<i64>, Option<Careful>),
    (room, lists): (u32, bool),
    now: Timestamp,
) -> Result<Turn, StoreError> {
    // The number of a lease is one more than the last, so that no two leases of a row are alike.
    let mut rows: Vec<Row> = sqlx::query_as(concat!(
        "UPDATE operations SET state = 'leased', lease = coalesce(lease, 0) + 1, touched_at = $2
         WHERE id IN (SELECT min(id) FROM (
             SELECT id, user_id FROM operations o WHERE tenant = $1 AND state = 'ready' AND (due_at <= $2 OR due_at > $3)
                 AND ($5 IS NULL OR pass = $5) AND packed = 0 AND ($6 OR kind <> 'teams')
                 AND (pass IS NOT $7 OR id IN (SELECT id FROM operations
                     WHERE pass = $7 AND state = 'ready' AND (due_at <= $2 OR due_at > $3) AND packed = 0
                     ORDER BY due_at, id LIMIT $8))
                 AND NOT EXISTS (SELECT 1 FROM operations f
                     WHERE f.tenant = o.tenant AND f.user_id = o.user_id AND f.state = 'leased')
                 AND NOT (",
        outdated!(),
        ") ORDER BY due_at, id LIMIT $4) GROUP BY user_id)
         RETURNING id, lease, user_id, payload, cause, version, attempts, traceparent, pass, found,
             (SELECT p.mapping_digest FROM passes p WHERE p.id = operations.pass)"
    ))
    .bind(tenant.as_str())
    .bind(now.millis())
    .bind(now.plus(LONGEST_DELAY).millis())
    .bind(room)
    .bind(only)
    .bind(lists)
    .bind(careful.map(|run| run.pass))
    .bind(careful.map_or(0, |run| run.left))
    .fetch_all(&mut *tx)
    .await?;
    rows.sort_unstable_by_key(|row| row.0);
    let mut turn = Turn::default();
    for row in rows {
        match leased(row) {
            Ok(leased) => {
                if let Payload::Teams(teams) = &leased.operation.payload {
                    let by = (leased.id, leased.lease);
                    grants::grant(tx, tenant, &leased.operation.user, &teams.added, by, now).await?;
                }
                turn.leased.push(leased);
            }
            Err(damaged) => {
                give_up(tx, &damaged, now).await?;
                turn.damaged.push(damaged);
            }
        }
    }
    provisioned::begin_deactivation(tx, tenant, &turn.leased).await?;
    Ok(turn)
}

pub(super) fn leased(row: Row) -> Result<Leased, Damaged> {
    let (id, lease, user, payload, cause, version, attempts, traceparent, pass, found, mapping) = row;
    let user = UserId::from(user);
    let damaged =
        |what: &str| Damaged { id, user: user.clone(), reason: format!("the row is damaged: it has {what}") };
    let payload = serde_json::from_str(&payload).map_err(|_| damaged("a payload that cannot be read"))?;
    let cause = Cause::parse(&cause).ok_or_else(|| damaged("an unknown cause"))?;
    let operation = Operation { user, payload, cause, version };
    Ok(Leased {
        id,
        lease,
        pass,
        mapping,
        operation,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        found,
        traceparent,
    })
}

/// A dead letter that is equal to no decision, so that the next one for its user takes its place. Who looks into
/// payloads is to find JSON in all of them.
async fn give_up(tx: &mut SqliteConnection, damaged: &Damaged, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE operations SET state = 'dead', touched_at = $2, target = '', status = NULL, reason = $3,
             correlation_id = NULL, answer = NULL, payload = CASE WHEN json_valid(payload) THEN payload ELSE '{}' END
         WHERE id = $1",
    )
    .bind(damaged.id)
    .bind(now.millis())
    .bind(&damaged.reason)
    .execute(&mut *tx)
    .await?;
    row_settlement::end_with(tx, &[damaged.id], (Outcome::Failed, Some(&damaged.reason)), now).await
}

/// Acknowledges what was sent.
pub(super) async fn settle(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    settlements: &[Settlement],
    now: Timestamp,
) -> Result<(), StoreError> {
    let (done, others): (Vec<_>, Vec<_>) =
        settlements.iter().partition(|settlement| settlement.step == Step::Done);
    settle_done(tx, tenant, &done, now).await?;
    for settlement in others {
        settle_other(tx, tenant, settlement, now).await?;
    }
    Ok(())
}

async fn settle_other(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<(), StoreError> {
    note(tx, settlement).await?;
    settle_rows(tx, tenant, settlement, now).await?;
    if settlement.unclear {
        unclear::remember(tx, settlement).await?;
    } else {
        // The tenant has certainly not done what was asked for: it said so, or was never asked.
        grants::withdraw(tx, tenant, settlement).await?;
    }
    let row = match &settlement.step {
        Step::LookUp { met, .. } if row_settlement::looks_up(tx, settlement.id, *met).await? => "superseded",
        // Without a row nobody would look him up.
        Step::Dead | Step::LookUp { .. } => "dead",
        Step::Gone if ours(tx, settlement).await? => {
            return forget(tx, tenant, &settlement.user, now).await;
        }
        Step::Done | Step::Gone => return Ok(()),
        Step::Later { due, counted } => return put_back(tx, settlement, Some(*due), *counted, now).await,
        Step::Released => return put_back(tx, settlement, None, false, now).await,
        Step::Stale { due } => return stale(tx, tenant, settlement, *due, now).await,
    };
    // A dead letter that was decided otherwise while it was in flight is nobody's letter any more.
    sqlx::query(
        "UPDATE operations SET touched_at = $4,
             state = CASE WHEN $3 = 'dead' AND superseded = 1 THEN 'superseded' ELSE $3 END,
             finished_at = CASE WHEN $3 = 'dead' AND superseded = 0 THEN NULL ELSE $4 END,
             attempts = attempts + ($3 = 'dead'),
             payload = CASE WHEN $3 = 'dead' OR kind = 'teams' THEN payload ELSE '{}' END
         WHERE id = $1 AND lease = $2 AND state = 'leased'",
    )
    .bind(settlement.id)
    .bind(settlement.lease)
    .bind(row)
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

/// Rows of a run end with the operation that carries them.
async fn settle_rows(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<(), StoreError> {
    let found: Option<(String, String, i64, bool)> = sqlx::query_as(
        "SELECT kind, payload, attempts, superseded <> 0 FROM operations WHERE id = $1 AND lease = $2 AND state = 'leased'",
    )
    .bind(settlement.id)
    .bind(settlement.lease)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((kind, payload, attempts, superseded)) = found else { return Ok(()) };
    let kind = Kind::parse(&kind);
    if kind == Some(Kind::Teams) {
        return Ok(());
    }
    let said = settlement.note.as_ref().and_then(|note| note.reason.as_deref());
    let (end, counted, reason) = match &settlement.step {
        Step::Dead => (RowSettled::Failed, true, said),
        Step::Gone if kind == Some(Kind::Attributes) => (RowSettled::Unresolved, true, Some(NOBODY)),
        Step::Gone => (RowSettled::Failed, true, Some(GONE)),
        Step::LookUp { met, due, counted } => (RowSettled::LookUp(*met, *due), *counted, said),
        Step::Later { .. } | Step::Released | Step::Stale { .. } if superseded => {
            (RowSettled::Superseded, false, said)
        }
        Step::Done | Step::Later { .. } | Step::Released | Step::Stale { .. } => return Ok(()),
    };
    let refusal = settlement.note.as_ref().and_then(|note| {
        let payload = serde_json::from_str(&payload).ok()?;
        Some(Refusal::of(note.status, note.reason.as_deref()?, &payload, &settlement.user))
    });
    let settled = Settled {
        operation: settlement.id,
        end,
        reason,
        refusal: refusal.as_ref(),
        latency_ms: i64::try_from(settlement.took.as_millis()).ok(),
        attempts: attempts + i64::from(counted),
        user: None,
    };
    row_settlement::settle(tx, tenant, &[settled], now).await
}

async fn ours(tx: &mut SqliteConnection, settlement: &Settlement) -> Result<bool, StoreError> {
    let found: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM operations WHERE id = $1 AND lease = $2 AND state = 'leased'",
    )
    .bind(settlement.id)
    .bind(settlement.lease)
    .fetch_one(tx)
    .await?;
    Ok(found > 0)
}

async fn note(tx: &mut SqliteConnection, settlement: &Settlement) -> Result<(), StoreError> {
    let Some(note) = &settlement.note else { return Ok(()) };
    sqlx::query(
        "UPDATE operations SET status = $3, reason = $4, correlation_id = $5, answer = $6
         WHERE id = $1 AND lease = $2 AND state = 'leased'",
    )
    .bind(settlement.id)
    .bind(settlement.lease)
    .bind(note.status)
    .bind(note.reason.as_deref())
    .bind(note.correlation_id.as_deref())
    .bind(note.answer.as_deref())
    .execute(tx)
    .await?;
    Ok(())
}

/// Back to the queue; what was decided otherwise while it was in flight is not sent again.
async fn put_back(
    tx: &mut SqliteConnection,
    settlement: &Settlement,
    due: Option<Timestamp>,
    counted: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE operations SET touched_at = CASE WHEN $3 IS NULL THEN touched_at ELSE $5 END,
             state = CASE superseded WHEN 1 THEN 'superseded' ELSE 'ready' END,
             finished_at = CASE superseded WHEN 1 THEN $5 END,
             due_at = coalesce($3, due_at), attempts = attempts + $4
         WHERE id = $1 AND lease = $2 AND state = 'leased'",
    )
    .bind(settlement.id)
    .bind(settlement.lease)
    .bind(due.map(Timestamp::millis))
    .bind(i64::from(counted))
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(())
}

async fn stale(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    settlement: &Settlement,
    due: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let updated = sqlx::query(
        "UPDATE operations SET state = 'stale', superseded = 0, touched_at = $4, due_at = $3, attempts = attempts + 1
         WHERE id = $1 AND lease = $2 AND state = 'leased'",
    )
    .bind(settlement.id)
    .bind(settlement.lease)
    .bind(due.millis())
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    if updated.rows_affected() > 0 {
        sqlx::query(
            "INSERT INTO rereads (tenant, user_id, since) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(settlement.user.as_str())
        .bind(now.millis())
        .execute(tx)
        .await?;
    }
    Ok(())
}
