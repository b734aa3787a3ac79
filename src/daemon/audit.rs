//! The audit of the one owner of the database: it goes on from the last line that the database knows of.

use crate::audit::{Audit, AuditError, Hash, Link};
use crate::config::AuditSettings;
use crate::model::Timestamp;
use crate::store::{Store, StoreError};

/// Why the audit could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenAuditError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Opens it. Only the owner of the database may.
///
/// # Errors
/// When the database or the file cannot be used.
pub async fn open_audit(
    settings: &AuditSettings,
    store: &Store,
    now: Timestamp,
) -> Result<Audit, OpenAuditError> {
    let remembered = audit_head(store).await?;
    Ok(Audit::open(settings.path.clone(), settings.max_bytes, remembered, now).await?)
}

/// The last line of the audit that the database knows of.
///
/// # Errors
/// When the database fails.
pub async fn audit_head(store: &Store) -> Result<Option<Link>, StoreError> {
    let head = store.audit_head().await?;
    Ok(head.and_then(|head| Some(Link { seq: head.seq, hash: Hash::parse(&head.hash)? })))
}
