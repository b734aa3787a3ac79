//! The tenants that run, for whoever watches: numbers only, nothing can be changed from here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::deliver::Vitals;
use crate::model::TenantId;
use crate::scim::Client;

/// The tenants that run; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<BTreeMap<TenantId, Watched>>>);

/// One tenant that runs.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What it has done since the start of the process.
    pub vitals: Arc<Vitals>,
    client: Client,
}

impl Watched {
    /// Calls made since the tenant was started, tokens left out.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.client.calls()
    }

    /// Calls a second that may go at the moment.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.client.limiter().rate()
    }
}

impl Watch {
    /// One tenant, once it runs.
    #[must_use]
    pub fn tenant(&self, name: &TenantId) -> Option<Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Adds a tenant; one that is started again goes on counting.
    pub(super) fn add(&self, name: &TenantId, client: &Client) -> Arc<Vitals> {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let vitals = tenants.get(name).map(|watched| watched.vitals.clone()).unwrap_or_default();
        tenants.insert(name.clone(), Watched { vitals: vitals.clone(), client: client.clone() });
        vitals
    }
}
