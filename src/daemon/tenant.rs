//! One tenant, put together from its settings. The settings end here: each part gets the few it uses.

use std::sync::Arc;

use crate::audit::Audit;
use crate::config::{BulkMode, Cadence, TenantSettings};
use crate::deliver::{BulkPump, BulkPumpSettings, Condition, Policy, Pump, PumpSettings, Shared, Vitals};
use crate::model::TenantId;
use crate::scim::Client;
use crate::store::Store;
use crate::webhook::Sender;

use super::connect::client;
use super::parts::Parts;
use super::pass::Passes;
use super::runs::RunSettings;

/// One tenant, ready to run.
#[derive(Debug)]
pub struct Tenant {
    /// Its name.
    pub name: TenantId,
    /// Reads and plans.
    pub passes: Passes,
    /// Delivers.
    pub pump: Pump<Client>,
    /// Calls; to be closed when it stops.
    pub client: Client,
    /// When passes run.
    pub cadence: Cadence,
    /// Whether it is well.
    pub condition: Condition,
    /// What it has done so far.
    pub vitals: Arc<Vitals>,
    /// Told when a user has to be read again.
    pub stale: Arc<tokio::sync::Notify>,
    /// Tells what runs came to; `None` when nobody wants to know.
    pub webhook: Option<Sender>,
    /// Delivers in bulk requests.
    pub bulk: BulkPump,
    /// How files are carried out.
    pub runs: RunSettings,
}

impl Tenant {
    /// Makes no call yet.
    ///
    /// # Errors
    /// When the machine's certificates cannot be read.
    pub fn new(
        settings: TenantSettings,
        store: &Store,
        audit: &Audit,
        parts: &Parts,
    ) -> Result<Self, reqwest::Error> {
        let client = client(&settings, &parts.clock)?;
        let vitals = parts.watch.add(&settings.name, &client);
        let stale = Arc::new(tokio::sync::Notify::new());
        let condition = Condition::new(settings.name.clone(), store.clone(), parts.clock.clone());
        let webhook = settings.webhook.as_ref().map(|webhook| {
            let when = (parts.clock.clone(), parts.chance);
            let (url, secret) = (webhook.url.clone(), webhook.secret.as_ref());
            Sender::new(settings.name.clone(), store.clone(), url, secret, when)
        });
        let delivery = settings.delivery;
        let pump = Pump::new(
            settings.name.clone(),
            store.clone(),
            client.clone(),
            PumpSettings {
                workers: delivery.workers,
                policy: Policy { max_attempts: delivery.max_attempts },
                verify_percent: delivery.verify_percent,
                role_attribute: settings.reading.role_attribute,
            },
            (parts.clock.clone(), parts.chance),
            Shared { condition: condition.clone(), vitals: vitals.clone(), stale: stale.clone() },
            audit.clone(),
        );
        let bulk = BulkPump::new(
            (settings.name.clone(), store.clone(), client.clone()),
            BulkPumpSettings {
                poll_interval: settings.bulk.poll_interval,
                max_polls: settings.bulk.max_polls,
                spell_out: settings.bulk.mode == BulkMode::Jobs,
                policy: Policy { max_attempts: delivery.max_attempts },
            },
            (parts.clock.clone(), parts.chance),
            (condition.clone(), vitals.clone()),
            audit.clone(),
        );
        let runs = RunSettings::of(&settings, parts);
        let passes = Passes::new(&settings, store.clone(), client.clone(), parts.clone(), vitals.clone());
        let (name, cadence) = (settings.name, settings.cadence);
        Ok(Self {
            name,
            passes,
            pump,
            client,
            cadence,
            condition,
            vitals,
            stale,
            webhook: webhook.transpose()?,
            bulk,
            runs,
        })
    }
}
