//! `runs` that have not come to their end, in numbers: for whoever asks what still waits.

use super::{Store, StoreError};
use crate::model::{RunState, TenantId};

/// A run that is open or stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfinishedRun {
    /// Its number.
    pub id: i64,
    /// The file's name.
    pub file: String,
    /// Open or stopped.
    pub state: RunState,
    /// Rows without an outcome, and users whom no row names; of a stopped one those that are held, too.
    pub open: u64,
}

impl Store {
    /// Runs of `tenant` that are open or stopped, oldest first, with what of them is left to do.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn left_of_runs(&self, tenant: &TenantId) -> Result<Vec<UnfinishedRun>, StoreError> {
        let rows: Vec<(i64, String, String, i64)> = sqlx::query_as(
            "SELECT id, file, state, (SELECT count(*) FROM run_rows WHERE run = runs.id AND run_rows.state IN ('waiting', 'planned')
                 AND (outcome IS NULL OR (runs.state = 'stopped' AND outcome = 'held')))
             FROM runs WHERE tenant = $1 AND state IN ('open', 'stopped') ORDER BY id",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.reader)
        .await?;
        let run = |(id, file, state, open): (i64, String, String, i64)| {
            let state = RunState::parse(&state)
                .ok_or_else(|| StoreError::damaged(format!("run {id} is of an unknown state")))?;
            Ok(UnfinishedRun { id, file, state, open: u64::try_from(open).unwrap_or(0) })
        };
        rows.into_iter().map(run).collect()
    }
}
