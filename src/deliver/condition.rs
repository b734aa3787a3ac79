//! The health of one tenant as its passes and its pump share it: what changes is logged, and kept for `status`.
//!
//! It decides nothing: [`Health`] does.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{Mutex as Turn, Notify};
use tracing::field::display;
use tracing::{error, info};

use super::health::{Allowance, Change, Health, Seen};
use super::trouble::{Down, Trouble};
use crate::clock::Clock;
use crate::model::{TenantId, Timestamp, UserId};
use crate::scim::Failure;
use crate::store::{Part, Store, TroubleRow};
use crate::telemetry;

const PARTS: [Part; 2] = [Part::Reading, Part::Delivery];

/// The health of one tenant; cheap to clone.
#[derive(Clone, Debug)]
pub struct Condition(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tenant: TenantId,
    store: Store,
    clock: Clock,
    health: Mutex<Health>,
    /// What the database knows of reading and of delivery.
    noted: Turn<[Option<TroubleRow>; 2]>,
    changed: Notify,
    /// Somebody tries again for as long as it takes.
    tended: OnceLock<()>,
}

impl Condition {
    /// Of a tenant that was never asked anything.
    #[must_use]
    pub fn new(tenant: TenantId, store: Store, clock: Clock) -> Self {
        let (health, noted, changed) = (Mutex::default(), Turn::default(), Notify::new());
        Self(Arc::new(Inner { tenant, store, clock, health, noted, changed, tended: OnceLock::new() }))
    }

    /// From now on somebody tries again for as long as it takes, as the daemon does: until then the log names the next
    /// try of delivery in an outage only, which a command waits for.
    pub fn tend(&self) {
        self.0.tended.get_or_init(|| ());
    }

    /// What may be sent now with `workers` workers.
    #[must_use]
    pub fn allowance(&self, workers: usize) -> Allowance {
        self.with(|health, now| health.allowance(workers, now))
    }

    /// What is wrong with delivery at the moment.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.with(|health, _| health.trouble())
    }

    /// Until when passes leave the tenant alone; at that time one is due. `None` while reading works.
    #[must_use]
    pub fn left_alone_until(&self) -> Option<Timestamp> {
        self.with(|health, now| health.left_alone_until(now))
    }

    /// When a list pass is due beside the schedule, because delivery waits for it.
    #[must_use]
    pub fn list_due(&self) -> Option<Timestamp> {
        self.with(|health, _| health.list_due())
    }

    /// Waits until [`Self::left_alone_until`] or [`Self::list_due`] may have changed other than by a pass.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Something waits that may not be sent before a list has been read.
    pub(super) fn want_list(&self) {
        if self.with(Health::want_list) {
            self.0.changed.notify_one();
        }
    }

    /// An operation for `user` has ended.
    pub(super) fn observe(&self, user: &UserId, seen: Seen<'_>) {
        let (hastened, change) = self.with(|health, now| {
            let before = health.left_alone_until(now);
            let change = health.observe(user, seen, now);
            (health.left_alone_until(now) != before, change)
        });
        if hastened {
            self.0.changed.notify_one();
        }
        self.report(Part::Delivery, change);
    }

    /// A pass that read a list has committed.
    pub async fn list_read(&self) {
        let [reading, delivery] = self.with(Health::list_read);
        self.report(Part::Reading, reading);
        self.report(Part::Delivery, delivery);
        self.note().await;
    }

    /// A pass has failed, by the tenant's fault if there is a `failure`.
    pub async fn read_failed(&self, failure: Option<&Failure>) {
        let change = self.with(|health, now| health.read_failed(failure, now));
        self.report(Part::Reading, change);
        self.note().await;
    }

    /// Keeps what has changed for `status`. What the database does not take is handed in again the next time.
    pub async fn note(&self) {
        let mut noted = self.0.noted.lock().await;
        let current = self.with(|health, _| PARTS.map(|part| health.down(part).map(row)));
        self.write(&mut noted, current).await;
    }

    /// Nobody tries any more: what was wrong is no news.
    pub async fn end(&self) {
        let mut noted = self.0.noted.lock().await;
        self.write(&mut noted, [None, None]).await;
    }

    async fn write(&self, noted: &mut [Option<TroubleRow>; 2], current: [Option<TroubleRow>; 2]) {
        let Inner { tenant, store, .. } = &*self.0;
        for ((part, noted), current) in PARTS.into_iter().zip(noted).zip(current) {
            if *noted == current {
                continue;
            }
            match store.note_trouble(tenant, part, current.as_ref()).await {
                Ok(()) => *noted = current,
                Err(error) => error!(%tenant, reason = %error, "database cannot be used"),
            }
        }
    }

    fn report(&self, part: Part, change: Change) {
        let tenant = &self.0.tenant;
        match change {
            Change::Down { news: true } => {
                if let Some(row) = self.with(|health, _| health.down(part).map(row)) {
                    log(tenant, part, &row, self.0.tended.get().is_some());
                }
            }
            Change::Up { since } => {
                info!(%tenant, part = part.as_str(), down_since = %since, "tenant answers again");
            }
            Change::Down { news: false } | Change::None => {}
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Health, Timestamp) -> T) -> T {
        let mut health = self.0.health.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut health, self.0.clock.now())
    }
}

fn log(tenant: &TenantId, part: Part, row: &TroubleRow, tended: bool) {
    let outage = row.trouble == Trouble::Outage.as_str();
    let tried = tended || outage && part == Part::Delivery;
    let retry_at = tried.then_some(row.until).map(display);
    let (part, trouble, reason) = (part.as_str(), row.trouble.as_str(), row.reason.as_str());
    if outage {
        error!(%tenant, part, reason, retry_at, "tenant does not answer");
    } else {
        error!(%tenant, part, trouble, reason, retry_at, "tenant quarantined");
    }
}

fn row(down: &Down) -> TroubleRow {
    TroubleRow {
        trouble: down.trouble.as_str().to_owned(),
        reason: telemetry::redact::text(&down.reason).into_owned(),
        since: down.since,
        until: down.probe_at,
    }
}
