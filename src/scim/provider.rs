//! What passes and delivery ask of a tenant: the seam between deciding and the wire.
//!
//! [`Client`](super::Client) is the one that calls; the model test puts a tenant of its own in its place.

use std::fmt::Debug;

use super::client::ListQuery;
use super::patch::Write;
use super::verdict::Failure;
use super::wire::Page;
use crate::model::UserId;

/// A SCIM service provider (RFC 7643 §1.1), as far as rosters need one; cheap to clone.
pub trait ServiceProvider: Clone + Debug + Send + Sync + 'static {
    /// One page of users (RFC 7644 §3.4.2).
    ///
    /// # Errors
    /// When the call fails, or what comes back is no list.
    fn list_users(&self, query: &ListQuery) -> impl Future<Output = Result<Page, Failure>> + Send;

    /// One user's record as bytes (RFC 7644 §3.4.1); a user who is not there is a failure with
    /// [`Verdict::Gone`](super::Verdict::Gone).
    ///
    /// # Errors
    /// When the call fails.
    fn get_user(&self, id: &UserId) -> impl Future<Output = Result<Vec<u8>, Failure>> + Send;

    /// Creates (RFC 7644 §3.3), replaces (§3.5.1) or changes (§3.5.2) a user, only from `version` on if one is given
    /// (§3.14). He who is created has no `id` yet, and none is looked at.
    ///
    /// # Errors
    /// When the call fails.
    fn write_user(
        &self,
        write: Write,
        id: &UserId,
        body: &[u8],
        version: Option<&str>,
    ) -> impl Future<Output = Result<Receipt, Failure>> + Send;

    /// Whether the tenant says that it honours `If-Match` (RFC 7643 §5). Asked when first needed, and again
    /// until there is an answer: a tenant that cannot say, after some tries, does not for the time being.
    ///
    /// # Errors
    /// When no call can be made now.
    fn honours_if_match(&self) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Calls so far that the tenant has understood and answered.
    fn answered(&self) -> u64;
}

/// What remains of a write that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// By which the vendor's support finds the call.
    pub correlation_id: Option<String>,
    /// Who was created; `None` when nobody was, or the answer does not say.
    pub created: Option<UserId>,
}
