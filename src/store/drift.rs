//! What a sweep finds that nobody should have had to look for: users deleted and teams edited in the tenant,
//! and changes that a delta pass should have found.

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::StoreError;
use super::commit::{Commit, stored};
use crate::model::PassKind;

/// In users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Gone from the tenant.
    pub deleted: u64,
    /// Somebody else has changed their managed teams.
    pub edited: u64,
    /// Changed before the watermark, and not known.
    pub missed: u64,
}

impl Drift {
    /// There is some.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.deleted + self.edited + self.missed > 0
    }
}

/// Compares what a sweep has staged with the snapshot; the first sweep has nothing to compare with.
pub(super) async fn drift(tx: &mut SqliteConnection, commit: &Commit<'_>) -> Result<Drift, StoreError> {
    if commit.kind != PassKind::Sweep {
        return Ok(Drift::default());
    }
    let (edited, missed): (i64, i64) = sqlx::query_as(
        "SELECT
             (SELECT count(*) FROM staged_operations s
              JOIN staged_users n ON n.pass = s.pass AND n.id = s.user_id
              JOIN users u ON u.tenant = $2 AND u.id = s.user_id
              WHERE s.pass = $1 AND s.target IS NOT NULL
                  AND n.roles = u.roles AND n.active = u.active AND n.teams <> u.teams
                  AND NOT EXISTS (SELECT 1 FROM rereads r WHERE r.tenant = $2 AND r.user_id = s.user_id)
                  AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.tenant = $2 AND o.user_id = s.user_id
                      AND o.state IN ('ready', 'leased', 'stale', 'held', 'dead'))),
             (SELECT count(*) FROM staged_users n
              JOIN tenants t ON t.name = $2 AND n.last_modified < t.watermark
              LEFT JOIN users u ON u.tenant = $2 AND u.id = n.id
              WHERE n.pass = $1 AND n.listed = 1
                  AND (u.id IS NULL OR n.roles <> u.roles OR n.active <> u.active))",
    )
    .bind(commit.pass)
    .bind(commit.tenant.as_str())
    .fetch_one(tx)
    .await?;
    Ok(Drift {
        deleted: u64::try_from(stored(commit.gone.len())).unwrap_or(0),
        edited: u64::try_from(edited).unwrap_or(0),
        missed: u64::try_from(missed).unwrap_or(0),
    })
}
