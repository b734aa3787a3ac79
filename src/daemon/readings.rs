//! What a pass has read, before its end.

use std::collections::BTreeSet;

use crate::model::{Finding, PassResult, Since, Timestamp, UserId};
use crate::store::PassTotals;

/// What a pass has read.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is found or not, independently of the others")]
pub(super) struct Readings {
    pub(super) totals: PassTotals,
    /// A list was read completely.
    pub(super) complete: bool,
    pub(super) watermark: Option<Timestamp>,
    /// Why users may have been missed.
    pub(super) incomplete: Option<&'static str>,
    /// Users whose record could not be read, as far as they are known and few enough to be read one by one.
    pub(super) unreadable: BTreeSet<UserId>,
    /// There are more.
    pub(super) unreadable_lost: bool,
    pub(super) sweep_wanted: bool,
    pub(super) since: Option<Since>,
    pub(super) gone: Vec<UserId>,
    /// Known users whom the list did not show and who are asked for after the pass.
    pub(super) later: Vec<UserId>,
    /// Users with an operation in flight when a remap looked them up.
    pub(super) in_flight: Vec<UserId>,
    /// Known users whom the list did not show are too many to be asked for.
    pub(super) missing: bool,
    /// What the guard objects to.
    pub(super) findings: Vec<Finding>,
}

impl Readings {
    /// All was read and may be done, or not.
    pub(super) fn result(&self) -> PassResult {
        if self.reason().is_some() { PassResult::Degraded } else { PassResult::Ok }
    }

    /// Why it is not ok.
    pub(super) fn reason(&self) -> Option<String> {
        let findings: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        let unreadable = self.totals.unreadable > 0;
        if findings.is_empty() {
            self.incomplete
                .or_else(|| unreadable.then_some("records could not be read, and will be read again"))
                .map(ToOwned::to_owned)
        } else {
            Some(format!("held: {}", findings.join("; ")))
        }
    }

    /// Users may have been missed: the watermark stays.
    pub(super) fn incomplete(&mut self, reason: &'static str, sweep: bool) {
        self.incomplete = Some(reason);
        self.complete = false;
        self.watermark = None;
        self.sweep_wanted |= sweep;
    }
}
