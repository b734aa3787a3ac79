//! The database as a file: whose it is, who may use it, and which schema it has.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::migrate::Migrator;

use super::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// "rost": at byte 68 of the header of every database that is ours (`SQLite` file format, §1.3).
const APPLICATION_ID: i32 = 0x726f_7374;
/// The header of a database file starts like this.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Only its owner may read the state: it holds what the tenant answered.
pub(super) const MODE: u32 = 0o600;

/// The lock beside the database. The operating system releases it however the process ends.
#[derive(Debug)]
pub(super) struct Owner {
    file: File,
    path: PathBuf,
}

/// The second line of the lock file of an owner who carries out what others ask for.
const DAEMON: &str = "daemon";

/// Somebody who only looks holds the lock for an instant; an owner who comes meanwhile tries again so often …
const TRIES: u32 = 100;
/// … with so much time between.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

impl Owner {
    pub(super) async fn lock(database: &Path) -> Result<Self, StoreError> {
        let path = lock_path(database);
        let error = |error| StoreError::File { path: path.clone(), verb: "locked", error };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(&path)
            .map_err(error)?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => {
                    file.set_len(0).map_err(error)?;
                    writeln!(file, "{}", std::process::id()).map_err(error)?;
                    return Ok(Self { file, path });
                }
                Err(TryLockError::WouldBlock) if owned(&file).map_err(error)? => break,
                Err(TryLockError::WouldBlock) => tokio::time::sleep(BETWEEN_TRIES).await,
                Err(TryLockError::Error(cause)) => return Err(error(cause)),
            }
        }
        Err(StoreError::Owned { path: database.to_owned(), pid: read(&mut file).pid })
    }

    /// Says that we carry out what others ask for.
    pub(super) fn announce_daemon(&self) -> Result<(), StoreError> {
        let written = writeln!(&self.file, "{DAEMON}");
        written.map_err(|error| StoreError::File { path: self.path.clone(), verb: "written", error })
    }
}

/// Who owns the database at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// The process, as its lock file says; `None` in the instant before it is written there.
    pub pid: Option<u32>,
    /// It carries out what others ask for. Otherwise it is a command that does its own work and ends.
    pub daemon: bool,
}

/// Who owns the database, if anybody does.
pub(super) fn occupant(database: &Path) -> Result<Option<Occupant>, StoreError> {
    let path = lock_path(database);
    let error = |error| StoreError::File { path: path.clone(), verb: "read", error };
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(error(cause)),
    };
    Ok(if owned(&file).map_err(error)? { Some(read(&mut file)) } else { None })
}

/// Whether an owner has the lock: those who only look share it.
fn owned(file: &File) -> std::io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What a lock file says of its owner.
fn read(file: &mut File) -> Occupant {
    let mut text = String::new();
    // Whoever is writing it at this moment is asked again.
    drop(file.rewind().and_then(|()| file.read_to_string(&mut text)));
    let mut lines = text.lines();
    let pid = lines.next().and_then(|pid| pid.parse().ok());
    Occupant { pid, daemon: lines.next() == Some(DAEMON) }
}

fn lock_path(database: &Path) -> PathBuf {
    beside(database, ".lock")
}

/// The file beside the database whose name goes on like this.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes an empty file with the right mode, because the database library would make it readable for all.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path);
    opened.map(drop).map_err(|error| StoreError::File { path: path.to_owned(), verb: "written", error })
}

pub(super) fn check_there(path: &Path) -> Result<(), StoreError> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > 0 => Ok(()),
        Ok(_) => Err(StoreError::NotThere { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(StoreError::NotThere { path: path.to_owned() })
        }
        Err(error) => Err(StoreError::File { path: path.to_owned(), verb: "read", error }),
    }
}

/// Looks into the header before any library touches the file. An empty file is ours to fill.
pub(super) fn check_ours(path: &Path) -> Result<(), StoreError> {
    let mut header = [0_u8; 100];
    let error = |error| StoreError::File { path: path.to_owned(), verb: "read", error };
    let mut file = File::open(path).map_err(error)?;
    if file.metadata().map_err(error)?.len() == 0 {
        return Ok(());
    }
    let not_ours = |what: &str| Err(StoreError::NotOurs { path: path.to_owned(), what: what.to_owned() });
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return not_ours("no SQLite file"),
        other => other.map_err(error)?,
    }
    if !header.starts_with(MAGIC) {
        return not_ours("no SQLite file");
    }
    let id = i32::from_be_bytes([header[68], header[69], header[70], header[71]]);
    // The id is written with the first migration; a process killed before it leaves a database without tables.
    let schema_cookie = u32::from_be_bytes([header[40], header[41], header[42], header[43]]);
    if id == APPLICATION_ID || (id == 0 && schema_cookie == 0) {
        Ok(())
    } else {
        not_ours("another program's database")
    }
}

/// Brings the schema up to date, unless it is ahead of us or the file is damaged.
///
/// Reading all of the file takes three seconds for half a gigabyte, which is a million users.
pub(super) async fn migrate(path: &Path, pool: &SqlitePool) -> Result<(), StoreError> {
    let (found, known) = (schema(pool).await?, known());
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    check_sound(path, pool).await?;
    sqlx::query("PRAGMA application_id = 1919906676").execute(pool).await?;
    MIGRATIONS.run(pool).await.map_err(|error| StoreError::Migrate { path: path.to_owned(), error })
}

/// Insists on a file whose pages fit together.
pub(super) async fn check_sound(path: &Path, pool: &SqlitePool) -> Result<(), StoreError> {
    let checked = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await;
    let verdict: String = checked.map_err(|error| StoreError::from(error).of_file(path))?;
    let verdict = verdict.lines().collect::<Vec<_>>().join(" ");
    if verdict == "ok" { Ok(()) } else { Err(StoreError::damaged(verdict).of_file(path)) }
}

/// Insists on exactly our schema.
pub(super) async fn check_schema(path: &Path, pool: &SqlitePool) -> Result<(), StoreError> {
    let path = path.to_owned();
    match (schema(pool).await?, known()) {
        // Somebody is making it at this moment, or was killed while he did.
        (0, _) => Err(StoreError::NotThere { path }),
        (found, known) if found > known => Err(StoreError::Newer { path, found, known }),
        (found, known) if found < known => Err(StoreError::Older { path, found, known }),
        _ => Ok(()),
    }
}

fn known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

async fn schema(pool: &SqlitePool) -> Result<i64, StoreError> {
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_one(pool)
            .await?;
    if tables == 0 {
        return Ok(0);
    }
    let version: Option<i64> =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(pool).await?;
    Ok(version.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody looks at the very moment at which an owner comes.
    #[tokio::test]
    async fn whoever_only_looks_keeps_no_owner_away() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("rosterd.db");
        assert_eq!(occupant(&database).unwrap(), None);
        let looking = File::create(lock_path(&database)).unwrap();
        looking.lock_shared().unwrap();
        assert_eq!(occupant(&database).unwrap(), None, "two may look at once");
        let (owner, ()) = tokio::join!(Owner::lock(&database), async { drop(looking) });
        let pid = Some(std::process::id());
        assert_eq!(occupant(&database).unwrap(), Some(Occupant { pid, daemon: false }));
        owner.as_ref().unwrap().announce_daemon().unwrap();
        assert_eq!(occupant(&database).unwrap(), Some(Occupant { pid, daemon: true }));
        assert!(
            matches!(Owner::lock(&database).await, Err(StoreError::Owned { pid: found, .. }) if found == pid)
        );
        drop(owner.unwrap());
        assert_eq!(occupant(&database).unwrap(), None);
    }

    #[test]
    fn the_application_id_is_written_as_it_is_checked() {
        assert_eq!(APPLICATION_ID, 1_919_906_676);
    }
}
