//! The daemon's own runs: what was left open is gone on with, and an HRIS export is read by its schedule, once for each
//! new content.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono_tz::Tz;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::import::{Input, import_new};
use super::runner::{RunFailure, RunPolicy, Runner};
use crate::audit::Audit;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{BulkMode, ProvisionSettings, TenantSettings, next_runs};
use crate::daemon::connect::list_settings;
use crate::daemon::parts::Parts;
use crate::daemon::report::signed;
use crate::model::{TenantId, Timestamp};
use crate::plan::Rules;
use crate::scim::{Client, backoff};
use crate::source::ListSettings;
use crate::store::{Part, Store, StoreError, TroubleRow};

/// The word for an export that could not be read.
const UNREAD: &str = "unread";
/// Between two looks for runs that somebody has left.
const LOOK: Duration = Duration::from_secs(1);

/// How the runs of a tenant are carried out.
#[derive(Clone, Debug)]
pub struct RunSettings {
    pub(in crate::daemon) policy: RunPolicy,
    pub(in crate::daemon) list: ListSettings,
    pub(in crate::daemon) clock: Clock,
    pub(in crate::daemon) chance: Chance,
    /// An export that is read by a schedule.
    pub(in crate::daemon) scheduled: Option<Scheduled>,
}

/// An export that is read by a schedule.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Scheduled {
    pub(in crate::daemon) input: Input,
    pub(in crate::daemon) schedule: String,
    pub(in crate::daemon) time_zone: Tz,
}

/// An HRIS export that is read as these settings say.
#[must_use]
pub fn export(path: PathBuf, settings: &ProvisionSettings) -> Input {
    let rules = Rules { required: settings.required.clone(), roles: settings.roles.clone() };
    Input::Export { path, columns: settings.columns.clone(), rules }
}

impl RunSettings {
    pub(in crate::daemon) fn of(settings: &TenantSettings, parts: &Parts) -> Self {
        let provision = &settings.provision;
        let scheduled = provision.file.clone().zip(provision.schedule.clone()).map(|(file, schedule)| {
            Scheduled { input: export(file, provision), schedule, time_zone: settings.cadence.time_zone }
        });
        let policy = RunPolicy {
            on_conflict: provision.on_conflict,
            update_with: provision.update_with,
            max_users: provision.max_users,
            bulk: settings.bulk.mode != BulkMode::Off,
            max_attempts: settings.delivery.max_attempts,
            workers: settings.delivery.workers,
            limits: settings.guard.limits,
            window: settings.guard.window,
            tell: settings.webhook.is_some(),
        };
        let (clock, chance) = (parts.clock.clone(), parts.chance);
        // A file is about all users, whatever passes look at.
        let list = list_settings(settings);
        Self { policy, list, clock, chance, scheduled }
    }

    /// Carries runs of `tenant` out, telling `wake` when something waits to be delivered.
    pub(super) fn runner<'a>(
        &'a self,
        tenant: &'a TenantId,
        (store, client): (&'a Store, &'a Client),
        audit: Option<&'a Audit>,
        wake: &'a [&'a Notify],
        bulk_refused: Arc<AtomicBool>,
    ) -> Runner<'a> {
        Runner {
            tenant,
            store,
            client,
            audit,
            list: &self.list,
            policy: self.policy,
            clock: &self.clock,
            chance: self.chance,
            wake,
            bulk_refused,
        }
    }
}

/// Works until told to stop.
pub(in crate::daemon) async fn work(
    tenant: &TenantId,
    settings: &RunSettings,
    (store, client, audit): (&Store, &Client, &Audit),
    wake: &[&Notify],
    bulk_refused: Arc<AtomicBool>,
    stop: &CancellationToken,
) {
    let runner = settings.runner(tenant, (store, client), Some(audit), wake, bulk_refused);
    let mut due = next(settings);
    let mut failures = 0;
    if settings.scheduled.is_none() {
        note_export(tenant, store, None, settings.clock.now()).await;
    }
    loop {
        let turn = async {
            if due.is_some_and(|due| due <= settings.clock.now()) {
                due = next(settings);
                read_scheduled(tenant, settings, store, due).await;
            }
            match go_on(&runner).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    match error {
                        RunFailure::Read(reason) => warn!(%tenant, %reason, "run waits for the tenant"),
                        RunFailure::Store(reason) => error!(%tenant, %reason, "database cannot be used"),
                        RunFailure::Audit(reason) => error!(%tenant, %reason, "audit cannot be written"),
                    }
                    settings.clock.sleep(backoff(failures, settings.chance.draw())).await;
                }
            }
            settings.clock.sleep(LOOK).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = turn => {}
        }
    }
}

fn next(settings: &RunSettings) -> Option<Timestamp> {
    let Scheduled { schedule, time_zone, .. } = settings.scheduled.as_ref()?;
    let runs = next_runs(schedule, *time_zone, settings.clock.now(), 1);
    runs.into_iter().next().map(|run| run.to_utc().into())
}

/// Goes on with what is open, oldest first. An export that was read too late has ended without ever having been open.
async fn go_on(runner: &Runner<'_>) -> Result<(), RunFailure> {
    for run in runner.store.open_runs(runner.tenant).await? {
        runner.carry_out(&run).await?;
    }
    runner.tell_superseded().await
}

async fn read_scheduled(tenant: &TenantId, settings: &RunSettings, store: &Store, again: Option<Timestamp>) {
    let Some(Scheduled { input, .. }) = &settings.scheduled else { return };
    let file = input.path().display();
    let read = import_new(store, tenant, input.clone(), &settings.clock).await;
    let now = settings.clock.now();
    let unread = read.as_ref().err().map(|error| (format!("{file}: {error}"), again.unwrap_or(now)));
    note_export(tenant, store, unread, now).await;
    match read {
        Ok(Some(imported)) => {
            let run = imported.run.id;
            let superseded = signed(imported.ended.superseded);
            info!(%tenant, %file, run, superseded, "export read");
            let operations = signed(imported.ended.withdrawn);
            if operations > 0 {
                warn!(%tenant, run, operations, "deactivations are withdrawn");
            }
        }
        Ok(None) => {}
        Err(error) => error!(%tenant, %file, reason = %error, "export was not read"),
    }
}

/// Notes for `status` why the export was not read, with when it is read again, or that nothing is wrong with it.
async fn note_export(tenant: &TenantId, store: &Store, unread: Option<(String, Timestamp)>, now: Timestamp) {
    let noted = async {
        let before = store.troubles(tenant).await?.into_iter().find(|(part, _)| *part == Part::Export);
        let row = unread.map(|(reason, until)| TroubleRow {
            trouble: UNREAD.to_owned(),
            reason,
            since: before.as_ref().map_or(now, |(_, before)| before.since),
            until,
        });
        if row.is_none() && before.is_none() {
            return Ok(());
        }
        store.note_trouble(tenant, Part::Export, row.as_ref()).await
    };
    let noted: Result<(), StoreError> = noted.await;
    if let Err(error) = noted {
        error!(%tenant, reason = %error, "database cannot be used");
    }
}
