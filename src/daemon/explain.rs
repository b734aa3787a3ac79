//! Why a user is in his teams, or is not: what is known of him, what the rules make of it, and what has become of
//! what was decided.
//!
//! It changes nothing. No name leaves the tenant: a user is looked up by what the operator typed and answered for by
//! his id.

use std::collections::BTreeSet;

use super::connect::client;
use super::force::{NotInForce, not_in_force};
use super::parts::Parts;
use super::preview::PreviewError;
use super::report::PassError;
use super::rules::Rules;
use crate::config::TenantSettings;
use crate::model::{Operation, PassKind, Role, State, TeamId, TenantId, Timestamp, User, UserId};
use crate::plan::{self, Desired};
use crate::scim::{Client, Verdict};
use crate::source::{find_by_name, read_by_id};
use crate::store::{Known, Store, StoreError, Work};

/// All there is to say about one user of one tenant.
#[derive(Debug)]
pub struct Explained {
    /// Whose user he is.
    pub tenant: TenantId,
    /// His record, as it is explained.
    pub user: User,
    /// When it was read.
    pub read_at: Timestamp,
    /// He was read from the tenant for this answer; otherwise it is the record as a pass last read it.
    pub live: bool,
    /// How passes know him; `None`: none has seen him.
    pub known: Option<Known>,
    /// The rules in force.
    pub rules: Vec<RuleHit>,
    /// His roles that no rule names.
    pub unmapped: BTreeSet<Role>,
    /// Of the rules.
    pub mapping_digest: String,
    /// Why the configured mapping is not the one that this is explained by.
    pub not_in_force: Option<NotInForce>,
    /// The managed teams that he should be in, and why.
    pub desired: Desired,
    /// The managed teams that he is in.
    pub current: BTreeSet<TeamId>,
    /// His other teams, which are left alone.
    pub kept: BTreeSet<TeamId>,
    /// Teams that the daemon has given him.
    pub granted: BTreeSet<TeamId>,
    /// What his record asks for now.
    pub decision: Option<Operation>,
    /// What was decided before, and what waits.
    pub work: Work,
    /// The digest of the plan that holds what is open.
    pub held_by: Option<String>,
    /// Where all that leaves him.
    pub standing: Standing,
}

/// A rule and whether it hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHit {
    /// The role that it is about.
    pub role: Role,
    /// The teams that it asks for.
    pub teams: BTreeSet<TeamId>,
    /// The user has the role.
    pub hit: bool,
}

/// The answer in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// He is where his record asks for.
    Right,
    /// An operation waits to be sent.
    Waiting,
    /// An operation is in flight.
    InFlight,
    /// An operation waits for an approval.
    Held,
    /// An operation was given up.
    DeadLetter,
    /// His record has to be read again before anything is decided.
    ReadAgain,
    /// Something has to change, and no pass has decided it yet.
    NotPlanned,
}

impl Standing {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Waiting => "waiting",
            Self::InFlight => "in flight",
            Self::Held => "held",
            Self::DeadLetter => "dead letter",
            Self::ReadAgain => "read again",
            Self::NotPlanned => "not planned",
        }
    }

    /// What is open says more than what the record asks for: it comes first.
    fn of(decision: Option<&Operation>, work: &Work) -> Self {
        match work.open().map(|sent| sent.state) {
            Some(State::Ready) => Self::Waiting,
            Some(State::Leased) => Self::InFlight,
            Some(State::Held) => Self::Held,
            Some(State::Dead) => Self::DeadLetter,
            Some(_) => Self::ReadAgain,
            None if work.reread_at.is_some() => Self::ReadAgain,
            None if decision.is_some() => Self::NotPlanned,
            None => Self::Right,
        }
    }
}

/// Explains a user whom a pass has read, from what the database knows; `None` when it does not know the id.
///
/// # Errors
/// When the database fails.
pub async fn explain_known(
    settings: &TenantSettings,
    store: &Store,
    id: &UserId,
) -> Result<Option<Explained>, StoreError> {
    let Some(known) = store.known_user(&settings.name, id).await? else { return Ok(None) };
    let (user, read_at) = (known.user.clone(), known.read_at);
    put_together(settings, store, (user, read_at, false), Some(known)).await.map(Some)
}

/// Asks the tenant for a user by id or `userName`, and explains him as he is now; `None` when the tenant knows neither.
///
/// # Errors
/// When the tenant cannot be asked, or the database fails.
pub async fn explain(
    settings: &TenantSettings,
    store: &Store,
    who: &str,
    parts: &Parts,
) -> Result<Option<Explained>, PreviewError> {
    let client = client(settings, &parts.clock)?;
    let read_at = parts.clock.now();
    let Some(user) = look_up(settings, &client, who, parts).await? else { return Ok(None) };
    let known = store.known_user(&settings.name, &user.id).await?;
    Ok(Some(put_together(settings, store, (user, read_at, true), known).await?))
}

/// By id, unless it looks like a name; then by name. A tenant may reject an id that is none.
async fn look_up(
    settings: &TenantSettings,
    client: &Client,
    who: &str,
    parts: &Parts,
) -> Result<Option<User>, PassError> {
    let Parts { clock, chance, .. } = parts;
    let attribute = settings.reading.role_attribute;
    if !who.contains('@') {
        match read_by_id(client, &UserId::from(who), attribute, clock, *chance).await {
            Ok(Some(user)) => return Ok(Some(user)),
            Ok(None) => {}
            Err(error) if error.failure.verdict == Verdict::Rejected => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(find_by_name(client, who, attribute, clock, *chance).await?)
}

async fn put_together(
    settings: &TenantSettings,
    store: &Store,
    (user, read_at, live): (User, Timestamp, bool),
    known: Option<Known>,
) -> Result<Explained, StoreError> {
    let tenant = &settings.name;
    let state = store.tenant(tenant).await?;
    let holds = store.holds(Some(tenant)).await?;
    let digest = settings.mapping.digest();
    let configured = (&settings.mapping, digest.as_str());
    let rules = Rules::of_pass(PassKind::Delta, tenant, configured, settings.policy, &state, store).await?;
    let mapping = rules.mapping();
    let work = store.work_of(tenant, &user.id).await?;
    let hold = work.open().filter(|sent| sent.state == State::Held).and_then(|sent| sent.hold);
    let granted = store.grants_of(tenant, &user.id).await?;
    let decision = rules.decide(&user, Some(&granted));
    let (current, kept) = user.teams.iter().cloned().partition(|team| mapping.managed().contains(team));
    let hit = |(role, teams): (&Role, &BTreeSet<TeamId>)| RuleHit {
        role: role.clone(),
        teams: teams.clone(),
        hit: user.roles.contains(role),
    };
    Ok(Explained {
        tenant: tenant.clone(),
        read_at,
        live,
        known,
        rules: mapping.rules().iter().map(hit).collect(),
        unmapped: user.roles.iter().filter(|role| !mapping.rules().contains_key(*role)).cloned().collect(),
        mapping_digest: rules.digest.clone(),
        not_in_force: not_in_force(&state, &digest, &holds).filter(|why| *why != NotInForce::NothingRead),
        desired: plan::desired(&user, mapping, settings.policy),
        current,
        kept,
        granted,
        held_by: holds.into_iter().find(|held| Some(held.id) == hold).map(|held| held.digest),
        standing: Standing::of(decision.as_ref(), &work),
        decision,
        work,
        user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Payload, TeamPatch, TeamsPayload};
    use crate::store::Sent;

    fn operation() -> Operation {
        let [teams, added, removed] = [(); 3].map(|()| BTreeSet::new());
        let payload = TeamsPayload { teams, added, removed, patch: TeamPatch::Replace, roles: [].into() };
        Operation {
            user: UserId::from("user-0001"),
            payload: Payload::Teams(payload),
            cause: Cause::Mapped,
            version: None,
        }
    }

    fn sent(state: State) -> Sent {
        Sent {
            id: 1,
            operation: operation(),
            state,
            pass: 1,
            created_at: Timestamp::EPOCH,
            due_at: Timestamp::EPOCH,
            attempts: 0,
            touched_at: None,
            finished_at: None,
            status: None,
            reason: None,
            correlation_id: None,
            hold: None,
        }
    }

    #[test]
    fn what_is_open_decides_then_what_has_to_be_read_and_then_the_record() {
        let at = Some(Timestamp::EPOCH);
        for (states, reread_at, decided, expected) in [
            (&[State::Ready, State::Done][..], None, true, Standing::Waiting),
            (&[State::Leased], at, true, Standing::InFlight),
            (&[State::Held], None, true, Standing::Held),
            (&[State::Dead], None, true, Standing::DeadLetter),
            (&[State::Stale], at, true, Standing::ReadAgain),
            (&[State::Done], at, false, Standing::ReadAgain),
            (&[State::Discarded, State::Done], None, true, Standing::NotPlanned),
            (&[State::Superseded, State::Gone], None, false, Standing::Right),
            (&[], None, true, Standing::NotPlanned),
            (&[], None, false, Standing::Right),
        ] {
            let work = Work { operations: states.iter().copied().map(sent).collect(), reread_at };
            let decision = decided.then(operation);
            assert_eq!(
                Standing::of(decision.as_ref(), &work),
                expected,
                "{states:?} {reread_at:?} {decided}"
            );
        }
    }
}
