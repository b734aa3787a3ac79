//! The file itself: may it be read, what is it, and what are its bytes.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The bytes of a file, behind its byte order mark.
pub(in crate::source) type Input = Box<dyn BufRead + Send>;

/// A file cannot be read, or not on from here. What was read of it before is not all of it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {trouble}", path.display())]
pub struct InputError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What is wrong with a file as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It is not there.
    #[error("there is no such file: check the path")]
    Missing,
    /// It is a folder, a pipe or a device.
    #[error("is no regular file: copy what it gives into a file and name that")]
    NotRegular,
    /// The system does not let us.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Its name does not say what it is.
    #[error("is neither .csv nor .jsonl (or .ndjson): name it for what it is")]
    UnknownForm,
    /// It is in a wide encoding.
    #[error("is UTF-16: save it as CSV in UTF-8")]
    Utf16,
    /// There is nothing in it.
    #[error("is empty: there is not even a header")]
    Empty,
    /// Its header does not say what its columns are; never empty.
    #[error("{}", .0.join("; "))]
    Header(Vec<String>),
    /// Nobody can tell where the records end.
    #[error(
        "line {0}: a quote is opened and never closed, so what follows cannot be told into rows: close it, or write two \
         for one within a cell; was the file cut off?"
    )]
    OpenQuote(u64),
}

impl Trouble {
    /// Without the place.
    pub(in crate::source) fn reason(&self) -> String {
        let text = self.to_string();
        match self {
            Self::OpenQuote(line) => text.replacen(&format!("line {line}: "), "", 1),
            _ => text,
        }
    }

    pub(in crate::source) fn of(self, path: &Path) -> InputError {
        InputError { path: path.to_owned(), trouble: self }
    }
}

/// What a file of rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RFC 4180, below a header.
    Csv,
    /// A JSON object on each line.
    Jsonl,
}

impl Form {
    /// By the extension, whatever its case.
    ///
    /// # Errors
    /// When it is another one.
    pub fn of(path: &Path) -> Result<Self, InputError> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            _ => Err(Trouble::UnknownForm.of(path)),
        }
    }
}

/// A file as it was when somebody looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest {
    /// SHA-256 of its bytes in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// Reads the file from its beginning to its end.
///
/// # Errors
/// When it cannot be read, or is no regular file.
pub fn digest(path: &Path) -> Result<FileDigest, InputError> {
    let mut file = regular(path).map_err(|trouble| trouble.of(path))?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                hash.update(&buffer[..length]);
                size += length as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Trouble::from(error).of(path)),
        }
    }
    Ok(FileDigest { sha256: hex(&hash.finalize()), size })
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for half in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(u32::from(half), 16));
        }
    }
    text
}

pub(in crate::source) fn open(path: &Path) -> Result<Input, InputError> {
    let open = || behind_mark(BufReader::with_capacity(64 << 10, regular(path)?));
    open().map_err(|trouble| trouble.of(path))
}

/// To open a pipe would be to wait for its other end, so it is looked at before.
fn regular(path: &Path) -> Result<File, Trouble> {
    let trouble = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => Trouble::Missing,
        _ => Trouble::Unreadable(error),
    };
    if !fs::metadata(path).map_err(trouble)?.is_file() {
        return Err(Trouble::NotRegular);
    }
    let file = File::open(path).map_err(trouble)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Trouble::NotRegular) }
}

/// The bytes without the byte order mark that spreadsheets put before them.
pub(in crate::source) fn behind_mark<R: BufRead + Send + 'static>(mut input: R) -> Result<Input, Trouble> {
    let mut start = Vec::new();
    input.by_ref().take(3).read_to_end(&mut start)?;
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return Err(Trouble::Utf16);
    }
    if start == "\u{feff}".as_bytes() {
        start.clear();
    }
    Ok(Box::new(io::Cursor::new(start).chain(input)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_digest_and_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(digest(&path).unwrap(), FileDigest { sha256, size: 3 });
    }

    #[test]
    fn what_cannot_be_read_is_named_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none.csv");
        for (path, says) in [
            (folder.path(), "is no regular file: copy"),
            (Path::new("/dev/null"), "is no regular file"),
            (&missing, "there is no such file: check the path"),
        ] {
            for error in [digest(path).unwrap_err(), open(path).err().unwrap()] {
                let text = error.to_string();
                assert!(text.starts_with(&path.display().to_string()) && text.contains(says), "{text}");
            }
        }
    }

    #[test]
    fn the_extension_says_what_a_file_is() {
        for (path, form) in [
            ("a.csv", Some(Form::Csv)),
            ("a.CSV", Some(Form::Csv)),
            ("a.jsonl", Some(Form::Jsonl)),
            ("a.ndjson", Some(Form::Jsonl)),
        ] {
            assert_eq!(Form::of(Path::new(path)).ok(), form, "{path}");
        }
        for path in ["a.json", "a", ".csv", "a.csv.gz"] {
            assert!(Form::of(Path::new(path)).unwrap_err().to_string().contains(".jsonl"), "{path}");
        }
    }
}
