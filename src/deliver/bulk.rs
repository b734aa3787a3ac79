//! Bulk requests: many rows in one call. One request at a time; whatever it comes to, each row gets its own verdict.
//!
//! A request is written down before it is submitted, and its name before it is asked about, so that a restart goes on asking and
//! submits nothing twice. What nobody can say of a request is never guessed: users who may have been created are looked up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::books::{Books, Landed, Unwritten};
use super::condition::Condition;
use super::health::{Allowance, Seen};
use super::pump::Drained;
use super::report::{given_up, refused, written};
use super::step::{Nature, Policy, next_step};
use super::trouble::Trouble;
use super::vitals::Vitals;
use crate::audit::{Audit, Entry};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{Met, TenantId, Timestamp, UserId};
use crate::scim::{
    BulkAnswer, BulkOperation, BulkResult, BulkState, Client, Failure, Receipt, ServiceProvider, Verdict,
    backoff, bulk_body, write_of,
};
use crate::store::{Job, JobLimits, Leased, Note, Settlement, Step, Store};
use crate::telemetry;

/// The queue is looked at this often even when nobody says that it has changed.
const LOOK: Duration = Duration::from_secs(2);
/// So much may be in a request to a tenant that does not say how much.
const USUAL: JobLimits = JobLimits { operations: 100, bytes: 1024 * 1024 };
/// However much a tenant takes: the answer to more of them might not be read.
const MOST: usize = 1000;

/// How bulk requests are made.
#[derive(Clone, Copy, Debug)]
pub struct BulkPumpSettings {
    /// The tenant is asked how far it is this often.
    pub poll_interval: Duration,
    /// And at most so many times.
    pub max_polls: u32,
    /// `failOnErrors` is spelled out, as the documents do.
    pub spell_out: bool,
    /// How long we keep trying.
    pub policy: Policy,
}

/// Sends bulk requests of one tenant.
#[derive(Debug)]
pub struct BulkPump {
    books: Books,
    client: Client,
    settings: BulkPumpSettings,
    clock: Clock,
    chance: Chance,
    condition: Condition,
    vitals: Arc<Vitals>,
    /// What we know of a request, and the database does not yet.
    heard: Option<Heard>,
    /// Known once the tenant was asked; smaller once it found a request too large.
    limits: Option<JobLimits>,
    /// The tenant takes no bulk requests.
    refused: Arc<AtomicBool>,
}

/// What came of a request, for the operations in it.
struct Ended {
    results: Vec<BulkResult>,
    /// What to say of those that it tells nothing about: they may be done.
    unclear: Option<String>,
    /// Why it came to nothing as a whole.
    broken: Option<String>,
    correlation_id: Option<String>,
}

/// What has become of a request.
#[derive(Debug)]
struct Heard {
    job: Job,
    news: News,
}

#[derive(Debug)]
enum News {
    /// The tenant has taken it, and calls it so.
    Submitted(String),
    /// It has come to its end; why to no good one.
    Ended(Landed, Option<String>),
    /// It was not taken; why.
    Back(String),
}

impl BulkPump {
    /// Sends nothing yet.
    #[must_use]
    pub fn new(
        (tenant, store, client): (TenantId, Store, Client),
        settings: BulkPumpSettings,
        (clock, chance): (Clock, Chance),
        (condition, vitals): (Condition, Arc<Vitals>),
        audit: Audit,
    ) -> Self {
        let refused = Arc::new(AtomicBool::new(false));
        Self {
            books: Books { tenant, store, audit },
            client,
            settings,
            clock,
            chance,
            condition,
            vitals,
            heard: None,
            limits: None,
            refused,
        }
    }

    /// Set once the tenant has turned out to take no bulk requests.
    #[must_use]
    pub fn refused(&self) -> Arc<AtomicBool> {
        self.refused.clone()
    }

    /// From now on it delivers nothing but what the pass `pass` decided.
    pub fn only(&mut self, pass: i64) {
        self.books.store = self.books.store.only(pass);
    }

    /// Delivers until told to stop. A request that is under way then is gone on with after the next start; what we have heard
    /// of one is written down before.
    pub async fn run(&mut self, wake: &Notify, stop: &CancellationToken) {
        while !stop.is_cancelled() || self.heard.is_some() {
            self.turn_and_wait(wake, stop).await;
        }
    }

    /// Delivers until nothing waits to be sent in a bulk request, and none is under way, or the tenant refuses us.
    pub async fn drain(&mut self, stop: &CancellationToken) -> Drained {
        let nobody = Notify::new();
        loop {
            if self.heard.is_none() {
                if stop.is_cancelled() {
                    return Drained::Stopped;
                }
                match self.books.store.bulk_waits(&self.books.tenant).await {
                    Ok(true) => {}
                    Ok(false) => return Drained::Empty,
                    Err(error) => Unwritten::from(error).log(&self.books.tenant),
                }
                match self.condition.trouble() {
                    Some(trouble) if trouble != Trouble::Outage => return Drained::Refused(trouble),
                    _ => {}
                }
            }
            self.turn_and_wait(&nobody, stop).await;
        }
    }

    async fn turn_and_wait(&mut self, wake: &Notify, stop: &CancellationToken) {
        let look_in = match self.turn(stop).await {
            Ok(look_in) => look_in,
            Err(unwritten) => {
                unwritten.log(&self.books.tenant);
                LOOK
            }
        };
        tokio::select! {
            () = stop.cancelled(), if !stop.is_cancelled() => {}
            () = wake.notified() => {}
            () = self.clock.sleep(look_in) => {}
        }
    }

    /// One request, if one is under way or anything is to be sent in one. Says when to look again.
    async fn turn(&mut self, stop: &CancellationToken) -> Result<Duration, Unwritten> {
        self.write_down().await?;
        if stop.is_cancelled() {
            return Ok(Duration::ZERO);
        }
        let now = self.clock.now();
        if let Some(job) = self.books.store.submitted_job(&self.books.tenant).await? {
            self.follow(job, stop).await?;
            return Ok(Duration::ZERO);
        }
        if let Allowance::Wait(until) = self.condition.allowance(1) {
            return Ok(until.since(now).min(LOOK));
        }
        let due = self.books.store.next_packed(&self.books.tenant, now).await?;
        match due {
            None => return Ok(LOOK),
            Some(due) if due > now => return Ok(due.since(now).min(LOOK)),
            Some(_) => {}
        }
        let Some(limits) = self.limits().await? else { return Ok(Duration::ZERO) };
        let packed = self.books.store.pack(&self.books.tenant, limits, now).await?;
        if let Some(job) = packed {
            self.submit(job).await?;
            return Ok(Duration::ZERO);
        }
        Ok(LOOK)
    }

    /// How much may be in a request; `None` when the tenant takes none, and what waits is sent one by one.
    async fn limits(&mut self) -> Result<Option<JobLimits>, Unwritten> {
        if let Some(limits) = self.limits {
            return Ok(Some(limits));
        }
        let support = match self.client.bulk_support().await {
            Ok(support) => support,
            Err(failure) => {
                self.observe(&failure);
                self.clock.sleep(backoff(1, self.chance.draw())).await;
                return Ok(None);
            }
        };
        if support.supported == Some(false) {
            self.give_up_bulk("the tenant says that it takes none").await?;
            return Ok(None);
        }
        let limits = JobLimits {
            operations: support.operations.unwrap_or(USUAL.operations).min(MOST),
            bytes: support.bytes.unwrap_or(USUAL.bytes),
        };
        self.limits = Some(limits);
        Ok(self.limits)
    }

    async fn give_up_bulk(&self, reason: &str) -> Result<(), Unwritten> {
        warn!(tenant = %self.books.tenant, reason, "bulk requests are not taken");
        self.refused.store(true, Ordering::SeqCst);
        self.books.store.unpack(&self.books.tenant).await?;
        Ok(())
    }

    async fn submit(&mut self, job: Job) -> Result<(), Unwritten> {
        let honours = match self.client.honours_if_match().await {
            Ok(honours) => honours,
            Err(failure) => return self.not_submitted(job, &failure).await,
        };
        let operations: Vec<BulkOperation<'_>> =
            job.operations.iter().map(|leased| operation(leased, honours)).collect();
        let body = bulk_body(&operations, self.settings.spell_out);
        let most = self.limits.unwrap_or(USUAL);
        let many = job.operations.len() > 1;
        if body.len() > most.bytes && many {
            return self.too_large(job).await;
        }
        let sent = self.client.bulk(&body).await;
        if sent.is_ok() {
            let operations = i64::try_from(job.operations.len()).unwrap_or(i64::MAX);
            info!(tenant = %self.books.tenant, operations, "bulk request submitted");
        }
        match sent {
            Ok(BulkAnswer { state: BulkState::Running(Some(name)), .. }) => {
                self.answered(&job);
                self.hear(job, News::Submitted(name)).await
            }
            Ok(BulkAnswer { state: BulkState::Running(None), correlation_id, .. }) => {
                self.end(job, unclear("the answer names no job", correlation_id)).await
            }
            Ok(answer) => {
                self.answered(&job);
                self.end(job, ended(answer)).await
            }
            Err(failure) => self.submission_failed(job, &failure).await,
        }
    }

    async fn submission_failed(&mut self, job: Job, failure: &Failure) -> Result<(), Unwritten> {
        let reason = telemetry::redact::text(&failure.reason).into_owned();
        match (failure.status, &failure.verdict) {
            (Some(413), _) if job.operations.len() > 1 => self.too_large(job).await,
            (Some(403 | 404 | 405 | 501), _) => {
                self.end(job, one_by_one(reason.clone())).await?;
                self.give_up_bulk(&reason).await
            }
            (_, Verdict::Throttled { .. } | Verdict::Unauthorized | Verdict::NotSent) => {
                self.not_submitted(job, failure).await
            }
            (_, Verdict::Unavailable { .. } | Verdict::Ignored) => {
                self.observe(failure);
                self.end(job, unclear(&reason, failure.correlation_id.clone())).await
            }
            // Something in it is wrong: each row by itself has its own verdict.
            _ => self.end(job, one_by_one(reason)).await,
        }
    }

    /// Nothing was submitted.
    async fn not_submitted(&mut self, job: Job, failure: &Failure) -> Result<(), Unwritten> {
        self.observe(failure);
        self.hear(job, News::Back(failure.verdict.as_str().to_owned())).await
    }

    /// A request that is too large is made of half as many.
    async fn too_large(&mut self, job: Job) -> Result<(), Unwritten> {
        let limits = self.limits.unwrap_or(USUAL);
        let operations = (job.operations.len() / 2).max(1);
        self.limits = Some(JobLimits { operations, ..limits });
        info!(
            tenant = %self.books.tenant,
            operations = i64::try_from(operations).unwrap_or(i64::MAX),
            "bulk request was too large"
        );
        self.hear(job, News::Back("too large".to_owned())).await
    }

    /// Writes down what has become of a request.
    async fn hear(&mut self, job: Job, news: News) -> Result<(), Unwritten> {
        self.heard = Some(Heard { job, news });
        self.write_down().await
    }

    /// Writes down what we have heard, unless it is written. Nothing else is begun before.
    async fn write_down(&mut self) -> Result<(), Unwritten> {
        let Some(Heard { job, news }) = &mut self.heard else { return Ok(()) };
        let (store, now) = (&self.books.store, self.clock.now());
        match news {
            News::Submitted(name) => store.job_submitted(job.id, name).await?,
            News::Ended(landed, broken) => self.books.finish(job, landed, broken.as_deref(), now).await?,
            News::Back(reason) => store.put_job_back(job, reason, now).await?,
        }
        self.heard = None;
        Ok(())
    }

    /// Asks until the tenant is done with it, for as long as may be.
    async fn follow(&mut self, job: Job, stop: &CancellationToken) -> Result<(), Unwritten> {
        let Some(name) = job.name.clone() else { return Ok(()) };
        let mut polls = job.polls;
        loop {
            if polls >= self.settings.max_polls {
                return self.end(job, unclear("it did not come to an end in time", None)).await;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.clock.sleep(self.settings.poll_interval) => {}
            }
            let asked = self.client.bulk_job(&name).await;
            let counts = !matches!(
                asked,
                Err(Failure {
                    verdict: Verdict::Throttled { .. } | Verdict::NotSent | Verdict::Unauthorized,
                    ..
                })
            );
            if counts {
                polls += 1;
                self.books.store.job_polled(job.id).await?;
            }
            match asked {
                Ok(BulkAnswer { state: BulkState::Running(_), .. }) => {}
                Ok(answer) => return self.end(job, ended(answer)).await,
                Err(failure) if failure.status == Some(404) || failure.verdict == Verdict::Gone => {
                    return self.end(job, unclear("the tenant does not know the job any more", None)).await;
                }
                Err(failure) if failure.verdict == Verdict::NotSent => return Ok(()),
                Err(failure) => self.observe(&failure),
            }
        }
    }

    /// A request has come to its end: what is known of each operation is audited, then settled.
    async fn end(&mut self, job: Job, ended: Ended) -> Result<(), Unwritten> {
        let now = self.clock.now();
        let took = now.since(job.submitted_at);
        let (mut settlements, mut entries) = (Vec::new(), Vec::new());
        for leased in &job.operations {
            let id = leased.id.to_string();
            let result = ended.results.iter().find(|result| result.id == id).map(|result| &result.result);
            let step = match result {
                Some(Ok(user)) if user.is_some() || !leased.operation.payload.creates() => Step::Done,
                Some(Ok(_)) => Step::LookUp { met: Met::Unclear, due: now, counted: false },
                Some(Err(failure)) => self.step_of(leased, failure, now),
                None if ended.unclear.is_some() && leased.operation.payload.creates() => {
                    // It may still be at work.
                    let due = now.plus(self.settings.poll_interval);
                    Step::LookUp { met: Met::Unclear, due, counted: ended.broken.is_some() }
                }
                None => continue,
            };
            let created = result.and_then(|result| result.as_ref().ok()).cloned().flatten();
            let receipt = Receipt { correlation_id: ended.correlation_id.clone(), created: created.clone() };
            match (&step, result) {
                (Step::Done, _) => {
                    self.vitals.delivered.add(1);
                    entries.push(written(&self.books.tenant, leased, &receipt));
                }
                (Step::Dead | Step::Gone, Some(Err(failure))) => {
                    self.vitals.dead.add(u64::from(step == Step::Dead));
                    entries.push(refused(&self.books.tenant, leased, failure));
                    let correlation_id =
                        failure.correlation_id.as_deref().or(ended.correlation_id.as_deref());
                    given_up(&self.books.tenant, leased, (&step, failure), (correlation_id, took));
                }
                _ => {}
            }
            let created = created.filter(|_| leased.operation.payload.creates());
            let note = Some(note(result, &ended));
            let (lease, user) = (leased.lease, leased.operation.user.clone());
            let unclear = false;
            settlements.push(Settlement { id: leased.id, lease, user, step, note, unclear, created, took });
        }
        self.log(&job, &ended, &settlements, took);
        entries.push(job_entry(&self.books.tenant, &job, &ended, took));
        let landed = Landed { settlements, entries, ..Landed::default() };
        self.hear(job, News::Ended(landed, ended.broken)).await
    }

    /// That of a single call; but what says "not now" of one operation is not about the tenant.
    fn step_of(&self, leased: &Leased, failure: &Failure, now: Timestamp) -> Step {
        if failure.status == Some(429) {
            return Step::Later {
                due: now.plus(backoff(leased.attempts + 1, self.chance.draw())),
                counted: false,
            };
        }
        let nature = Nature::of(&leased.operation.payload);
        let verdict = Some(&failure.verdict);
        next_step(nature, leased.attempts, verdict, true, self.settings.policy, now, self.chance.draw())
    }

    fn log(&self, job: &Job, ended: &Ended, settlements: &[Settlement], took: Duration) {
        let count = |done: bool| {
            let of = settlements.iter().filter(|settlement| (settlement.step == Step::Done) == done).count();
            i64::try_from(of).unwrap_or(i64::MAX)
        };
        let duration_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let operations = i64::try_from(job.operations.len()).unwrap_or(i64::MAX);
        let silent = settlements.len() < job.operations.len() || count(true) + count(false) == 0;
        let reason = ended.broken.as_deref().or(ended.unclear.as_deref().filter(|_| silent));
        let (tenant, done, job) = (&self.books.tenant, count(true), job.name.as_deref());
        if reason.is_some() {
            warn!(%tenant, job, operations, done, reason, duration_ms, "bulk request ended");
        } else {
            info!(%tenant, job, operations, done, duration_ms, "bulk request ended");
        }
    }

    /// The tenant answers.
    fn answered(&self, job: &Job) {
        if let Some(leased) = job.operations.first() {
            self.condition.observe(&leased.operation.user, Seen::Done { verified: false });
        }
    }

    /// It does not, or does not know us.
    fn observe(&self, failure: &Failure) {
        if matches!(failure.verdict, Verdict::Unavailable { .. } | Verdict::Unauthorized) {
            let nobody = UserId::from("bulk");
            self.condition.observe(&nobody, Seen::Failed { failure, alone: true });
        }
    }
}

fn operation(leased: &Leased, honours_if_match: bool) -> BulkOperation<'_> {
    let (write, data) = write_of(&leased.operation.payload);
    let version = leased.operation.version.as_deref().filter(|_| honours_if_match);
    BulkOperation { id: leased.id.to_string(), write, user: &leased.operation.user, data, version }
}

fn ended(answer: BulkAnswer) -> Ended {
    let BulkAnswer { state, results, correlation_id } = answer;
    let broken = match state {
        BulkState::Broken(word) => Some(format!("the tenant says: {word}")),
        BulkState::Ended | BulkState::Running(_) => None,
    };
    // What an answer does not speak of may have been done or not.
    let unclear = broken.clone().or_else(|| Some("the answer says nothing about some of it".to_owned()));
    Ended { results, unclear, broken, correlation_id }
}

fn unclear(reason: &str, correlation_id: Option<String>) -> Ended {
    let reason = Some(reason.to_owned());
    Ended { results: Vec::new(), unclear: reason.clone(), broken: reason, correlation_id }
}

/// It was refused as a whole, so that nothing of it was done.
fn one_by_one(reason: String) -> Ended {
    Ended { results: Vec::new(), unclear: None, broken: Some(reason), correlation_id: None }
}

fn note(result: Option<&Result<Option<UserId>, Failure>>, ended: &Ended) -> Note {
    let correlation_id = ended.correlation_id.clone();
    match result {
        Some(Ok(_)) => Note { correlation_id, ..Note::default() },
        Some(Err(failure)) => Note {
            status: failure.status,
            reason: Some(failure.reason.clone()),
            correlation_id: failure.correlation_id.clone().or(correlation_id),
            answer: failure.answer.clone(),
        },
        None => Note { reason: ended.unclear.clone(), correlation_id, ..Note::default() },
    }
}

/// Why a request has come to nothing: as a whole, or because nothing in it was done.
fn failed(job: &Job, ended: &Ended) -> Option<String> {
    let ours = |result: &&BulkResult| job.operations.iter().any(|leased| leased.id.to_string() == result.id);
    let mut results = ended.results.iter().filter(ours);
    if ended.broken.is_some()
        || job.operations.is_empty()
        || results.clone().any(|result| result.result.is_ok())
    {
        return ended.broken.clone();
    }
    let Some(failure) = results.find_map(|result| result.result.as_ref().err()) else {
        return Some("the answer says of nothing that it was done".to_owned());
    };
    let status = failure.status.map(|status| format!("{status} ")).unwrap_or_default();
    let reason = telemetry::redact::text(&failure.reason);
    Some(format!("nothing of it was done; the first that failed: {status}{reason}"))
}

fn job_entry(tenant: &TenantId, job: &Job, ended: &Ended, took: Duration) -> Entry {
    let (tenant, job_id) = (tenant.clone(), job.name.clone());
    let user_count = u64::try_from(job.operations.len()).unwrap_or(u64::MAX);
    let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match failed(job, ended) {
        None => Entry::SyncSuccess { tenant, job_id, user_count, latency_ms, error: None },
        Some(error) => Entry::SyncFailure { tenant, job_id, user_count, latency_ms, error: Some(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(state: BulkState) -> BulkAnswer {
        BulkAnswer { state, results: Vec::new(), correlation_id: Some("c-1".to_owned()) }
    }

    #[test]
    fn what_an_answer_does_not_speak_of_is_not_known() {
        let said = ended(answer(BulkState::Ended));
        assert_eq!((said.broken.is_some(), said.unclear.is_some()), (false, true));
        let failed = ended(answer(BulkState::Broken("failed".to_owned())));
        assert_eq!(failed.broken.as_deref(), Some("the tenant says: failed"));
        assert_eq!(failed.unclear, failed.broken);
        let silent = unclear("the answer names no job", None);
        assert_eq!((silent.broken.is_some(), silent.unclear.is_some()), (true, true));
    }

    #[test]
    fn what_was_refused_as_a_whole_was_not_done() {
        let refused = one_by_one("400 Bad Request".to_owned());
        assert_eq!((refused.broken.is_some(), refused.unclear), (true, None));
    }

    #[test]
    fn the_audit_tells_of_a_request_that_came_to_nothing_as_a_failure() {
        let job = Job {
            id: 1,
            name: Some("job-1".to_owned()),
            polls: 0,
            submitted_at: Timestamp::EPOCH,
            operations: Vec::new(),
        };
        let entry = |ended: &Ended| job_entry(&TenantId::from("acme"), &job, ended, Duration::from_millis(7));
        let done = entry(&ended(answer(BulkState::Ended)));
        assert!(
            matches!(&done, Entry::SyncSuccess { job_id: Some(id), latency_ms: 7, error: None, .. } if id == "job-1"),
            "{done:?}"
        );
        let failed = entry(&unclear("it did not come to an end in time", None));
        assert!(matches!(&failed, Entry::SyncFailure { error: Some(_), .. }), "{failed:?}");
    }
}
