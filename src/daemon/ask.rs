//! The asking side of a request: whoever finds no owner becomes it and does the thing; beside an owner it leaves a
//! request and follows what becomes of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::audit::{OpenAuditError, open_audit};
use super::owner::{Ownership, own_or_ask};
use super::parts::Parts;
use super::report::Blame;
use super::requests::{Answer, Ask, Clerk};
use super::tenant::Tenant;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{AuditSettings, TenantSettings};
use crate::deliver::Trouble;
use crate::model::{TenantId, Timestamp, counted};
use crate::store::{Occupant, Part, Request, Store, StoreError};

/// A request that was left is looked at this often.
const LOOK: Duration = Duration::from_millis(100);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit.
    #[error(transparent)]
    Audit(#[from] OpenAuditError),
    /// No client could be made.
    #[error("no HTTPS client: {0}; are the CA certificates installed?")]
    Client(#[from] reqwest::Error),
    /// The owner is gone; the request was withdrawn.
    #[error("the daemon has stopped before it had answered; the request is withdrawn{}", if *.begun {
        ", but some of it may have been done: see `rosterd status`"
    } else {
        ""
    })]
    Ended {
        /// It had begun with it.
        begun: bool,
    },
    /// The owner is gone, and what was asked for may stand in the audit.
    #[error(
        "the daemon has stopped before it had answered; it had begun to carry out the request, which stands, and \
         goes on with it at its next start"
    )]
    Stands,
    /// The owner has answered and is gone before all was delivered.
    #[error(
        "the daemon has stopped with {} still waiting; its next start sends what waits",
        counted(*.open, "operation", "operations")
    )]
    Stopped {
        /// Operations that still have to be sent, and users who still have to be read again.
        open: u64,
    },
    /// We were told to stop before anything was done.
    #[error("stopped; the request is withdrawn and nothing was done")]
    Withdrawn,
    /// We were told to stop, and the owner has begun already.
    #[error("stopped; the daemon has begun with it and goes on")]
    GoesOn,
    /// It cannot be done.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
        /// Where the fault lies.
        blame: Blame,
    },
    /// The answer is not in our words.
    #[error("the daemon and this program do not understand each other; are they of the same version?")]
    Words,
}

impl AskError {
    /// Where the fault lies.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Refused { blame, .. } => *blame,
            _ => Blame::Other,
        }
    }
}

/// A refusal is an answer that nobody wants.
fn wanted(answer: Answer) -> Result<Answer, AskError> {
    match answer {
        Answer::Refused { reason, blame } => Err(AskError::Refused { reason, blame }),
        answer => Ok(answer),
    }
}

/// The user id of this process, for the record.
#[must_use]
pub fn operator() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Has these things done, each for one tenant, and answers in their order: by ourselves if nobody owns the database,
/// through the daemon if it does. `beside` is told who owns it.
///
/// # Errors
/// When there is no database or it fails.
pub async fn ask(
    (database, written): (&Path, &AuditSettings),
    asks: Vec<(TenantSettings, Ask)>,
    parts: &Parts,
    stop: &CancellationToken,
    beside: &(dyn Fn(&Occupant) + Sync),
) -> Result<Vec<Result<Answer, AskError>>, AskError> {
    Store::check_there(database)?;
    loop {
        match own_or_ask(database, &parts.clock, stop, beside).await? {
            Ownership::Ours(store) => {
                let audit = open_audit(written, &store, parts.clock.now()).await?;
                let mut answers = Vec::new();
                for (settings, ask) in asks {
                    answers.push(alone(settings, &ask, (&store, &audit), parts, stop).await);
                }
                store.close().await;
                return Ok(answers);
            }
            Ownership::Daemon(owner) => {
                let store = Store::beside(database).await?;
                let words: Vec<_> =
                    asks.iter().map(|(settings, ask)| (settings.name.clone(), ask.clone())).collect();
                if let Some(left) = leave(&store, database, &words, &parts.clock).await? {
                    beside(&owner);
                    let mut answers = Vec::new();
                    for left in left {
                        answers.push(left.follow(&store, &parts.clock, stop).await);
                    }
                    return Ok(answers);
                }
            }
            Ownership::Stopped => return Err(AskError::Withdrawn),
        }
    }
}

/// The database is ours: no pass and no delivery is running.
async fn alone(
    settings: TenantSettings,
    ask: &Ask,
    (store, audit): (&Store, &Audit),
    parts: &Parts,
    stop: &CancellationToken,
) -> Result<Answer, AskError> {
    let Tenant { name, passes, condition, .. } = Tenant::new(settings, store, audit, parts)?;
    passes.see_mapping().await?;
    let (tenant, passes, clock) = (&name, &passes, &parts.clock);
    let clerk = Clerk { tenant, passes, condition: &condition, store, audit, clock, stop, request: None };
    let served = clerk.serve(ask, Some(operator())).await;
    condition.end().await;
    wanted(served?.ok_or(AskError::Withdrawn)?)
}

/// A request that was left with the owner of the database.
#[derive(Debug)]
pub struct Left {
    id: i64,
    database: PathBuf,
    /// When it was left.
    pub at: Timestamp,
}

/// Leaves requests with the owner of the database. `None` when he has ended meanwhile: then none of them is left.
///
/// # Errors
/// When the database fails.
pub async fn leave(
    store: &Store,
    database: &Path,
    asks: &[(TenantId, Ask)],
    clock: &Clock,
) -> Result<Option<Vec<Left>>, AskError> {
    let mut all = Vec::new();
    for (tenant, ask) in asks {
        let at = clock.now();
        let id = store.leave(tenant, ask.as_str(), ask, Some(operator()), at).await?;
        all.push(Left { id, database: database.to_owned(), at });
    }
    if Store::occupant(database)?.is_some() {
        return Ok(Some(all));
    }
    let mut taken = false;
    for left in &all {
        taken |= !store.withdraw(left.id, clock.now()).await?;
    }
    Ok(taken.then_some(all))
}

impl Left {
    /// Waits until the owner has delivered all that waits for `tenant`, for `wait` at most, until the tenant refuses us
    /// or we are told to stop. Returns how much still waits, and what is wrong with the tenant.
    ///
    /// # Errors
    /// When the owner is gone before, or the database fails.
    pub async fn delivered(
        &self,
        store: &Store,
        tenant: &TenantId,
        wait: Duration,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<(u64, Option<Trouble>), AskError> {
        self.nothing_waits(store, tenant, async || store.open_work(tenant).await, (wait, clock), stop).await
    }

    /// The same for what the pass `pass` has decided.
    ///
    /// # Errors
    /// As above.
    pub async fn pass_delivered(
        &self,
        store: &Store,
        (tenant, pass): (&TenantId, i64),
        wait: Duration,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<(u64, Option<Trouble>), AskError> {
        let open = async || store.open_work_of_pass(pass).await;
        self.nothing_waits(store, tenant, open, (wait, clock), stop).await
    }

    async fn nothing_waits(
        &self,
        store: &Store,
        tenant: &TenantId,
        open: impl AsyncFn() -> Result<u64, StoreError>,
        (wait, clock): (Duration, &Clock),
        stop: &CancellationToken,
    ) -> Result<(u64, Option<Trouble>), AskError> {
        let deadline = clock.instant() + wait;
        loop {
            let owned = Store::occupant(&self.database)?.is_some();
            let open = open().await?;
            let troubles = store.troubles(tenant).await?;
            let mut delivery = troubles.iter().filter(|(part, _)| open > 0 && *part == Part::Delivery);
            let trouble = delivery.find_map(|(_, row)| Trouble::parse(&row.trouble));
            let refused = trouble.is_some_and(|trouble| trouble != Trouble::Outage);
            if open == 0 || refused || stop.is_cancelled() || clock.instant() >= deadline {
                return Ok((open, trouble));
            }
            if !owned {
                return Err(AskError::Stopped { open });
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Waits for the answer, until the owner is gone or we are told to stop.
    ///
    /// # Errors
    /// When there will be no answer, or the database fails.
    pub async fn follow(
        &self,
        store: &Store,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<Answer, AskError> {
        loop {
            // In this order: what the owner answered before he ended is seen.
            let owned = Store::occupant(&self.database)?.is_some();
            let request = store.request(self.id).await?;
            let begun = match request {
                Some(Request { answer: Some(answer), .. }) => {
                    return wanted(serde_json::from_str(&answer).map_err(|_| AskError::Words)?);
                }
                Some(Request { finished_at: None, taken_at, .. }) => taken_at.is_some(),
                Some(_) | None => return Err(AskError::Withdrawn),
            };
            if !owned {
                let called_off = store.call_off(self.id, clock.now()).await?;
                return Err(if called_off { AskError::Ended { begun } } else { AskError::Stands });
            }
            if stop.is_cancelled() {
                let withdrawn = store.withdraw(self.id, clock.now()).await?;
                return Err(if withdrawn { AskError::Withdrawn } else { AskError::GoesOn });
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
