//! Whom the tenant has: all of them when that is less to ask for, otherwise those that rows name.

use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;

use futures_util::future::try_join_all;

use super::runner::{RunFailure, Runner};
use crate::model::UserKey;
use crate::scim::Record;
use crate::source::{RecordList, Shown, find_records, how_many, list_records};
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

    /// Looks up whom rows mean, in their order: by `externalId`, then by `userName`.
    pub(super) async fn look_up(&self, rows: &[&WaitingRow]) -> Result<Vec<Option<Record>>, RunFailure> {
        let external_id = |row: &WaitingRow| row.external_id.clone().map(UserKey::ExternalId);
        let user_name = |row: &WaitingRow| row.user_name.clone().map(UserKey::UserName);
        let by_id = self.ask_for(rows.iter().filter_map(|row| external_id(row)).collect()).await?;
        let known = |row: &WaitingRow| external_id(row).and_then(|key| by_id.get(&key).cloned());
        let unknown = rows.iter().filter(|row| known(row).is_none());
        let by_name = self.ask_for(unknown.filter_map(|row| user_name(row)).collect()).await?;
        let named = |row: &WaitingRow| user_name(row).and_then(|key| by_name.get(&key).cloned());
        Ok(rows.iter().map(|row| known(row).or_else(|| named(row))).collect())
    }

    /// Those of `keys` whom the tenant has. Each is asked for by himself, several at once; the whole list is read for a
    /// tenant that makes nothing of that.
    pub(super) async fn ask_for(&self, keys: Vec<UserKey>) -> Result<BTreeMap<UserKey, Record>, RunFailure> {
        let mut found = BTreeMap::new();
        let at_once = self.policy.workers.max(1);
        for (at, some) in keys.chunks(at_once).enumerate() {
            let asked =
                some.iter().map(|key| find_records(self.client, from_ref(key), self.clock, self.chance));
            for shown in try_join_all(asked).await? {
                let Shown::These(records) = shown else {
                    let left = &keys[at * at_once..];
                    found
                        .extend(list_records(self.client, left, self.list, (self.clock, self.chance)).await?);
                    return Ok(found);
                };
                found.extend(records);
            }
        }
        Ok(found)
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
