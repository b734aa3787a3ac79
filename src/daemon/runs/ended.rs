//! What the log says of a run that has come to an end: how many rows came to what, and whether somebody has to look at them.

use std::collections::BTreeSet;

use tracing::{error, info, warn};

use super::runner::{RunFailure, Runner};
use crate::daemon::report::signed;
use crate::model::RunKind;
use crate::store::Run;
use crate::telemetry;

impl Runner<'_> {
    /// Each row has an outcome; `refused` says that nobody was made inactive, though that was asked for. An export that names
    /// nobody at all is most likely a broken one.
    pub(super) async fn log_finish(&self, run: &Run, refused: bool) -> Result<(), RunFailure> {
        let counts = self.store.run_counts(run.id).await?;
        macro_rules! finished {
            ($level:ident) => {
                $level!(
                    tenant = %run.tenant,
                    run = run.id,
                    kind = run.kind.as_str(),
                    rows = signed(counts.rows),
                    done = signed(counts.done()),
                    skipped = signed(counts.unchanged + counts.skipped),
                    rejected = signed(counts.rejected),
                    unresolved = signed(counts.unresolved),
                    failed = signed(counts.failed),
                    held = signed(counts.held),
                    superseded = signed(counts.superseded),
                    discarded = signed(counts.discarded),
                    "run finished"
                )
            };
        }
        let empty = run.kind == RunKind::Provision && counts.rows == 0;
        if counts.left() > 0 || refused || empty {
            finished!(warn);
        } else {
            finished!(info);
        }
        Ok(())
    }

    /// All that it sends is refused; `run` says why.
    pub(super) async fn log_stop(&self, run: &Run) -> Result<(), RunFailure> {
        let counts = self.store.run_counts(run.id).await?;
        let mut names = BTreeSet::new();
        let mut ends = self.store.row_ends(run.id);
        while let Some(rows) = ends.next().await? {
            names.extend(rows.into_iter().flat_map(|row| row.names));
        }
        let reason = telemetry::redact::text_naming(run.reason.as_deref().unwrap_or_default(), &names);
        error!(
            tenant = %run.tenant,
            run = run.id,
            kind = run.kind.as_str(),
            %reason,
            rows = signed(counts.rows),
            failed = signed(counts.failed),
            held = signed(counts.held),
            "run is stopped"
        );
        Ok(())
    }
}
