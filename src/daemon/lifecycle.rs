//! Signals, and the two ways to stop: softly (finish what is in flight) and at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What is asked of us, by the operating system or by whoever started us.
#[derive(Debug)]
pub struct Signals {
    system: Option<System>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct System {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM or SIGINT.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
}

impl Signals {
    /// From now on the signals of this process come here.
    ///
    /// # Errors
    /// When the operating system does not let us listen.
    pub fn listen() -> io::Result<Self> {
        let system = System {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        };
        Ok(Self { system: Some(system), stop: CancellationToken::new() })
    }

    /// Only `stop` is heard: once, as a signal would be.
    #[must_use]
    pub const fn only(stop: CancellationToken) -> Self {
        Self { system: None, stop }
    }

    /// The next one, whatever it asks.
    pub async fn any(&mut self) {
        self.next().await;
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Asked {
        if let Some(system) = &mut self.system {
            system.next().await
        } else {
            self.stop.cancelled().await;
            self.stop = CancellationToken::new();
            Asked::Stop("asked to")
        }
    }
}

impl System {
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

/// A stop token that the first SIGTERM or SIGINT trips; a second one ends [`StopOnSignal::run`] at once.
#[derive(Debug, Default)]
pub struct StopOnSignal {
    /// Tripped by the first signal.
    pub stop: CancellationToken,
}

impl StopOnSignal {
    /// Runs `work`, which heeds the token; `None` when a second signal ended it.
    ///
    /// # Errors
    /// When the operating system does not let us listen.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> io::Result<Option<T>> {
        let mut signals = Signals::listen()?;
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                Asked::Stop(_) = signals.next() => {
                    if self.stop.is_cancelled() {
                        return Ok(None);
                    }
                    self.stop.cancel();
                }
            }
        }
    }
}
