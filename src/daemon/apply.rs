//! A reviewed plan, carried out: one pass that takes its changes as they are, then delivery of these and of nothing
//! else.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ask::{AskError, Left, operator};
use super::report::Applied;
use super::requests::{Answer, Clerk, Undone};
use super::sync::drain;
use super::tenant::Tenant;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::deliver::Trouble;
use crate::model::TenantId;
use crate::plan::Plan;
use crate::store::{Sent, Store};

/// How a reviewed plan was carried out.
#[derive(Debug)]
pub struct ApplyEnd {
    /// Who is changed, and who is not.
    pub applied: Applied,
    /// What has become of the changes so far, by user.
    pub operations: Vec<Sent>,
    /// What is wrong with the tenant, if it was when we ended.
    pub trouble: Option<Trouble>,
}

/// Carries out `plan`, for `wait` at most after its users have been read, or until told to stop. What waits in the
/// outbox from elsewhere is left to wait: nobody has looked at those users.
///
/// # Errors
/// When the pass came to nothing, or the database fails.
pub async fn apply(
    tenant: &mut Tenant,
    (store, audit): (&Store, &Audit),
    clock: &Clock,
    plan: &Plan,
    wait: Duration,
    stop: &CancellationToken,
) -> Result<ApplyEnd, Undone> {
    tenant.passes.see_mapping().await?;
    let clerk = Clerk {
        tenant: &tenant.name,
        passes: &tenant.passes,
        condition: &tenant.condition,
        store,
        audit,
        clock,
        stop,
        request: None,
    };
    let applied = clerk.apply(plan, Some(operator())).await?;
    tenant.pump.only(applied.report.id);
    // Whom it changes was read just now, one by one.
    tenant.condition.list_read().await;
    drain(tenant, clock.instant() + wait, stop).await;
    let operations = store.operations_of_pass(applied.report.id).await?;
    let trouble = tenant.pump.trouble();
    tenant.condition.end().await;
    Ok(ApplyEnd { applied, operations, trouble })
}

/// The same through the owner of the database, who was asked by `left` and delivers it with all that waits.
///
/// # Errors
/// When the pass came to nothing, the owner is gone before all is delivered, or the database fails.
pub async fn apply_beside(
    left: &Left,
    tenant: &TenantId,
    store: &Store,
    clock: &Clock,
    wait: Duration,
    stop: &CancellationToken,
) -> Result<ApplyEnd, AskError> {
    let Answer::Applied { applied } = left.follow(store, clock, stop).await? else {
        return Err(AskError::Words);
    };
    let pass = applied.report.id;
    let (_, trouble) = left.pass_delivered(store, (tenant, pass), wait, clock, stop).await?;
    Ok(ApplyEnd { applied: *applied, operations: store.operations_of_pass(pass).await?, trouble })
}
