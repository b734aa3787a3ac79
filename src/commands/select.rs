//! `--tenant`: which of the configured tenants a command is about.

use clap::Args;

use super::Exit;
use crate::config::{Settings, TenantSettings};
use crate::model::TenantId;

/// Which tenants.
#[derive(Args, Clone, Debug)]
pub struct Selected {
    /// Only this tenant of the configuration
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
}

impl Selected {
    /// The selected tenants, in the order of their names.
    ///
    /// # Errors
    /// [`Exit::Usage`], after saying on stderr which tenants there are.
    pub fn of(&self, settings: Settings) -> Result<Vec<TenantSettings>, Exit> {
        let Some(name) = &self.tenant else { return Ok(settings.tenants.into_values().collect()) };
        let known: Vec<String> = settings.tenants.keys().map(ToString::to_string).collect();
        if let Some(tenant) = settings.tenants.into_values().find(|tenant| tenant.name.as_str() == name) {
            Ok(vec![tenant])
        } else {
            super::complain(&format!(
                "no tenant {name:?} in the configuration; there is {}",
                known.join(", ")
            ));
            Err(Exit::Usage)
        }
    }

    /// The selected tenant's name, if one was selected.
    #[must_use]
    pub fn name(&self) -> Option<TenantId> {
        self.tenant.as_deref().map(TenantId::from)
    }
}
