//! Why a command could not do what it was asked to, and the exit code for it.

use serde_json::{Value, json};

use super::Exit;
use crate::audit::AuditError;
use crate::config::Faults;
use crate::daemon::{AskError, Blame, OpenAuditError, PreviewError, RunError};
use crate::deliver::Trouble;
use crate::store::StoreError;
use crate::telemetry::TelemetryError;

/// Why a command failed. `main` shows the text; nothing has been said yet.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] Faults),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The audit cannot be opened.
    #[error(transparent)]
    OpenAudit(#[from] OpenAuditError),
    /// The daemon cannot run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No such plan is held.
    #[error("{0}")]
    NotHeld(String),
    /// There is nothing by that name or number.
    #[error("{0}")]
    Unknown(String),
    /// Logs, traces or metrics cannot be told as the environment has it.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A second signal did not wait for the end.
    #[error("stopped at once; what was asked for may still be done")]
    Cut,
    /// What was asked of the owner of the database did not come about.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A tenant cannot be planned for.
    #[error("{tenant}: {error}")]
    Preview {
        /// Its name.
        tenant: String,
        /// Why.
        error: Box<PreviewError>,
    },
    /// What was asked for makes no sense, or names a file that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// No client could be made.
    #[error("no HTTPS client: {0}; are the CA certificates installed?")]
    Client(#[from] reqwest::Error),
    /// The operating system said no.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl CommandError {
    /// How the command ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Ask(error) => of_blame(error.blame()),
            Self::Preview { error, .. } => match &**error {
                PreviewError::Pass(error) => of_blame(error.blame()),
                PreviewError::Client(_) | PreviewError::Store(_) => Exit::Failed,
            },
            Self::Config(_)
            | Self::Telemetry(
                TelemetryError::Level { .. } | TelemetryError::Variable { .. } | TelemetryError::Exporter(_),
            ) => Exit::Config,
            Self::Telemetry(TelemetryError::Runtime(_) | TelemetryError::Installed)
            | Self::Store(_)
            | Self::NotHeld(_)
            | Self::Unknown(_)
            | Self::Cut
            | Self::Audit(_)
            | Self::OpenAudit(_)
            | Self::Run(_)
            | Self::Client(_)
            | Self::System(_)
            | Self::Other(_) => Exit::Failed,
        }
    }
}

impl CommandError {
    /// For scripts: `exit_code` and `message`, and the `faults` of a configuration.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = told(self.exit(), &self.to_string());
        if let Self::Config(faults) = self {
            value["faults"] = json!(faults);
        }
        value
    }
}

/// The same where nothing is known but the text.
pub(super) fn told(exit: Exit, message: &str) -> Value {
    json!({ "exit_code": exit.code(), "message": message })
}

/// How a command ends whose pass came to nothing.
pub(super) const fn of_blame(blame: Blame) -> Exit {
    match blame {
        Blame::Refused => Exit::Refused,
        Blame::Unreachable => Exit::Unavailable,
        Blame::Request => Exit::Usage,
        Blame::Other => Exit::Failed,
    }
}

/// How a command ends that leaves a tenant in trouble with something to be sent.
pub(super) const fn of_trouble(trouble: Option<Trouble>) -> Option<Exit> {
    match trouble {
        Some(Trouble::Unauthorized | Trouble::Forbidden) => Some(Exit::Refused),
        Some(Trouble::Outage) => Some(Exit::Unavailable),
        Some(Trouble::Rejected | Trouble::Gone | Trouble::Ignored) | None => None,
    }
}
