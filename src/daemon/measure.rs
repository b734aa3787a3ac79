//! Measures how things stand with each tenant, every now and then, for as long as the daemon runs.
//!
//! It reads the database like `status` does, and changes nothing.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::parts::Parts;
use crate::model::{TenantId, Timestamp};
use crate::store::{Backlog, Part, Store, StoreError, TroubleRow};
use crate::telemetry::metrics::{Gauges, Measured};

/// More often than metrics are exported.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// Measures `tenants` until it is stopped; the first time at once.
pub(super) async fn measure(
    gauges: Gauges,
    tenants: Vec<TenantId>,
    store: Store,
    parts: Parts,
    stop: CancellationToken,
) {
    let mut every = interval(MEASURE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        for tenant in &tenants {
            match look(&store, tenant, parts.clock.now()).await {
                Ok(measured) => gauges.record(tenant, &measured),
                Err(error) => error!(%tenant, reason = %error, "database cannot be used"),
            }
        }
    }
}

async fn look(store: &Store, tenant: &TenantId, now: Timestamp) -> Result<Measured, StoreError> {
    let backlog = store.backlog(tenant).await?;
    let last_read = store.tenant(tenant).await?.last_read;
    let troubles = store.troubles(tenant).await?;
    Ok(measured(&backlog, last_read, &troubles, now))
}

fn measured(
    backlog: &Backlog,
    last_read: Option<Timestamp>,
    troubles: &[(Part, TroubleRow)],
    now: Timestamp,
) -> Measured {
    let in_trouble = |part: Part| troubles.iter().any(|(troubled, _)| *troubled == part);
    let operations = backlog.operations;
    Measured {
        ready: operations.ready,
        leased: operations.in_flight,
        stale: operations.stale,
        held: operations.held,
        dead: operations.dead,
        holds: backlog.holds,
        rereads: backlog.rereads,
        change_age: backlog.oldest_unapplied.map_or(Duration::ZERO, |oldest| now.since(oldest)),
        read_age: last_read.map(|read| now.since(read)),
        reading_trouble: in_trouble(Part::Reading),
        delivery_trouble: in_trouble(Part::Delivery),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OperationCounts;

    const NOW: Timestamp = Timestamp::from_millis(100_000);

    fn backlog(oldest_unapplied: Option<Timestamp>) -> Backlog {
        let operations = OperationCounts { ready: 1, in_flight: 2, stale: 3, held: 4, dead: 5, done: 0 };
        Backlog { operations, holds: 6, rereads: 7, oldest_unapplied }
    }

    #[test]
    fn ages_count_from_now_and_nothing_waiting_is_no_age() {
        let idle = measured(&backlog(None), None, &[], NOW);
        assert_eq!((idle.change_age, idle.read_age), (Duration::ZERO, None));
        let at = |millis| Some(Timestamp::from_millis(millis));
        let busy = measured(&backlog(at(40_000)), at(99_500), &[], NOW);
        assert_eq!(busy.change_age, Duration::from_mins(1));
        assert_eq!(busy.read_age, Some(Duration::from_millis(500)));
        let back = measured(&backlog(at(200_000)), None, &[], NOW);
        assert_eq!(back.change_age, Duration::ZERO, "our clock was set back");
    }

    #[test]
    fn each_state_and_each_part_counts_for_itself() {
        let row = TroubleRow { trouble: "outage".into(), reason: String::new(), since: NOW, until: NOW };
        let all = measured(&backlog(None), None, &[(Part::Delivery, row)], NOW);
        assert_eq!((all.ready, all.leased, all.stale, all.held, all.dead), (1, 2, 3, 4, 5));
        assert_eq!((all.holds, all.rereads), (6, 7));
        assert_eq!((all.reading_trouble, all.delivery_trouble), (false, true));
    }
}
