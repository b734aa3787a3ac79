//! `state`: copies, and forgetting on request; and databases that were damaged.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use rosterd::practice::Faults;
use serde_json::json;

use crate::database::{execute, number};
use crate::process::{Daemon, until};
use crate::rig::{Rig, users};

#[test]
fn a_copy_is_made_beside_a_daemon_and_is_as_good_as_the_original() {
    let rig = Rig::live(users(60));
    rig.set("schedule = \"* * * * * *\"\noverlap = \"2m\"");
    let daemon = Daemon::start(&rig);
    until("everybody is placed", || rig.misplaced().is_empty());
    until("and that is known", || rig.status()["operations"]["ready"] == 0);
    let copy = rig.path("copy.db");
    let name = copy.to_str().unwrap();
    let saved = rig.run(&["state", "backup", name, "--json"]).ended(0).json();
    let meta = fs::metadata(&copy).unwrap();
    assert_eq!((saved["bytes"].as_u64(), meta.permissions().mode() & 0o777), (Some(meta.len()), 0o600));
    let bytes = fs::read(&copy).unwrap();
    rig.run(&["state", "backup", name]).ended(64).complains("is there already; name a file");
    assert!(fs::read(&copy).unwrap() == bytes, "what is there is left alone");
    daemon.stop().with(0);

    // Back to the copy: nobody has to be changed.
    let patches = rig.patches();
    for file in ["rosterd.db", "rosterd.db-wal", "rosterd.db-shm"] {
        drop(fs::remove_file(rig.path(file)));
    }
    fs::rename(&copy, rig.database()).unwrap();
    rig.run(&["sync"]).ended(0).says("delta pass ").says(" 0 planned");
    rig.run(&["sync", "--full"]).ended(0).says(" 0 planned");
    assert_eq!(rig.patches(), patches);
}

/// Whoever restores a copy does not want what somebody asked for weeks ago.
#[test]
fn a_copy_asks_for_nothing_and_has_nothing_in_flight() {
    let rig = Rig::still(users(20));
    rig.run(&["sync", "--wait", "0s"]).ended(3);
    execute(
        &rig.database(),
        "INSERT INTO requests (tenant, what, argument, asked_at, taken_at, finished_at) VALUES
             ('acme', 'sync', '{\"ask\":\"sync\",\"full\":true}', 1, NULL, NULL),
             ('acme', 'sync', '{\"ask\":\"sync\",\"full\":true}', 1, 2, NULL),
             ('acme', 'sync', '{\"ask\":\"sync\",\"full\":true}', 1, 2, 3);
         UPDATE operations SET state = 'leased', lease = 1 WHERE id < 3",
    );
    let waiting = rig.status()["operations"].take();
    assert_eq!(waiting["in_flight"], 2);
    rig.run(&["state", "backup", "copy.db"]).ended(0);
    let copied = |question| number(&rig.path("copy.db"), question);
    assert_eq!(copied("SELECT count(*) FROM requests WHERE finished_at IS NULL"), 0);
    assert_eq!(copied("SELECT count(*) FROM requests"), 1, "what was answered is history");
    assert_eq!(copied("SELECT count(*) FROM operations WHERE state = 'leased'"), 0);
    let ready = waiting["ready"].as_u64().unwrap() + 2;
    assert_eq!(copied("SELECT count(*) FROM operations WHERE state = 'ready'"), ready);
    assert_eq!(rig.status()["operations"], waiting, "the original is left alone");
    for beside in ["copy.db-journal", "copy.db-wal", "copy.db-shm"] {
        assert!(!rig.path(beside).exists(), "{beside}");
    }
}

#[test]
fn a_copy_that_cannot_be_written_leaves_nothing_behind() {
    let rig = Rig::still(users(5));
    rig.run(&["state", "backup", "copy.db"]).ended(1).complains("there is no database yet");
    assert!(!rig.path("copy.db").exists());
    rig.sync();
    rig.run(&["state", "backup", "missing/copy.db"]).ended(64).complains("its folder has to be there");
    rig.run(&["state", "backup", "copy.db"]).ended(0).says("copy.db: ").says(" bytes, checked");
}

#[test]
fn a_forgotten_watermark_makes_the_next_pass_read_all_users() {
    let rig = Rig::still(users(20));
    rig.sync();
    rig.advance(60);
    rig.run(&["sync"]).ended(0).says("delta pass 2 ok: 0 users read");
    rig.run(&["state", "reset", "watermark", "--tenant", "acme"])
        .ended(0)
        .says("acme: the watermark is forgotten; the next pass reads all users");
    assert_eq!(rig.status()["watermark"], json!(null));
    rig.run(&["sync"]).ended(0).says("sweep pass 3 ok: 20 users read, 0 planned");
    rig.run(&["sync"]).ended(0).says("delta pass 4");
}

#[test]
fn a_forgotten_queue_is_decided_anew() {
    let rig = Rig::still(users(60));
    let id = rig.misplaced()[0].clone();
    rig.faults(Faults { fail_users: [(id.to_string(), 400)].into(), ..Faults::default() });
    rig.run(&["sync"]).ended(3).says("1 dead letter");
    rig.advance(60);
    let user = rig.some(|user| user.active && user.id != id);
    rig.set_roles(&user.id, &["HR_ENGINEER", "HR_FINANCE", "HR_SALES", "HR_SUPPORT"]);
    rig.run(&["sync", "--wait", "0s"]).ended(3).says("1 still waiting");
    rig.faults(Faults::default());
    let reset = rig.run(&["state", "reset", "queue", "--tenant", "acme", "--json"]).ended(0).json();
    assert_eq!((&reset["reset"], &reset["operations_discarded"]), (&json!("queue"), &json!(2)));
    let operations = rig.status()["operations"].take();
    assert_eq!((&operations["ready"], &operations["dead_letters"]), (&json!(0), &json!(0)));
    rig.run(&["sync"]).ended(0).says("sweep pass").says("2 planned; 2 delivered");
    rig.assert_right();
}

#[test]
fn a_tenant_has_to_be_known_and_named_unless_it_is_the_only_one() {
    let rig = Rig::still(users(5));
    rig.sync();
    rig.run(&["state", "reset", "watermark"]).ended(0).says("acme: the watermark is forgotten");
    rig.and_other(&rig.practice().base_url(), &rig.practice().token_url(), "mapping.A = \"a\"");
    rig.run(&["state", "reset", "queue"])
        .ended(64)
        .complains("--tenant NAME which tenant; there is acme, other");
    rig.run(&["state", "reset", "queue", "--tenant", "nobody"]).ended(64).complains("no tenant \"nobody\"");
    rig.run(&["state", "reset", "everything", "--tenant", "acme"]).ended(64);
}

/// What is said of a broken file, and what to do about it.
const DAMAGED: &str = "the database is damaged: ";
const REMEDY: &str = "restore a backup, or move the file away";

/// A rig with a database of many pages, all of it in one file.
fn with_database() -> Rig {
    let rig = Rig::still(users(400));
    rig.sync();
    execute(&rig.database(), "PRAGMA wal_checkpoint(TRUNCATE)");
    rig
}

#[test]
fn a_file_with_garbage_in_it_is_refused_and_a_fresh_one_starts_anew() {
    let rig = with_database();
    let mut file = fs::OpenOptions::new().write(true).open(rig.database()).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in 1..pages {
        file.seek(SeekFrom::Start(page * 4096 + 100)).unwrap();
        file.write_all(&[0xa5; 600]).unwrap();
    }
    drop(file);
    let asked = rig.stats().requests.len();
    for command in ["run", "sync", "status"] {
        rig.run(&[command]).ended(1).complains(DAMAGED).complains(REMEDY);
    }
    assert_eq!(rig.stats().requests.len(), asked, "the tenant was left alone");
    for file in ["rosterd.db", "rosterd.db-wal", "rosterd.db-shm"] {
        drop(fs::remove_file(rig.path(file)));
    }
    rig.run(&["sync"]).ended(0).says("400 users read, 0 planned");
}

#[test]
fn garbage_in_one_page_is_found_before_anything_is_done() {
    let rig = with_database();
    let page =
        number(&rig.database(), "SELECT rootpage FROM sqlite_master WHERE name = 'operations_of_pass'");
    let mut file = fs::OpenOptions::new().write(true).open(rig.database()).unwrap();
    file.seek(SeekFrom::Start((page - 1) * 4096)).unwrap();
    file.write_all(&[0xa5; 64]).unwrap();
    drop(file);
    let asked = rig.stats().requests.len();
    let named = format!("{DAMAGED}{}: ", rig.database().display());
    rig.run(&["sync"]).ended(1).complains(&named).complains(REMEDY);
    assert_eq!(rig.stats().requests.len(), asked);
}

/// Nobody has looked through the whole file before: it is a statement that meets the page.
#[test]
fn a_status_that_meets_a_damaged_page_names_the_file() {
    let rig = with_database();
    let page = number(&rig.database(), "SELECT rootpage FROM sqlite_master WHERE name = 'operations_state'");
    let mut file = fs::OpenOptions::new().write(true).open(rig.database()).unwrap();
    file.seek(SeekFrom::Start((page - 1) * 4096)).unwrap();
    file.write_all(&[0xa5; 64]).unwrap();
    drop(file);
    let named = format!("{DAMAGED}{}: ", rig.database().display());
    rig.run(&["status"]).ended(1).complains(&named).complains(REMEDY);
}

#[test]
fn a_truncated_file_is_refused() {
    let rig = with_database();
    let file = fs::OpenOptions::new().write(true).open(rig.database()).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len / 2 / 4096 * 4096 - 1000).unwrap();
    for command in ["run", "sync"] {
        rig.run(&[command]).ended(1).complains(DAMAGED).complains(REMEDY);
    }
    file.set_len(60).unwrap();
    rig.run(&["sync"]).ended(1).complains("not a rosterd database (no SQLite file)");
}

/// The daemon is killed, and somebody tidies up: what was only in the log is gone, and is read again.
#[test]
fn a_lost_log_costs_only_what_was_in_it() {
    let rig = Rig::live(users(60));
    rig.sync();
    rig.set("schedule = \"* * * * * *\"\noverlap = \"2m\"");
    let daemon = Daemon::start(&rig);
    let user = rig.some(|user| user.active);
    rig.set_roles(&user.id, &["HR_ENGINEER", "HR_FINANCE", "HR_SALES", "HR_SUPPORT"]);
    until("he is placed", || rig.misplaced().is_empty());
    daemon.kill();
    for file in ["rosterd.db-wal", "rosterd.db-shm"] {
        fs::remove_file(rig.path(file)).unwrap();
    }
    rig.sync();
    rig.assert_right();
    assert_eq!(rig.status()["users"], 60);
}
