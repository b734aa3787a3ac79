//! Which pass comes next. Pure.

use crate::model::{PassKind, Since, Timestamp};
use crate::store::TenantState;

/// What decides it.
#[derive(Clone, Copy, Debug, Default)]
pub struct History {
    /// How far the tenant has been read.
    pub watermark: Option<Timestamp>,
    /// When the last sweep that was committed began.
    pub last_sweep: Option<Timestamp>,
    /// The last moment at which the schedule asked for a sweep.
    pub sweep_asked: Option<Timestamp>,
    /// A pass found that only a sweep can be trusted.
    pub sweep_wanted: bool,
    /// The tenant cannot say who has changed.
    pub since_broken: bool,
    /// No mapping has been applied to all users yet.
    pub mapping_unknown: bool,
}

impl History {
    /// What the database knows of a tenant, beside the last moment at which its schedule asked for a sweep.
    #[must_use]
    pub fn of(state: &TenantState, sweep_asked: Option<Timestamp>) -> Self {
        Self {
            watermark: state.watermark,
            last_sweep: state.last_sweep,
            sweep_asked,
            sweep_wanted: state.sweep_wanted,
            since_broken: state.since == Some(Since::Broken),
            mapping_unknown: state.mapping_digest.is_none(),
        }
    }
}

/// A delta pass, unless a sweep is due: because nothing has been read yet, because a pass asked for one,
/// because the tenant cannot say who has changed, or because its time has come since the last.
#[must_use]
pub fn next_pass(history: &History) -> PassKind {
    let overdue = history.sweep_asked.is_some_and(|asked| history.last_sweep.is_none_or(|last| last < asked));
    if history.watermark.is_none()
        || history.sweep_wanted
        || history.mapping_unknown
        || history.since_broken
        || overdue
    {
        PassKind::Sweep
    } else {
        PassKind::Delta
    }
}

/// Whether all users have to be decided anew by the mapping `configured`, because it is not the one in force, or
/// because some were decided otherwise before it came into force. A remap that is held or was discarded is not
/// repeated by itself.
#[must_use]
pub fn remap_due(state: &TenantState, configured: &str) -> bool {
    let changed = state.mapping_digest.as_deref().is_some_and(|in_force| in_force != configured);
    state.remap_wanted || (changed && state.mapping_settled.as_deref() != Some(configured))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_sweep_runs_when_there_is_a_reason_and_a_delta_pass_otherwise() {
        let settled = History {
            watermark: Some(at(90)),
            last_sweep: Some(at(50)),
            sweep_asked: Some(at(40)),
            ..History::default()
        };
        assert_eq!(next_pass(&settled), PassKind::Delta);
        for reason in [
            History { watermark: None, ..settled },
            History { sweep_wanted: true, ..settled },
            History { since_broken: true, ..settled },
            History { mapping_unknown: true, ..settled },
            History { sweep_asked: Some(at(60)), ..settled },
            History { last_sweep: None, ..settled },
        ] {
            assert_eq!(next_pass(&reason), PassKind::Sweep, "{reason:?}");
        }
    }

    #[test]
    fn a_changed_mapping_asks_for_a_remap_once() {
        let state = |in_force: Option<&str>, settled: Option<&str>, wanted| TenantState {
            mapping_digest: in_force.map(ToOwned::to_owned),
            mapping_settled: settled.map(ToOwned::to_owned),
            remap_wanted: wanted,
            ..TenantState::default()
        };
        for (in_force, settled, wanted, due) in [
            (None, None, false, false),
            (Some("new"), None, false, false),
            (Some("old"), None, false, true),
            (Some("old"), Some("new"), false, false),
            (Some("old"), Some("older"), false, true),
            (Some("new"), None, true, true),
        ] {
            assert_eq!(remap_due(&state(in_force, settled, wanted), "new"), due, "{in_force:?} {settled:?}");
        }
    }
}
