//! What all tenants of a process share.

use super::watch::Watch;
use crate::chance::Chance;
use crate::clock::Clock;

/// What all tenants share.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The wall clock and the monotonic one.
    pub clock: Clock,
    /// Jitter.
    pub chance: Chance,
    /// Where whoever watches finds the tenants that run.
    pub watch: Watch,
}

impl Default for Parts {
    /// The machine's clock, real chance, and nobody watching yet.
    fn default() -> Self {
        Self { clock: Clock::system(), chance: Chance::system(), watch: Watch::default() }
    }
}
