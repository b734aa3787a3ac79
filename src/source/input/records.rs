//! The records of a CSV file (RFC 4180), one in memory at a time.
//!
//! The core of the parser is asked directly, because a reader above it would let a record grow as long as it likes, and
//! take a quote that is never closed for the end of the last cell. Behind such a quote nothing is read: what stands there
//! may be the text of a cell, however much it looks like rows.

use std::io::{BufRead, ErrorKind};

use csv_core::ReadRecordResult;

use super::LONGEST;
use super::file::Trouble;

/// A record with more cells is refused.
const MOST_CELLS: usize = 4096;

/// The records of a file. Lines without anything on them are passed over.
pub(in crate::source) struct Records<R> {
    input: R,
    parser: Box<csv_core::Reader>,
    /// The line that comes next.
    line: u64,
    /// The byte that was read last.
    before: u8,
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// One record, and its cells or why it has none.
pub(in crate::source) struct Record {
    /// The first of its lines, from 1.
    pub(in crate::source) line: u64,
    /// The last one that is not empty.
    pub(in crate::source) last: u64,
    pub(in crate::source) cells: Result<Vec<String>, String>,
}

impl<R: BufRead> Records<R> {
    pub(in crate::source) fn new(input: R) -> Self {
        Self {
            input,
            parser: Box::new(csv_core::Reader::new()),
            line: 1,
            before: 0,
            text: vec![0; LONGEST],
            ends: vec![0; MOST_CELLS],
        }
    }

    /// The next record.
    pub(in crate::source) fn next(&mut self) -> Result<Option<Record>, Trouble> {
        let (mut text, mut ends, mut first, mut last, mut refused) = (0, 0, None, self.line, None);
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            // A line end that is not there tells a last record from a quote that is still open.
            let at_end = chunk.is_empty();
            let bytes = if at_end { b"\n" } else { chunk };
            let (result, used, written, ended) =
                self.parser.read_record(bytes, &mut self.text[text..], &mut self.ends[ends..]);
            if !at_end {
                for byte in &bytes[..used] {
                    if !matches!(byte, b'\r' | b'\n') {
                        first.get_or_insert(self.line);
                        last = self.line;
                    }
                    // A line ends with either, or with both as one.
                    self.line += u64::from(*byte == b'\r' || (*byte == b'\n' && self.before != b'\r'));
                    self.before = *byte;
                }
                self.input.consume(used);
            }
            text += written;
            ends += ended;
            match (result, first) {
                (ReadRecordResult::InputEmpty, None) if at_end => return Ok(None),
                (ReadRecordResult::InputEmpty, Some(line)) if at_end => return Err(Trouble::OpenQuote(line)),
                (ReadRecordResult::InputEmpty, _) => {}
                (ReadRecordResult::OutputFull, _) => {
                    (text, ends, refused) = (0, 0, Some("is longer than 1 MiB: is a quote left open?"));
                }
                (ReadRecordResult::OutputEndsFull, _) => {
                    (text, ends, refused) = (0, 0, Some("has more than 4096 cells"));
                }
                (ReadRecordResult::Record, Some(line)) => {
                    let cells = match refused {
                        Some(reason) => Err(reason.to_owned()),
                        None => self.cells(text, ends),
                    };
                    return Ok(Some(Record { line, last, cells }));
                }
                (ReadRecordResult::Record | ReadRecordResult::End, _) => return Ok(None),
            }
        }
    }

    fn cells(&self, text: usize, ends: usize) -> Result<Vec<String>, String> {
        if self.text[..text].contains(&0) {
            return Err("holds a NUL byte".to_owned());
        }
        let mut start = 0;
        let cell = |(number, end): (usize, &usize)| {
            let bytes = &self.text[start..*end];
            start = *end;
            let cell = std::str::from_utf8(bytes)
                .map_err(|_| format!("cell {} is not UTF-8: save the file as CSV in UTF-8", number + 1))?;
            Ok(cell.to_owned())
        };
        self.ends[..ends].iter().enumerate().map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use proptest::prelude::*;

    use super::super::file::behind_mark;
    use super::*;

    type Read = (u64, Result<Vec<String>, String>);

    /// All records, read through a buffer of that many bytes.
    fn read(bytes: &[u8], buffer: usize) -> Result<Vec<Read>, Trouble> {
        let input = behind_mark(BufReader::with_capacity(buffer, Cursor::new(bytes.to_vec())))?;
        let mut records = Records::new(input);
        let mut all = Vec::new();
        while let Some(record) = records.next()? {
            assert!(record.line <= record.last);
            all.push((record.line, record.cells));
        }
        assert!(records.next()?.is_none(), "the end is the end");
        Ok(all)
    }

    #[test]
    fn lines_are_those_of_an_editor() {
        let text = "\u{feff}a,b\r\n\r\n\"one\ntwo\",\"say \"\"hi\"\"\"\r\nc,\"d\ne\"\nf,g";
        let cell = |cells: [&str; 2]| Ok(cells.map(str::to_owned).to_vec());
        for buffer in [1, 2, 3, 5, 8192] {
            let expected = vec![
                (1, cell(["a", "b"])),
                (3, cell(["one\ntwo", "say \"hi\""])),
                (5, cell(["c", "d\ne"])),
                (7, cell(["f", "g"])),
            ];
            assert_eq!(read(text.as_bytes(), buffer).unwrap(), expected, "{buffer}");
        }
    }

    #[test]
    fn a_bare_carriage_return_ends_a_line() {
        let lines: Vec<u64> = read(b"a\rb\r\rc\r\nd", 1).unwrap().into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 2, 4, 5]);
    }

    #[test]
    fn a_broken_record_does_not_break_the_next_one() {
        let (long, wide) = ("x".repeat(LONGEST + 1), ",".repeat(5000));
        let text =
            [b"a\n".as_slice(), long.as_bytes(), b",b\n\xff,\xfe\nb\0,c\n", wide.as_bytes(), b"\nlast\n"];
        let read = read(&text.concat(), 8192).unwrap();
        let reasons: Vec<_> = read.iter().map(|(_, cells)| cells.clone().err().unwrap_or_default()).collect();
        assert_eq!(read.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        for (reason, says) in
            reasons.iter().zip(["", "1 MiB", "cell 1 is not UTF-8", "NUL", "4096 cells", ""])
        {
            assert!(reason.contains(says), "{reason}");
        }
        assert_eq!(read[5].1, Ok(vec!["last".to_owned()]));
    }

    #[test]
    fn two_halves_of_a_letter_in_two_cells_are_no_letter() {
        assert!(read(b"\xc3,\xa4\n", 8192).unwrap()[0].1.is_err());
    }

    #[test]
    fn a_quote_that_stays_open_ends_the_reading() {
        let swallowed = format!("a\n\"{}", "b\n".repeat(LONGEST));
        for (text, line) in [("a,b\n\"c,d\ne,f\n", 2), ("a\n\n\"", 3), (swallowed.as_str(), 2)] {
            let Err(Trouble::OpenQuote(opened)) = read(text.as_bytes(), 8192) else {
                panic!("{line} is read")
            };
            assert_eq!(opened, line);
        }
    }

    #[test]
    fn a_wide_encoding_is_named() {
        assert!(matches!(read(&[0xff, 0xfe, b'a', 0], 8192), Err(Trouble::Utf16)));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            rows in prop::collection::vec(prop::collection::vec("[a-zä,;\"\\r\\n ]{0,6}", 3), 1..8),
            crlf: bool,
            buffer in 1_usize..40,
        ) {
            let ends = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new().terminator(ends).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let read = read(&writer.into_inner().unwrap(), buffer).unwrap();
            prop_assert_eq!(read.into_iter().map(|(_, cells)| cells.unwrap()).collect::<Vec<_>>(), rows);
        }
    }
}
