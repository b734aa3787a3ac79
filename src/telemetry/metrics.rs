//! The instruments: what an operator has to notice, as numbers with a name, a unit and a tenant.
//!
//! They are gauges: each says how things stand, not what has happened. docs/LOGGING.md explains them. Nothing is
//! measured here, and no user is told apart.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Gauge, Meter};

use crate::model::TenantId;

/// How things stand with one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Operations that wait to be sent.
    pub ready: u64,
    /// Operations in flight.
    pub leased: u64,
    /// Operations that wait for a new decision.
    pub stale: u64,
    /// Operations that wait for an approval.
    pub held: u64,
    /// Operations that were given up.
    pub dead: u64,
    /// Plans that wait for an approval.
    pub holds: u64,
    /// Users whose record must be read again.
    pub rereads: u64,
    /// Age of the oldest change that is not in the tenant yet; zero when there is none.
    pub change_age: Duration,
    /// Age of the last complete read; `None` before the first.
    pub read_age: Option<Duration>,
    /// The tenant cannot be read.
    pub reading_trouble: bool,
    /// The tenant cannot be written to.
    pub delivery_trouble: bool,
}

/// The instruments; cheap to clone.
#[derive(Clone, Debug)]
pub struct Gauges {
    operations: Gauge<u64>,
    holds: Gauge<u64>,
    rereads: Gauge<u64>,
    change_age: Gauge<f64>,
    read_age: Gauge<f64>,
    trouble: Gauge<u64>,
}

impl Gauges {
    /// The instruments of `meter`.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let count = |name: &'static str, unit: &'static str, meaning: &'static str| {
            meter.u64_gauge(name).with_unit(unit).with_description(meaning).build()
        };
        let age = |name: &'static str, meaning: &'static str| {
            meter.f64_gauge(name).with_unit("s").with_description(meaning).build()
        };
        Self {
            operations: count("rosterd.operations", "{operation}", "Operations that are not done, by state"),
            holds: count("rosterd.holds", "{hold}", "Plans that wait for an approval"),
            rereads: count("rosterd.rereads", "{user}", "Users whose record must be read again"),
            change_age: age("rosterd.change.age", "Age of the oldest change that is not in the tenant yet"),
            read_age: age("rosterd.read.age", "Age of the last complete read"),
            trouble: count("rosterd.trouble", "1", "1 while a part of the work is in trouble, 0 otherwise"),
        }
    }

    /// Sets all instruments for `tenant`. An age that nobody knows is left out.
    pub fn record(&self, tenant: &TenantId, measured: &Measured) {
        let tenant = KeyValue::new("tenant", tenant.as_str().to_owned());
        let with = |key: &'static str, word: &'static str| [tenant.clone(), KeyValue::new(key, word)];
        for (state, operations) in [
            ("ready", measured.ready),
            ("leased", measured.leased),
            ("stale", measured.stale),
            ("held", measured.held),
            ("dead", measured.dead),
        ] {
            self.operations.record(operations, &with("state", state));
        }
        for (part, trouble) in
            [("reading", measured.reading_trouble), ("delivery", measured.delivery_trouble)]
        {
            self.trouble.record(u64::from(trouble), &with("part", part));
        }
        let only = std::slice::from_ref(&tenant);
        self.holds.record(measured.holds, only);
        self.rereads.record(measured.rereads, only);
        self.change_age.record(measured.change_age.as_secs_f64(), only);
        if let Some(age) = measured.read_age {
            self.read_age.record(age.as_secs_f64(), only);
        }
    }
}
