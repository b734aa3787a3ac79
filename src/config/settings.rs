//! The settings as the other rooms get them: complete, validated, with every default filled in.
//!
//! They are taken apart when the daemon is put together; no room keeps the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::SecretString;
use url::Url;

use crate::model::{Columns, TenantId};
use crate::plan::{Limits, Mapping, Policy};
pub use crate::plan::{OnConflict, UpdateWith};
pub use crate::scim::{RoleAttribute, TokenAuth};

/// Everything that the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database file, from `store.url`.
    pub store: PathBuf,
    /// `[audit]`.
    pub audit: AuditSettings,
    /// How long a stop waits for what is in flight, from `shutdown_grace`.
    pub shutdown_grace: Duration,
    /// `[tenants.*]`, at least one.
    pub tenants: BTreeMap<TenantId, TenantSettings>,
    /// Keys that are set, valid, and without effect in this version, in full: `admin.listen`.
    pub not_in_force: Vec<String>,
}

/// `[audit]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// The file.
    pub path: PathBuf,
    /// A file that would grow beyond this many bytes is put aside; 0 for never.
    pub max_bytes: u64,
}

/// A set of defaults for one kind of tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The contract of the three documents.
    GenesysScim,
}

/// One `[tenants.NAME]`.
#[derive(Clone, Debug)]
pub struct TenantSettings {
    /// NAME.
    pub name: TenantId,
    /// The profile that filled in the defaults.
    pub profile: Profile,
    /// The SCIM base without a trailing slash: `https://api.mypurecloud.com/api/v2/scim/v2`.
    pub base_url: Url,
    /// How we prove who we are.
    pub credentials: Credentials,
    /// The longest that one HTTP call may take, from connect to the last byte.
    pub request_timeout: Duration,
    /// When passes run.
    pub cadence: Cadence,
    /// What is asked of the list of users.
    pub reading: Reading,
    /// What is decided from a user.
    pub policy: Policy,
    /// HR role → teams.
    pub mapping: Mapping,
    /// How operations are sent.
    pub delivery: DeliverySettings,
    /// When a pass is held.
    pub guard: GuardSettings,
    /// Who is told what runs came to; `None` is nobody.
    pub webhook: Option<WebhookSettings>,
    /// How HRIS exports are read, and what becomes of their rows.
    pub provision: ProvisionSettings,
    /// How files of attributes are read.
    pub attributes: AttributeSettings,
    /// Whether many operations go in one call.
    pub bulk: BulkSettings,
}

/// How calls are authenticated.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// OAuth 2.0 client credentials (RFC 6749 §4.4).
    Client {
        /// Where tokens come from.
        token_url: Url,
        /// How id and secret are sent there.
        token_auth: TokenAuth,
        /// Public half.
        client_id: SecretString,
        /// Secret half.
        client_secret: SecretString,
        /// Sent only when configured.
        scope: Option<String>,
    },
}

/// When passes run.
#[derive(Clone, Debug)]
pub struct Cadence {
    /// Six-field cron line of delta passes, seconds first.
    pub schedule: String,
    /// Six-field cron line of sweeps.
    pub sweep_schedule: String,
    /// In which zone both are read.
    pub time_zone: Tz,
    /// A tick starts its pass up to this much later.
    pub jitter: Duration,
}

/// What is asked of the list of users.
#[derive(Clone, Debug)]
pub struct Reading {
    /// How far before the watermark a delta pass reads.
    pub overlap: Duration,
    /// Users per page, 1 to 1000.
    pub page_size: u32,
    /// Name of the query parameter that carries `filter`: `_queryFilter`.
    pub filter_parameter: String,
    /// Sent with every list call; `None` sends none.
    pub filter: Option<String>,
    /// Which attribute holds the HR roles.
    pub role_attribute: RoleAttribute,
}

/// `[tenants.NAME.delivery]`.
#[derive(Clone, Copy, Debug)]
pub struct DeliverySettings {
    /// Calls a second that the tenant allows, above 0; all calls count.
    pub rate_per_second: f64,
    /// Calls at once that the tenant allows after a quiet time, at least 1.
    pub burst: u32,
    /// Operations in flight at once, 1 to 1000.
    pub workers: usize,
    /// Failed attempts after which an operation is a dead letter, at least 1.
    pub max_attempts: u32,
    /// So many of the writes are read back, 0 to 100 percent.
    pub verify_percent: f64,
}

/// `[tenants.NAME.guard]`.
#[derive(Clone, Copy, Debug)]
pub struct GuardSettings {
    /// What may change within the window.
    pub limits: Limits,
    /// Over which the limits count; at most 7 days, because that long finished operations are kept.
    pub window: Duration,
}

/// `[tenants.NAME.webhook]`.
#[derive(Clone)]
pub struct WebhookSettings {
    /// Where messages go. Its path may be a secret of its own: it is shown by [`Self::shown`] only.
    pub url: Url,
    /// Signs them; `None` signs nothing.
    pub secret: Option<SecretString>,
}

impl WebhookSettings {
    /// The address without its path.
    #[must_use]
    pub fn shown(&self) -> String {
        super::address::without_path(&self.url)
    }
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, secret } = self;
        f.debug_struct("WebhookSettings").field("url", &self.shown()).field("secret", secret).finish()
    }
}

/// `[tenants.NAME.provision]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionSettings {
    /// The export that is read when nobody names another one.
    pub file: Option<PathBuf>,
    /// Six-field cron line, in the zone of the tenant's other schedules; only with `file`.
    pub schedule: Option<String>,
    /// What the columns of an export are called.
    pub columns: Columns,
    /// Paths of attributes that each row must name.
    pub required: BTreeSet<String>,
    /// The names of the roles that there are; `None` when any will do.
    pub roles: Option<BTreeSet<String>>,
    /// How many users the tenant may have.
    pub max_users: Option<u64>,
    /// What becomes of a row whose user is there already.
    pub on_conflict: OnConflict,
    /// How a user who is there is changed.
    pub update_with: UpdateWith,
}

/// `[tenants.NAME.attributes]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeSettings {
    /// The text of a cell whose attribute is to go; not empty, without blanks around it.
    pub remove_marker: String,
}

/// `[tenants.NAME.bulk]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkSettings {
    /// Whether many operations go in one call.
    pub mode: BulkMode,
    /// Between two looks at a job, 100 ms to 10 minutes.
    pub poll_interval: Duration,
    /// After so many looks a job is given up, 1 to 10000.
    pub max_polls: u32,
}

/// How many operations go in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkMode {
    /// As the tenant says that it can.
    Auto,
    /// As a job, which is asked for until it has ended.
    Jobs,
    /// In one answer (RFC 7644 §3.7).
    Rfc7644,
    /// Each in a call of its own.
    Off,
}
