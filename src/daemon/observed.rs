//! A pass, and what it says about the tenant's health: the one way in which `run` and `sync` run passes.

use super::pass::Passes;
use super::report::{PassError, Report};
use crate::deliver::Condition;
use crate::model::PassKind;

/// Runs a pass. Only one that read a list says that reading works, and lets go what waits for a list: single
/// users who were read again say nothing about all the others.
///
/// # Errors
/// When nothing could be committed.
pub(super) async fn observed_pass(
    passes: &Passes,
    condition: &Condition,
    kind: PassKind,
) -> Result<Report, PassError> {
    let ended = passes.run(kind).await;
    match &ended {
        Ok(_) if matches!(kind, PassKind::Delta | PassKind::Sweep) => condition.list_read().await,
        Err(error) if !error.stopped() => condition.read_failed(error.failure()).await,
        Ok(_) | Err(_) => {}
    }
    ended
}
