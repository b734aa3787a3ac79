//! The composition root: settings become running parts, passes follow their schedules, and signals end it.

mod apply;
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
mod rules;
mod run;
mod schedule;
mod sync;
mod tenant;
mod watch;

pub use apply::{ApplyEnd, apply};
pub use cadence::{History, next_pass, remap_due};
pub use lifecycle::{Signals, StopOnSignal};
pub use parts::Parts;
pub use pass::Passes;
pub use plans::{held_plans, plan_of_pass};
pub use preview::{PreviewError, preview};
pub use report::{Applied, PassError, Refused, Report};
pub use run::{Ended, Reload, RunError, run};
pub use sync::{SyncEnd, sync};
pub use tenant::Tenant;
pub use watch::{Watch, Watched};
