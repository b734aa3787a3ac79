//! Reads the files of an audit from the first line to the last, beside a running daemon too. It holds one line at a time
//! and changes nothing.

use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::chain::{Link, MAX_LINE};
use super::verify::{Breach, Place, Remark, Verifier};
use super::{AuditError, files};
use crate::model::Timestamp;

/// What was found in an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The files, in the order of their lines.
    pub files: Vec<FileLines>,
    /// When the first line was written, and the last.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The last line; `None` without a sound one.
    pub head: Option<Link>,
    /// What is wrong, at most 1000 of it.
    pub breaches: Vec<Breach>,
    /// What else is worth knowing, at most 1000 of it.
    pub remarks: Vec<Remark>,
    /// Breaches that are not listed because there are so many.
    pub unlisted: u64,
}

/// One file of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLines {
    /// Where it is.
    pub path: PathBuf,
    /// Its lines, damaged ones included, a torn one not.
    pub lines: u64,
}

impl Report {
    /// Whether there is nothing wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.breaches.is_empty()
    }
}

/// Checks the whole audit that is written to `path`, full files first, from its very first line on. `expected` is a
/// head that somebody has kept: without one, nobody can tell that lines are missing at the end.
///
/// # Errors
/// When there is none, or none with a line, or a file cannot be read.
pub fn verify(path: &Path, expected: Option<Link>) -> Result<Report, AuditError> {
    // Opened before the full ones are listed: if it becomes one of them meanwhile, it is still the last that is read.
    let current = match File::open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(AuditError::unread(path)(error)),
    };
    let open = current.as_ref().map(File::metadata).transpose().map_err(AuditError::unread(path))?;
    let mut full = match files::all_full(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(AuditError::unread(path))?,
    };
    let is_open = |path: &PathBuf| open.as_ref().zip(fs::metadata(path).ok()).is_some_and(is_same);
    full.truncate(full.iter().position(is_open).unwrap_or(full.len()));
    let mut reading = Reading::new(Some(Link::GENESIS), expected);
    for path in &full {
        reading.read(path, File::open(path).map_err(AuditError::unread(path))?, false)?;
    }
    match current {
        Some(file) => reading.read(path, file, true)?,
        None if full.is_empty() => return Err(AuditError::NotThere { path: path.to_owned() }),
        None => {}
    }
    reading.end(path)
}

/// Checks these files as one audit, in this order. Where the first of them begins is taken on trust.
///
/// # Errors
/// When a file is not there, cannot be read, or none holds a line.
pub fn verify_files(paths: &[PathBuf], expected: Option<Link>) -> Result<Report, AuditError> {
    let mut reading = Reading::new(None, expected);
    for (at, path) in (1..).zip(paths) {
        let file = File::open(path).map_err(AuditError::unread(path))?;
        reading.read(path, file, at == paths.len())?;
    }
    reading.end(paths.last().map_or(Path::new(""), PathBuf::as_path))
}

fn is_same((one, other): (&Metadata, Metadata)) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

struct Reading {
    files: Vec<FileLines>,
    verifier: Verifier,
}

impl Reading {
    fn new(start: Option<Link>, expected: Option<Link>) -> Self {
        Self { files: Vec::new(), verifier: Verifier::new(start, expected) }
    }

    fn read(&mut self, path: &Path, file: File, newest: bool) -> Result<(), AuditError> {
        let lines = feed(BufReader::new(file), self.files.len(), newest, &mut self.verifier)
            .map_err(AuditError::unread(path))?;
        self.files.push(FileLines { path: path.to_owned(), lines });
        Ok(())
    }

    fn end(self, path: &Path) -> Result<Report, AuditError> {
        let found = self.verifier.end();
        if found.remarks.is_empty() && self.files.iter().all(|file| file.lines == 0) {
            return Err(AuditError::Empty { path: path.to_owned() });
        }
        Ok(Report {
            files: self.files,
            times: found.times,
            head: found.head,
            breaches: found.breaches,
            remarks: found.remarks,
            unlisted: found.unlisted,
        })
    }
}

/// Hands the lines of a file to the verifier; answers how many there are.
fn feed(mut reader: impl BufRead, file: usize, newest: bool, verifier: &mut Verifier) -> io::Result<u64> {
    let (mut line, mut lines) = (Vec::new(), 0);
    loop {
        line.clear();
        let most = MAX_LINE as u64 + 1;
        if reader.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(lines);
        }
        let place = Place { file, line: lines + 1 };
        match line.strip_suffix(b"\n") {
            Some(line) => verifier.line(place, line),
            None if line.len() > MAX_LINE => {
                reader.skip_until(b'\n')?;
                verifier.too_long(place);
            }
            None if newest => {
                verifier.torn(place);
                return Ok(lines);
            }
            None => verifier.unended(place, &line),
        }
        lines += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::audit::{BreachKind, Entry, RemarkKind, chain};

    /// The bytes of a file, as so many calls would write it.
    fn audit(lines: usize) -> Vec<u8> {
        let (mut out, mut link) = (Vec::new(), Link::GENESIS);
        for at in 0..lines {
            let what = "x".repeat(at % 5);
            let entry = Entry::StateReset { tenant: "acme".into(), what, operator: None };
            link = chain::write(&mut out, link, &entry, Timestamp::EPOCH).unwrap();
        }
        out
    }

    fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
        bytes.split_inclusive(|byte| *byte == b'\n').collect()
    }

    fn look(bytes: &[u8], newest: bool) -> super::super::verify::Outcome {
        let mut verifier = Verifier::new(Some(Link::GENESIS), None);
        feed(bytes, 0, newest, &mut verifier).unwrap();
        verifier.end()
    }

    /// Something is told of these bytes.
    fn assert_told(bytes: &[u8]) {
        let found = look(bytes, true);
        assert!(
            !found.breaches.is_empty() || !found.remarks.is_empty(),
            "{}",
            String::from_utf8_lossy(bytes)
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_one_breach() {
        let mut bytes = audit(3);
        let at = lines_of(&bytes)[0].len();
        let long = [vec![b'x'; MAX_LINE + 1], vec![b'\n']].concat();
        bytes.splice(at..at, long);
        let kinds: Vec<_> = look(&bytes, true).breaches.into_iter().map(|breach| breach.kind).collect();
        assert_eq!(kinds, [BreachKind::TooLong]);
    }

    #[test]
    fn a_last_line_without_a_newline_is_torn_in_the_newest_file_only() {
        let bytes = audit(3);
        for cut in [1, 20] {
            let found = look(&bytes[..bytes.len() - cut], true);
            assert_eq!(found.breaches, []);
            assert_eq!(found.remarks[0].kind, RemarkKind::Torn);
            let found = look(&bytes[..bytes.len() - cut], false);
            assert_eq!((found.breaches[0].kind.clone(), found.breaches.len()), (BreachKind::Unended, 1));
        }
    }

    proptest! {
        #[test]
        fn no_byte_can_be_changed(lines in 1_usize..12, at: Index, byte: u8) {
            let mut bytes = audit(lines);
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            assert_told(&bytes);
        }

        #[test]
        fn no_byte_can_be_taken_away_or_put_in(lines in 1_usize..12, at: Index, byte: u8) {
            let bytes = audit(lines);
            let at = at.index(bytes.len());
            let mut less = bytes.clone();
            less.remove(at);
            assert_told(&less);
            let mut more = bytes;
            more.insert(at, byte);
            assert_told(&more);
        }

        #[test]
        fn no_line_can_be_taken_away_but_the_last(lines in 2_usize..12, at: Index) {
            let bytes = audit(lines);
            let mut lines = lines_of(&bytes);
            lines.remove(at.index(lines.len() - 1));
            assert_told(&lines.concat());
        }

        #[test]
        fn no_line_can_be_moved_or_copied(lines in 2_usize..12, from: Index, to: Index) {
            let bytes = audit(lines);
            let whole = lines_of(&bytes);
            let (from, to) = (from.index(whole.len()), to.index(whole.len()));
            let mut copied = whole.clone();
            copied.insert(to, whole[from]);
            assert_told(&copied.concat());
            prop_assume!(from != to);
            let mut swapped = whole.clone();
            swapped.swap(from, to);
            assert_told(&swapped.concat());
            let mut moved = whole.clone();
            let line = moved.remove(from);
            moved.insert(to, line);
            assert_told(&moved.concat());
        }

        /// A byte can split a line or join two; no other line is blamed for it.
        #[test]
        fn one_edit_gives_few_breaches(lines in 30_usize..60, at: Index, byte: u8) {
            let mut bytes = audit(lines);
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            prop_assert!(look(&bytes, true).breaches.len() <= 2, "{:?}", look(&bytes, true).breaches);
        }
    }
}
