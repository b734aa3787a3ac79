//! A pass: read, plan, ask the guard, commit. What was read is staged page by page; nothing of it counts
//! before the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{Instrument, error};

use super::cadence::remap_due;
use super::connect::list_settings;
use super::parts::Parts;
use super::reader::Reader;
use super::readings::Readings;
use super::report::{Applied, LeftOut, PassError, Refused, Report, log};
use super::rules::Rules;
use crate::config::{GuardSettings, TenantSettings};
use crate::deliver::Vitals;
use crate::model::{PassKind, Payload, PlanDigest, Tally, TenantId, Timestamp, UserId};
use crate::plan::{self, Mapping, Plan};
use crate::scim::{Client, ServiceProvider};
use crate::source::ListSettings;
use crate::store::{Commit, Committed, NewHold, Store, StoreError, TenantState};
use crate::telemetry;

/// A pass, from its begin on.
#[derive(Debug)]
struct Begun {
    id: i64,
    kind: PassKind,
    at: Timestamp,
    instant: Instant,
    /// The tenant as it was then.
    state: TenantState,
}

/// Runs the passes of one tenant, one at a time.
#[derive(Debug)]
pub struct Passes<P = Client> {
    tenant: TenantId,
    store: Store,
    provider: P,
    list: ListSettings,
    overlap: Duration,
    mapping: Mapping,
    mapping_digest: String,
    policy: plan::Policy,
    guard: GuardSettings,
    parts: Parts,
    vitals: Arc<Vitals>,
}

impl<P: ServiceProvider> Passes<P> {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(
        settings: &TenantSettings,
        store: Store,
        provider: P,
        parts: Parts,
        vitals: Arc<Vitals>,
    ) -> Self {
        Self {
            tenant: settings.name.clone(),
            store,
            provider,
            list: list_settings(settings),
            overlap: settings.reading.overlap,
            mapping: settings.mapping.clone(),
            mapping_digest: settings.mapping.digest(),
            policy: settings.policy,
            guard: settings.guard,
            parts,
            vitals,
        }
    }

    /// Notes the mapping that the configuration names: to be done before the first pass.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn see_mapping(&self) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        self.store.see_mapping(&self.tenant, &self.mapping_digest, self.mapping.rules(), now).await
    }

    /// Whether all users have to be decided anew, after a list pass that was complete.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remap_due(&self) -> Result<bool, StoreError> {
        Ok(remap_due(&self.store.tenant(&self.tenant).await?, &self.mapping_digest))
    }

    /// Runs one pass and logs how it ended.
    ///
    /// # Errors
    /// When nothing could be committed.
    pub async fn run(&self, kind: PassKind) -> Result<Report, PassError> {
        let pass = self.begin(kind).await.inspect_err(|error| self.not_begun(error))?;
        async {
            let mut readings = Readings::default();
            let ended = self.read_and_commit(&pass, &mut readings).await;
            self.end(&pass, &ended, &mut readings).await;
            ended
        }
        .instrument(telemetry::span::pass(&self.tenant, kind, pass.id))
        .await
    }

    /// Carries out a plan that somebody has reviewed, for every user who is still as he was; logs how it ended.
    ///
    /// # Errors
    /// When nothing could be committed, or the plan was made by rules that do not hold any more.
    pub async fn apply(&self, plan: &Plan) -> Result<Applied, PassError> {
        let pass = self.begin(PassKind::Apply).await.inspect_err(|error| self.not_begun(error))?;
        async {
            let mut readings = Readings::default();
            let applied = self.read_reviewed(&pass, plan, &mut readings).await;
            let (ended, left_out) = applied
                .map_or_else(|error| (Err(error), LeftOut::default()), |(report, out)| (Ok(report), out));
            self.end(&pass, &ended, &mut readings).await;
            self.applied(ended?, left_out, plan).await
        }
        .instrument(telemetry::span::pass(&self.tenant, PassKind::Apply, pass.id))
        .await
    }

    /// Runs one pass without a word in the log: for a plan, whose store is a copy.
    pub(super) async fn rehearse(&self, kind: PassKind) -> Result<Report, PassError> {
        let pass = self.begin(kind).await?;
        self.read_and_commit(&pass, &mut Readings::default()).await
    }

    async fn begin(&self, kind: PassKind) -> Result<Begun, StoreError> {
        let (at, instant) = (self.parts.clock.now(), self.parts.clock.instant());
        let state = self.store.tenant(&self.tenant).await?;
        let id = self.store.begin_pass(&self.tenant, kind, at).await?;
        Ok(Begun { id, kind, at, instant, state })
    }

    /// A pass that cannot even be noted leaves no other trace.
    fn not_begun(&self, error: &StoreError) {
        error!(tenant = %self.tenant, reason = %error, "database cannot be used");
    }

    /// Logs how a pass ended. One that came to nothing is noted as such; a database that cannot even do that
    /// clears up at the next start.
    async fn end(&self, pass: &Begun, ended: &Result<Report, PassError>, readings: &mut Readings) {
        if ended.is_err() {
            readings.watermark = None;
        }
        let took = self.parts.clock.instant().saturating_duration_since(pass.instant);
        log(pass.kind, ended, readings, pass.state.watermark, took);
        let Err(error) = ended else { return };
        let (reason, now) = (error.to_string(), self.parts.clock.now());
        if let Err(error) = self.store.fail_pass(pass.id, &reason, readings.totals, now).await {
            error!(reason = %error, "database cannot be used");
        }
    }

    async fn read_and_commit(&self, pass: &Begun, readings: &mut Readings) -> Result<Report, PassError> {
        let Begun { id, kind, at, ref state, .. } = *pass;
        let configured = (&self.mapping, self.mapping_digest.as_str());
        let rules = Rules::of_pass(kind, &self.tenant, configured, self.policy, state, &self.store).await?;
        let reader = self.reader(id, &rules);
        match kind {
            PassKind::Delta => reader.list(state.watermark, at, state, readings).await?,
            PassKind::Sweep => {
                reader.list(None, at, state, readings).await?;
                reader.missing(readings).await?;
            }
            PassKind::Reread => reader.reread(readings).await?,
            PassKind::Remap => reader.remap(readings).await?,
            PassKind::Apply | PassKind::Provision | PassKind::Attributes => {}
        }
        let tally = self.tally(id, kind, readings).await?;
        let mapping_applied = rules.new && (kind == PassKind::Remap || kind.lists());
        self.commit(pass, (&rules, mapping_applied), (!tally.first, true), readings).await
    }

    /// What somebody has reviewed is not asked about again, and does not count towards the guard's limits.
    async fn read_reviewed(
        &self,
        pass: &Begun,
        plan: &Plan,
        readings: &mut Readings,
    ) -> Result<(Report, LeftOut), PassError> {
        let configured = (&self.mapping, self.mapping_digest.as_str());
        let (made_by, policy) = (plan.mapping_digest.as_str(), self.policy);
        let rules =
            Rules::of_plan(made_by, &self.tenant, configured, policy, &pass.state, &self.store).await?;
        let rules = rules.ok_or(PassError::OtherMapping)?;
        let left_out = self.reader(pass.id, &rules).reviewed(plan, readings).await?;
        let mapping_applied = rules.new && pass.state.mapping_digest.is_some();
        let report = self.commit(pass, (&rules, mapping_applied), (false, false), readings).await?;
        Ok((report, left_out))
    }

    /// Whoever was in flight when the pass was committed is read again instead.
    async fn applied(
        &self,
        report: Report,
        LeftOut { mut already, mut refused }: LeftOut,
        plan: &Plan,
    ) -> Result<Applied, PassError> {
        let sent = self.store.operations_of_pass(report.id).await?;
        let users: Vec<UserId> = sent.into_iter().map(|sent| sent.operation.user).collect();
        let told = refused.iter().map(|refused| &refused.user);
        let told: BTreeSet<&UserId> = told.chain(&already).chain(&users).collect();
        let others = plan.changes.iter().map(|change| &change.user).filter(|user| !told.contains(user));
        let others: Vec<Refused> =
            others.map(|user| Refused::new(user, "an operation for him was in flight")).collect();
        refused.extend(others);
        refused.sort_by(|one, other| one.user.cmp(&other.user));
        already.sort();
        Ok(Applied { report, users, already, refused })
    }

    async fn commit(
        &self,
        pass: &Begun,
        (rules, mapping_applied): (&Rules, bool),
        counts: (bool, bool),
        readings: &mut Readings,
    ) -> Result<Report, PassError> {
        let digest = self.digest(pass.id).await?;
        let held = !readings.findings.is_empty();
        let reason = readings.reason();
        let commit = Commit {
            pass: pass.id,
            tenant: &self.tenant,
            kind: pass.kind,
            result: readings.result(),
            reason: reason.as_deref(),
            totals: readings.totals,
            began: pass.at,
            complete: readings.complete,
            watermark: readings.watermark,
            digest: &digest,
            mapping_digest: &rules.digest,
            mapping_applied,
            sweep_wanted: readings.sweep_wanted,
            since: readings.since,
            gone: &readings.gone,
            unreadable: &readings.unreadable,
            later: &readings.later,
            in_flight: &readings.in_flight,
            hold: held.then_some(NewHold { findings: &readings.findings, missing: readings.missing }),
            counts,
            now: self.parts.clock.now(),
        };
        let committed = self.store.commit(&commit).instrument(telemetry::span::commit()).await?;
        Ok(self.report(pass, committed, readings))
    }

    fn report(
        &self,
        &Begun { id, kind, .. }: &Begun,
        committed: Committed,
        readings: &mut Readings,
    ) -> Report {
        readings.totals.planned = committed.planned;
        self.vitals.passes.add(1);
        self.vitals.users_read.add(readings.totals.users_read);
        self.vitals.planned.add(committed.planned);
        if let Some(watermark) = readings.watermark {
            self.vitals.set_watermark(watermark);
        }
        let (result, reason, totals) = (readings.result(), readings.reason(), readings.totals);
        let complete = readings.complete || !kind.lists();
        Report { id, kind, result, reason, complete, totals, committed }
    }

    /// Asks the guard what it thinks of what is staged.
    async fn tally(&self, id: i64, kind: PassKind, readings: &mut Readings) -> Result<Tally, StoreError> {
        let limits = &self.guard.limits;
        let window = self.parts.clock.now().minus(self.guard.window);
        let missing_anew = kind == PassKind::Sweep && (readings.complete || readings.missing);
        let tally = self.store.tally(&self.tenant, id, window, limits.of_teams(), missing_anew).await?;
        readings.findings.extend(plan::examine(&tally, limits, self.guard.window));
        Ok(tally)
    }

    /// The digest of what is staged.
    async fn digest(&self, id: i64) -> Result<String, StoreError> {
        let mut digest = PlanDigest::default();
        let change = |user: &UserId, payload: &Payload| {
            let teams = payload.teams();
            digest.change(user, &teams.added, &teams.removed);
        };
        self.store.each_staged_change(&self.tenant, id, change).await?;
        Ok(digest.finish())
    }

    fn reader<'a>(&'a self, pass: i64, rules: &'a Rules) -> Reader<'a, P> {
        Reader {
            tenant: &self.tenant,
            store: &self.store,
            provider: &self.provider,
            settings: &self.list,
            overlap: self.overlap,
            limits: &self.guard.limits,
            parts: &self.parts,
            pass,
            rules,
        }
    }
}
