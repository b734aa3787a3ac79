//! `rosterd demo`: a practice tenant, the real daemon on it, and somebody in HR who keeps changing roles.
//!
//! Everything is in this process and in one temporary folder, and goes with it.

mod check;
mod hr;
mod progress;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::OnceCell;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::{answer, complain};
use crate::config::{self, Settings, Sources};
use crate::daemon::{self, Ended, Parts, Signals, Watch};
use crate::model::{TenantId, counted};
use crate::practice::{self, Options, Practice};
use crate::store::Store;

use check::Verified;
use hr::Hr;
use progress::{Progress, Snapshot};

/// Run the daemon on a practice tenant, with live progress, and check the result
#[derive(Args, Clone, Copy, Debug)]
pub struct DemoArgs {
    /// How many users the tenant has
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: u32,
    /// How long it runs; the last fifth is left to the daemon alone
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// The tenant's name in the configuration of the demo.
const TENANT: &str = "practice";
/// After the end the daemon gets this long to finish what is still to be done.
const SETTLE: Duration = Duration::from_mins(2);
/// Progress is shown this often.
const SHOW: Duration = Duration::from_secs(1);

/// Runs the demo.
///
/// # Errors
/// When the practice tenant or the daemon cannot start.
pub async fn run(args: DemoArgs) -> anyhow::Result<Exit> {
    let parts = Parts::default();
    let folder = tempfile::Builder::new().prefix("rosterd-demo-").tempdir().context("no temporary folder")?;
    let users = usize::try_from(args.users)?;
    // Small tenants get the rate of the documents; large ones one at which the first sweep ends in time.
    let rate = f64::from(args.users / 10).max(50.0);
    let options = Options { users, rate_per_second: Some(rate), burst: 20, ..Options::default() };
    let practice =
        practice::start(options, parts.clock.clone()).await.context("the practice tenant did not start")?;
    let settings = settings(&practice, folder.path(), rate)?;
    let database = settings.store.clone();
    answer(&format!(
        "{} at {}, {rate} calls a second allowed; Ctrl-C ends the demo\n",
        counted(users, "user", "users"),
        practice.base_url()
    ))?;
    let before = check::unmanaged(practice.tenant());
    let stop = CancellationToken::new();
    let reload = || Err("the demo has no file to reload".to_owned());
    let daemon = daemon::run(settings, &reload, Signals::only(stop.clone()), &parts);
    let signals = Signals::listen().context("signals cannot be received")?;
    let board = Board { database, store: OnceCell::new(), watch: parts.watch.clone() };
    let show = async {
        let shown = show(args, &practice, &parts, &board, signals).await;
        board.close().await;
        stop.cancel();
        shown
    };
    let (ended, shown) = tokio::join!(daemon, show);
    let verified = check::verify(practice.tenant(), &practice::mapping(), &before);
    let stats = practice.tenant().stats();
    practice.stop().await;
    folder.close().context("the temporary folder cannot be removed")?;
    let ended = ended?;
    let (mut summary, changes) = shown?;
    let _ = writeln!(
        summary,
        "{} in HR; the tenant saw {}, {} of them one too many (429), and {} that changed nothing",
        counted(changes, "role change", "role changes"),
        counted(stats.requests.values().sum::<u64>(), "call", "calls"),
        stats.rate_limited,
        counted(stats.patches_without_effect, "PATCH", "PATCHes"),
    );
    answer(&(summary + &verified.to_text()))?;
    if ended != Ended::Stopped {
        complain("the daemon did not end in order");
    }
    Ok(if verified.right() && ended == Ended::Stopped { Exit::Done } else { Exit::Failed })
}

/// Shows progress while HR changes roles, until the time is over or Ctrl-C; then until all is delivered.
async fn show(
    args: DemoArgs,
    practice: &Practice,
    parts: &Parts,
    board: &Board,
    mut signals: Signals,
) -> anyhow::Result<(String, u64)> {
    let began = parts.clock.instant();
    let whole = Duration::from_secs(args.seconds);
    let mut progress = Progress::new(args.seconds, parts.clock.clone());
    let mut hr = Hr::new(practice.tenant().clone(), parts.chance);
    let working = async {
        let changing = async {
            loop {
                sleep(hr::BETWEEN_CHANGES).await;
                hr.change_one();
            }
        };
        drop(timeout(whole.mul_f64(0.8), changing).await);
        sleep_until(began + whole).await;
    };
    let watching = watch(&mut progress, board);
    tokio::select! {
        () = working => {}
        () = signals.any() => complain("ending: the daemon finishes first; once more breaks it off"),
        failed = watching => return Err(failed),
    }
    let settling = settled(&mut progress, board);
    let last = tokio::select! {
        last = timeout(SETTLE, settling) => last.unwrap_or_else(|_| Err(anyhow::anyhow!("changes are still waiting after {} s", SETTLE.as_secs()))),
        () = signals.any() => Err(anyhow::anyhow!("broken off")),
    };
    progress.finish();
    let summary = last?.summary(parts.clock.instant().saturating_duration_since(began));
    Ok((summary, hr.changes()))
}

/// Shows progress for as long as it is let; comes back only when it fails.
async fn watch(progress: &mut Progress, board: &Board) -> anyhow::Error {
    loop {
        match board.snapshot().await {
            Ok(Some(snapshot)) => progress.show(&snapshot),
            Ok(None) => {}
            Err(error) => return error,
        }
        sleep(SHOW).await;
    }
}

/// Waits until two passes after another found nothing to do and nothing waits.
async fn settled(progress: &mut Progress, board: &Board) -> anyhow::Result<Snapshot> {
    let mut since: Option<Snapshot> = None;
    loop {
        if let Some(now) = board.snapshot().await? {
            progress.show(&now);
            let quiet = since.as_ref().is_some_and(|since| since.planned == now.planned) && now.waiting == 0;
            match &since {
                Some(since) if quiet && now.passes >= since.passes + 2 => return Ok(now),
                Some(_) if quiet => {}
                _ => since = Some(now),
            }
        }
        sleep(SHOW / 4).await;
    }
}

/// Where the numbers stand: in the daemon, and in its database once there is one.
struct Board {
    database: PathBuf,
    store: OnceCell<Store>,
    watch: Watch,
}

impl Board {
    /// The numbers of the moment; `None` before the daemon has made its database.
    async fn snapshot(&self) -> anyhow::Result<Option<Snapshot>> {
        let tenant = TenantId::from(TENANT);
        let Some(watched) = self.watch.tenant(&tenant) else { return Ok(None) };
        let store = self.store.get_or_try_init(|| Store::beside(&self.database)).await?;
        let (operations, waiting) = (store.operation_counts(&tenant).await?, store.open_work(&tenant).await?);
        Ok(Some(Snapshot::new(&watched, waiting, operations.dead)))
    }

    /// Closes the database, so that its folder can go.
    async fn close(&self) {
        if let Some(store) = self.store.get() {
            store.close().await;
        }
    }
}

fn settings(practice: &Practice, folder: &Path, rate: f64) -> anyhow::Result<Settings> {
    let file = folder.join("rosterd.toml");
    let toml = toml::to_string(&serde_json::json!({
        "store": { "url": format!("sqlite://{}", folder.join("rosterd.db").display()) },
        "audit": { "path": folder.join("audit.jsonl") },
        "tenants": { TENANT: {
            "profile": "genesys-scim",
            "base_url": practice.base_url(),
            "token_url": practice.token_url(),
            "client_id": { "env": "PRACTICE_CLIENT_ID" },
            "client_secret": { "env": "PRACTICE_CLIENT_SECRET" },
            "schedule": "* * * * * *",
            "overlap": "2s",
            "delivery": { "rate_per_second": rate, "burst": 20 },
            // HR changes more people in half a minute than anywhere else in a year.
            "guard": { "max_removals_percent": 100, "max_changes_percent": 100 },
            "mapping": practice::mapping().rules(),
        }},
    }))?;
    std::fs::write(&file, toml).context("the configuration of the demo cannot be written")?;
    let secrets = ["PRACTICE_CLIENT_ID", "PRACTICE_CLIENT_SECRET"];
    let env = secrets.map(|name| (name.to_owned(), practice::CLIENT.to_owned())).into();
    Ok(config::load(&Sources { files: vec![file], env })?)
}

impl Verified {
    fn to_text(&self) -> String {
        let mut text = format!(
            "{} of {} users are in exactly the teams that their roles ask for\n",
            self.users - self.wrong.len(),
            self.users
        );
        text.push_str(match self.touched.len() {
            0 => "no membership in an unmanaged team was touched\n",
            _ => "memberships in unmanaged teams were touched\n",
        });
        for user in self.wrong.iter().chain(&self.touched).take(10) {
            let _ = writeln!(text, "  wrong: {user}");
        }
        text
    }
}
