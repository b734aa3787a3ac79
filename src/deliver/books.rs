//! Where it is written down what became of operations: in the audit, then in the database. Nothing counts as done before it
//! stands in the audit.
//!
//! It decides nothing, and forgets nothing: what could not be written down is handed back.

use tracing::error;

use crate::audit::{Audit, AuditError, Entry, Link};
use crate::model::{TenantId, Timestamp};
use crate::store::{AuditHead, Job, Settlement, Store, StoreError, Turn};

/// The audit and the database, for one tenant; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Books {
    pub(super) tenant: TenantId,
    pub(super) store: Store,
    pub(super) audit: Audit,
}

/// What has landed and is not written down.
#[derive(Debug, Default)]
pub(super) struct Landed {
    /// What the database has to know.
    pub(super) settlements: Vec<Settlement>,
    /// What has to stand in the audit before.
    pub(super) entries: Vec<Entry>,
    /// The last line of what stands there already, and the database does not know.
    pub(super) head: Option<AuditHead>,
}

impl Landed {
    /// Nothing is left to be written down.
    pub(super) fn is_written(&self) -> bool {
        self.settlements.is_empty()
    }

    /// `earlier` could not be written down, and goes first.
    pub(super) fn put_before(&mut self, mut earlier: Self) {
        earlier.settlements.append(&mut self.settlements);
        earlier.entries.append(&mut self.entries);
        earlier.head = self.head.take().or(earlier.head);
        *self = earlier;
    }
}

/// What the database remembers of a line.
impl From<Link> for AuditHead {
    fn from(Link { seq, hash }: Link) -> Self {
        Self { seq, hash: hash.to_string() }
    }
}

/// Why something could not be written down.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit did.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl Unwritten {
    /// Says so in the log.
    pub(super) fn log(&self, tenant: &TenantId) {
        match self {
            Self::Store(reason) => error!(%tenant, %reason, "database cannot be used"),
            Self::Audit(reason) => error!(%tenant, %reason, "audit cannot be written"),
        }
    }
}

impl Books {
    /// Writes down what has `landed`, and leases up to `room` operations in the same transaction, those with complete lists
    /// only if `lists`. A line that stands in the audit is not written again.
    ///
    /// # Errors
    /// With what is still to be written down; why has been logged.
    pub(super) async fn turn(
        self,
        mut landed: Landed,
        (room, lists): (u32, bool),
        now: Timestamp,
    ) -> Result<Turn, Landed> {
        let turned = async {
            self.record(&mut landed, now).await?;
            let Landed { settlements, head, .. } = &landed;
            Ok(self.store.turn(&self.tenant, settlements, head.as_ref(), (room, lists), now).await?)
        };
        turned.await.map_err(|unwritten: Unwritten| {
            unwritten.log(&self.tenant);
            landed
        })
    }

    /// Writes down that `job` has come to its end, because of `broken` if to no good one, and what has `landed` with it. A line
    /// that stands in the audit is not written again.
    ///
    /// # Errors
    /// When the audit or the database fails; then it is to be done once more with the same `landed`.
    pub(super) async fn finish(
        &self,
        job: &Job,
        landed: &mut Landed,
        broken: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Unwritten> {
        self.record(landed, now).await?;
        let Landed { settlements, head, .. } = landed;
        Ok(self.store.finish_job(&self.tenant, job, settlements, (head.as_ref(), broken), now).await?)
    }

    async fn record(&self, landed: &mut Landed, now: Timestamp) -> Result<(), AuditError> {
        if !landed.entries.is_empty() {
            let link = self.audit.record(landed.entries.clone(), now).await?;
            landed.entries.clear();
            landed.head = Some(link.into());
        }
        Ok(())
    }
}
