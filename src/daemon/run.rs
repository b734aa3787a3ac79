//! The daemon: every tenant with its passes and its pump, until a signal ends it.
//!
//! A reload stops the tenants softly and starts them anew with the new settings, in the same process and with
//! the same database. There is no second way to change a running part.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_cron_scheduler::JobSchedulerError;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::audit::{OpenAuditError, open_audit};
use super::cadence::{History, next_pass};
use super::lifecycle::{Asked, Signals};
use super::measure::measure;
use super::observed::observed_pass;
use super::parts::Parts;
use super::pass::Passes;
use super::requests::{Clerk, refuse_strangers, somebody_asks};
use super::runs::work;
use super::schedule::Ticks;
use super::tenant::Tenant;
use crate::audit::Audit;
use crate::config::{Cadence, Settings, last_run};
use crate::deliver::Condition;
use crate::model::{PassKind, TenantId, Timestamp};
use crate::scim::Limiter;
use crate::store::{Store, StoreError};

/// Users who must be read again are read in passes at least this far apart.
const BETWEEN_REREADS: Duration = Duration::from_secs(1);
/// A database that cannot be used is tried again after this long.
const BETWEEN_TRIES: Duration = Duration::from_secs(2);
/// Finished rows are looked through this often.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A signal, and what was in flight had its time to finish.
    Stopped,
    /// A second signal; what was in flight is sent again after the next start.
    Cut,
    /// A part of the daemon died.
    Died,
}

/// Why the daemon could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit.
    #[error(transparent)]
    Audit(#[from] OpenAuditError),
    /// No client could be made.
    #[error("no HTTPS client: {0}; are the CA certificates installed?")]
    Client(#[from] reqwest::Error),
}

/// Reads the configuration again; the text says what is wrong with it.
pub type Reload<'a> = dyn Fn() -> Result<Settings, String> + 'a;

/// Runs until a signal ends it.
///
/// # Errors
/// When it cannot start.
pub async fn run(
    mut settings: Settings,
    reload: &Reload<'_>,
    mut signals: Signals,
    parts: &Parts,
) -> Result<Ended, RunError> {
    let database = settings.store.clone();
    let store = Store::own(&database, parts.clock.now()).await?;
    store.announce_daemon()?;
    let written = settings.audit.clone();
    let audit = open_audit(&written, &store, parts.clock.now()).await?;
    info!(version = env!("CARGO_PKG_VERSION"), "rosterd started");
    let ended = loop {
        warn_of_keys(&settings);
        let grace = settings.shutdown_grace;
        store.clear(parts.clock.now()).await?;
        let running = Running::start(settings, &store, &audit, parts)?;
        tell_systemd(&[sd_notify::NotifyState::Ready]);
        match running.until(&mut signals, reload, grace).await {
            Next::End(ended) => break ended,
            Next::Start(fresh) => settings = *fresh,
        }
        if settings.store != database {
            warn!(key = "store.url", "key takes effect with the next start only");
        }
        if settings.audit != written {
            warn!(key = "audit", "key takes effect with the next start only");
        }
        info!("configuration reloaded");
    };
    store.close().await;
    Ok(ended)
}

fn warn_of_keys(settings: &Settings) {
    for key in &settings.not_in_force {
        warn!(key, "key not yet in force");
    }
}

/// The tenants of one configuration, at work.
struct Running {
    tasks: JoinSet<()>,
    limiters: Vec<Limiter>,
    stop: CancellationToken,
}

enum Next {
    End(Ended),
    Start(Box<Settings>),
}

impl Running {
    fn start(settings: Settings, store: &Store, audit: &Audit, parts: &Parts) -> Result<Self, RunError> {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut limiters = Vec::new();
        let known = settings.tenants.keys().cloned().collect();
        if let Some(gauges) = parts.gauges.clone() {
            let tenants = settings.tenants.keys().cloned().collect();
            tasks.spawn(measure(gauges, tenants, store.clone(), parts.clone(), stop.clone()));
        }
        tasks.spawn(refuse_strangers(known, store.clone(), parts.clock.clone(), stop.clone()));
        for settings in settings.tenants.into_values() {
            let tenant = Tenant::new(settings, store, audit, parts)?;
            limiters.push(tenant.client.limiter().clone());
            tasks.spawn(tend(tenant, store.clone(), audit.clone(), parts.clone(), stop.clone()));
        }
        tasks.spawn(prune(store.clone(), parts.clone(), stop.clone()));
        Ok(Self { tasks, limiters, stop })
    }

    async fn until(mut self, signals: &mut Signals, reload: &Reload<'_>, grace: Duration) -> Next {
        let watchdog = feed_watchdog();
        tokio::pin!(watchdog);
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop(signal) => return Next::End(self.stop(signal, signals, grace).await),
                    Asked::Reload => {
                        tell_systemd(&reloading());
                        match reload() {
                            Ok(settings) => return self.make_way(settings, signals, grace).await,
                            Err(reason) => {
                                error!(reason, "configuration refused");
                                tell_systemd(&[sd_notify::NotifyState::Ready]);
                            }
                        }
                    }
                },
                Some(death) = self.tasks.join_next() => {
                    let reason = death.err().map(|death| death.to_string());
                    error!(reason, "a part of the daemon died");
                    self.finish(signals, grace).await;
                    return Next::End(Ended::Died);
                }
                never = &mut watchdog => match never {},
            }
        }
    }

    /// Ends the tenants for a new configuration. What takes longer than the grace is cut and sent again after
    /// the start; a stop meanwhile is a first stop.
    async fn make_way(mut self, settings: Settings, signals: &mut Signals, grace: Duration) -> Next {
        self.close();
        tokio::select! {
            finished = timeout(grace, rest(&mut self.tasks)) => {
                if finished.is_err() {
                    warn!("stopped with operations in flight");
                }
                self.tasks.shutdown().await;
                Next::Start(Box::new(settings))
            }
            signal = stop_asked(signals) => Next::End(self.stop(signal, signals, grace).await),
            never = feed_watchdog() => match never {},
        }
    }

    async fn stop(&mut self, signal: &'static str, signals: &mut Signals, grace: Duration) -> Ended {
        info!(reason = signal, "stopping");
        tell_systemd(&[sd_notify::NotifyState::Stopping]);
        self.finish(signals, grace).await
    }

    /// Stops leasing and reading.
    fn close(&self) {
        self.stop.cancel();
        for limiter in &self.limiters {
            limiter.close();
        }
    }

    /// Stops leasing and reading, and waits for what is in flight; a second signal cuts it short.
    async fn finish(&mut self, signals: &mut Signals, grace: Duration) -> Ended {
        self.close();
        let ended = tokio::select! {
            finished = timeout(grace, rest(&mut self.tasks)) => {
                if finished.is_err() {
                    warn!("stopped with operations in flight");
                }
                Ended::Stopped
            }
            _ = stop_asked(signals) => {
                warn!("stopped with operations in flight");
                Ended::Cut
            }
            never = feed_watchdog() => match never {},
        };
        self.tasks.shutdown().await;
        ended
    }
}

async fn rest(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

async fn stop_asked(signals: &mut Signals) -> &'static str {
    loop {
        if let Asked::Stop(signal) = signals.next().await {
            return signal;
        }
    }
}

/// One tenant: passes by its schedules, and delivery, files and webhooks beside them.
async fn tend(tenant: Tenant, store: Store, audit: Audit, parts: Parts, stop: CancellationToken) {
    let Tenant { name, passes, mut pump, cadence, condition, stale, webhook, client, mut bulk, runs, .. } =
        tenant;
    condition.tend();
    let (wake, wake_bulk) = (Notify::new(), Notify::new());
    let ticks = match Ticks::start(cadence.clone(), parts.clock.clone()).await {
        Ok(ticks) => ticks,
        Err(error) => return scheduler_failed(&name, &error),
    };
    let name_of_runs = name.clone();
    let round = Round {
        name,
        passes: &passes,
        condition: &condition,
        store: &store,
        audit: &audit,
        parts: &parts,
        cadence: &cadence,
        stale,
        stop: &stop,
    };
    // Passes that end before their time end the tenant, and whoever watches it is told by that.
    let own = stop.child_token();
    let passing = async {
        round.pass(ticks, &wake).await;
        own.cancel();
    };
    let telling = async {
        if let Some(mut webhook) = webhook {
            webhook.run(&own).await;
        }
    };
    let bulk_refused = bulk.refused();
    let wakes = [&wake, &wake_bulk];
    let working = work(&name_of_runs, &runs, (&store, &client, &audit), &wakes, bulk_refused, &own);
    tokio::join!(passing, pump.run(&wake, &own), bulk.run(&wake_bulk, &own), working, telling);
    condition.end().await;
}

fn scheduler_failed(tenant: &TenantId, error: &JobSchedulerError) {
    error!(%tenant, reason = %error, "scheduler failed");
}

/// What is to be done next for a tenant.
enum Due {
    /// A pass; a delta pass gives way to a sweep that is due.
    Pass(PassKind),
    /// What an operator asks for.
    Request,
}

/// What the passes of one tenant need to know.
struct Round<'a> {
    name: TenantId,
    passes: &'a Passes,
    condition: &'a Condition,
    store: &'a Store,
    audit: &'a Audit,
    parts: &'a Parts,
    cadence: &'a Cadence,
    stale: Arc<Notify>,
    stop: &'a CancellationToken,
}

impl Round<'_> {
    /// One pass at the start, then one for each tick, and in between for users who must be read again, for
    /// delivery that waits for a list, and to find out whether a tenant that could not be read can be now.
    async fn pass(&self, mut ticks: Ticks, wake: &Notify) {
        let mut asked = self.see_mapping().await.then_some(Due::Pass(PassKind::Delta));
        while let Some(due) = asked {
            let (last, done) = match due {
                // A sweep that is due comes with either tick, and only once.
                Due::Pass(PassKind::Delta | PassKind::Sweep) => self.one(self.delta_or_sweep().await).await,
                Due::Pass(kind) => self.one(kind).await,
                Due::Request => (PassKind::Delta, self.serve().await),
            };
            wake.notify_one();
            let skipped = ticks.skip();
            if skipped > 0 {
                debug!(tenant = %self.name, skipped, "delta ticks skipped during a pass");
            }
            asked = tokio::select! {
                () = self.stop.cancelled() => None,
                due = self.next(&mut ticks, last, done) => due,
            };
        }
        if let Err(error) = ticks.stop().await {
            scheduler_failed(&self.name, &error);
        }
    }

    /// No pass runs before the mapping is noted that it decides by; false when we are stopped before that.
    async fn see_mapping(&self) -> bool {
        while let Err(error) = self.passes.see_mapping().await {
            error!(tenant = %self.name, reason = %error, "database cannot be used");
            tokio::select! {
                () = self.parts.clock.sleep(BETWEEN_TRIES) => {}
                () = self.stop.cancelled() => return false,
            }
        }
        true
    }

    /// Runs one pass. Answers with its kind, and once more if it was committed and has left nobody out.
    async fn one(&self, kind: PassKind) -> (PassKind, Option<PassKind>) {
        tokio::select! {
            // Or the pass would find out by itself, and it would be said twice.
            biased;
            () = self.stop.cancelled() => {
                self.break_off().await;
                (kind, None)
            }
            ended = observed_pass(self.passes, self.condition, kind) => {
                (kind, ended.is_ok_and(|report| report.complete).then_some(kind))
            }
        }
    }

    /// Carries out what an operator asks for. Answers with a kind of pass if a list was read for it, and completely.
    async fn serve(&self) -> Option<PassKind> {
        let clerk = Clerk {
            tenant: &self.name,
            passes: self.passes,
            condition: self.condition,
            store: self.store,
            audit: self.audit,
            clock: &self.parts.clock,
            stop: self.stop,
            request: None,
        };
        clerk.serve_next().await.then_some(PassKind::Delta)
    }

    /// What to do after a pass of the kind `last`: apply a changed mapping after a list was read completely; read again
    /// whoever has to be, but after a pass that did just that wait until there is a reason. A tenant that cannot be
    /// read is left alone for its time.
    async fn next(&self, ticks: &mut Ticks, last: PassKind, done: Option<PassKind>) -> Option<Due> {
        if matches!(done, Some(PassKind::Delta | PassKind::Sweep)) && self.remap_due().await {
            return Some(Due::Pass(PassKind::Remap));
        }
        let mut skipped = 0_u64;
        let somebody_stale = self.somebody_stale();
        tokio::pin!(somebody_stale);
        // There may be more of them than one pass reads.
        let more = done == Some(PassKind::Reread);
        if more {
            self.parts.clock.sleep(BETWEEN_REREADS).await;
        }
        if self.condition.left_alone_until().is_none()
            && (more || last != PassKind::Reread)
            && self.anybody_stale().await
        {
            return Some(Due::Pass(PassKind::Reread));
        }
        loop {
            let alone = self.condition.left_alone_until();
            tokio::select! {
                tick = ticks.next() => match tick {
                    Err(error) => {
                        scheduler_failed(&self.name, &error);
                        return None;
                    }
                    Ok(_) if alone.is_some() => skipped += 1,
                    Ok(kind) => {
                        self.parts.clock.sleep(self.cadence.jitter.mul_f64(self.parts.chance.draw())).await;
                        return Some(Due::Pass(kind));
                    }
                },
                () = self.until(alone.or(self.condition.list_due())) => {
                    if skipped > 0 {
                        debug!(tenant = %self.name, skipped, "ticks skipped while the tenant was left alone");
                    }
                    return Some(Due::Pass(PassKind::Delta));
                }
                () = &mut somebody_stale, if alone.is_none() => return Some(Due::Pass(PassKind::Reread)),
                () = somebody_asks(&self.name, self.store) => return Some(Due::Request),
                () = self.condition.changed() => {}
            }
        }
    }

    /// Waits for a moment; for ever, if there is none.
    async fn until(&self, due: Option<Timestamp>) {
        match due {
            Some(due) => self.parts.clock.sleep(due.since(self.parts.clock.now())).await,
            None => std::future::pending().await,
        }
    }

    /// Waits until a user has to be read again.
    async fn somebody_stale(&self) {
        loop {
            self.stale.notified().await;
            self.parts.clock.sleep(BETWEEN_REREADS).await;
            if self.anybody_stale().await {
                return;
            }
        }
    }

    async fn remap_due(&self) -> bool {
        match self.passes.remap_due().await {
            Ok(due) => due,
            Err(error) => {
                error!(tenant = %self.name, reason = %error, "database cannot be used");
                false
            }
        }
    }

    async fn anybody_stale(&self) -> bool {
        match self.store.rereads(&self.name, 1, self.parts.clock.now()).await {
            Ok(users) => !users.is_empty(),
            Err(error) => {
                error!(tenant = %self.name, reason = %error, "database cannot be used");
                false
            }
        }
    }

    async fn delta_or_sweep(&self) -> PassKind {
        let state = match self.store.tenant(&self.name).await {
            Ok(state) => state,
            Err(error) => {
                // The pass will fail by the same fault, and be noted as such.
                error!(tenant = %self.name, reason = %error, "database cannot be used");
                return PassKind::Delta;
            }
        };
        let asked = last_run(&self.cadence.sweep_schedule, self.cadence.time_zone, self.parts.clock.now());
        next_pass(&History::of(&state, asked))
    }

    async fn break_off(&self) {
        info!(tenant = %self.name, "pass broken off");
        if let Err(error) = self.store.break_off(&self.name, self.parts.clock.now()).await {
            error!(tenant = %self.name, reason = %error, "database cannot be used");
        }
    }
}

async fn prune(store: Store, parts: Parts, stop: CancellationToken) {
    let mut every = interval(PRUNE_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => if let Err(error) = store.prune(parts.clock.now()).await {
                error!(reason = %error, "database cannot be used");
            },
        }
    }
}

/// systemd's socket may be missing or gone; the daemon runs without it.
fn tell_systemd(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(reason = %error, "systemd was not told");
    }
}

fn reloading() -> Vec<sd_notify::NotifyState<'static>> {
    let since = sd_notify::NotifyState::monotonic_usec_now();
    [Some(sd_notify::NotifyState::Reloading), since.ok()].into_iter().flatten().collect()
}

/// Tells systemd that we are alive, twice as often as it asks for.
async fn feed_watchdog() -> Infallible {
    let Some(asked) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut every = interval((asked / 2).max(Duration::from_millis(1)));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        tell_systemd(&[sd_notify::NotifyState::Watchdog]);
    }
}
