//! Rows of a file of custom attributes: whose they are, and what of them is sent.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde_json::{Map, Value};

use super::runner::{RunFailure, Runner};
use crate::model::{Action, AttributesPayload, Cause, Operation, Outcome, Payload, UserId, UserKey};
use crate::plan::missing_attributes;
use crate::scim::Record;
use crate::source::{NAMES_AT_ONCE, Shown, find_records, read_record_by_id};
use crate::store::{RowNext, RowStep, Run, StoreError, WaitingRow};

impl Runner<'_> {
    /// Decides `rows`: whose attributes they are, and with `diff` what of them differs.
    pub(super) async fn decide_attributes(
        &self,
        run: &Run,
        rows: &[WaitingRow],
        diff: bool,
    ) -> Result<Vec<RowStep>, RunFailure> {
        let named = self.resolve(rows).await?;
        let mut records = Vec::with_capacity(rows.len());
        for rows in rows.chunks(self.policy.workers.max(1)) {
            records.extend(try_join_all(rows.iter().map(|row| self.record_of(row, &named, diff))).await?);
        }
        rows.iter()
            .zip(&records)
            .map(|(row, record)| self.decide_one(run, row, record.as_ref(), diff))
            .collect()
    }

    async fn record_of(
        &self,
        row: &WaitingRow,
        named: &BTreeMap<UserKey, Record>,
        diff: bool,
    ) -> Result<Option<Record>, RunFailure> {
        match (key(row).and_then(|key| named.get(&key).cloned()), &row.user) {
            (None, Some(user)) if diff => {
                Ok(read_record_by_id(self.client, user, self.clock, self.chance).await?)
            }
            (record, _) => Ok(record),
        }
    }

    fn decide_one(
        &self,
        run: &Run,
        row: &WaitingRow,
        record: Option<&Record>,
        diff: bool,
    ) -> Result<RowStep, RunFailure> {
        let mut wanted: AttributesPayload = serde_json::from_str(&row.wanted)
            .map_err(|_| StoreError::damaged(format!("row {} of run {} cannot be read", row.line, run.id)))?;
        let known = record.map(|record| record.id.clone());
        let Some(user) = known.or_else(|| row.user.clone().filter(|_| !diff)) else {
            let what = match key(row) {
                Some(UserKey::UserName(_)) => "userName",
                Some(UserKey::ExternalId(_)) => "externalId",
                Some(UserKey::Id(_)) | None => "id",
            };
            return Ok(Self::end(
                row,
                Outcome::Unresolved,
                Some(format!("the tenant has nobody with this {what}")),
            ));
        };
        let unchanged =
            |user: UserId| RowStep { user: Some(user), ..Self::end(row, Outcome::Unchanged, None) };
        if let (Some(record), true) = (record, diff) {
            match missing_attributes(wanted, &custom_attributes(record)) {
                Some(left) => wanted = left,
                None => return Ok(unchanged(user)),
            }
        }
        if wanted.keys().is_empty() {
            return Ok(unchanged(user));
        }
        let payload = Payload::Attributes(wanted);
        let operation = Operation { user: user.clone(), payload, cause: Cause::Asked, version: None };
        let (attempts, due) = (row.attempts, self.clock.now());
        let next = RowNext::Send { action: Action::Attributes, operation, packed: false, attempts, due };
        Ok(RowStep { line: row.line, user: Some(user), external_id: None, next })
    }

    /// Whom rows mean that do not name an id: many at once, and who is not shown then by himself.
    async fn resolve(&self, rows: &[WaitingRow]) -> Result<BTreeMap<UserKey, Record>, RunFailure> {
        let keys: Vec<UserKey> = rows.iter().filter(|row| row.user.is_none()).filter_map(key).collect();
        let chunks: Vec<&[UserKey]> = keys.chunks(NAMES_AT_ONCE).collect();
        let mut found = BTreeMap::new();
        for chunks in chunks.chunks(self.policy.workers.max(1)) {
            let shown = try_join_all(chunks.iter().map(|keys| self.shown(keys))).await?;
            found.extend(shown.into_iter().flatten());
        }
        let missing: Vec<UserKey> = keys.iter().filter(|key| !found.contains_key(*key)).cloned().collect();
        found.extend(self.ask_for(missing).await?);
        Ok(found)
    }

    /// Those whom the tenant shows when it is asked for all at once; one that does not understand that may refuse.
    async fn shown(&self, keys: &[UserKey]) -> Result<BTreeMap<UserKey, Record>, RunFailure> {
        match find_records(self.client, keys, self.clock, self.chance).await {
            Err(error) if error.failure.verdict.answered() => Ok(BTreeMap::new()),
            shown => match shown? {
                Shown::These(records) => Ok(records),
                Shown::Anybody => Ok(BTreeMap::new()),
            },
        }
    }
}

fn key(row: &WaitingRow) -> Option<UserKey> {
    match (&row.user, &row.user_name, &row.external_id) {
        (Some(user), ..) => Some(UserKey::Id(user.clone())),
        (None, Some(name), _) => Some(UserKey::UserName(name.clone())),
        (None, None, Some(external_id)) => Some(UserKey::ExternalId(external_id.clone())),
        (None, None, None) => None,
    }
}

fn custom_attributes(record: &Record) -> Map<String, Value> {
    record.attributes.get("customAttributes").and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::read_record;

    #[test]
    fn a_record_without_custom_attributes_has_none() {
        let record = read_record(br#"{"id": "u-1", "customAttributes": {"a": "1"}}"#).unwrap();
        assert_eq!(custom_attributes(&record).get("a"), Some(&Value::from("1")));
        assert!(custom_attributes(&read_record(br#"{"id": "u-1"}"#).unwrap()).is_empty());
    }
}
