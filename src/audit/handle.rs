//! The audit as the daemon uses it: from many tasks at once, and without holding up any of them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::{AuditError, Entry, Link, Log};
use crate::model::Timestamp;

/// The one audit of this process; cheap to clone. Only the owner of the database may open it.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Mutex<Log>>);

impl Audit {
    /// Like [`Log::open`].
    ///
    /// # Errors
    /// Like [`Log::open`].
    pub async fn open(
        path: PathBuf,
        max_bytes: u64,
        remembered: Option<Link>,
        now: Timestamp,
    ) -> Result<Self, AuditError> {
        let log = spawn_blocking(move || Log::open(&path, max_bytes, remembered, now)).await??;
        Ok(Self(Arc::new(Mutex::new(log))))
    }

    /// Like [`Log::append`]. When it answers, the lines are on the disk. A caller who does not wait for the answer
    /// cannot know: the lines are written as a whole or not at all.
    ///
    /// # Errors
    /// Like [`Log::append`].
    pub async fn record(&self, entries: Vec<Entry>, now: Timestamp) -> Result<Link, AuditError> {
        let mut log = Arc::clone(&self.0).lock_owned().await;
        spawn_blocking(move || log.append(&entries, now)).await?
    }

    /// The last line that was written.
    pub async fn head(&self) -> Link {
        self.0.lock().await.head()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures_util::future::join_all;

    use super::*;
    use crate::audit::verify;

    #[tokio::test]
    async fn many_tasks_write_one_chain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(path.clone(), 2000, None, Timestamp::EPOCH).await.unwrap();
        let entry =
            || Entry::StateReset { tenant: "acme".into(), what: "watermark".to_owned(), operator: None };
        let records = (0..20).map(|_| {
            let audit = audit.clone();
            async move { audit.record(vec![entry(), entry()], Timestamp::EPOCH).await.unwrap().seq }
        });
        let seqs: BTreeSet<u64> = join_all(records).await.into_iter().collect();
        assert_eq!(seqs.len(), 20);
        let report = verify(&path, Some(audit.head().await)).unwrap();
        assert_eq!((report.breaches, report.head), (vec![], Some(audit.head().await)));
        assert!(report.files.len() > 1);
        let lines: u64 = report.files.iter().map(|file| file.lines - 1).sum();
        assert_eq!(lines, 40, "besides the first line of each file");
    }
}
