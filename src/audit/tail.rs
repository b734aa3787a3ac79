//! What stands at the end of an audit file: the line to go on from, and what is wrong behind it.
//!
//! It reads backwards, and never the whole of a large file. It changes nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::chain::{self, Link};
use super::hash::Hash;

/// Read at first; a sound line stands in it as a rule.
const FIRST: u64 = 64 << 10;
/// Read at most. More damage than that is not what a crash or a slip of the hand leaves.
const MOST: u64 = 4 << 20;
/// What every line of ours begins with.
const BEGINNING: &[u8] = b"{\"seq\":";

/// The end of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The last sound line; `None` when there is none in the whole file.
    pub(super) sound: Option<Link>,
    /// The lines after it.
    pub(super) damaged: Damage,
    /// What follows the last newline.
    pub(super) torn: Option<Torn>,
}

/// Lines that are not sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) lines: u64,
    /// Their newlines included.
    pub(super) bytes: u64,
    /// Over all of them.
    pub(super) hash: Hash,
}

/// A line without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) bytes: u64,
    pub(super) hash: Hash,
    /// The line, when nothing but the newline is missing.
    pub(super) complete: Option<Link>,
}

/// Why a file has no end to go on from.
pub(super) type NotOurs = &'static str;

/// Looks at the end of a file of this length.
pub(super) fn read(file: &File, len: u64) -> io::Result<Result<Tail, NotOurs>> {
    let mut size = FIRST;
    loop {
        let start = len.saturating_sub(size);
        let mut window = vec![0; usize::try_from(len - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut window, start)?;
        if start == 0 {
            return Ok(whole(&window));
        }
        // What the window begins with is the end of a line.
        let begin = window.iter().position(|byte| *byte == b'\n').map_or(window.len(), |at| at + 1);
        let tail = look(&window[begin..]);
        if tail.sound.is_some() {
            return Ok(Ok(tail));
        }
        if size == MOST {
            return Ok(Err("its last 4 MiB hold no line of an audit"));
        }
        size *= 4;
    }
}

/// A whole file. One without a sound line is ours only if it begins like one of ours.
fn whole(bytes: &[u8]) -> Result<Tail, NotOurs> {
    let tail = look(bytes);
    // A power cut can leave zeros where a line was to be.
    let begun =
        bytes.starts_with(BEGINNING) || BEGINNING.starts_with(bytes) || bytes.iter().all(|byte| *byte == 0);
    if tail.sound.is_some() || begun { Ok(tail) } else { Err("it does not begin with a line of an audit") }
}

/// Bytes that begin where a line begins.
fn look(bytes: &[u8]) -> Tail {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = torn(&bytes[end..]);
    let complete = torn.and_then(|torn| torn.complete);
    let (mut sound, mut from, mut lines) = (complete, end, 0);
    while sound.is_none() && from > 0 {
        let start = bytes[..from - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        sound = chain::read(&bytes[start..from - 1]).ok().map(|line| line.link);
        if sound.is_none() {
            (from, lines) = (start, lines + 1);
        }
    }
    let damaged = Damage { lines, bytes: (end - from) as u64, hash: Hash::of(&bytes[from..end]) };
    Tail { sound, damaged, torn }
}

fn torn(fragment: &[u8]) -> Option<Torn> {
    let complete = chain::read(fragment).ok().map(|line| line.link);
    let torn = Torn { bytes: fragment.len() as u64, hash: Hash::of(fragment), complete };
    (!fragment.is_empty()).then_some(torn)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rstest::rstest;

    use super::*;
    use crate::audit::Entry;
    use crate::model::Timestamp;

    /// Three lines with their newlines, and the heads of each.
    fn three() -> ([Vec<u8>; 3], [Link; 3]) {
        let mut link = Link::GENESIS;
        let mut heads = [link; 3];
        let lines = [0, 1, 2].map(|at: usize| {
            let mut out = Vec::new();
            link = chain::write(&mut out, link, &Entry::Started, Timestamp::EPOCH).unwrap();
            heads[at] = link;
            out
        });
        (lines, heads)
    }

    fn tail_of(bytes: &[u8]) -> Result<Tail, NotOurs> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read(&file, bytes.len() as u64).unwrap()
    }

    fn nothing() -> Damage {
        Damage { lines: 0, bytes: 0, hash: Hash::of(b"") }
    }

    #[test]
    fn the_last_line_is_where_to_go_on_from() {
        let (lines, heads) = three();
        let expected = Tail { sound: Some(heads[2]), damaged: nothing(), torn: None };
        assert_eq!(tail_of(&lines.concat()), Ok(expected));
        let expected = Tail { sound: None, damaged: nothing(), torn: None };
        assert_eq!(tail_of(b""), Ok(expected), "an empty file is ours to fill");
    }

    #[rstest]
    #[case::a_byte(b"{")]
    #[case::a_start(b"{\"seq\":4,\"at\":\"2026-")]
    #[case::zeros(&[0; 5000])]
    #[case::anything(b"hello")]
    fn what_follows_the_last_newline_is_torn(#[case] fragment: &[u8]) {
        let (lines, heads) = three();
        let torn = Torn { bytes: fragment.len() as u64, hash: Hash::of(fragment), complete: None };
        let expected = Tail { sound: Some(heads[2]), damaged: nothing(), torn: Some(torn) };
        assert_eq!(tail_of(&[&lines.concat(), fragment].concat()), Ok(expected));
    }

    #[test]
    fn a_line_that_lacks_its_newline_only_is_complete() {
        let (lines, heads) = three();
        let bytes = lines.concat();
        let tail = tail_of(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(tail.sound, Some(heads[2]));
        assert_eq!(tail.torn.and_then(|torn| torn.complete), Some(heads[2]));
    }

    #[test]
    fn damaged_lines_at_the_end_are_stepped_over() {
        let (lines, heads) = three();
        let damage = [&lines[1][..9], b"\n\n", b"{\"seq\":3}\n"].concat();
        let hash = Hash::of(&damage);
        let damaged = Damage { lines: 3, bytes: damage.len() as u64, hash };
        let expected = Tail { sound: Some(heads[0]), damaged, torn: None };
        assert_eq!(tail_of(&[lines[0].as_slice(), &damage].concat()), Ok(expected));
        let expected = Tail { sound: None, damaged: Damage { lines: 1, ..nothing() }, torn: None };
        let found = tail_of(b"{\"seq\":1}\n").unwrap();
        assert_eq!((found.sound, found.damaged.lines), (expected.sound, expected.damaged.lines));
    }

    #[test]
    fn a_sound_line_is_found_behind_much_damage_but_not_behind_too_much() {
        let (lines, heads) = three();
        let behind = |bytes: u64| {
            let damage = [vec![b'x'; usize::try_from(bytes - 1).unwrap()], vec![b'\n']].concat();
            tail_of(&[lines.concat(), damage].concat()).map(|tail| tail.sound)
        };
        assert_eq!(behind(FIRST), Ok(Some(heads[2])));
        assert_eq!(behind(MOST / 2), Ok(Some(heads[2])));
        assert_eq!(behind(MOST), Err("its last 4 MiB hold no line of an audit"));
    }

    #[rstest]
    #[case::text(b"hello\n")]
    #[case::no_newline(b"hello")]
    #[case::another_log(b"{\"message\":\"hello\"}\n{\"seq\":1}\n")]
    #[case::a_newline(b"\n")]
    fn another_programs_file_is_not_ours(#[case] bytes: &[u8]) {
        assert_eq!(tail_of(bytes), Err("it does not begin with a line of an audit"));
    }
}
