//! One pass, then delivery until nothing waits: the daemon's own parts, run once.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::ask::{AskError, Left};
use super::cadence::{History, next_pass};
use super::observed::observed_pass;
use super::report::{PassError, Report};
use super::requests::Answer;
use super::tenant::Tenant;
use crate::clock::Clock;
use crate::deliver::{Drained, Trouble};
use crate::model::{PassKind, TenantId};
use crate::scim::Limiter;
use crate::store::{OperationCounts, Store, StoreError, UnfinishedRun};

/// What is in flight gets this long when time is up.
const GRACE: Duration = Duration::from_secs(30);

/// How a sync of one tenant ended.
#[derive(Debug)]
pub struct SyncEnd {
    /// The pass.
    pub report: Report,
    /// The remap after it, if the mapping has changed and the list was read completely.
    pub remap: Option<Report>,
    /// Operations delivered.
    pub delivered: u64,
    /// What is in the outbox now.
    pub operations: OperationCounts,
    /// Operations that wait for an approval.
    pub held: u64,
    /// Operations that still have to be sent, and users who still have to be read again.
    pub open: u64,
    /// Files that are not carried out to their end.
    pub unfinished: Vec<UnfinishedRun>,
    /// What is wrong with the tenant, if it was when we ended.
    pub trouble: Option<Trouble>,
}

/// Runs one pass of `tenant` (a sweep if `full`, or if one is due), then delivers until no operation is open,
/// for `wait` at most after the pass, or until told to stop.
///
/// # Errors
/// When the pass came to nothing, or the database fails.
pub async fn sync(
    tenant: &mut Tenant,
    store: &Store,
    clock: &Clock,
    full: bool,
    wait: Duration,
    stop: &CancellationToken,
) -> Result<SyncEnd, PassError> {
    let ended = pass_and_deliver(tenant, store, clock, full, wait, stop).await;
    tenant.condition.end().await;
    ended
}

async fn pass_and_deliver(
    tenant: &mut Tenant,
    store: &Store,
    clock: &Clock,
    full: bool,
    wait: Duration,
    stop: &CancellationToken,
) -> Result<SyncEnd, PassError> {
    tenant.passes.see_mapping().await?;
    let kind = if full { PassKind::Sweep } else { delta_or_sweep(tenant, store).await? };
    let report = run(tenant, kind, store, clock, stop).await?;
    let remap = if report.complete && tenant.passes.remap_due().await? {
        Some(run(tenant, PassKind::Remap, store, clock, stop).await?)
    } else {
        None
    };
    let trouble = deliver(tenant, store, clock, clock.instant() + wait, stop).await?;
    Ok(SyncEnd {
        report,
        remap,
        delivered: tenant.vitals.delivered.get(),
        operations: store.operation_counts(&tenant.name).await?,
        held: held(store, &tenant.name).await?,
        unfinished: store.left_of_runs(&tenant.name).await?,
        open: store.open_work(&tenant.name).await?,
        trouble,
    })
}

/// The same through the owner of the database, who was asked by `left`.
///
/// # Errors
/// When the pass came to nothing, the owner is gone before all is delivered, or the database fails.
pub async fn sync_beside(
    tenant: &TenantId,
    left: &Left,
    store: &Store,
    clock: &Clock,
    wait: Duration,
    stop: &CancellationToken,
) -> Result<SyncEnd, AskError> {
    let Answer::Synced { report, remap } = left.follow(store, clock, stop).await? else {
        return Err(AskError::Words);
    };
    let (open, trouble) = left.delivered(store, tenant, wait, clock, stop).await?;
    Ok(SyncEnd {
        report: *report,
        remap: remap.map(|remap| *remap),
        delivered: store.delivered_since(tenant, left.at).await?,
        operations: store.operation_counts(tenant).await?,
        held: held(store, tenant).await?,
        unfinished: store.left_of_runs(tenant).await?,
        open,
        trouble,
    })
}

async fn held(store: &Store, tenant: &TenantId) -> Result<u64, StoreError> {
    Ok(store.holds(Some(tenant)).await?.iter().map(|hold| hold.held).sum())
}

/// Runs one pass, until told to stop.
async fn run(
    tenant: &Tenant,
    kind: PassKind,
    store: &Store,
    clock: &Clock,
    stop: &CancellationToken,
) -> Result<Report, PassError> {
    tokio::select! {
        report = observed_pass(&tenant.passes, &tenant.condition, kind) => report,
        () = stopped(tenant, stop) => {
            store.break_off(&tenant.name, clock.now()).await?;
            Err(PassError::Stopped)
        }
    }
}

/// Delivers, reads a list when what waits may be old, and reads again whoever has to be, until nothing of it is
/// left to do, it is late, or we are told to stop.
async fn deliver(
    tenant: &mut Tenant,
    store: &Store,
    clock: &Clock,
    deadline: Instant,
    stop: &CancellationToken,
) -> Result<Option<Trouble>, PassError> {
    loop {
        let kind = match drain(tenant, deadline, stop).await {
            Drained::Unlisted => delta_or_sweep(tenant, store).await?,
            // What an interrupted run has left for bulk requests; what comes back of them may be sent by itself.
            Drained::Empty if store.bulk_waits(&tenant.name).await? => {
                match drain_bulk(tenant, deadline, stop).await {
                    Drained::Empty => continue,
                    _ => return Ok(tenant.condition.trouble()),
                }
            }
            Drained::Empty if store.rereads(&tenant.name, 1, clock.now()).await?.is_empty() => {
                return Ok(None);
            }
            Drained::Empty | Drained::Stale => PassKind::Reread,
            Drained::Refused(_) | Drained::Stopped => return Ok(tenant.pump.trouble()),
        };
        tokio::select! {
            report = observed_pass(&tenant.passes, &tenant.condition, kind) => {
                report?;
            }
            () = over(deadline, stop) => {
                tenant.client.limiter().close();
                store.break_off(&tenant.name, clock.now()).await?;
                return Ok(None);
            }
        }
    }
}

/// Delivers until nothing waits, it is late, or we are told to stop. What is in flight then and cannot be finished is
/// sent again by the next owner.
pub(super) async fn drain(tenant: &mut Tenant, deadline: Instant, stop: &CancellationToken) -> Drained {
    let late = CancellationToken::new();
    let limiter = tenant.client.limiter().clone();
    in_time(tenant.pump.drain(&late), (&late, &limiter), deadline, stop).await
}

/// The same for what is to be sent in bulk requests. One that is under way then is asked about by the next owner.
async fn drain_bulk(tenant: &mut Tenant, deadline: Instant, stop: &CancellationToken) -> Drained {
    let late = CancellationToken::new();
    let limiter = tenant.client.limiter().clone();
    in_time(tenant.bulk.drain(&late), (&late, &limiter), deadline, stop).await
}

async fn in_time(
    drain: impl Future<Output = Drained>,
    (late, limiter): (&CancellationToken, &Limiter),
    deadline: Instant,
    stop: &CancellationToken,
) -> Drained {
    tokio::pin!(drain);
    tokio::select! {
        drained = &mut drain => drained,
        () = over(deadline, stop) => {
            late.cancel();
            limiter.close();
            timeout(GRACE, drain).await.unwrap_or(Drained::Stopped)
        }
    }
}

/// Resolves when it is late, or when told to stop.
async fn over(deadline: Instant, stop: &CancellationToken) {
    drop(timeout_at(deadline, stop.cancelled()).await);
}

/// Resolves when told to stop, after closing the gate for calls.
async fn stopped(tenant: &Tenant, stop: &CancellationToken) {
    stop.cancelled().await;
    tenant.client.limiter().close();
}

async fn delta_or_sweep(tenant: &Tenant, store: &Store) -> Result<PassKind, StoreError> {
    let state = store.tenant(&tenant.name).await?;
    Ok(next_pass(&History::of(&state, None)))
}
