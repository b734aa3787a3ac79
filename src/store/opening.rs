//! `runs`: how one begins. Its file is read into rows, and then it is opened, which ends what an earlier one has left.
//!
//! A run whose file is still being read has done nothing, and is thrown away when its reader has died.

use std::path::Path;

use sqlx::SqliteConnection;

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

/// What the opening of a run has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
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

    /// All its rows are there: it is carried out from now on. Of users there can be one wanted state only: an HRIS
    /// export takes the place of an earlier one that is not finished, and nobody is made inactive any more because an
    /// earlier one did not name him.
    ///
    /// # Errors
    /// When the database fails, or has no such run that is being read.
    pub async fn open_run(&self, run: &Run, now: Timestamp) -> Result<Opened, StoreError> {
        let mut tx = self.write().await?;
        let mut opened = Opened::default();
        if run.kind == RunKind::Provision {
            let earlier: Vec<i64> = sqlx::query_scalar(
                "SELECT id FROM runs WHERE tenant = $1 AND kind = 'provision' AND id < $2 AND state IN ('open', 'stopped')",
            )
            .bind(run.tenant.as_str())
            .bind(run.id)
            .fetch_all(&mut *tx)
            .await?;
            for earlier in earlier {
                opened.superseded += supersede(&mut tx, earlier, now).await?;
            }
            opened.withdrawn = holds::withdraw_deactivations(&mut tx, &run.tenant, now).await?;
        }
        let open = sqlx::query("UPDATE runs SET state = 'open' WHERE id = $1 AND state = 'reading'")
            .bind(run.id)
            .execute(&mut *tx)
            .await?;
        if open.rows_affected() == 0 {
            return Err(StoreError::NoRun { run: run.id });
        }
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
        for discard in [
            "DELETE FROM run_rows WHERE run = $1",
            "DELETE FROM passes WHERE id = (SELECT pass FROM runs WHERE id = $1)",
            "DELETE FROM runs WHERE id = $1",
        ] {
            sqlx::query(discard).bind(run.id).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

/// The kind of pass to which the operations of a run belong.
const fn pass_kind(kind: RunKind) -> PassKind {
    match kind {
        RunKind::Provision => PassKind::Provision,
        RunKind::Attributes => PassKind::Attributes,
    }
}

async fn supersede(tx: &mut SqliteConnection, run: i64, now: Timestamp) -> Result<u64, StoreError> {
    sqlx::query(
        "UPDATE operations SET state = 'superseded', finished_at = $2
         WHERE pass = (SELECT pass FROM runs WHERE id = $1) AND state IN ('ready', 'held')",
    )
    .bind(run)
    .bind(now.millis())
    .execute(&mut *tx)
    .await?;
    // What is in flight comes to its end, but is not sent again; and who may have been created is still looked up.
    sqlx::query(
        "UPDATE operations SET superseded = 1
         WHERE pass = (SELECT pass FROM runs WHERE id = $1) AND state = 'leased'",
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
        "UPDATE runs SET state = 'superseded', finished_at = $2 WHERE id = $1",
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
