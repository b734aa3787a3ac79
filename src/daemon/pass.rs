//! A pass: read, plan, ask the guard, commit. What was read is staged page by page; nothing of it counts
//! before the end.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument, error};

use super::cadence::remap_due;
use super::connect::list_settings;
use super::parts::Parts;
use super::reader::Reader;
use super::readings::Readings;
use super::report::{PassError, Report, log};
use super::rules::Rules;
use crate::config::{GuardSettings, TenantSettings};
use crate::deliver::Vitals;
use crate::model::{PassKind, Payload, Tally, TenantId, Timestamp, UserId};
use crate::plan::{self, Mapping, PlanDigest};
use crate::scim::{Client, ServiceProvider};
use crate::source::ListSettings;
use crate::store::{Commit, Committed, NewHold, PassTotals, Store, StoreError, TenantState};
use crate::telemetry;

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

    /// Whether all users have to be decided anew, after a list pass.
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
        let began = self.parts.clock.now();
        let instant = self.parts.clock.instant();
        let state = self.store.tenant(&self.tenant).await?;
        let before = state.watermark;
        let id = self.store.begin_pass(&self.tenant, kind, began).await?;
        let span = telemetry::span::pass(&self.tenant, kind, id);
        async {
            let mut readings = Readings::default();
            let ended = self.read_and_commit(id, kind, began, &state, &mut readings).await;
            if ended.is_err() {
                readings.watermark = None;
            }
            let took = self.parts.clock.instant().saturating_duration_since(instant);
            log(kind, &ended, &readings, before, took);
            if let Err(error) = &ended {
                self.fail(id, error, readings.totals).await;
            }
            ended
        }
        .instrument(span)
        .await
    }

    async fn read_and_commit(
        &self,
        id: i64,
        kind: PassKind,
        began: Timestamp,
        state: &TenantState,
        readings: &mut Readings,
    ) -> Result<Report, PassError> {
        let configured = (&self.mapping, self.mapping_digest.as_str());
        let rules = Rules::of_pass(kind, &self.tenant, configured, self.policy, state, &self.store).await?;
        let reader = self.reader(id, &rules);
        match kind {
            PassKind::Delta => reader.list(state.watermark, began, state.watermark, readings).await?,
            PassKind::Sweep => {
                reader.list(None, began, state.watermark, readings).await?;
                reader.missing(readings).await?;
            }
            PassKind::Reread => reader.reread(readings).await?,
            PassKind::Remap => reader.remap(readings).await?,
            PassKind::Apply => {}
        }
        let tally = self.tally(id, readings).await?;
        let held = self.held(id, readings).await?;
        let reason = readings.reason();
        let commit = Commit {
            pass: id,
            tenant: &self.tenant,
            kind,
            result: readings.result(),
            reason: reason.as_deref(),
            totals: readings.totals,
            began,
            complete: readings.complete,
            watermark: readings.watermark,
            mapping_digest: &rules.digest,
            mapping_applied: rules.new && (kind == PassKind::Remap || readings.complete),
            sweep_wanted: readings.sweep_wanted,
            since: readings.since,
            gone: &readings.gone,
            unreadable: &readings.unreadable,
            hold: held.as_deref().map(|digest| NewHold {
                digest,
                findings: &readings.findings,
                missing: readings.missing,
            }),
            counts: (!tally.first, true),
            now: self.parts.clock.now(),
        };
        let committed = self.store.commit(&commit).instrument(telemetry::span::commit()).await?;
        Ok(self.report(id, kind, committed, held, readings))
    }

    fn report(
        &self,
        id: i64,
        kind: PassKind,
        committed: Committed,
        held: Option<String>,
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
        Report { id, kind, result, reason, totals, committed, held }
    }

    /// Asks the guard what it thinks of what is staged.
    async fn tally(&self, id: i64, readings: &mut Readings) -> Result<Tally, StoreError> {
        let limits = &self.guard.limits;
        let window = self.parts.clock.now().minus(self.guard.window);
        let tally = self.store.tally(&self.tenant, id, window, limits.of_teams()).await?;
        readings.findings.extend(plan::examine(&tally, limits));
        Ok(tally)
    }

    /// The digest of what is staged, if the guard objects to it.
    async fn held(&self, id: i64, readings: &Readings) -> Result<Option<String>, StoreError> {
        if readings.findings.is_empty() {
            return Ok(None);
        }
        let mut digest = PlanDigest::default();
        let change = |user: &UserId, payload: &Payload| {
            let Payload::Teams(teams) = payload;
            digest.change(user, &teams.added, &teams.removed);
        };
        self.store.each_staged_change(&self.tenant, id, change).await?;
        if readings.missing {
            self.store.each_missing(&self.tenant, id, |user| digest.missing(&user)).await?;
        }
        Ok(Some(digest.finish()))
    }

    /// A pass that came to nothing is noted as such; a database that cannot even do that clears up at the
    /// next start.
    async fn fail(&self, id: i64, error: &PassError, totals: PassTotals) {
        let reason = error.to_string();
        if let Err(error) = self.store.fail_pass(id, &reason, totals, self.parts.clock.now()).await {
            error!(reason = %error, "database cannot be used");
        }
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
