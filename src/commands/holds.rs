//! What is held, for `status`: so that nobody overlooks it, and as the plan that it is.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::outcome::{ago, short};
use super::{CommandError, Exit, answer};
use crate::daemon::{self, find_hold};
use crate::model::{DigestPrefix, TenantId, Timestamp, counted};
use crate::store::{Hold, Store};

/// In words, and what may be done about it.
pub(super) fn text(hold: &Hold, now: Timestamp) -> String {
    let digest = short(&hold.digest);
    let mut out = format!(
        "  HELD PLAN {digest} of pass {}, since {}: {} of {}\n",
        hold.pass,
        ago(hold.created_at, now),
        hold.held,
        counted(hold.operations, "operation", "operations")
    );
    for finding in &hold.findings {
        let _ = writeln!(out, "    {finding}");
    }
    if hold.missing > 0 {
        let users = counted(hold.missing, "known user is still missing", "known users are still missing");
        let _ = writeln!(out, "    {users}");
    }
    if hold.mapping_digest.is_some() {
        out.push_str("    the configured mapping comes into force with its approval\n");
    }
    let _ = writeln!(
        out,
        "    `rosterd status --held {digest}` shows it; `rosterd approve {digest}` or `rosterd discard {digest}` ends it"
    );
    out
}

/// The same for scripts.
pub(super) fn value(hold: &Hold) -> Value {
    let finding = |finding: &crate::model::Finding| {
        json!({
            "limit": finding.limit,
            "team": finding.team,
            "found": finding.found,
            "of": finding.of,
            "allowed": finding.allowed,
            "window_seconds": finding.window_seconds,
            "deactivations": finding.deactivations,
            "text": finding.to_string(),
        })
    };
    json!({
        "digest": hold.digest,
        "since": hold.created_at.to_string(),
        "pass": hold.pass,
        "operations": hold.operations,
        "held": hold.held,
        "missing": hold.missing,
        "findings": hold.findings.iter().map(finding).collect::<Vec<_>>(),
        "mapping_digest": hold.mapping_digest,
    })
}

/// `status --held DIGEST`: what is still held of that plan.
pub(super) async fn show(
    store: &Store,
    tenant: Option<&TenantId>,
    digest: &DigestPrefix,
    now: Timestamp,
    as_json: bool,
) -> Result<Exit, CommandError> {
    let holds = store.holds(tenant).await?;
    let hold = find_hold(&holds, digest).map_err(CommandError::NotHeld)?;
    let plan = daemon::held_plan(store, hold).await?;
    answer(&if as_json {
        format!("{:#}\n", json!({ "hold": value(hold), "plan": plan }))
    } else {
        plan.to_text() + &text(hold, now)
    })?;
    Ok(Exit::Done)
}
