//! The composition root: settings become running parts, passes follow their schedules, and signals end it.

mod cadence;
mod connect;
mod lifecycle;
mod parts;
mod pass;
mod preview;
mod reading;
mod run;
mod schedule;
mod sync;
mod tenant;
mod watch;

pub use cadence::{History, next_pass};
pub use lifecycle::{Signals, StopOnSignal};
pub use parts::Parts;
pub use pass::{PassError, Passes, Report};
pub use preview::{PreviewError, preview};
pub use run::{Ended, Reload, RunError, run};
pub use sync::{SyncEnd, sync};
pub use tenant::Tenant;
pub use watch::{Watch, Watched};
