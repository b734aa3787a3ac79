//! The composition root: settings become running parts, passes follow their schedules, and signals end it.

mod apply;
mod ask;
mod audit;
mod cadence;
mod connect;
mod lifecycle;
mod observed;
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
mod schedule;
mod sync;
mod tenant;
mod watch;

pub use apply::{ApplyEnd, apply};
pub use ask::{AskError, Left, ask, leave, operator};
pub use audit::{OpenAuditError, audit_head, open_audit};
pub use cadence::{History, next_pass, remap_due};
pub use lifecycle::{Signals, StopOnSignal};
pub use parts::Parts;
pub use pass::Passes;
pub use plans::{held_plans, plan_of_pass};
pub use preview::{PreviewError, preview};
pub use report::{Applied, Blame, PassError, Refused, Report};
pub use requests::{Answer, Ask, Clerk, find_hold};
pub use run::{Ended, Reload, RunError, run};
pub use sync::{SyncEnd, sync, sync_beside};
pub use tenant::Tenant;
pub use watch::{Watch, Watched};
