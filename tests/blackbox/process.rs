//! The daemon as a process: its lines as they come, signals, its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rosterd::clock::Clock;
use serde_json::Value;

use crate::home::Home;

/// Whatever has to happen has happened by then, on however slow a machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// Polls until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let clock = Clock::system();
    let deadline = clock.instant() + DEADLINE;
    while !so() {
        assert!(clock.instant() < deadline, "it never came to this: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A running `rosterd run`; killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    out: Lines,
    err: Lines,
    readers: Vec<JoinHandle<()>>,
}

/// A daemon that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` after a signal that it did not handle.
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

impl Daemon {
    /// Starts it, and waits until it has the database.
    #[track_caller]
    pub(crate) fn start(home: &Home) -> Self {
        let daemon = Self::spawn(home.command(&["run"]));
        until("the daemon has started", || daemon.said("rosterd started") > 0);
        daemon
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Lines::default(), Lines::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), out.clone()),
            collect(child.stderr.take().unwrap(), err.clone()),
        ];
        Self { child, out, err, readers }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The shell's own `kill` is on every machine.
    pub(crate) fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.pid());
        assert!(Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
    }

    /// The most memory that it has held at once so far, in KiB; what Linux calls its peak resident set.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many lines have this message.
    pub(crate) fn said(&self, message: &str) -> usize {
        self.lines().iter().filter(|line| line["message"] == message).count()
    }

    /// All lines so far; each is JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        parse(&self.out.lock().unwrap())
    }

    /// What it has written to stderr so far.
    pub(crate) fn complaints(&self) -> String {
        self.err.lock().unwrap().join("\n")
    }

    #[track_caller]
    pub(crate) fn until_said(&self, message: &str) {
        until(&format!("{message:?} in the log"), || self.said(message) > 0);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        let mut status = None;
        until("the daemon has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        for reader in std::mem::take(&mut self.readers) {
            reader.join().unwrap();
        }
        let take = |lines: &Lines| std::mem::take(&mut *lines.lock().unwrap());
        Ended { code: status.unwrap().code(), out: take(&self.out), err: take(&self.err) }
    }

    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    /// Kills it like a power cut.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        let ended = self.wait();
        assert_eq!(ended.code, None, "it had ended before: {:#?}", ended.err);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended long ago.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{:#?}\n{:#?}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn said(&self, message: &str) -> usize {
        parse(&self.out).iter().filter(|line| line["message"] == message).count()
    }
}

#[track_caller]
fn parse(lines: &[String]) -> Vec<Value> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

fn collect(from: impl Read + Send + 'static, into: Lines) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            into.lock().unwrap().push(line.unwrap());
        }
    })
}
