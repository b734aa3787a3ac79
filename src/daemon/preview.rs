//! What a sync would do: the same passes, on a copy of the database that nobody keeps.

use std::path::Path;

use super::cadence::{History, next_pass};
use super::connect::client;
use super::parts::Parts;
use super::pass::Passes;
use super::plans::{change, plan_of};
use super::report::PassError;
use crate::config::TenantSettings;
use crate::model::PassKind;
use crate::plan::{Change, Plan};
use crate::store::{Store, StoreError};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// No client could be made.
    #[error("no HTTPS client: {0}; are the CA certificates installed?")]
    Client(#[from] reqwest::Error),
    /// The users could not be read.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Plans one tenant, from what the database at `path` knows of it (nothing, if there is none), with a sweep if
/// `full` or if one is due; the remap after it, and users who have to be read again, as in a sync. What waits already
/// is part of the plan, because a sync sends it.
///
/// # Errors
/// When the users cannot be read, or the database.
pub async fn preview(
    settings: &TenantSettings,
    path: &Path,
    full: bool,
    parts: &Parts,
) -> Result<Plan, PreviewError> {
    let store = Store::scratch(path, &settings.name).await?;
    let client = client(settings, &parts.clock)?;
    let passes = Passes::new(settings, store.clone(), client, parts.clone(), std::sync::Arc::default());
    passes.see_mapping().await?;
    let state = store.tenant(&settings.name).await?;
    let kind = if full { PassKind::Sweep } else { next_pass(&History::of(&state, None)) };
    let list = passes.rehearse(kind).await?;
    let mut plan = plan_of(&store, list.id).await?;
    if list.complete && passes.remap_due().await? {
        let remap = plan_of(&store, passes.rehearse(PassKind::Remap).await?.id).await?;
        if plan.findings.is_empty() {
            plan.digest.clone_from(&remap.digest);
        }
        (plan.kind, plan.mapping_digest) = (remap.kind, remap.mapping_digest);
        plan.findings.extend(remap.findings);
    }
    while !store.rereads(&settings.name, 1, parts.clock.now()).await?.is_empty() {
        let reread = passes.rehearse(PassKind::Reread).await?;
        let again = plan_of(&store, reread.id).await?;
        if plan.findings.is_empty() && !again.findings.is_empty() {
            plan.digest = again.digest;
        }
        plan.findings.extend(again.findings);
        if reread.totals.users_read == 0 {
            break; // whose record is broken is tried again later, and is not waited for
        }
    }
    let open = store.open_operations(&settings.name).await?;
    let of_before = |change: Change, new: bool| Change { already: change.already.filter(|_| !new), ..change };
    plan.changes = open.iter().map(|sent| of_before(change(sent), sent.pass >= list.id)).collect();
    store.close().await;
    Ok(plan)
}
