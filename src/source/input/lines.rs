//! The lines of a file. One that is too long is passed over, not kept.

use std::io::{BufRead, ErrorKind};

use super::LONGEST;
use super::file::Trouble;

/// The lines of a file, counted.
pub(in crate::source) struct Lines<R> {
    input: R,
    line: u64,
}

/// One line, and its text or why it has none.
pub(in crate::source) struct Line {
    /// From 1.
    pub(in crate::source) number: u64,
    pub(in crate::source) text: Result<String, String>,
}

impl<R: BufRead> Lines<R> {
    pub(in crate::source) const fn new(input: R) -> Self {
        Self { input, line: 0 }
    }

    /// The next line, without its end.
    pub(in crate::source) fn next(&mut self) -> Result<Option<Line>, Trouble> {
        let (mut bytes, mut any, mut long) = (Vec::new(), false, false);
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if chunk.is_empty() {
                if any {
                    break;
                }
                return Ok(None);
            }
            any = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            long |= bytes.len() + part.len() > LONGEST;
            if long {
                bytes = Vec::new();
            } else {
                bytes.extend_from_slice(part);
            }
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.line += 1;
        let text = if long {
            Err("is longer than 1 MiB".to_owned())
        } else {
            String::from_utf8(bytes).map_err(|_| "is not UTF-8: save the file as UTF-8".to_owned())
        };
        Ok(Some(Line { number: self.line, text }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_passed_over() {
        let bytes = [b"one\n\n".as_slice(), &vec![b'x'; LONGEST + 1], b"\n\xff\r\n", &vec![b'y'; LONGEST]];
        let mut lines = Lines::new(BufReader::with_capacity(7, std::io::Cursor::new(bytes.concat())));
        let mut read = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            read.push((line.number, line.text.map(|text| text.len())));
        }
        let reasons: Vec<_> = read.iter().map(|(_, text)| text.clone().err().unwrap_or_default()).collect();
        assert_eq!(read.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!((&read[0].1, &read[1].1, &read[4].1), (&Ok(3), &Ok(0), &Ok(LONGEST)));
        assert!(reasons[2].contains("1 MiB") && reasons[3].contains("UTF-8"), "{reasons:?}");
    }
}
