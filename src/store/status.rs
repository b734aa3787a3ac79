//! Numbers for `status`: read beside the writer, changing nothing.

use super::{Hold, PassRow, Request, Store, StoreError, TenantState, UnfinishedRun, WebhookCounts};
use crate::model::{TenantId, Timestamp};

/// Operations by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationCounts {
    /// Waiting to be sent.
    pub ready: u64,
    /// In flight.
    pub in_flight: u64,
    /// Waiting for a new decision.
    pub stale: u64,
    /// Held by the guard.
    pub held: u64,
    /// Given up.
    pub dead: u64,
    /// Done within the time that finished rows are kept.
    pub done: u64,
}

/// What of one tenant is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Operations by state; those that are done are not counted.
    pub operations: OperationCounts,
    /// What is held.
    pub holds: u64,
    /// Users whose record must be read again.
    pub rereads: u64,
    /// As in [`TenantStatus`].
    pub oldest_unapplied: Option<Timestamp>,
}

/// What `status` says of one tenant.
#[derive(Clone, Debug)]
pub struct TenantStatus {
    /// How far it has been read.
    pub state: TenantState,
    /// Users known.
    pub users: u64,
    /// Operations by state.
    pub operations: OperationCounts,
    /// Operations that were discarded within the time that finished rows are kept, and whose users no pass has read since.
    pub discarded: u64,
    /// When the oldest operation that waits was decided.
    pub oldest_waiting: Option<Timestamp>,
    /// Since when the oldest change has been known that is not in the tenant yet: an operation that waits or is held,
    /// a user who has to be read again, or a run with rows that wait.
    pub oldest_unapplied: Option<Timestamp>,
    /// The last sweep that was committed.
    pub last_sweep: Option<PassRow>,
    /// What is held, oldest first.
    pub holds: Vec<Hold>,
    /// Users whose record must be read again.
    pub rereads: u64,
    /// What operators have asked for and is not done yet, oldest first.
    pub requests: Vec<Request>,
    /// Files that are not carried out to their end.
    pub unfinished: Vec<UnfinishedRun>,
    /// What the receiver of its webhooks does not have.
    pub webhooks: WebhookCounts,
    /// The newest passes, newest first: at most one that runs, and the last few that ended.
    pub passes: Vec<PassRow>,
}

/// When the oldest run of `$1` began that has rows which are not in the tenant, though no operation may say so yet: those that
/// wait, and those that wait for a stopped run to go on.
macro_rules! oldest_run {
    () => {
        "(SELECT min(started_at) FROM runs WHERE tenant = $1 AND state IN ('open', 'stopped') AND (
             EXISTS (SELECT 1 FROM run_rows WHERE run = runs.id AND state = 'waiting' AND outcome IS NULL)
             OR EXISTS (SELECT 1 FROM run_rows WHERE run = runs.id AND state = 'planned' AND outcome IS NULL)
             OR runs.state = 'stopped' AND EXISTS (SELECT 1 FROM run_rows WHERE run = runs.id
                 AND state IN ('waiting', 'planned') AND outcome = 'held')))"
    };
}

impl Store {
    /// What is known of one tenant, in numbers.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn status(&self, tenant: &TenantId, passes: u32) -> Result<TenantStatus, StoreError> {
        self.numbers(tenant, passes).await.map_err(|error| error.of_file(&self.path))
    }

    async fn numbers(&self, tenant: &TenantId, passes: u32) -> Result<TenantStatus, StoreError> {
        type Row = (i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>, i64);
        let (users, rereads, oldest, held, reread, run, discarded): Row = sqlx::query_as(concat!(
            "SELECT coalesce((SELECT users FROM known_users WHERE tenant = $1), 0),
                    (SELECT count(*) FROM rereads WHERE tenant = $1),
                    (SELECT min(created_at) FROM operations WHERE tenant = $1 AND state IN ('ready', 'leased', 'stale')),
                    (SELECT min(created_at) FROM operations WHERE tenant = $1 AND state = 'held'),
                    (SELECT min(since) FROM rereads WHERE tenant = $1), ",
            oldest_run!(),
            ", (SELECT count(*) FROM operations AS old
                     JOIN users ON users.tenant = old.tenant AND users.id = old.user_id
                     WHERE old.tenant = $1 AND old.state = 'discarded' AND users.read_at <= old.finished_at
                         AND NOT EXISTS (SELECT 1 FROM operations AS new WHERE new.tenant = old.tenant
                             AND new.user_id = old.user_id AND new.kind = old.kind AND new.id > old.id))",
        ))
        .bind(tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        Ok(TenantStatus {
            state: self.tenant(tenant).await?,
            users: number(users),
            operations: self.operation_counts(tenant).await?,
            discarded: number(discarded),
            oldest_waiting: oldest.map(Timestamp::from_millis),
            oldest_unapplied: [oldest, held, reread, run]
                .into_iter()
                .flatten()
                .min()
                .map(Timestamp::from_millis),
            last_sweep: self.last_sweep(tenant).await?,
            holds: self.holds(Some(tenant)).await?,
            rereads: number(rereads),
            requests: self.open_requests(tenant).await?,
            unfinished: self.left_of_runs(tenant).await?,
            webhooks: self.webhook_counts(tenant).await?,
            passes: self.passes(tenant, passes).await?,
        })
    }

    /// What of one tenant is not done yet. It looks at open rows only, and may be asked often.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backlog(&self, tenant: &TenantId) -> Result<Backlog, StoreError> {
        let states: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT state, count(*), min(created_at) FROM operations
             WHERE tenant = $1 AND state IN ('ready', 'leased', 'stale', 'held', 'dead') GROUP BY state",
        )
        .bind(tenant.as_str())
        .fetch_all(&self.reader)
        .await?;
        let (holds, rereads, reread, run): (i64, i64, Option<i64>, Option<i64>) = sqlx::query_as(concat!(
            "SELECT (SELECT count(*) FROM holds WHERE tenant = $1 AND decision IS NULL),
                    (SELECT count(*) FROM rereads WHERE tenant = $1),
                    (SELECT min(since) FROM rereads WHERE tenant = $1), ",
            oldest_run!(),
        ))
        .bind(tenant.as_str())
        .fetch_one(&self.reader)
        .await?;
        let of = |state: &str| states.iter().find(|row| row.0 == state).map_or(0, |row| number(row.1));
        // What was given up is no change that anybody still waits for.
        let waiting = states.iter().filter(|row| row.0 != "dead").map(|row| row.2);
        Ok(Backlog {
            operations: OperationCounts {
                ready: of("ready"),
                in_flight: of("leased"),
                stale: of("stale"),
                held: of("held"),
                dead: of("dead"),
                done: 0,
            },
            holds: number(holds),
            rereads: number(rereads),
            oldest_unapplied: waiting.chain(reread).chain(run).min().map(Timestamp::from_millis),
        })
    }

    /// Operations of one tenant, by state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation_counts(&self, tenant: &TenantId) -> Result<OperationCounts, StoreError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT state, count(*) FROM operations WHERE tenant = $1 GROUP BY state")
                .bind(tenant.as_str())
                .fetch_all(&self.reader)
                .await?;
        let of = |state: &str| rows.iter().find(|row| row.0 == state).map_or(0, |row| number(row.1));
        Ok(OperationCounts {
            ready: of("ready"),
            in_flight: of("leased"),
            stale: of("stale"),
            held: of("held"),
            dead: of("dead"),
            done: of("done"),
        })
    }

    /// Operations of `tenant` that were delivered since `since`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delivered_since(&self, tenant: &TenantId, since: Timestamp) -> Result<u64, StoreError> {
        let delivered: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM operations WHERE finished_at >= $2 AND tenant = $1 AND state = 'done'",
        )
        .bind(tenant.as_str())
        .bind(since.millis())
        .fetch_one(&self.reader)
        .await?;
        Ok(number(delivered))
    }
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
