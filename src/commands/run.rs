//! `rosterd run`: the daemon.

use super::{CommandError, Exit};
use crate::config::{self, Sources};
use crate::daemon::{self, Ended, Parts, Signals};
use crate::telemetry::metrics::Gauges;

/// Runs the daemon until a signal ends it. SIGHUP reads `sources` again. It measures to
/// `gauges`, if there are any.
///
/// # Errors
/// When the configuration is wrong, or the daemon cannot start.
pub async fn run(sources: &Sources, gauges: Option<Gauges>) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let reload = || config::load(sources).map_err(|faults| faults.to_string().replace('\n', "; "));
    let parts = Parts { gauges, ..Parts::default() };
    let ended = daemon::run(settings, &reload, Signals::listen()?, &parts).await?;
    tracing::info!("stopped");
    Ok(match ended {
        Ended::Stopped => Exit::Done,
        Ended::Cut | Ended::Died => Exit::Failed,
    })
}
