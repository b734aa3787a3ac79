//! A CSV file of attributes: whose they are in the first column, below each other column what that attribute is to be.

use serde_json::Value;

use super::key::Named;
use super::{Draft, judge_key};
use crate::model::quoted;
use crate::source::export::miscounted;
use crate::source::input::{Input, Record, Records, Trouble};

/// What the columns are.
pub(super) struct Table {
    named: Named,
    keys: Vec<String>,
    remove_marker: String,
}

impl Table {
    /// Reads the header. Keys are trimmed, and taken to the letter otherwise.
    pub(super) fn new(header: Record, remove_marker: &str) -> Result<Self, Trouble> {
        let cells = header
            .cells
            .map_err(|reason| Trouble::Header(vec![format!("line {}: {reason}", header.line)]))?;
        let mut cells = cells.into_iter().map(|cell| cell.trim().to_owned());
        let named = cells.next().and_then(|first| Named::by(&first)).ok_or_else(|| {
            let reason =
                "its first column must be id, userName or externalId; the others are keys of attributes";
            Trouble::Header(vec![reason.to_owned()])
        })?;
        let keys: Vec<String> = cells.collect();
        let mut faults = Vec::new();
        for (number, key) in (2..).zip(&keys) {
            if let Err(reason) = judge_key(key) {
                faults.push(format!("column {number}: {reason}"));
            } else if let Some(first) = keys[..number - 2].iter().position(|other| other == key) {
                faults.push(format!("columns {} and {number} are both for {}", first + 2, quoted(key)));
            }
        }
        if keys.is_empty() {
            faults.push("it has no column for an attribute".to_owned());
        }
        if !faults.is_empty() {
            return Err(Trouble::Header(faults));
        }
        Ok(Self { named, keys, remove_marker: remove_marker.to_owned() })
    }

    /// The next row. An empty cell leaves the attribute alone.
    pub(super) fn next(&self, records: &mut Records<Input>) -> Result<Option<Draft>, Trouble> {
        while let Some(record) = records.next()? {
            let columns = self.keys.len() + 1;
            let cells = match record.cells {
                Ok(cells) if cells.iter().all(|cell| cell.trim().is_empty()) => continue,
                Ok(cells) if cells.len() == columns => cells,
                Ok(cells) => {
                    let reason = miscounted(cells.len(), columns, record.line, record.last);
                    return Ok(Some(Draft::broken(record.line, reason)));
                }
                Err(reason) => return Ok(Some(Draft::broken(record.line, reason))),
            };
            let mut draft = Draft::at(record.line);
            let mut cells = cells.iter().map(|cell| cell.trim());
            draft.user(self.named, cells.next().unwrap_or_default());
            for (key, cell) in self.keys.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
                if cell == self.remove_marker {
                    draft.remove.insert(key.clone());
                } else {
                    draft.set(key, Value::from(cell));
                }
            }
            return Ok(Some(draft));
        }
        Ok(None)
    }
}
