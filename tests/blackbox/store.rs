//! The rules of the outbox, through the store's public door, with time as an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use rosterd::model::{
    Cause, Operation, PassKind, PassResult, Payload, PlanDigest, TeamId, TeamPatch, TeamsPayload, TenantId,
    Timestamp, User, UserId,
};
use rosterd::store::{
    Commit, Committed, Decision, Held, Leased, NewHold, Note, OperationCounts, PassTotals, Reset, Selection,
    Settlement, Staged, Step, Store, StoreError,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::database::execute;
use crate::home::TENANT;
use crate::rig::runtime;

const ROOM: u32 = 10;
static NOBODY: BTreeSet<UserId> = BTreeSet::new();

fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs(seconds))
}

fn teams(ids: &[&str]) -> BTreeSet<TeamId> {
    ids.iter().map(|id| TeamId::from(*id)).collect()
}

/// The user as read, and that he should be in these teams; without teams, that nothing has to change.
fn decision(id: &str, target: &[&str]) -> Decision {
    let user = User {
        id: UserId::from(id),
        active: true,
        roles: BTreeSet::new(),
        teams: BTreeSet::new(),
        version: None,
        last_modified: None,
    };
    let payload = TeamsPayload {
        teams: teams(target),
        added: teams(target),
        removed: BTreeSet::new(),
        patch: TeamPatch::Replace,
        roles: BTreeSet::new(),
    };
    let operation = (!target.is_empty()).then(|| Operation {
        user: user.id.clone(),
        payload: Payload::Teams(payload),
        cause: Cause::Mapped,
        version: None,
    });
    Decision { user, operation }
}

/// A database and its owner.
struct Bench {
    runtime: Runtime,
    folder: TempDir,
    tenant: TenantId,
    store: Option<Store>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Self { runtime: runtime(), folder, tenant: TenantId::from(TENANT), store: None };
        bench.open(at(0));
        bench
    }

    fn open(&mut self, now: Timestamp) {
        self.store =
            Some(self.runtime.block_on(Store::own(&self.folder.path().join("rosterd.db"), now)).unwrap());
    }

    /// The process dies and starts again: nothing is closed, nothing is said.
    fn restart(&mut self, now: Timestamp) {
        self.store = None;
        self.open(now);
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn begin(&self, now: Timestamp) -> i64 {
        self.runtime.block_on(self.store().begin_pass(&self.tenant, PassKind::Delta, now)).unwrap()
    }

    fn stage(&self, pass: i64, decisions: &[Decision], read_at: Timestamp) -> u64 {
        let staged = Staged { pass, listed: true, traceparent: None };
        self.runtime.block_on(self.store().stage(staged, decisions, read_at)).unwrap()
    }

    fn commit(
        &self,
        pass: i64,
        watermark: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        self.end(pass, watermark, None, now)
    }

    fn end(
        &self,
        pass: i64,
        watermark: Option<Timestamp>,
        hold: Option<NewHold<'_>>,
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        self.runtime.block_on(self.store().commit(&self.of_delta(pass, watermark, hold, now)))
    }

    fn of_delta<'a>(
        &'a self,
        pass: i64,
        watermark: Option<Timestamp>,
        hold: Option<NewHold<'a>>,
        now: Timestamp,
    ) -> Commit<'a> {
        Commit {
            pass,
            tenant: &self.tenant,
            kind: PassKind::Delta,
            result: PassResult::Ok,
            reason: None,
            totals: PassTotals::default(),
            began: now,
            complete: watermark.is_some(),
            watermark,
            digest: "plan",
            mapping_digest: "digest",
            mapping_applied: true,
            sweep_wanted: false,
            since: None,
            unreadable: &NOBODY,
            later: &[],
            in_flight: &[],
            gone: &[],
            hold,
            counts: (true, true),
            now,
        }
    }

    /// A whole pass that read these users at `read_at` and ends at `now`.
    fn pass(&self, decisions: &[Decision], read_at: Timestamp, now: Timestamp) -> Committed {
        let pass = self.begin(read_at);
        self.stage(pass, decisions, read_at);
        self.commit(pass, Some(read_at), now).unwrap()
    }

    /// The same, and all of it is held.
    fn held_pass(&self, decisions: &[Decision], read_at: Timestamp, now: Timestamp) -> Committed {
        let pass = self.begin(read_at);
        self.stage(pass, decisions, read_at);
        self.end(pass, Some(read_at), Some(NewHold { findings: &[], missing: false }), now).unwrap()
    }

    fn lease(&self, now: Timestamp) -> Vec<Leased> {
        self.runtime.block_on(self.store().turn(&self.tenant, &[], None, (ROOM, true), now)).unwrap().leased
    }

    /// Leases the only operation that is due.
    #[track_caller]
    fn lease_one(&self, now: Timestamp) -> Leased {
        let leased = self.lease(now);
        assert_eq!(leased.len(), 1, "{leased:?}");
        leased.into_iter().next().unwrap()
    }

    /// Acknowledges, without leasing anything.
    fn settle(&self, leased: &Leased, step: Step, now: Timestamp) {
        let settlement = Settlement {
            id: leased.id,
            lease: leased.lease,
            user: leased.operation.user.clone(),
            unclear: matches!(step, Step::Later { .. }),
            step,
            note: Some(Note { status: Some(503), ..Note::default() }),
            created: None,
            took: Duration::ZERO,
        };
        self.acknowledge(settlement, now);
    }

    /// The tenant has answered, and certainly done nothing.
    fn refuse(&self, leased: &Leased, step: Step, now: Timestamp) {
        let (id, lease, user) = (leased.id, leased.lease, leased.operation.user.clone());
        let (created, took) = (None, Duration::ZERO);
        self.acknowledge(
            Settlement { id, lease, user, step, note: None, unclear: false, created, took },
            now,
        );
    }

    fn acknowledge(&self, settlement: Settlement, now: Timestamp) {
        self.runtime.block_on(self.store().turn(&self.tenant, &[settlement], None, (0, true), now)).unwrap();
    }

    fn counts(&self) -> OperationCounts {
        self.runtime.block_on(self.store().operation_counts(&self.tenant)).unwrap()
    }

    fn rereads(&self) -> Vec<UserId> {
        self.runtime.block_on(self.store().rereads(&self.tenant, u32::MAX, at(1000))).unwrap()
    }

    fn watermark(&self) -> Option<Timestamp> {
        self.runtime.block_on(self.store().tenant(&self.tenant)).unwrap().watermark
    }

    fn dead(&self) -> usize {
        self.runtime.block_on(self.store().dead_letters(&Selection::All(None))).unwrap().len()
    }
}

fn target(leased: &Leased) -> BTreeSet<TeamId> {
    leased.operation.payload.teams().teams.clone()
}

fn later(seconds: u64) -> Step {
    Step::Later { due: at(seconds), counted: true }
}

const fn only(ready: u64, in_flight: u64, dead: u64, done: u64) -> OperationCounts {
    OperationCounts { ready, in_flight, stale: 0, held: 0, dead, done }
}

#[test]
fn an_equal_decision_keeps_attempts_and_due_time() {
    let bench = Bench::new();
    assert_eq!(bench.pass(&[decision("u", &["a"])], at(1), at(2)).planned, 1);
    let leased = bench.lease_one(at(3));
    bench.settle(&leased, later(100), at(4));
    let committed = bench.pass(&[decision("u", &["a"])], at(10), at(11));
    assert_eq!((committed.planned, committed.replaced), (0, 0));
    assert!(bench.lease(at(99)).is_empty(), "the backoff is not reset");
    let again = bench.lease_one(at(100));
    assert_eq!((again.id, again.attempts), (leased.id, 1));
}

#[test]
fn two_operations_of_a_user_are_never_in_flight_together() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"]), decision("v", &["a"])], at(1), at(2));
    let database = bench.folder.path().join("rosterd.db");
    let also_attributes = "INSERT INTO operations (tenant, user_id, kind, state, target, payload, cause, pass, created_at, due_at, touched_at)
        SELECT tenant, user_id, 'attributes', state, 'x', payload, cause, pass, created_at, due_at, touched_at
        FROM operations WHERE user_id = 'u'";
    execute(&database, also_attributes);
    let users = |leased: &[Leased]| -> Vec<_> {
        leased.iter().map(|leased| leased.operation.user.to_string()).collect()
    };
    let first = bench.lease(at(3));
    assert_eq!(users(&first), ["u", "v"]);
    assert!(bench.lease(at(3)).is_empty());
    bench.settle(&first[0], Step::Done, at(4));
    assert_eq!(users(&bench.lease(at(5))), ["u"]);
}

#[test]
fn a_newer_decision_takes_the_place_of_what_waits() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    let leased = bench.lease_one(at(3));
    bench.settle(&leased, later(100), at(4));
    let committed = bench.pass(&[decision("u", &["b"])], at(10), at(11));
    assert_eq!((committed.planned, committed.replaced), (1, 1));
    let newer = bench.lease_one(at(12));
    assert_eq!((target(&newer), newer.attempts), (teams(&["b"]), 0));
    bench.settle(&newer, Step::Done, at(13));
    assert!(bench.lease(at(1000)).is_empty(), "the older one never goes out");
}

#[test]
fn nothing_to_do_takes_away_what_waits() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"]), decision("v", &["a"])], at(1), at(2));
    let committed = bench.pass(&[decision("u", &[])], at(10), at(11));
    assert_eq!((committed.planned, committed.replaced), (0, 1));
    assert_eq!(bench.lease_one(at(12)).operation.user, UserId::from("v"));
}

#[test]
fn a_decision_equal_to_a_dead_letter_makes_no_row_and_another_one_overtakes_it() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    bench.settle(&bench.lease_one(at(3)), Step::Dead, at(4));
    assert_eq!(bench.counts(), only(0, 0, 1, 0));

    bench.pass(&[decision("u", &["a"])], at(10), at(11));
    assert_eq!((bench.counts(), bench.dead()), (only(0, 0, 1, 0), 1));

    bench.pass(&[decision("u", &["b"])], at(20), at(21));
    assert_eq!((bench.counts(), bench.dead()), (only(1, 0, 0, 0), 0));
    assert_eq!(target(&bench.lease_one(at(22))), teams(&["b"]));
}

#[test]
fn nothing_to_do_takes_a_dead_letter_away() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    bench.settle(&bench.lease_one(at(3)), Step::Dead, at(4));
    bench.pass(&[decision("u", &[])], at(10), at(11));
    assert_eq!(bench.dead(), 0);
}

#[test]
fn a_user_whom_delivery_touched_since_he_was_read_is_read_again_instead() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    let reading = bench.begin(at(5));
    bench.stage(reading, &[decision("u", &["a", "old"])], at(5));
    let leased = bench.lease_one(at(6));
    bench.settle(&leased, Step::Done, at(7));
    let committed = bench.commit(reading, Some(at(5)), at(8)).unwrap();
    assert_eq!((committed.planned, committed.rereads), (0, 1));
    assert_eq!((bench.counts(), bench.rereads()), (only(0, 0, 0, 1), vec![UserId::from("u")]));

    // Read again after that, the decision counts, and nobody has to be read any more.
    assert_eq!(bench.pass(&[decision("u", &["b"])], at(9), at(10)).planned, 1);
    assert_eq!((bench.counts(), bench.rereads()), (only(1, 0, 0, 1), vec![]));
}

/// A remap decides from how users were last read, and that shows what was delivered before it looked, but not what is
/// delivered after that.
#[test]
fn a_remap_does_not_decide_about_whom_delivery_touches_meanwhile() {
    let done_at = |seconds: u64, in_flight: &[UserId]| {
        let bench = Bench::new();
        bench.pass(&[decision("u", &["a"])], at(1), at(2));
        let leased = bench.lease_one(at(3));
        let remap =
            bench.runtime.block_on(bench.store().begin_pass(&bench.tenant, PassKind::Remap, at(5))).unwrap();
        let staged = Staged { pass: remap, listed: false, traceparent: None };
        let decisions = [(decision("u", &["b"]), at(1))];
        bench.runtime.block_on(bench.store().stage_known(staged, &decisions)).unwrap();
        bench.settle(&leased, Step::Done, at(seconds));
        let of_remap = Commit {
            kind: PassKind::Remap,
            began: at(5),
            in_flight,
            ..bench.of_delta(remap, None, None, at(8))
        };
        let committed = bench.runtime.block_on(bench.store().commit(&of_remap)).unwrap();
        assert_eq!(bench.rereads().len() as u64, committed.rereads);
        (committed.planned, committed.rereads)
    };
    assert_eq!(done_at(4, &[]), (1, 0), "it saw what was delivered");
    assert_eq!(done_at(5, &[]), (0, 1), "it may not have seen it");
    assert_eq!(done_at(6, &[]), (0, 1), "it cannot have seen it");
    assert_eq!(done_at(4, &[UserId::from("u")]), (0, 1), "he was in flight when it looked");
}

#[test]
fn an_acknowledgement_with_an_old_lease_changes_nothing() {
    let mut bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    let old = bench.lease_one(at(3));
    bench.restart(at(4));
    let current = bench.lease_one(at(5));
    assert_eq!(old.id, current.id);
    assert_ne!(old.lease, current.lease);
    for step in [Step::Done, Step::Dead, Step::Gone, later(9), Step::Stale { due: at(9) }, Step::Released] {
        bench.settle(&old, step, at(6));
        assert_eq!((bench.counts(), bench.rereads()), (only(0, 1, 0, 0), vec![]));
    }
    bench.settle(&current, Step::Done, at(7));
    assert_eq!(bench.counts(), only(0, 0, 0, 1));
    for step in [Step::Dead, later(9)] {
        bench.settle(&current, step, at(8));
        assert_eq!(bench.counts(), only(0, 0, 0, 1), "done is done");
    }
}

#[test]
fn a_superseded_attempt_is_not_tried_again() {
    for step in [later(50), Step::Dead, Step::Released] {
        let bench = Bench::new();
        bench.pass(&[decision("u", &["a"])], at(1), at(2));
        let leased = bench.lease_one(at(3));
        let committed = bench.pass(&[decision("u", &["b"])], at(4), at(5));
        assert_eq!((committed.planned, committed.rereads), (0, 1), "one is in flight, so none waits yet");
        assert_eq!(bench.rereads(), Vec::<UserId>::new(), "not while it is in flight");
        bench.settle(&leased, step.clone(), at(6));
        assert_eq!(bench.counts(), only(0, 0, 0, 0), "{step:?}");
        assert_eq!(bench.rereads(), [UserId::from("u")]);
        assert!(bench.lease(at(1000)).is_empty());
    }
}

#[test]
fn what_was_in_flight_when_the_queue_was_forgotten_is_not_tried_again() {
    for step in [later(50), Step::Dead, Step::Released] {
        let bench = Bench::new();
        bench.pass(&[decision("u", &["a"]), decision("v", &["a"])], at(1), at(2));
        let leased = bench.lease(at(3));
        let reset = bench.store().reset(&bench.tenant, Reset::Queue, at(4));
        assert_eq!(bench.runtime.block_on(reset).unwrap().in_flight, 2);
        bench.settle(&leased[0], step.clone(), at(5));
        assert_eq!(bench.counts(), only(0, 1, 0, 0), "{step:?}");
        bench.settle(&leased[1], Step::Done, at(5));
        assert_eq!(bench.counts(), only(0, 0, 0, 1), "what arrived is done");
        assert!(bench.lease(at(1000)).is_empty());
        assert_eq!(
            bench.pass(&[decision("u", &["a"])], at(10), at(11)).planned,
            1,
            "it can be decided again"
        );
    }
}

#[test]
fn an_attempt_that_is_decided_again_as_it_was_is_tried_again() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    let leased = bench.lease_one(at(3));
    bench.pass(&[decision("u", &["b"])], at(4), at(5));
    bench.pass(&[decision("u", &["a"])], at(6), at(7));
    bench.settle(&leased, later(8), at(8));
    assert!(bench.lease(at(9)).is_empty(), "he was read while it was in flight, and is read again first");
    bench.pass(&[decision("u", &["a"])], at(9), at(10));
    assert_eq!(bench.lease_one(at(11)).id, leased.id);
}

#[test]
fn a_lease_that_was_left_behind_is_void_at_the_next_start() {
    let mut bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    let left = bench.lease_one(at(3));
    assert!(bench.lease(at(1000)).is_empty(), "it is in somebody's hands");
    bench.restart(at(4));
    let leased = bench.lease_one(at(4));
    assert_eq!((leased.id, leased.attempts), (left.id, 0), "a kill costs no attempt and no time");
}

#[test]
fn what_was_staged_vanishes_when_its_pass_does_not_end() {
    let mut bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    let pass = bench.begin(at(5));
    assert_eq!(bench.stage(pass, &[decision("v", &["b"])], at(5)), 1);
    assert_eq!(bench.stage(pass, &[decision("v", &["b"])], at(5)), 0, "seen already");
    bench.restart(at(6));
    assert_eq!((bench.counts(), bench.watermark()), (only(1, 0, 0, 0), Some(at(1))));
    assert_eq!(bench.stage(pass, &[decision("v", &["b"])], at(7)), 1, "nothing is left of it");
    let status = bench.runtime.block_on(bench.store().status(&bench.tenant, 1)).unwrap();
    assert_eq!(status.passes[0].reason.as_deref(), Some("interrupted"));
    assert_eq!(status.users, 1);
}

#[test]
fn what_a_failed_pass_staged_vanishes_too() {
    let bench = Bench::new();
    let pass = bench.begin(at(1));
    bench.stage(pass, &[decision("u", &["a"])], at(1));
    bench.runtime.block_on(bench.store().fail_pass(pass, "why", PassTotals::default(), at(2))).unwrap();
    assert_eq!((bench.counts(), bench.watermark()), (only(0, 0, 0, 0), None));
    assert_eq!(bench.stage(pass, &[decision("u", &["a"])], at(3)), 1);
}

#[test]
fn operations_snapshot_and_watermark_move_together_or_not_at_all() {
    for blocked in ["tenants", "users", "operations"] {
        let bench = Bench::new();
        let path = bench.folder.path().join("rosterd.db");
        let trigger: &'static str = match blocked {
            "tenants" => "CREATE TRIGGER no BEFORE INSERT ON tenants BEGIN SELECT raise(ABORT, 'no'); END",
            "users" => "CREATE TRIGGER no BEFORE INSERT ON users BEGIN SELECT raise(ABORT, 'no'); END",
            _ => "CREATE TRIGGER no BEFORE INSERT ON operations BEGIN SELECT raise(ABORT, 'no'); END",
        };
        execute(&path, trigger);
        let pass = bench.begin(at(1));
        bench.stage(pass, &[decision("u", &["a"])], at(1));
        bench.commit(pass, Some(at(1)), at(2)).unwrap_err();
        let status = bench.runtime.block_on(bench.store().status(&bench.tenant, 1)).unwrap();
        assert_eq!(
            (status.operations, status.users, status.state.watermark),
            (only(0, 0, 0, 0), 0, None),
            "{blocked}"
        );

        execute(&path, "DROP TRIGGER no");
        bench.commit(pass, Some(at(1)), at(3)).unwrap();
        let status = bench.runtime.block_on(bench.store().status(&bench.tenant, 1)).unwrap();
        assert_eq!(
            (status.operations, status.users, status.state.watermark),
            (only(1, 0, 0, 0), 1, Some(at(1)))
        );
    }
}

#[test]
fn a_pass_that_could_not_read_all_leaves_the_watermark() {
    let bench = Bench::new();
    bench.pass(&[], at(10), at(11));
    let pass = bench.begin(at(20));
    bench.stage(pass, &[decision("u", &["a"])], at(20));
    bench.commit(pass, None, at(21)).unwrap();
    assert_eq!((bench.watermark(), bench.counts().ready), (Some(at(10)), 1));
}

/// A clock that was set back by a day must not make an operation wait for a day.
#[test]
fn a_due_time_that_lies_absurdly_far_ahead_is_not_waited_for() {
    const DAY: u64 = 24 * 3600;
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(2 * DAY), at(2 * DAY));
    let leased = bench.lease_one(at(2 * DAY));
    bench.settle(&leased, later(2 * DAY + 60), at(2 * DAY));
    assert!(bench.lease(at(2 * DAY)).is_empty(), "a minute is waited for");
    assert_eq!(bench.lease_one(at(DAY)).id, leased.id);
}

/// Nor must it keep a user from being decided: what was delivered to him lies ahead of every reading now.
#[test]
fn a_clock_that_was_set_back_does_not_hold_up_a_user() {
    const DAY: u64 = 24 * 3600;
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"]), decision("v", &["a"])], at(2 * DAY), at(2 * DAY));
    let leased = bench.lease(at(2 * DAY + 1));
    bench.settle(&leased[0], Step::Done, at(2 * DAY + 2));
    bench.settle(&leased[1], Step::Stale { due: at(2 * DAY + 2) }, at(2 * DAY + 2));
    bench.pass(&[decision("u", &["b"]), decision("v", &["b"])], at(DAY), at(DAY + 1));
    assert_eq!((bench.counts(), bench.rereads()), (only(2, 0, 0, 1), vec![]));
}

#[test]
fn a_user_has_one_operation_in_flight_and_different_users_go_in_parallel() {
    let bench = Bench::new();
    let users = ["u", "v", "w"].map(|id| decision(id, &["a"]));
    bench.pass(&users, at(1), at(2));
    let turn =
        bench.runtime.block_on(bench.store().turn(&bench.tenant, &[], None, (2, true), at(3))).unwrap();
    let ids: Vec<&str> = turn.leased.iter().map(|leased| leased.operation.user.as_str()).collect();
    assert_eq!(ids, ["u", "v"], "no more than there is room for, oldest first");
    assert_eq!(bench.lease_one(at(4)).operation.user, UserId::from("w"));
    assert_eq!(bench.counts(), only(0, 3, 0, 0));
}

#[test]
fn a_stale_operation_waits_for_the_new_decision_and_keeps_its_attempts() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    let leased = bench.lease_one(at(3));
    bench.settle(&leased, Step::Stale { due: at(4) }, at(4));
    assert_eq!(bench.rereads(), [UserId::from("u")]);
    assert!(bench.lease(at(100)).is_empty(), "it is not sent as it is");
    bench.pass(&[decision("u", &["a", "by-hand"])], at(5), at(6));
    assert_eq!(bench.rereads(), Vec::<UserId>::new());
    let anew = bench.lease_one(at(7));
    assert_eq!((anew.id, target(&anew), anew.attempts), (leased.id, teams(&["a", "by-hand"]), 1));
}

#[test]
fn a_user_who_is_gone_takes_what_waits_for_him_along() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"]), decision("v", &["a"])], at(1), at(2));
    let leased = bench.lease(at(3));
    bench.settle(&leased[0], Step::Gone, at(4));
    bench.settle(&leased[1], Step::Done, at(4));
    let status = bench.runtime.block_on(bench.store().status(&bench.tenant, 1)).unwrap();
    assert_eq!((status.operations, status.users, status.rereads), (only(0, 0, 0, 1), 1, 0));
}

#[test]
fn the_backlog_is_what_is_not_done_and_since_when() {
    let bench = Bench::new();
    let backlog = || bench.runtime.block_on(bench.store().backlog(&bench.tenant)).unwrap();
    assert_eq!((backlog().operations, backlog().oldest_unapplied), (only(0, 0, 0, 0), None));
    bench.pass(&[decision("u", &["a"]), decision("v", &["a"])], at(1), at(2));
    let status = bench.runtime.block_on(bench.store().status(&bench.tenant, 1)).unwrap();
    assert_eq!((backlog().operations, backlog().rereads), (only(2, 0, 0, 0), 0));
    assert_eq!((backlog().oldest_unapplied, status.oldest_unapplied), (Some(at(2)), Some(at(2))));
    let leased = bench.lease(at(3));
    assert_eq!(backlog().operations, only(0, 2, 0, 0));
    bench.settle(&leased[0], Step::Done, at(4));
    bench.settle(&leased[1], Step::Gone, at(4));
    assert_eq!((backlog().operations, backlog().oldest_unapplied), (only(0, 0, 0, 0), None));
}

#[test]
fn of_a_user_who_is_read_twice_the_later_record_counts() {
    let bench = Bench::new();
    let changed = |target: &[&str], seconds| {
        let mut decision = decision("u", target);
        decision.user.last_modified = Some(at(seconds));
        decision
    };
    let pass = bench.begin(at(10));
    assert_eq!(bench.stage(pass, &[changed(&["new"], 8)], at(10)), 1);
    assert_eq!(bench.stage(pass, &[changed(&["old"], 5)], at(11)), 0);
    bench.commit(pass, None, at(12)).unwrap();
    assert_eq!(target(&bench.lease_one(at(13))), teams(&["new"]));
}

#[test]
fn what_is_finished_is_kept_for_a_week() {
    const WEEK: u64 = 7 * 24 * 3600;
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"]), decision("v", &["a"])], at(1), at(2));
    let leased = bench.lease(at(3));
    bench.settle(&leased[0], Step::Done, at(4));
    bench.settle(&leased[1], Step::Dead, at(4));
    for (now, done) in [(WEEK + 4, 1), (WEEK + 5, 0)] {
        bench.runtime.block_on(bench.store().prune(at(now))).unwrap();
        assert_eq!(bench.counts(), only(0, 0, 1, done), "a dead letter is not finished");
    }
}

#[test]
fn only_one_process_owns_a_database_and_others_may_look() {
    let bench = Bench::new();
    let path = bench.folder.path().join("rosterd.db");
    let second = bench.runtime.block_on(Store::own(&path, at(1)));
    assert!(matches!(second, Err(StoreError::Owned { pid: Some(_), .. })), "{second:?}");
    let beside = bench.runtime.block_on(Store::beside(&path)).unwrap();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    let counts = bench.runtime.block_on(beside.operation_counts(&bench.tenant)).unwrap();
    assert_eq!(counts, only(1, 0, 0, 0));
    let missing = bench.runtime.block_on(Store::beside(&bench.folder.path().join("other.db")));
    assert!(matches!(missing, Err(StoreError::NotThere { .. })));
}

#[test]
fn a_write_whose_answer_was_lost_is_done_when_it_is_read_to_be_there() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    let sent = bench.lease_one(at(3));
    assert!(!sent.found);
    bench.settle(&sent, later(60), at(4));
    let mut there = decision("u", &[]);
    there.user.teams = teams(&["a"]);
    bench.pass(&[there], at(5), at(6));
    let found = bench.lease_one(at(7));
    assert!(found.found && found.id == sent.id, "it is not sent again, but its end is noted");
    bench.settle(&found, Step::Done, at(8));
    assert_eq!(bench.counts(), only(0, 0, 0, 1));
}

/// What is held of these users, each of whom gains these teams.
fn held(changes: &[(&str, &[&str])], again: bool) -> Held {
    let mut digest = PlanDigest::default();
    for (user, added) in changes {
        digest.change(&UserId::from(*user), &teams(added), []);
    }
    Held { digest: digest.finish(), operations: u64::try_from(changes.len()).unwrap(), again }
}

#[test]
fn a_hold_is_named_by_what_it_holds_and_not_by_what_its_pass_decided() {
    let bench = Bench::new();
    bench.pass(&[decision("in-flight", &["a"])], at(1), at(2));
    bench.lease_one(at(3));
    let decisions = [decision("in-flight", &["b"]), decision("u", &["b"]), decision("v", &["b"])];
    let committed = bench.held_pass(&decisions, at(4), at(5));
    assert_eq!(committed.held, Some(held(&[("u", &["b"]), ("v", &["b"])], false)));
    let holds = bench.runtime.block_on(bench.store().holds(None)).unwrap();
    assert_eq!((holds.len(), holds[0].operations, holds[0].held), (1, 2, 2));
    assert_eq!(holds[0].digest, committed.held.unwrap().digest);
    let status = bench.runtime.block_on(bench.store().status(&bench.tenant, 1)).unwrap();
    assert_eq!(status.passes[0].digest.as_ref(), Some(&holds[0].digest));

    // The same again goes on with it; what has grown takes it over.
    let again = bench.held_pass(&decisions, at(6), at(7));
    assert_eq!(again.held, Some(held(&[("u", &["b"]), ("v", &["b"])], true)));
    assert_eq!(bench.runtime.block_on(bench.store().holds(None)).unwrap(), holds);
    let all = [decision("u", &["b"]), decision("v", &["b"]), decision("w", &["b"])];
    let more = bench.held_pass(&all, at(8), at(9));
    assert_eq!(more.held, Some(held(&[("u", &["b"]), ("v", &["b"]), ("w", &["b"])], false)));
    assert_eq!(bench.runtime.block_on(bench.store().holds(None)).unwrap().len(), 1);

    let nothing = bench.held_pass(&[decision("in-flight", &["c"])], at(10), at(11));
    assert_eq!(nothing.held, None, "he is read again instead");
    assert_eq!(bench.runtime.block_on(bench.store().holds(None)).unwrap().len(), 1);
}

/// Counted where users are written, and not where they are asked for.
#[test]
fn who_is_known_and_who_is_in_a_team_is_counted_right() {
    let bench = Bench::new();
    let member = |id: &str, current: &[&str], target: &[&str]| {
        let mut decision = decision(id, target);
        decision.user.teams = teams(current);
        decision
    };
    // Of those in a, b and c, when somebody is to join all of them.
    let counted = |seconds| {
        let pass = bench.begin(at(seconds));
        bench.stage(pass, &[decision("joins", &["a", "b", "c"])], at(seconds));
        let tally = bench.store().tally(&bench.tenant, pass, at(seconds), true, false);
        let tally = bench.runtime.block_on(tally).unwrap();
        let failed = bench.store().fail_pass(pass, "only asked", PassTotals::default(), at(seconds));
        bench.runtime.block_on(failed).unwrap();
        (tally.known, ["a", "b", "c"].map(|team| tally.teams[&TeamId::from(team)].members))
    };
    assert_eq!(counted(1), (0, [0, 0, 0]));
    bench.pass(&[member("u", &["a"], &[]), member("v", &["a", "b"], &["c"])], at(2), at(3));
    assert_eq!(counted(4), (2, [2, 1, 0]));
    bench.pass(&[member("u", &["a"], &[])], at(5), at(6));
    assert_eq!(counted(7), (2, [2, 1, 0]), "he was read again as he was");
    bench.settle(&bench.lease_one(at(8)), Step::Done, at(9));
    assert_eq!(counted(10), (2, [1, 0, 1]), "delivery has moved one");
    bench.pass(&[member("u", &["b"], &["a"])], at(11), at(12));
    assert_eq!(counted(13), (2, [0, 1, 1]));
    bench.settle(&bench.lease_one(at(14)), Step::Gone, at(15));
    assert_eq!(counted(16), (1, [0, 0, 1]), "and one is gone");
}

/// A throttled attempt, say, before the one that was told that somebody else had changed the user.
#[test]
fn what_was_certainly_not_done_has_granted_nothing() {
    let granted = |bench: &Bench| {
        bench.runtime.block_on(bench.store().grants_of(&bench.tenant, &UserId::from("u"))).unwrap()
    };
    for answered in [true, false] {
        let bench = Bench::new();
        bench.pass(&[decision("u", &["a"])], at(1), at(2));
        let first = bench.lease_one(at(3));
        assert_eq!(granted(&bench), teams(&["a"]), "while it is in flight");
        if answered {
            bench.refuse(&first, later(5), at(4));
        } else {
            bench.settle(&first, later(5), at(4));
        }
        let kept = if answered { teams(&[]) } else { teams(&["a"]) };
        assert_eq!(granted(&bench), kept, "answered: {answered}");
        let second = bench.lease_one(at(6));
        assert_eq!(granted(&bench), teams(&["a"]));
        bench.refuse(&second, Step::Stale { due: at(7) }, at(7));
        assert_eq!(granted(&bench), kept, "answered: {answered}, then refused");
    }
}

/// An attempt that was killed is one without an answer, too.
#[test]
fn what_may_have_been_done_is_remembered_until_it_is_done_or_ends_otherwise() {
    let unclear = |bench: &Bench| -> Vec<(i64, u32)> {
        let rows = bench.runtime.block_on(bench.store().unclear(&bench.tenant, 9)).unwrap();
        rows.iter().map(|row| (row.operation, row.attempt)).collect()
    };
    for killed in [false, true] {
        let mut bench = Bench::new();
        bench.pass(&[decision("u", &["a"]), decision("v", &["a"])], at(1), at(2));
        let sent = bench.lease(at(3));
        if killed {
            bench.restart(at(4));
        } else {
            for sent in &sent {
                bench.settle(sent, later(4), at(4));
            }
        }
        assert_eq!(unclear(&bench), [], "both are tried again");
        bench.pass(&[decision("v", &["b"])], at(5), at(6));
        let ended = (sent[1].id, 1);
        assert_eq!(unclear(&bench), [ended], "killed: {killed}");
        let again = bench.lease(at(7));
        for sent in &again {
            bench.settle(sent, Step::Done, at(8));
        }
        assert_eq!((bench.counts().done, unclear(&bench)), (2, vec![ended]), "killed: {killed}");
        let head = rosterd::store::AuditHead { seq: 1, hash: "0".repeat(64) };
        let row = bench.runtime.block_on(bench.store().unclear(&bench.tenant, 9)).unwrap()[0].id;
        bench.runtime.block_on(bench.store().told(&[row], &head)).unwrap();
        assert_eq!(unclear(&bench), []);
    }
}

/// Somebody else did what the daemon was refused.
#[test]
fn what_was_refused_and_is_there_all_the_same_is_not_found() {
    let bench = Bench::new();
    bench.pass(&[decision("u", &["a"])], at(1), at(2));
    bench.refuse(&bench.lease_one(at(3)), later(4), at(4));
    let mut there = decision("u", &[]);
    there.user.teams = teams(&["a"]);
    bench.pass(&[there], at(5), at(6));
    assert_eq!(bench.lease(at(7)), []);
    assert_eq!(bench.counts(), only(0, 0, 0, 0));
}
