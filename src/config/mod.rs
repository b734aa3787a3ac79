//! Files and environment → validated settings.

mod settings;

pub use settings::{
    Cadence, Credentials, DeliverySettings, GuardSettings, Profile, Reading, RoleAttribute, Settings,
    TenantSettings, TokenAuth,
};
