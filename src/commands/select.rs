//! `--tenant`: which of the configured tenants a command is about.

use clap::Args;

use super::CommandError;
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
    /// [`CommandError::Usage`], which says which tenants there are.
    pub fn of(&self, settings: Settings) -> Result<Vec<TenantSettings>, CommandError> {
        let Some(name) = &self.tenant else { return Ok(settings.tenants.into_values().collect()) };
        let known: Vec<String> = settings.tenants.keys().map(ToString::to_string).collect();
        let tenant = settings.tenants.into_values().find(|tenant| tenant.name.as_str() == name);
        tenant.map(|tenant| vec![tenant]).ok_or_else(|| {
            CommandError::Usage(format!(
                "no tenant {name:?} in the configuration; there is {}",
                known.join(", ")
            ))
        })
    }

    /// The selected tenant, or the only one there is.
    ///
    /// # Errors
    /// [`CommandError::Usage`], which says which tenants there are.
    pub fn one(&self, settings: Settings) -> Result<TenantSettings, CommandError> {
        let mut tenants = self.of(settings)?;
        match (tenants.pop(), tenants.as_slice()) {
            (Some(only), []) => Ok(only),
            (last, others) => {
                let names: Vec<&str> =
                    others.iter().chain(&last).map(|tenant| tenant.name.as_str()).collect();
                let names = names.join(", ");
                Err(CommandError::Usage(format!("say with --tenant NAME which tenant; there is {names}")))
            }
        }
    }

    /// The selected tenant's name, if one was selected.
    #[must_use]
    pub fn name(&self) -> Option<TenantId> {
        self.tenant.as_deref().map(TenantId::from)
    }
}
