//! The protocol as if it were a library: SCIM 2.0 (RFC 7643, RFC 7644) and the tenant's token endpoint.
//!
//! It paces calls, proves who we are and says what an answer means. It repeats nothing but the one call
//! that a fresh token may save: repeating is decided by those who call.

mod answer;
mod auth;
mod backoff;
mod bulk;
mod client;
mod headers;
mod http;
mod limiter;
mod pacer;
mod patch;
mod provider;
mod reason;
mod verdict;
mod wire;

pub use auth::{Auth, ClientCredentials, TokenAuth};
pub use backoff::backoff;
pub use bulk::{BulkAnswer, BulkOperation, BulkResult, BulkState, BulkSupport, bulk_body};
pub use client::{Client, Endpoint, ListQuery};
pub use headers::retry_after;
pub use http::{http_client, transport_reason};
pub use limiter::Limiter;
pub use patch::{Write, replacement, write_of};
pub use provider::{Receipt, ServiceProvider};
pub use verdict::{Failure, Verdict};
pub use wire::{Page, Record, RoleAttribute, Unreadable, read_record, read_user};
