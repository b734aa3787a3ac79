//! `operations`, the outbox: what the tenant has done is acknowledged, all at once.
//!
//! Nearly all that comes back is done, and a statement costs far more than a row. What ended otherwise is not for here.

use serde_json::json;
use sqlx::SqliteConnection;

use super::row_settlement::{self, RowSettled, Settled};
use super::{Settlement, StoreError, grants, unclear};
use crate::model::{Kind, TenantId, Timestamp};

/// Acknowledges `done`, of which each has the step [`Done`](super::Step::Done). Whoever is not in flight under the lease that is
/// named is passed over.
pub(super) async fn settle_done(
    tx: &mut SqliteConnection,
    tenant: &TenantId,
    done: &[&Settlement],
    now: Timestamp,
) -> Result<(), StoreError> {
    if done.is_empty() {
        return Ok(());
    }
    let ours = finish(tx, done, now).await?;
    let (teams, others): (Vec<Ours>, Vec<Ours>) =
        ours.into_iter().partition(|(_, kind, _)| Kind::parse(kind) == Some(Kind::Teams));
    if !teams.is_empty() {
        let ids = json!(teams.iter().map(|(id, ..)| id).collect::<Vec<_>>()).to_string();
        grants::settle(tx, &ids).await?;
        unclear::forget(tx, &ids).await?;
    }
    let settled: Vec<Settled<'_>> = others
        .iter()
        .filter_map(|(id, _, attempts)| {
            let settlement = done.iter().find(|settlement| settlement.id == *id)?;
            Some(Settled {
                operation: *id,
                end: RowSettled::Done,
                reason: None,
                refusal: None,
                latency_ms: i64::try_from(settlement.took.as_millis()).ok(),
                attempts: *attempts,
                user: Some(settlement.created.as_ref().unwrap_or(&settlement.user)),
            })
        })
        .collect();
    row_settlement::settle(tx, tenant, &settled, now).await
}

/// The operation, its kind, and its failed attempts.
type Ours = (i64, String, i64);

/// What is not of teams may hold personal data, and is not needed any more.
async fn finish(
    tx: &mut SqliteConnection,
    done: &[&Settlement],
    now: Timestamp,
) -> Result<Vec<Ours>, StoreError> {
    let done: Vec<_> = done
        .iter()
        .map(|settlement| {
            let note = settlement.note.as_ref();
            json!({
                "id": settlement.id,
                "lease": settlement.lease,
                "noted": note.is_some(),
                "status": note.and_then(|note| note.status),
                "reason": note.and_then(|note| note.reason.as_deref()),
                "correlation_id": note.and_then(|note| note.correlation_id.as_deref()),
                "answer": note.and_then(|note| note.answer.as_deref()),
            })
        })
        .collect();
    let ours = sqlx::query_as(
        "UPDATE operations SET state = 'done', touched_at = $2, finished_at = $2,
             payload = CASE kind WHEN 'teams' THEN payload ELSE '{}' END,
             status = iif(d.value ->> 'noted', d.value ->> 'status', status),
             reason = iif(d.value ->> 'noted', d.value ->> 'reason', reason),
             correlation_id = iif(d.value ->> 'noted', d.value ->> 'correlation_id', correlation_id),
             answer = iif(d.value ->> 'noted', d.value ->> 'answer', answer)
         FROM json_each($1) d
         WHERE operations.id = d.value ->> 'id' AND operations.lease = d.value ->> 'lease' AND operations.state = 'leased'
         RETURNING operations.id, operations.kind, operations.attempts",
    )
    .bind(json!(done).to_string())
    .bind(now.millis())
    .fetch_all(tx)
    .await?;
    Ok(ours)
}
