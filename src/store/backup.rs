//! A copy of the database, whole and consistent, made while others read and write. What is half done in it belongs to
//! the process that does it: the copy asks for nothing and has nothing in flight.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

use super::{Store, StoreError, file};

impl Store {
    /// Writes a copy into the new file `to`, which only its owner may read, and checks it. Returns its size in
    /// bytes. What was half written is taken away again.
    ///
    /// # Errors
    /// When the file is there already or cannot be written, or the copy is not sound.
    pub async fn back_up(&self, to: &Path) -> Result<u64, StoreError> {
        let error = |error| StoreError::File { path: to.to_owned(), verb: "written", error };
        // The library takes an empty file as it is; it would make one that all may read.
        let new = OpenOptions::new().write(true).create_new(true).mode(file::MODE).open(to).map_err(error)?;
        let copied = self.vacuum_into(to).await;
        let size = match copied {
            Ok(()) => new.sync_all().and_then(|()| new.metadata()).map(|meta| meta.len()).map_err(error),
            Err(cause) => Err(cause),
        };
        if size.is_err() {
            std::fs::remove_file(to).map_err(error)?;
        } else if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(error)?;
        }
        size
    }

    async fn vacuum_into(&self, to: &Path) -> Result<(), StoreError> {
        let name = to.to_str().ok_or_else(|| StoreError::File {
            path: to.to_owned(),
            verb: "written",
            error: std::io::Error::new(std::io::ErrorKind::InvalidFilename, "its name is not UTF-8"),
        })?;
        sqlx::query("VACUUM INTO $1").bind(name).execute(&self.writer).await?;
        settle(to).await?;
        check(to).await
    }
}

/// Takes out of the copy what would be carried out once more when it is restored, perhaps weeks later: requests that are
/// not answered, and leases.
async fn settle(copy: &Path) -> Result<(), StoreError> {
    let error = |error| StoreError::open(copy, error);
    // A copy that is not finished is deleted: no journal has to be left beside it.
    let options = SqliteConnectOptions::new().filename(copy).journal_mode(SqliteJournalMode::Memory);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(error)?;
    let settled = sqlx::raw_sql(
        "BEGIN;
         DELETE FROM requests WHERE finished_at IS NULL;
         UPDATE operations SET state = CASE superseded WHEN 1 THEN 'superseded' ELSE 'ready' END,
             finished_at = CASE superseded WHEN 1 THEN touched_at END, superseded = 0
         WHERE state = 'leased';
         COMMIT",
    )
    .execute(&pool)
    .await;
    pool.close().await;
    settled.map(drop).map_err(error)
}

/// The copy is ours, and its pages fit together.
async fn check(copy: &Path) -> Result<(), StoreError> {
    file::check_ours(copy)?;
    let options = SqliteConnectOptions::new().filename(copy).read_only(true);
    let error = |error| StoreError::open(copy, error);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(error)?;
    let sound = match file::check_schema(copy, &pool).await {
        Ok(()) => file::check_sound(copy, &pool).await,
        other => other,
    };
    pool.close().await;
    sound
}
