//! A simulated tenant that speaks the contract, with faults on command: for `demo`, for
//! `practice-tenant`, and for the tests.
//!
//! Real HTTP on loopback, nothing on disk, everything from a seed. It never listens anywhere but on
//! 127.0.0.1, and it keeps no secret: everybody on this machine may read and change it.

mod answer;
mod attribute_keys;
mod bucket;
mod bulk;
mod control;
mod creates;
mod directory;
mod faults;
mod filter;
mod front;
mod list;
mod net;
mod oauth;
mod patch;
mod path;
mod population;
mod projection;
mod record;
mod resources;
mod route;
mod schema;
mod stats;
mod tenant;
mod webhooks;

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use bulk::BulkMode;
pub use creates::Creates;
pub use faults::{Fault, Faults, WrongFault};
pub use population::{mapping, roles};
pub use stats::{BulkCounts, Stats};
pub use tenant::{NoSuchUser, NumberTaken, Tenant};
pub use webhooks::Webhook;

use crate::clock::Clock;

/// Id and secret of the one client, unless the options say otherwise. Well known on purpose.
pub const CLIENT: &str = "practice";

/// What a practice tenant is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 for a free one.
    pub port: u16,
    /// How many users there are at the start.
    pub users: usize,
    /// Users, ids, tokens and faults follow from it.
    pub seed: u64,
    /// Calls a second that are allowed, above 0; `None` for no limit. Token calls count.
    pub rate_per_second: Option<f64>,
    /// Calls at once that are allowed after a quiet time, at least 1.
    pub burst: u32,
    /// How long a token is valid.
    pub token_lifetime: Duration,
    /// The most resources on a page, and how many are on it when nothing is asked for; at least 1.
    pub page_cap: usize,
    /// The client that gets tokens.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// How long each call takes at least.
    pub latency: Duration,
    /// Whether resources carry a version and `If-Match` is honoured.
    pub etag: bool,
    /// How bulk requests are answered.
    pub bulk: BulkMode,
    /// How often a bulk job has to be asked for until it is done, at least 1.
    pub bulk_polls: u32,
    /// The most operations in a bulk request, at least 1.
    pub bulk_max_operations: usize,
    /// The longest body of a bulk request in bytes, at least 1.
    pub bulk_max_payload: usize,
    /// The keys that custom attributes can have; none for any.
    pub attribute_keys: Vec<String>,
    /// What goes wrong from the start.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            users: 500,
            seed: 1,
            rate_per_second: None,
            burst: 10,
            token_lifetime: Duration::from_hours(1),
            page_cap: 100,
            client_id: CLIENT.to_owned(),
            client_secret: SecretString::from(CLIENT),
            latency: Duration::ZERO,
            etag: true,
            bulk: BulkMode::Jobs,
            bulk_polls: 1,
            bulk_max_operations: 100,
            bulk_max_payload: 1 << 20,
            attribute_keys: Vec::new(),
            faults: Faults::default(),
        }
    }
}

impl Options {
    fn check(&self) -> io::Result<()> {
        let wrong = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if self.rate_per_second.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return wrong("the rate of a practice tenant must be above 0 calls a second".to_owned());
        }
        if self.burst == 0 || self.page_cap == 0 {
            return wrong("the burst and the page cap of a practice tenant must be at least 1".to_owned());
        }
        if self.bulk_polls == 0 || self.bulk_max_operations == 0 || self.bulk_max_payload == 0 {
            return wrong("the bulk limits of a practice tenant must be at least 1".to_owned());
        }
        self.faults.check().or_else(|why| wrong(why.to_string()))
    }
}

/// A running practice tenant; it stops when it is dropped, and properly with [`Practice::stop`].
#[derive(Debug)]
pub struct Practice {
    tenant: Tenant,
    server: JoinSet<io::Result<()>>,
    stop: DropGuard,
}

/// Starts a practice tenant. Its dates, its `Date` header and the life of its tokens follow `clock`.
///
/// # Errors
/// When the port is taken, or an option is out of its range.
pub async fn start(options: Options, clock: Clock) -> io::Result<Practice> {
    options.check()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let tenant = Tenant::new(options, clock, origin, stop.clone()).map_err(io::Error::other)?;
    let app = Router::new().fallback(front::front).with_state(tenant.clone());
    let door = net::Door::new(listener, stop.clone());
    let serve = axum::serve(door, app.into_make_service_with_connect_info::<net::Fuse>())
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let mut server = JoinSet::new();
    server.spawn(serve.into_future());
    Ok(Practice { tenant, server, stop: stop.drop_guard() })
}

impl Practice {
    /// The SCIM base, without a trailing slash: `http://127.0.0.1:PORT/api/v2/scim/v2`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("{}{}", self.tenant.origin(), route::VIEW_V2)
    }

    /// Where tokens come from: `http://127.0.0.1:PORT/oauth/token`.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}{}", self.tenant.origin(), route::TOKEN)
    }

    /// The address of the controls: `http://127.0.0.1:PORT/practice`.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("{}/practice", self.tenant.origin())
    }

    /// The tenant, to look at and to change as HR would.
    #[must_use]
    pub const fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Stops listening, drops what is in flight, and returns when every connection is closed.
    pub async fn stop(mut self) {
        self.stop.disarm().cancel();
        while let Some(ended) = self.server.join_next().await {
            if let Err(error) = ended.map_err(io::Error::other).flatten() {
                tracing::error!(%error, "the practice tenant did not end well");
            }
        }
    }
}
