//! `runs`: how one begins. Its file is read into rows, and then it is opened, which ends what an earlier one has left.
//!
//! A run whose file is still being read has done nothing, and is thrown away when its reader has died.

use std::path::Path;

use sqlx::{FromRow, SqliteConnection};

use super::rows::superseded_rows;
use super::{Reading, Run, Store, StoreError, holds, reading};
use crate::model::{PassKind, RunKind, TenantId, Timestamp};

/// A file that is to be carried out.
#[derive(Clone, Debug)]
pub struct NewRun<'a> {
    /// For which tenant.
    pub tenant: &'a TenantId,
    /// What it is about.
    pub kind: RunKind,
    /// SHA-256 over the file and what was asked to be done with it.
    pub digest: &'a str,
    /// Its name, without the folder.
    pub file: &'a str,
    /// What was asked to be done with it, as JSON.
    pub options: &'a str,
    /// So many refusals for one reason, before any success, stop it.
    pub stop_after: Option<u32>,
    /// Who asked for it.
    pub operator: Option<u32>,
}

/// What becomes of a run whose rows are all there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It is carried out from now on.
    Open(Ended),
    /// Somebody has opened a newer export while this one was read: its rows are superseded.
    Late,
    /// Somebody has opened the same meanwhile, as the run of this number: nothing is left of this one.
    Joined(i64),
    /// Another file of custom attributes was opened meanwhile, as the run of this number, and is not finished: nothing is left
    /// of this one.
    Unfinished(i64),
}

/// What the opening of a run has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Rows of an earlier file that were not carried out.
    pub superseded: u64,
    /// Users who were to be made inactive because an earlier export did not name them.
    pub withdrawn: u64,
}

impl Store {
    /// Begins a run, whose rows are handed in next, and the pass to which its operations will belong. It is there as long as its
    /// reader lives (`_reading`), or until it is opened.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_run(
        &self,
        _reading: &Reading,
        new: &NewRun<'_>,
        now: Timestamp,
    ) -> Result<Run, StoreError> {
        let mut tx = self.write().await?;
        let pass: i64 = sqlx::query_scalar(
            "INSERT INTO passes (tenant, kind, started_at) VALUES ($1, $2, $3) RETURNING id",
        )
        .bind(new.tenant.as_str())
        .bind(pass_kind(new.kind).as_str())
        .bind(now.millis())
        .fetch_one(&mut *tx)
        .await?;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO runs (tenant, kind, digest, file, options, pass, state, stop_after, operator, started_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'reading', $7, $8, $9) RETURNING id",
        )
        .bind(new.tenant.as_str())
        .bind(new.kind.as_str())
        .bind(new.digest)
        .bind(new.file)
        .bind(new.options)
        .bind(pass)
        .bind(new.stop_after)
        .bind(new.operator)
        .bind(now.millis())
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        self.run(id).await
    }

    /// All its rows are there: it is carried out from now on, unless somebody has opened the same, a newer export, or another
    /// file of custom attributes while this one was read. There is one unfinished run of a tenant and kind. Of users there can
    /// be one wanted state only: an HRIS export takes the place of an earlier one that is not finished, and nobody is made
    /// inactive any more because an earlier one did not name him.
    ///
    /// # Errors
    /// When the database fails, or has no such run that is being read.
    pub async fn open_run(&self, run: &Run, now: Timestamp) -> Result<Opened, StoreError> {
        let mut tx = self.write().await?;
        let others: Vec<Other> = sqlx::query_as(
            "SELECT id, digest, state IN ('open', 'stopped') AS unfinished, state = 'finished' AS finished FROM runs
             WHERE tenant = $1 AND kind = $2 AND (state IN ('open', 'stopped') OR (state <> 'reading' AND id > $3))
             ORDER BY id DESC",
        )
        .bind(run.tenant.as_str())
        .bind(run.kind.as_str())
        .bind(run.id)
        .fetch_all(&mut *tx)
        .await?;
        let opened = match place(run, &others) {
            Place::Open => {
                let mut ended = Ended::default();
                if run.kind == RunKind::Provision {
                    for earlier in &others {
                        ended.superseded += supersede(&mut tx, earlier.id, now).await?;
                    }
                    ended.withdrawn = holds::withdraw_deactivations(&mut tx, &run.tenant, now).await?;
                }
                open(&mut tx, run).await?;
                Opened::Open(ended)
            }
            Place::Late => {
                open(&mut tx, run).await?;
                supersede(&mut tx, run.id, now).await?;
                Opened::Late
            }
            Place::Joins(other) => {
                discard(&mut tx, run).await?;
                Opened::Joined(other)
            }
            Place::Behind(other) => {
                discard(&mut tx, run).await?;
                Opened::Unfinished(other)
            }
        };
        tx.commit().await?;
        Ok(opened)
    }

    /// Gives up what an unfinished run has not done yet; returns how many rows that is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn supersede_run(&self, run: &Run, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let rows = supersede(&mut tx, run.id, now).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Throws away a run whose file was read, and of which nothing is to be done.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn discard_run(&self, run: &Run) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        discard(&mut tx, run).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A run beside which one is to be opened: one that is unfinished, or began later and came further than being read.
#[derive(Clone, Debug, FromRow)]
struct Other {
    id: i64,
    digest: String,
    unfinished: bool,
    finished: bool,
}

/// Where a run stands among the others of its kind.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Before all of them.
    Open,
    /// Behind a newer export.
    Late,
    /// It is the same as this one.
    Joins(i64),
    /// Behind this one, which is to be finished first.
    Behind(i64),
}

/// Of the `others`, the newest comes first.
fn place(run: &Run, others: &[Other]) -> Place {
    let newer = others.first().filter(|other| other.id > run.id);
    let same = |other: &&Other| other.digest == run.digest && (other.unfinished || other.finished);
    let unfinished = others.iter().find(|other| other.unfinished);
    match (newer, run.kind) {
        (Some(newer), _) if same(&newer) => Place::Joins(newer.id),
        (Some(_), RunKind::Provision) => Place::Late,
        (Some(_), RunKind::Attributes) | (None, _) => match (unfinished, run.kind) {
            (Some(other), _) if same(&other) => Place::Joins(other.id),
            (Some(other), RunKind::Attributes) => Place::Behind(other.id),
            (Some(_), RunKind::Provision) | (None, _) => Place::Open,
        },
    }
}

async fn open(tx: &mut SqliteConnection, run: &Run) -> Result<(), StoreError> {
    let open = sqlx::query("UPDATE runs SET state = 'open' WHERE id = $1 AND state = 'reading'")
        .bind(run.id)
        .execute(tx)
        .await?;
    if open.rows_affected() == 0 { Err(StoreError::NoRun { run: run.id }) } else { Ok(()) }
}

async fn discard(tx: &mut SqliteConnection, run: &Run) -> Result<(), StoreError> {
    for discard in [
        "DELETE FROM run_rows WHERE run = $1",
        "DELETE FROM passes WHERE id = (SELECT pass FROM runs WHERE id = $1)",
        "DELETE FROM runs WHERE id = $1",
    ] {
        sqlx::query(discard).bind(run.id).execute(&mut *tx).await?;
    }
    Ok(())
}

/// The kind of pass to which the operations of a run belong.
const fn pass_kind(kind: RunKind) -> PassKind {
    match kind {
        RunKind::Provision => PassKind::Provision,
        RunKind::Attributes => PassKind::Attributes,
    }
}

/// A letter of another run that is delivered with this one is not touched.
async fn supersede(tx: &mut SqliteConnection, run: i64, now: Timestamp) -> Result<u64, StoreError> {
    sqlx::query(
        "UPDATE operations SET state = 'superseded', finished_at = $2
         WHERE pass = (SELECT pass FROM runs WHERE id = $1) AND state IN ('ready', 'held')
             AND id IN (SELECT operation FROM run_rows WHERE run = $1)",
    )
    .bind(run)
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    // What is in flight comes to its end, but is not sent again; and who may have been created is still looked up.
    sqlx::query(
        "UPDATE operations SET superseded = 1
         WHERE pass = (SELECT pass FROM runs WHERE id = $1) AND state = 'leased'
             AND id IN (SELECT operation FROM run_rows WHERE run = $1)",
    )
    .bind(run)
    .execute(&mut *tx)
    .await?;
    let rows = sqlx::query(superseded_rows!(
        "run = $2 AND (outcome = 'held' OR (state = 'waiting' AND met <> 'unclear') OR (state = 'planned'
             AND operation NOT IN (SELECT id FROM operations WHERE state = 'leased')))"
    ))
    .bind(now.millis())
    .bind(run)
    .execute(&mut *tx)
    .await?;
    for close in [
        "UPDATE runs SET state = 'superseded', finished_at = $2, untold = kind = 'provision' WHERE id = $1",
        "UPDATE passes SET finished_at = $2, result = 'degraded', reason = 'superseded by a newer file'
         WHERE id = (SELECT pass FROM runs WHERE id = $1)",
    ] {
        sqlx::query(close).bind(run).bind(now.millis()).execute(&mut *tx).await?;
    }
    for forget in [
        "DELETE FROM run_found WHERE run = $1",
        "UPDATE run_rows SET user_name = NULL WHERE run = $1 AND state = 'finished'",
    ] {
        sqlx::query(forget).bind(run).execute(&mut *tx).await?;
    }
    Ok(rows.rows_affected())
}

/// Files that were being read when their reader died have done nothing; nor have rows whose run is not there any more. As long
/// as somebody reads a file nobody can tell which run is his, and all are left alone.
pub(super) async fn clear(tx: &mut SqliteConnection, database: Option<&Path>) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM run_rows WHERE run NOT IN (SELECT id FROM runs)").execute(&mut *tx).await?;
    let alone = database.map(reading::alone).transpose()?;
    if matches!(alone, Some(None)) {
        return Ok(());
    }
    for clear in [
        "DELETE FROM run_rows WHERE run IN (SELECT id FROM runs WHERE state = 'reading')",
        "DELETE FROM passes WHERE id IN (SELECT pass FROM runs WHERE state = 'reading')",
        "DELETE FROM runs WHERE state = 'reading'",
    ] {
        sqlx::query(clear).execute(&mut *tx).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunState;

    fn run(kind: RunKind) -> Run {
        Run {
            id: 5,
            tenant: TenantId::from("acme"),
            kind,
            digest: "same".to_owned(),
            file: "hr.csv".to_owned(),
            options: String::new(),
            pass: 5,
            state: RunState::Reading,
            reason: None,
            not_deactivated: None,
            read: false,
            operator: None,
            started_at: Timestamp::EPOCH,
            finished_at: None,
        }
    }

    #[test]
    fn a_run_joins_its_like_and_gives_way_to_what_is_newer() {
        let other = |id, digest: &str, state: &str| Other {
            id,
            digest: digest.to_owned(),
            unfinished: state == "open",
            finished: state == "finished",
        };
        for (others, provision, attributes) in [
            (vec![], Place::Open, Place::Open),
            (vec![other(4, "else", "open")], Place::Open, Place::Behind(4)),
            (vec![other(4, "same", "open")], Place::Joins(4), Place::Joins(4)),
            (vec![other(6, "same", "open")], Place::Joins(6), Place::Joins(6)),
            (vec![other(6, "same", "finished")], Place::Joins(6), Place::Joins(6)),
            (vec![other(6, "same", "superseded")], Place::Late, Place::Open),
            (vec![other(6, "else", "open")], Place::Late, Place::Behind(6)),
            (vec![other(6, "else", "finished")], Place::Late, Place::Open),
            (vec![other(7, "else", "finished"), other(6, "same", "finished")], Place::Late, Place::Open),
            (vec![other(6, "else", "finished"), other(4, "same", "open")], Place::Late, Place::Joins(4)),
        ] {
            assert_eq!(place(&run(RunKind::Provision), &others), provision, "{others:?}");
            assert_eq!(place(&run(RunKind::Attributes), &others), attributes, "{others:?}");
        }
    }
}
