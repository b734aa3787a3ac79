//! What can be wrong with the database, and what to do about it.

use std::path::{Path, PathBuf};

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the lock.
    #[error("{path}: another rosterd owns this database{pid}; stop it first", path = path.display(),
        pid = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Owned {
        /// The database.
        path: PathBuf,
        /// Its owner, as its lock file says.
        pid: Option<u32>,
    },
    /// There is none yet.
    #[error("{path}: there is no database yet; `rosterd run` or `rosterd sync` makes it", path = path.display())]
    NotThere {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file belongs to somebody else, or is no database at all.
    #[error("{path}: not a rosterd database ({what}); it was left as it is. Let `store.url` name another file",
        path = path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// A later version has been at it.
    #[error("{path}: written by a newer rosterd (schema {found}, this one knows {known}); run that version, or restore a backup",
        path = path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// An earlier version has been at it, and we may not change it now.
    #[error("{path}: written by an older rosterd (schema {found}, this one needs {known}); `rosterd run` or `rosterd sync` brings it up to date",
        path = path.display())]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file or its folder cannot be used.
    #[error("{path}: cannot be {verb}: {error}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        error: std::io::Error,
    },
    /// The database could not be opened.
    #[error("{path}: cannot be opened as a database: {error}{hint}", path = path.display(), hint = hint(error))]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        error: sqlx::Error,
    },
    /// A row does not hold what it should, or the file itself is broken.
    #[error(
        "the database is damaged: {what}; restore a backup, or move the file away with its -wal and -shm: \
        the next pass reads all users and decides anew, and only what was remembered is lost"
    )]
    Damaged {
        /// Where, and what is wrong.
        what: String,
    },
    /// A pass that is asked for is not remembered.
    #[error("pass {pass} is not known (any more): passes are remembered for 7 days")]
    Forgotten {
        /// Its number.
        pass: i64,
    },
    /// A run was thrown away, or forgotten.
    #[error("run {run} is not there any more: run the same command again, and its file is read anew")]
    NoRun {
        /// Its number.
        run: i64,
    },
    /// A run that is asked for is not remembered.
    #[error("run {run} is not known (any more): runs are remembered for 7 days after their end")]
    ForgottenRun {
        /// Its number.
        run: i64,
    },
    /// A statement failed.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("{path}: the schema cannot be brought up to date: {error}", path = path.display())]
    Migrate {
        /// The database.
        path: PathBuf,
        /// Why.
        error: sqlx::migrate::MigrateError,
    },
}

/// `SQLITE_CORRUPT` and `SQLITE_NOTADB`: the low byte of the result codes of a broken file.
const BROKEN: [i32; 2] = [11, 26];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match broken(&error) {
            Some(what) => Self::damaged(what),
            None => Self::Database(error),
        }
    }
}

/// What the library says when it is the file that is wrong.
fn broken(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    let code: i32 = error.code()?.parse().ok()?;
    BROKEN.contains(&(code & 0xff)).then(|| error.message().to_owned())
}

/// What most often stands behind an I/O error (`SQLITE_IOERR`, 10) or a file that cannot be opened (`SQLITE_CANTOPEN`, 14).
fn hint(error: &sqlx::Error) -> &'static str {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    match code.map(|code| code & 0xff) {
        Some(10) => "; the disk is full, or does not work",
        Some(14) => "; its folder has to exist and be writable for us",
        _ => "",
    }
}

impl StoreError {
    pub(super) fn open(path: &Path, error: sqlx::Error) -> Self {
        match broken(&error) {
            Some(what) => Self::damaged(what).of_file(path),
            None => Self::Open { path: path.to_owned(), error },
        }
    }

    /// The same, and names the file if it is that which is damaged.
    #[must_use]
    pub(super) fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Damaged { what } => Self::Damaged { what: format!("{}: {what}", path.display()) },
            other => other,
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}
