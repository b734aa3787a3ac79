//! Which line of a file named something first.
//!
//! It keeps no text, only 128 bits of its SHA-256: a million lines are some tens of megabytes, and hold no personal
//! data.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sha2::{Digest, Sha256};

/// What was named so far, and where.
#[derive(Debug, Default)]
pub struct FirstLines(BTreeMap<[u8; 16], u64>);

impl FirstLines {
    /// Notes that `line` names `text`. The line that did so before, if one did.
    pub fn note(&mut self, text: &str, line: u64) -> Option<u64> {
        let digest = Sha256::digest(text);
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        match self.0.entry(key) {
            Entry::Vacant(free) => {
                free.insert(line);
                None
            }
            Entry::Occupied(first) => Some(*first.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_keeps_the_name() {
        let mut lines = FirstLines::default();
        let noted = [("a", 2), ("b", 3), ("a", 4), ("a", 5)].map(|(text, line)| lines.note(text, line));
        assert_eq!(noted, [None, None, Some(2), Some(2)]);
    }
}
