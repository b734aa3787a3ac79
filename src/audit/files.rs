//! The files of an audit: the one that is written, and the full ones beside it.
//!
//! A full file gets the number of its last line behind its name: `audit.jsonl.000000012345`. So names sort as the lines do,
//! and none comes twice. Nobody here deletes a file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Enough for a line every millisecond over thirty years; a longer number is still found and sorted.
const DIGITS: usize = 12;

/// What a full file is called whose last line is `seq`.
pub(super) fn full(path: &Path, seq: u64) -> PathBuf {
    with_suffix(path, &format!("{seq:0DIGITS$}"))
}

/// Where the next file is made before it takes the place of the full one.
pub(super) fn next(path: &Path) -> PathBuf {
    with_suffix(path, "next")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// The full files beside the one at `path`, oldest first.
pub(super) fn all_full(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(path))? {
        let name = entry?.file_name();
        found.extend(number(path, &name).map(|seq| (seq, path.with_file_name(name))));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The number in the name of a full file.
fn number(path: &Path, name: &OsStr) -> Option<u64> {
    let digits =
        name.as_encoded_bytes().strip_prefix(path.file_name()?.as_encoded_bytes())?.strip_prefix(b".")?;
    let digits = std::str::from_utf8(digits).ok()?;
    let is_number = digits.len() >= DIGITS && digits.bytes().all(|c| c.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// Makes sure that names in the folder of `path` are still there after a power cut.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_found_in_the_order_of_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let names =
            [full(&path, 9), full(&path, 10), full(&path, 999_999_999_999), full(&path, 1_000_000_000_000)];
        for other in
            ["audit.jsonl.1", "audit.jsonl.next", "audit.jsonl.00000000000x", "other.jsonl.000000000001"]
        {
            fs::write(folder.path().join(other), "").unwrap();
        }
        for name in [&names[3], &names[0], &names[2], &names[1], &path] {
            fs::write(name, "").unwrap();
        }
        assert_eq!(all_full(&path).unwrap(), names);
        assert!(names[0].ends_with("audit.jsonl.000000000009"));
    }
}
