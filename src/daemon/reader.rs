//! What a pass reads, and decides page by page: the list, single users, the users of a reviewed plan, or all users
//! as they were last read.
//!
//! It stages decisions and never acts on them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tracing::warn;

use super::parts::Parts;
use super::readings::Readings;
use super::report::{LeftOut, PassError, Refused};
use super::rules::Rules;
use crate::model::{Since, TeamId, TenantId, Timestamp, User, UserId};
use crate::plan::{self, Already, Change, Limits, Plan};
use crate::scim::{ServiceProvider, Verdict};
use crate::source::{Batch, ListSettings, ReadError, Reading, UserList, probe_since, read_by_id};
use crate::store::{Decision, Staged, Store, StoreError, TenantState};
use crate::telemetry;

/// Users read again in one pass, at most; the rest follows in the next.
const MOST_REREADS: u32 = 500;
/// And so many of them at once.
const REREADS_AT_ONCE: usize = 8;
/// So many of them fail in a row when the tenant is away.
const MOST_FAILURES: usize = 8;
/// Why a reviewed change is not made.
const CHANGED: &str = "his roles, his teams or whether he is active have changed since the plan was made";
/// Users whom lists do not show and who are asked for by id in one sweep, at most.
const MOST_UNLISTED: u32 = 500;
/// Known users whom a sweep has not shown and who are asked for by id before its end, at most: nothing that is asked of the
/// tenant's passes is served meanwhile. The others are read again after it.
const MOST_MISSING: usize = 500;
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
    /// Reads the list of all users, or of those changed `since`. `before` is what was known of the tenant so far.
    pub(super) async fn list(
        &self,
        since: Option<Timestamp>,
        began: Timestamp,
        before: &TenantState,
        readings: &mut Readings,
    ) -> Result<(), PassError> {
        let Parts { clock, chance, .. } = &self.parts;
        let mut list = UserList::new(self.provider, self.settings, since, clock, *chance);
        while let Some(batch) = list.next().await? {
            let unreadable = batch.unreadable.iter().filter_map(|at| at.unreadable.id.as_ref());
            list.read_before(&self.store.staged_among(self.pass, unreadable).await?);
            list.new_users(self.page(batch, readings).await?);
            readings.totals.pages = list.pages();
        }
        // Whoever is there will do for that, whether he can be read or not.
        let anybody = readings.totals.users_read + readings.totals.unreadable > 0;
        let mut doubtful = false;
        if (since.is_none() && anybody) || (since.is_some() && before.since.is_none()) {
            let makes = self.probe_since().await;
            doubtful = matches!(makes, Err(_) | Ok(Some(Since::Broken)));
            readings.since = makes.unwrap_or_default();
        }
        readings.complete = true;
        let newest = match list.date() {
            Some(_) => None,
            None => self.store.newest_change(self.tenant).await?.max(list.newest()),
        };
        readings.watermark = plan::watermark(list.date(), began, newest, self.overlap);
        if since.is_some() && doubtful {
            // Who is not shown may have changed all the same.
            (readings.watermark, readings.sweep_wanted) = (None, true);
        }
        let watermark = before.watermark;
        if list.date().is_some_and(|date| watermark.is_some_and(|before| before > date)) {
            warn!(
                watermark_before = watermark.map(tracing::field::display),
                "watermark is ahead of the tenant's clock"
            );
            readings.sweep_wanted |= since.is_some();
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
    /// many are missing nobody is asked for, and the sweep proves nothing: the watermark stays. Otherwise it was complete,
    /// however many of them have to wait for their turn: who they are is committed with it.
    pub(super) async fn missing(&self, readings: &mut Readings) -> Result<(), PassError> {
        if !readings.complete {
            return Ok(());
        }
        let (missing, known) = self.store.count_missing(self.tenant, self.pass).await?;
        readings.totals.missing = missing;
        if let Some(finding) = plan::examine_missing(missing, known, self.limits) {
            readings.findings.push(finding);
            readings.incomplete("too many known users are missing from the list", false);
            readings.missing = true;
            return Ok(());
        }
        let mut ids = self.store.unlisted(self.tenant, self.pass, MOST_UNLISTED).await?;
        // A record that could not be read is in the list, and is read again anyway.
        let mut asked = 0;
        let ask = |user| {
            if readings.unreadable.contains(&user) {
                return;
            }
            if asked < MOST_MISSING {
                asked += 1;
                ids.push(user);
            } else {
                readings.later.push(user);
            }
        };
        self.store.each_missing(self.tenant, self.pass, ask).await?;
        self.single(ids, MOST_FAILURES, readings, |user, granted| Some(self.decide(user, Some(granted))))
            .await
    }

    /// Reads again whoever has to be.
    pub(super) async fn reread(&self, readings: &mut Readings) -> Result<(), PassError> {
        let now = self.parts.clock.now();
        let users = self.store.rereads(self.tenant, MOST_REREADS, now).await?;
        self.single(users, MOST_FAILURES, readings, |user, granted| Some(self.decide(user, Some(granted))))
            .await
    }

    /// Reads the users of a reviewed plan, and takes its changes as they are; returns those that are not to be made, or
    /// may not. Nothing is decided for their users.
    pub(super) async fn reviewed(&self, plan: &Plan, readings: &mut Readings) -> Result<LeftOut, PassError> {
        let users = plan.changes.iter().map(|change| &change.user);
        let dead = self.store.dead_among(self.tenant, users).await?;
        let dead: HashMap<&UserId, String> =
            dead.iter().map(|sent| (&sent.operation.user, sent.operation.payload.target())).collect();
        let given_up = |change: &Change| {
            let target = change.operation(None).payload.target();
            change.already == Some(Already::DeadLetter) || dead.get(&change.user) == Some(&target)
        };
        let LeftOut { mut already, mut refused } = LeftOut::default();
        let mut changes: HashMap<UserId, &Change> = HashMap::new();
        for change in &plan.changes {
            if given_up(change) {
                refused.push(Refused::new(&change.user, "it is a dead letter: replay or discard that"));
            } else if change.already == Some(Already::Held) {
                refused.push(Refused::new(&change.user, "it was held already: approve or discard that"));
            } else {
                changes.insert(change.user.clone(), change);
            }
        }
        let ids = changes.keys().cloned().collect();
        let take = |user: User, _: &BTreeSet<TeamId>| {
            let change = changes.get(&user.id)?;
            if plan::still_fits(change, &user, self.rules.mapping()) {
                return Some(Decision { operation: Some(change.operation(user.version.clone())), user });
            }
            if plan::is_made(change, &user, self.rules.mapping()) {
                already.push(user.id);
            } else {
                refused.push(Refused::new(&user.id, CHANGED));
            }
            None
        };
        self.single(ids, MOST_FAILURES.min(changes.len()), readings, take).await?;
        let gone = readings.gone.iter().map(|user| (user, "the tenant knows him no more"));
        let unread = readings.unreadable.iter().map(|user| (user, "his record cannot be read"));
        refused.extend(gone.chain(unread).map(|(user, why)| Refused::new(user, why)));
        Ok(LeftOut { already, refused })
    }

    /// Reads single users by id, and stages what `decide` makes of each and of the teams that he was given; nothing where
    /// it says `None`. After `most` failures in a row, while nobody is answered, the tenant is away.
    async fn single(
        &self,
        ids: Vec<UserId>,
        most: usize,
        readings: &mut Readings,
        mut decide: impl FnMut(User, &BTreeSet<TeamId>) -> Option<Decision> + Send,
    ) -> Result<(), PassError> {
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
                    let granted = self.store.grants_of(self.tenant, &id).await?;
                    let decision: Vec<Decision> = decide(user, &granted).into_iter().collect();
                    self.stage(&decision, false, read_at, readings).await?;
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
                    // The others would not be read either.
                    if in_a_row >= most {
                        return Err(error.into());
                    }
                    unreadable(Some(&id), None, &error.failure.reason);
                    readings.totals.unreadable += 1;
                    readings.unreadable.insert(id);
                }
            }
        }
        Ok(())
    }

    /// What the tenant makes of `since`; `None` while it has no users. What is wrong has been logged.
    async fn probe_since(&self) -> Result<Option<Since>, ReadError> {
        let Parts { clock, chance, .. } = &self.parts;
        let makes = probe_since(self.provider, self.settings, clock, *chance).await;
        match &makes {
            Ok(None | Some(Since::Works)) => {}
            Ok(Some(since)) => {
                warn!(since = since.as_str(), "tenant does not understand the parameter since");
            }
            Err(error) => warn!(reason = %error, "read failed"),
        }
        makes
    }

    /// Plans for a page of users and stages it; returns how many of them are new to the pass.
    async fn page(&self, batch: Batch, readings: &mut Readings) -> Result<u64, StoreError> {
        for at in &batch.unreadable {
            let id = at.unreadable.id.clone();
            if id.as_ref().is_some_and(|id| readings.unreadable.contains(id)) {
                continue; // in an earlier run through the list
            }
            readings.totals.unreadable += 1;
            if readings.totals.unreadable <= MOST_UNREADABLE {
                unreadable(id.as_ref(), Some(at.position), &at.unreadable.reason);
                readings.unreadable_lost |= id.is_none();
                readings.unreadable.extend(id);
            } else {
                readings.unreadable_lost = true;
            }
        }
        let granted = self.store.grants_among(self.tenant, batch.users.iter().map(|user| &user.id)).await?;
        let decide = |user: User| {
            let granted = granted.get(&user.id);
            self.decide(user, granted)
        };
        let decide = |users: Vec<User>| users.into_iter().map(decide).collect::<Vec<_>>();
        let decisions = telemetry::span::plan().in_scope(|| decide(batch.users));
        self.stage(&decisions, true, batch.read_at, readings).await
    }

    fn decide(&self, user: User, granted: Option<&BTreeSet<TeamId>>) -> Decision {
        Decision { operation: self.rules.decide(&user, granted), user }
    }

    async fn stage(
        &self,
        decisions: &[Decision],
        listed: bool,
        read_at: Timestamp,
        readings: &mut Readings,
    ) -> Result<u64, StoreError> {
        let skipped = decisions.iter().filter(|decision| decision.operation.is_none()).count();
        let traceparent = telemetry::context::traceparent();
        let staged = Staged { pass: self.pass, listed, traceparent: traceparent.as_deref() };
        let new = self.store.stage(staged, decisions, read_at).await?;
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
            let granted =
                self.store.grants_among(self.tenant, known.iter().map(|known| &known.user.id)).await?;
            let mut decisions = Vec::new();
            for known in known {
                let operation = self.rules.decide(&known.user, granted.get(&known.user.id));
                readings.totals.skipped += u64::from(operation.is_none());
                if known.in_flight {
                    readings.in_flight.push(known.user.id.clone());
                }
                if operation.is_some() || known.open {
                    decisions.push((Decision { user: known.user, operation }, known.read_at));
                }
            }
            self.store.stage_known(staged, &decisions).await?;
        }
    }
}

/// Nothing is decided from a broken record; where in a list it stands helps to find one without an id.
fn unreadable(user: Option<&UserId>, position: Option<u64>, reason: &str) {
    let position = position.map(|position| i64::try_from(position).unwrap_or(i64::MAX));
    let reason = telemetry::redact::text(reason);
    warn!(user = user.map(tracing::field::display), position, %reason, "record cannot be read");
}
