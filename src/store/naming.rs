//! The name of a hold: the digest of what it holds. It is taken of the rows themselves, in the transaction that writes
//! them, so that nobody approves under a name what is not held. Two holds of one plan are one.

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::StoreError;
use super::commit::Commit;
use crate::model::{Payload, PlanDigest, UserId};

/// What a pass holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Of its plan: 64 hexadecimal digits.
    pub digest: String,
    /// Operations that wait.
    pub operations: u64,
    /// An earlier pass holds the very same, and nobody has decided about that yet.
    pub again: bool,
}

/// Names the hold `id`, or joins it with the one that holds the same plan; returns the hold. `None` when it holds nothing:
/// then it is over with the commit.
pub(super) async fn name(
    tx: &mut SqliteConnection,
    commit: &Commit<'_>,
    id: i64,
) -> Result<Option<(i64, Held)>, StoreError> {
    let Some((digest, operations)) = digest(tx, id).await? else { return Ok(None) };
    let same: Option<i64> =
        sqlx::query_scalar("SELECT id FROM holds WHERE tenant = $1 AND digest = $2 AND decision IS NULL")
            .bind(commit.tenant.as_str())
            .bind(&digest)
            .fetch_optional(&mut *tx)
            .await?;
    let (hold, again) = match same {
        Some(same) => (join(tx, id, same).await?, true),
        None => (id, false),
    };
    sqlx::query(
        "UPDATE holds SET digest = $2, operations = max(operations,
             (SELECT count(*) FROM operations WHERE hold = $1 AND state = 'held')) WHERE id = $1",
    )
    .bind(hold)
    .bind(&digest)
    .execute(tx)
    .await?;
    Ok(Some((hold, Held { digest, operations, again })))
}

/// The digest of what a hold holds, and of how many operations that is; `None` when it is nothing.
async fn digest(tx: &mut SqliteConnection, hold: i64) -> Result<Option<(String, u64)>, StoreError> {
    let (mut digest, mut operations, mut missing) = (PlanDigest::default(), 0, 0_u64);
    let mut rows = sqlx::query_as::<_, (String, String)>(
        "SELECT user_id, payload FROM operations WHERE hold = $1 AND state = 'held' ORDER BY user_id",
    )
    .bind(hold)
    .fetch(&mut *tx);
    while let Some((user, payload)) = rows.try_next().await? {
        let payload: Payload = serde_json::from_str(&payload)
            .map_err(|_| StoreError::damaged(format!("the operation for {user} cannot be read")))?;
        let teams = payload.teams();
        digest.change(&UserId::from(user), &teams.added, &teams.removed);
        operations += 1;
    }
    drop(rows);
    let mut users =
        sqlx::query_scalar::<_, String>("SELECT user_id FROM hold_missing WHERE hold = $1 ORDER BY user_id")
            .bind(hold)
            .fetch(&mut *tx);
    while let Some(user) = users.try_next().await? {
        digest.missing(&UserId::from(user));
        missing += 1;
    }
    Ok((operations + missing > 0).then(|| (digest.finish(), operations)))
}

/// What the hold `new` holds belongs to `same`, which goes on with what the newer pass says of it; returns that.
async fn join(tx: &mut SqliteConnection, new: i64, same: i64) -> Result<i64, StoreError> {
    for statement in [
        "UPDATE operations SET hold = $2 WHERE hold = $1 AND state = 'held'",
        "INSERT INTO hold_missing (hold, user_id) SELECT $2, user_id FROM hold_missing WHERE hold = $1
         ON CONFLICT DO NOTHING",
        "DELETE FROM hold_missing WHERE hold = $1",
        "UPDATE holds SET findings = n.findings, mapping_digest = coalesce(n.mapping_digest, holds.mapping_digest)
         FROM holds n WHERE holds.id = $2 AND n.id = $1",
        "DELETE FROM holds WHERE id = $1",
    ] {
        sqlx::query(statement).bind(new).bind(same).execute(&mut *tx).await?;
    }
    Ok(same)
}
