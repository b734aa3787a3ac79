//! The audit from outside: files that were written through the library's door, edited by hand, and looked at with
//! `rosterd audit verify`; writers that are killed, and disks that are full.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rosterd::audit::{self, AuditError, Entry, Link, Log};
use rosterd::model::{Cause, Kind, Timestamp};
use serde_json::{Value, json};

use crate::home::Home;

/// Set for a test that runs a second time as a process of its own: the file that it writes to.
const WRITER: &str = "ROSTERD_TEST_AUDIT_WRITER";

fn now() -> Timestamp {
    Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap()
}

fn change(user: u64) -> Entry {
    Entry::ChangeApplied {
        tenant: "acme".into(),
        user: format!("user-{user:04}").into(),
        operation: 1,
        kind: Kind::Teams,
        cause: Cause::Mapped,
        teams_added: ["team-a".into()].into(),
        teams_removed: ["team-b".into()].into(),
        roles: ["HR_ENGINEER".into()].into(),
        mapping: Some("0123abcd".to_owned()),
        pass: 1,
        attempt: 1,
        request_id: Some("request-1".to_owned()),
        verified: Some(true),
    }
}

/// A configured rosterd whose audit holds so many lines; a file is put aside at this size.
fn with_audit(lines: u64, max_bytes: u64) -> Home {
    let home = Home::new("http://127.0.0.1:9/scim", "http://127.0.0.1:9/token");
    let mut log = Log::open(&home.path("audit.jsonl"), max_bytes, None, now()).unwrap();
    for user in 2..=lines {
        log.append(&[change(user)], now()).unwrap();
    }
    home
}

/// Edits the lines of the audit, as somebody with an editor would.
fn edit(home: &Home, change: impl FnOnce(&mut Vec<String>)) {
    let path = home.path("audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
}

/// What is told of the audit: `LINE: what`, line by line.
#[track_caller]
fn assert_broken(home: &Home, told: &[&str]) {
    let ran = home.run(&["audit", "verify"]).ended(1);
    let path = home.path("audit.jsonl");
    // The configuration names the audit by its default, which is relative.
    let name = path.file_name().unwrap().to_str().unwrap();
    let found: Vec<&str> =
        ran.stdout.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')).collect();
    assert_eq!(found, told, "{}", ran.stdout);
    let json = home.run(&["audit", "verify", "--json"]).ended(1).json();
    let of = |breach: &Value| format!("{}: {}", breach["line"], breach["what"].as_str().unwrap());
    let found: Vec<String> = json["breaches"].as_array().unwrap().iter().map(of).collect();
    assert_eq!((found, &json["ok"]), (told.iter().map(ToString::to_string).collect(), &json!(false)));
}

#[test]
fn an_audit_that_is_whole() {
    let home = with_audit(12, 3000);
    let ran = home.run(&["audit", "verify"]).ended(0).says("the chain is whole");
    let files: Vec<&str> = ran.stdout.lines().filter(|line| line.ends_with(" lines")).collect();
    assert_eq!(files.len(), 2, "{}", ran.stdout);
    assert!(files[0].starts_with("audit.jsonl.0000000000") && files[1].starts_with("audit.jsonl  "));

    let json = home.run(&["audit", "verify", "--json"]).ended(0).json();
    let head = Log::open(&home.path("audit.jsonl"), 0, None, now()).unwrap().head();
    assert_eq!(json["lines"], 13, "with the line that continues");
    assert_eq!(json["head"], json!({ "seq": 13, "hash": head.hash }));
    assert_eq!((&json["first_at"], &json["last_at"]), (&json!(now().to_string()), &json!(now().to_string())));
    assert_eq!((&json["breaches"], &json["remarks"], &json["ok"]), (&json!([]), &json!([]), &json!(true)));
    assert!(ran.stdout.contains(&format!("head {head}\n")), "{}", ran.stdout);
}

#[test]
fn an_edited_line() {
    let home = with_audit(9, 0);
    edit(&home, |lines| lines[4] = lines[4].replace("team-a", "team-z"));
    assert_broken(&home, &["5: was changed: its hash is not over what it says"]);
}

#[test]
fn a_missing_line() {
    let home = with_audit(9, 0);
    edit(&home, |lines| drop(lines.remove(4)));
    assert_broken(&home, &["5: seq 5 is missing before it"]);
}

#[test]
fn two_lines_in_each_others_place() {
    let home = with_audit(9, 0);
    edit(&home, |lines| lines.swap(4, 5));
    assert_broken(&home, &["5: seq 6 is out of order"]);
}

#[test]
fn a_line_twice_and_one_of_somebody_else() {
    let home = with_audit(9, 0);
    edit(&home, |lines| {
        lines.insert(8, "hello".to_owned());
        lines.insert(4, lines[3].clone());
    });
    assert_broken(&home, &["5: seq 4 has been there before", "10: is no line of an audit"]);
}

#[test]
fn a_file_that_is_no_audit_is_told_to_be_none() {
    let home = with_audit(2, 0);
    home.write("hr.csv", "a,b\n1,2\n3,4\n");
    let ran = home.run(&["audit", "verify", &home.path("hr.csv").display().to_string()]).ended(1);
    let ran = ran.says("not one line of an audit is there: is this the right file?");
    assert!(!ran.stdout.contains("is no line of an audit"), "{}", ran.stdout);
}

#[test]
fn a_missing_file() {
    let home = with_audit(20, 2000);
    let full = |home: &Home| -> Vec<PathBuf> {
        let json = home.run(&["audit", "verify", "--json"]).json();
        let files = json["files"].as_array().unwrap();
        files.iter().map(|file| home.path(file["file"].as_str().unwrap())).collect()
    };
    let files = full(&home);
    assert!(files.len() > 3);
    fs::rename(&files[0], home.path("old")).unwrap();
    home.run(&["audit", "verify"]).ended(1).says(":1: seq 1 to ").says(" are missing before it\n");
    fs::rename(home.path("old"), &files[0]).unwrap();
    home.run(&["audit", "verify"]).ended(0);
    fs::remove_file(&files[1]).unwrap();
    home.run(&["audit", "verify"]).ended(1).says(" are missing before it\n").says("broken in 1 place");
}

#[test]
fn lines_that_were_cut_off_are_missed_with_a_head_that_was_kept() {
    let home = with_audit(9, 0);
    let said = home.run(&["audit", "verify"]).ended(0).stdout;
    let head = said.lines().find_map(|line| line.strip_prefix("head ")).unwrap();
    home.run(&["audit", "verify", "--head", head]).ended(0);
    edit(&home, |lines| lines.truncate(7));
    home.run(&["audit", "verify"]).ended(0);
    let told = "audit.jsonl:7: seq 8 to 9 are missing after it: the head that was expected is not there";
    home.run(&["audit", "verify", "--head", head]).ended(1).says(told);
    home.run(&["audit", "verify", "--head", "9"]).ended(64).complains("not SEQ:HASH");
}

#[test]
fn a_torn_last_line_is_no_breach_and_the_next_start_repairs_it() {
    let home = with_audit(9, 0);
    let path = home.path("audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 30]).unwrap();
    let ran = home.run(&["audit", "verify"]).ended(0);
    ran.says("remark: audit.jsonl:9: a torn last line: the next start repairs it").says("the chain is whole");

    Log::open(&path, 0, None, now()).unwrap();
    let ran = home.run(&["audit", "verify"]).ended(0);
    ran.says("remark: audit.jsonl:9: a torn line was repaired here").says("the chain is whole");
}

#[test]
fn no_audit_and_an_empty_one() {
    let home = Home::new("http://127.0.0.1:9/scim", "http://127.0.0.1:9/token");
    home.run(&["audit", "verify"]).ended(1).complains("audit.jsonl: there is no audit file; `audit.path`");
    home.write("audit.jsonl", "");
    home.run(&["audit", "verify"]).ended(1).complains("audit.jsonl: the audit holds no line");
    home.write("more.toml", "audit.path = \"missing/audit.jsonl\"");
    home.run(&["audit", "verify"]).ended(1).complains("missing/audit.jsonl: there is no audit file");
}

/// An auditor has the files and nothing else.
#[test]
fn files_that_are_named_need_no_configuration() {
    let home = with_audit(12, 3000);
    fs::remove_file(home.path("rosterd.toml")).unwrap();
    let ran = home.bare(&["audit", "verify", "audit.jsonl"]).ended(0);
    ran.says("the beginning of the first file is taken on trust").says("the chain is whole");
    let json = home.bare(&["audit", "verify", "audit.jsonl", "--json"]).ended(0).json();
    let older = format!("audit.jsonl.{:012}", 13 - json["lines"].as_u64().unwrap());
    home.bare(&["audit", "verify", &older, "audit.jsonl"]).ended(0).says("audit.jsonl  ");
    home.bare(&["audit", "verify", "audit.jsonl", &older])
        .ended(1)
        .says(&format!("{older}:1: seq 1 has been"));
    edit(&home, |lines| lines[1] = lines[1].replace("team-a", "team-z"));
    home.bare(&["audit", "verify", "audit.jsonl"]).ended(1).says("audit.jsonl:2: was changed");
    home.bare(&["audit", "verify", "nowhere.jsonl"])
        .ended(64)
        .complains("nowhere.jsonl: the audit cannot be read");
}

/// While lines are added and files put aside, nothing looks broken.
#[test]
fn it_can_be_verified_while_it_is_written() {
    let home = with_audit(2, 0);
    let path = home.path("audit.jsonl");
    let mut log = Log::open(&path, 2500, None, now()).unwrap();
    let writer = thread::spawn(move || {
        for user in 0..400 {
            log.append(&[change(user)], now()).unwrap();
        }
        log.head()
    });
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        assert_eq!(audit::verify(&path, None).unwrap().breaches, []);
        looks += 1;
    }
    let head = writer.join().unwrap();
    assert_eq!(audit::verify(&path, Some(head)).unwrap().head, Some(head));
}

/// This test once more, alone, as a process that writes to `path`; `script` is what the shell does first.
fn writer(test: &str, path: &Path, script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("{script} exec \"$0\" --exact \"$1\" --nocapture")]);
    command.arg(env::current_exe().unwrap()).arg(format!("audit::{test}"));
    command.env(WRITER, path).stdin(Stdio::null());
    command
}

/// Writes until it is killed, and says after each call which line is the last.
fn write_for_ever(path: &Path) -> ! {
    let mut log = Log::open(path, 20_000, None, now()).unwrap();
    let mut out = io::stdout().lock();
    for user in 1.. {
        let entries: Vec<Entry> = (0..=user % 5).map(change).collect();
        let head = log.append(&entries, now()).unwrap();
        writeln!(out, "head {head}").unwrap();
    }
    unreachable!("somebody kills us")
}

#[test]
fn nothing_that_was_recorded_is_lost_by_fifty_kills() {
    if let Some(path) = env::var_os(WRITER) {
        write_for_ever(Path::new(&path));
    }
    let home = with_audit(1, 0);
    let path = home.path("audit.jsonl");
    for round in 0..50 {
        let mut command = writer("nothing_that_was_recorded_is_lost_by_fifty_kills", &path, "");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut heads = lines.filter_map(|line| line.strip_prefix("head ")?.parse::<Link>().ok());
        let seen = heads.nth(round % 17).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = heads.last().unwrap_or(seen);
        let report = audit::verify(&path, Some(last)).unwrap();
        assert_eq!(report.breaches, [], "after kill {round}");
        assert!(report.head.unwrap().seq >= last.seq);
    }
    Log::open(&path, 0, None, now()).unwrap();
    let ran = home.run(&["audit", "verify"]).ended(0).says("the chain is whole");
    assert!(ran.stdout.contains("audit.jsonl.0"), "files were put aside meanwhile: {}", ran.stdout);
}

/// A file may grow to 4 or 8 KiB, as the shell counts. Then it is as with a full disk: some of the bytes go in, and
/// the rest does not.
#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let Some(path) = env::var_os(WRITER) else {
        let home = with_audit(3, 0);
        let path = home.path("audit.jsonl");
        let mut command =
            writer("a_full_disk_leaves_nothing_half_written", &path, "trap '' XFSZ; ulimit -f 8;");
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
        home.run(&["audit", "verify"]).ended(0).says("audit.jsonl  4 lines").says("the chain is whole");
        return;
    };
    let path = Path::new(&path);
    let before = fs::read(path).unwrap();
    let mut log = Log::open(path, 0, None, now()).unwrap();
    let many: Vec<Entry> = (0..100).map(change).collect();
    for _ in 0..2 {
        let error = log.append(&many, now()).unwrap_err();
        assert!(matches!(error, AuditError::NotWritten { .. }), "{error}");
        assert!(error.to_string().contains("What was half written was taken back"), "{error}");
        assert!(fs::read(path).unwrap() == before, "what was there before is all that is there");
    }
    assert_eq!(log.append(&[change(4)], now()).unwrap().seq, 4, "as soon as there is room it goes on");
}

/// Somebody else's line at the end, without a newline, is cut off like a torn one, and that is on record.
#[test]
fn what_somebody_adds_to_the_end_does_not_stay() {
    let home = with_audit(3, 0);
    let path = home.path("audit.jsonl");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"echo").unwrap();
    Log::open(&path, 0, None, now()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["bytes"]), (&json!("repaired"), &json!(4)));
    home.run(&["audit", "verify"]).ended(0);
}
