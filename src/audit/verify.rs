//! Whether lines are a chain, and where it is broken. Pure: lines go in one by one, breaches come out.
//!
//! A breach is told once, where it is: after it the chain is taken up again wherever it goes on. So an edited line
//! gives one breach, and not one for every line after it. A line that was moved gives one as well, or two when it was moved
//! back: where it is missing, and where it stands.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;

use super::chain::{self, Line, Link, Unsound};
use super::hash::Hash;
use crate::model::Timestamp;

/// Breaches and remarks that are kept; more of them are counted only.
const MOST: usize = 1000;
/// Places that are remembered where the chain broke off, to be taken up there again.
const LOOSE_ENDS: usize = 32;

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, counted from 0 in the order in which they are read.
    pub file: usize,
    /// Its line, from 1.
    pub line: u64,
}

/// Something that no audit has that was only ever added to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Where it shows.
    pub place: Place,
    /// What is wrong there.
    pub kind: BreachKind,
}

/// What is wrong at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BreachKind {
    /// Its hash is not over what it says.
    Changed,
    /// It is no line of an audit.
    Unreadable,
    /// It is longer than any line of an audit.
    TooLong,
    /// It has no newline, and is not the last line of the audit.
    Unended,
    /// These lines are not before it, where they belong.
    Missing(RangeInclusive<u64>),
    /// By its number it follows the line before, by its hash it does not: one of the two is not the one that was
    /// written.
    Replaced(u64),
    /// A line with this number stands where it does not belong.
    Misplaced(u64),
    /// A line with this number has been there already.
    Repeated(u64),
    /// By its hash it follows the line before, but its number is another.
    Misnumbered {
        /// What it says.
        seq: u64,
        /// What it should say.
        expected: u64,
    },
    /// The line of the head that was expected is another than it was.
    OtherHead(u64),
    /// These lines are not there; the head that was expected is the last of them.
    CutOff(RangeInclusive<u64>),
}

impl fmt::Display for BreachKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("was changed: its hash is not over what it says"),
            Self::Unreadable => f.write_str("is no line of an audit"),
            Self::TooLong => f.write_str("is longer than any line of an audit"),
            Self::Unended => f.write_str("does not end in a newline"),
            Self::Missing(lines) => write!(f, "{} missing before it", several(lines)),
            Self::Replaced(seq) => {
                write!(f, "seq {seq} does not follow from the line before: one of the two was replaced")
            }
            Self::Misplaced(seq) => write!(f, "seq {seq} is out of order"),
            Self::Repeated(seq) => write!(f, "seq {seq} has been there before"),
            Self::Misnumbered { seq, expected } => write!(f, "has seq {seq} in place of {expected}"),
            Self::OtherHead(seq) => write!(f, "seq {seq} is another line than the head that was expected"),
            Self::CutOff(lines) => {
                write!(f, "{} missing after it: the head that was expected is not there", several(lines))
            }
        }
    }
}

fn several(lines: &RangeInclusive<u64>) -> String {
    match (lines.start(), lines.end()) {
        (first, last) if first == last => format!("seq {first} is"),
        (first, last) => format!("seq {first} to {last} are"),
    }
}

/// Something worth knowing that is no breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: RemarkKind,
}

/// What is worth knowing of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemarkKind {
    /// The last line has no end: it is being written, or a crash has torn it.
    Torn,
    /// A torn line was mended before it.
    Repaired,
    /// The chain goes on here after lines that were damaged or missing.
    Resumed,
}

impl fmt::Display for RemarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torn => "a torn last line: the next start repairs it, unless it is being written now",
            Self::Repaired => "a torn line was repaired here",
            Self::Resumed => "the chain was taken up again here, after lines that were damaged or missing",
        })
    }
}

/// What has come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) breaches: Vec<Breach>,
    pub(super) remarks: Vec<Remark>,
    /// Breaches and remarks that are not listed, because there are so many.
    pub(super) unlisted: u64,
    /// The line that the chain ends with.
    pub(super) head: Option<Link>,
    /// When the first sound line was written, and the last.
    pub(super) times: Option<(Timestamp, Timestamp)>,
}

/// Takes the lines of all files, in their order.
#[derive(Debug)]
pub(super) struct Verifier {
    expected: Option<Link>,
    found: Outcome,
    /// Where the chain is; `None` until the first line when that is taken on trust.
    head: Option<Link>,
    /// A line that does not follow. What comes after it tells whether it was moved, or lines before it are missing.
    held: Option<(Place, Line)>,
    /// Damaged lines since `head`, and what the last of them may have been hashed to.
    damaged: u64,
    hashes: Vec<Hash>,
    /// Where the chain has broken off, newest last.
    ends: VecDeque<Link>,
    missing: Vec<RangeInclusive<u64>>,
    place: Place,
}

impl Verifier {
    /// With `start` as the line before the first, or with the first line taken on trust. `expected` is a line that must
    /// be among them.
    pub(super) fn new(start: Option<Link>, expected: Option<Link>) -> Self {
        Self {
            expected,
            found: Outcome::default(),
            head: start,
            held: None,
            damaged: 0,
            hashes: Vec::new(),
            ends: VecDeque::new(),
            missing: Vec::new(),
            place: Place { file: 0, line: 1 },
        }
    }

    /// The next line, without its newline.
    pub(super) fn line(&mut self, place: Place, text: &[u8]) {
        match chain::read(text) {
            Ok(line) => self.sound(place, line),
            Err(Unsound::Changed { said, is }) => self.damaged(place, BreachKind::Changed, vec![said, is]),
            Err(Unsound::Unreadable) => self.damaged(place, BreachKind::Unreadable, Vec::new()),
        }
    }

    /// The next line, which is longer than one may be.
    pub(super) fn too_long(&mut self, place: Place) {
        self.damaged(place, BreachKind::TooLong, Vec::new());
    }

    /// The next line, which has no newline though other files follow.
    pub(super) fn unended(&mut self, place: Place, text: &[u8]) {
        let hashes = chain::read(text).map(|line| vec![line.link.hash]).unwrap_or_default();
        self.damaged(place, BreachKind::Unended, hashes);
    }

    /// The last line, which has no newline.
    pub(super) fn torn(&mut self, place: Place) {
        self.remark(place, RemarkKind::Torn);
    }

    /// All lines have been there.
    pub(super) fn end(mut self) -> Outcome {
        self.leap();
        let head = self.head.filter(|head| head.seq > 0);
        let last = self.ends.iter().chain(&head).map(|link| link.seq).max().unwrap_or(0);
        let last = last.saturating_add(self.damaged);
        if let Some(expected) = self.expected.filter(|expected| expected.seq > last) {
            self.breach(self.place, BreachKind::CutOff(last + 1..=expected.seq));
        }
        Outcome { head, ..self.found }
    }

    fn sound(&mut self, place: Place, line: Line) {
        self.place = place;
        self.found.times = Some((self.found.times.map_or(line.at, |(first, _)| first), line.at));
        match line.event.as_str() {
            "repaired" => self.remark(place, RemarkKind::Repaired),
            "resumed" => self.remark(place, RemarkKind::Resumed),
            _ => {}
        }
        if let Some((_, held)) = &self.held {
            if line.prev == held.link.hash || (!self.follows(&line) && line.link.seq > held.link.seq) {
                self.leap();
            } else {
                self.stray();
            }
        }
        self.join(place, line);
    }

    /// Puts a line to the chain, with none held.
    fn join(&mut self, place: Place, line: Line) {
        let Some(head) = self.head else { return self.accept(place, line.link) };
        if line.prev == head.hash {
            let expected = head.seq.saturating_add(1);
            if !(expected..=expected.saturating_add(self.damaged)).contains(&line.link.seq) {
                self.breach(place, BreachKind::Misnumbered { seq: line.link.seq, expected });
            }
            return self.accept(place, line.link);
        }
        if self.follows(&line) {
            return self.accept(place, line.link);
        }
        // The damaged lines are those that are not there.
        let gap = line.link.seq.saturating_sub(head.seq);
        if gap > 1 && gap - 1 <= self.damaged {
            return self.accept(place, line.link);
        }
        if let Some(at) = self.ends.iter().rposition(|end| end.hash == line.prev) {
            self.ends.remove(at);
            if line.link.seq <= head.seq {
                self.breach(place, self.again(line.link.seq));
            }
            self.loose(head);
            return self.accept(place, line.link);
        }
        self.held = Some((place, line));
    }

    /// Whether it follows the head, or a damaged line after it.
    fn follows(&self, line: &Line) -> bool {
        self.head.is_some_and(|head| head.hash == line.prev) || self.hashes.contains(&line.prev)
    }

    fn accept(&mut self, place: Place, link: Link) {
        if self.expected.is_some_and(|expected| expected.seq == link.seq && expected.hash != link.hash) {
            self.breach(place, BreachKind::OtherHead(link.seq));
        }
        self.head = Some(link);
        self.damaged = 0;
        self.hashes.clear();
    }

    fn damaged(&mut self, place: Place, kind: BreachKind, hashes: Vec<Hash>) {
        self.place = place;
        self.leap();
        self.breach(place, kind);
        self.damaged += 1;
        self.hashes = hashes;
    }

    /// The chain goes on with the line that is held.
    fn leap(&mut self) {
        let Some((place, line)) = self.held.take() else { return };
        let (head, seq) = (self.head.unwrap_or(Link::GENESIS), line.link.seq);
        let kind = match seq.checked_sub(head.seq) {
            None | Some(0) => self.again(seq),
            Some(1) => BreachKind::Replaced(seq),
            Some(_) => {
                let missing = head.seq + 1..=seq - 1;
                if self.missing.len() < MOST {
                    self.missing.push(missing.clone());
                }
                BreachKind::Missing(missing)
            }
        };
        self.breach(place, kind);
        self.loose(head);
        self.accept(place, line.link);
    }

    /// The chain goes on without the line that is held.
    fn stray(&mut self) {
        let Some((place, line)) = self.held.take() else { return };
        let seq = line.link.seq;
        let ahead = self.head.is_some_and(|head| seq > head.seq);
        let kind = if ahead { BreachKind::Misplaced(seq) } else { self.again(seq) };
        self.breach(place, kind);
        self.loose(line.link);
    }

    /// A number that is not above the last: was it missed, or has it been there?
    fn again(&self, seq: u64) -> BreachKind {
        let missed = self.missing.iter().any(|lines| lines.contains(&seq));
        if missed { BreachKind::Misplaced(seq) } else { BreachKind::Repeated(seq) }
    }

    fn loose(&mut self, end: Link) {
        if self.ends.len() == LOOSE_ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(end);
    }

    fn breach(&mut self, place: Place, kind: BreachKind) {
        if self.found.breaches.len() < MOST {
            self.found.breaches.push(Breach { place, kind });
        } else {
            self.found.unlisted += 1;
        }
    }

    fn remark(&mut self, place: Place, kind: RemarkKind) {
        if self.found.remarks.len() < MOST {
            self.found.remarks.push(Remark { place, kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Entry;

    type Lines = Vec<Vec<u8>>;

    /// A line with a chosen number, chained to any hash.
    fn forged(seq: u64, prev: Hash, what: &str) -> (Vec<u8>, Link) {
        let mut out = Vec::new();
        let entry = Entry::StateReset { tenant: "acme".into(), what: what.to_owned(), operator: None };
        let before = Link { seq: seq - 1, hash: prev };
        let link = chain::write(&mut out, before, &entry, Timestamp::from_millis(1000)).unwrap();
        out.pop();
        (out, link)
    }

    /// Lines with the numbers 1 to 12, `[seq - 1]`, and their links, `[seq]`.
    fn twelve() -> (Lines, Vec<Link>) {
        let mut heads = vec![Link::GENESIS];
        let lines = (1..=12).map(|seq| {
            let (more, head) = forged(seq, heads[heads.len() - 1].hash, "watermark");
            heads.push(head);
            more
        });
        (lines.collect(), heads)
    }

    fn findings(lines: &Lines, start: Option<Link>, expected: Option<Link>) -> Outcome {
        let mut verifier = Verifier::new(start, expected);
        for (line, text) in (1..).zip(lines) {
            verifier.line(Place { file: 0, line }, text);
        }
        verifier.end()
    }

    /// Each breach as `LINE: what`.
    fn breaches(lines: &Lines, expected: Option<Link>) -> String {
        let found = findings(lines, Some(Link::GENESIS), expected);
        let texts = found.breaches.iter().map(|breach| format!("{}: {}", breach.place.line, breach.kind));
        texts.collect::<Vec<_>>().join("; ")
    }

    /// The lines with these numbers, in this order.
    fn order(numbers: &[usize]) -> Lines {
        let (lines, _) = twelve();
        numbers.iter().map(|seq| lines[seq - 1].clone()).collect()
    }

    fn replace(line: &[u8], from: &str, to: &str) -> Vec<u8> {
        let text = std::str::from_utf8(line).unwrap();
        assert!(text.contains(from), "{text}");
        text.replacen(from, to, 1).into_bytes()
    }

    #[test]
    fn a_chain_has_no_breach() {
        let (lines, heads) = twelve();
        let found = findings(&lines, Some(Link::GENESIS), Some(heads[7]));
        let at = Timestamp::from_millis(1000);
        let expected = Outcome { head: Some(heads[12]), times: Some((at, at)), ..Outcome::default() };
        assert_eq!(found, expected);
        let later = lines[4..].to_vec();
        assert_eq!(findings(&later, None, None), expected, "on trust it may begin anywhere");
    }

    #[test]
    fn lines_that_are_missing_or_moved_are_told_once() {
        for (numbers, expected) in [
            (&[1, 2, 3, 5, 6, 7][..], "4: seq 4 is missing before it"),
            (&[1, 2, 3, 6, 7, 8], "4: seq 4 to 5 are missing before it"),
            (&[3, 4, 5], "1: seq 1 to 2 are missing before it"),
            (&[1, 2, 4], "3: seq 3 is missing before it"),
            (
                &[1, 3, 5, 7],
                "2: seq 2 is missing before it; 3: seq 4 is missing before it; 4: seq 6 is missing before it",
            ),
            (&[1, 2, 4, 3, 5, 6], "3: seq 4 is out of order"),
            (&[1, 2, 4, 3], "3: seq 4 is out of order"),
            (&[2, 1, 3], "1: seq 2 is out of order"),
            (&[1, 2, 9, 3, 4, 5, 6, 7, 8, 10, 11], "3: seq 9 is out of order"),
            (&[1, 2, 4, 5, 6, 7, 3, 8, 9], "3: seq 3 is missing before it; 7: seq 3 is out of order"),
            (
                &[1, 2, 3, 6, 7, 8, 4, 5, 9, 10],
                "4: seq 4 to 5 are missing before it; 7: seq 4 is out of order",
            ),
            (
                &[1, 8, 3, 4, 5, 6, 7, 2, 9, 10],
                "2: seq 8 is out of order; 3: seq 2 is missing before it; 8: seq 2 is out of order",
            ),
            (&[1, 2, 3, 3, 4, 5], "4: seq 3 has been there before"),
            (&[1, 2, 3, 4, 2, 5, 6], "5: seq 2 has been there before"),
            (&[1, 2, 3, 4, 5, 6, 3, 4, 7], "7: seq 3 has been there before"),
            (&[1, 2, 3, 4, 2], "5: seq 2 has been there before"),
        ] {
            assert_eq!(breaches(&order(numbers), None), expected, "{numbers:?}");
        }
    }

    #[test]
    fn a_line_that_was_edited_is_told_once() {
        let (lines, _) = twelve();
        let changed = "5: was changed: its hash is not over what it says";
        let seal = lines[4].len() - 2;
        let last = if lines[4][seal - 1] == b'0' { b"1\"}" } else { b"0\"}" };
        let prev = replace(&lines[4], "\"prev\":\"", "\"prev\":\"0").into_iter();
        let prev: Vec<u8> = prev.collect();
        for (edited, expected) in [
            (replace(&lines[4], "watermark", "waterfall"), changed),
            (replace(&lines[4], "\"seq\":5", "\"seq\":6"), changed),
            (prev, changed),
            ([&lines[4][..seal - 1], last].concat(), changed),
            (replace(&lines[4], "\"hash\"", "\"hush\""), "5: is no line of an audit"),
            (Vec::new(), "5: is no line of an audit"),
            (vec![0; 300], "5: is no line of an audit"),
        ] {
            let mut all = lines.clone();
            all[4] = edited;
            assert_eq!(breaches(&all, None), expected);
        }
    }

    #[test]
    fn what_was_put_in_between_is_told_and_the_chain_goes_on() {
        let (lines, heads) = twelve();
        let with = |at: usize, more: &[&[u8]]| {
            let mut all = lines.clone();
            all.splice(at..at, more.iter().map(|line| line.to_vec()));
            breaches(&all, None)
        };
        let unreadable = "6: is no line of an audit";
        assert_eq!(with(5, &[b"hello"]), unreadable);
        assert_eq!(with(5, &[b"", b"{}"]), format!("{unreadable}; 7: is no line of an audit"));
        let (more, _) = forged(6, heads[5].hash, "a forged line");
        let replaced = "seq 6 does not follow from the line before: one of the two was replaced";
        assert_eq!(with(5, &[&more]), "7: seq 6 has been there before");
        let (more, _) = forged(90, heads[5].hash, "a forged line");
        assert!(with(5, &[&more]).starts_with("6: has seq 90 in place of 6; "), "{}", with(5, &[&more]));

        let mut all = lines.clone();
        all[4] = forged(5, heads[4].hash, "another reason").0;
        assert_eq!(
            breaches(&all, None),
            format!("6: {replaced}"),
            "sound in itself, but not the one that was written"
        );
    }

    /// An edit can damage several lines at once, and lines can be lost beside it.
    #[test]
    fn damage_and_loss_together() {
        let (lines, _) = twelve();
        let no_line = |at: usize| format!("{at}: is no line of an audit");
        let mut split = lines.clone();
        let rest = split[4].split_off(40);
        split.insert(5, rest);
        assert_eq!(
            breaches(&split, None),
            format!("{}; 6: was changed: its hash is not over what it says", no_line(5))
        );

        let mut joined = lines.clone();
        let rest = joined.remove(5);
        joined[4].extend(rest);
        assert_eq!(breaches(&joined, None), "5: was changed: its hash is not over what it says");

        let mut all = lines.clone();
        (all[3], all[4], all[6]) = (b"x".to_vec(), b"y".to_vec(), b"z".to_vec());
        assert_eq!(breaches(&all, None), [4, 5, 7].map(no_line).join("; "));

        let mut all = lines.clone();
        all[3] = b"x".to_vec();
        all.drain(4..6);
        assert_eq!(breaches(&all, None), format!("{}; 5: seq 4 to 6 are missing before it", no_line(4)));

        let mut all = lines.clone();
        all[0] = b"x".to_vec();
        assert_eq!(breaches(&all, None), no_line(1));
    }

    #[test]
    fn nobody_misses_the_last_lines_but_who_has_kept_the_head() {
        let (lines, heads) = twelve();
        let cut = lines[..9].to_vec();
        assert_eq!(breaches(&cut, None), "");
        assert_eq!(breaches(&cut, Some(heads[9])), "");
        let told = "9: seq 10 to 12 are missing after it: the head that was expected is not there";
        assert_eq!(breaches(&cut, Some(heads[12])), told);
        assert_eq!(breaches(&Vec::new(), Some(heads[1])), told.replace("9: seq 10 to 12 are", "1: seq 1 is"));

        let mut all = lines.clone();
        all[11] = forged(12, heads[11].hash, "another reason").0;
        let told = "12: seq 12 is another line than the head that was expected";
        assert_eq!(breaches(&all, Some(heads[12])), told);
        all[11] = replace(&lines[11], "watermark", "waterfall");
        assert_eq!(breaches(&all, Some(heads[12])), "12: was changed: its hash is not over what it says");
    }

    /// As the log writes it behind a damaged end.
    #[test]
    fn a_chain_that_was_taken_up_again_has_the_old_breach_only() {
        let (lines, heads) = twelve();
        let mut all = lines[..6].to_vec();
        (all[4], all[5]) = (b"x".to_vec(), replace(&lines[5], "watermark", "waterfall"));
        let (more, head) = forged(7, heads[4].hash, "going on");
        all.extend([more, forged(8, head.hash, "and on").0]);
        let told = "5: is no line of an audit; 6: was changed: its hash is not over what it says";
        assert_eq!(breaches(&all, None), told);

        let mut all = lines[..6].to_vec();
        all.push(lines[9].clone());
        assert_eq!(breaches(&all, None), "7: seq 7 to 9 are missing before it");
    }

    #[test]
    fn what_is_no_line_of_ours_at_all_is_counted_and_not_kept() {
        let garbage = vec![b"x".to_vec(); MOST + 5];
        let found = findings(&garbage, Some(Link::GENESIS), None);
        assert_eq!((found.breaches.len(), found.unlisted, found.head), (MOST, 5, None));
    }
}
