//! Live progress: one line that is drawn anew on a terminal, a plain line now and then elsewhere.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::daemon::Watched;
use crate::model::{Timestamp, counted};

/// Between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// The numbers of a moment.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) passes: u64,
    pub(super) users_read: u64,
    pub(super) planned: u64,
    pub(super) delivered: u64,
    pub(super) waiting: u64,
    pub(super) dead: u64,
    calls: u64,
    rate: f64,
    watermark: Option<Timestamp>,
}

impl Snapshot {
    pub(super) fn new(watched: &Watched, waiting: u64, dead: u64) -> Self {
        let vitals = &watched.vitals;
        Self {
            passes: vitals.passes.get(),
            users_read: vitals.users_read.get(),
            planned: vitals.planned.get(),
            delivered: vitals.delivered.get(),
            waiting,
            dead,
            calls: watched.calls(),
            rate: watched.rate(),
            watermark: vitals.watermark(),
        }
    }

    /// What was done in all, as a line.
    pub(super) fn summary(&self, took: Duration) -> String {
        format!(
            "\n{} s: {} read {} and planned {}; {}, {}, {}\n",
            took.as_secs(),
            counted(self.passes, "pass", "passes"),
            counted(self.users_read, "user", "users"),
            counted(self.planned, "operation", "operations"),
            counted(self.delivered, "was delivered", "were delivered"),
            counted(self.waiting, "waits", "wait"),
            counted(self.dead, "is a dead letter", "are dead letters")
        )
    }
}

/// Shows snapshots.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    clock: Clock,
    began: Instant,
    last: Option<(Instant, u64)>,
    used: f64,
    printed: Option<Instant>,
}

impl Progress {
    pub(super) fn new(seconds: u64, clock: Clock) -> Self {
        let began = clock.instant();
        let style = ProgressStyle::with_template("{bar:24} {pos:>3}/{len} s  {msg}");
        let bar = stdout().is_terminal().then(|| {
            ProgressBar::with_draw_target(Some(seconds), ProgressDrawTarget::stdout())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, clock, began, last: None, used: 0.0, printed: None }
    }

    pub(super) fn show(&mut self, snapshot: &Snapshot) {
        let now = self.clock.instant();
        self.measure(now, snapshot.calls);
        let line = self.line(snapshot);
        match &self.bar {
            Some(bar) => {
                bar.set_position(now.saturating_duration_since(self.began).as_secs());
                bar.set_message(line);
            }
            None if self.printed.is_none_or(|at| now.saturating_duration_since(at) >= PLAIN_EVERY) => {
                self.printed = Some(now);
                let seconds = now.saturating_duration_since(self.began).as_secs();
                drop(super::answer(&format!("{seconds:>3} s  {line}\n")));
            }
            None => {}
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }

    /// Calls a second since the last time, if that is long enough ago to tell.
    fn measure(&mut self, now: Instant, calls: u64) {
        const LEAST: Duration = Duration::from_millis(900);
        match self.last {
            Some((at, before)) if now.saturating_duration_since(at) >= LEAST => {
                #[allow(clippy::cast_precision_loss, reason = "a count of calls")]
                let made = calls.saturating_sub(before) as f64;
                self.used = made / now.saturating_duration_since(at).as_secs_f64();
                self.last = Some((now, calls));
            }
            Some(_) => {}
            None => self.last = Some((now, calls)),
        }
    }

    fn line(&self, snapshot: &Snapshot) -> String {
        let age = snapshot.watermark.map_or_else(
            || "none yet".to_owned(),
            |watermark| format!("{:.1} s old", self.clock.now().since(watermark).as_secs_f64()),
        );
        format!(
            "{} read, {} planned, {} delivered, {} waiting, {:.0} of {:.0} calls/s, watermark {age}",
            counted(snapshot.users_read, "user", "users"),
            snapshot.planned,
            snapshot.delivered,
            snapshot.waiting,
            self.used,
            snapshot.rate
        )
    }
}
