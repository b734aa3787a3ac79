//! A tenant's settings as what the protocol and the source want to know.

use crate::clock::Clock;
use crate::config::{Credentials, TenantSettings};
use crate::scim::{Auth, Client, ClientCredentials, Endpoint, Limiter, http_client};
use crate::source::ListSettings;

/// What Genesys wants bodies to be labelled as.
const CONTENT_TYPE: &str = "application/json";

/// A client for one tenant, with a limiter of its own.
///
/// # Errors
/// When the machine's certificates cannot be read.
pub(super) fn client(settings: &TenantSettings, clock: &Clock) -> Result<Client, reqwest::Error> {
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
pub(super) fn list_settings(settings: &TenantSettings) -> ListSettings {
    let reading = &settings.reading;
    ListSettings {
        filter: reading.filter.clone().map(|filter| (reading.filter_parameter.clone(), filter)),
        page_size: reading.page_size,
        role_attribute: reading.role_attribute,
    }
}
