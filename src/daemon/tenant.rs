//! One tenant, put together from its settings. The settings end here: each part gets the few it uses.

use std::sync::Arc;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{Cadence, Credentials, TenantSettings};
use crate::deliver::{Policy, Pump, PumpSettings, Vitals};
use crate::model::TenantId;
use crate::scim::{Auth, Client, ClientCredentials, Endpoint, Limiter, http_client};
use crate::source::ListSettings;
use crate::store::Store;

use super::pass::Passes;
use super::watch::Watch;

/// What Genesys wants bodies to be labelled as.
const CONTENT_TYPE: &str = "application/json";

/// What all tenants share.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The wall clock and the monotonic one.
    pub clock: Clock,
    /// Jitter.
    pub chance: Chance,
    /// Where whoever watches finds the tenants that run.
    pub watch: Watch,
}

impl Default for Parts {
    /// The machine's clock, real chance, and nobody watching yet.
    fn default() -> Self {
        Self { clock: Clock::system(), chance: Chance::system(), watch: Watch::default() }
    }
}

/// One tenant, ready to run.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub name: TenantId,
    /// Reads and plans.
    pub passes: Passes,
    /// Delivers.
    pub pump: Pump,
    /// Calls; to be closed when it stops.
    pub client: Client,
    /// When passes run.
    pub cadence: Cadence,
    /// What it has done so far.
    pub vitals: Arc<Vitals>,
    /// Told when a user has to be read again.
    pub stale: Arc<tokio::sync::Notify>,
}

/// A client for one tenant, with a limiter of its own.
///
/// # Errors
/// When the machine's certificates cannot be read.
pub fn client(settings: &TenantSettings, clock: &Clock) -> Result<Client, reqwest::Error> {
    let http = http_client(settings.request_timeout)?;
    let limiter = Limiter::new(settings.delivery.rate_per_second, settings.delivery.burst, clock.clone());
    let Credentials::Client { token_url, token_auth, client_id, client_secret, scope } =
        settings.credentials.clone();
    let credentials = ClientCredentials { token_url, token_auth, client_id, client_secret, scope };
    let auth = Auth::new(http.clone(), limiter.clone(), clock.clone(), credentials);
    let endpoint = Endpoint { base_url: settings.base_url.clone(), content_type: CONTENT_TYPE };
    Ok(Client::new(http, auth, limiter, clock.clone(), endpoint))
}

/// What a tenant's list is asked for.
#[must_use]
pub fn list_settings(settings: &TenantSettings) -> ListSettings {
    let reading = &settings.reading;
    ListSettings {
        filter: reading.filter.clone().map(|filter| (reading.filter_parameter.clone(), filter)),
        page_size: reading.page_size,
        role_attribute: reading.role_attribute,
    }
}

impl Tenant {
    /// Makes no call yet.
    ///
    /// # Errors
    /// When the machine's certificates cannot be read.
    pub fn new(settings: TenantSettings, store: &Store, parts: &Parts) -> Result<Self, reqwest::Error> {
        let client = client(&settings, &parts.clock)?;
        let vitals = parts.watch.add(&settings.name, &client);
        let stale = Arc::new(tokio::sync::Notify::new());
        let pump = Pump::new(
            settings.name.clone(),
            store.clone(),
            client.clone(),
            PumpSettings {
                workers: settings.delivery.workers,
                policy: Policy { max_attempts: settings.delivery.max_attempts },
            },
            (parts.clock.clone(), parts.chance),
            vitals.clone(),
            stale.clone(),
        );
        let passes = Passes::new(&settings, store.clone(), client.clone(), parts.clone(), vitals.clone());
        Ok(Self { name: settings.name, passes, pump, client, cadence: settings.cadence, vitals, stale })
    }
}
