//! The lock of those who read files into runs: whether anybody does at this moment.
//!
//! A file beside the database, which all of them share. The operating system releases it however a process ends, and no number
//! of a process is needed, which means something else in the next container. It says nothing about which run is read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{MODE, beside};
use super::{Store, StoreError};

/// Whoever looks whether anybody reads has the lock to himself while he clears away; a reader who comes meanwhile tries again
/// so often …
const TRIES: u32 = 2000;
/// … with so much time between.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// Somebody reads a file into a run, for as long as it lives: nobody takes the run for one whose reader has died.
#[derive(Debug)]
pub struct Reading {
    /// None where nobody else can see the run.
    _lock: Option<File>,
}

impl Store {
    /// Says that a file is read from now on.
    ///
    /// # Errors
    /// When the lock beside the database cannot be had.
    pub async fn reading(&self) -> Result<Reading, StoreError> {
        match &self.shared {
            Some(database) => Ok(Reading { _lock: Some(share(database).await?) }),
            None => Ok(Reading { _lock: None }),
        }
    }
}

async fn share(database: &Path) -> Result<File, StoreError> {
    let path = lock_path(database);
    let error = |error| StoreError::File { path: path.clone(), verb: "locked", error };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    let file = options.open(&path).map_err(error)?;
    for _ in 0..TRIES {
        match file.try_lock_shared() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(BETWEEN_TRIES).await,
            Err(TryLockError::Error(cause)) => return Err(error(cause)),
        }
    }
    Err(error(ErrorKind::WouldBlock.into()))
}

/// Nobody reads a file, and nobody begins to as long as this lives.
#[derive(Debug)]
pub(super) struct Alone {
    _lock: Option<File>,
}

/// `None` when somebody reads a file. Whoever asks holds the database's write lock, under which runs begin: a lock that is not
/// there yet belongs to no run.
pub(super) fn alone(database: &Path) -> Result<Option<Alone>, StoreError> {
    let path = lock_path(database);
    let error = |error| StoreError::File { path: path.clone(), verb: "locked", error };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Some(Alone { _lock: None })),
        Err(cause) => return Err(error(cause)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(Alone { _lock: Some(file) })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(cause)) => Err(error(cause)),
    }
}

fn lock_path(database: &Path) -> PathBuf {
    beside(database, ".reading")
}
