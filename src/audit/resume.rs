//! From where a log goes on that is opened, and what it notes about that. Pure: the looking is done by then.

use super::chain::Link;
use super::record::{Entry, Repair};
use super::tail::{Tail, Torn};

/// The newest full file.
pub(super) struct Before {
    /// Its name, without its folder.
    pub(super) name: String,
    pub(super) tail: Tail,
}

/// How to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// What the next line follows.
    pub(super) link: Link,
    /// The first lines.
    pub(super) notes: Vec<Entry>,
}

/// Decides it. `remembered` is the last line that somebody knows to have been written, [`Link::GENESIS`] if nobody
/// knows of any; `before` counts only for a file without a sound line.
///
/// The chain never goes on from less than what is remembered: lines that were cut off the end cannot be written
/// again as if they had never been there, and are missed for ever.
pub(super) fn start(remembered: Link, tail: &Tail, before: Option<&Before>) -> Start {
    let fresh = tail.sound.is_none() && tail.damaged.lines == 0;
    let disk = tail.sound.or(before.and_then(|before| before.tail.sound)).unwrap_or(Link::GENESIS);
    let damaged = before.filter(|_| fresh).map_or(tail.damaged, |before| before.tail.damaged);
    let taken = Link { seq: disk.seq.saturating_add(damaged.lines), hash: disk.hash };
    let link = if remembered.seq >= taken.seq { remembered } else { taken };

    let mut notes = Vec::new();
    match before {
        Some(before) if fresh => notes.push(Entry::Continued { after: before.name.clone() }),
        None if fresh && link == Link::GENESIS => notes.push(Entry::Started),
        _ => {}
    }
    notes.extend(tail.torn.map(repaired));
    if link != disk {
        notes.push(Entry::Resumed {
            damaged_lines: damaged.lines,
            damaged_bytes: damaged.bytes,
            sha256: damaged.hash,
            missing_lines: link.seq - taken.seq,
        });
    }
    Start { link, notes }
}

fn repaired(torn: Torn) -> Entry {
    let repair = if torn.complete.is_some() { Repair::Completed } else { Repair::Dropped };
    Entry::Repaired { repair, bytes: torn.bytes, sha256: torn.hash }
}

#[cfg(test)]
mod tests {
    use super::super::hash::Hash;
    use super::super::tail::Damage;
    use super::*;

    fn link(seq: u64) -> Link {
        Link { seq, hash: Hash::of(&seq.to_be_bytes()) }
    }

    fn tail(sound: Option<u64>, damaged: u64) -> Tail {
        let damaged = Damage { lines: damaged, bytes: damaged * 10, hash: Hash::of(b"damage") };
        Tail { sound: sound.map(link), damaged, torn: None }
    }

    fn torn(complete: Option<u64>) -> Torn {
        Torn { bytes: 7, hash: Hash::of(b"torn"), complete: complete.map(link) }
    }

    fn before(tail: Tail) -> Before {
        Before { name: "audit.jsonl.000000000009".to_owned(), tail }
    }

    fn continued() -> Entry {
        Entry::Continued { after: "audit.jsonl.000000000009".to_owned() }
    }

    fn resumed(damaged: u64, missing_lines: u64) -> Entry {
        Entry::Resumed {
            damaged_lines: damaged,
            damaged_bytes: damaged * 10,
            sha256: Hash::of(b"damage"),
            missing_lines,
        }
    }

    fn repaired(repair: Repair) -> Entry {
        Entry::Repaired { repair, bytes: 7, sha256: Hash::of(b"torn") }
    }

    #[test]
    fn a_log_that_is_well_goes_on_without_a_word() {
        for remembered in [Link::GENESIS, link(3), link(5)] {
            let expected = Start { link: link(5), notes: vec![] };
            assert_eq!(start(remembered, &tail(Some(5), 0), None), expected);
            assert_eq!(start(remembered, &tail(Some(5), 0), Some(&before(tail(Some(2), 0)))), expected);
        }
    }

    #[test]
    fn a_new_file_begins_a_chain_or_goes_on_with_one() {
        let expected = Start { link: Link::GENESIS, notes: vec![Entry::Started] };
        assert_eq!(start(Link::GENESIS, &tail(None, 0), None), expected);
        let expected = Start { link: link(9), notes: vec![continued()] };
        assert_eq!(start(link(9), &tail(None, 0), Some(&before(tail(Some(9), 0)))), expected);
        let found = start(Link::GENESIS, &tail(None, 0), Some(&before(tail(Some(9), 2))));
        assert_eq!(found.link, Link { seq: 11, ..link(9) });
        assert_eq!(found.notes, [continued(), resumed(2, 0)]);
    }

    #[test]
    fn a_torn_line_is_noted() {
        let of = |torn, sound| Tail { torn: Some(torn), ..tail(sound, 0) };
        let expected = Start { link: link(5), notes: vec![repaired(Repair::Dropped)] };
        assert_eq!(start(link(5), &of(torn(None), Some(5)), None), expected);
        let expected = Start { link: link(6), notes: vec![repaired(Repair::Completed)] };
        assert_eq!(start(link(5), &of(torn(Some(6)), Some(6)), None), expected);
        let found = start(Link::GENESIS, &of(torn(None), None), None);
        assert_eq!(found.notes, [Entry::Started, repaired(Repair::Dropped)]);
    }

    #[test]
    fn damaged_lines_keep_their_numbers() {
        let found = start(link(3), &tail(Some(5), 2), None);
        assert_eq!(found, Start { link: Link { seq: 7, ..link(5) }, notes: vec![resumed(2, 0)] });
        let found = start(link(7), &tail(Some(5), 2), None);
        assert_eq!(
            found,
            Start { link: link(7), notes: vec![resumed(2, 0)] },
            "what they were is remembered"
        );
    }

    #[test]
    fn what_is_remembered_cannot_be_written_anew() {
        let cut = start(link(8), &tail(Some(5), 0), None);
        assert_eq!(cut.link, link(8));
        assert!(matches!(cut.notes[..], [Entry::Resumed { damaged_lines: 0, missing_lines: 3, .. }]));
        let gone = start(link(8), &tail(None, 0), None);
        assert_eq!(gone.link, link(8));
        assert!(matches!(gone.notes[..], [Entry::Resumed { missing_lines: 8, .. }]));
        let other = Tail { sound: Some(Link { hash: Hash::of(b"other"), ..link(8) }), ..tail(None, 0) };
        let replaced = start(link(8), &other, None);
        assert_eq!(replaced.link, link(8));
        assert!(matches!(replaced.notes[..], [Entry::Resumed { missing_lines: 0, .. }]));
    }
}
