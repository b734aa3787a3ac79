//! A folder with a configuration and a database, and the binary that runs in it.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use rosterd::config::{self, Settings, Sources};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::until;

/// The tenant's name in every configuration.
pub(crate) const TENANT: &str = "acme";
/// What proves who we are, and must never be seen.
pub(crate) const CLIENT_ID: &str = "id-that-nobody-may-see";
pub(crate) const CLIENT_SECRET: &str = "secret-that-nobody-may-see";

/// HR roles and their teams, as the practice tenant's people have them. `HR_GUEST` is in no rule.
pub(crate) const RULES: [(&str, &[&str]); 4] = [
    ("HR_ENGINEER", &["team-engineering"]),
    ("HR_FINANCE", &["team-finance"]),
    ("HR_SALES", &["team-sales"]),
    ("HR_SUPPORT", &["team-service-desk", "team-support"]),
];

/// Where one configured rosterd lives.
pub(crate) struct Home {
    folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    /// With the smallest configuration for a tenant at this base and token endpoint.
    pub(crate) fn new(base_url: &str, token_url: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        let mut text = format!(
            r#"
            store.url = "sqlite://{database}"
            [tenants.{TENANT}]
            base_url = "{base_url}"
            token_url = "{token_url}"
            client_id = {{ env = "CLIENT_ID" }}
            client_secret = {{ env = "CLIENT_SECRET" }}
            overlap = "0s"
            delivery.rate_per_second = 2000
            delivery.burst = 200
            guard.max_removals_percent = 100
            guard.max_changes_percent = 100
            delivery.verify_percent = 0
            [tenants.{TENANT}.mapping]
            "#,
            database = home.database().display(),
        );
        for (role, teams) in RULES {
            writeln!(text, "{role} = {teams:?}").unwrap();
        }
        home.write("rosterd.toml", &text);
        home
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("rosterd.db")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Lays keys of the tenant over the configuration, in place of those that were laid over it before.
    pub(crate) fn set(&self, keys: &str) {
        self.write("more.toml", &format!("[tenants.{TENANT}]\n{keys}\n"));
    }

    /// The configuration, for what takes the place of the binary.
    pub(crate) fn settings(&self) -> Settings {
        let files = ["rosterd.toml", "more.toml"].map(|name| self.path(name));
        let files = files.into_iter().filter(|file| file.exists()).collect();
        let env = [("CLIENT_ID", CLIENT_ID), ("CLIENT_SECRET", CLIENT_SECRET)];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        config::load(&Sources { files, env }).unwrap_or_else(|faults| panic!("refused:\n{faults}"))
    }

    /// The binary with this configuration and nothing else of our environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(&self.folder);
        for file in ["rosterd.toml", "more.toml"].map(|name| self.path(name)) {
            if file.exists() {
                command.arg("--config").arg(file);
            }
        }
        command.args(args);
        command
    }

    /// The binary in this folder, told nothing about its configuration.
    pub(crate) fn bare(&self, args: &[&str]) -> Ran {
        Started::new(bare(&self.folder).args(args)).ran()
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Started::new(&mut self.command(args)).ran()
    }

    /// Runs commands side by side.
    pub(crate) fn run_all(homes: &[(&Self, &[&str])]) -> Vec<Ran> {
        let started: Vec<_> =
            homes.iter().map(|(home, args)| Started::new(&mut home.command(args))).collect();
        started.into_iter().map(Started::ran).collect()
    }

    /// What `status --json` says of the tenant.
    pub(crate) fn status(&self) -> Value {
        self.status_of(TENANT)
    }

    pub(crate) fn status_of(&self, tenant: &str) -> Value {
        let mut status = self.run(&["status", "--json", "--tenant", tenant]).ended(0).json();
        status["tenants"][0].take()
    }

    /// Adds a tenant named `other` that is like another home's only one, with these keys beside.
    pub(crate) fn and_other(&self, base_url: &str, token_url: &str, keys: &str) {
        let secrets = "client_id = { env = \"CLIENT_ID\" }\nclient_secret = { env = \"CLIENT_SECRET\" }";
        self.write(
            "more.toml",
            &format!(
                "[tenants.other]\nbase_url = {base_url:?}\ntoken_url = {token_url:?}\n{secrets}\n{keys}\n"
            ),
        );
    }
}

fn bare(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosterd"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command.env("CLIENT_ID", CLIENT_ID).env("CLIENT_SECRET", CLIENT_SECRET);
    command
}

/// A command that runs; killed when it is dropped.
struct Started {
    child: Child,
    texts: Vec<JoinHandle<String>>,
}

impl Started {
    fn new(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let texts = vec![read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap())];
        Self { child, texts }
    }

    #[track_caller]
    fn ran(mut self) -> Ran {
        let mut status = None;
        until("the command has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut texts = self.texts.drain(..).map(|text| text.join().unwrap());
        let (stdout, stderr) = (texts.next().unwrap(), texts.next().unwrap());
        Ran { code: status.unwrap().code().unwrap_or(-1), stdout, stderr }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It has ended, unless its test has failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

impl Ran {
    /// It ended with this exit code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        let Self { code: found, stdout, stderr } = &self;
        assert_eq!(*found, code, "exit code\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        self
    }

    /// Its answer holds this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "not on stdout: {text}\n{}", self.stdout);
        self
    }

    /// It complains with these words.
    #[track_caller]
    pub(crate) fn complains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "not on stderr: {text}\n{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}
