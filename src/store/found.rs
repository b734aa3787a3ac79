//! `run_found`: users of the tenant whom rows of an open run may mean.
//!
//! Nobody else is kept, and all of them are forgotten with the end of the run, and when
//! somebody else goes on with it.

use sqlx::SqliteConnection;

use super::rows::json;
use super::{Store, StoreError};
use crate::model::UserId;

/// A user of the tenant whom a row may mean.
#[derive(Clone, Debug)]
pub struct Found {
    /// His id.
    pub user: UserId,
    /// By which HR knows him.
    pub external_id: Option<String>,
    /// In small letters.
    pub user_name: String,
    /// His record, JSON; of one whom no row may mean only whether he is active.
    pub record: String,
}

impl Store {
    /// Keeps those of `found` whom a row of the run may mean; and of whom earlier runs had to do with, whether they are
    /// active.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_found(&self, run: i64, found: &[Found]) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        let all: Vec<_> = found.iter().map(|found| (found.user.as_str(), &found.record)).collect();
        sqlx::query(
            "INSERT INTO run_found (run, user_id, user_name, record)
             SELECT $1, f.value ->> 0, '', json_object('active', json_extract(f.value ->> 1, '$.active') IS NOT 0)
             FROM json_each($2) f
             CROSS JOIN provisioned p ON p.tenant = (SELECT tenant FROM runs WHERE id = $1) AND p.user_id = f.value ->> 0
             WHERE true
             ON CONFLICT (run, user_id) DO UPDATE SET record = excluded.record",
        )
        .bind(run)
        .bind(json(&all)?)
        .execute(&mut *tx)
        .await?;
        for found in found {
            sqlx::query(
                "INSERT INTO run_found (run, user_id, external_id, user_name, record)
                 SELECT $1, $2, $3, $4, $5 WHERE EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND external_id = $3)
                     OR EXISTS (SELECT 1 FROM run_rows WHERE run = $1 AND user_name = $4)
                 ON CONFLICT (run, user_id) DO UPDATE SET external_id = excluded.external_id,
                     user_name = excluded.user_name, record = excluded.record",
            )
            .bind(run)
            .bind(found.user.as_str())
            .bind(found.external_id.as_deref())
            .bind(&found.user_name)
            .bind(&found.record)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Whom a row may mean: by `externalId`, then by `userName`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn found(
        &self,
        run: i64,
        external_id: Option<&str>,
        user_name: Option<&str>,
    ) -> Result<Option<Found>, StoreError> {
        let row: Option<(String, Option<String>, String, String)> = sqlx::query_as(
            "SELECT user_id, external_id, user_name, record FROM run_found WHERE run = $1 AND user_id = (
                 SELECT user_id FROM (
                     SELECT 0 AS rank, user_id FROM run_found WHERE run = $1 AND external_id = $2
                     UNION ALL
                     SELECT 1, user_id FROM run_found WHERE run = $1 AND user_name = $3)
                 ORDER BY rank, user_id LIMIT 1)",
        )
        .bind(run)
        .bind(external_id)
        .bind(user_name)
        .fetch_optional(&self.reader)
        .await?;
        Ok(row.map(|(user, external_id, user_name, record)| Found {
            user: UserId::from(user),
            external_id,
            user_name,
            record,
        }))
    }
}

/// Whoever goes on with a run reads the tenant anew: what was found for it may be old.
pub(super) async fn forget(tx: &mut SqliteConnection) -> Result<(), StoreError> {
    for forget in
        ["DELETE FROM run_found", "UPDATE runs SET read = 0 WHERE state IN ('open', 'stopped') AND read <> 0"]
    {
        sqlx::query(forget).execute(&mut *tx).await?;
    }
    Ok(())
}
