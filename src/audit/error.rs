//! What can be wrong with the audit file, and what to do about it.

use std::path::{Path, PathBuf};

/// Why the audit could not be written or read. What it was to tell of does not count as done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is none.
    #[error("{path}: there is no audit file; `audit.path` says where it is written", path = path.display())]
    NotThere {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one, and nothing in it: the daemon begins each with a line.
    #[error("{path}: the audit holds no line; it was emptied, or is no audit", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("{path}: the audit cannot be read: {error}", path = path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file or its folder cannot be used.
    #[error("{path}: the audit cannot be {verb}: {error}. The folder must be there and be ours to write; \
        `audit.path` names the file", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The file belongs to somebody else.
    #[error("{path}: not an audit file ({what}); it was left as it is. Move it away, or let `audit.path` name \
        another file", path = path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// Lines could not be written to their end, because the disk is full, say.
    #[error("{path}: the audit cannot be written: {error}. What was half written was taken back; it is written \
        again when there is room", path = path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        error: std::io::Error,
    },
    /// Lines could not be written to their end, and not taken back either.
    #[error("{path}: the audit cannot be written: {error}; nor can what was half written be taken back: {then}. The \
        next line, or the next start, tries it again", path = path.display())]
    HalfWritten {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        error: std::io::Error,
        /// Why it stayed.
        then: std::io::Error,
    },
    /// Somebody else has written to the file, or put another one in its place.
    #[error("{path}: the audit was changed, moved or deleted by another process while it was in use; nothing was \
        written. `rosterd audit verify` tells what is wrong with it", path = path.display())]
    Touched {
        /// The file.
        path: PathBuf,
    },
    /// The file is full, and there is one already with the name that it was to get.
    #[error("{path}: is in the way of the full audit file; move it away", path = path.display())]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
    },
    /// One entry is longer than a line may be.
    #[error("{bytes} bytes are too many for one line of the audit ({most} at most); ask for less at once",
        most = super::chain::MAX_LINE)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// An entry has no JSON.
    #[error("a line of the audit cannot be put into words: {0}")]
    Encode(#[from] serde_json::Error),
    /// The writing itself was broken off.
    #[error("the audit was broken off while it was written: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl AuditError {
    /// What a failed call on this file becomes.
    pub(super) fn file(path: &Path, verb: &'static str) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File { path, verb, error }
    }

    /// What a failed look at this file becomes.
    pub(super) fn unread(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Unread { path, error }
    }
}
