//! Rows of runs move with the operations that carry them, whatever becomes of those: through the store's public door, with
//! time as an argument.

use std::time::Duration;

use rosterd::model::{
    Action, AttributesPayload, Cause, Change, Met, Operation, Outcome, Payload, ProfilePayload, RunKind,
    RunState, TenantId, Timestamp, UserId,
};
use rosterd::store::{
    Ended, JobLimits, Leased, NewRow, NewRun, Opened, Reading, Reset, RowNext, RowStep, Run, Settlement,
    Step, Store, Turn,
};
use serde_json::{Map, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::database::{execute, number};
use crate::home::TENANT;
use crate::rig::runtime;

fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.plus(Duration::from_secs(seconds))
}

struct Bench {
    runtime: Runtime,
    folder: TempDir,
    tenant: TenantId,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
        let store = runtime.block_on(Store::own(&folder.path().join("rosterd.db"), at(0))).unwrap();
        Self { runtime, folder, tenant: TenantId::from(TENANT), store }
    }

    /// An export of rows for these people, open since `now`.
    fn export(&self, digest: &str, people: &[&str], now: Timestamp) -> Run {
        self.open(RunKind::Provision, digest, people, now)
    }

    fn open(&self, kind: RunKind, digest: &str, people: &[&str], now: Timestamp) -> Run {
        let run = self.read(&self.store, (kind, digest), people, now).1;
        self.runtime.block_on(self.store.open_run(&run, now)).unwrap();
        run
    }

    /// A run whose rows are read by whoever uses `store`, and which is not open yet.
    fn read(
        &self,
        store: &Store,
        (kind, digest): (RunKind, &str),
        people: &[&str],
        now: Timestamp,
    ) -> (Reading, Run) {
        let new = NewRun {
            tenant: &self.tenant,
            kind,
            digest,
            file: "hr.csv",
            options: "{}",
            stop_after: None,
            operator: None,
        };
        self.runtime.block_on(async {
            let reading = store.reading().await.unwrap();
            let run = store.begin_run(&reading, &new, now).await.unwrap();
            store.add_rows(run.id, &rows(people), now).await.unwrap();
            (reading, run)
        })
    }

    /// Somebody else who uses the database.
    fn beside(&self) -> Store {
        self.runtime.block_on(Store::beside(&self.folder.path().join("rosterd.db"))).unwrap()
    }

    fn decide(&self, run: &Run, steps: &[RowStep], now: Timestamp) {
        self.runtime.block_on(self.store.decide_rows(run, steps, now)).unwrap();
    }

    fn turn(&self, settlements: &[Settlement], now: Timestamp) -> Turn {
        self.runtime.block_on(self.store.turn(&self.tenant, settlements, None, (10, true), now)).unwrap()
    }

    fn outcomes(&self, run: &Run) -> Vec<Option<Outcome>> {
        let rows = self.runtime.block_on(self.store.row_ends(run.id).next()).unwrap();
        rows.into_iter().flatten().map(|row| row.outcome).collect()
    }

    /// Exports that are superseded and not at their end.
    fn unclear(&self) -> Vec<i64> {
        let runs = self.runtime.block_on(self.store.unclear_runs(&self.tenant)).unwrap();
        runs.into_iter().map(|run| run.id).collect()
    }

    /// Lines that wait to be decided.
    fn waiting(&self, run: &Run, now: Timestamp) -> Vec<u64> {
        let rows = self.runtime.block_on(self.store.waiting_rows(run.id, 0, 10, now)).unwrap();
        rows.into_iter().map(|row| row.line).collect()
    }
}

fn rows(people: &[&str]) -> Vec<NewRow> {
    let row = |(line, person): (u64, &&str)| NewRow {
        line,
        external_id: Some((*person).to_owned()),
        user_name: Some(format!("{person}@example.com").to_lowercase()),
        user: None,
        wanted: Ok("{}".to_owned()),
    };
    (2..).zip(people).map(row).collect()
}

fn send(line: u64, action: Action, user: &str, payload: ProfilePayload) -> RowStep {
    let operation = Operation {
        user: user.into(),
        payload: Payload::Profile(payload),
        cause: Cause::Asked,
        version: None,
    };
    let next = RowNext::Send { action, operation, packed: false, attempts: 0, due: at(0) };
    RowStep { line, user: None, external_id: None, next }
}

fn create(line: u64, person: &str) -> RowStep {
    let user: Map<_, _> = [("externalId".to_owned(), json!(person))].into_iter().collect();
    send(line, Action::Create, &format!("externalId:{person}"), ProfilePayload::Create { user })
}

fn update(line: u64, user: &str) -> RowStep {
    let changes = vec![Change { path: "title".to_owned(), value: json!("Lead") }];
    send(line, Action::Update, user, ProfilePayload::Update { changes })
}

fn settled(leased: &Leased, step: Step) -> Settlement {
    Settlement {
        id: leased.id,
        lease: leased.lease,
        user: leased.operation.user.clone(),
        step,
        note: None,
        unclear: false,
        created: None,
        took: Duration::ZERO,
    }
}

#[test]
fn what_is_in_flight_comes_to_its_end_and_is_not_sent_again() {
    let bench = Bench::new();
    let earlier = bench.export("a", &["HR-1", "HR-2", "HR-3"], at(1));
    bench.decide(&earlier, &[update(2, "u-1"), create(3, "HR-2"), create(4, "HR-3")], at(2));
    let flying = bench.turn(&[], at(3)).leased;
    assert_eq!(flying.len(), 3);

    let newer = bench.export("b", &["HR-2"], at(4));
    assert_eq!(bench.outcomes(&earlier), [None, None, None], "whatever becomes of it");
    assert_eq!(bench.unclear(), [earlier.id]);
    let look_up = |met| Step::LookUp { met, due: at(5), counted: true };
    let steps = [Step::Later { due: at(5), counted: false }, look_up(Met::Unclear), look_up(Met::Conflict)];
    let settlements: Vec<Settlement> =
        flying.iter().zip(steps).map(|(leased, step)| settled(leased, step)).collect();
    assert_eq!(bench.turn(&settlements, at(5)).leased, [], "a newer export decides");
    assert_eq!(bench.turn(&[], at(100)).leased, []);
    assert_eq!(bench.outcomes(&earlier), [Some(Outcome::Superseded), None, Some(Outcome::Superseded)]);

    // Nobody is created again before it was looked up whether he is there.
    bench.decide(&newer, &[create(2, "HR-2")], at(6));
    assert_eq!((bench.turn(&[], at(6)).leased, bench.waiting(&newer, at(7))), (vec![], vec![2]));
    assert_eq!(bench.waiting(&earlier, at(7)), [3]);
    let next = RowNext::End { outcome: Outcome::Superseded, reason: None };
    bench.decide(&earlier, &[RowStep { line: 3, user: None, external_id: None, next }], at(7));
    assert_eq!((bench.unclear(), bench.outcomes(&earlier)), (vec![], vec![Some(Outcome::Superseded); 3]));
    bench.decide(&newer, &[create(2, "HR-2")], at(8));
    let sent = bench.turn(&[], at(8)).leased;
    assert_eq!(
        sent.iter().map(|leased| &leased.operation.user).collect::<Vec<_>>(),
        [&UserId::from("externalId:HR-2")]
    );
}

#[test]
fn what_a_newer_export_has_taken_over_meanwhile_is_not_planned_any_more() {
    let bench = Bench::new();
    let earlier = bench.export("a", &["HR-1", "HR-2"], at(1));
    bench.export("b", &["HR-1"], at(2));
    // Whoever was looking users up for the earlier one comes too late.
    let unnamed = update(1 << 40, "u-3");
    bench.decide(&earlier, &[create(2, "HR-1"), create(3, "HR-2"), unnamed], at(3));
    assert_eq!(bench.turn(&[], at(4)).leased, []);
    assert_eq!(bench.outcomes(&earlier), [Some(Outcome::Superseded); 2]);
}

#[test]
fn whoever_is_right_while_something_is_in_flight_for_him_is_looked_at_again() {
    let bench = Bench::new();
    let earlier = bench.export("a", &["HR-1"], at(1));
    bench.decide(&earlier, &[update(2, "u-1")], at(2));
    let flying = bench.turn(&[], at(3)).leased;
    let newer = bench.export("b", &["HR-1"], at(4));
    let right = || {
        let next = RowNext::End { outcome: Outcome::Unchanged, reason: None };
        RowStep { line: 2, user: Some("u-1".into()), external_id: None, next }
    };
    bench.decide(&newer, &[right()], at(5));
    assert_eq!((bench.outcomes(&newer), bench.waiting(&newer, at(6))), (vec![None], vec![2]));
    bench.turn(&[settled(&flying[0], Step::Done)], at(6));
    bench.decide(&newer, &[right()], at(7));
    assert_eq!(bench.outcomes(&newer), [Some(Outcome::Unchanged)]);
}

/// An earlier export with one operation in a bulk request, and a newer one that has taken its place since.
fn superseded_in_bulk(bench: &Bench) -> (Run, rosterd::store::Job) {
    let earlier = bench.export("a", &["HR-1"], at(1));
    let mut step = update(2, "u-1");
    if let RowNext::Send { packed, .. } = &mut step.next {
        *packed = true;
    }
    bench.decide(&earlier, &[step], at(2));
    let limits = JobLimits { operations: 10, bytes: 10_000 };
    let job = bench.runtime.block_on(bench.store.pack(&bench.tenant, limits, at(3))).unwrap().unwrap();
    bench.export("b", &["HR-2"], at(4));
    assert_eq!(bench.outcomes(&earlier), [None]);
    (earlier, job)
}

#[test]
fn what_comes_back_of_a_bulk_request_is_not_sent_again_once_a_newer_export_is_there() {
    let bench = Bench::new();
    let (earlier, job) = superseded_in_bulk(&bench);
    bench.runtime.block_on(bench.store.put_job_back(&job, "429", at(5))).unwrap();
    assert_eq!(
        (bench.turn(&[], at(6)).leased, bench.outcomes(&earlier)),
        (vec![], vec![Some(Outcome::Superseded)])
    );
}

#[test]
fn nor_is_what_was_in_flight_before_a_restart() {
    let bench = Bench::new();
    let (earlier, _) = superseded_in_bulk(&bench);
    bench.runtime.block_on(bench.store.clear(at(5))).unwrap();
    assert_eq!(
        (bench.turn(&[], at(6)).leased, bench.outcomes(&earlier)),
        (vec![], vec![Some(Outcome::Superseded)])
    );
}

#[test]
fn what_a_clock_that_was_ahead_has_put_off_is_due() {
    let bench = Bench::new();
    let (hours, limits) = (3 * 3600, JobLimits { operations: 10, bytes: 10_000 });
    let export = bench.export("a", &["HR-1", "HR-2"], at(hours));
    let mut step = update(2, "u-1");
    if let RowNext::Send { packed, due, .. } = &mut step.next {
        (*packed, *due) = (true, at(hours));
    }
    bench.decide(&export, &[step], at(hours));
    assert_eq!(bench.waiting(&export, at(1)), [3]);
    let due = bench.runtime.block_on(bench.store.next_packed(&bench.tenant, at(1))).unwrap();
    let job = bench.runtime.block_on(bench.store.pack(&bench.tenant, limits, at(1))).unwrap();
    assert_eq!((due, job.map(|job| job.operations.len())), (Some(at(1)), Some(1)));
}

#[test]
fn a_row_ends_with_an_operation_that_is_dropped() {
    let bench = Bench::new();
    let export = bench.export("a", &["HR-1"], at(1));
    bench.decide(&export, &[update(2, "u-1")], at(2));
    bench.runtime.block_on(bench.store.reset(&bench.tenant, Reset::Queue, at(3))).unwrap();
    assert_eq!(bench.outcomes(&export), [Some(Outcome::Discarded)]);
}

#[test]
fn a_row_comes_to_nothing_with_a_user_who_turns_out_to_be_gone() {
    let bench = Bench::new();
    let export = bench.export("a", &["HR-1"], at(1));
    bench.decide(&export, &[update(2, "u-1")], at(2));
    let attributes = bench.open(RunKind::Attributes, "b", &["HR-1"], at(3));
    let payload = AttributesPayload {
        set: [("desk".to_owned(), json!("A-17"))].into(),
        ..AttributesPayload::default()
    };
    let operation = Operation {
        user: "u-1".into(),
        payload: Payload::Attributes(payload),
        cause: Cause::Asked,
        version: None,
    };
    let next =
        RowNext::Send { action: Action::Attributes, operation, packed: false, attempts: 0, due: at(3) };
    bench.decide(&attributes, &[RowStep { line: 2, user: None, external_id: None, next }], at(3));
    let flying = bench.turn(&[], at(4)).leased;
    bench.turn(&[settled(&flying[0], Step::Gone)], at(5));
    let (failed, unresolved) = (vec![Some(Outcome::Failed)], vec![Some(Outcome::Unresolved)]);
    assert_eq!((bench.outcomes(&export), bench.outcomes(&attributes)), (failed, unresolved));
}

#[test]
fn a_run_whose_place_a_newer_one_has_taken_is_not_finished_any_more() {
    let bench = Bench::new();
    let earlier = bench.export("a", &["HR-1"], at(1));
    let newer = bench.export("b", &["HR-1"], at(2));
    let finish = |run: &Run| bench.runtime.block_on(bench.store.finish_run(run, None, at(3))).unwrap();
    assert_eq!([finish(&earlier), finish(&newer), finish(&newer)], [false, true, false]);
    let state = |run: &Run| bench.runtime.block_on(bench.store.run(run.id)).unwrap().state;
    assert_eq!((state(&earlier), state(&newer)), (RunState::Superseded, RunState::Finished));
}

#[test]
fn rows_that_wait_are_changes_that_are_not_applied() {
    let bench = Bench::new();
    let oldest = || {
        bench.runtime.block_on(async {
            let status = bench.store.status(&bench.tenant, 1).await.unwrap();
            let backlog = bench.store.backlog(&bench.tenant).await.unwrap();
            [status.oldest_unapplied, backlog.oldest_unapplied]
        })
    };
    let run = bench.export("first", &["A"], at(5));
    bench.open(RunKind::Attributes, "later", &["B"], at(6));
    assert_eq!(oldest(), [Some(at(5)); 2]);
    // As a refusal stops it before an operation was made of the row.
    let path = bench.folder.path().join("rosterd.db");
    execute(
        &path,
        "UPDATE runs SET state = 'stopped' WHERE id = 1; UPDATE run_rows SET outcome = 'held' WHERE run = 1",
    );
    assert_eq!(oldest(), [Some(at(5)); 2]);
    bench.runtime.block_on(bench.store.supersede_run(&run, at(7))).unwrap();
    assert_eq!(oldest(), [Some(at(6)); 2]);
}

#[test]
fn a_row_fails_with_an_operation_that_cannot_be_read() {
    let bench = Bench::new();
    let export = bench.export("a", &["HR-1"], at(1));
    bench.decide(&export, &[update(2, "u-1")], at(2));
    execute(&bench.folder.path().join("rosterd.db"), "UPDATE operations SET payload = '{}'");
    assert_eq!(bench.turn(&[], at(3)).damaged.len(), 1);
    assert_eq!(bench.outcomes(&export), [Some(Outcome::Failed)]);
}

#[test]
fn nothing_is_held_before_all_of_it_can_be() {
    let bench = Bench::new();
    let earlier = bench.export("a", &["HR-1"], at(1));
    bench.decide(&earlier, &[update(2, "u-1")], at(2));
    let flying = bench.turn(&[], at(3)).leased;
    let newer = bench.export("b", &["HR-2"], at(4));
    let hold = |now| {
        let unnamed = |line, user: &str| RowStep {
            user: Some(user.into()),
            ..send(line, Action::Deactivate, user, ProfilePayload::Update { changes: Vec::new() })
        };
        let steps = [unnamed(1 << 40, "u-1"), unnamed((1 << 40) + 1, "u-2")];
        bench.runtime.block_on(bench.store.hold_rows(&newer, &steps, ("digest", &[]), (at(0), now))).unwrap()
    };
    assert!(!hold(at(5)));
    assert_eq!(bench.outcomes(&newer), [None], "and nothing of it is there");
    bench.turn(&[settled(&flying[0], Step::Done)], at(6));
    assert!(hold(at(7)));
    assert_eq!(bench.outcomes(&newer), [None, Some(Outcome::Held), Some(Outcome::Held)]);
    assert_eq!(bench.turn(&[], at(8)).leased, []);
}

#[test]
fn a_file_that_somebody_reads_outlives_the_owner_of_the_database_but_not_its_reader() {
    let bench = Bench::new();
    let path = bench.folder.path().join("rosterd.db");
    let personal = || number(&path, "SELECT count(*) FROM run_rows");
    let command = bench.beside();
    let (reading, run) = bench.read(&command, (RunKind::Provision, "a"), &["HR-1"], at(1));
    // The daemon starts anew, and clears away what is left once in a while.
    bench.runtime.block_on(bench.store.clear(at(2))).unwrap();
    bench.runtime.block_on(bench.store.prune(at(3))).unwrap();
    bench.runtime.block_on(command.add_rows(run.id, &rows(&["HR-1", "HR-2"]), at(4))).unwrap();
    assert_eq!(personal(), 2);

    drop(reading);
    execute(&path, "INSERT INTO run_rows (run, line, state, external_id) VALUES (99, 2, 'waiting', 'HR-9')");
    bench.runtime.block_on(bench.store.prune(at(5))).unwrap();
    assert_eq!(personal(), 0, "nor what belongs to no run");
    let late = bench.runtime.block_on(command.add_rows(run.id, &rows(&["HR-3"]), at(6))).unwrap_err();
    assert_eq!(
        late.to_string(),
        "run 1 is not there any more: run the same command again, and its file is read anew"
    );
    bench.runtime.block_on(command.open_run(&run, at(7))).unwrap_err();
    assert_eq!((personal(), bench.runtime.block_on(command.open_runs(&bench.tenant)).unwrap()), (0, vec![]));
}

#[test]
fn whatever_is_opened_while_a_file_is_read_there_is_one_run_of_a_kind() {
    let read =
        |bench: &Bench, kind, digest: &str| bench.read(&bench.store, (kind, digest), &["HR-1"], at(1)).1;
    let open = |bench: &Bench, run: &Run| bench.runtime.block_on(bench.store.open_run(run, at(2))).unwrap();
    let opened = Opened::Open(Ended::default());
    let unfinished = |bench: &Bench| {
        let runs = bench.runtime.block_on(bench.store.unfinished_runs(&bench.tenant)).unwrap();
        runs.iter().map(|run| run.id).collect::<Vec<_>>()
    };
    for (kind, late) in [(RunKind::Provision, Opened::Late), (RunKind::Attributes, Opened::Unfinished(2))] {
        let bench = Bench::new();
        let path = bench.folder.path().join("rosterd.db");
        let same = ["a", "a", "a"].map(|digest| read(&bench, kind, digest));
        assert_eq!(open(&bench, &same[1]), opened);
        assert_eq!([open(&bench, &same[0]), open(&bench, &same[2])], [Opened::Joined(2), Opened::Joined(2)]);
        assert_eq!((unfinished(&bench), number(&path, "SELECT count(*) FROM run_rows")), (vec![2], 1));

        let bench = Bench::new();
        let (older, newer) = (read(&bench, kind, "a"), read(&bench, kind, "b"));
        assert_eq!(open(&bench, &newer), opened);
        assert_eq!((open(&bench, &older), unfinished(&bench)), (late, vec![2]));
        assert_eq!(bench.outcomes(&newer), [None]);
        let ended = if kind == RunKind::Provision { vec![Some(Outcome::Superseded)] } else { vec![] };
        assert_eq!(bench.outcomes(&older), ended);
    }
}
