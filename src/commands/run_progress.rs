//! How far a run is: a bar that is drawn anew on a terminal, a plain line now and then elsewhere. On stderr: standard output
//! is for the answer.

use std::io::{IsTerminal as _, stderr};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::complain;
use crate::clock::Clock;
use crate::model::counted;
use crate::store::{Run, RunCounts, Store};

/// The bar is drawn this often.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// Between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// The progress of one run.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// When the last plain line was written; nothing is, when somebody reads JSON on a terminal of his own.
    plain: Option<Mutex<Option<Instant>>>,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let terminal = stderr().is_terminal();
        let target =
            if terminal && !quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} rows {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar, plain: (!terminal && !quiet).then(Mutex::default) }
    }

    /// So many rows of the file were read.
    pub(super) fn read(&self, rows: u64) {
        self.bar.set_length(rows);
        self.bar.set_message(format!("{} read and checked", counted(rows, "row", "rows")));
        self.bar.tick();
    }

    /// Shows how far `run` is until `work` has ended.
    pub(super) async fn beside<T>(
        &self,
        store: &Store,
        run: &Run,
        clock: &Clock,
        work: impl Future<Output = T>,
    ) -> T {
        let began = clock.instant();
        let showing = async {
            let before = store.run_counts(run.id).await.map(|counts| done(&counts)).unwrap_or_default();
            loop {
                if let Ok(counts) = store.run_counts(run.id).await {
                    let now = clock.instant();
                    self.show(&counts, before, now.saturating_duration_since(began), now);
                }
                clock.sleep(DRAW_EVERY).await;
            }
        };
        tokio::select! {
            ended = work => ended,
            never = showing => never,
        }
    }

    fn show(&self, counts: &RunCounts, before: u64, took: Duration, now: Instant) {
        let done = done(counts);
        #[expect(clippy::cast_precision_loss, reason = "rows are far below 2^52")]
        let rate = done.saturating_sub(before) as f64 / took.as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "rows are far below 2^52")]
        let left = if rate > 0.0 { Some((counts.open + counts.unnamed_open) as f64 / rate) } else { None };
        let left = left.and_then(|left| Duration::try_from_secs_f64(left).ok()).map(|left| {
            format!(", {} left", humantime::format_duration(Duration::from_secs(left.as_secs())))
        });
        let line = format!(
            "{} submitted, {} failed, {} rejected, {rate:.0} a second{}",
            counts.planned,
            counts.failed + counts.unresolved,
            counts.rejected,
            left.unwrap_or_default()
        );
        self.bar.set_length(all(counts));
        self.bar.set_position(done);
        self.bar.set_message(line.clone());
        let Some(plain) = &self.plain else { return };
        let Ok(mut last) = plain.lock() else { return };
        if last.is_none_or(|last| now.saturating_duration_since(last) >= PLAIN_EVERY) {
            // The first line would come before anything has happened.
            if last.is_some() {
                complain(&format!("{done} of {} done, {line}", counted(all(counts), "row", "rows")));
            }
            *last = Some(now);
        }
    }

    /// Makes room for the answer.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

const fn done(counts: &RunCounts) -> u64 {
    all(counts).saturating_sub(counts.open + counts.unnamed_open)
}

/// Rows, and users whom none names.
const fn all(counts: &RunCounts) -> u64 {
    counts.rows + counts.unnamed
}
