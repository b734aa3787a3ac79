//! Files and environment → validated settings, all faults reported at once.
//!
//! Nothing here is looked up twice: the result is complete, and every default is filled in. Secrets come from the
//! environment, from files, or from systemd's credentials; they never leave in a fault, a log or `config show`.

mod address;
mod effective;
mod fault;
mod provision;
mod reader;
mod rules;
mod schedule;
mod secret;
mod settings;
mod sources;
mod tenant;
mod tree;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

pub use effective::Effective;
pub use fault::{Fault, Faults};
pub use rules::{RulesForm, read_rules};
pub use schedule::{last_run, next_runs};
pub use settings::{
    AttributeSettings, AuditSettings, BulkMode, BulkSettings, Cadence, Credentials, DeliverySettings,
    GuardSettings, OnConflict, Profile, ProvisionSettings, Reading, RoleAttribute, Settings, TenantSettings,
    TokenAuth, UpdateWith, WebhookSettings,
};
pub use sources::{DEFAULT_FILES, Sources};

use reader::{Judged, Notes, Read, Section};
use tree::Origin;

use crate::model::TenantId;

/// The largest `audit.max_mib`: 1 TiB.
const MOST_AUDIT_MIB: u32 = 1 << 20;

/// A configuration without a fault.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the other rooms work with.
    pub settings: Settings,
    /// What a person is shown.
    pub effective: Effective,
    /// The files that it was read from, a later one over an earlier one.
    pub files: Vec<PathBuf>,
}

/// Reads and checks the whole configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(sources: &Sources) -> Result<Settings, Faults> {
    inspect(sources).map(|loaded| loaded.settings)
}

/// Like [`load`], with all that `config check` and `config show` tell about it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn inspect(sources: &Sources) -> Result<Loaded, Faults> {
    let layers = sources::collect(sources);
    if !layers.unread.is_empty() {
        return Err(Faults([layers.unread, layers.faults].concat()));
    }
    let notes = Notes::new(&sources.env, layers.faults);
    let origin = layers.files.last().cloned().map_or(Origin::Default, Origin::File);
    let settings = read(Section::new(&notes, Vec::new(), origin, layers.tree));
    let log = notes.into_log();
    match settings {
        Ok(settings) if log.faults.is_empty() => Ok(Loaded {
            settings: Settings { not_in_force: log.not_in_force, ..settings },
            effective: log.effective,
            files: layers.files,
        }),
        _ => Err(Faults(log.faults)),
    }
}

fn read(mut root: Section<'_>) -> Read<Settings> {
    let grace = Duration::from_secs(30);
    let shutdown_grace = root.duration("shutdown_grace", grace, Duration::ZERO..=Duration::from_hours(1));
    let store = store(root.section("store"));
    admin(root.section_without_effect("admin"));
    let audit = audit(root.section("audit"));
    let tenants = tenants(&mut root);
    root.finish();
    Ok(Settings { store, audit, shutdown_grace, tenants: tenants?, not_in_force: Vec::new() })
}

/// No fault quotes the URL: one of another database may hold a password.
fn store(mut section: Section<'_>) -> PathBuf {
    let shown = |path: &PathBuf| json!(format!("sqlite://{}", path.display()));
    let set = section.discreet("url", address::database, shown);
    let path = set.ok().flatten().unwrap_or_else(|| {
        let default = PathBuf::from("rosterd.db");
        section.show("url", shown(&default), Origin::Default);
        default
    });
    section.finish();
    path
}

/// Checked, and not in force in this version; so nothing is kept of it.
fn admin(mut section: Section<'_>) {
    section.parsed("listen", SocketAddr::from(([127, 0, 0, 1], 9464)), listen);
    section.finish();
}

fn audit(mut section: Section<'_>) -> AuditSettings {
    let path = section.parsed("path", "audit.jsonl".to_owned(), |text| match text {
        "" => Err("is empty: name a file".to_owned()),
        folder if folder.ends_with('/') || PathBuf::from(folder).file_name().is_none() => {
            Err("names a folder, not a file".to_owned())
        }
        path => Ok(path.to_owned()),
    });
    let max_mib = section.whole("max_mib", 100, 0..=MOST_AUDIT_MIB);
    section.finish();
    AuditSettings { path: path.into(), max_bytes: u64::from(max_mib) << 20 }
}

fn listen(text: &str) -> Judged<SocketAddr> {
    text.parse().map_err(|_| "is no address with a port such as \"127.0.0.1:9464\"".to_owned())
}

/// Reads every tenant, then gives up if one of them is faulty.
fn tenants(root: &mut Section<'_>) -> Read<BTreeMap<TenantId, TenantSettings>> {
    let sections: Vec<_> = root.section("tenants").into_sections().collect();
    if sections.is_empty() {
        return Err(root.missing("tenants", "set at least one [tenants.NAME]"));
    }
    let each = sections.into_iter().map(|(name, section)| {
        if !tenant::is_name(&name) {
            section.fault_here("is no name of a tenant: use small letters, digits, `_` and `-`");
        }
        tenant::read(&name, section).map(|settings| (settings.name.clone(), settings))
    });
    each.collect::<Vec<_>>().into_iter().collect()
}
