//! What the HRIS is told of a run, when somebody wants to know: conflicts, rows that failed, and what it came to.
//!
//! It is written down before the run counts as finished, or, of one whose place a newer export took, before that one does; and
//! told once: a restart tells nothing again.

use super::runner::{RunFailure, Runner};
use crate::model::{Outcome, RunKind};
use crate::store::{RowEnd, Run};
use crate::webhook::{Event, News, RowNews};

impl Runner<'_> {
    /// Tells of exports whose place another one has taken, once nothing of them is open any more.
    pub(super) async fn tell_superseded(&self) -> Result<(), RunFailure> {
        for run in self.store.untold_runs(self.tenant).await? {
            self.tell(&run, "superseded by a newer export").await?;
            self.store.run_told(&run).await?;
        }
        Ok(())
    }

    /// Writes down what is to be told of `run`, which has ended in the way that `end` says.
    pub(super) async fn tell(&self, run: &Run, end: &str) -> Result<(), RunFailure> {
        if !self.policy.tell || run.kind != RunKind::Provision {
            return Ok(());
        }
        let at = self.clock.now();
        let event = |news| Event { tenant: self.tenant.clone(), run: run.id, at, news }.message();
        let mut ends = self.store.row_ends(run.id);
        while let Some(rows) = ends.next().await? {
            let messages: Vec<_> = rows.iter().flat_map(news).map(event).collect();
            if !messages.is_empty() {
                self.store.enqueue_webhooks(self.tenant, &messages, at).await?;
            }
        }
        let counts = self.store.run_counts(run.id).await?;
        let details = format!("{} of {}: {end}", run.kind, run.file);
        let counts = counts.numbers().into_iter().chain([("rows", counts.rows)]).collect();
        let finished = event(News::Finished { details, counts });
        self.store.enqueue_webhooks(self.tenant, &[finished], at).await?;
        Ok(())
    }
}

/// What is to be told of a row, if anything is.
fn news(row: &RowEnd) -> Vec<News> {
    let Some(line) = row.line else { return Vec::new() };
    let told = |details: String| RowNews {
        line,
        external_id: row.external_id.clone(),
        user: row.user.clone(),
        details,
    };
    let mut news = Vec::new();
    if row.conflicted {
        let became = row.outcome.map_or("open", Outcome::as_str);
        news.push(News::Conflict(told(format!("the tenant has this user already; the row is {became}"))));
    }
    if matches!(row.outcome, Some(Outcome::Failed | Outcome::Rejected | Outcome::Unresolved)) {
        let faults = row.rejected.iter().flat_map(|rejected| &rejected.faults);
        let faults: Vec<String> = faults.map(|fault| format!("{}: {}", fault.field, fault.reason)).collect();
        let details = row.reason.clone().unwrap_or_else(|| faults.join("; "));
        news.push(News::RowFailed(told(details)));
    }
    news
}
