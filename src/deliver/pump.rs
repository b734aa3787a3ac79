//! The pool: a loop around one step. It settles what came back, leases as much as there is room for, sends
//! it, and waits for the next thing to happen.
//!
//! A settlement that the database did not take is handed in again; a task that died is an attempt that
//! failed. Nothing is in flight that the loop does not know of.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::attempt::{Outcome, attempt};
use super::health::{Change, Health, Trouble};
use super::step::{Policy, next_step};
use super::vitals::Vitals;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{Payload, TeamId, TenantId};
use crate::scim::{Failure, ServiceProvider, Verdict};
use crate::store::{Leased, Note, Settlement, Step, Store};
use crate::telemetry;

/// The queue is looked at this often even when nobody says that it has changed: another process may have
/// put something there, or a clock may have been set.
const LOOK: Duration = Duration::from_secs(2);
/// And not more often than this while nothing happens.
const SHORTEST_LOOK: Duration = Duration::from_millis(5);

/// How operations of one tenant are sent.
#[derive(Clone, Copy, Debug)]
pub struct PumpSettings {
    /// In flight at once, at least 1.
    pub workers: usize,
    /// How long we keep trying.
    pub policy: Policy,
}

/// Why [`Pump::drain`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nothing waits any more.
    Empty,
    /// The tenant refuses everything.
    Refused(Trouble),
    /// We were told to stop.
    Stopped,
}

/// Delivers the operations of one tenant.
#[derive(Debug)]
pub struct Pump<P> {
    tenant: TenantId,
    store: Store,
    provider: P,
    settings: PumpSettings,
    clock: Clock,
    chance: Chance,
    vitals: Arc<Vitals>,
    health: Health,
    flying: JoinSet<Outcome>,
    leased: HashMap<Id, Leased>,
    settlements: Vec<Settlement>,
    /// Somebody is to be read again.
    stale: Arc<Notify>,
}

impl<P: ServiceProvider> Pump<P> {
    /// Sends nothing yet. `stale` is told whenever a user has to be read again.
    #[must_use]
    pub fn new(
        tenant: TenantId,
        store: Store,
        provider: P,
        settings: PumpSettings,
        (clock, chance): (Clock, Chance),
        vitals: Arc<Vitals>,
        stale: Arc<Notify>,
    ) -> Self {
        Self {
            tenant,
            store,
            provider,
            settings,
            clock,
            chance,
            vitals,
            health: Health::default(),
            flying: JoinSet::new(),
            leased: HashMap::new(),
            settlements: Vec::new(),
            stale,
        }
    }

    /// From now on it delivers nothing but what the pass `pass` decided.
    pub fn only(&mut self, pass: i64) {
        self.store = self.store.only(pass);
    }

    /// What is wrong with the tenant at the moment.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.health.trouble()
    }

    /// Delivers until told to stop, then finishes what is in flight. `wake` says that something new waits.
    pub async fn run(&mut self, wake: &Notify, stop: &CancellationToken) {
        loop {
            let turned = self.turn(stop).await;
            if stop.is_cancelled() && self.at_rest() {
                return;
            }
            self.wait(wake, stop, turned.look_in).await;
        }
    }

    /// Delivers until nothing waits, whatever its time, or the tenant refuses us.
    pub async fn drain(&mut self, stop: &CancellationToken) -> Drained {
        let nobody = Notify::new();
        loop {
            let turned = self.turn(stop).await;
            if self.at_rest() {
                match self.health.trouble() {
                    _ if stop.is_cancelled() => return Drained::Stopped,
                    _ if turned.nothing_waits => return Drained::Empty,
                    Some(trouble) if trouble != Trouble::Outage => return Drained::Refused(trouble),
                    _ => {}
                }
            }
            self.wait(&nobody, stop, turned.look_in).await;
        }
    }

    /// Nothing is in flight, and the database knows of everything that was.
    fn at_rest(&self) -> bool {
        self.flying.is_empty() && self.settlements.is_empty()
    }

    /// One turn: settle and lease in one transaction, and send.
    async fn turn(&mut self, stop: &CancellationToken) -> Turned {
        let now = self.clock.now();
        let allowance = self.health.allowance(self.settings.workers, now);
        let room = match allowance {
            Ok(most) if !stop.is_cancelled() => most.saturating_sub(self.flying.len()),
            _ => 0,
        };
        let turn =
            self.store.turn(&self.tenant, &self.settlements, u32::try_from(room).unwrap_or(u32::MAX), now);
        let turn = match turn.await {
            Ok(turn) => turn,
            Err(error) => {
                error!(tenant = %self.tenant, reason = %error, "database cannot be used");
                return Turned { nothing_waits: false, look_in: LOOK };
            }
        };
        self.settled();
        let nothing_waits = turn.leased.is_empty() && turn.next_due.is_none();
        let next = if room > 0 { turn.next_due } else { allowance.err() };
        for leased in turn.leased {
            self.send(leased);
        }
        let look_in = next.map_or(LOOK, |next| next.since(now).clamp(SHORTEST_LOOK, LOOK));
        Turned { nothing_waits, look_in }
    }

    fn send(&mut self, leased: Leased) {
        let operation = &leased.operation;
        let (kind, cause) = (operation.payload.kind(), operation.cause.as_str());
        let parent = leased.traceparent.as_deref();
        let span = telemetry::span::operation(&self.tenant, &operation.user, leased.id, kind, cause, parent);
        let task =
            self.flying.spawn(attempt(self.provider.clone(), self.clock.clone(), leased.clone(), span));
        self.leased.insert(task.id(), leased);
    }

    /// Waits until something has landed, something new waits, we are told to stop, or `look_in` is over.
    async fn wait(&mut self, wake: &Notify, stop: &CancellationToken, look_in: Duration) {
        tokio::select! {
            Some(landed) = self.flying.join_next_with_id() => {
                self.landed(landed);
                while let Some(landed) = self.flying.try_join_next_with_id() {
                    self.landed(landed);
                }
            }
            () = wake.notified(), if !stop.is_cancelled() => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
            () = self.clock.sleep(look_in) => {}
        }
    }

    fn landed(&mut self, landed: Result<(Id, Outcome), JoinError>) {
        match landed {
            Ok((id, outcome)) => {
                self.leased.remove(&id);
                self.finish(&outcome);
            }
            Err(death) => {
                let Some(leased) = self.leased.remove(&death.id()) else { return };
                let now = self.clock.now();
                let step = next_step(
                    leased.attempts,
                    Some(&Verdict::Unavailable { wait: None }),
                    true,
                    self.settings.policy,
                    now,
                    self.chance.draw(),
                );
                let user = leased.operation.user;
                error!(tenant = %self.tenant, user = %user, operation = leased.id, "task of an attempt died");
                let note =
                    Note { reason: Some("the task of the attempt died".to_owned()), ..Note::default() };
                self.settlements.push(Settlement {
                    id: leased.id,
                    lease: leased.lease,
                    user,
                    step,
                    note: Some(note),
                });
            }
        }
    }

    fn finish(&mut self, outcome: &Outcome) {
        let now = self.clock.now();
        let failure = outcome.result.as_ref().err();
        let verdict = failure.map(|failure| &failure.verdict);
        let user = outcome.leased.operation.user.clone();
        let probing = self.health.trouble().is_some();
        let alone = outcome.tenant_answers == Some(false);
        let change = self.health.observe(&user, failure, alone, now);
        let counted = outcome.tenant_answers == Some(true) && !probing && self.health.trouble().is_none();
        let mut step = next_step(
            outcome.leased.attempts,
            verdict,
            counted,
            self.settings.policy,
            now,
            self.chance.draw(),
        );
        // While the tenant is in trouble, what it says about one user says nothing about that user.
        if probing && matches!(step, Step::Dead | Step::Gone) && self.health.trouble().is_some() {
            let due = self.health.allowance(1, now).err().unwrap_or(now);
            step = Step::Later { due, counted: false };
        }
        outcome.span.in_scope(|| {
            self.report(outcome, failure, &step);
            report_health(&self.tenant, change, failure);
        });
        self.settlements.push(Settlement {
            id: outcome.leased.id,
            lease: outcome.leased.lease,
            user,
            step,
            note: failure.filter(|failure| failure.verdict != Verdict::NotSent).map(note),
        });
    }

    fn report(&self, outcome: &Outcome, failure: Option<&Failure>, step: &Step) {
        let operation = &outcome.leased.operation;
        let attempt = i64::from(outcome.leased.attempts) + 1;
        let duration_ms = i64::try_from(outcome.took.as_millis()).unwrap_or(i64::MAX);
        let Payload::Teams(teams) = &operation.payload;
        let Some(failure) = failure else {
            self.vitals.delivered.add(1);
            info!(
                cause = operation.cause.as_str(),
                teams_added = join(&teams.added),
                teams_removed = join(&teams.removed),
                attempt,
                duration_ms,
                "operation delivered"
            );
            return;
        };
        let status = failure.status.map(i64::from);
        let teams = teams.teams.union(&teams.removed).map(TeamId::as_str);
        let ids: Vec<&str> = teams.chain([operation.user.as_str()]).collect();
        let reason = telemetry::redact::text_about(&failure.reason, &ids);
        let correlation_id = failure.correlation_id.as_deref();
        match step {
            Step::Released => return,
            Step::Dead => {
                self.vitals.dead.add(1);
                error!(status, %reason, correlation_id, attempt, duration_ms, "operation is a dead letter");
            }
            Step::Gone => warn!(status, %reason, correlation_id, attempt, duration_ms, "user is gone"),
            Step::Stale { due } => {
                info!(status, %reason, correlation_id, attempt, retry_at = %due, "user has changed meanwhile");
            }
            Step::Later { due, .. } => {
                warn!(status, %reason, correlation_id, attempt, duration_ms, retry_at = %due, "attempt failed");
            }
            Step::Done => {}
        }
        self.vitals.failures.add(1);
    }

    /// The database has taken the settlements.
    fn settled(&mut self) {
        if self
            .settlements
            .iter()
            .any(|settlement| !matches!(settlement.step, Step::Later { .. } | Step::Released))
        {
            self.stale.notify_one();
        }
        self.settlements.clear();
    }
}

/// What a turn found out.
#[derive(Clone, Copy, Debug)]
struct Turned {
    /// No operation waits, whatever its time.
    nothing_waits: bool,
    /// When to look again at the latest.
    look_in: Duration,
}

fn report_health(tenant: &TenantId, change: Change, failure: Option<&Failure>) {
    let reason = failure.map(|failure| telemetry::redact::text(&failure.reason).into_owned());
    match change {
        Change::Down { trouble: Trouble::Outage, probe_at, began: true } => {
            error!(%tenant, reason, retry_at = %probe_at, "tenant does not answer");
        }
        Change::Down { trouble, probe_at, began: true } => {
            error!(%tenant, trouble = trouble.as_str(), reason, retry_at = %probe_at, "tenant quarantined");
        }
        Change::Up { since } => info!(%tenant, down_since = %since, "tenant answers again"),
        Change::Down { .. } | Change::None => {}
    }
}

fn note(failure: &Failure) -> Note {
    Note {
        status: failure.status,
        reason: Some(failure.reason.clone()),
        correlation_id: failure.correlation_id.clone(),
        answer: failure.answer.clone(),
    }
}

fn join(teams: &std::collections::BTreeSet<TeamId>) -> String {
    teams.iter().map(TeamId::as_str).collect::<Vec<_>>().join(",")
}
