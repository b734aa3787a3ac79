//! What a file would do: the same run on a copy of the database in memory. Nothing is sent, and nothing lasts.

use std::path::Path;

use super::import::{ImportError, Input, Wish, import};
use super::missing::NotDeactivated;
use super::runner::{RunFailure, Runner};
use super::worker::RunSettings;
use crate::config::TenantSettings;
use crate::daemon::connect::client;
use crate::daemon::parts::Parts;
use crate::store::{PlannedRow, RowEnd, Run, RunCounts, Store, StoreError};

/// What a file would do.
#[derive(Debug)]
pub struct PlannedRun {
    /// The run that it would be.
    pub run: Run,
    /// Rows for which something would be sent.
    pub rows: Vec<PlannedRow>,
    /// All rows, as far as it is known what becomes of them.
    pub ends: Vec<RowEnd>,
    /// How many of each.
    pub counts: RunCounts,
    /// Why nobody would be made inactive, when somebody is no longer named.
    pub not_deactivated: Option<NotDeactivated>,
}

/// Why that cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum PlanFailure {
    /// The file.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The tenant.
    #[error(transparent)]
    Pass(#[from] RunFailure),
    /// No client could be made.
    #[error("no HTTPS client: {0}; are the CA certificates installed?")]
    Client(#[from] reqwest::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Says what `input` would do.
///
/// # Errors
/// When the file, the tenant or the database cannot be read.
pub async fn plan_run(
    database: &Path,
    settings: &TenantSettings,
    input: Input,
    wish: Wish,
    parts: &Parts,
) -> Result<PlannedRun, PlanFailure> {
    let store = Store::scratch(database, &settings.name).await?;
    let client = client(settings, &parts.clock)?;
    let runs = RunSettings::of(settings, parts);
    let imported = import(&store, &settings.name, input, wish, &parts.clock, &|_| {}).await?;
    let runner: Runner<'_> =
        runs.runner(&settings.name, (&store, &client), None, &[], std::sync::Arc::default());
    let not_deactivated = runner.plan(&imported.run).await?;
    let run = imported.run;
    let mut ends = Vec::new();
    let mut told = store.row_ends(run.id);
    while let Some(rows) = told.next().await? {
        ends.extend(rows);
    }
    let (rows, counts) = (store.planned_rows(run.id).await?, store.run_counts(run.id).await?);
    Ok(PlannedRun { run, rows, ends, counts, not_deactivated })
}
