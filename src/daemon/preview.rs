//! What a pass would do, without a store: the same reading and the same decisions, rendered.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tracing::warn;

use super::cadence::{History, next_pass, remap_due};
use super::connect::{client, list_settings};
use super::parts::Parts;
use super::report::PassError;
use crate::config::TenantSettings;
use crate::model::{PassKind, Timestamp, UserId};
use crate::plan::{self, Change, Plan};
use crate::source::{Reading, UserList};
use crate::store::TenantState;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// No client could be made.
    #[error("no HTTPS client: {0}; are the CA certificates installed?")]
    Client(#[from] reqwest::Error),
    /// The users could not be read.
    #[error(transparent)]
    Pass(#[from] PassError),
}

/// Plans one tenant, from what the database knows of it (the default if there is none), with a sweep if
/// `full` or if one is due.
///
/// # Errors
/// When the users cannot be read.
pub async fn preview(
    settings: &TenantSettings,
    state: &TenantState,
    full: bool,
    parts: &Parts,
) -> Result<Plan, PreviewError> {
    let client = client(settings, &parts.clock)?;
    let list = list_settings(settings);
    let all = full || remap_due(state, &settings.mapping.digest());
    let kind = if all { PassKind::Sweep } else { next_pass(&History::of(state, None)) };
    let since = state.watermark.filter(|_| kind == PassKind::Delta);
    let mut users = UserList::new(&client, &list, since, &parts.clock, parts.chance);
    let mut seen: HashMap<UserId, Option<Timestamp>> = HashMap::new();
    let mut changes = BTreeMap::new();
    let mut plan = Plan {
        tenant: settings.name.to_string(),
        kind: kind.as_str(),
        since: since.map(|since| since.to_string()),
        users_read: 0,
        unreadable: 0,
        complete: false,
        changes: Vec::new(),
    };
    while let Some(batch) = users.next().await.map_err(PassError::from)? {
        for at in &batch.unreadable {
            plan.unreadable += 1;
            let user = at.unreadable.id.as_ref().map(tracing::field::display);
            let position = i64::try_from(at.position).unwrap_or(i64::MAX);
            warn!(user, position, reason = %at.unreadable.reason, "record cannot be read");
        }
        let mut new = 0;
        for user in batch.users {
            let before = seen.insert(user.id.clone(), user.last_modified);
            new += u64::from(before.is_none());
            // Of a user who is read twice the later record counts, as in a pass.
            if before.flatten().is_some_and(|before| user.last_modified.is_some_and(|now| now < before)) {
                seen.insert(user.id, before.flatten());
                continue;
            }
            match plan::decide(&user, &settings.mapping, settings.policy, &BTreeSet::new()) {
                Some(operation) => changes.insert(user.id, Change::from(&operation)),
                None => changes.remove(&user.id),
            };
        }
        plan.users_read += new;
        users.new_users(new);
    }
    plan.changes = changes.into_values().collect();
    plan.complete = users.reading() == Reading::Complete;
    Ok(plan)
}
