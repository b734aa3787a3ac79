//! Errors of the daemon's parts as exit codes.

use super::Exit;
use crate::daemon::{PassError, PreviewError, RunError};
use crate::deliver::Trouble;
use crate::scim::{Failure, Verdict};

/// How a command ends whose pass came to nothing.
#[must_use]
pub fn of_pass(error: &PassError) -> Exit {
    error.failure().map_or(Exit::Failed, of_failure)
}

/// How a command ends that could not plan.
#[must_use]
pub fn of_preview(error: &PreviewError) -> Exit {
    match error {
        PreviewError::Client(_) => Exit::Failed,
        PreviewError::Pass(error) => of_pass(error),
    }
}

/// How the daemon ends that could not run.
#[must_use]
pub const fn of_run(error: &RunError) -> Exit {
    match error {
        RunError::Store(_) | RunError::Client(_) => Exit::Failed,
    }
}

/// How a command ends that leaves a tenant in trouble with something to be sent.
#[must_use]
pub const fn of_trouble(trouble: Option<Trouble>) -> Option<Exit> {
    match trouble {
        Some(Trouble::Unauthorized | Trouble::Forbidden) => Some(Exit::Refused),
        Some(Trouble::Outage) => Some(Exit::Unavailable),
        Some(Trouble::Rejected | Trouble::Gone) | None => None,
    }
}

/// A tenant that answers, but not with what it should, is reached.
fn of_failure(failure: &Failure) -> Exit {
    match failure.verdict {
        Verdict::Unauthorized | Verdict::Forbidden => Exit::Refused,
        Verdict::Unavailable { .. } | Verdict::Throttled { .. }
            if failure.status.is_none_or(|it| it >= 300) =>
        {
            Exit::Unavailable
        }
        _ => Exit::Failed,
    }
}
