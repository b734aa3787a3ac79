//! The file as it is written: lines go in at its end, are flushed, and are never touched again.
//!
//! After whatever went wrong the file is looked at anew before the next line, just as after a start. So a full disk, a
//! crash and a file that was changed from outside all end in the same few lines of [`Log::reopen`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::chain::{self, Link, MAX_LINE};
use super::resume::{self, Before};
use super::tail::{self, Tail};
use super::{AuditError, Entry, files};
use crate::model::Timestamp;

/// Only its owner may read who was given what.
const MODE: u32 = 0o600;

/// An audit that is open for writing. There must be one at a time; the lock of the database sees to that.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// A file that would grow beyond this is put aside; 0 for never.
    max_bytes: u64,
    /// The last line that was written.
    head: Link,
    /// `None` after a failure, until the next append.
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    /// As far as it is known to be whole.
    len: u64,
}

impl Log {
    /// Opens the file, or makes it, readable for its owner only; the folder must be there. A line that a crash has torn is
    /// cut off, and that is noted in a line of its own.
    ///
    /// `remembered` is the last line that the caller knows to have been written. If it is not there any more, the
    /// chain goes on from it all the same, so that [`super::verify`] misses it.
    ///
    /// # Errors
    /// When the file cannot be used, or is not ours; then it is left as it is.
    pub fn open(
        path: &Path,
        max_bytes: u64,
        remembered: Option<Link>,
        now: Timestamp,
    ) -> Result<Self, AuditError> {
        let head = remembered.unwrap_or(Link::GENESIS);
        let mut log = Self { path: path.to_owned(), max_bytes, head, writer: None };
        let writer = log.reopen(now)?;
        log.writer = Some(writer);
        Ok(log)
    }

    /// Writes one line for each entry, all or none, and flushes them. An entry counts as recorded only after that.
    /// Answers with the last line.
    ///
    /// # Errors
    /// When they could not be written: none of them counts, and a later call begins afresh.
    pub fn append(&mut self, entries: &[Entry], now: Timestamp) -> Result<Link, AuditError> {
        if entries.is_empty() {
            return Ok(self.head);
        }
        // Until it is put back, whatever goes wrong leaves nothing open.
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.reopen(now)?,
        };
        if !writer.is_untouched(&self.path).map_err(AuditError::unread(&self.path))? {
            return Err(AuditError::Touched { path: self.path.clone() });
        }
        let (mut lines, mut head) = encode(self.head, entries, now)?;
        if self.max_bytes > 0 && writer.len.saturating_add(lines.len() as u64) > self.max_bytes {
            writer = self.put_aside(writer, now)?;
            (lines, head) = encode(self.head, entries, now)?;
        }
        writer.write(&self.path, &lines)?;
        self.head = head;
        self.writer = Some(writer);
        Ok(head)
    }

    /// The last line that was written: what the next one follows.
    #[must_use]
    pub const fn head(&self) -> Link {
        self.head
    }

    /// Looks at what is there, mends a torn end, notes what was found, and is ready to go on.
    fn reopen(&mut self, now: Timestamp) -> Result<Writer, AuditError> {
        let failed = |verb| AuditError::file(&self.path, verb);
        let (mut writer, tail) = look(&self.path, OpenOptions::new().append(true).create(true).mode(MODE))?;
        if writer.len == 0 {
            files::sync_folder(&self.path).map_err(failed("created"))?;
        }
        let before = if tail.sound.is_none() { self.before()? } else { None };
        let start = resume::start(self.head, &tail, before.as_ref());
        let (mut lines, head) = encode(start.link, &start.notes, now)?;
        match tail.torn {
            Some(torn) if torn.complete.is_some() => lines.insert(0, b'\n'),
            Some(torn) => writer.cut(torn.bytes).map_err(failed("repaired"))?,
            None => {}
        }
        if !lines.is_empty() {
            writer.write(&self.path, &lines)?;
        }
        self.head = head;
        Ok(writer)
    }

    /// The newest full file, which a new one goes on from.
    fn before(&self) -> Result<Option<Before>, AuditError> {
        let full = files::all_full(&self.path).map_err(AuditError::unread(&self.path))?;
        let Some(newest) = full.last() else { return Ok(None) };
        let (_, tail) = look(newest, &OpenOptions::new())?;
        Ok(Some(Before { name: name(newest), tail }))
    }

    /// Puts the full file aside and begins the next one. That is made beside it first, its first line included, so
    /// that a crash leaves either of them or none in place, and never one that begins with nothing.
    fn put_aside(&mut self, old: Writer, now: Timestamp) -> Result<Writer, AuditError> {
        let (full, next) = (files::full(&self.path, self.head.seq), files::next(&self.path));
        if fs::symlink_metadata(&full).is_ok() {
            return Err(AuditError::InTheWay { path: full });
        }
        let (lines, head) = encode(self.head, &[Entry::Continued { after: name(&full) }], now)?;
        let file = make(&next).map_err(AuditError::file(&next, "created"))?;
        let mut writer = Writer { file, len: 0 };
        writer.write(&next, &lines)?;
        drop(old);
        fs::rename(&self.path, &full).map_err(AuditError::file(&full, "put aside"))?;
        fs::rename(&next, &self.path)
            .and_then(|()| files::sync_folder(&self.path))
            .map_err(AuditError::file(&self.path, "created"))?;
        self.head = head;
        Ok(writer)
    }
}

impl Writer {
    /// Whether the file is still the one at `path`, and as long as we left it.
    fn is_untouched(&self, path: &Path) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(path) {
            Ok(there) => Ok((there.dev(), there.ino(), there.len()) == (ours.dev(), ours.ino(), self.len)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds to the end and flushes, or leaves the file as long as it was.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
        let Err(error) = self.file.write_all(bytes).and_then(|()| self.file.sync_data()) else {
            self.len = self.len.saturating_add(bytes.len() as u64);
            return Ok(());
        };
        let path = path.to_owned();
        Err(match self.cut_to(self.len) {
            Ok(()) => AuditError::NotWritten { path, error },
            Err(then) => AuditError::HalfWritten { path, error, then },
        })
    }

    /// Takes bytes off the end.
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.len = self.len.saturating_sub(bytes);
        self.cut_to(self.len)
    }

    fn cut_to(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).and_then(|()| self.file.sync_data())
    }
}

/// Makes an empty file. One that a crash has left there held nothing but a line that is written again.
fn make(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().append(true).create_new(true).mode(MODE).open(path)
}

/// Opens a file and looks at its end. What is no plain file is not opened: a pipe would hold us up.
fn look(path: &Path, options: &OpenOptions) -> Result<(Writer, Tail), AuditError> {
    let not_ours = |what| AuditError::NotOurs { path: path.to_owned(), what };
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(not_ours("no plain file"));
    }
    let file = options.clone().read(true).open(path).map_err(AuditError::file(path, "opened"))?;
    let looked = file.metadata().and_then(|there| Ok((there.len(), tail::read(&file, there.len())?)));
    let (len, tail) = looked.map_err(AuditError::unread(path))?;
    Ok((Writer { file, len }, tail.map_err(not_ours)?))
}

/// The lines that follow `link`, and the last of them.
fn encode(link: Link, entries: &[Entry], now: Timestamp) -> Result<(Vec<u8>, Link), AuditError> {
    let (mut lines, mut head) = (Vec::new(), link);
    for entry in entries {
        let start = lines.len();
        head = chain::write(&mut lines, head, entry, now)?;
        let bytes = lines.len() - start - 1;
        if bytes > MAX_LINE {
            return Err(AuditError::TooLong { bytes });
        }
    }
    Ok((lines, head))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rstest::rstest;
    use tempfile::TempDir;

    use super::*;
    use crate::audit::{BreachKind, Report, verify};

    const NOW: Timestamp = Timestamp::EPOCH;

    struct Case {
        folder: TempDir,
        path: PathBuf,
    }

    impl Case {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("audit.jsonl");
            Self { folder, path }
        }

        fn log(&self) -> Log {
            self.log_from(None, 0)
        }

        fn log_from(&self, remembered: Option<Link>, max_bytes: u64) -> Log {
            Log::open(&self.path, max_bytes, remembered, NOW).unwrap()
        }

        /// A log that was closed after so many lines besides the first.
        fn with(lines: u64) -> Self {
            let case = Self::new();
            let mut log = case.log();
            for _ in 0..lines {
                log.append(&[entry()], NOW).unwrap();
            }
            case
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.path).unwrap()
        }

        /// Changes the file from outside, in place.
        fn edit(&self, change: impl FnOnce(&mut String)) {
            let mut text = self.text();
            change(&mut text);
            fs::write(&self.path, text).unwrap();
        }

        /// The events, file by file.
        fn events(&self) -> Vec<Vec<String>> {
            let mut files = files::all_full(&self.path).unwrap();
            files.extend(self.path.exists().then(|| self.path.clone()));
            let event = |line: &str| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["event"].as_str().unwrap().to_owned()
            };
            let events = |file| fs::read_to_string(file).unwrap().lines().map(event).collect();
            files.into_iter().map(events).collect()
        }

        fn last(&self) -> Entry {
            serde_json::from_str(self.text().lines().last().unwrap()).unwrap()
        }

        fn verify(&self) -> Report {
            verify(&self.path, None).unwrap()
        }

        #[track_caller]
        fn assert_sound(&self, lines: u64) {
            let report = self.verify();
            assert_eq!(report.breaches, []);
            assert_eq!(report.head.map(|head| head.seq), Some(lines));
        }

        fn breaches(&self) -> Vec<BreachKind> {
            self.verify().breaches.into_iter().map(|breach| breach.kind).collect()
        }
    }

    fn entry() -> Entry {
        Entry::StateReset { tenant: "acme".into(), what: "watermark".to_owned(), operator: Some(0) }
    }

    fn long(bytes: usize) -> Entry {
        Entry::StateReset { tenant: "acme".into(), what: "x".repeat(bytes), operator: None }
    }

    #[test]
    fn it_begins_with_a_line_and_only_its_owner_may_read_it() {
        let case = Case::new();
        let mut log = case.log();
        assert_eq!(fs::metadata(&case.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(log.head().seq, 1);
        assert_eq!(log.append(&[], NOW).unwrap(), log.head(), "nothing to say, nothing written");
        assert_eq!(log.append(&[entry(), entry()], NOW).unwrap().seq, 3);
        assert_eq!(case.events(), [["started", "state_reset", "state_reset"]]);
        case.assert_sound(3);
    }

    #[test]
    fn it_goes_on_where_it_ended() {
        let case = Case::with(2);
        let mut log = case.log();
        assert_eq!(log.head().seq, 3);
        log.append(&[entry()], NOW).unwrap();
        case.assert_sound(4);
    }

    #[rstest]
    #[case::the_end_of_it(1, "dropped")]
    #[case::all_but_a_byte(usize::MAX, "dropped")]
    #[case::only_its_newline(0, "completed")]
    fn a_torn_last_line_is_repaired_and_noted(#[case] lost: usize, #[case] repair: &str) {
        let case = Case::with(2);
        let (text, last) = (case.text(), case.text().lines().last().unwrap().len());
        let kept = text.len() - 1 - lost.min(last - 1);
        case.edit(|text| text.truncate(kept));
        assert_eq!(case.verify().breaches, []);
        let torn = case.text().split('\n').next_back().unwrap().to_owned();

        let mut log = case.log();
        let note: serde_json::Value = serde_json::from_str(case.text().lines().last().unwrap()).unwrap();
        assert_eq!((&note["event"], &note["repair"]), (&"repaired".into(), &repair.into()));
        assert_eq!(note["bytes"], torn.len());
        assert_eq!(note["sha256"], crate::audit::Hash::of(torn.as_bytes()).to_string());
        let seq = if repair == "dropped" { 3 } else { 4 };
        case.assert_sound(seq);
        log.append(&[entry()], NOW).unwrap();
        case.assert_sound(seq + 1);
    }

    #[test]
    fn a_first_line_that_was_torn_is_written_again() {
        let case = Case::with(0);
        case.edit(|text| text.truncate(20));
        case.log();
        assert_eq!(case.events(), [["started", "repaired"]]);
        case.assert_sound(2);
    }

    #[test]
    fn behind_a_damaged_last_line_it_goes_on_and_the_damage_is_not_hidden() {
        let case = Case::with(3);
        let cut = case.text().lines().take(2).map(|line| line.len() + 1).sum::<usize>();
        case.edit(|text| text.replace_range(cut.., &text[cut..].replace("acme", "acne")));
        let mut log = case.log();
        assert!(matches!(case.last(), Entry::Resumed { damaged_lines: 2, missing_lines: 0, .. }));
        assert_eq!(log.append(&[entry()], NOW).unwrap().seq, 6);
        assert_eq!(case.breaches(), [BreachKind::Changed, BreachKind::Changed]);
    }

    #[test]
    fn lines_that_were_cut_off_are_missed_by_who_remembers_the_head() {
        let case = Case::with(5);
        let head = case.log().head();
        case.edit(|text| *text = text.split_inclusive('\n').take(3).collect());
        let mut log = case.log_from(Some(head), 0);
        assert!(matches!(case.last(), Entry::Resumed { damaged_lines: 0, missing_lines: 3, .. }));
        log.append(&[entry()], NOW).unwrap();
        assert_eq!(case.breaches(), [BreachKind::Missing(4..=6)]);

        fs::remove_file(&case.path).unwrap();
        let log = case.log_from(Some(log.head()), 0);
        assert_eq!((case.events(), log.head().seq), (vec![vec!["resumed".to_owned()]], 9));
        assert_eq!(case.breaches(), [BreachKind::Missing(1..=8)]);
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_chain_goes_on() {
        let case = Case::new();
        let mut log = case.log_from(None, 1200);
        for _ in 0..8 {
            log.append(&[entry()], NOW).unwrap();
        }
        assert_eq!(case.events().len(), 3, "{:?}", case.events());
        assert!(case.events().iter().skip(1).all(|events| events[0] == "continued"));
        let full = files::all_full(&case.path).unwrap();
        assert!(full.iter().chain([&case.path]).all(|file| {
            let there = fs::metadata(file).unwrap();
            there.len() <= 1200 && there.permissions().mode() & 0o777 == 0o600
        }));
        let seq = log.head().seq;
        case.assert_sound(seq);
        assert_eq!(name(full.last().unwrap()), format!("audit.jsonl.{:012}", seq - 3));

        let mut log = case.log();
        assert_eq!(log.append(&[entry()], NOW).unwrap().seq, seq + 1);
        case.assert_sound(seq + 1);
        fs::remove_file(&full[1]).unwrap();
        assert_eq!(case.breaches().len(), 1, "a full file is missed");
    }

    /// However small the limit, a line is written, and no file begins with nothing.
    #[test]
    fn a_line_that_fits_nowhere_is_written_all_the_same() {
        let case = Case::new();
        let mut log = case.log_from(None, 1);
        log.append(&[entry(), entry()], NOW).unwrap();
        log.append(&[entry()], NOW).unwrap();
        assert_eq!(
            case.events(),
            [
                vec!["started"],
                vec!["continued", "state_reset", "state_reset"],
                vec!["continued", "state_reset"]
            ]
        );
        case.assert_sound(6);
    }

    #[rstest]
    #[case::before_it_was_made(None)]
    #[case::while_it_was_made(Some("{\"seq\":"))]
    fn a_crash_while_a_file_is_put_aside_costs_nothing(#[case] next: Option<&str>) {
        let case = Case::with(2);
        fs::rename(&case.path, files::full(&case.path, 3)).unwrap();
        if let Some(next) = next {
            fs::write(files::next(&case.path), next).unwrap();
        }
        case.assert_sound(3);
        let mut log = case.log_from(None, 400);
        log.append(&[entry()], NOW).unwrap();
        case.assert_sound(6);
        assert_eq!(case.events()[1..], [vec!["continued"], vec!["continued", "state_reset"]]);
    }

    #[test]
    fn a_file_that_is_in_the_way_is_named_and_kept() {
        let case = Case::with(2);
        let full = files::full(&case.path, 3);
        fs::write(&full, "precious").unwrap();
        let mut log = case.log_from(None, 1);
        let error = log.append(&[entry()], NOW).unwrap_err().to_string();
        assert!(error.contains("audit.jsonl.000000000003: is in the way"), "{error}");
        assert_eq!(fs::read_to_string(&full).unwrap(), "precious");
        fs::remove_file(&full).unwrap();
        log.append(&[entry()], NOW).unwrap();
        case.assert_sound(5);
    }

    #[test]
    fn another_writer_is_noticed_and_the_chain_stays_whole() {
        let case = Case::new();
        let (mut one, mut other) = (case.log(), case.log());
        other.append(&[entry()], NOW).unwrap();
        assert!(matches!(one.append(&[entry()], NOW), Err(AuditError::Touched { .. })));
        case.assert_sound(2);
        one.append(&[entry()], NOW).unwrap();
        assert!(matches!(other.append(&[entry()], NOW), Err(AuditError::Touched { .. })));
        case.assert_sound(3);
    }

    #[test]
    fn a_file_that_is_taken_away_while_it_is_written_is_missed() {
        let case = Case::new();
        let mut log = case.log();
        log.append(&[entry()], NOW).unwrap();
        fs::remove_file(&case.path).unwrap();
        assert!(matches!(log.append(&[entry()], NOW), Err(AuditError::Touched { .. })));
        assert_eq!(log.append(&[entry()], NOW).unwrap().seq, 4);
        assert_eq!(case.events(), [["resumed", "state_reset"]]);
        assert_eq!(case.breaches(), [BreachKind::Missing(1..=2)]);
    }

    /// As `sed -i` and most editors do it: another file in its place.
    #[test]
    fn a_file_that_is_edited_while_it_is_written_is_told_once() {
        let case = Case::new();
        let mut log = case.log();
        log.append(&[entry(), entry()], NOW).unwrap();
        let edited = case.folder.path().join("edited");
        fs::write(&edited, case.text().replacen("watermark", "waterfall", 1)).unwrap();
        fs::rename(&edited, &case.path).unwrap();
        assert!(matches!(log.append(&[entry()], NOW), Err(AuditError::Touched { .. })));
        log.append(&[entry()], NOW).unwrap();
        assert_eq!(case.breaches(), [BreachKind::Changed]);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_and_the_next_one_is_not() {
        let case = Case::new();
        let mut log = case.log();
        let error = log.append(&[entry(), long(MAX_LINE)], NOW).unwrap_err();
        assert!(matches!(error, AuditError::TooLong { bytes } if bytes > MAX_LINE), "{error}");
        log.append(&[long(MAX_LINE - 1000)], NOW).unwrap();
        drop(log);
        assert_eq!(case.log().head().seq, 2);
        case.assert_sound(2);
    }

    #[test]
    fn what_is_not_ours_is_left_as_it_is() {
        let case = Case::new();
        for text in ["hello", "hello\n", "{\"message\":\"another log\"}\n"] {
            fs::write(&case.path, text).unwrap();
            let error = Log::open(&case.path, 0, None, NOW).unwrap_err().to_string();
            assert!(
                error.contains("audit.jsonl: not an audit file") && error.contains("`audit.path`"),
                "{error}"
            );
            assert_eq!(case.text(), text);
        }
        for path in [case.folder.path(), Path::new("/dev/null")] {
            let error = Log::open(path, 0, None, NOW).unwrap_err().to_string();
            assert!(error.contains("not an audit file (no plain file)"), "{error}");
        }
        let path = case.folder.path().join("missing/audit.jsonl");
        let error = Log::open(&path, 0, None, NOW).unwrap_err().to_string();
        assert!(error.contains("missing/audit.jsonl: the audit cannot be opened"), "{error}");
        assert!(error.contains("The folder must be there"), "{error}");
    }

    /// 64 GiB, most of it a hole: reading all of it would not end.
    #[test]
    fn a_large_file_is_read_at_its_end_only() {
        let case = Case::with(0);
        let (line, file) = (case.text(), OpenOptions::new().append(true).open(&case.path).unwrap());
        file.set_len(64 << 30).unwrap();
        (&file).write_all(format!("\n{line}").as_bytes()).unwrap();
        let mut log = case.log();
        assert_eq!(log.append(&[entry()], NOW).unwrap().seq, 2);
    }
}
