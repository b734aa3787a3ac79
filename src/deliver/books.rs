//! Where it is written down what became of operations: in the audit, then in the database. Nothing counts as done before it
//! stands in the audit.
//!
//! It decides nothing, and forgets nothing: what could not be written down is handed back.

use tracing::error;

use crate::audit::{Audit, Entry, Link};
use crate::model::{TenantId, Timestamp};
use crate::store::{AuditHead, Settlement, Store, Turn};

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
    head: Option<AuditHead>,
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
        let tenant = &self.tenant;
        if !landed.entries.is_empty() {
            match self.audit.record(landed.entries.clone(), now).await {
                Ok(link) => {
                    landed.entries.clear();
                    landed.head = Some(link.into());
                }
                Err(error) => {
                    error!(%tenant, reason = %error, "audit cannot be written");
                    return Err(landed);
                }
            }
        }
        let Landed { settlements, head, .. } = &landed;
        self.store.turn(tenant, settlements, head.as_ref(), (room, lists), now).await.map_err(|error| {
            error!(%tenant, reason = %error, "database cannot be used");
            landed
        })
    }
}
