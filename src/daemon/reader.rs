//! What a pass reads, and decides page by page: the list, single users, or all users as they were last read.
//!
//! It stages decisions and never acts on them.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tracing::warn;

use super::parts::Parts;
use super::readings::Readings;
use super::report::PassError;
use super::rules::Rules;
use crate::model::{Since, TenantId, Timestamp, UserId};
use crate::plan::{self, Limits};
use crate::scim::{ServiceProvider, Verdict};
use crate::source::{Batch, ListSettings, Reading, UserList, probe_since, read_by_id};
use crate::store::{Decision, Staged, Store, StoreError};
use crate::telemetry;

/// Users read again in one pass, at most; the rest follows in the next.
const MOST_REREADS: u32 = 500;
/// And so many of them at once.
const REREADS_AT_ONCE: usize = 8;
/// Users whom lists do not show and who are asked for by id in one sweep, at most.
const MOST_UNLISTED: u32 = 500;
/// Known users that a remap decides at a time.
const REMAPPED_AT_ONCE: u32 = 500;
/// Unreadable records that are logged and read again one by one; if there are more in a pass, it is not the
/// records that are wrong, and the watermark stays.
const MOST_UNREADABLE: u64 = 20;

/// Reads for one pass.
pub(super) struct Reader<'a, P> {
    pub(super) tenant: &'a TenantId,
    pub(super) store: &'a Store,
    pub(super) provider: &'a P,
    pub(super) settings: &'a ListSettings,
    pub(super) overlap: Duration,
    pub(super) limits: &'a Limits,
    pub(super) parts: &'a Parts,
    pub(super) pass: i64,
    pub(super) rules: &'a Rules,
}

impl<P: ServiceProvider> Reader<'_, P> {
    /// Reads the list of all users, or of those changed `since`. `before` is the watermark so far.
    pub(super) async fn list(
        &self,
        since: Option<Timestamp>,
        began: Timestamp,
        before: Option<Timestamp>,
        readings: &mut Readings,
    ) -> Result<(), PassError> {
        let Parts { clock, chance, .. } = &self.parts;
        let mut list = UserList::new(self.provider, self.settings, since, clock, *chance);
        while let Some(batch) = list.next().await? {
            list.new_users(self.stage(batch, true, readings).await?);
            readings.totals.pages = list.pages();
        }
        if since.is_none() && readings.totals.users_read > 0 {
            readings.since = self.probe_since().await;
        }
        readings.complete = true;
        let newest = match list.date() {
            Some(_) => None,
            None => self.store.newest_change(self.tenant).await?.max(list.newest()),
        };
        readings.watermark = plan::watermark(list.date(), began, newest, self.overlap);
        if list.date().is_some_and(|date| before.is_some_and(|before| before > date)) {
            warn!(
                watermark_before = before.map(tracing::field::display),
                "watermark is ahead of the tenant's clock"
            );
            readings.sweep_wanted = since.is_some();
        }
        let sweep = since.is_none();
        match list.reading() {
            Reading::Complete => {}
            Reading::Short => readings.incomplete = Some("the list stops short of its total"),
            Reading::Again | Reading::Incomplete => {
                readings.incomplete("the list moved too much to be read completely", sweep);
            }
        }
        if readings.unreadable_lost {
            readings.incomplete("records could not be read", sweep);
        }
        Ok(())
    }

    /// Asks by id for known users whom a complete sweep has not shown, and for some whom lists never show. If too
    /// many are missing nobody is asked for, and the sweep proves nothing: the watermark stays.
    pub(super) async fn missing(&self, readings: &mut Readings) -> Result<(), PassError> {
        if !readings.complete {
            return Ok(());
        }
        let (mut missing, known) = self.store.missing(self.tenant, self.pass).await?;
        missing.retain(|user| !readings.unreadable.contains(user));
        let count = u64::try_from(missing.len()).unwrap_or(u64::MAX);
        readings.totals.missing = count;
        if let Some(finding) = plan::examine_missing(count, known, self.limits) {
            readings.findings.push(finding);
            readings.incomplete("too many known users are missing from the list", false);
            readings.missing = missing;
            return Ok(());
        }
        let unlisted = self.store.unlisted(self.tenant, self.pass, MOST_UNLISTED).await?;
        missing.extend(unlisted);
        self.single(missing, readings).await
    }

    /// Reads again whoever has to be.
    pub(super) async fn reread(&self, readings: &mut Readings) -> Result<(), PassError> {
        let now = self.parts.clock.now();
        let users = self.store.rereads(self.tenant, MOST_REREADS, now).await?;
        self.single(users, readings).await
    }

    /// Reads single users by id.
    async fn single(&self, ids: Vec<UserId>, readings: &mut Readings) -> Result<(), PassError> {
        let Parts { clock, chance, .. } = &self.parts;
        let read = |id: UserId| async move {
            let read_at = clock.now();
            (read_by_id(self.provider, &id, self.settings.role_attribute, clock, *chance).await, id, read_at)
        };
        let (mut answered, mut in_a_row) = (self.provider.answered(), 0);
        let mut users = stream::iter(ids).map(read).buffer_unordered(REREADS_AT_ONCE);
        while let Some((user, id, read_at)) = users.next().await {
            readings.totals.pages += 1;
            match user {
                Ok(Some(user)) => {
                    let batch = Batch { users: vec![user], unreadable: Vec::new(), read_at };
                    self.stage(batch, false, readings).await?;
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

    /// What the tenant makes of `since`. An answer that cannot be had changes nothing.
    async fn probe_since(&self) -> Option<Since> {
        let Parts { clock, chance, .. } = &self.parts;
        match probe_since(self.provider, self.settings, clock, *chance).await {
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

    /// Plans for a page of users and stages it; returns how many of them are new to the pass.
    async fn stage(&self, batch: Batch, listed: bool, readings: &mut Readings) -> Result<u64, StoreError> {
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
        let decide = |user| Decision { operation: self.rules.decide(&user), user };
        let decisions: Vec<Decision> =
            telemetry::span::plan().in_scope(|| batch.users.into_iter().map(decide).collect());
        let skipped = decisions.iter().filter(|decision| decision.operation.is_none()).count();
        let traceparent = telemetry::context::traceparent();
        let staged = Staged { pass: self.pass, listed, traceparent: traceparent.as_deref() };
        let new = self.store.stage(staged, &decisions, read_at).await?;
        readings.totals.users_read += new;
        readings.totals.skipped += u64::try_from(skipped).unwrap_or(u64::MAX);
        Ok(new)
    }

    /// Decides all users anew as they were last read. Whoever needs nothing, and has nothing waiting, is left out.
    pub(super) async fn remap(&self, readings: &mut Readings) -> Result<(), PassError> {
        let now = self.parts.clock.now();
        self.store.withdraw_remap(self.tenant, now).await?;
        let traceparent = telemetry::context::traceparent();
        let staged = Staged { pass: self.pass, listed: false, traceparent: traceparent.as_deref() };
        let mut after = None;
        loop {
            let known = self.store.known_users(self.tenant, after.as_ref(), REMAPPED_AT_ONCE).await?;
            let Some(last) = known.last() else { return Ok(()) };
            after = Some(last.user.id.clone());
            let mut decisions = Vec::new();
            for known in known {
                let operation = self.rules.decide(&known.user);
                readings.totals.skipped += u64::from(operation.is_none());
                if operation.is_some() || known.open {
                    decisions.push((Decision { user: known.user, operation }, known.read_at));
                }
            }
            self.store.stage_known(staged, &decisions).await?;
        }
    }
}
