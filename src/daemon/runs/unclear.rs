//! Creations that nobody has answered: whom a look-up finds is told of in the audit, like anybody else whom we have created,
//! before his row counts as done.
//!
//! Nothing is sent here.

use serde_json::{Map, Value};

use super::runner::{RunFailure, Runner};
use crate::audit::Entry;
use crate::model::{Cause, Kind, Met, Outcome};
use crate::plan::{Course, decide_row};
use crate::scim::Record;
use crate::store::{ROWS_AT_ONCE, RowNext, RowStep, Run, StoreError, WaitingRow};

impl Runner<'_> {
    /// Writes down whom `steps`, which are those of `rows`, show to have been created though nobody has said so.
    pub(super) async fn audit_created(
        &self,
        run: &Run,
        rows: &[WaitingRow],
        steps: &[RowStep],
    ) -> Result<(), RunFailure> {
        let entries =
            rows.iter().zip(steps).filter_map(|(row, step)| self.created(run, row, step).transpose());
        let entries = entries.collect::<Result<Vec<Entry>, StoreError>>()?;
        if let (false, Some(audit)) = (entries.is_empty(), self.audit) {
            let link = audit.record(entries, self.clock.now()).await?;
            self.store.remember_audit(&link.into()).await?;
        }
        Ok(())
    }

    fn created(&self, run: &Run, row: &WaitingRow, step: &RowStep) -> Result<Option<Entry>, StoreError> {
        let (RowNext::End { outcome: Outcome::Created, .. }, Some(user)) = (&step.next, &step.user) else {
            return Ok(None);
        };
        let damaged = || StoreError::damaged(format!("row {} of run {} cannot be read", row.line, run.id));
        let wanted: Map<String, Value> = serde_json::from_str(&row.wanted).map_err(|_| damaged())?;
        // What was sent is what would be sent if nobody were there.
        let policy = (self.policy.on_conflict, self.policy.update_with);
        let Course::Send { payload, .. } = decide_row(&wanted, None, Met::Unclear, policy) else {
            return Err(damaged());
        };
        Ok(Some(Entry::UserWritten {
            tenant: self.tenant.clone(),
            user: user.clone(),
            external_id: row.external_id.clone(),
            operation: row.operation.ok_or_else(damaged)?,
            kind: Kind::Profile,
            cause: Cause::Asked,
            attributes: payload.paths().into_iter().map(str::to_owned).collect(),
            pass: run.pass,
            attempt: row.attempts.max(1),
            request_id: None,
            looked_up: true,
        }))
    }

    /// Looks up whoever may have been created for an export that a newer one has superseded since; nothing else is done for
    /// that. Returns whether anybody is left for whom it is to be done.
    pub(super) async fn look_up_superseded(&self) -> Result<bool, RunFailure> {
        let runs = self.store.unclear_runs(self.tenant).await?;
        for run in &runs {
            let rows = self.store.waiting_rows(run.id, 0, ROWS_AT_ONCE, self.clock.now()).await?;
            let found = self.look_up(&rows.iter().collect::<Vec<_>>()).await?;
            let steps: Vec<RowStep> =
                rows.iter().zip(found).map(|(row, found)| settled(row, found)).collect();
            self.audit_created(run, &rows, &steps).await?;
            self.store.decide_rows(run, &steps, self.clock.now()).await?;
        }
        Ok(!runs.is_empty())
    }
}

/// Who goes by another `externalId` is somebody else.
fn settled(row: &WaitingRow, found: Option<Record>) -> RowStep {
    let user = found.filter(|found| found.external_id == row.external_id).map(|found| found.id);
    let outcome = if user.is_some() { Outcome::Created } else { Outcome::Superseded };
    RowStep { line: row.line, user, external_id: None, next: RowNext::End { outcome, reason: None } }
}
