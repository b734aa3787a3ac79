//! One run by itself: the daemon's own parts, for as long as it takes.

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::patience::Patience;
use super::runner::{RunEnd, RunFailure};
use super::worker::RunSettings;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::daemon::report::{Blame, blame};
use crate::daemon::tenant::Tenant;
use crate::deliver::Trouble;
use crate::scim::{Failure, Verdict};
use crate::store::{Run, Store};

/// Between two looks at whether anything has moved.
const LOOK: Duration = Duration::from_millis(500);
/// What is in flight gets this long when time is up.
const GRACE: Duration = Duration::from_secs(30);
/// Whoever waits for what runs came to gets this long to be told.
const TELLING: Duration = Duration::from_secs(10);
/// Users that could not be read are asked for again after this long.
const BETWEEN_TRIES: Duration = Duration::from_secs(5);

/// How carrying out a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The run came to its end.
    Ended(RunEnd),
    /// The tenant refuses us; what is left can be gone on with.
    Trouble(Trouble),
    /// Nothing has moved for too long, and this is what the tenant had to say last; what is left can be gone on with.
    Waited(Option<LastWord>),
    /// We were told to stop following; the daemon goes on.
    GoesOn,
    /// We were told to stop; what is left can be gone on with.
    Stopped,
}

/// Why a tenant does nothing for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWord {
    /// Where the fault lies.
    pub blame: Blame,
    /// What it answered, or that it did not; it may hold personal data.
    pub said: String,
}

impl LastWord {
    fn of(failure: &Failure) -> Self {
        let said = match failure.status {
            None => format!("the tenant cannot be reached: {}", failure.reason),
            Some(status) if failure.reason.starts_with(&status.to_string()) => {
                format!("the tenant answers {}", failure.reason)
            }
            Some(status) => format!("the tenant answers {status}: {}", failure.reason),
        };
        Self { blame: blame(failure), said }
    }
}

/// Carries `run` out and delivers what it decides, until it has come to its end, the tenant refuses us, nothing has moved
/// for `patience`, or we are told to stop.
///
/// # Errors
/// When the tenant's users cannot be read for a reason that will not go away, or the database fails.
pub async fn carry_out(
    tenant: &mut Tenant,
    settings: &RunSettings,
    (store, audit): (&Store, &Audit),
    run: &Run,
    clock: &Clock,
    patience: Duration,
    stop: &CancellationToken,
) -> Result<Carried, RunFailure> {
    let (wake, wake_bulk) = (Notify::new(), Notify::new());
    let bulk_refused = tenant.bulk.refused();
    tenant.pump.only(run.pass);
    tenant.bulk.only(run.pass);
    let Tenant { name, pump, bulk, client, condition, webhook, .. } = tenant;
    let done = CancellationToken::new();
    let wakes = [&wake, &wake_bulk];
    let runner = settings.runner(name, (store, client), Some(audit), &wakes, bulk_refused);
    let carrying = async {
        let trying = async {
            loop {
                match runner.carry_out(run).await {
                    Err(RunFailure::Read(error)) if passes(&error.failure.verdict) => {
                        warn!(tenant = %name, run = run.id, reason = %error, "run waits for the tenant");
                        clock.sleep(BETWEEN_TRIES).await;
                    }
                    ended => return ended.map(Carried::Ended),
                }
            }
        };
        let trouble = || condition.trouble();
        let ended = tokio::select! {
            ended = trying => ended,
            () = stop.cancelled() => Ok(Carried::Stopped),
            ended = given_up(store, run, clock, patience, &trouble) => {
                ended.map(|refused| refused.map_or_else(
                    || Carried::Waited(client.last_failure().as_ref().map(LastWord::of)),
                    Carried::Trouble,
                ))
            }
        };
        done.cancel();
        if !matches!(ended, Ok(Carried::Ended(_))) {
            client.limiter().close();
        }
        ended
    };
    let delivering = async {
        let both = async {
            tokio::join!(pump.run(&wake, &done), bulk.run(&wake_bulk, &done));
        };
        tokio::pin!(both);
        tokio::select! {
            () = &mut both => {}
            () = late(&done, clock) => {}
        }
    };
    let telling = async {
        if let Some(webhook) = webhook {
            webhook.run(&done).await;
        }
    };
    let (ended, (), ()) = tokio::join!(carrying, delivering, telling);
    if let Some(webhook) = webhook
        && let Err(error) = webhook.drain(clock.instant() + TELLING, stop).await
    {
        error!(tenant = %name, reason = %error, "database cannot be used");
    }
    condition.end().await;
    ended
}

/// It may succeed later.
const fn passes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Unavailable { .. } | Verdict::Throttled { .. })
}

async fn late(done: &CancellationToken, clock: &Clock) {
    done.cancelled().await;
    clock.sleep(GRACE).await;
}

/// Resolves with what is wrong when the tenant refuses us, and with nothing when nothing has moved for `patience`.
async fn given_up(
    store: &Store,
    run: &Run,
    clock: &Clock,
    patience: Duration,
    trouble: &(dyn Fn() -> Option<Trouble> + Sync),
) -> Result<Option<Trouble>, RunFailure> {
    let mut patience = Patience::new(store, run.id, clock, patience).await?;
    loop {
        clock.sleep(LOOK).await;
        match trouble() {
            Some(refused) if refused != Trouble::Outage => return Ok(Some(refused)),
            _ => {}
        }
        if patience.is_over().await? {
            return Ok(None);
        }
    }
}
