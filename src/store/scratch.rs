//! A copy of the database in memory, to try a pass on: `plan` reads, decides and commits there like any pass, and
//! nothing of it lasts.
//!
//! The copy holds what passes look at, of one tenant. The file is only read.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::{Store, StoreError, file};
use crate::model::TenantId;

/// What is copied, and of it which rows; the tables are alike, because the schemas are. What is in flight counts as
/// waiting: nobody can say what becomes of it.
const COPIES: [&str; 12] = [
    "INSERT INTO main.tenants SELECT * FROM source.tenants WHERE name = $1",
    "INSERT INTO main.passes SELECT * FROM source.passes WHERE tenant = $1",
    "INSERT INTO main.users SELECT * FROM source.users WHERE tenant = $1",
    // Custom attributes that wait are sent by themselves, before those of a file that is tried.
    "INSERT INTO main.operations SELECT * FROM source.operations WHERE tenant = $1 AND kind <> 'attributes'
         AND (finished_at IS NULL OR counts_change = 1 OR counts_removal = 1)",
    "INSERT INTO main.rereads SELECT * FROM source.rereads WHERE tenant = $1",
    "INSERT INTO main.mappings SELECT * FROM source.mappings WHERE tenant = $1",
    "INSERT INTO main.holds SELECT * FROM source.holds WHERE tenant = $1",
    "INSERT INTO main.hold_missing SELECT m.* FROM source.hold_missing m JOIN source.holds h ON h.id = m.hold
     WHERE h.tenant = $1",
    "INSERT INTO main.unclear SELECT * FROM source.unclear WHERE tenant = $1",
    "INSERT INTO main.grants SELECT * FROM source.grants WHERE tenant = $1",
    // Runs are not copied and their numbers begin anew: those that have met these users are of none of them.
    "INSERT INTO main.provisioned SELECT tenant, user_id, external_id, 0, deactivated, since FROM source.provisioned
     WHERE tenant = $1",
    "UPDATE main.operations SET state = CASE superseded WHEN 1 THEN 'superseded' ELSE 'ready' END
     WHERE state = 'leased' AND tenant = $1",
];

impl Store {
    /// A copy of what the database at `path` knows of `tenant`; an empty one when there is none.
    ///
    /// # Errors
    /// When it cannot be read, is not ours, or of another schema than ours.
    pub async fn scratch(path: &Path, tenant: &TenantId) -> Result<Self, StoreError> {
        let there = match Self::beside(path).await {
            Ok(store) => {
                store.close().await;
                true
            }
            Err(StoreError::NotThere { .. }) => false,
            Err(error) => return Err(error),
        };
        // The copy lives as long as its one connection.
        let memory = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(SqliteConnectOptions::new().filename(":memory:").create_if_missing(true))
            .await?;
        file::migrate(path, &memory).await?;
        let scratch = Self {
            writer: memory.clone(),
            reader: memory,
            path: path.into(),
            shared: None,
            only: None,
            owner: None,
        };
        if there {
            scratch.fill(path, tenant).await?;
        }
        Ok(scratch)
    }

    async fn fill(&self, path: &Path, tenant: &TenantId) -> Result<(), StoreError> {
        sqlx::query("ATTACH DATABASE $1 AS source")
            .bind(path.to_string_lossy().into_owned())
            .execute(&self.writer)
            .await?;
        let mut tx = self.write().await?;
        for copy in COPIES {
            sqlx::query(copy).bind(tenant.as_str()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        sqlx::query("DETACH DATABASE source").execute(&self.writer).await?;
        Ok(())
    }
}
