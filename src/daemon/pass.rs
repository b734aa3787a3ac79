//! A pass: read, plan, commit. What was read is staged page by page; nothing of it counts before the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tracing::{Instrument, error, info, warn};

use super::connect::list_settings;
use super::parts::Parts;
use crate::config::TenantSettings;
use crate::deliver::Vitals;
use crate::model::{PassKind, PassResult, Since, TenantId, Timestamp, User, UserId};
use crate::plan::{self, Mapping};
use crate::scim::{Client, Failure, ServiceProvider, Verdict};
use crate::source::{Batch, ListSettings, ReadError, Reading, UserList, probe_since, read_by_id};
use crate::store::{Commit, Committed, Decision, PassTotals, Store, StoreError};
use crate::telemetry;

/// Users read again in one pass, at most; the rest follows in the next.
const MOST_REREADS: u32 = 500;
/// And so many of them at once.
const REREADS_AT_ONCE: usize = 8;
/// Unreadable records that are logged and read again one by one; if there are more in a pass, it is not the
/// records that are wrong, and the watermark stays.
const MOST_UNREADABLE: u64 = 20;

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
    parts: Parts,
    vitals: Arc<Vitals>,
}

/// A pass that was committed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its number.
    pub id: i64,
    /// How much it read.
    pub kind: PassKind,
    /// How it ended.
    pub result: PassResult,
    /// What it did.
    pub totals: PassTotals,
    /// What became of its decisions.
    pub committed: Committed,
}

/// A pass that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The users could not be read.
    #[error("users could not be read: {0}")]
    Read(#[from] ReadError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// We were told to stop.
    #[error("stopped before the pass had ended")]
    Stopped,
}

impl PassError {
    /// The answer that ended it, if it was one.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Read(error) => Some(&error.failure),
            Self::Store(_) | Self::Stopped => None,
        }
    }

    /// It ended because we are stopping.
    #[must_use]
    pub fn stopped(&self) -> bool {
        matches!(self, Self::Stopped)
            || self.failure().is_some_and(|failure| failure.verdict == Verdict::NotSent)
    }
}

/// What a pass has read, before its end.
#[derive(Debug, Default)]
struct Readings {
    totals: PassTotals,
    watermark: Option<Timestamp>,
    /// Why users may have been missed.
    incomplete: Option<&'static str>,
    /// Users whose record could not be read, as far as they are known and few enough to be read one by one.
    unreadable: BTreeSet<UserId>,
    /// There are more.
    unreadable_lost: bool,
    sweep_wanted: bool,
    since: Option<Since>,
    mapping_applied: bool,
    gone: Vec<UserId>,
}

impl<P: ServiceProvider> Passes<P> {
    /// Reads nothing yet.
    pub(super) fn new(
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
            parts,
            vitals,
        }
    }

    /// The digest of the rules that these passes apply.
    #[must_use]
    pub fn mapping_digest(&self) -> &str {
        &self.mapping_digest
    }

    /// Runs one pass and logs how it ended.
    ///
    /// # Errors
    /// When nothing could be committed.
    pub async fn run(&self, kind: PassKind) -> Result<Report, PassError> {
        let began = self.parts.clock.now();
        let instant = self.parts.clock.instant();
        let before = self.store.tenant(&self.tenant).await?.watermark;
        let id = self.store.begin_pass(&self.tenant, kind, began).await?;
        let span = telemetry::span::pass(&self.tenant, kind, id);
        async {
            let mut readings = Readings::default();
            let ended = self.read_and_commit(id, kind, began, before, &mut readings).await;
            if ended.is_err() {
                readings.watermark = None;
            }
            let took = self.parts.clock.instant().saturating_duration_since(instant);
            Self::log(kind, &ended, &readings, before, took);
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
        before: Option<Timestamp>,
        readings: &mut Readings,
    ) -> Result<Report, PassError> {
        match kind {
            PassKind::Reread => self.reread(id, readings).await?,
            PassKind::Sweep => self.read_list(id, None, began, before, readings).await?,
            PassKind::Delta => self.read_list(id, before, began, before, readings).await?,
            PassKind::Remap | PassKind::Apply => {}
        }
        let committed = self.commit(id, kind, readings).instrument(telemetry::span::commit()).await?;
        readings.totals.planned = committed.ready;
        self.vitals.passes.add(1);
        self.vitals.users_read.add(readings.totals.users_read);
        self.vitals.planned.add(committed.ready);
        if let Some(watermark) = readings.watermark {
            self.vitals.set_watermark(watermark);
        }
        let result = readings.result();
        Ok(Report { id, kind, result, totals: readings.totals, committed })
    }

    async fn read_list(
        &self,
        pass: i64,
        since: Option<Timestamp>,
        began: Timestamp,
        before: Option<Timestamp>,
        readings: &mut Readings,
    ) -> Result<(), PassError> {
        let Parts { clock, chance, .. } = &self.parts;
        let mut list = UserList::new(&self.provider, &self.list, since, clock, *chance);
        while let Some(batch) = list.next().await? {
            list.new_users(self.stage(pass, batch, readings).await?);
            readings.totals.pages = list.pages();
        }
        if since.is_none() && readings.totals.users_read > 0 {
            readings.since = self.probe_since().await;
        }
        readings.mapping_applied = since.is_none();
        readings.watermark = plan::watermark(list.date(), began, list.newest(), self.overlap);
        if list.date().is_some_and(|date| before.is_some_and(|before| before > date)) {
            warn!(
                watermark_before = before.map(tracing::field::display),
                "watermark is ahead of the tenant's clock"
            );
            readings.sweep_wanted = since.is_some();
        }
        match list.reading() {
            Reading::Complete => {}
            Reading::Short => readings.incomplete = Some("the list stops short of its total"),
            Reading::Again | Reading::Incomplete => {
                readings.incomplete = Some("the list moved too much to be read completely");
                readings.watermark = None;
                readings.mapping_applied = false;
                readings.sweep_wanted |= since.is_none();
            }
        }
        if readings.unreadable_lost {
            readings.incomplete = Some("records could not be read");
            readings.watermark = None;
            readings.mapping_applied = false;
            readings.sweep_wanted |= since.is_none();
        }
        Ok(())
    }

    /// What the tenant makes of `since`. An answer that cannot be had changes nothing.
    async fn probe_since(&self) -> Option<Since> {
        let Parts { clock, chance, .. } = &self.parts;
        match probe_since(&self.provider, &self.list, clock, *chance).await {
            Ok(Since::Works) => Some(Since::Works),
            Ok(since) => {
                warn!(since = since.as_str(), "tenant does not understand the parameter since");
                Some(since)
            }
            Err(error) => {
                warn!(reason = %error, "read failed");
                None
            }
        }
    }

    async fn reread(&self, pass: i64, readings: &mut Readings) -> Result<(), PassError> {
        let ids = self.store.rereads(&self.tenant, MOST_REREADS).await?;
        let Parts { clock, chance, .. } = &self.parts;
        let read = |id: UserId| async move {
            let read_at = clock.now();
            (read_by_id(&self.provider, &id, self.list.role_attribute, clock, *chance).await, id, read_at)
        };
        let (mut answered, mut in_a_row) = (self.provider.answered(), 0);
        let mut users = stream::iter(ids).map(read).buffer_unordered(REREADS_AT_ONCE);
        while let Some((user, id, read_at)) = users.next().await {
            readings.totals.pages += 1;
            match user {
                Ok(Some(user)) => {
                    let batch = Batch { users: vec![user], unreadable: Vec::new(), read_at };
                    self.stage(pass, batch, readings).await?;
                }
                Ok(None) => {
                    warn!(user = %id, "user is gone");
                    readings.gone.push(id);
                }
                Err(error) if matches!(error.failure.verdict, Verdict::NotSent | Verdict::Unauthorized) => {
                    return Err(error.into());
                }
                Err(error) => {
                    in_a_row = if self.provider.answered() == answered { in_a_row + 1 } else { 1 };
                    answered = self.provider.answered();
                    // Nobody is answered: the tenant is away, and the others would not be read either.
                    if in_a_row >= REREADS_AT_ONCE {
                        return Err(error.into());
                    }
                    warn!(user = %id, reason = %telemetry::redact::text(&error.failure.reason), "record cannot be read");
                    readings.totals.unreadable += 1;
                    readings.unreadable.insert(id);
                }
            }
        }
        Ok(())
    }

    /// Plans for a page of users and stages it; returns how many of them are new to the pass.
    async fn stage(&self, pass: i64, batch: Batch, readings: &mut Readings) -> Result<u64, StoreError> {
        for at in &batch.unreadable {
            let id = at.unreadable.id.clone();
            if id.as_ref().is_some_and(|id| readings.unreadable.contains(id)) {
                continue; // in an earlier run through the list
            }
            readings.totals.unreadable += 1;
            if readings.totals.unreadable <= MOST_UNREADABLE {
                readings.unreadable_lost |= id.is_none();
                readings.unreadable.extend(id);
                let user = at.unreadable.id.as_ref().map(tracing::field::display);
                let position = i64::try_from(at.position).unwrap_or(i64::MAX);
                warn!(user, position, reason = %at.unreadable.reason, "record cannot be read");
            } else {
                readings.unreadable_lost = true;
            }
        }
        let read_at = batch.read_at;
        let decisions = telemetry::span::plan().in_scope(|| self.decide(batch.users));
        let skipped = decisions.iter().filter(|decision| decision.operation.is_none()).count();
        let traceparent = telemetry::context::traceparent();
        let new = self.store.stage(pass, &decisions, read_at, traceparent.as_deref()).await?;
        readings.totals.users_read += new;
        readings.totals.skipped += u64::try_from(skipped).unwrap_or(u64::MAX);
        Ok(new)
    }

    fn decide(&self, users: Vec<User>) -> Vec<Decision> {
        let decide = |user: User| {
            let operation = plan::decide(&user, &self.mapping, self.policy);
            Decision { user, operation }
        };
        users.into_iter().map(decide).collect()
    }

    async fn commit(&self, id: i64, kind: PassKind, readings: &Readings) -> Result<Committed, StoreError> {
        let commit = Commit {
            pass: id,
            tenant: &self.tenant,
            kind,
            result: readings.result(),
            reason: readings.reason(),
            totals: readings.totals,
            watermark: readings.watermark,
            mapping_digest: readings.mapping_applied.then_some(self.mapping_digest.as_str()),
            sweep_wanted: readings.sweep_wanted,
            since: readings.since,
            gone: &readings.gone,
            unreadable: &readings.unreadable,
            now: self.parts.clock.now(),
        };
        self.store.commit(&commit).await
    }

    /// A pass that came to nothing is noted as such; a database that cannot even do that clears up at the
    /// next start.
    async fn fail(&self, id: i64, error: &PassError, totals: PassTotals) {
        let reason = error.to_string();
        if let Err(error) = self.store.fail_pass(id, &reason, totals, self.parts.clock.now()).await {
            error!(reason = %error, "database cannot be used");
        }
    }

    fn log(
        kind: PassKind,
        ended: &Result<Report, PassError>,
        readings: &Readings,
        before: Option<Timestamp>,
        took: Duration,
    ) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        macro_rules! finished {
            ($level:ident, $result:expr, $totals:expr, { $($field:tt)* }) => {
                $level!(
                    kind = kind.as_str(),
                    result = $result,
                    users_read = signed($totals.users_read),
                    pages = signed($totals.pages),
                    planned = signed($totals.planned),
                    skipped = signed($totals.skipped),
                    duration_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
                    watermark_before = before.map(tracing::field::display),
                    watermark_after = readings.watermark.or(before).map(tracing::field::display),
                    $($field)*
                    "pass finished"
                )
            };
        }
        match ended {
            Ok(Report { result: PassResult::Ok, totals, .. }) => finished!(info, "ok", totals, {}),
            Ok(Report { result, totals, .. }) => {
                finished!(warn, result.as_str(), totals, { reason = readings.reason(), });
            }
            Err(error) if error.stopped() => info!(kind = kind.as_str(), "pass broken off"),
            Err(error) => {
                let failure = error.failure();
                let correlation_id = failure.and_then(|failure| failure.correlation_id.as_deref());
                let status = failure.and_then(|failure| failure.status).map(i64::from);
                let reason = error.to_string();
                finished!(error, "failed", readings.totals, { status, reason, correlation_id, });
            }
        }
    }
}

impl Readings {
    fn result(&self) -> PassResult {
        if self.reason().is_some() { PassResult::Degraded } else { PassResult::Ok }
    }

    /// Why it is not ok.
    fn reason(&self) -> Option<&'static str> {
        let unreadable = self.totals.unreadable > 0;
        self.incomplete.or_else(|| unreadable.then_some("records could not be read, and will be read again"))
    }
}
