//! `rosterd run`: the daemon.

use super::Exit;
use super::{complain, failure};
use crate::config::{self, Sources};
use crate::daemon::{self, Ended, Parts, Signals};

/// Runs the daemon until a signal ends it. SIGHUP reads `sources` again.
pub async fn run(sources: &Sources) -> Exit {
    let settings = match config::load(sources) {
        Ok(settings) => settings,
        Err(faults) => {
            complain(&faults.to_string());
            return Exit::Config;
        }
    };
    let reload = || config::load(sources).map_err(|faults| faults.to_string().replace('\n', "; "));
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("signals cannot be received: {error}"));
            return Exit::Failed;
        }
    };
    match daemon::run(settings, &reload, signals, &Parts::default()).await {
        Ok(Ended::Stopped) => {
            tracing::info!("stopped");
            Exit::Done
        }
        Ok(Ended::Cut | Ended::Died) => Exit::Failed,
        Err(error) => {
            tracing::error!(reason = %error, "rosterd cannot run");
            complain(&error.to_string());
            failure::of_run(&error)
        }
    }
}
