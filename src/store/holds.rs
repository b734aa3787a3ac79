//! `holds`: passes whose operations wait for somebody's approval.
//!
//! A hold shrinks when later passes decide otherwise for a user; what is approved or discarded is what is
//! still held of it.

use sqlx::SqliteConnection;

use super::commit::{Commit, decided, stored};
use super::rows::{self, UNNAMED};
use super::tally::missing;
use super::{Run, Store, StoreError, row_settlement};
use crate::model::{Finding, Outcome, PassKind, TenantId, Timestamp};

/// What tenant `$2` has undecided because too many known users were missing from a sweep.
macro_rules! of_missing {
    () => {
        "SELECT id FROM holds WHERE tenant = $2 AND decision IS NULL AND EXISTS (SELECT 1 FROM json_each(findings) f
             WHERE json_extract(f.value, '$.limit') = 'max_missing_percent')"
    };
}
pub(super) use of_missing;

/// Why a pass is held.
#[derive(Debug)]
pub struct NewHold<'a> {
    /// What the guard objects to.
    pub findings: &'a [Finding],
    /// Known users whom the list did not show were not asked for.
    pub missing: bool,
}

/// A pass that is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Its row.
    pub id: i64,
    /// Whose it is.
    pub tenant: TenantId,
    /// By which it is approved.
    pub digest: String,
    /// The pass.
    pub pass: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Operations that it held at first.
    pub operations: u64,
    /// Operations that it still holds.
    pub held: u64,
    /// Known users whom the list did not show, as far as they have not been seen since.
    pub missing: u64,
    /// What the guard objects to.
    pub findings: Vec<Finding>,
    /// The mapping that comes into force with its approval.
    pub mapping_digest: Option<String>,
}

/// What became of a hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Released {
    /// The hold as it was.
    pub hold: Hold,
    /// Operations that were made ready, or discarded.
    pub operations: u64,
    /// Operations that had left the hold before.
    pub left: u64,
}

/// What to do with a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldDecision {
    /// Its operations become ready.
    Approve,
    /// Its operations are dropped.
    Discard,
}

type Row = (i64, String, String, i64, i64, i64, String, Option<String>, i64, i64);

impl Store {
    /// What is held, of one tenant or of all, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn holds(&self, tenant: Option<&TenantId>) -> Result<Vec<Hold>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, tenant, digest, pass, created_at, operations, findings, mapping_digest,
                 (SELECT count(*) FROM operations o WHERE o.hold = holds.id AND o.state = 'held'),
                 (SELECT count(*) FROM hold_missing m WHERE m.hold = holds.id)
             FROM holds WHERE decision IS NULL AND ($1 IS NULL OR tenant = $1) ORDER BY id",
        )
        .bind(tenant.map(TenantId::as_str))
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(hold).collect()
    }

    /// What the guard objected to in a pass that is held, or was.
    ///
    /// # Errors
    /// When the database fails, or the row is damaged.
    pub async fn findings(&self, hold: i64) -> Result<Vec<Finding>, StoreError> {
        let findings: Option<String> = sqlx::query_scalar("SELECT findings FROM holds WHERE id = $1")
            .bind(hold)
            .fetch_optional(&self.reader)
            .await?;
        let damaged = |_| StoreError::damaged(format!("hold {hold} has findings that cannot be read"));
        let findings = findings.map(|text| serde_json::from_str(&text).map_err(damaged)).transpose()?;
        Ok(findings.unwrap_or_default())
    }

    /// Makes ready, or drops, what is still held of `hold`. With the approval of a sweep that missed users, they
    /// count as unlisted and are read by id; with that of a remap its mapping comes into force, and whoever
    /// has left the hold is decided anew by it. `None` when it is no longer there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release(
        &self,
        hold: &Hold,
        decision: HoldDecision,
        now: Timestamp,
    ) -> Result<Option<Released>, StoreError> {
        let mut tx = self.write().await?;
        let word = match decision {
            HoldDecision::Approve => "approved",
            HoldDecision::Discard => "discarded",
        };
        let closed =
            sqlx::query("UPDATE holds SET decision = $2, decided_at = $3 WHERE id = $1 AND decision IS NULL")
                .bind(hold.id)
                .bind(word)
                .bind(now.millis())
                .execute(&mut *tx)
                .await?;
        if closed.rows_affected() == 0 {
            return Ok(None);
        }
        let moved = match decision {
            HoldDecision::Approve => approve(&mut tx, hold, now).await?,
            HoldDecision::Discard => discard(&mut tx, hold.id, now).await?,
        };
        sqlx::query("DELETE FROM hold_missing WHERE hold = $1").bind(hold.id).execute(&mut *tx).await?;
        tx.commit().await?;
        let left = hold.operations.saturating_sub(moved);
        Ok(Some(Released { hold: hold.clone(), operations: moved, left }))
    }
}

fn hold(row: Row) -> Result<Hold, StoreError> {
    let (id, tenant, digest, pass, created, operations, findings, mapping_digest, held, missing) = row;
    let findings = serde_json::from_str(&findings)
        .map_err(|_| StoreError::damaged(format!("hold {id} has findings that cannot be read")))?;
    let number = |count: i64| u64::try_from(count).unwrap_or(0);
    Ok(Hold {
        id,
        tenant: TenantId::from(tenant),
        digest,
        pass,
        created_at: Timestamp::from_millis(created),
        operations: number(operations),
        held: number(held),
        missing: number(missing),
        findings,
        mapping_digest,
    })
}

async fn approve(tx: &mut SqliteConnection, hold: &Hold, now: Timestamp) -> Result<u64, StoreError> {
    let moved =
        sqlx::query("UPDATE operations SET state = 'ready', due_at = $2 WHERE hold = $1 AND state = 'held'")
            .bind(hold.id)
            .bind(now.millis())
            .execute(&mut *tx)
            .await?;
    for statement in [
        // Rows that wait for their delivery now are not at their end any more.
        "UPDATE run_rows SET outcome = NULL, finished_at = NULL WHERE state = 'planned' AND outcome = 'held'
             AND operation IN (SELECT id FROM operations WHERE hold = $1 AND state = 'ready')",
        "INSERT INTO rereads (tenant, user_id, since)
         SELECT h.tenant, m.user_id, h.created_at FROM hold_missing m JOIN holds h ON h.id = m.hold WHERE h.id = $1
         ON CONFLICT DO NOTHING",
        "UPDATE users SET listed = 0 WHERE (tenant, id) IN
             (SELECT h.tenant, m.user_id FROM hold_missing m JOIN holds h ON h.id = m.hold WHERE h.id = $1)",
    ] {
        sqlx::query(statement).bind(hold.id).execute(&mut *tx).await?;
    }
    if let Some(digest) = &hold.mapping_digest {
        super::mappings::bring_into_force(tx, &hold.tenant, digest, now).await?;
        sqlx::query("UPDATE tenants SET remap_wanted = 1 WHERE name = $1")
            .bind(hold.tenant.as_str())
            .execute(tx)
            .await?;
    }
    Ok(moved.rows_affected())
}

async fn discard(tx: &mut SqliteConnection, hold: i64, now: Timestamp) -> Result<u64, StoreError> {
    let moved: Vec<i64> = sqlx::query_scalar(
        "UPDATE operations SET state = 'discarded', finished_at = $2 WHERE hold = $1 AND state = 'held' RETURNING id",
    )
    .bind(hold)
    .bind(now.millis())
    .fetch_all(&mut *tx)
    .await?;
    let end = (Outcome::Discarded, Some("discarded by an operator"));
    row_settlement::end_with(tx, &moved, end, now).await?;
    Ok(u64::try_from(moved.len()).unwrap_or(u64::MAX))
}

/// An export says who is to be there. Nobody is made inactive any more because an earlier one did not name him: neither
/// those who are held for that, nor those who wait to be sent; what is in flight is not sent again. Returns for how many
/// that ends it.
pub(super) async fn withdraw_deactivations(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let ended: Vec<i64> = sqlx::query_scalar(
        "UPDATE operations SET state = 'superseded', finished_at = $2
         WHERE tenant = $1 AND state IN ('ready', 'held', 'dead') AND kind = 'profile' AND cause = 'missing'
         RETURNING id",
    )
    .bind(tenant.as_str())
    .bind(now.millis())
    .fetch_all(&mut *tx)
    .await?;
    row_settlement::end_with(tx, &ended, (Outcome::Superseded, None), now).await?;
    sqlx::query(
        "UPDATE operations SET superseded = 1
         WHERE tenant = $1 AND state = 'leased' AND kind = 'profile' AND cause = 'missing'",
    )
    .bind(tenant.as_str())
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE holds SET decision = 'superseded', decided_at = $2
         WHERE tenant = $1 AND decision IS NULL AND pass IN (SELECT id FROM passes WHERE kind = 'provision')",
    )
    .bind(tenant.as_str())
    .bind(now.millis())
    .execute(tx)
    .await?;
    Ok(u64::try_from(ended.len()).unwrap_or(u64::MAX))
}

/// The hold of deactivations that was approved under `digest` since `window`, and of which an export has withdrawn all before
/// anything was done. Once a later export has named one of them again it says nothing any more.
pub(super) async fn approved(
    tx: &mut SqliteConnection,
    run: &Run,
    digest: &str,
    (window, now): (Timestamp, Timestamp),
) -> Result<Option<i64>, StoreError> {
    let hold = sqlx::query_scalar(
        "SELECT max(h.id) FROM holds h
         WHERE h.tenant = $1 AND h.digest = $2 AND h.decision = 'approved' AND h.decided_at BETWEEN $3 AND $4
             AND EXISTS (SELECT 1 FROM operations o WHERE o.hold = h.id AND o.state = 'superseded')
             AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.hold = h.id AND o.state <> 'superseded')
             AND NOT EXISTS (
                 SELECT 1 FROM operations o
                 CROSS JOIN provisioned p ON p.tenant = h.tenant AND p.user_id = o.user_id
                 CROSS JOIN runs u ON u.tenant = h.tenant AND u.kind = 'provision' AND u.pass > h.pass
                 WHERE o.hold = h.id AND (
                     EXISTS (SELECT 1 FROM run_rows r WHERE r.run = u.id AND r.external_id = p.external_id AND r.line < $5)
                     OR EXISTS (SELECT 1 FROM run_rows r WHERE r.run = u.id AND r.user_id = p.user_id AND r.line < $5)))",
    )
    .bind(run.tenant.as_str())
    .bind(digest)
    .bind(window.millis())
    .bind(now.millis())
    .bind(rows::stored(UNNAMED))
    .fetch_one(tx)
    .await?;
    Ok(hold)
}

/// Opens a hold for the operations that a pass is about to write. What is held already and was decided again belongs to
/// it from now on. It has no digest before all of them are there: see [`name`](super::naming::name).
pub(super) async fn open(
    tx: &mut SqliteConnection,
    commit: &Commit<'_>,
    hold: &NewHold<'_>,
) -> Result<i64, StoreError> {
    let findings = serde_json::to_string(hold.findings)
        .map_err(|error| StoreError::damaged(format!("findings cannot be written: {error}")))?;
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO holds (tenant, digest, pass, created_at, operations, findings, mapping_digest)
         VALUES ($1, 'of pass ' || $2, $2, $3, 0, $4, $5) RETURNING id",
    )
    .bind(commit.tenant.as_str())
    .bind(commit.pass)
    .bind(commit.now.millis())
    .bind(findings)
    .bind((commit.kind == PassKind::Remap).then_some(commit.mapping_digest))
    .fetch_one(&mut *tx)
    .await?;
    // As in `replace` and `refresh`, what he gains and loses counts, and not in which other teams he is.
    sqlx::query(concat!(
        "UPDATE operations SET hold = $3 WHERE state = 'held' AND ",
        decided!(),
        " AND EXISTS (
             SELECT 1 FROM staged_operations s WHERE s.pass = $1 AND s.user_id = operations.user_id
                 AND s.kind = operations.kind AND s.target IS NOT NULL AND (s.target = operations.target
                     OR (json_extract(s.payload, '$.added') = json_extract(operations.payload, '$.added')
                         AND json_extract(s.payload, '$.removed') = json_extract(operations.payload, '$.removed'))))"
    ))
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .bind(id)
    .execute(&mut *tx)
    .await?;
    if hold.missing {
        sqlx::query(concat!(
            "INSERT INTO hold_missing (hold, user_id) SELECT $3, id FROM (",
            missing!(),
            ") WHERE true ON CONFLICT DO NOTHING"
        ))
        .bind(commit.pass)
        .bind(commit.tenant.as_str())
        .bind(id)
        .execute(&mut *tx)
        .await?;
    }
    Ok(id)
}

/// Whoever was seen again is not missing, and a hold that holds nothing any more is over. If it would have
/// brought a mapping into force, that is tried again.
pub(super) async fn close_emptied(tx: &mut SqliteConnection, commit: &Commit<'_>) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM hold_missing
         WHERE hold IN (SELECT id FROM holds WHERE tenant = $2 AND decision IS NULL)
             AND (user_id IN (SELECT id FROM staged_users WHERE pass = $1 AND listed = 1)
                 OR NOT EXISTS (SELECT 1 FROM users u WHERE u.tenant = $2 AND u.id = hold_missing.user_id))",
    )
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .execute(&mut *tx)
    .await?;
    let emptied: Vec<Option<String>> = sqlx::query_scalar(
        "UPDATE holds SET decision = 'superseded', decided_at = $2
         WHERE tenant = $1 AND decision IS NULL
             AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.hold = holds.id AND o.state = 'held')
             AND NOT EXISTS (SELECT 1 FROM hold_missing m WHERE m.hold = holds.id)
         RETURNING mapping_digest",
    )
    .bind(commit.tenant.as_str())
    .bind(commit.now.millis())
    .fetch_all(&mut *tx)
    .await?;
    if emptied.iter().any(Option::is_some) {
        super::mappings::unsettle(tx, commit.tenant).await?;
    }
    Ok(())
}

/// Whether the pass says of all known users that a list shows them or does not.
fn compares(commit: &Commit<'_>) -> bool {
    commit.kind == PassKind::Sweep
        && (commit.complete || commit.hold.as_ref().is_some_and(|hold| hold.missing))
}

/// What an earlier sweep holds because too many users were missing is decided anew by one that compares the list with
/// the known users again, and holds it, if at all, in the hold `except`.
pub(super) async fn withdraw_missing(
    tx: &mut SqliteConnection,
    commit: &Commit<'_>,
    except: Option<i64>,
) -> Result<(), StoreError> {
    if !compares(commit) {
        return Ok(());
    }
    let withdrawn: Vec<i64> = sqlx::query_scalar(concat!(
        "UPDATE holds SET decision = 'superseded', decided_at = $1 WHERE id IS NOT $3 AND id IN (",
        of_missing!(),
        ") RETURNING id"
    ))
    .bind(commit.now.millis())
    .bind(commit.tenant.as_str())
    .bind(except)
    .fetch_all(&mut *tx)
    .await?;
    drop_held(tx, &withdrawn, commit.now).await
}

/// Operations of a tenant that are held by a remap with another mapping than `digest` wait for nothing any more.
pub(super) async fn withdraw(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    except: Option<&str>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let withdrawn: Vec<i64> = sqlx::query_scalar(
        "UPDATE holds SET decision = 'superseded', decided_at = $3
         WHERE tenant = $1 AND decision IS NULL AND mapping_digest IS NOT NULL AND mapping_digest IS NOT $2
         RETURNING id",
    )
    .bind(tenant.as_str())
    .bind(except)
    .bind(now.millis())
    .fetch_all(&mut *tx)
    .await?;
    drop_held(tx, &withdrawn, now).await?;
    Ok(u64::try_from(stored(withdrawn.len())).unwrap_or(0))
}

async fn drop_held(tx: &mut SqliteConnection, withdrawn: &[i64], now: Timestamp) -> Result<(), StoreError> {
    for hold in withdrawn {
        sqlx::query(
            "UPDATE operations SET state = 'superseded', finished_at = $2 WHERE hold = $1 AND state = 'held'",
        )
        .bind(hold)
        .bind(now.millis())
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM hold_missing WHERE hold = $1").bind(hold).execute(&mut *tx).await?;
    }
    Ok(())
}
