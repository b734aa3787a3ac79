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
    /// The rules in the configuration are not those that the last sweep applied.
    pub mapping_changed: bool,
}

impl History {
    /// What the database knows of a tenant, beside the digest of the rules in the configuration and the last
    /// moment at which its schedule asked for a sweep.
    #[must_use]
    pub fn of(state: &TenantState, mapping_digest: &str, sweep_asked: Option<Timestamp>) -> Self {
        Self {
            watermark: state.watermark,
            last_sweep: state.last_sweep,
            sweep_asked,
            sweep_wanted: state.sweep_wanted,
            since_broken: state.since == Some(Since::Broken),
            mapping_changed: state.mapping_digest.as_deref() != Some(mapping_digest),
        }
    }
}

/// A delta pass, unless a sweep is due: because nothing has been read yet, because the rules have changed,
/// because a pass asked for one, because the tenant cannot say who has changed, or because its time has come
/// since the last.
#[must_use]
pub fn next_pass(history: &History) -> PassKind {
    let overdue = history.sweep_asked.is_some_and(|asked| history.last_sweep.is_none_or(|last| last < asked));
    if history.watermark.is_none()
        || history.sweep_wanted
        || history.mapping_changed
        || history.since_broken
        || overdue
    {
        PassKind::Sweep
    } else {
        PassKind::Delta
    }
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
            History { mapping_changed: true, ..settled },
            History { sweep_asked: Some(at(60)), ..settled },
            History { last_sweep: None, ..settled },
        ] {
            assert_eq!(next_pass(&reason), PassKind::Sweep, "{reason:?}");
        }
    }
}
