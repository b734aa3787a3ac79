//! What the configuration accepts, what it refuses and in which words, and what `config check` and `config show`
//! tell about it.

#![allow(clippy::unwrap_used, reason = "what a test sets up must be there")]

mod keys;
mod layers;
mod mapping;
mod reports;
mod sample;
mod secrets;

use std::fs;
use std::path::PathBuf;

use rosterd::config::{self, Fault, Settings, Sources, TenantSettings};
use rosterd::model::TenantId;
use tempfile::TempDir;

/// What must never be seen: the client id, the client secret.
const ID: &str = "id-that-nobody-may-see";
const SECRET: &str = "0123-that-nobody-may-see";

/// The smallest tenant that is valid, with room for more keys.
const ACME: &str = r#"
[tenants.acme]
region = "mypurecloud.com"
client_id = { env = "GENESYS_CLIENT_ID" }
client_secret = { env = "GENESYS_CLIENT_SECRET" }
mapping = { HR_ENGINEER = "team-id-123" }
"#;

/// A folder with configuration files, and an environment.
struct Case {
    folder: TempDir,
    sources: Sources,
}

impl Case {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let env = [("GENESYS_CLIENT_ID", ID), ("GENESYS_CLIENT_SECRET", SECRET)];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut case = Self { folder, sources: Sources { files: Vec::new(), env } };
        case.sources.files.push(case.file("rosterd.toml", text));
        case
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn and_file(mut self, name: &str, text: &str) -> Self {
        let path = self.file(name, text);
        self.sources.files.push(path);
        self
    }

    fn settings(&self) -> Settings {
        config::load(&self.sources).unwrap_or_else(|faults| panic!("refused:\n{faults}"))
    }

    /// All faults, with the folder taken out of what they say.
    fn faults(&self) -> Vec<Fault> {
        let faults = config::load(&self.sources).expect_err("accepted");
        let short = |fault: &Fault| Fault {
            key: fault.key.clone(),
            origin: self.short(&fault.origin),
            reason: self.short(&fault.reason),
        };
        faults.as_slice().iter().map(short).collect()
    }

    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn acme(settings: &Settings) -> &TenantSettings {
    &settings.tenants[&TenantId::from("acme")]
}

/// Exactly one fault, with this key and origin, whose reason says so.
#[track_caller]
fn assert_one_fault(case: &Case, key: &str, origin: &str, says: &str) {
    let faults = case.faults();
    let [fault] = faults.as_slice() else { panic!("not one fault: {faults:#?}") };
    assert_eq!((fault.key.as_str(), fault.origin.as_str()), (key, origin), "{fault}");
    assert!(fault.reason.contains(says), "{fault}\ndoes not say: {says}");
}
