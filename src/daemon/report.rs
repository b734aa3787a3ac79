//! How a pass ended, for whoever asked for it and for the log.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::readings::Readings;
use crate::model::{PassKind, PassResult, Timestamp, UserId};
use crate::scim::{Failure, Verdict};
use crate::source::ReadError;
use crate::store::{Committed, Held, PassTotals, StoreError};

/// A pass that was committed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its number.
    pub id: i64,
    /// How much it read.
    pub kind: PassKind,
    /// How it ended.
    pub result: PassResult,
    /// Why it is not ok.
    pub reason: Option<String>,
    /// All that it was to read was read.
    pub complete: bool,
    /// What it did.
    pub totals: PassTotals,
    /// What became of its decisions.
    pub committed: Committed,
}

impl Report {
    /// The digest of its plan, if that is held.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.committed.held.as_ref().map(|held| held.digest.as_str())
    }
}

/// A reviewed plan that was carried out, as far as it was not stale.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// The pass.
    pub report: Report,
    /// Users who are changed as it was reviewed.
    pub users: Vec<UserId>,
    /// Users who were found to be so already: for them there was nothing to do.
    #[serde(default)]
    pub already: Vec<UserId>,
    /// Those who are not.
    pub refused: Vec<Refused>,
}

/// Whom of a reviewed plan a pass does not change.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// They are so already.
    pub(super) already: Vec<UserId>,
    /// They are not what they were, or something stands against it.
    pub(super) refused: Vec<Refused>,
}

/// A change of a reviewed plan that is not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Whose.
    pub user: UserId,
    /// Why not.
    pub why: String,
}

impl Refused {
    pub(super) fn new(user: &UserId, why: &str) -> Self {
        Self { user: user.clone(), why: why.to_owned() }
    }
}

/// A pass that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The users could not be read.
    #[error("users could not be read: {0}")]
    Read(#[from] ReadError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A reviewed plan was made by rules that are neither in force nor configured.
    #[error("the plan was made by another mapping than the one in force: make it anew")]
    OtherMapping,
    /// We were told to stop.
    #[error("stopped before the pass had ended")]
    Stopped,
}

/// Where the fault lies when a pass came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The tenant refuses us.
    Refused,
    /// The tenant cannot be reached.
    Unreachable,
    /// What was asked for does not fit what is known.
    Request,
    /// Anywhere else: a tenant that answers, but not with what it should, is reached.
    Other,
}

/// Where the fault lies when a call has failed for good.
pub(super) fn blame(failure: &Failure) -> Blame {
    match failure.verdict {
        Verdict::Unauthorized | Verdict::Forbidden => Blame::Refused,
        Verdict::Unavailable { .. } | Verdict::Throttled { .. }
            if failure.status.is_none_or(|status| status >= 300) =>
        {
            Blame::Unreachable
        }
        _ => Blame::Other,
    }
}

impl PassError {
    /// Where the fault lies.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self.failure() {
            _ if matches!(self, Self::OtherMapping) => Blame::Request,
            Some(failure) => blame(failure),
            None => Blame::Other,
        }
    }

    /// The answer that ended it, if it was one.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Read(error) => Some(&error.failure),
            Self::Store(_) | Self::OtherMapping | Self::Stopped => None,
        }
    }

    /// It ended because we are stopping.
    #[must_use]
    pub fn stopped(&self) -> bool {
        matches!(self, Self::Stopped)
            || self.failure().is_some_and(|failure| failure.verdict == Verdict::NotSent)
    }
}

/// A number as a log line keeps it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Logs how a pass ended.
pub(super) fn log(
    kind: PassKind,
    ended: &Result<Report, PassError>,
    readings: &Readings,
    before: Option<Timestamp>,
    took: Duration,
) {
    macro_rules! finished {
        ($level:ident, $result:expr, $totals:expr, { $($field:tt)* }) => {
            $level!(
                kind = kind.as_str(),
                result = $result,
                users_read = signed($totals.users_read),
                pages = signed($totals.pages),
                planned = signed($totals.planned),
                skipped = signed($totals.skipped),
                duration_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
                watermark_before = before.map(tracing::field::display),
                watermark_after = readings.watermark.or(before).map(tracing::field::display),
                $($field)*
                "pass finished"
            )
        };
    }
    if let Ok(report) = ended {
        log_more(report);
    }
    match ended {
        Ok(Report { result: PassResult::Ok, totals, .. }) => finished!(info, "ok", totals, {}),
        Ok(Report { result, totals, .. }) => {
            finished!(warn, result.as_str(), totals, { reason = readings.reason(), });
        }
        Err(error) if error.stopped() => info!(kind = kind.as_str(), "pass broken off"),
        Err(error) => {
            let failure = error.failure();
            let correlation_id = failure.and_then(|failure| failure.correlation_id.as_deref());
            let status = failure.and_then(|failure| failure.status).map(i64::from);
            let reason = error.to_string();
            finished!(error, "failed", readings.totals, { status, reason, correlation_id, });
        }
    }
}

fn log_more(report: &Report) {
    let Committed { drift, held, .. } = &report.committed;
    macro_rules! found {
        ($level:ident) => {
            $level!(
                deleted = signed(drift.deleted),
                edited = signed(drift.edited),
                missed = signed(drift.missed),
                "drift found"
            )
        };
    }
    match drift {
        drift if drift.edited + drift.missed > 0 => found!(warn),
        drift if drift.any() => found!(info),
        _ => {}
    }
    let Some(Held { digest, operations, again }) = held else { return };
    let operations = signed(*operations);
    if *again {
        warn!(digest, operations, reason = report.reason, "pass holds what is held already");
    } else {
        error!(digest, operations, reason = report.reason, "pass is held until it is approved or discarded");
    }
}
