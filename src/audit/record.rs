//! What the audit tells of: ids, counts and digests, never a name, a mail address or a secret.
//!
//! A new event is one more variant: its fields stand in the line in this order. A field is never renamed, and its
//! meaning never changed; files of years ago are read with today's program.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Hash;
use crate::model::{Cause, Kind, Role, TeamId, TenantId, UserId};

/// One thing that was done. `operator` is the numeric user id of the process that asked for it; `None` where the
/// system does not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// The tenant has accepted a change of one user.
    ChangeApplied {
        /// Where.
        tenant: TenantId,
        /// Who was changed.
        user: UserId,
        /// The operation's row.
        operation: i64,
        /// What was changed.
        kind: Kind,
        /// Why.
        cause: Cause,
        /// Managed teams that he has gained.
        teams_added: BTreeSet<TeamId>,
        /// Managed teams that he has lost.
        teams_removed: BTreeSet<TeamId>,
        /// His HR roles that a rule names.
        roles: BTreeSet<Role>,
        /// The digest of the mapping that it was decided by; `None` when its pass has been forgotten.
        mapping: Option<String>,
        /// The pass that decided it.
        pass: i64,
        /// Which attempt it was that succeeded, from 1.
        attempt: u32,
        /// By which the vendor's support finds the call: the tenant's correlation id.
        request_id: Option<String>,
        /// Whether the user was read back and showed the change; `None` when nobody looked, or could tell.
        verified: Option<bool>,
    },
    /// The tenant has accepted what a file says of one user.
    UserWritten {
        /// Where.
        tenant: TenantId,
        /// Who was created or changed.
        user: UserId,
        /// By which HR knows him, if he was created.
        external_id: Option<String>,
        /// The operation's row.
        operation: i64,
        /// What was written.
        kind: Kind,
        /// Why.
        cause: Cause,
        /// The names of the attributes that were written, never their values.
        attributes: BTreeSet<String>,
        /// The pass of the run.
        pass: i64,
        /// Which attempt it was that succeeded, from 1.
        attempt: u32,
        /// By which the vendor's support finds the call: the tenant's correlation id.
        request_id: Option<String>,
        /// His creation was not answered, and a look-up has found him: the last attempt that may have created him counts.
        #[serde(default)]
        looked_up: bool,
    },
    /// The tenant has not accepted it, and it was given up.
    UserNotWritten {
        /// Where.
        tenant: TenantId,
        /// Who was to be created or changed.
        user: UserId,
        /// The operation's row.
        operation: i64,
        /// What was to be written.
        kind: Kind,
        /// Why.
        cause: Cause,
        /// The pass of the run.
        pass: i64,
        /// The last attempt, from 1.
        attempt: u32,
        /// The HTTP status of the last answer, if there was one.
        status: Option<u16>,
        /// By which the vendor's support finds the call: the tenant's correlation id.
        request_id: Option<String>,
    },
    /// A bulk request was carried out, or part of it. The fields are the documents' own.
    #[serde(rename = "SYNC_SUCCESS", rename_all = "camelCase")]
    SyncSuccess {
        /// Where.
        tenant: TenantId,
        /// The tenant's name for it; `None` when it was answered at once.
        job_id: Option<String>,
        /// Operations that were in it.
        user_count: u64,
        /// From its submission on, milliseconds.
        latency_ms: u64,
        /// Nothing.
        error: Option<String>,
    },
    /// A bulk request, or part of it, came to nothing. The fields are the documents' own.
    #[serde(rename = "SYNC_FAILURE", rename_all = "camelCase")]
    SyncFailure {
        /// Where.
        tenant: TenantId,
        /// The tenant's name for it; `None` when it has none.
        job_id: Option<String>,
        /// Operations that were in it.
        user_count: u64,
        /// From its submission on, milliseconds.
        latency_ms: u64,
        /// What became of it, in a word or two.
        error: Option<String>,
    },
    /// A change of one user was sent, and the tenant did not say whether it was done; nor could it be seen, before something
    /// else was decided for him, or it was given up.
    ChangeUnclear {
        /// Where.
        tenant: TenantId,
        /// Who may have been changed.
        user: UserId,
        /// The operation's row.
        operation: i64,
        /// What was to be changed.
        kind: Kind,
        /// Why.
        cause: Cause,
        /// Managed teams that he may have gained.
        teams_added: BTreeSet<TeamId>,
        /// Managed teams that he may have lost.
        teams_removed: BTreeSet<TeamId>,
        /// His HR roles that a rule names.
        roles: BTreeSet<Role>,
        /// The digest of the mapping that it was decided by; `None` when its pass has been forgotten.
        mapping: Option<String>,
        /// The pass that decided it.
        pass: i64,
        /// The last attempt that may have done it, from 1.
        attempt: u32,
    },
    /// A held pass may be delivered.
    Approved {
        /// Whose.
        tenant: TenantId,
        /// Of the plan.
        digest: String,
        /// The pass that was held.
        pass: i64,
        /// Operations that became ready.
        operations: u64,
        /// Operations that had left the plan since.
        left: u64,
        /// Who approved it.
        operator: Option<u32>,
    },
    /// A held pass is dropped.
    Discarded {
        /// Whose.
        tenant: TenantId,
        /// Of the plan.
        digest: String,
        /// The pass that was held.
        pass: i64,
        /// Operations that were dropped.
        operations: u64,
        /// Operations that had left the plan since.
        left: u64,
        /// Who discarded it.
        operator: Option<u32>,
    },
    /// Dead letters will be sent again.
    DeadLettersReplayed {
        /// The operations' rows.
        operations: Vec<i64>,
        /// Whose; `None` when it was asked for without a tenant.
        tenant: Option<TenantId>,
        /// Who asked for it.
        operator: Option<u32>,
    },
    /// Dead letters were given up for good.
    DeadLettersDiscarded {
        /// The operations' rows.
        operations: Vec<i64>,
        /// Whose; `None` when it was asked for without a tenant.
        tenant: Option<TenantId>,
        /// Who asked for it.
        operator: Option<u32>,
    },
    /// A saved plan became operations.
    PlanApplied {
        /// Whose.
        tenant: TenantId,
        /// Of the plan.
        digest: String,
        /// Users it is to change; for whom it was refused is told by who has no line of his own.
        users: u64,
        /// Who applied it.
        operator: Option<u32>,
    },
    /// Something that is known of a tenant was forgotten on request.
    StateReset {
        /// Whose.
        tenant: TenantId,
        /// What: `watermark`, say.
        what: String,
        /// Who asked for it.
        operator: Option<u32>,
    },
    /// A chain begins.
    Started,
    /// A file goes on where another ended.
    Continued {
        /// The name of the file before, in the same folder.
        after: String,
    },
    /// The last line had no end: a crash had torn it.
    Repaired {
        /// What was done about it.
        repair: Repair,
        /// Length of what was there of the line.
        bytes: u64,
        /// Over these bytes.
        sha256: Hash,
    },
    /// The end of the file is not what was written there. It is left as it is, and the chain goes on after it, from
    /// the last line that is known to be right.
    Resumed {
        /// Damaged lines at the end. Their numbers in the chain count as taken.
        damaged_lines: u64,
        /// Their length, newlines included.
        damaged_bytes: u64,
        /// Over these bytes.
        sha256: Hash,
        /// Lines that are known to have been there, and are not.
        missing_lines: u64,
    },
}

/// What was done about a torn last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Repair {
    /// It was cut off. What it told of had not counted as done yet.
    Dropped,
    /// Nothing but its newline was missing, which was added.
    Completed,
}
