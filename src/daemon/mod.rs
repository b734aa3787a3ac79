//! The composition root: settings become running parts, passes follow their schedules, and signals end it.

mod apply;
mod ask;
mod audit;
mod cadence;
mod connect;
mod explain;
mod force;
mod lifecycle;
mod measure;
mod observed;
mod owner;
mod parts;
mod pass;
mod plans;
mod preview;
mod reader;
mod readings;
mod report;
mod requests;
mod rules;
mod run;
mod runs;
mod schedule;
mod sync;
mod tenant;
mod watch;

pub use apply::{ApplyEnd, apply, apply_beside};
pub use ask::{AskError, Left, ask, leave, operator};
pub use audit::{OpenAuditError, audit_head, open_audit};
pub use cadence::{History, next_pass, remap_due};
pub use explain::{Explained, RuleHit, Standing, explain, explain_known};
pub use force::{NotInForce, not_in_force};
pub use lifecycle::{Signals, StopOnSignal};
pub use owner::{Ownership, own_or_ask};
pub use parts::Parts;
pub use pass::Passes;
pub use plans::{held_plan, plan_of_pass};
pub use preview::{PreviewError, preview};
pub use report::{Applied, Blame, PassError, Refused, Report};
pub use requests::{Answer, Ask, Clerk, Undone, find_hold};
pub use run::{Ended, Reload, RunError, run};
pub use runs::{
    Carried, ImportError, Imported, Input, LastWord, MOST_REFUSALS, NotDeactivated, Patience, PlanFailure,
    PlannedRun, RunEnd, RunFailure, RunOptions, RunPolicy, RunSettings, Runner, Wish, carry_out, export,
    import, may_begin, plan_run,
};
pub use sync::{SyncEnd, sync, sync_beside};
pub use tenant::Tenant;
pub use watch::{Watch, Watched};
