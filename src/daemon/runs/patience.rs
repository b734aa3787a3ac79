//! For how long nothing has moved in a run. It only looks: what that means is for its caller to say.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::{RunCounts, Store, StoreError};

/// How long somebody waits for a run in which nothing moves.
#[derive(Debug)]
pub struct Patience<'a> {
    store: &'a Store,
    run: i64,
    clock: &'a Clock,
    most: Duration,
    last: (RunCounts, Instant),
}

impl<'a> Patience<'a> {
    /// From now on, for `most` at a time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new(
        store: &'a Store,
        run: i64,
        clock: &'a Clock,
        most: Duration,
    ) -> Result<Self, StoreError> {
        let last = (store.run_counts(run).await?, clock.instant());
        Ok(Self { store, run, clock, most, last })
    }

    /// Looks at the run: whether no row has moved for so long.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_over(&mut self) -> Result<bool, StoreError> {
        let counts = self.store.run_counts(self.run).await?;
        let now = self.clock.instant();
        if counts != self.last.0 {
            self.last = (counts, now);
            return Ok(false);
        }
        Ok(now.saturating_duration_since(self.last.1) >= self.most)
    }
}
