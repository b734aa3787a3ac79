//! The pool: a loop around one step. It settles what came back, leases as much as there is room for, sends
//! it, and waits for the next thing to happen.
//!
//! A settlement that the database did not take is handed in again; a task that died is an attempt that
//! failed. Nothing is in flight that the loop does not know of, and nothing is sent before it knows of all that has landed.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Span, error};

use super::ahead::Ahead;
use super::attempt::{Outcome, Sender, Sent, Task};
use super::books::{Books, Landed};
use super::condition::Condition;
use super::health::{Allowance, Seen};
use super::report::{entry, note, refused, report, unclear, unclear_entry};
use super::step::{Nature, Policy, next_step};
use super::trouble::Trouble;
use super::verify::Sample;
use super::vitals::Vitals;
use crate::audit::Audit;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{Kind, Met, TenantId, Timestamp};
use crate::scim::{Failure, Receipt, RoleAttribute, ServiceProvider, Verdict};
use crate::store::{AuditHead, Damaged, Leased, Note, Settlement, Step, Store};
use crate::telemetry;

/// The queue is looked at this often even when nobody says that it has changed: another process may have
/// put something there, or a clock may have been set.
const LOOK: Duration = Duration::from_secs(2);
/// A clock that went back by more was set back, and what waits for a moment would wait for much longer.
const CLOCK_STEADY: Duration = Duration::from_secs(5);
/// What was sent without an answer is told of in the audit so much at a time.
const UNCLEAR_AT_ONCE: u32 = 500;
/// And not more often than this while nothing happens.
const SHORTEST_LOOK: Duration = Duration::from_millis(5);

/// How operations of one tenant are sent.
#[derive(Clone, Copy, Debug)]
pub struct PumpSettings {
    /// In flight at once, at least 1.
    pub workers: usize,
    /// How long we keep trying.
    pub policy: Policy,
    /// So many of the writes are read back, 0 to 100 percent.
    pub verify_percent: f64,
    /// Which attribute of a user holds the HR roles; what is read back is read as in a pass.
    pub role_attribute: RoleAttribute,
}

/// What the pump shares with the passes of its tenant.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Is it well?
    pub condition: Condition,
    /// What was done so far.
    pub vitals: Arc<Vitals>,
    /// Told whenever a user has to be read again.
    pub stale: Arc<Notify>,
}

/// Why [`Pump::drain`], or that of bulk requests, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nothing waits any more.
    Empty,
    /// What waits is not due yet, and somebody has to be read again meanwhile.
    Stale,
    /// The tenant refuses everything.
    Refused(Trouble),
    /// What waits may be old: nothing is sent before a list has been read.
    Unlisted,
    /// We were told to stop.
    Stopped,
}

/// Delivers the operations of one tenant.
#[derive(Debug)]
pub struct Pump<P> {
    books: Books,
    sender: Sender<P>,
    settings: PumpSettings,
    chance: Chance,
    shared: Shared,
    sample: Sample,
    /// Leased, and not begun.
    ahead: Ahead<Leased>,
    flying: JoinSet<Outcome>,
    /// What they carry.
    leased: HashMap<Id, Leased>,
    /// What has landed and is not written down.
    landed: Landed,
    /// Given up since the last success: the tenant's fault, if it turns out to refuse everybody.
    given_up: Vec<i64>,
    /// Those of them that have to be tried again.
    revived: Vec<i64>,
    /// Our clock at the last turn.
    turned_at: Timestamp,
    /// What was sent and is unclear, and stands in the audit, and its last line; the database does not know that yet.
    told: Option<(Vec<i64>, AuditHead)>,
}

impl<P: ServiceProvider> Pump<P> {
    /// Sends nothing yet.
    #[must_use]
    pub fn new(
        tenant: TenantId,
        store: Store,
        provider: P,
        settings: PumpSettings,
        (clock, chance): (Clock, Chance),
        shared: Shared,
        audit: Audit,
    ) -> Self {
        let sender = Sender { provider, clock, role_attribute: settings.role_attribute };
        let sample = Sample::new(settings.verify_percent);
        let turned_at = sender.clock.now();
        let ahead = Ahead::new(settings.workers, sender.clock.instant());
        Self {
            turned_at,
            books: Books { tenant, store, audit },
            sender,
            settings,
            chance,
            shared,
            sample,
            ahead,
            flying: JoinSet::new(),
            leased: HashMap::new(),
            landed: Landed::default(),
            given_up: Vec::new(),
            revived: Vec::new(),
            told: None,
        }
    }

    /// From now on it delivers nothing but what the pass `pass` decided.
    pub fn only(&mut self, pass: i64) {
        self.books.store = self.books.store.only(pass);
    }

    /// What is wrong with delivery at the moment.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.condition.trouble()
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
                match self.trouble() {
                    _ if stop.is_cancelled() => return Drained::Stopped,
                    _ if turned.nothing_waits => return Drained::Empty,
                    Some(trouble) if trouble != Trouble::Outage => return Drained::Refused(trouble),
                    _ if turned.unlisted => return Drained::Unlisted,
                    None if turned.nothing_due && self.anybody_stale().await => return Drained::Stale,
                    _ => {}
                }
            }
            self.wait(&nobody, stop, turned.look_in).await;
        }
    }

    /// Nothing is in flight or about to be, and the database knows of everything that was.
    fn at_rest(&self) -> bool {
        self.flying.is_empty()
            && self.ahead.is_empty()
            && self.landed.is_written()
            && self.told.is_none()
            && self.revived.is_empty()
    }

    /// Somebody has to be read again, and it is not only a part of what waits that we deliver.
    async fn anybody_stale(&self) -> bool {
        if self.books.store.is_partial() {
            return false;
        }
        let now = self.sender.clock.now();
        match self.books.store.rereads(&self.books.tenant, 1, now).await {
            Ok(users) => !users.is_empty(),
            Err(error) => {
                error!(tenant = %self.books.tenant, reason = %error, "database cannot be used");
                false
            }
        }
    }

    /// One turn: audit what was done, settle and lease in one transaction, and send. If that fails, nothing more is begun: nobody
    /// might ever hear of it.
    async fn turn(&mut self, stop: &CancellationToken) -> Turned {
        if let Some(turned) = self.try_turn(stop).await {
            return turned;
        }
        self.give_back();
        Turned { nothing_waits: false, nothing_due: false, unlisted: false, look_in: LOOK }
    }

    async fn try_turn(&mut self, stop: &CancellationToken) -> Option<Turned> {
        self.shared.condition.note().await;
        let now = self.sender.clock.now();
        let was_set_back = now.plus(CLOCK_STEADY) < self.turned_at;
        if was_set_back && let Err(error) = self.books.store.make_due(&self.books.tenant, now).await {
            error!(tenant = %self.books.tenant, reason = %error, "database cannot be used");
            return None;
        }
        self.turned_at = now;
        let allowance = self.begin(stop);
        let most = match allowance {
            _ if stop.is_cancelled() => 0,
            // What carries no complete list needs no fresh one.
            Allowance::Write(_) | Allowance::Unlisted => self.settings.workers + self.ahead.target(),
            Allowance::Probe | Allowance::ProbeByReading => 1,
            Allowance::Wait(_) => 0,
        };
        let lists = allowance != Allowance::Unlisted;
        let taken = self.flying.len() + self.ahead.len();
        let room = u32::try_from(most.saturating_sub(taken)).unwrap_or(u32::MAX);
        let (books, landed) = (self.books.clone(), mem::take(&mut self.landed));
        // Who lands beside that has no letter yet.
        let revived = mem::take(&mut self.revived);
        let lands = !landed.is_written();
        let work = Box::pin(books.turn(landed, (room, lists), now));
        let turn = match self.beside(work, stop).await {
            Ok(turn) => turn,
            Err(landed) => {
                self.landed.put_before(landed);
                self.revived.extend(revived);
                return None;
            }
        };
        if lands {
            // Whoever was in flight can be read again.
            self.shared.stale.notify_one();
        }
        let nothing_waits = turn.leased.is_empty() && turn.next_due.is_none() && revived.is_empty();
        if !revived.is_empty()
            && let Err(error) = self.books.store.revive(revived.clone(), now).await
        {
            error!(tenant = %self.books.tenant, reason = %error, "database cannot be used");
            self.revived.extend(revived);
        }
        let due = turn.next_due.is_some_and(|due| due <= now);
        let unlisted = due && allowance == Allowance::Unlisted;
        if unlisted {
            self.shared.condition.want_list();
        }
        let next = match allowance {
            Allowance::Wait(until) => Some(until),
            _ if room > 0 => turn.next_due,
            _ => None,
        };
        let nothing_due = turn.leased.is_empty() && !due;
        for Damaged { id, user, reason } in turn.damaged {
            self.shared.vitals.dead.add(1);
            error!(tenant = %self.books.tenant, %user, operation = id, reason, "operation is a dead letter");
        }
        self.ahead.turned(turn.leased, room, allowance, self.sender.clock.instant());
        self.begin(stop);
        if !self.tell_unclear(now).await {
            return None;
        }
        let next = if self.landed.is_written() { next } else { Some(now) };
        let look_in = next.map_or(LOOK, |next| next.since(now).clamp(SHORTEST_LOOK, LOOK));
        Some(Turned { nothing_waits, nothing_due, unlisted, look_in })
    }

    /// Writes down what was sent without an answer and has come to another end, once; returns whether all of it stands in
    /// the audit and the database knows.
    async fn tell_unclear(&mut self, now: Timestamp) -> bool {
        loop {
            if let Some((ids, head)) = &self.told {
                if let Err(error) = self.books.store.told(ids, head).await {
                    error!(tenant = %self.books.tenant, reason = %error, "database cannot be used");
                    return false;
                }
                self.told = None;
            }
            let unclear = match self.books.store.unclear(&self.books.tenant, UNCLEAR_AT_ONCE).await {
                Ok(unclear) if unclear.is_empty() => return true,
                Ok(unclear) => unclear,
                Err(error) => {
                    error!(tenant = %self.books.tenant, reason = %error, "database cannot be used");
                    return false;
                }
            };
            let entries = unclear.iter().map(|unclear| unclear_entry(&self.books.tenant, unclear)).collect();
            match self.books.audit.record(entries, now).await {
                Ok(link) => {
                    let ids = unclear.iter().map(|unclear| unclear.id).collect();
                    self.told = Some((ids, link.into()));
                }
                Err(error) => {
                    error!(tenant = %self.books.tenant, reason = %error, "audit cannot be written");
                    return false;
                }
            }
        }
    }

    /// Begins what was leased as workers become free; what may not be sent any more goes back. Returns what may be sent.
    fn begin(&mut self, stop: &CancellationToken) -> Allowance {
        let allowance = self.shared.condition.allowance(self.settings.workers);
        if stop.is_cancelled() || allowance != self.ahead.leased_under() {
            self.give_back();
        }
        while self.flying.len() < self.settings.workers
            && let Some(leased) = self.ahead.next()
        {
            self.send(leased, allowance);
        }
        allowance
    }

    /// What was leased and is not begun goes back.
    fn give_back(&mut self) {
        for leased in self.ahead.give_back() {
            self.landed.settlements.push(not_sent(leased, Step::Released));
        }
    }

    fn send(&mut self, leased: Leased, allowance: Allowance) {
        let operation = &leased.operation;
        let (kind, cause) = (operation.payload.kind(), operation.cause.as_str());
        let parent = leased.traceparent.as_deref();
        let span =
            telemetry::span::operation(&self.books.tenant, &operation.user, leased.id, kind, cause, parent);
        if leased.found {
            return self.found(leased, span);
        }
        let task = match allowance {
            Allowance::ProbeByReading => Task::Read,
            _ if self.sample.takes(self.chance.draw()) => Task::WriteAndVerify,
            _ => Task::Write,
        };
        let task = self.flying.spawn(self.sender.clone().attempt(leased.clone(), task, span));
        self.leased.insert(task.id(), leased);
    }

    /// A write whose answer was lost is done when what it was to change has been read since.
    fn found(&mut self, leased: Leased, span: Span) {
        let result = Ok(Sent::Written { receipt: Receipt::default(), verified: true });
        let outcome = Outcome { leased, result, tenant_answers: None, took: Duration::ZERO, span };
        outcome.span.in_scope(|| report(&outcome, &Step::Done, &self.shared.vitals));
        self.landed.entries.extend(entry(&self.books.tenant, &outcome));
        self.landed.settlements.push(not_sent(outcome.leased, Step::Done));
    }

    /// Waits until something has landed, something new waits, we are told to stop, or `look_in` is over.
    async fn wait(&mut self, wake: &Notify, stop: &CancellationToken, look_in: Duration) {
        tokio::select! {
            biased;
            Some(landed) = self.flying.join_next_with_id() => {
                self.land(landed);
                self.gather(stop).await;
            }
            () = wake.notified(), if !stop.is_cancelled() => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
            () = self.sender.clock.sleep(look_in) => {}
        }
    }

    /// Takes in what lands, and begins what was leased ahead, until little of that is left or it takes too long.
    async fn gather(&mut self, stop: &CancellationToken) {
        let clock = self.sender.clock.clone();
        loop {
            while let Some(landed) = self.flying.try_join_next_with_id() {
                self.land(landed);
            }
            self.begin(stop);
            if !self.ahead.is_ample() {
                break;
            }
            let left = self.ahead.gathered().saturating_duration_since(clock.instant());
            tokio::select! {
                biased;
                Some(landed) = self.flying.join_next_with_id() => self.land(landed),
                () = stop.cancelled() => break,
                () = clock.sleep(left) => break,
            }
        }
        self.ahead.learn(clock.instant());
    }

    /// Does `work` while the workers go on with what was leased ahead.
    async fn beside<T>(&mut self, mut work: impl Future<Output = T> + Unpin, stop: &CancellationToken) -> T {
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(landed) = self.flying.join_next_with_id(), if !self.ahead.is_empty() => {
                    self.land(landed);
                    self.begin(stop);
                }
            }
        }
    }

    fn land(&mut self, landed: Result<(Id, Outcome), JoinError>) {
        match landed {
            Ok((id, outcome)) => {
                self.leased.remove(&id);
                self.finish(&outcome);
            }
            Err(death) => {
                let Some(leased) = self.leased.remove(&death.id()) else { return };
                let now = self.sender.clock.now();
                let step = next_step(
                    Nature::of(&leased.operation.payload),
                    leased.attempts,
                    Some(&Verdict::Unavailable { wait: None }),
                    true,
                    self.settings.policy,
                    now,
                    self.chance.draw(),
                );
                let user = leased.operation.user;
                error!(tenant = %self.books.tenant, user = %user, operation = leased.id, "task of an attempt died");
                let note =
                    Note { reason: Some("the task of the attempt died".to_owned()), ..Note::default() };
                self.landed.settlements.push(Settlement {
                    id: leased.id,
                    lease: leased.lease,
                    user,
                    step,
                    note: Some(note),
                    created: None,
                    took: Duration::ZERO,
                    unclear: true,
                });
            }
        }
    }

    fn finish(&mut self, outcome: &Outcome) {
        let condition = self.shared.condition.clone();
        let now = self.sender.clock.now();
        let user = outcome.leased.operation.user.clone();
        let of_teams = outcome.leased.operation.payload.kind() == Kind::Teams;
        let failure = outcome.result.as_ref().err();
        let before = condition.trouble();
        let seen = self.seen(outcome);
        outcome.span.in_scope(|| condition.observe(&user, seen));
        let after = condition.trouble();
        let counted = outcome.tenant_answers == Some(true) && before.is_none() && after.is_none();
        let mut step = if matches!(outcome.result, Ok(Sent::Read)) {
            Step::Released
        } else {
            let verdict = failure.map(|failure| &failure.verdict);
            let (failures, policy) = (outcome.leased.attempts, self.settings.policy);
            let nature = Nature::of(&outcome.leased.operation.payload);
            next_step(nature, failures, verdict, counted, policy, now, self.chance.draw())
        };
        // While the tenant is in trouble, what it says about one user says nothing about that user; nor does
        // "done" while it ignores what it is told.
        let nameless =
            matches!(&outcome.result, Ok(Sent::Written { receipt, .. }) if receipt.created.is_none());
        if nameless && step == Step::Done && outcome.leased.operation.payload.creates() {
            step = Step::LookUp { met: Met::Unclear, due: now, counted: false };
        }
        let unproven = after == Some(Trouble::Ignored) && step == Step::Done;
        if unproven || (before.is_some() && after.is_some() && matches!(step, Step::Dead | Step::Gone)) {
            let due = match condition.allowance(1) {
                Allowance::Wait(until) => until,
                _ => now,
            };
            step = if unproven && outcome.leased.operation.payload.creates() {
                Step::LookUp { met: Met::Unclear, due, counted: false }
            } else {
                Step::Later { due, counted: false }
            };
        }
        outcome.span.in_scope(|| report(outcome, &step, &self.shared.vitals));
        match step {
            Step::Dead => self.given_up.push(outcome.leased.id),
            Step::Done => self.given_up.clear(),
            _ => {}
        }
        if before.is_none() && matches!(after, Some(Trouble::Forbidden | Trouble::Rejected)) {
            self.revived.append(&mut self.given_up);
        }
        match (&step, failure) {
            (Step::Done, _) => self.landed.entries.extend(entry(&self.books.tenant, outcome)),
            (Step::Dead | Step::Gone, Some(failure)) if !of_teams => {
                self.landed.entries.push(refused(&self.books.tenant, &outcome.leased, failure));
            }
            _ => {}
        }
        self.landed.settlements.push(Settlement {
            id: outcome.leased.id,
            lease: outcome.leased.lease,
            user,
            unclear: unclear(&outcome.result, &step),
            step,
            note: note(&outcome.result),
            created: match &outcome.result {
                Ok(Sent::Written { receipt, .. }) => receipt.created.clone(),
                _ => None,
            },
            took: outcome.took,
        });
    }

    /// What the end of an attempt says about the tenant.
    fn seen<'a>(&mut self, outcome: &'a Outcome) -> Seen<'a> {
        match &outcome.result {
            Ok(Sent::Written { verified, .. }) => {
                if *verified {
                    self.sample.seen(true);
                }
                Seen::Done { verified: *verified }
            }
            Ok(Sent::Read) => Seen::Read,
            // A file may be wrong as a whole, and says nothing about the tenant.
            Err(failure) if refused_row(&outcome.leased, failure) => Seen::Read,
            Err(failure) => {
                if failure.verdict == Verdict::Ignored {
                    self.sample.seen(false);
                }
                Seen::Failed { failure, alone: outcome.tenant_answers == Some(false) }
            }
        }
    }
}

/// It was leased, and nothing is sent for it.
fn not_sent(leased: Leased, step: Step) -> Settlement {
    let Leased { id, lease, operation, .. } = leased;
    Settlement {
        id,
        lease,
        user: operation.user,
        step,
        note: None,
        unclear: false,
        created: None,
        took: Duration::ZERO,
    }
}

/// The tenant has understood what a row of a file wants, and has not taken it.
fn refused_row(leased: &Leased, failure: &Failure) -> bool {
    leased.operation.payload.kind() != Kind::Teams
        && matches!(failure.verdict, Verdict::Rejected | Verdict::Exists | Verdict::Conflict | Verdict::Gone)
}

/// What a turn found out.
#[derive(Clone, Copy, Debug)]
struct Turned {
    /// No operation waits, whatever its time.
    nothing_waits: bool,
    /// None that may be sent is due.
    nothing_due: bool,
    /// One is due, and may not be sent before a list has been read.
    unlisted: bool,
    /// When to look again at the latest.
    look_in: Duration,
}
