//! A pass that ran, and a pass that is held, as the plan that it was.

use crate::model::{PassKind, TenantId};
use crate::plan::{Already, Change, Plan};
use crate::store::{Hold, PassRow, Sent, Store, StoreError};

/// The plan of a pass.
///
/// # Errors
/// When the database fails, or does not know the pass any more.
pub(super) async fn plan_of(store: &Store, pass: i64) -> Result<Plan, StoreError> {
    match store.pass(pass).await? {
        Some(row) => plan_of_pass(store, &row, &store.operations_of_pass(pass).await?).await,
        None => Err(StoreError::Forgotten { pass }),
    }
}

/// The plan of a pass that ran, from what it decided.
///
/// # Errors
/// When the database fails.
pub async fn plan_of_pass(store: &Store, row: &PassRow, operations: &[Sent]) -> Result<Plan, StoreError> {
    let findings = match row.hold {
        Some(hold) => store.findings(hold).await?,
        None => Vec::new(),
    };
    Ok(Plan {
        tenant: row.tenant.to_string(),
        kind: row.kind,
        made_at: row.started_at.to_string(),
        since: row.watermark_before.filter(|_| row.kind == PassKind::Delta).map(|since| since.to_string()),
        mapping_digest: row.mapping_digest.clone().unwrap_or_default(),
        digest: row.digest.clone().unwrap_or_default(),
        users_read: row.totals.users_read,
        unreadable: row.totals.unreadable,
        missing: row.totals.missing,
        complete: row.complete,
        findings,
        changes: operations.iter().map(change).collect(),
    })
}

/// What is still held of the hold whose digest starts with `digest`, of one tenant or of any; `None` when there is
/// none.
///
/// # Errors
/// When the database fails.
pub async fn held_plans(
    store: &Store,
    tenant: Option<&TenantId>,
    digest: &str,
) -> Result<Vec<(Hold, Plan)>, StoreError> {
    let mut plans = Vec::new();
    for hold in store.holds(tenant).await? {
        if !hold.digest.starts_with(digest) {
            continue;
        }
        let mut plan = plan_of(store, hold.pass).await?;
        plan.digest.clone_from(&hold.digest);
        plan.findings.clone_from(&hold.findings);
        let held = store.operations_of_hold(hold.id).await?;
        plan.changes = held.iter().map(change).map(|change| Change { already: None, ..change }).collect();
        plans.push((hold, plan));
    }
    Ok(plans)
}

/// What an operation changes, and where it stands.
pub(super) fn change(sent: &Sent) -> Change {
    Change { already: Already::of(sent.state), ..Change::from(&sent.operation) }
}
