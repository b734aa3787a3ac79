//! The daemon's own parts, put together as `daemon::run` does it, but driven by hand: a test says when calls go on,
//! when time passes, and when everything dies.
//!
//! Schedules, signals and the network are left out. What decides the next pass is the daemon's own; the order
//! in which it is asked is that of `daemon::run`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use rosterd::chance::Chance;
use rosterd::clock::Clock;
use rosterd::config::{AuditSettings, TenantSettings};
use rosterd::daemon::{History, Parts, PassError, Passes, Report, next_pass, open_audit};
use rosterd::deliver::{Condition, Policy, Pump, PumpSettings, Shared, Vitals};
use rosterd::model::{PassKind, PassResult, TenantId, Timestamp};
use rosterd::store::{Hold, HoldDecision, Selection, Store};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::gate::Lane;
use crate::tenant::Tenant;

/// What has to happen has happened by then, on however slow a machine.
const STUCK: Duration = Duration::from_mins(1);
/// Time passes so often, at most, while something is waited for that may never come.
const HOPS: u32 = 40;
/// A start takes some time.
const START: Duration = Duration::from_millis(37);

type Flight<T> = Pin<Box<dyn Future<Output = T>>>;

/// The database, and the process that uses it.
pub(crate) struct House {
    pub(crate) tenant: Tenant,
    pub(crate) clock: Clock,
    pub(crate) settings: TenantSettings,
    path: PathBuf,
    /// Teams of the mapping that was in force until a held remap was approved. The next remap decides everybody anew; before
    /// that, passes may end, and what was decided by the old mapping and approved as well may be sent.
    outgoing: BTreeSet<String>,
    /// A pass has ended, or the process was started.
    pub(crate) moved: bool,
    store: Option<Store>,
    process: Option<Process>,
    bell: Arc<Bell>,
}

struct Process {
    passes: Arc<Passes<Tenant>>,
    pass: Option<Running>,
    pump: Option<Flight<()>>,
    condition: Condition,
    stop: CancellationToken,
    wake: Arc<Notify>,
    stale: Arc<Notify>,
    /// What runs next, whatever the schedule says.
    follows: Option<PassKind>,
    /// When the schedule last asked for a sweep.
    asked: Option<Timestamp>,
    /// And has not got it yet.
    sweep_due: bool,
}

struct Running {
    kind: PassKind,
    began: u64,
    flight: Flight<Result<Report, PassError>>,
}

/// Rings when anything that the process waits for has come.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    notify: Notify,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }
}

impl House {
    pub(crate) async fn new(tenant: Tenant, clock: Clock, settings: TenantSettings, path: PathBuf) -> Self {
        let bell = Arc::default();
        let outgoing = BTreeSet::new();
        let mut house =
            Self { tenant, clock, settings, path, outgoing, moved: true, store: None, process: None, bell };
        house.start().await;
        house
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn name(&self) -> &TenantId {
        &self.settings.name
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    /// As `daemon::run` starts a tenant.
    async fn start(&mut self) {
        self.moved = true;
        self.clock.advance(START);
        if self.store.is_none() {
            self.store = Some(Store::own(&self.path, self.clock.now()).await.unwrap());
        } else {
            self.store().clear(self.clock.now()).await.unwrap();
        }
        let store = self.store().clone();
        let parts = Parts { clock: self.clock.clone(), chance: Chance::fixed(0.5), ..Parts::default() };
        let vitals = Arc::new(Vitals::default());
        let (stale, wake) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let stop = CancellationToken::new();
        let audit = AuditSettings { path: self.path.with_extension("audit"), max_bytes: 0 };
        let audit = open_audit(&audit, &store, self.clock.now()).await.unwrap();
        let condition = Condition::new(self.settings.name.clone(), store.clone(), self.clock.clone());
        let delivery = self.settings.delivery;
        let mut pump = Pump::new(
            self.settings.name.clone(),
            store.clone(),
            self.tenant.for_delivery(),
            PumpSettings {
                workers: delivery.workers,
                policy: Policy { max_attempts: delivery.max_attempts },
                verify_percent: delivery.verify_percent,
                role_attribute: self.settings.reading.role_attribute,
            },
            (self.clock.clone(), parts.chance),
            Shared { condition: condition.clone(), vitals: vitals.clone(), stale: stale.clone() },
            audit,
        );
        let deliver = {
            let (stop, wake) = (stop.clone(), wake.clone());
            async move { pump.run(&wake, &stop).await }
        };
        let passes = Arc::new(Passes::new(&self.settings, store, self.tenant.clone(), parts, vitals));
        passes.see_mapping().await.unwrap();
        self.process = Some(Process {
            passes,
            pass: None,
            pump: Some(Box::pin(deliver)),
            condition,
            stop,
            wake,
            stale,
            follows: Some(PassKind::Delta),
            asked: None,
            sweep_due: false,
        });
        self.note_managed().await;
    }

    /// Killed, and started again.
    pub(crate) async fn crash(&mut self, arrives: bool) {
        self.tenant.cut(arrives);
        self.process = None;
        // The connections' threads end with the process; here they have to be waited for.
        self.store.take().unwrap().close().await;
        self.start().await;
    }

    /// Stopped softly, and started again in the same process, as a reload does it.
    pub(crate) async fn reload(&mut self) {
        self.process().stop.cancel();
        if self.process().pass.take().is_some() {
            let (name, now) = (self.name().clone(), self.clock.now());
            self.beside(async |store| store.break_off(&name, now).await.unwrap()).await;
        }
        self.tenant.gates.set_open(true);
        self.settle(&mut None).await;
        for _ in 0..HOPS {
            if self.process().pump.is_none() {
                break;
            }
            // What was leased while it was told to stop is given back in a turn of its own.
            self.hop().await;
        }
        assert!(self.process().pump.is_none(), "delivery does not end");
        self.tenant.gates.set_open(false);
        self.start().await;
    }

    /// Puts a pass of this kind on, as a tick of the schedule would. One that is running goes on: then a delta pass is
    /// skipped, and a sweep remembered.
    pub(crate) async fn tick(&mut self, kind: PassKind) {
        if kind == PassKind::Sweep {
            self.process().asked = Some(self.clock.now());
            self.process().sweep_due = true;
        }
        self.begin(kind).await;
    }

    /// Begins the pass that follows, if none runs; without one, what was asked for.
    async fn begin(&mut self, asked: PassKind) {
        if self.process().pass.is_none() {
            let kind = self.follows().await.unwrap_or(asked);
            self.begin_this(kind).await;
        }
    }

    async fn begin_this(&mut self, kind: PassKind) {
        let kind = if kind == PassKind::Delta { self.delta_or_sweep().await } else { kind };
        let began = {
            let mut state = self.tenant.state();
            state.moment += 1;
            state.moment
        };
        let process = self.process();
        let passes = process.passes.clone();
        let flight = async move { passes.run(kind).await }.boxed_local();
        process.pass = Some(Running { kind, began, flight });
        if kind == PassKind::Remap {
            self.note_managed().await;
        }
    }

    /// What runs next without being asked for.
    async fn follows(&mut self) -> Option<PassKind> {
        match self.process().follows.take() {
            Some(kind) => Some(kind),
            None if self.list_due() => Some(PassKind::Delta),
            None if self.somebody_stale().await => Some(PassKind::Reread),
            None => std::mem::take(&mut self.process().sweep_due).then_some(PassKind::Sweep),
        }
    }

    /// Delivery waits for a list.
    fn list_due(&mut self) -> bool {
        let now = self.clock.now();
        self.process().condition.list_due().is_some_and(|due| due <= now)
    }

    async fn delta_or_sweep(&mut self) -> PassKind {
        let state = self.store().tenant(self.name()).await.unwrap();
        next_pass(&History::of(&state, self.process().asked))
    }

    async fn somebody_stale(&mut self) -> bool {
        self.process().stale.notified().now_or_never().is_some() && self.anybody_stale().await
    }

    async fn anybody_stale(&self) -> bool {
        !self.store().rereads(self.name(), 1, self.clock.now()).await.unwrap().is_empty()
    }

    /// Lets the pass go on by so many calls; begins one if none runs.
    pub(crate) async fn pass(&mut self, calls: u32) {
        self.begin(PassKind::Delta).await;
        let mut hops = 0;
        for _ in 0..calls {
            while self.process().pass.is_some() && self.tenant.gates.waiting(Lane::Passes) == 0 && hops < HOPS
            {
                self.hop().await;
                hops += 1;
            }
            self.tenant.gates.let_through(Lane::Passes);
            self.settle(&mut None).await;
        }
    }

    /// Lets delivery go on by so many calls.
    pub(crate) async fn deliver(&mut self, calls: u32) {
        for _ in 0..calls {
            if self.tenant.gates.waiting(Lane::Delivery) == 0 {
                self.hop().await;
            }
            self.tenant.gates.let_through(Lane::Delivery);
            self.settle(&mut None).await;
        }
    }

    /// Everything goes on freely until the pass has ended, what follows from it too, and nothing is left to deliver, or
    /// until time has passed so often, each time for so long at least.
    pub(crate) async fn go(&mut self, hops: u32, hop: Duration) {
        self.begin(PassKind::Delta).await;
        self.tenant.gates.set_open(true);
        for _ in 0..hops {
            self.settle(&mut None).await;
            if self.process().pass.is_none() {
                if let Some(kind) = self.follows().await {
                    self.begin_this(kind).await;
                    continue;
                }
                if self.store().open_work(self.name()).await.unwrap() == 0 {
                    break;
                }
            }
            let next = self.clock.sleepers().into_iter().min().unwrap_or_default();
            self.clock.advance(next.max(hop));
        }
        self.settle(&mut None).await;
        self.tenant.gates.set_open(false);
    }

    /// Goes on freely for so many steps, wherever that leads, and dies.
    pub(crate) async fn crash_in(&mut self, steps: u32, arrives: bool) {
        self.begin(PassKind::Delta).await;
        self.tenant.gates.set_open(true);
        let mut left = Some(steps);
        while !self.settle(&mut left).await {
            if self.process().pass.is_none() {
                self.begin(PassKind::Delta).await;
            } else {
                let next = self.clock.sleepers().into_iter().min().unwrap_or_default();
                self.clock.advance(next);
            }
        }
        self.tenant.gates.set_open(false);
        self.crash(arrives).await;
    }

    /// Time passes until the first who sleeps wakes up.
    async fn hop(&mut self) {
        let Some(next) = self.clock.sleepers().into_iter().min() else { return };
        self.clock.advance(next);
        self.settle(&mut None).await;
    }

    /// Time passes.
    pub(crate) async fn elapse(&mut self, by: Duration) {
        self.clock.advance(by);
        self.settle(&mut None).await;
    }

    /// Runs everything until it waits for a gate or for time, or for no more than so many steps; returns whether it
    /// came to that.
    pub(crate) async fn settle(&mut self, left: &mut Option<u32>) -> bool {
        self.tenant.state().moment += 1;
        let bell = self.bell.clone();
        let waker = Waker::from(bell.clone());
        loop {
            bell.rung.store(false, Ordering::SeqCst);
            if let Some(left) = left {
                if *left == 0 {
                    return true;
                }
                *left -= 1;
            }
            if let Some((kind, began, report)) = self.poll(&mut Context::from_waker(&waker)) {
                self.pass_ended(kind, began, report).await;
                continue;
            }
            // Attempts are tasks of their own.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            if bell.rung.load(Ordering::SeqCst) {
                continue;
            }
            if self.quiet() {
                return false;
            }
            assert!(timeout(STUCK, bell.notify.notified()).await.is_ok(), "it is stuck");
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Option<(PassKind, u64, Result<Report, PassError>)> {
        let process = self.process.as_mut()?;
        let ended = process.pass.as_mut().and_then(|pass| match pass.flight.as_mut().poll(context) {
            Poll::Ready(report) => Some((pass.kind, pass.began, report)),
            Poll::Pending => None,
        });
        if ended.is_some() {
            process.pass = None;
        }
        if process.pump.as_mut().is_some_and(|pump| pump.as_mut().poll(context).is_ready()) {
            process.pump = None;
        }
        ended
    }

    /// Nothing goes on but by a gate or by time.
    fn quiet(&self) -> bool {
        let process = self.process.as_ref().unwrap();
        let at_gate = self.tenant.gates.waiting(Lane::Passes) > 0;
        let passing = process.pass.is_some() && !at_gate;
        let delivering = process.pump.is_some();
        self.clock.sleepers().len() >= usize::from(passing) + usize::from(delivering)
    }

    /// What follows a pass, in the words of `daemon::run`.
    async fn pass_ended(&mut self, kind: PassKind, began: u64, report: Result<Report, PassError>) {
        self.moved = true;
        let done = report.is_ok();
        let complete = report.as_ref().is_ok_and(|report| report.complete);
        let failed = report.as_ref().err().filter(|error| !error.stopped());
        let failure = failed.map(|error| error.failure().cloned());
        if let Ok(report) = report {
            let mut state = self.tenant.state();
            let moment = state.moment;
            if matches!(kind, PassKind::Delta | PassKind::Sweep) && report.result == PassResult::Ok {
                state.lists.push((began, moment));
            }
            if kind == PassKind::Sweep && report.result == PassResult::Ok {
                state.vanished = state.vanished.filter(|at| *at >= began);
                for person in state.people.values_mut() {
                    person.backdated = person.backdated.filter(|changed| *changed >= began);
                }
            }
        }
        if done && kind == PassKind::Remap {
            self.outgoing.clear();
        }
        let process = self.process();
        if done {
            process.wake.notify_one();
        }
        let listed = done && matches!(kind, PassKind::Delta | PassKind::Sweep);
        let condition = process.condition.clone();
        if listed || failure.is_some() {
            let observe = async |_| match &failure {
                Some(failure) => condition.read_failed(failure.as_ref()).await,
                None => condition.list_read().await,
            };
            Box::pin(self.beside(observe)).await;
        }
        self.process().follows = if listed && complete && self.process().passes.remap_due().await.unwrap() {
            Some(PassKind::Remap)
        } else if kind != PassKind::Reread && self.anybody_stale().await {
            Some(PassKind::Reread)
        } else {
            None
        };
        self.note_managed().await;
    }

    /// Tells the tenant which teams are managed from now on, for it to judge what is sent: those of the mapping in force,
    /// during a remap those of the new one too, and until a remap those of one that was in force before.
    async fn note_managed(&mut self) {
        let state = self.store().tenant(self.name()).await.unwrap();
        let mut managed = BTreeSet::new();
        let remaps = self.process().pass.as_ref().is_some_and(|pass| pass.kind == PassKind::Remap);
        if remaps || state.mapping_digest.is_none() {
            managed.extend(self.settings.mapping.managed().clone());
        }
        if let Some(digest) = &state.mapping_digest {
            let rules = self.store().mapping(self.name(), digest).await.unwrap().unwrap();
            managed.extend(rules.into_values().flatten());
        }
        let mut tenant = self.tenant.state();
        let mut managed: BTreeSet<String> = managed.into_iter().map(|team| team.to_string()).collect();
        managed.extend(self.outgoing.clone());
        tenant.ever_managed.extend(managed.clone());
        tenant.managed = managed;
    }

    /// A held pass is approved or discarded.
    pub(crate) async fn decide(&mut self, hold: &Hold, decision: HoldDecision) {
        let now = self.clock.now();
        self.beside(async |store| store.release(hold, decision, now).await.unwrap()).await;
        if hold.mapping_digest.is_some() && decision == HoldDecision::Approve {
            let managed = self.tenant.state().managed.clone();
            self.outgoing.extend(managed);
        }
        self.note_managed().await;
        self.process().wake.notify_one();
    }

    /// Dead letters are sent once more.
    pub(crate) async fn replay(&mut self) {
        let now = self.clock.now();
        self.beside(async |store| store.replay(&Selection::All(None), now).await.unwrap()).await;
    }

    /// Does something with the database while the process goes on, which may just be using it.
    async fn beside<T>(&mut self, act: impl AsyncFnOnce(Store) -> T) -> T {
        let mut act = pin!(act(self.store().clone()));
        let bell = self.bell.clone();
        let waker = Waker::from(bell.clone());
        loop {
            let mut context = Context::from_waker(&waker);
            if let Poll::Ready(done) = act.as_mut().poll(&mut context) {
                return done;
            }
            if let Some((kind, began, report)) = self.poll(&mut context) {
                self.pass_ended(kind, began, report).await;
                continue;
            }
            tokio::task::yield_now().await;
            assert!(timeout(STUCK, bell.notify.notified()).await.is_ok(), "it is stuck");
        }
    }

    pub(crate) fn passing(&mut self) -> bool {
        self.process().pass.is_some()
    }

    pub(crate) async fn remap_due(&mut self) -> bool {
        self.process().passes.remap_due().await.unwrap()
    }
}
