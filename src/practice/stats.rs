//! What the tenant has seen: counts that tests and rehearsals ask for.

use std::collections::BTreeMap;

use serde::Serialize;

use super::faults::Fault;

/// Counts since the start; calls to `/practice/…` are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Calls by method and class of path: `"PATCH /Users/{id}"`, `"POST /oauth/token"`.
    pub requests: BTreeMap<String, u64>,
    /// Answers by status; calls that got none are not here.
    pub statuses: BTreeMap<u16, u64>,
    /// Calls to which each fault happened.
    pub faults: BTreeMap<Fault, u64>,
    /// PATCH calls that were understood and changed nothing.
    pub patches_without_effect: u64,
    /// Calls that the rate limit turned away with 429.
    pub rate_limited: u64,
    /// Users in all lists together.
    pub users_listed: u64,
    /// `externalId`s with a create that was carried out although the user was there already.
    pub creates_repeated: u64,
    /// What came in bulk.
    pub bulk: BulkCounts,
    /// Calls in flight now.
    pub in_flight: u64,
    /// The most calls that were in flight at once.
    pub peak_in_flight: u64,
}

/// What came in bulk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BulkCounts {
    /// Bulk requests that were taken.
    pub jobs: u64,
    /// Their operations that were carried out, whatever their results.
    pub operations: u64,
}

impl Stats {
    /// How many calls there were of a class, such as `"PATCH /Users/{id}"`.
    #[must_use]
    pub fn count(&self, class: &str) -> u64 {
        self.requests.get(class).copied().unwrap_or(0)
    }

    /// How many answers had this status.
    #[must_use]
    pub fn status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    pub(super) fn enter(&mut self, class: String) {
        *self.requests.entry(class).or_default() += 1;
        self.in_flight += 1;
        self.peak_in_flight = self.peak_in_flight.max(self.in_flight);
    }

    pub(super) fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub(super) fn answered(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
    }

    pub(super) fn befell(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }
}
