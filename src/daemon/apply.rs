//! A reviewed plan, carried out: one pass that takes its changes as they are, then delivery of these and of nothing
//! else.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::report::{Applied, PassError};
use super::sync::drain;
use super::tenant::Tenant;
use crate::clock::Clock;
use crate::deliver::Trouble;
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
    store: &Store,
    clock: &Clock,
    plan: &Plan,
    wait: Duration,
    stop: &CancellationToken,
) -> Result<ApplyEnd, PassError> {
    tenant.passes.see_mapping().await?;
    let applied = tokio::select! {
        applied = tenant.passes.apply(plan) => applied?,
        () = stop.cancelled() => {
            tenant.client.limiter().close();
            store.break_off(&tenant.name, clock.now()).await?;
            return Err(PassError::Stopped);
        }
    };
    tenant.pump.only(applied.report.id);
    // Whom it changes was read just now, one by one.
    tenant.condition.list_read().await;
    drain(tenant, clock.instant() + wait, stop).await;
    let operations = store.operations_of_pass(applied.report.id).await?;
    let trouble = tenant.pump.trouble();
    tenant.condition.end().await;
    Ok(ApplyEnd { applied, operations, trouble })
}
