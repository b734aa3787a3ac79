//! The directions of the house: which room may use which, and what only one room may do.
//!
//! It reads the sources as text, test modules included. What it cannot place, it refuses: a new room needs a
//! row in [`ROOMS`].

#![allow(clippy::unwrap_used, reason = "what a test reads must be there")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the other rooms that it may use, in reading order.
const ROOMS: [(&str, &[&str]); 15] = [
    ("model", &[]),
    ("clock", &["model"]),
    ("chance", &[]),
    ("plan", &["model"]),
    ("config", &["model", "plan", "scim"]),
    ("scim", &["clock", "model", "telemetry"]),
    ("source", &["chance", "clock", "model", "scim", "telemetry"]),
    ("store", &["model"]),
    ("audit", &["model"]),
    ("deliver", &["audit", "chance", "clock", "model", "scim", "store", "telemetry"]),
    ("telemetry", &["clock", "model"]),
    ("webhook", &["chance", "clock", "model", "scim", "store", "telemetry"]),
    (
        "daemon",
        &[
            "audit",
            "chance",
            "clock",
            "config",
            "deliver",
            "model",
            "plan",
            "scim",
            "source",
            "store",
            "telemetry",
            "webhook",
        ],
    ),
    ("practice", &["clock", "model", "plan"]),
    (
        "commands",
        &[
            "audit",
            "chance",
            "clock",
            "config",
            "daemon",
            "deliver",
            "model",
            "plan",
            "practice",
            "scim",
            "source",
            "store",
            "telemetry",
            "webhook",
        ],
    ),
];

/// Rooms that never meet: neither uses the other, and only the composition root and the commands use both.
const STRANGERS: [(&str, &str); 2] = [("plan", "deliver"), ("source", "store")];

/// Who may use both of two strangers.
const JOINERS: [&str; 2] = ["daemon", "commands"];

/// Words that stand in the code of the named rooms or files only.
const RESERVED: [(&str, &[&str]); 8] = [
    ("sqlx", &["store"]),
    ("Instant::now(", &["clock"]),
    ("SystemTime::now(", &["clock"]),
    ("Utc::now(", &["clock"]),
    ("Local::now(", &["clock"]),
    // telemetry draws the id of the process, once
    ("rand::", &["chance", "practice", "telemetry"]),
    ("axum", &["practice"]),
    ("clap", &["commands", "main", "telemetry"]),
];

/// Words that never stand in the pure rooms.
const IMPURE: [&str; 18] = [
    "async ",
    ".await",
    "tokio",
    "futures",
    "reqwest",
    "sqlx",
    "tracing",
    "opentelemetry",
    "rand::",
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync",
    "SystemTime",
    "Instant",
];

const PURE: [&str; 2] = ["model", "plan"];

/// One source file.
struct Source {
    path: PathBuf,
    room: String,
    /// Its text; comments are blank, and so is what stands in quotes.
    code: String,
    /// What stands in quotes, line by line.
    quoted: Vec<String>,
}

impl Source {
    fn read(house: &Path, path: &Path) -> Self {
        let inside = path.strip_prefix(house.join("src")).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.trim_end_matches(".rs").to_owned();
        Self::new(path.strip_prefix(house).unwrap().to_owned(), room, &fs::read_to_string(path).unwrap())
    }

    fn new(path: PathBuf, room: String, text: &str) -> Self {
        let (mut code, mut quoted, mut inside) = (String::new(), Vec::new(), false);
        for line in text.lines() {
            let mut words = String::new();
            if inside || !line.trim_start().starts_with("//") {
                let mut last = ' ';
                for c in line.chars() {
                    let quote = c == '"' && !matches!(last, '\\' | '\'');
                    inside ^= quote;
                    if inside && !quote { &mut words } else { &mut code }.push(c);
                    last = if last == '\\' { ' ' } else { c };
                }
            }
            code.push('\n');
            quoted.push(words);
        }
        Self { path, room, code, quoted }
    }

    fn at(&self, offset: usize) -> String {
        let line = self.code[..offset].matches('\n').count() + 1;
        format!("{}:{line}", self.path.display())
    }

    /// Every room that the code names from the root of the crate, and where.
    fn uses(&self) -> Vec<(String, String)> {
        let mut uses = Vec::new();
        for root in self.roots() {
            for (offset, _) in self.code.match_indices(root) {
                let longer = self.code[..offset].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                if longer {
                    continue;
                }
                let names = names_after(&self.code[offset + root.len()..]);
                uses.extend(names.into_iter().map(|name| (name, self.at(offset))));
            }
        }
        uses
    }

    /// What stands for the root of the crate in this file.
    fn roots(&self) -> &'static [&'static str] {
        match (self.room.as_str(), self.path.components().count()) {
            ("main", _) => &["rosterd::"],
            // src/clock.rs, src/model/mod.rs
            (_, 2) => &["crate::", "\nuse super::", "\npub use super::"],
            _ if self.path.ends_with("mod.rs") => &["crate::", "\nuse super::", "\npub use super::"],
            _ => &["crate::", "\nuse super::super::", "\npub use super::super::"],
        }
    }
}

/// The first name of each path in `a::b`, `{a, b::{c, d}}`.
fn names_after(code: &str) -> Vec<String> {
    let ident = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = code.strip_prefix('{') else { return vec![ident(code)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(ident(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(&root.join("src"), &mut paths);
    paths.sort();
    paths.into_iter().map(|path| Source::read(root, &path)).filter(|source| source.room != "lib").collect()
}

fn may_use(room: &str) -> Option<&'static [&'static str]> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, uses)| *uses)
}

#[track_caller]
fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn every_room_has_its_row_and_stands_in_the_crate() {
    let root = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let modules: BTreeSet<&str> = root
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod "))?.strip_suffix(';'))
        .collect();
    assert_eq!(modules, ROOMS.iter().map(|(name, _)| *name).collect());
    let rooms: BTreeSet<String> = sources().into_iter().map(|source| source.room).collect();
    assert!(rooms.iter().all(|room| room == "main" || may_use(room).is_some()), "{rooms:?}");
}

#[test]
fn rooms_are_used_in_one_direction_only() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.room != "main") {
        let allowed = may_use(&source.room).unwrap_or_default();
        for (name, place) in source.uses() {
            if may_use(&name).is_some() && name != source.room && !allowed.contains(&name.as_str()) {
                offences.push(format!("{place}: {} may not use {name}", source.room));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn strangers_never_meet() {
    let mut offences = Vec::new();
    for (one, other) in STRANGERS {
        for source in sources().iter().filter(|source| !JOINERS.contains(&source.room.as_str())) {
            let uses = source.uses();
            let place = |room: &str| {
                let own = (source.room == room).then(|| source.path.display().to_string());
                own.or_else(|| uses.iter().find(|(name, _)| name == room).map(|(_, place)| place.clone()))
            };
            if let (Some(here), Some(there)) = (place(one), place(other)) {
                offences.push(format!("{here} and {there}: {one} and {other} meet"));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn what_one_room_may_do_no_other_does() {
    let mut offences = Vec::new();
    for source in sources() {
        for (word, rooms) in RESERVED.iter().filter(|(_, rooms)| !rooms.contains(&source.room.as_str())) {
            for (offset, _) in source.code.match_indices(word) {
                let named = source.code[..offset].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                if !named {
                    offences.push(format!(
                        "{}: {word} stands in {} only",
                        source.at(offset),
                        rooms.join(", ")
                    ));
                }
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn sql_stands_in_the_store_only() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| source.room != "store") {
        for (line, quoted) in (1..).zip(&source.quoted) {
            let verbs = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "PRAGMA "];
            if verbs.iter().any(|verb| quoted.trim_start().starts_with(verb)) {
                offences.push(format!("{}:{line}: SQL", source.path.display()));
            }
        }
    }
    assert_none(&offences);
}

/// What is said at which level may be looked up, whatever rarely happens.
#[test]
fn every_message_of_the_log_is_in_the_guide() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/LOGGING.md")).unwrap();
    let guide = guide.split_whitespace().collect::<Vec<_>>().join(" ");
    let (mut offences, mut seen) = (Vec::new(), 0);
    for source in sources().iter().filter(|source| source.room != "practice") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&source.path);
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (offset, message) in messages(code) {
            seen += 1;
            if !guide.contains(&format!("**{message}**")) {
                let line = code[..offset].matches('\n').count() + 1;
                let place = source.path.display();
                offences.push(format!("{place}:{line}: docs/LOGGING.md has no **{message}**"));
            }
        }
    }
    assert_none(&offences);
    assert!(seen > 30, "only {seen} messages were found");
}

/// The last text in quotes of every logging macro, and where it stands.
fn messages(code: &str) -> Vec<(usize, &str)> {
    let macros = ["error!(", "warn!(", "info!(", "debug!(", "trace!("];
    let mut found = Vec::new();
    for start in macros.iter().flat_map(|word| code.match_indices(word)) {
        let offset = start.0 + start.1.len();
        let (mut depth, mut quote, mut last) = (1, None, None);
        for (at, c) in code[offset..].char_indices() {
            match (c, quote) {
                ('"', None) => quote = Some(at + 1),
                ('"', Some(from)) => {
                    last = Some(&code[offset + from..offset + at]);
                    quote = None;
                }
                ('(', None) => depth += 1,
                (')', None) => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        found.extend(last.map(|message| (start.0, message)));
    }
    found
}

#[test]
fn the_core_is_pure() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.room.as_str())) {
        for word in IMPURE {
            let found = source.code.match_indices(word);
            offences.extend(found.map(|(offset, _)| format!("{}: {word} is impure", source.at(offset))));
        }
    }
    assert_none(&offences);
}

/// The scanner sees what it is there to see.
#[test]
fn names_are_found_in_every_way_of_writing_them() {
    let source = |path: &str, code: &str| {
        let room = path.split('/').nth(1).unwrap().trim_end_matches(".rs").to_owned();
        Source::new(PathBuf::from(path), room, &format!("\n{code}"))
    };
    for (path, code, expected) in [
        ("src/plan/a.rs", "use crate::store::Store;", "store@src/plan/a.rs:2"),
        (
            "src/plan/a.rs",
            "use crate::{\n    model::{A, B},\n    deliver,\n};",
            "model@src/plan/a.rs:2 deliver@src/plan/a.rs:2",
        ),
        ("src/plan/a.rs", "fn f() { crate::scim::g() }", "scim@src/plan/a.rs:2"),
        ("src/plan/a.rs", "use super::super::store::Store;", "store@src/plan/a.rs:1"),
        ("src/plan/mod.rs", "use super::store::Store;", "store@src/plan/mod.rs:1"),
        ("src/plan/a.rs", "use super::store::Store; use my_crate::x;", ""),
        (
            "src/plan/a.rs",
            "// crate::store\nlet a = \"crate::store \\\" crate::scim\"; crate::source::b('\"')",
            "source@src/plan/a.rs:3",
        ),
        ("src/main.rs", "use rosterd::commands::run;", "commands@src/main.rs:2"),
    ] {
        let found: Vec<String> =
            source(path, code).uses().into_iter().map(|(name, place)| format!("{name}@{place}")).collect();
        assert_eq!(found.join(" "), expected, "{code}");
    }
}
