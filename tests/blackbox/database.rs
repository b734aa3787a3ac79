//! Databases that cannot be ours: they are left as they are, and the tenant is left alone.

use std::fs;
use std::path::{Path, PathBuf};

use rosterd::clock::Clock;
use rosterd::store::Store;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};
use tempfile::TempDir;

use crate::rig::{Rig, runtime, users};

/// Runs statements on a database file from outside.
pub(crate) fn execute(path: &Path, statement: &'static str) {
    runtime().block_on(async {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// A number that a query on a database file finds.
pub(crate) fn number(path: &Path, query: &'static str) -> u64 {
    runtime().block_on(async {
        let options = SqliteConnectOptions::new().filename(path);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let found: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        u64::try_from(found).unwrap()
    })
}

/// What a database file answers, as text, from outside.
pub(crate) fn ask(path: &Path, question: &'static str) -> String {
    runtime().block_on(async {
        let options = SqliteConnectOptions::new().filename(path);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let row = sqlx::query(question).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        row.try_get::<String, _>(0).unwrap_or_else(|_| row.get::<i64, _>(0).to_string())
    })
}

/// Every command refuses the database with these words; the file and the tenant stay as they are.
fn assert_refused(rig: &Rig, commands: &[&str], words: &str) {
    let path = rig.database();
    let before = fs::read(&path).unwrap();
    for command in commands {
        let args: Vec<&str> = command.split(' ').collect();
        let ran = rig.run(&args).ended(1).complains(words).complains(&path.display().to_string());
        assert_eq!(ran.stdout, if *command == "run" { ran.stdout.clone() } else { String::new() });
        assert!(fs::read(&path).unwrap() == before, "{command} changed the file");
    }
    assert_eq!(rig.stats().requests.len(), 0);
}

const ALL: [&str; 5] = ["sync", "run", "plan", "status", "dead-letters list"];

#[test]
fn a_text_file_is_no_database() {
    let rig = Rig::still(users(5));
    for text in ["hello", &"a long text. ".repeat(100)] {
        fs::write(rig.database(), text).unwrap();
        assert_refused(&rig, &ALL, "not a rosterd database (no SQLite file)");
    }
}

#[test]
fn another_programs_database_is_not_ours() {
    let rig = Rig::still(users(5));
    execute(&rig.database(), "CREATE TABLE theirs (precious TEXT); INSERT INTO theirs VALUES ('data')");
    assert_refused(&rig, &ALL, "not a rosterd database (another program's database)");
}

#[test]
fn a_newer_schema_is_not_touched() {
    let rig = Rig::still(users(5));
    runtime().block_on(async {
        Store::own(&rig.database(), Clock::system().now()).await.unwrap().close().await;
    });
    execute(
        &rig.database(),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', 1, x'00', 0); PRAGMA wal_checkpoint(TRUNCATE)",
    );
    assert_refused(&rig, &ALL, "written by a newer rosterd (schema 9999");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let rig = Rig::still(users(5));
    let folder = tempfile::tempdir().unwrap();
    for place in [unwritable(&folder), folder.path().join("missing"), rig.path("rosterd.toml")] {
        let path = place.join("state.db");
        rig.write("more.toml", &format!("store.url = \"sqlite://{}\"", path.display()));
        for command in ["sync", "run"] {
            rig.run(&[command]).ended(1).complains(&format!("rosterd: {}", path.display()));
        }
        assert!(!path.exists());
    }
    assert_eq!(rig.stats().requests.len(), 0);
}

/// A folder that takes no file. Permissions do not bind everybody; `/proc` takes files from nobody.
fn unwritable(folder: &TempDir) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;

    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let free = fs::write(closed.join("probe"), "").is_ok();
    if free { PathBuf::from("/proc") } else { closed }
}

#[test]
fn an_empty_file_is_ours_to_fill() {
    let rig = Rig::still(users(5));
    fs::write(rig.database(), "").unwrap();
    rig.sync();
    rig.assert_right();
}

/// As it is while another process makes it, and after that one was killed.
#[test]
fn a_database_without_tables_is_not_there_yet() {
    let rig = Rig::still(users(5));
    execute(&rig.database(), "PRAGMA journal_mode = wal");
    assert!(fs::metadata(rig.database()).unwrap().len() > 0);
    rig.run(&["status"]).ended(1).complains("there is no database yet");
    rig.run(&["plan"]).ended(2).says("5 users read");
    rig.sync();
    rig.assert_right();
}

/// It is given up, says so, and holds up nobody; the next decision for its user takes its place.
#[test]
fn a_damaged_row_is_a_dead_letter_and_harms_nobody_else() {
    let rig = Rig::still(users(20));
    rig.run(&["sync", "--wait", "0s"]).ended(3);
    let waiting = rig.status()["operations"]["ready"].as_u64().unwrap();
    assert!(waiting > 2);
    execute(
        &rig.database(),
        "UPDATE operations SET payload = '{' WHERE id = (SELECT min(id) FROM operations WHERE state = 'ready');
         UPDATE operations SET cause = '?' WHERE id = (SELECT max(id) FROM operations WHERE state = 'ready')",
    );
    rig.run(&["sync"])
        .ended(3)
        .says("0 still waiting, 2 dead letters")
        .complains("operation is a dead letter")
        .complains("the row is damaged: it has a payload that cannot be read")
        .complains("the row is damaged: it has an unknown cause");
    assert_eq!(rig.misplaced().len(), 2);

    let letters = rig.run(&["dead-letters", "list", "--json"]).ended(0).json();
    let letter =
        letters["dead_letters"].as_array().unwrap().iter().find(|it| it["request"]["body"].is_null());
    let number = letter.unwrap()["id"].to_string();
    rig.run(&["dead-letters", "list"]).ended(0).says("the row is damaged");
    rig.run(&["dead-letters", "show", &number]).ended(0).says("request        cannot be read");
    // What it was about is found out anew.
    rig.run(&["dead-letters", "replay", &number]).ended(0);
    rig.run(&["sync"]).ended(3).says("1 delivered, 0 still waiting, 1 dead letter");

    rig.run(&["sync", "--full"]).ended(0).says("1 delivered, 0 still waiting, 0 dead letters");
    rig.assert_right();
}
