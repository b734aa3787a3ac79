//! Every change that a tenant has accepted stands in the audit, once, before it counts as done.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rosterd::clock::Clock;
use rosterd::practice::Faults;
use rosterd::store::Store;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::database::{ask, execute};
use crate::home::Home;
use crate::process::{Daemon, until};
use crate::rig::{Rig, runtime, users};
use crate::scripted::{Scripted, list, user};

/// The lines that tell of changes.
fn changes(home: &Home) -> Vec<Value> {
    lines(home, "change_applied")
}

/// The lines of one event.
fn lines(home: &Home, event: &str) -> Vec<Value> {
    let text = fs::read_to_string(home.path("audit.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

/// A tenant with this many salespeople in no team; `at_patch` is told of each write before it is answered.
fn tenant_of(count: usize, at_patch: impl Fn() + Send + Sync + 'static) -> Scripted {
    Scripted::new(move |name, _| match name {
        "GET /Users" => {
            Some(list(&(0..count).map(|at| user(&format!("u-{at}"), &["HR_SALES"], &[])).collect::<Vec<_>>()))
        }
        _ if name.starts_with("PATCH") => {
            at_patch();
            Some(ResponseTemplate::new(204).insert_header("inin-correlation-id", "call-1"))
        }
        _ => None,
    })
}

#[test]
fn each_change_has_its_line() {
    let rig = Rig::still(users(40));
    rig.set("delivery.verify_percent = 100");
    let (before, wanted, misplaced) = (rig.teams(), rig.wanted(), rig.misplaced());
    let roles: BTreeMap<_, _> =
        rig.tenant().users().into_iter().map(|user| (user.id.clone(), user.roles)).collect();
    rig.sync();
    let changes = changes(&rig);
    assert_eq!(changes.len(), misplaced.len());
    for id in misplaced {
        let line = changes.iter().find(|line| line["user"] == json!(id)).unwrap();
        let (before, wanted) = (&before[&id], &wanted[&id]);
        let added: Vec<_> = wanted.difference(before).collect();
        let removed: Vec<_> = before.difference(wanted).collect();
        assert_eq!(
            (&line["teams_added"], &line["teams_removed"]),
            (&json!(added), &json!(removed)),
            "{line}"
        );
        let named: Vec<String> = serde_json::from_value(line["roles"].clone()).unwrap();
        assert!(named.iter().all(|role| roles[&id].contains(&role.as_str().into())), "{line}");
        assert_eq!(
            (&line["tenant"], &line["pass"], &line["attempt"]),
            (&json!("acme"), &json!(1), &json!(1))
        );
        assert!(["mapped", "unmapped", "inactive"].contains(&line["cause"].as_str().unwrap()), "{line}");
        assert!(line["mapping"].is_string() && line["request_id"].is_string() && line["verified"] == true);
    }
    rig.run(&["audit", "verify"]).ended(0).says("the chain is whole");
    rig.advance(60);
    rig.sync();
    assert_eq!(self::changes(&rig).len(), changes.len(), "nothing was done");
}

/// The database does not take what the audit has already.
#[test]
fn a_settlement_that_is_handed_in_again_has_one_line() {
    let tenant = tenant_of(5, || {});
    runtime().block_on(async {
        Store::own(&tenant.database(), Clock::system().now()).await.unwrap().close().await;
    });
    execute(
        &tenant.database(),
        "CREATE TRIGGER no BEFORE UPDATE ON operations WHEN NEW.state = 'done'
         BEGIN SELECT raise(ABORT, 'not now'); END",
    );
    tenant.set("delivery.workers = 5");
    let daemon = Daemon::start(&tenant);
    until("all stand in the audit", || tenant.path("audit.jsonl").exists() && changes(&tenant).len() == 5);
    daemon.until_said("database cannot be used");
    assert_eq!(tenant.status()["operations"]["delivered"], 0);
    execute(&tenant.database(), "DROP TRIGGER no");
    until("the database has taken them", || tenant.status()["operations"]["delivered"] == 5);
    daemon.stop().with(0);
    assert_eq!((changes(&tenant).len(), tenant.writes()), (5, 5));
    tenant.run(&["audit", "verify"]).ended(0);
}

/// Somebody takes the file away while the first of three changes is on its way.
#[test]
fn a_change_that_cannot_be_audited_is_not_done_before_it_can() {
    let file: Arc<OnceLock<PathBuf>> = Arc::default();
    let tenant = tenant_of(3, {
        let (file, first) = (file.clone(), AtomicBool::new(true));
        move || {
            if first.swap(false, Ordering::SeqCst) {
                let path = file.get().unwrap();
                fs::rename(path, path.with_extension("away")).unwrap();
            }
        }
    });
    file.set(tenant.path("audit.jsonl")).unwrap();
    tenant.set("delivery.workers = 1");
    let ran = tenant.run(&["sync"]).ended(0).says("3 delivered, 0 still waiting");
    assert_eq!(ran.stderr.matches("audit cannot be written").count(), 1, "{}", ran.stderr);
    assert_eq!((changes(&tenant).len(), tenant.writes()), (3, 3));
    tenant.run(&["audit", "verify"]).ended(1).says("audit.jsonl");
}

#[test]
fn without_an_audit_nothing_begins() {
    let rig = Rig::still(users(5));
    rig.write("more.toml", "audit.path = \"missing/audit.jsonl\"");
    for command in ["sync", "run"] {
        rig.run(&[command]).ended(1).complains("missing/audit.jsonl: the audit cannot be");
    }
    assert_eq!(rig.stats().requests.len(), 0);
}

#[test]
fn lines_that_are_missing_at_the_end_are_missed() {
    let rig = Rig::still(users(20));
    rig.sync();
    rig.run(&["audit", "verify"]).ended(0);
    let path = rig.path("audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let all: Vec<&str> = text.lines().collect();
    let lines = all.len();
    fs::write(&path, all[..lines - 2].join("\n") + "\n").unwrap();
    rig.run(&["audit", "verify"])
        .ended(1)
        .says(&format!("seq {} to {lines} are missing after it", lines - 1));

    // Whoever has no database cannot know.
    fs::rename(rig.database(), rig.path("elsewhere.db")).unwrap();
    rig.run(&["audit", "verify"]).ended(0).says("the chain is whole");
    fs::rename(rig.path("elsewhere.db"), rig.database()).unwrap();

    // Nor are they forgotten once others follow.
    rig.advance(60);
    let leaver = rig.some(|user| user.active && user.teams.contains(&"team-sales".into()));
    rig.set_roles(&leaver.id, &[]);
    rig.sync();
    assert!(changes(&rig).iter().any(|line| line["user"] == json!(leaver.id)));
    rig.run(&["audit", "verify"])
        .ended(1)
        .says(&format!("seq {} to {lines} are missing before it", lines - 1));
}

/// Who decided what stands there as well, whether the daemon did it or the command itself.
#[test]
fn each_decision_of_an_operator_has_its_line() {
    let decisions = |rig: &Rig| -> Vec<Value> {
        let text = fs::read_to_string(rig.path("audit.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line.get("operator").is_some()).collect()
    };
    for with_daemon in [false, true] {
        let rig = Rig::live(users(100));
        let id = rig.misplaced()[0].clone();
        rig.faults(Faults { fail_users: [(id.to_string(), 400)].into(), ..Faults::default() });
        rig.set("guard.max_removals = 0\nschedule = \"0 0 0 1 1 *\"");
        let ran = rig.run(&["sync"]).ended(3);
        let mut held = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let digest = held.find_map(|line| line["digest"].as_str().map(ToOwned::to_owned)).unwrap();
        let operations = rig.status()["operations"]["held"].clone();
        let daemon = with_daemon.then(|| Daemon::start(&rig));
        rig.run(&["approve", &digest]).ended(0);
        if daemon.is_none() {
            rig.run(&["sync"]).ended(3);
        }
        until("one is given up", || rig.status()["operations"]["dead_letters"] == 1);
        let letters = rig.run(&["dead-letters", "list", "--json"]).ended(0).json();
        let letter = letters["dead_letters"][0]["id"].clone();
        rig.run(&["dead-letters", "discard", "--all"]).ended(0);
        rig.run(&["state", "reset", "watermark", "--tenant", "acme"]).ended(0);
        drop(daemon.map(|daemon| daemon.stop().with(0)));
        let bound = ask(&rig.database(), "SELECT count(*) FROM requests WHERE bound = 1");
        assert_eq!(bound, if with_daemon { "3" } else { "0" }, "what was left with a daemon");

        let decisions = decisions(&rig);
        let operator = rosterd::daemon::operator();
        assert!(decisions.iter().all(|line| line["operator"] == json!(operator)), "{decisions:#?}");
        let events: Vec<&Value> = decisions.iter().map(|line| &line["event"]).collect();
        assert_eq!(events, ["approved", "dead_letters_discarded", "state_reset"]);
        assert_eq!(
            (&decisions[0]["digest"], &decisions[0]["operations"], &decisions[0]["left"]),
            (&json!(digest), &operations, &json!(0))
        );
        assert_eq!(decisions[1]["operations"], json!([letter]));
        assert_eq!(decisions[2]["what"], "watermark");
        rig.run(&["audit", "verify"]).ended(0);
    }
}

/// What cannot be written down is not done.
#[test]
fn a_decision_that_cannot_be_written_down_is_not_carried_out() {
    let rig = Rig::still(users(60));
    rig.set("guard.max_removals = 0");
    let ran = rig.run(&["sync"]).ended(3);
    let mut held = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let digest = held.find_map(|line| line["digest"].as_str().map(ToOwned::to_owned)).unwrap();
    let daemon = Daemon::start(&rig);
    daemon.until_said("pass finished");
    fs::remove_file(rig.path("audit.jsonl")).unwrap();
    fs::create_dir(rig.path("audit.jsonl")).unwrap();
    rig.run(&["approve", &digest]).ended(1).complains("the audit cannot be written");
    assert_ne!(rig.status()["operations"]["held"], 0);
    daemon.stop().with(0);
    assert_eq!(rig.patches(), 0);
}

/// HR changes the user again before anybody has seen what became of the write.
#[test]
fn what_was_sent_without_an_answer_and_then_decided_otherwise_has_its_line() {
    let moved = Arc::new(AtomicBool::new(false));
    let tenant = Scripted::new({
        let moved = moved.clone();
        move |name, _| {
            let role = if moved.load(Ordering::SeqCst) { "HR_FINANCE" } else { "HR_SALES" };
            match name {
                "GET /Users" => Some(list(&[user("u-0", &[role], &[])])),
                "GET /Users/u-0" => Some(ResponseTemplate::new(200).set_body_json(user("u-0", &[role], &[]))),
                _ if name.starts_with("PATCH") && moved.load(Ordering::SeqCst) => {
                    Some(ResponseTemplate::new(204))
                }
                _ if name.starts_with("PATCH") => Some(ResponseTemplate::new(500)),
                _ => None,
            }
        }
    });
    tenant.run(&["sync", "--wait", "1s"]).ended(3).says("1 still waiting");
    assert_eq!(lines(&tenant, "change_unclear").len(), 0, "it is still tried");
    moved.store(true, Ordering::SeqCst);
    tenant.run(&["sync", "--full"]).ended(0).says("1 delivered");
    let (unclear, applied) = (lines(&tenant, "change_unclear"), changes(&tenant));
    assert_eq!((unclear.len(), applied.len()), (1, 1));
    assert_eq!(
        (&unclear[0]["user"], &unclear[0]["teams_added"], &unclear[0]["pass"]),
        (&json!("u-0"), &json!(["team-sales"]), &json!(1))
    );
    assert_eq!(applied[0]["teams_added"], json!(["team-finance"]));
    assert_ne!(unclear[0]["operation"], applied[0]["operation"]);
    tenant.run(&["sync"]).ended(0);
    assert_eq!(lines(&tenant, "change_unclear").len(), 1, "once");
    tenant.run(&["audit", "verify"]).ended(0);
}
