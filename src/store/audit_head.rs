//! `audit_head`: the last line of the audit that the database knows of. The audit may be ahead of it, never behind.

use sqlx::SqliteConnection;

use super::{Store, StoreError};

/// A line of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Its number, from 1.
    pub seq: u64,
    /// Its hash, 64 hexadecimal digits.
    pub hash: String,
}

impl Store {
    /// The last line that the database knows of; `None` before the first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_head(&self) -> Result<Option<AuditHead>, StoreError> {
        let row: Option<(i64, String)> =
            sqlx::query_as("SELECT seq, hash FROM audit_head").fetch_optional(&self.reader).await?;
        Ok(row.map(|(seq, hash)| AuditHead { seq: u64::try_from(seq).unwrap_or(0), hash }))
    }

    /// Remembers a line, unless a later one is known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remember_audit(&self, head: &AuditHead) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        remember(&mut tx, head).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Remembers a line, unless a later one is known: tenants write side by side.
pub(super) async fn remember(tx: &mut SqliteConnection, head: &AuditHead) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO audit_head (one, seq, hash) VALUES (1, $1, $2)
         ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash WHERE excluded.seq > seq",
    )
    .bind(i64::try_from(head.seq).unwrap_or(i64::MAX))
    .bind(&head.hash)
    .execute(tx)
    .await?;
    Ok(())
}
