//! Whom the tenant has: all of them when that is less to ask for, otherwise those that rows name.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;

use super::runner::{RunFailure, Runner};
use crate::model::UserKey;
use crate::scim::Record;
use crate::source::{RecordList, find_record, how_many};
use crate::store::{Found, Run, WaitingRow};

impl Runner<'_> {
    /// Reads the tenant's users for a run, unless it is less work to look up its rows one by one; returns whether they are
    /// read. To know who is no longer named, all have to be read (`all`).
    pub(super) async fn people(&self, run: &Run, all: bool) -> Result<bool, RunFailure> {
        if run.read {
            return Ok(true);
        }
        let rows = self.store.rows_waiting(run.id).await?;
        if rows == 0 && !all {
            return Ok(true);
        }
        let total = how_many(self.client, self.clock, self.chance).await?;
        let pages = total.div_ceil(u64::from(self.list.page_size));
        // A row is looked up by two names.
        if !all && pages > 2 * rows {
            return Ok(false);
        }
        let mut list = RecordList::new(self.client, self.list, self.clock, self.chance);
        let mut seen = BTreeSet::new();
        while let Some(records) = list.next().await? {
            let before = seen.len();
            seen.extend(records.iter().map(|record| record.id.clone()));
            let found: Vec<Found> = records.into_iter().map(found).collect();
            self.store.keep_found(run.id, &found).await?;
            list.new_users(u64::try_from(seen.len() - before).unwrap_or(0));
        }
        self.store.run_read(run).await?;
        Ok(true)
    }

    /// Looks up whom rows mean, several at once, in their order.
    pub(super) async fn look_up(&self, rows: Vec<&WaitingRow>) -> Result<Vec<Option<Record>>, RunFailure> {
        let mut records = Vec::with_capacity(rows.len());
        for rows in rows.chunks(self.policy.workers.max(1)) {
            records.extend(try_join_all(rows.iter().map(|row| self.look_up_one(row))).await?);
        }
        Ok(records)
    }

    /// By `externalId`, then by `userName`.
    pub(super) async fn look_up_one(&self, row: &WaitingRow) -> Result<Option<Record>, RunFailure> {
        let keys =
            [row.external_id.clone().map(UserKey::ExternalId), row.user_name.clone().map(UserKey::UserName)];
        for key in keys.into_iter().flatten() {
            if let Some(record) = find_record(self.client, &key, self.clock, self.chance).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

fn found(record: Record) -> Found {
    Found {
        user: record.id,
        external_id: record.external_id,
        user_name: record.user_name,
        record: serde_json::Value::Object(record.attributes).to_string(),
    }
}
