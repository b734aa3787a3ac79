//! The end of a pass: operations, snapshot and watermark move in one transaction.
//!
//! The rules of replacing, for a user and kind: a newer decision takes the place of the open operation, an
//! equal one leaves it alone with its attempts and its due time, and "nothing to do" takes it away. A user
//! whom delivery touched since he was read gets no new operation from that reading: he is read again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::drift::{Drift, drift};
use super::holds::{self, NewHold};
use super::naming::{Held, name};
use super::passes::{Finished, PassTotals, count, finish};
use super::rereads::{forget_rereads, postpone, reread, unlist};
use super::staging::drop_staged;
use super::{Store, StoreError, grants, mappings, row_settlement};
use crate::model::{Kind, Outcome, PassKind, PassResult, Since, TenantId, Timestamp, UserId};

/// So far ahead lies nothing that was touched by the clock as it goes now; less is a commit that had to wait
/// for its turn to write.
const FUTURE: Duration = Duration::from_mins(1);

/// What becomes of a row of a file whose user is no more while it is carried out …
pub(super) const GONE: &str = "the tenant does not know him any more";
/// … and of one of custom attributes, which may never have meant anybody.
pub(super) const NOBODY: &str = "the tenant has nobody with this id";

/// How a pass ends.
#[derive(Debug)]
pub struct Commit<'a> {
    /// Its number.
    pub pass: i64,
    /// Whose pass it is.
    pub tenant: &'a TenantId,
    /// How much it read.
    pub kind: PassKind,
    /// Its result: ok or degraded.
    pub result: PassResult,
    /// Why it is not ok.
    pub reason: Option<&'a str>,
    /// What it did; how much it planned is found out here.
    pub totals: PassTotals,
    /// When it began.
    pub began: Timestamp,
    /// A list was read completely.
    pub complete: bool,
    /// The new watermark; `None` leaves the old one.
    pub watermark: Option<Timestamp>,
    /// Of what it has staged: 64 hexadecimal digits. The digest of its plan, unless that is held.
    pub digest: &'a str,
    /// Of the rules that it decided by.
    pub mapping_digest: &'a str,
    /// These rules come into force with it, unless it is held.
    pub mapping_applied: bool,
    /// The next pass must read all users.
    pub sweep_wanted: bool,
    /// What the tenant makes of the parameter `since`; `None` keeps what is known.
    pub since: Option<Since>,
    /// Users who were asked for by id and are no more.
    pub gone: &'a [UserId],
    /// Users whose record could not be read: they are read again, by id.
    pub unreadable: &'a BTreeSet<UserId>,
    /// Known users whom a sweep has not shown and who were not asked for: they are read by id, and no longer count as
    /// listed, so that the next sweep does not miss them again.
    pub later: &'a [UserId],
    /// Users with an operation in flight when a remap looked up how they were last read: what came of it may be missing from
    /// that, so they are read by id.
    pub in_flight: &'a [UserId],
    /// Its operations wait for an approval.
    pub hold: Option<NewHold<'a>>,
    /// Whether its operations count towards the limits on changes, and on removals.
    pub counts: (bool, bool),
    /// Our clock.
    pub now: Timestamp,
}

/// What became of the pass's decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// New operations, ready or held.
    pub planned: u64,
    /// Open operations that a newer decision took away.
    pub replaced: u64,
    /// Users to be read again.
    pub rereads: u64,
    /// What a sweep found that should not have been there to find.
    pub drift: Drift,
    /// What is held of it, if anything.
    pub held: Option<Held>,
}

/// `$1` the pass, `$2` the tenant: an open operation and the staged decision that is about the same thing.
macro_rules! same {
    ($condition:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM staged_operations s
             WHERE s.pass = $1 AND s.user_id = operations.user_id AND s.kind = operations.kind AND ",
            $condition,
            ")"
        )
    };
}

/// `$1` the pass, `$2` the tenant: rows of those for whom it decided something, found by user, because others may wait in
/// any number.
macro_rules! decided {
    () => {
        "id IN (SELECT o.id FROM staged_operations d
             CROSS JOIN operations o ON o.tenant = $2 AND o.user_id = d.user_id WHERE d.pass = $1)"
    };
}
pub(super) use decided;

impl Store {
    /// Ends a pass.
    ///
    /// # Errors
    /// When the database fails; then nothing has moved.
    pub async fn commit(&self, commit: &Commit<'_>) -> Result<Committed, StoreError> {
        let mut tx = self.write().await?;
        forget_rereads(&mut tx, commit.pass, commit.tenant).await?;
        let rereads = want_rereads(&mut tx, commit).await?;
        let missing_held = commit.hold.as_ref().is_some_and(|hold| hold.missing);
        if !missing_held {
            holds::withdraw_missing(&mut tx, commit, None).await?;
        }
        let drift = drift(&mut tx, commit).await?;
        let replaced = replace(&mut tx, commit).await?;
        let hold = match &commit.hold {
            Some(hold) => Some(holds::open(&mut tx, commit, hold).await?),
            None => None,
        };
        refresh(&mut tx, commit, hold).await?;
        let planned = insert(&mut tx, commit, hold).await?;
        let named = match hold {
            Some(hold) => name(&mut tx, commit, hold).await?,
            None => None,
        };
        let hold = named.as_ref().map(|named| named.0).or(hold);
        if missing_held {
            holds::withdraw_missing(&mut tx, commit, hold).await?;
        }
        grants::forget_lost(&mut tx, commit.pass, commit.tenant).await?;
        snapshot(&mut tx, commit).await?;
        for user in commit.gone {
            forget(&mut tx, commit.tenant, user, commit.now).await?;
        }
        move_tenant(&mut tx, commit).await?;
        mappings::settle(&mut tx, commit).await?;
        holds::close_emptied(&mut tx, commit).await?;
        let totals = PassTotals { planned, ..commit.totals };
        let finished = Finished {
            hold,
            drift,
            mapping_digest: Some(commit.mapping_digest),
            digest: Some(named.as_ref().map_or(commit.digest, |named| &named.1.digest)),
            complete: commit.complete || !commit.kind.lists(),
        };
        finish(&mut tx, commit.pass, (commit.result, commit.reason), totals, &finished, commit.now).await?;
        drop_staged(&mut tx, commit.pass).await?;
        tx.commit().await?;
        Ok(Committed { planned, replaced, rereads, drift, held: named.map(|named| named.1) })
    }
}

/// Whoever was read need not be read again, except those whom delivery touched since: what was read of them
/// may be what was before. And those whose record could not be read. What was touched in the future was
/// touched before our clock was set back, and says nothing.
async fn want_rereads(tx: &mut SqliteConnection, commit: &Commit<'_>) -> Result<u64, StoreError> {
    let wanted = sqlx::query(
        "INSERT INTO rereads (tenant, user_id, since)
         SELECT DISTINCT $2, s.user_id, $4 FROM staged_operations s
         CROSS JOIN operations o ON o.tenant = $2 AND o.user_id = s.user_id
         WHERE s.pass = $1 AND (o.state = 'leased'
             OR (o.touched_at BETWEEN s.read_at AND $3 AND NOT ($5 AND o.state = 'done' AND o.touched_at < $6)))
         ON CONFLICT DO NOTHING",
    )
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .bind(commit.now.plus(FUTURE).millis())
    .bind(commit.now.millis())
    // A remap decides from the snapshot, and that shows what was delivered before the remap began.
    .bind(commit.kind == PassKind::Remap)
    .bind(commit.began.millis())
    .execute(&mut *tx)
    .await?;
    let mut rereads = wanted.rows_affected();
    // What was in flight then may have been done at a time before that: a turn of delivery ends later than its clock says.
    for user in commit.in_flight {
        rereads += reread(tx, commit.tenant, user, commit.now).await?;
    }
    for user in commit.unreadable {
        rereads += postpone(tx, commit.tenant, user, commit.now).await?;
    }
    for user in commit.later {
        rereads += unlist(tx, commit.tenant, user, commit.now).await?;
    }
    Ok(rereads)
}

async fn replace(tx: &mut SqliteConnection, commit: &Commit<'_>) -> Result<u64, StoreError> {
    // What was sent and not answered, and is there, is done: delivery says so, in the audit, and does not send it again. What
    // was refused each time it was sent is somebody else's work.
    sqlx::query(concat!(
        "UPDATE operations SET found = 1, due_at = min(due_at, $3),
             state = CASE state WHEN 'stale' THEN 'ready' ELSE state END
         WHERE ",
        decided!(),
        " AND (state = 'leased' OR (state IN ('ready', 'stale') AND EXISTS (SELECT 1 FROM unclear c
             WHERE c.operation = operations.id AND c.target = operations.target))) AND ",
        same!("s.target IS NULL"),
        " AND EXISTS (SELECT 1 FROM staged_users n
             WHERE n.pass = $1 AND n.id = operations.user_id AND n.teams = operations.target)"
    ))
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .bind(commit.now.millis())
    .execute(&mut *tx)
    .await?;
    // What is held stays so as long as he gains and loses the same teams, whatever others he is in.
    // What a remap holds was decided by other rules than this pass follows: only a record that has changed says more.
    // A stale row waits for the new decision and takes it over, with its attempts. A dead letter gets another
    // chance when the user's roles have changed, or the rules, even if the decision is the same.
    let replaced = sqlx::query(concat!(
        "UPDATE operations SET state = 'superseded', finished_at = $3 WHERE ",
        decided!(),
        " AND ((state IN ('ready', 'held', 'dead') AND ",
        same!("s.target IS NOT operations.target AND NOT (operations.found AND s.target IS NULL)"),
        " AND NOT (state = 'held' AND ",
        same!("s.target IS NOT NULL AND json_extract(s.payload, '$.added') = json_extract(operations.payload, '$.added')
             AND json_extract(s.payload, '$.removed') = json_extract(operations.payload, '$.removed')"),
        ") AND NOT (state = 'held' AND hold IN (SELECT id FROM holds WHERE tenant = $2 AND mapping_digest IS NOT NULL)
             AND EXISTS (SELECT 1 FROM staged_users n JOIN users u ON u.tenant = $2 AND u.id = n.id
                 WHERE n.pass = $1 AND n.id = operations.user_id
                     AND n.roles = u.roles AND n.active = u.active AND n.teams = u.teams))
         ) OR (state = 'stale' AND ",
        same!("s.target IS NULL"),
        ") OR (state = 'dead' AND ",
        same!("$4"),
        ") OR (state = 'dead' AND EXISTS (SELECT 1 FROM staged_users s
             JOIN users u ON u.tenant = $2 AND u.id = s.id
             WHERE s.pass = $1 AND s.id = operations.user_id AND s.roles <> u.roles)))"
    ))
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .bind(commit.now.millis())
    .bind(commit.kind == PassKind::Remap)
    .execute(&mut *tx)
    .await?;
    sqlx::query(concat!(
        "UPDATE operations SET superseded = ",
        same!("s.target IS NOT operations.target AND NOT (operations.found AND s.target IS NULL)"),
        " WHERE kind = 'teams' AND state = 'leased' AND ",
        decided!()
    ))
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .execute(tx)
    .await?;
    Ok(replaced.rows_affected())
}

/// An equal decision leaves the row alone, but for what it was decided from; a stale row is ready again, or held if it
/// was decided otherwise by a pass that is, and belongs to the pass that decided it anew. What somebody has reviewed is
/// not held any longer, and belongs to the pass that applies it.
async fn refresh(
    tx: &mut SqliteConnection,
    commit: &Commit<'_>,
    hold: Option<i64>,
) -> Result<(), StoreError> {
    sqlx::query(
        concat!("UPDATE operations SET payload = s.payload, target = s.target, version = s.version, cause = s.cause,
             pass = CASE WHEN s.target = operations.target AND NOT $4 THEN operations.pass ELSE s.pass END,
             due_at = CASE WHEN $4 THEN $5 ELSE due_at END,
             found = 0,
             hold = CASE WHEN state = 'stale' AND s.target <> operations.target THEN $6 ELSE hold END,
             counts_change = CASE WHEN state = 'stale' AND s.target <> operations.target
                 THEN $7 AND $6 IS NULL ELSE counts_change END,
             counts_removal = CASE WHEN state = 'stale' AND s.target <> operations.target
                 THEN $8 AND s.loses AND $6 IS NULL ELSE counts_removal END,
             state = CASE WHEN state = 'held' AND $4 THEN 'ready'
                 WHEN state <> 'stale' THEN state
                 WHEN $6 IS NULL OR s.target = operations.target THEN 'ready' ELSE 'held' END
         FROM staged_operations s
         WHERE s.pass = $1 AND s.user_id = operations.user_id
             AND s.kind = operations.kind AND s.target IS NOT NULL AND operations.",
        decided!(),
        "
             AND (operations.state = 'stale' OR (operations.state IN ('ready', 'held') AND s.target = operations.target)
                 OR (operations.state = 'held'
                     AND json_extract(s.payload, '$.added') = json_extract(operations.payload, '$.added')
                     AND json_extract(s.payload, '$.removed') = json_extract(operations.payload, '$.removed')))
             AND NOT operations.touched_at BETWEEN s.read_at AND $3"),
    )
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .bind(commit.now.plus(FUTURE).millis())
    .bind(commit.kind == PassKind::Apply)
    .bind(commit.now.millis())
    .bind(hold)
    .bind(commit.counts.0)
    .bind(commit.counts.1)
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert(
    tx: &mut SqliteConnection,
    commit: &Commit<'_>,
    hold: Option<i64>,
) -> Result<u64, StoreError> {
    let (changes, removals) = commit.counts;
    let inserted = sqlx::query(
        "INSERT INTO operations (tenant, user_id, kind, state, target, payload, cause, version, traceparent,
             pass, created_at, due_at, hold, counts_change, counts_removal)
         SELECT $2, s.user_id, s.kind, CASE WHEN $4 IS NULL THEN 'ready' ELSE 'held' END, s.target, s.payload,
             s.cause, s.version, s.traceparent, $1, $3, $3, $4,
             $5 AND $4 IS NULL, $6 AND s.loses AND $4 IS NULL
         FROM staged_operations s
         WHERE s.pass = $1 AND s.target IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM rereads r WHERE r.tenant = $2 AND r.user_id = s.user_id)
             AND NOT EXISTS (SELECT 1 FROM operations o
                 WHERE o.tenant = $2 AND o.user_id = s.user_id AND o.kind = s.kind
                     AND o.state IN ('ready', 'leased', 'stale', 'held', 'dead'))
         ORDER BY s.user_id",
    )
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .bind(commit.now.millis())
    .bind(hold)
    .bind(changes)
    .bind(removals)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected())
}

/// A user who was read by id stays as listed as he was.
async fn snapshot(tx: &mut SqliteConnection, commit: &Commit<'_>) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO users (tenant, id, active, roles, teams, version, last_modified, read_at, pass, listed)
         SELECT $2, id, active, roles, teams, version, last_modified, read_at, pass, listed
         FROM staged_users WHERE pass = $1
         ON CONFLICT (tenant, id) DO UPDATE SET active = excluded.active, roles = excluded.roles,
             teams = excluded.teams, version = excluded.version, last_modified = excluded.last_modified,
             read_at = excluded.read_at, pass = excluded.pass,
             listed = CASE WHEN excluded.listed OR $3 THEN excluded.listed ELSE listed END",
    )
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .bind(commit.kind == PassKind::Sweep)
    .execute(tx)
    .await?;
    Ok(())
}

async fn move_tenant(tx: &mut SqliteConnection, commit: &Commit<'_>) -> Result<(), StoreError> {
    let sweep = commit.kind == PassKind::Sweep;
    sqlx::query(
        "INSERT INTO tenants (name, watermark, sweep_wanted, since, last_sweep_at, last_read_at, newest_change)
         VALUES ($1, $2, $3, $5, $6, $7, (SELECT max(last_modified) FROM staged_users WHERE pass = $8))
         ON CONFLICT (name) DO UPDATE SET
             watermark = coalesce(excluded.watermark, watermark),
             since = coalesce(excluded.since, since),
             last_sweep_at = coalesce(excluded.last_sweep_at, last_sweep_at),
             last_read_at = coalesce(excluded.last_read_at, last_read_at),
             newest_change = CASE WHEN $4 THEN coalesce(excluded.newest_change, newest_change)
                 ELSE max(coalesce(newest_change, excluded.newest_change),
                     coalesce(excluded.newest_change, newest_change)) END,
             sweep_wanted = CASE WHEN $4 THEN excluded.sweep_wanted
                 ELSE max(sweep_wanted, excluded.sweep_wanted) END",
    )
    .bind(commit.tenant.as_str())
    .bind(commit.watermark.map(Timestamp::millis))
    .bind(commit.sweep_wanted)
    .bind(sweep)
    .bind(commit.since.map(Since::as_str))
    .bind((sweep && !commit.sweep_wanted).then_some(commit.began.millis()))
    .bind(commit.complete.then_some(commit.began.millis()))
    .bind(commit.pass)
    .execute(tx)
    .await?;
    Ok(())
}

/// A user who is no more: nothing waits for him, and nothing is known of him.
pub(super) async fn forget(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    user: &UserId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let gone: Vec<(i64, String)> = sqlx::query_as(
        "UPDATE operations SET state = 'gone', finished_at = $3, lease = NULL
         WHERE tenant = $1 AND user_id = $2 AND state IN ('ready', 'leased', 'stale', 'held', 'dead')
         RETURNING id, kind",
    )
    .bind(tenant.as_str())
    .bind(user.as_str())
    .bind(now.millis())
    .fetch_all(&mut *tx)
    .await?;
    let (attributes, others): (Vec<_>, Vec<_>) =
        gone.into_iter().partition(|(_, kind)| Kind::parse(kind) == Some(Kind::Attributes));
    for (gone, outcome, why) in [(attributes, Outcome::Unresolved, NOBODY), (others, Outcome::Failed, GONE)] {
        let gone: Vec<i64> = gone.into_iter().map(|(id, _)| id).collect();
        row_settlement::end_with(tx, &gone, (outcome, Some(why)), now).await?;
    }
    for delete in [
        "DELETE FROM users WHERE tenant = $1 AND id = $2",
        "DELETE FROM rereads WHERE tenant = $1 AND user_id = $2",
        "DELETE FROM grants WHERE tenant = $1 AND user_id = $2",
    ] {
        sqlx::query(delete).bind(tenant.as_str()).bind(user.as_str()).execute(&mut *tx).await?;
    }
    Ok(())
}

/// How many as the database counts.
pub(super) fn stored(number: usize) -> i64 {
    count(u64::try_from(number).unwrap_or(u64::MAX))
}
