//! What operators ask of the owner of the database, and how it is carried out: by the daemon for a command that
//! left a request, or by the command that is the owner itself. There is one way to do each thing.
//!
//! What somebody decides stands in the audit before it is done, with who asked for it. Each thing may be carried out a
//! second time, and then stands there twice, because a request that was taken when its owner died is taken again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::cadence::{History, next_pass};
use super::observed::observed_pass;
use super::pass::Passes;
use super::report::{Applied, Blame, PassError, Report};
use crate::audit::{Audit, AuditError, Entry};
use crate::clock::Clock;
use crate::deliver::Condition;
use crate::model::{DigestPrefix, PassKind, TenantId, counted};
use crate::plan::Plan;
use crate::store::{Hold, HoldDecision, Reset, ResetDone, Selection, Store, StoreError};

/// The owner looks for requests this often.
const LOOK: Duration = Duration::from_secs(1);

/// What is asked for. A new thing is a variant here and an arm in `Clerk::carry_out`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// A pass now, and a remap after it if one is due.
    Sync {
        /// Over all users.
        full: bool,
    },
    /// A plan that somebody has reviewed is carried out.
    Apply {
        /// As it was reviewed.
        plan: Box<Plan>,
    },
    /// What is held of a plan is sent.
    Approve {
        /// Of the plan, in full.
        digest: String,
    },
    /// What is held of a plan is dropped.
    Discard {
        /// Of the plan, in full.
        digest: String,
    },
    /// Dead letters of the tenant are sent again.
    ReplayDeadLetters {
        /// Which; `None` is all.
        ids: Option<Vec<i64>>,
    },
    /// Dead letters of the tenant are given up for good.
    DiscardDeadLetters {
        /// Which; `None` is all.
        ids: Option<Vec<i64>>,
    },
    /// Something that is known of the tenant is forgotten.
    Reset {
        /// What.
        what: Reset,
    },
}

impl Ask {
    /// The word in the database, in logs and in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Sync { .. } => "sync",
            Self::Apply { .. } => "apply",
            Self::Approve { .. } => "approve",
            Self::Discard { .. } => "discard",
            Self::ReplayDeadLetters { .. } => "replay_dead_letters",
            Self::DiscardDeadLetters { .. } => "discard_dead_letters",
            Self::Reset { .. } => "reset",
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The passes were committed.
    Synced {
        /// The one that was asked for.
        report: Box<Report>,
        /// The remap after it, if the mapping has changed.
        remap: Option<Box<Report>>,
    },
    /// A reviewed plan was committed.
    Applied {
        /// For whom, and for whom not.
        applied: Box<Applied>,
    },
    /// A hold was approved or discarded.
    Released {
        /// Of its plan.
        digest: String,
        /// The pass that was held.
        pass: i64,
        /// Operations that are ready now, or were dropped.
        operations: u64,
        /// Operations that had left the plan before.
        left: u64,
        /// Users who were missing from a sweep and are now asked for by id, or not.
        missing: u64,
    },
    /// Dead letters were moved.
    Moved {
        /// Which.
        ids: Vec<i64>,
    },
    /// Something was forgotten.
    Reset {
        /// What that came to.
        done: ResetDone,
    },
    /// It could not be done; nothing has changed.
    Refused {
        /// Why.
        reason: String,
        /// Where the fault lies.
        blame: Blame,
    },
}

impl Answer {
    fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), blame: Blame::Other }
    }

    /// A pass was asked for, and it has read its list completely.
    fn left_nobody_out(&self) -> bool {
        matches!(self, Self::Synced { report, .. } if report.complete)
    }
}

impl From<&PassError> for Answer {
    fn from(error: &PassError) -> Self {
        Self::Refused { reason: error.to_string(), blame: error.blame() }
    }
}

/// Carries out what is asked for one tenant. Whoever has one runs that tenant's passes, so that no pass of
/// another runs beside it.
#[derive(Debug)]
pub struct Clerk<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// Its passes.
    pub passes: &'a Passes,
    /// Whether it is well.
    pub condition: &'a Condition,
    /// The database, which is ours.
    pub store: &'a Store,
    /// Where decisions are written down.
    pub audit: &'a Audit,
    /// The time.
    pub clock: &'a Clock,
    /// Ends a pass that is running.
    pub stop: &'a CancellationToken,
    /// The request that is carried out, if somebody left one.
    pub request: Option<i64>,
}

/// Waits until a request about `tenant` is there to be taken.
pub(super) async fn somebody_asks(tenant: &TenantId, store: &Store) {
    loop {
        match store.is_asked_about(tenant).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => error!(%tenant, reason = %error, "database cannot be used"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Refuses what is asked about tenants that are not among `known`: nobody else would ever answer.
pub(super) async fn refuse_strangers(
    known: BTreeSet<TenantId>,
    store: Store,
    clock: Clock,
    stop: CancellationToken,
) {
    loop {
        if let Err(error) = refuse(&known, &store, &clock).await {
            error!(reason = %error, "database cannot be used");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn refuse(known: &BTreeSet<TenantId>, store: &Store, clock: &Clock) -> Result<(), StoreError> {
    for tenant in store.asked_about().await?.into_iter().filter(|tenant| !known.contains(tenant)) {
        while let Some(request) = store.take(&tenant, clock.now()).await? {
            let reason =
                format!("the daemon has no tenant {tenant}; SIGHUP has it read its configuration again");
            let (ask, operator) = (request.what.as_str(), request.operator.map(i64::from));
            warn!(%tenant, ask, operator, reason, "request refused");
            store.answer(request.id, &Answer::refused(reason), clock.now()).await?;
        }
    }
    Ok(())
}

impl Clerk<'_> {
    /// Takes the oldest request, carries it out and answers it. Returns whether a list was read for it, and completely,
    /// so that a changed mapping may be applied.
    pub(super) async fn serve_next(&self) -> bool {
        let request = match self.store.take(self.tenant, self.clock.now()).await {
            Ok(Some(request)) => request,
            Ok(None) => return false,
            Err(error) => {
                self.complain(&error);
                return false;
            }
        };
        let (answer, read) = match serde_json::from_str::<Ask>(&request.argument) {
            Ok(ask) => {
                match (Clerk { request: Some(request.id), ..*self }).serve(&ask, request.operator).await {
                    Ok(Some(answer)) => {
                        let read = answer.left_nobody_out() || matches!(ask, Ask::Approve { .. });
                        (answer, read)
                    }
                    Ok(None) => return false,
                    Err(error) => (Answer::refused(error.to_string()), false),
                }
            }
            Err(error) => (Answer::refused(format!("the request cannot be understood: {error}")), false),
        };
        while let Err(error) = self.store.answer(request.id, &answer, self.clock.now()).await {
            self.complain(&error);
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stop.cancelled() => return false,
            }
        }
        read && !matches!(answer, Answer::Refused { .. })
    }

    fn complain(&self, error: &StoreError) {
        error!(tenant = %self.tenant, reason = %error, "database cannot be used");
    }

    /// Carries it out. `None` when we were told to stop before it was done: it can be asked for again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn serve(&self, ask: &Ask, operator: Option<u32>) -> Result<Option<Answer>, StoreError> {
        let answer = match self.carry_out(ask, operator).await {
            Ok(answer) => answer,
            Err(Undone::Pass(error)) if error.stopped() => return Ok(None),
            Err(Undone::Pass(PassError::Store(error)) | Undone::Store(error)) => return Err(error),
            Err(Undone::Pass(error)) => Answer::from(&error),
            Err(Undone::Audit(error)) => {
                error!(tenant = %self.tenant, reason = %error, "audit cannot be written");
                Answer::refused(format!("the audit cannot be written: {error}"))
            }
        };
        let (tenant, ask, operator) = (self.tenant, ask.as_str(), operator.map(i64::from));
        if let Answer::Refused { reason, .. } = &answer {
            warn!(%tenant, ask, operator, reason, "request refused");
        } else {
            info!(%tenant, ask, operator, "request carried out");
        }
        Ok(Some(answer))
    }

    async fn carry_out(&self, ask: &Ask, operator: Option<u32>) -> Result<Answer, Undone> {
        match ask {
            Ask::Sync { full } => self.sync(*full).await,
            Ask::Apply { plan } => {
                Ok(Answer::Applied { applied: Box::new(self.apply(plan, operator).await?) })
            }
            Ask::Approve { digest } => {
                // What is held may be old, and may have been decided otherwise since.
                let report = self.pass(self.delta_or_sweep().await?).await?;
                if !seen_anew(&report, digest) {
                    return Ok(Answer::refused(unread(&report)));
                }
                self.release(digest, HoldDecision::Approve, operator).await
            }
            Ask::Discard { digest } => self.release(digest, HoldDecision::Discard, operator).await,
            Ask::ReplayDeadLetters { ids } => {
                let operations = self.letters(ids.as_deref()).await?;
                let tenant = Some(self.tenant.clone());
                self.note(Entry::DeadLettersReplayed { operations: operations.clone(), tenant, operator })
                    .await?;
                let letters = Selection::Ids(operations);
                Ok(Answer::Moved { ids: self.store.replay(&letters, self.clock.now()).await? })
            }
            Ask::DiscardDeadLetters { ids } => {
                let operations = self.letters(ids.as_deref()).await?;
                let tenant = Some(self.tenant.clone());
                self.note(Entry::DeadLettersDiscarded { operations: operations.clone(), tenant, operator })
                    .await?;
                let letters = Selection::Ids(operations);
                Ok(Answer::Moved { ids: self.store.discard(&letters, self.clock.now()).await? })
            }
            Ask::Reset { what } => {
                let (tenant, word) = (self.tenant.clone(), what.as_str().to_owned());
                self.note(Entry::StateReset { tenant, what: word, operator }).await?;
                Ok(Answer::Reset { done: self.store.reset(self.tenant, *what, self.clock.now()).await? })
            }
        }
    }

    /// Writes a decision into the audit: then it may be carried out, and is, even if we die or whoever asked for it goes.
    async fn note(&self, entry: Entry) -> Result<(), Undone> {
        if let Some(request) = self.request {
            self.store.bind(request).await?;
        }
        let link = self.audit.record(vec![entry], self.clock.now()).await?;
        Ok(self.store.remember_audit(&link.into()).await?)
    }

    async fn sync(&self, full: bool) -> Result<Answer, Undone> {
        let kind = if full { PassKind::Sweep } else { self.delta_or_sweep().await? };
        let report = Box::new(self.pass(kind).await?);
        let remap = if report.complete && self.passes.remap_due().await? {
            Some(Box::new(self.pass(PassKind::Remap).await?))
        } else {
            None
        };
        Ok(Answer::Synced { report, remap })
    }

    /// Carries out a reviewed plan, until told to stop.
    pub(super) async fn apply(&self, plan: &Plan, operator: Option<u32>) -> Result<Applied, Undone> {
        let (tenant, digest) = (self.tenant.clone(), plan.digest.clone());
        let users = u64::try_from(plan.changes.len()).unwrap_or(u64::MAX);
        self.note(Entry::PlanApplied { tenant, digest, users, operator }).await?;
        Ok(self.unless_stopped(Box::pin(self.passes.apply(plan))).await?)
    }

    /// Runs one pass, until told to stop.
    async fn pass(&self, kind: PassKind) -> Result<Report, PassError> {
        self.unless_stopped(Box::pin(observed_pass(self.passes, self.condition, kind))).await
    }

    async fn unless_stopped<T>(
        &self,
        pass: impl Future<Output = Result<T, PassError>>,
    ) -> Result<T, PassError> {
        tokio::select! {
            ended = pass => ended,
            () = self.stop.cancelled() => {
                self.store.break_off(self.tenant, self.clock.now()).await?;
                Err(PassError::Stopped)
            }
        }
    }

    async fn delta_or_sweep(&self) -> Result<PassKind, StoreError> {
        Ok(next_pass(&History::of(&self.store.tenant(self.tenant).await?, None)))
    }

    async fn release(
        &self,
        digest: &str,
        decision: HoldDecision,
        operator: Option<u32>,
    ) -> Result<Answer, Undone> {
        let holds = self.store.holds(Some(self.tenant)).await?;
        let Some(hold) = holds.iter().find(|hold| hold.digest == digest) else {
            return Ok(Answer::refused(not_held(digest, &holds)));
        };
        let (tenant, digest, pass) = (hold.tenant.clone(), hold.digest.clone(), hold.pass);
        let (operations, left) = (hold.held, hold.operations.saturating_sub(hold.held));
        self.note(match decision {
            HoldDecision::Approve => Entry::Approved { tenant, digest, pass, operations, left, operator },
            HoldDecision::Discard => Entry::Discarded { tenant, digest, pass, operations, left, operator },
        })
        .await?;
        match self.store.release(hold, decision, self.clock.now()).await? {
            Some(released) => Ok(Answer::Released {
                digest: hold.digest.clone(),
                pass: hold.pass,
                operations: released.operations,
                left: released.left,
                missing: hold.missing,
            }),
            None => Ok(Answer::refused(not_held(&hold.digest, &[]))),
        }
    }

    /// Those of the tenant's dead letters that are meant, and none of another tenant.
    async fn letters(&self, ids: Option<&[i64]>) -> Result<Vec<i64>, StoreError> {
        let all = self.store.dead_letters(&Selection::All(Some(self.tenant.clone()))).await?;
        let ids = all.iter().map(|letter| letter.id).filter(|id| ids.is_none_or(|ids| ids.contains(id)));
        Ok(ids.collect())
    }
}

/// Whether the pass before an approval has read whoever has changed since; or has just decided the very same plan, as a
/// sweep does that shows too few of the known users, each time anew.
fn seen_anew(report: &Report, digest: &str) -> bool {
    report.complete || report.committed.held.as_ref().is_some_and(|held| held.digest == digest)
}

fn unread(report: &Report) -> String {
    let why = report.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("the list could not be read completely{why}; try again")
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    /// Its pass came to nothing.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be written into the audit.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl Undone {
    /// Where the fault lies.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Pass(error) => error.blame(),
            Self::Store(_) | Self::Audit(_) => Blame::Other,
        }
    }
}

/// Digits of a digest that are shown.
const SHOWN: usize = 12;

/// The hold whose digest begins with `prefix`.
///
/// # Errors
/// When there is none, or more than one; with what is held.
pub fn find_hold<'a>(holds: &'a [Hold], prefix: &DigestPrefix) -> Result<&'a Hold, String> {
    let mut fitting = holds.iter().filter(|hold| prefix.fits(&hold.digest));
    match (fitting.next(), fitting.next()) {
        (Some(hold), None) => Ok(hold),
        (Some(_), Some(_)) => Err(format!("more than one digest begins with {prefix}; {}", list(holds))),
        (None, _) => Err(not_held(&prefix.to_string(), holds)),
    }
}

fn not_held(digest: &str, holds: &[Hold]) -> String {
    let shown = digest.get(..SHOWN).unwrap_or(digest);
    format!("nothing is held with the digest {shown}; {}", list(holds))
}

fn list(holds: &[Hold]) -> String {
    if holds.is_empty() {
        return "nothing is held at all".to_owned();
    }
    let line = |hold: &Hold| {
        let (tenant, pass, held) = (&hold.tenant, hold.pass, hold.held);
        let digest = hold.digest.get(..SHOWN).unwrap_or(&hold.digest);
        format!("{digest} (tenant {tenant}, pass {pass}, {})", counted(held, "operation", "operations"))
    };
    format!("held: {}", holds.iter().map(line).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn hold(tenant: &str, digest: &str) -> Hold {
        Hold {
            id: 1,
            tenant: tenant.into(),
            digest: digest.to_owned(),
            pass: 41,
            created_at: Timestamp::EPOCH,
            operations: 312,
            held: 300,
            missing: 0,
            findings: Vec::new(),
            mapping_digest: None,
        }
    }

    #[test]
    fn a_hold_is_found_by_the_beginning_of_its_digest() {
        let holds =
            [hold("acme", "9f86d081884c7d65"), hold("other", "9f86d081999999"), hold("acme", "abcdef12")];
        let find = |prefix: &str| find_hold(&holds, &prefix.parse().unwrap());
        assert_eq!(find("abcdef").map(|hold| hold.digest.as_str()), Ok("abcdef12"));
        assert_eq!(find("9F86D0818").map(|hold| hold.tenant.as_str()), Ok("acme"));
        let held = "held: 9f86d081884c (tenant acme, pass 41, 300 operations), \
            9f86d0819999 (tenant other, pass 41, 300 operations), abcdef12 (tenant acme, pass 41, 300 operations)";
        for (prefix, expected) in [
            ("9f86d081", format!("more than one digest begins with 9f86d081; {held}")),
            ("000000", format!("nothing is held with the digest 000000; {held}")),
        ] {
            assert_eq!(find(prefix), Err(expected), "{prefix}");
        }
        assert!(find_hold(&[], &"abcdef".parse().unwrap()).unwrap_err().ends_with("nothing is held at all"));
    }

    #[test]
    fn what_is_asked_is_read_as_it_was_written() {
        for (ask, text) in [
            (Ask::Sync { full: true }, r#"{"ask":"sync","full":true}"#),
            (Ask::Approve { digest: "ab".to_owned() }, r#"{"ask":"approve","digest":"ab"}"#),
            (
                Ask::ReplayDeadLetters { ids: Some(vec![1, 2]) },
                r#"{"ask":"replay_dead_letters","ids":[1,2]}"#,
            ),
            (Ask::Reset { what: Reset::Queue }, r#"{"ask":"reset","what":"queue"}"#),
        ] {
            assert_eq!(serde_json::to_string(&ask).unwrap(), text);
            assert_eq!(serde_json::from_str::<Ask>(text).unwrap(), ask);
            assert!(text.contains(ask.as_str()));
        }
    }
}
