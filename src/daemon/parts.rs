//! What all tenants of a process share.

use super::watch::Watch;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::telemetry::metrics::Gauges;

/// What all tenants share.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The wall clock and the monotonic one.
    pub clock: Clock,
    /// Jitter.
    pub chance: Chance,
    /// Where whoever watches finds the tenants that run.
    pub watch: Watch,
    /// Where the daemon measures to; `None` when no metrics are exported.
    pub gauges: Option<Gauges>,
}

impl Default for Parts {
    /// The machine's clock, real chance, nobody watching yet and nothing measured.
    fn default() -> Self {
        Self { clock: Clock::system(), chance: Chance::system(), watch: Watch::default(), gauges: None }
    }
}
