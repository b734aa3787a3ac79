//! Rows of an HRIS export: whom each means, and what is done for it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::runner::{RunFailure, Runner};
use crate::model::{Action, Cause, Met, Operation, Outcome, Payload, ProfilePayload, Timestamp, UserId};
use crate::plan::{Course, Match, decide_row};
use crate::scim::{Record, backoff, read_record};
use crate::source::how_many;
use crate::store::{RowNext, RowStep, Run, StoreError, WaitingRow};

/// How many more users the tenant may have.
#[derive(Debug)]
pub(super) struct Capacity {
    most: Option<u64>,
    left: Option<u64>,
    /// The rows for which there is room, by line: one that is put off and decided again needs no more of it.
    taken: BTreeSet<u64>,
}

impl Capacity {
    pub(super) const fn new(most: Option<u64>) -> Self {
        Self { most, left: None, taken: BTreeSet::new() }
    }

    /// Whether there is room for the user of the row in `line` as well when there is for `left` more; if so, he is counted.
    fn takes(&mut self, line: u64, left: u64) -> bool {
        if self.taken.contains(&line) {
            return true;
        }
        self.left = Some(left.saturating_sub(1));
        if left > 0 {
            self.taken.insert(line);
        }
        left > 0
    }
}

impl Runner<'_> {
    /// Decides `rows`, each from the user whom it means. `by_name` says that the tenant's users were not read as a whole.
    pub(super) async fn decide_users(
        &self,
        run: &Run,
        rows: &[WaitingRow],
        by_name: bool,
        capacity: &mut Capacity,
    ) -> Result<Vec<RowStep>, RunFailure> {
        let asked = |row: &&WaitingRow| by_name || Self::was_sent(row.met);
        let sent: Vec<&WaitingRow> = rows.iter().filter(asked).collect();
        let mut looked_up = self.look_up(&sent).await?.into_iter();
        let mut steps = Vec::with_capacity(rows.len());
        for row in rows {
            let found = if asked(&row) { looked_up.next().flatten() } else { self.listed(run, row).await? };
            let found = if found.is_none() && !asked(&row) { self.known(row).await? } else { found };
            let read_at = asked(&row).then(|| self.clock.now());
            steps.push(self.decide_user(run, row, (found, read_at), capacity).await?);
        }
        Ok(steps)
    }

    async fn listed(&self, run: &Run, row: &WaitingRow) -> Result<Option<Record>, RunFailure> {
        let found = self.store.found(run.id, row.external_id.as_deref(), row.user_name.as_deref()).await?;
        // Whose record cannot be read is there all the same: he must not be created.
        let record = found.map(|found| {
            read_record(found.record.as_bytes()).map_err(|reason| {
                StoreError::damaged(format!("user {} of run {}: {reason}", found.user, run.id))
            })
        });
        Ok(record.transpose()?)
    }

    /// Lists may hide who is inactive: whoever was there before is looked up before he is created again.
    async fn known(&self, row: &WaitingRow) -> Result<Option<Record>, RunFailure> {
        let Some(external_id) = row.external_id.as_deref() else { return Ok(None) };
        match self.store.provisioned_as(self.tenant, external_id).await? {
            Some(_) => Ok(self.look_up(&[row]).await?.pop().flatten()),
            None => Ok(None),
        }
    }

    async fn decide_user(
        &self,
        run: &Run,
        row: &WaitingRow,
        (found, read_at): (Option<Record>, Option<Timestamp>),
        capacity: &mut Capacity,
    ) -> Result<RowStep, RunFailure> {
        let wanted: Map<String, Value> = serde_json::from_str(&row.wanted)
            .map_err(|_| StoreError::damaged(format!("row {} of run {} cannot be read", row.line, run.id)))?;
        let by_name = found.as_ref().filter(|found| found.external_id != row.external_id);
        if let Some(named) = by_name {
            let other =
                self.store.other_row(run.id, row.line, &named.id, named.external_id.as_deref()).await?;
            if let Some(line) = other {
                let reason = format!("the user of this userName is that of line {line}");
                return Ok(Self::end(row, Outcome::Failed, Some(reason)));
            }
        }
        let version = found.as_ref().and_then(|found| found.version.clone());
        let found = match found {
            Some(found) => Some(self.matched(found, read_at).await?),
            None => None,
        };
        let policy = (self.policy.on_conflict, self.policy.update_with);
        let user = found.as_ref().map(|found| found.user.clone());
        let (action, payload) = match decide_row(&wanted, found.as_ref(), row.met, policy) {
            Course::End { outcome, reason } => {
                return Ok(RowStep { user, ..Self::end(row, outcome, reason.map(str::to_owned)) });
            }
            Course::Send { action, payload } => (action, payload),
        };
        if row.attempts >= self.policy.max_attempts {
            let reason = format!("given up after {} attempts that nobody answered", row.attempts);
            return Ok(Self::end(row, Outcome::Failed, Some(reason)));
        }
        if action == Action::Create && row.met == Met::Nothing && !self.has_room(run, row, capacity).await? {
            let most = capacity.most.unwrap_or_default();
            let reason = format!("the tenant is full: it may have {most} users (provision.max_users)");
            return Ok(Self::end(row, Outcome::Rejected, Some(reason)));
        }
        let replaces = matches!(payload, ProfilePayload::Replace { .. });
        let version = version.filter(|_| replaces);
        let addressed = user.clone().unwrap_or_else(|| unborn(row));
        let operation =
            Operation { user: addressed, payload: Payload::Profile(payload), cause: Cause::Asked, version };
        let now = self.clock.now();
        let due = match row.attempts {
            0 => now,
            failures => now.plus(backoff(failures, self.chance.draw())),
        };
        // Of a row by itself it is known at once what has become of it; and who is replaced may have to be read right before.
        let packed = self.packed() && row.met == Met::Nothing && !replaces;
        let next = RowNext::Send { action, operation, packed, attempts: row.attempts, due };
        Ok(RowStep { line: row.line, user, external_id: None, next })
    }

    async fn matched(&self, found: Record, read_at: Option<Timestamp>) -> Result<Match, RunFailure> {
        let inactive = found.attributes.get("active") == Some(&Value::Bool(false));
        let deactivated_by_us = inactive && self.store.deactivated_by_us(self.tenant, &found.id).await?;
        Ok(Match { user: found.id, record: found.attributes, read_at, deactivated_by_us })
    }

    /// Whether the tenant may have the user of `row` as well; if so, he is counted.
    async fn has_room(
        &self,
        run: &Run,
        row: &WaitingRow,
        capacity: &mut Capacity,
    ) -> Result<bool, RunFailure> {
        let Some(most) = capacity.most else { return Ok(true) };
        let left = if let Some(left) = capacity.left {
            left
        } else {
            let there = how_many(self.client, self.clock, self.chance).await?;
            most.saturating_sub(there).saturating_sub(self.store.creations_open(run.id).await?)
        };
        Ok(capacity.takes(row.line, left))
    }
}

/// What a user goes by who has no id yet: two rows that mean the same one are never in flight at once.
fn unborn(row: &WaitingRow) -> UserId {
    let name = row.external_id.as_deref().unwrap_or_default();
    UserId::from(format!("externalId:{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_decided_again_needs_no_more_room() {
        let mut capacity = Capacity::new(Some(2));
        capacity.left = Some(2);
        let taken = [3, 4, 3, 5, 4].map(|line| {
            let left = capacity.left.unwrap_or_default();
            capacity.takes(line, left)
        });
        assert_eq!(taken, [true, true, true, false, true]);
    }
}
