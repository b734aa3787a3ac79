//! One run, from its rows to an outcome for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::decide::Capacity;
use super::missing::{Missing, NotDeactivated};
use crate::audit::{Audit, AuditError};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::daemon::report::{Blame, blame};
use crate::model::{Met, Outcome, RunKind, RunState, TenantId};
use crate::plan::{Limits, OnConflict, UpdateWith};
use crate::scim::Client;
use crate::source::{ListSettings, ReadError};
use crate::store::{ROWS_AT_ONCE, RowNext, RowStep, Run, Store, StoreError, WaitingRow};

/// Rows are looked at this often while their operations are delivered.
const LOOK: Duration = Duration::from_millis(100);

/// What was asked to be done with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Users whom earlier exports named, and this one does not, are made inactive.
    #[serde(default)]
    pub deactivate_missing: bool,
    /// Of custom attributes only what differs from the tenant's is sent.
    #[serde(default)]
    pub diff: bool,
}

/// How rows are carried out.
#[derive(Clone, Copy, Debug)]
pub struct RunPolicy {
    /// What to do with a user who is there though he was to be created.
    pub on_conflict: OnConflict,
    /// How a user who is there is changed.
    pub update_with: UpdateWith,
    /// As many users as the tenant may have.
    pub max_users: Option<u64>,
    /// Rows are put into bulk requests.
    pub bulk: bool,
    /// Failed attempts after which a row is given up.
    pub max_attempts: u32,
    /// Look-ups at once.
    pub workers: usize,
    /// When deactivations are held …
    pub limits: Limits,
    /// … and over how long they count.
    pub window: Duration,
    /// Somebody wants to be told what runs come to.
    pub tell: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Each row has an outcome.
    Finished,
    /// It was stopped, because all that it sends is refused.
    Stopped,
    /// A newer file took its place.
    Superseded,
}

/// Why a run could not be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// The tenant could not be read.
    #[error("users could not be read: {0}")]
    Read(Box<ReadError>),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit cannot be written.
    #[error("the audit cannot be written: {0}")]
    Audit(#[from] AuditError),
}

impl From<ReadError> for RunFailure {
    fn from(error: ReadError) -> Self {
        Self::Read(Box::new(error))
    }
}

impl RunFailure {
    /// Where the fault lies.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Read(error) => blame(&error.failure),
            Self::Store(_) | Self::Audit(_) => Blame::Other,
        }
    }
}

/// Carries out the runs of one tenant; delivery runs beside it.
#[derive(Debug)]
pub struct Runner<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// Where the rows are.
    pub store: &'a Store,
    /// Who is asked.
    pub client: &'a Client,
    /// Where it is written down who was created; `None` where nothing is sent.
    pub audit: Option<&'a Audit>,
    /// How lists are read.
    pub list: &'a ListSettings,
    /// How rows are carried out.
    pub policy: RunPolicy,
    /// Time and chance.
    pub clock: &'a Clock,
    /// For backoffs.
    pub chance: Chance,
    /// Told when something waits to be delivered.
    pub wake: &'a [&'a Notify],
    /// The tenant has turned out to take no bulk requests.
    pub bulk_refused: Arc<AtomicBool>,
}

pub(super) fn options(run: &Run) -> Result<RunOptions, StoreError> {
    serde_json::from_str(&run.options)
        .map_err(|_| StoreError::damaged(format!("run {} has options that cannot be read", run.id)))
}

impl Runner<'_> {
    /// Carries `run` out, as far as it is not. Whoever does not wait for the end can go on later.
    ///
    /// # Errors
    /// When the tenant cannot be read, or the database fails.
    pub async fn carry_out(&self, run: &Run) -> Result<RunEnd, RunFailure> {
        if run.state == RunState::Superseded {
            self.tell_superseded().await?;
            return Ok(RunEnd::Superseded);
        }
        let options = options(run)?;
        let by_name = run.kind == RunKind::Provision && !self.people(run, options.deactivate_missing).await?;
        let mut capacity = Capacity::new(self.policy.max_users);
        loop {
            let unclear = run.kind == RunKind::Provision && self.look_up_superseded().await?;
            self.tell_superseded().await?;
            self.decide_waiting(run, options, by_name, &mut capacity).await?;
            let now = self.store.run(run.id).await?;
            match now.state {
                RunState::Stopped => {
                    self.log_stop(&now).await?;
                    return Ok(RunEnd::Stopped);
                }
                RunState::Superseded => {
                    self.tell_superseded().await?;
                    return Ok(RunEnd::Superseded);
                }
                RunState::Finished => return Ok(RunEnd::Finished),
                RunState::Reading | RunState::Open => {}
            }
            if unclear || self.store.rows_open(run.id).await? {
                self.clock.sleep(LOOK).await;
                continue;
            }
            let missing = if options.deactivate_missing {
                self.deactivate_missing(run).await?
            } else {
                Missing::Nobody
            };
            let not_deactivated = missing.left_alone();
            if missing.logged(run) {
                self.clock.sleep(LOOK).await;
            } else if self.finish(run, not_deactivated).await? {
                return Ok(RunEnd::Finished);
            }
        }
    }

    /// Each row has an outcome. Somebody may have taken its place at this very moment (`false`): the next look says so.
    async fn finish(&self, run: &Run, not_deactivated: Option<NotDeactivated>) -> Result<bool, RunFailure> {
        let why = not_deactivated.map(|why| why.to_string());
        let end = why.as_ref().map_or_else(|| "finished".to_owned(), |why| format!("finished; {why}"));
        self.tell(run, &end).await?;
        let finished = self.store.finish_run(run, why.as_deref(), self.clock.now()).await?;
        if finished {
            self.log_finish(run, why.is_some()).await?;
        }
        Ok(finished)
    }

    /// Decides all rows of `run`, and who is no longer named, without waiting for anything; nothing is logged. Answers with
    /// why nobody is made inactive, when somebody would have been.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn plan(&self, run: &Run) -> Result<Option<NotDeactivated>, RunFailure> {
        let options = options(run)?;
        let by_name = run.kind == RunKind::Provision && !self.people(run, options.deactivate_missing).await?;
        self.decide_waiting(run, options, by_name, &mut Capacity::new(self.policy.max_users)).await?;
        if !options.deactivate_missing {
            return Ok(None);
        }
        Ok(self.deactivate_missing(run).await?.left_alone())
    }

    /// Decides all rows that wait and are due.
    async fn decide_waiting(
        &self,
        run: &Run,
        options: RunOptions,
        by_name: bool,
        capacity: &mut Capacity,
    ) -> Result<(), RunFailure> {
        let mut after = 0;
        loop {
            let now = self.clock.now();
            let rows = self.store.waiting_rows(run.id, after, ROWS_AT_ONCE, now).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.line;
            let steps = match run.kind {
                RunKind::Provision => self.decide_users(run, &rows, by_name, capacity).await?,
                RunKind::Attributes => self.decide_attributes(run, &rows, options.diff).await?,
            };
            self.audit_created(run, &rows, &steps).await?;
            self.store.decide_rows(run, &steps, self.clock.now()).await?;
            for waiting in self.wake {
                waiting.notify_one();
            }
        }
    }

    /// Whether what is planned now goes into a bulk request.
    pub(super) fn packed(&self) -> bool {
        self.policy.bulk && !self.bulk_refused.load(Ordering::SeqCst)
    }

    pub(super) fn end(row: &WaitingRow, outcome: Outcome, reason: Option<String>) -> RowStep {
        let next = RowNext::End { outcome, reason };
        RowStep { line: row.line, user: row.user.clone(), external_id: None, next }
    }

    /// Whoever was sent something before is looked up again.
    pub(super) const fn was_sent(met: Met) -> bool {
        !matches!(met, Met::Nothing)
    }
}
