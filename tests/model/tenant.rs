//! A tenant in memory, written without any of the code that it judges: it knows who put whom into which team,
//! and says when the daemon did what it must not do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rosterd::clock::Clock;
use rosterd::model::{Timestamp, UserId};
use rosterd::scim::{Failure, ListQuery, Page, Receipt, ServiceProvider, Verdict};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::gate::{Gates, Lane};

/// What kind of tenant it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    /// Records carry a version, and `If-Match` is honoured.
    pub(crate) etag: bool,
    /// Answers carry `Date`.
    pub(crate) date: bool,
    /// Lists show leavers too.
    pub(crate) lists_inactive: bool,
    /// What it makes of `since`.
    pub(crate) since: Understands,
}

/// What a tenant makes of `since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Understands {
    It,
    /// Everybody is listed, whatever is asked.
    Nothing,
    /// Nobody is listed.
    Wrong,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Unavailable,
    Busy,
    Throttled,
    Unauthorized,
    Forbidden,
    Rejected,
    /// A write is applied, and its answer lost.
    Lost,
    /// A write whose caller gives up, and which is applied later.
    Late,
    /// A write is told that the user has changed.
    Conflict,
}

/// Which calls it befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    List,
    Get,
    Patch,
}

/// Who has put a user into a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The daemon.
    Us,
    /// Somebody else.
    Others,
    /// Both, or at the same time: nobody can tell.
    Unclear,
}

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) active: bool,
    pub(crate) roles: BTreeSet<String>,
    pub(crate) teams: BTreeMap<String, By>,
    pub(crate) version: u64,
    pub(crate) modified: Timestamp,
    /// The last change bears a date before that of an earlier one, because the clock was set back; when it was made.
    pub(crate) backdated: Option<u64>,
    /// When he was last put into a team, or taken out of it, by somebody else.
    by_hand: BTreeMap<String, u64>,
    /// His record cannot be read so many times.
    pub(crate) garbled: u32,
}

/// A write on its way.
#[derive(Clone, Debug)]
struct Write {
    user: UserId,
    body: Value,
    version: Option<String>,
    /// When it was sent.
    sent: u64,
    /// Teams that were managed then.
    managed: BTreeSet<String>,
    /// Its sender has given it up.
    given_up: bool,
}

/// The state of the tenant.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) nature: Nature,
    pub(crate) people: BTreeMap<UserId, Person>,
    pub(crate) order: Vec<UserId>,
    /// How far its clock is ahead of ours, in milliseconds.
    ahead: i64,
    /// The latest that its clock has shown.
    latest: Timestamp,
    faults: Vec<(Call, Fault, u32)>,
    /// Counts what the test does: changes, calls and reads are before or after each other by it.
    pub(crate) moment: u64,
    /// Complete lists that were read and committed: when each began and ended.
    pub(crate) lists: Vec<(u64, u64)>,
    /// When somebody last vanished from the list while it was read.
    pub(crate) vanished: Option<u64>,
    /// Teams that the daemon may manage now.
    pub(crate) managed: BTreeSet<String>,
    /// Teams that any mapping has ever named.
    pub(crate) ever_managed: BTreeSet<String>,
    next_write: u64,
    flying: BTreeMap<u64, Write>,
    limbo: Vec<Write>,
    pub(crate) writes: u64,
    answered: u64,
    /// What must never happen, and has.
    pub(crate) violations: Vec<String>,
}

/// A handle on it, for one lane of calls.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    state: Arc<Mutex<State>>,
    clock: Clock,
    pub(crate) gates: Gates,
    lane: Lane,
}

impl Tenant {
    pub(crate) fn new(nature: Nature, clock: Clock) -> Self {
        let state = State {
            nature,
            people: BTreeMap::new(),
            order: Vec::new(),
            ahead: 0,
            latest: clock.now(),
            faults: Vec::new(),
            moment: 0,
            lists: Vec::new(),
            vanished: None,
            managed: BTreeSet::new(),
            ever_managed: BTreeSet::new(),
            next_write: 0,
            flying: BTreeMap::new(),
            limbo: Vec::new(),
            writes: 0,
            answered: 0,
            violations: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), clock, gates: Gates::default(), lane: Lane::Passes }
    }

    pub(crate) fn for_delivery(&self) -> Self {
        Self { lane: Lane::Delivery, ..self.clone() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// By its own clock.
    fn now_of(&self, state: &State) -> Timestamp {
        Timestamp::from_millis(self.clock.now().millis() + state.ahead)
    }

    /// Sets its clock ahead or back; ours stays.
    pub(crate) fn set_clock(&self, by: i64) {
        let mut state = self.state();
        state.latest = state.latest.max(self.now_of(&state));
        state.ahead += by;
    }

    /// Ours is set; its own stays.
    pub(crate) fn our_clock_was_set(&self, by: i64) {
        self.state().ahead -= by;
    }

    pub(crate) fn fail(&self, call: Call, fault: Fault, times: u32) {
        self.state().faults.push((call, fault, times));
    }

    /// Nothing fails any more, and what was given up has arrived.
    pub(crate) fn calm(&self) {
        self.state().faults.clear();
        self.land();
        self.state().people.values_mut().for_each(|person| person.garbled = 0);
    }

    /// What was given up is applied now.
    pub(crate) fn land(&self) {
        let mut state = self.state();
        for write in std::mem::take(&mut state.limbo) {
            // Nobody waits for the answer.
            drop(self.apply(&mut state, &write));
        }
    }

    /// The daemon dies. What was on its way may arrive all the same.
    pub(crate) fn cut(&self, arrives: bool) {
        let mut state = self.state();
        for write in std::mem::take(&mut state.flying).into_values() {
            state.unclear(&write);
            if arrives {
                state.limbo.push(Write { given_up: true, ..write });
            }
        }
    }

    pub(crate) fn create(&self, id: &UserId, roles: BTreeSet<String>, teams: &[String], place: usize) {
        let mut state = self.state();
        let teams = teams.iter().map(|team| (team.clone(), By::Others)).collect();
        let person = Person {
            active: true,
            roles,
            teams,
            version: 0,
            modified: Timestamp::EPOCH,
            backdated: None,
            by_hand: BTreeMap::new(),
            garbled: 0,
        };
        let place = place.min(state.order.len());
        state.order.insert(place, id.clone());
        state.people.insert(id.clone(), person);
        self.touch(&mut state, id);
    }

    pub(crate) fn delete(&self, id: &UserId) {
        let mut state = self.state();
        state.order.retain(|other| other != id);
        state.people.remove(id);
    }

    /// The list, of which a part has been read, has lost somebody.
    pub(crate) fn vanishes(&self) {
        let mut state = self.state();
        state.vanished = Some(state.moment);
    }

    pub(crate) fn edit(&self, id: &UserId, edit: impl FnOnce(&mut Person)) {
        let mut state = self.state();
        edit(state.people.get_mut(id).unwrap());
        self.touch(&mut state, id);
    }

    /// Somebody puts a user into a team; `granted` if the daemon believes that it has done so before.
    pub(crate) fn put(&self, id: &UserId, team: &str, granted: bool) {
        self.hand(id, team, |teams| {
            let by = if granted { By::Unclear } else { By::Others };
            teams.entry(team.to_owned()).or_insert(by);
        });
    }

    /// Somebody takes a user out of a team.
    pub(crate) fn take_out(&self, id: &UserId, team: &str) {
        self.hand(id, team, |teams| {
            teams.remove(team);
        });
    }

    fn hand(&self, id: &UserId, team: &str, edit: impl FnOnce(&mut BTreeMap<String, By>)) {
        let moment = self.state().moment;
        self.edit(id, |person| {
            edit(&mut person.teams);
            person.by_hand.insert(team.to_owned(), moment);
        });
    }

    /// A user changes his place in the list.
    pub(crate) fn move_to(&self, id: &UserId, place: usize) {
        let mut state = self.state();
        state.order.retain(|other| other != id);
        let place = place.min(state.order.len());
        state.order.insert(place, id.clone());
    }

    fn touch(&self, state: &mut State, id: &UserId) {
        let (now, moment) = (self.now_of(state), state.moment);
        let backdated = now < state.latest;
        state.latest = state.latest.max(now);
        let person = state.people.get_mut(id).unwrap();
        person.version += 1;
        person.modified = now;
        if backdated {
            person.backdated = Some(moment);
        }
    }

    /// What befalls this call.
    fn fault(&self, call: Call) -> Option<Fault> {
        let mut state = self.state();
        let planned = state.faults.iter_mut().find(|(other, _, left)| *other == call && *left > 0)?;
        planned.2 -= 1;
        Some(planned.1)
    }

    /// A call that is only read for: what it comes to, and whether the tenant has answered it.
    fn read_fault(&self, call: Call) -> Result<(), Failure> {
        let verdict = match self.fault(call) {
            None => {
                self.state().answered += 1;
                return Ok(());
            }
            Some(fault) => verdict(fault),
        };
        self.state().answered += u64::from(verdict.answered());
        Err(failure(verdict))
    }

    fn page(&self, query: &ListQuery) -> Page {
        let mut state = self.state();
        let nature = state.nature;
        let shown = |person: &Person| {
            let since = match (query.since, nature.since) {
                (None, _) | (_, Understands::Nothing) => true,
                (Some(since), Understands::It) => person.modified >= since,
                (Some(_), Understands::Wrong) => false,
            };
            since && (person.active || nature.lists_inactive)
        };
        let all: Vec<UserId> = state.order.iter().filter(|id| shown(&state.people[*id])).cloned().collect();
        let start = usize::try_from(query.start_index - 1).unwrap();
        let count = usize::try_from(query.count).unwrap();
        let resources = all
            .iter()
            .skip(start)
            .take(count)
            .map(|id| {
                let person = state.people.get_mut(id).unwrap();
                RawValue::from_string(record(id, person, nature.etag)).unwrap()
            })
            .collect();
        let seconds = self.now_of(&state).millis() / 1000 * 1000;
        let date = nature.date.then(|| Timestamp::from_millis(seconds));
        Page { total: all.len() as u64, date, resources }
    }

    fn apply(&self, state: &mut State, write: &Write) -> Result<(), Verdict> {
        let Some(person) = state.people.get(&write.user).cloned() else { return Err(Verdict::Gone) };
        if write.version.as_deref().is_some_and(|version| version != tag(&person)) {
            return Err(Verdict::Conflict);
        }
        let asked = asked(&write.body, &person);
        let mut teams = person.teams.clone();
        let mut violations = Vec::new();
        for (team, by) in &person.teams {
            let raced = state.raced(write, &person, team);
            if !asked.contains(team) {
                if *by == By::Others && !write.managed.contains(team) && !raced {
                    violations.push(format!("{} was taken out of {team}, which is not ours", write.user));
                }
                teams.remove(team);
            }
        }
        for team in asked.iter().filter(|team| !person.teams.contains_key(*team)) {
            let raced = state.raced(write, &person, team);
            // What lands after a newer write of ours undoes that one, too: the list is as old as the write.
            let undoes = write.given_up && state.ever_managed.contains(team);
            if !write.managed.contains(team) && !raced && !undoes {
                violations.push(format!("{} was put into {team}, which is not ours", write.user));
            }
            let by = if raced || write.given_up { By::Unclear } else { By::Us };
            teams.insert(team.clone(), by);
        }
        let changed = teams.keys().ne(person.teams.keys());
        let moment = state.moment;
        let record = state.people.get_mut(&write.user).unwrap();
        if write.given_up {
            // To whoever sent it, it is as if somebody else did it.
            let differs = |team: &&String| teams.contains_key(*team) != person.teams.contains_key(*team);
            let changed: Vec<&String> = teams.keys().chain(person.teams.keys()).filter(differs).collect();
            record.by_hand.extend(changed.into_iter().map(|team| (team.clone(), moment)));
        }
        record.teams = teams;
        state.violations.extend(violations);
        state.writes += 1;
        if changed {
            self.touch(state, &write.user);
        }
        Ok(())
    }

    async fn patch(&self, write: Write) -> Result<Receipt, Failure> {
        let ticket = {
            let mut state = self.state();
            let ticket = state.next_write;
            state.next_write += 1;
            state.flying.insert(ticket, write);
            ticket
        };
        self.gates.pass(self.lane).await;
        let fault = self.fault(Call::Patch);
        let result = {
            let mut state = self.state();
            let Some(write) = state.flying.remove(&ticket) else { return Err(failure(Verdict::NotSent)) };
            let result = match fault {
                None | Some(Fault::Lost) => self.apply(&mut state, &write),
                Some(fault) => Err(verdict(fault)),
            };
            let clear = match &result {
                Ok(()) => fault.is_none() && state.nature.etag,
                Err(verdict) => !failure(verdict.clone()).unclear,
            };
            if !clear {
                state.unclear(&write);
            }
            if fault == Some(Fault::Late) {
                state.limbo.push(Write { given_up: true, ..write });
            }
            if fault == Some(Fault::Lost) { Err(verdict(Fault::Lost)) } else { result }
        };
        self.gates.pass(self.lane).await;
        self.state().answered += u64::from(result.as_ref().err().is_none_or(Verdict::answered));
        result.map(|()| Receipt::default()).map_err(failure)
    }
}

impl State {
    /// Whether the change by hand that is the last for this user and team may be unknown to whoever sends `write`:
    /// no complete list that was begun after it was committed before.
    fn unknown(&self, write: &Write, person: &Person, team: &str) -> bool {
        let Some(changed) = person.by_hand.get(team) else { return false };
        let hidden = person.backdated.is_some() || !(person.active || self.nature.lists_inactive);
        hidden || !self.lists.iter().any(|(began, ended)| began > changed && *ended < write.sent)
    }

    /// Whether `write` may undo that change. Where versions are honoured they keep it safe.
    fn raced(&self, write: &Write, person: &Person, team: &str) -> bool {
        !self.nature.etag && self.unknown(write, person, team)
    }

    /// Whoever sent this does not know what became of it, or it was done without knowing better: where others have
    /// just done the same, nobody can tell who it was.
    fn unclear(&mut self, write: &Write) {
        let Some(person) = self.people.get(&write.user) else { return };
        let mut teams = person.teams.clone();
        let asked = asked(&write.body, person);
        for (team, by) in &mut teams {
            if *by == By::Others && asked.contains(team) && self.unknown(write, person, team) {
                *by = By::Unclear;
            }
        }
        self.people.get_mut(&write.user).unwrap().teams = teams;
    }
}

impl ServiceProvider for Tenant {
    async fn list_users(&self, query: &ListQuery) -> Result<Page, Failure> {
        self.gates.pass(self.lane).await;
        self.read_fault(Call::List)?;
        let page = self.page(query);
        self.gates.pass(self.lane).await;
        Ok(page)
    }

    async fn get_user(&self, id: &UserId) -> Result<Vec<u8>, Failure> {
        self.gates.pass(self.lane).await;
        self.read_fault(Call::Get)?;
        let record = {
            let mut state = self.state();
            let etag = state.nature.etag;
            state.people.get_mut(id).map(|person| record(id, person, etag))
        };
        self.gates.pass(self.lane).await;
        record.map(String::into_bytes).ok_or_else(|| failure(Verdict::Gone))
    }

    async fn write_user(
        &self,
        write: rosterd::scim::Write,
        id: &UserId,
        body: &[u8],
        version: Option<&str>,
    ) -> Result<Receipt, Failure> {
        assert_eq!(write, rosterd::scim::Write::Patch, "passes only change users");
        let body = serde_json::from_slice(body).unwrap();
        let (sent, managed) = {
            let state = self.state();
            (state.moment, state.managed.clone())
        };
        let version = version.map(ToOwned::to_owned);
        self.patch(Write { user: id.clone(), body, version, sent, managed, given_up: false }).await
    }

    async fn honours_if_match(&self) -> Result<bool, Failure> {
        Ok(self.state().nature.etag)
    }

    fn answered(&self) -> u64 {
        self.state().answered
    }
}

fn tag(person: &Person) -> String {
    format!("W/\"{}\"", person.version)
}

fn record(id: &UserId, person: &mut Person, etag: bool) -> String {
    let garbled = person.garbled > 0;
    person.garbled = person.garbled.saturating_sub(1);
    let roles: Vec<Value> = if garbled {
        vec![json!({ "value": 7 })]
    } else {
        person.roles.iter().map(|role| json!({ "value": role })).collect()
    };
    let teams: Vec<Value> = person.teams.keys().map(|team| json!({ "value": team })).collect();
    let version = etag.then(|| tag(person));
    let meta = json!({ "version": version, "lastModified": person.modified.to_string() });
    json!({ "id": id, "active": person.active, "roles": roles, "teams": teams, "meta": meta }).to_string()
}

/// The teams that a user has after this PATCH.
fn asked(body: &Value, person: &Person) -> BTreeSet<String> {
    let mut teams: BTreeSet<String> = person.teams.keys().cloned().collect();
    let values = |operation: &Value| -> Vec<String> {
        let elements = operation["value"].as_array().unwrap();
        elements.iter().map(|element| element["value"].as_str().unwrap().to_owned()).collect()
    };
    for operation in body["Operations"].as_array().unwrap() {
        let path = operation["path"].as_str().unwrap();
        match operation["op"].as_str().unwrap() {
            "replace" if path == "teams" => teams = values(operation).into_iter().collect(),
            "add" if path == "teams" => teams.extend(values(operation)),
            "remove" => {
                let team = path.strip_prefix("teams[value eq \"").and_then(|rest| rest.strip_suffix("\"]"));
                teams.remove(team.unwrap());
            }
            _ => panic!("a PATCH that no tenant understands: {operation}"),
        }
    }
    teams
}

fn verdict(fault: Fault) -> Verdict {
    match fault {
        Fault::Unavailable | Fault::Lost | Fault::Late => Verdict::Unavailable { wait: None },
        Fault::Busy => Verdict::Unavailable { wait: Some(Duration::from_secs(40)) },
        Fault::Throttled => Verdict::Throttled { wait: Some(Duration::from_secs(1)) },
        Fault::Unauthorized => Verdict::Unauthorized,
        Fault::Forbidden => Verdict::Forbidden,
        Fault::Rejected => Verdict::Rejected,
        Fault::Conflict => Verdict::Conflict,
    }
}

fn failure(verdict: Verdict) -> Failure {
    let status = match verdict {
        Verdict::Throttled { .. } => 429,
        Verdict::Unavailable { .. } | Verdict::NotSent => 503,
        Verdict::Unauthorized => 401,
        Verdict::Forbidden => 403,
        Verdict::Gone => 404,
        Verdict::Conflict => 412,
        Verdict::Exists => 409,
        Verdict::Rejected => 400,
        Verdict::Ignored => 200,
    };
    let reason = verdict.as_str().to_owned();
    let unclear = matches!(verdict, Verdict::Unavailable { .. });
    Failure { verdict, status: Some(status), reason, correlation_id: None, answer: None, unclear }
}
