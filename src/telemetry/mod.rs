//! Logs, traces and metrics: one line on stdout for each thing that happened, and OpenTelemetry spans and
//! gauges over OTLP where a collector is configured. docs/LOGGING.md is the operator's side of it.
//!
//! Only `main` starts and stops it. It decides nothing, and the daemon never waits for it: a collector
//! that is down loses spans and metrics, a closed stdout loses lines.

pub mod context;
mod environment;
mod export;
pub mod field;
mod filter;
mod line;
pub mod metrics;
mod otlp;
pub mod redact;
pub mod span;
mod subscriber;

use std::io::{self, IsTerminal};
use std::thread;

use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::clock::Clock;

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One flat JSON object on each line.
    Json,
    /// For people: time, level, target, message, then `name=value`.
    Text,
}

/// What the command line says about logs.
#[derive(Clone, Debug)]
pub struct Options {
    /// `None`: text on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
    /// What rosterd's own targets log: `info`, or `info,rosterd::deliver=debug`. Empty means `info`.
    /// Other crates never log more than warnings, whatever it says.
    pub level: String,
    /// Log to stderr, because stdout belongs to the answer of a one-shot command.
    pub stderr: bool,
}

/// Why telemetry could not start. All of them are faults of the configuration (exit code 78) but
/// [`TelemetryError::Runtime`] and [`TelemetryError::Installed`].
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter text makes no sense.
    #[error(
        "log level: {directive:?} is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL, \
         as in info,rosterd::deliver=debug"
    )]
    Level {
        /// The part of the text that makes no sense.
        directive: String,
    },
    /// One of the `OTEL_*` variables cannot be used. The value is not repeated: it may hold a secret.
    #[error("environment variable {name}: {reason}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The exporter of the SDK refuses what the variables say.
    #[error(
        "traces and metrics cannot be exported: {0}; unset OTEL_EXPORTER_OTLP_ENDPOINT to run without them"
    )]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The thread of a gRPC exporter did not start.
    #[error("the thread that exports traces or metrics did not start: {0}")]
    Runtime(#[source] io::Error),
    /// Telemetry is started once for a process.
    #[error("another log subscriber is installed already")]
    Installed,
}

/// Keeps telemetry running. Dropping it flushes what is waiting, as [`Telemetry::shutdown`] does, so
/// that an early return loses nothing.
#[derive(Debug)]
#[must_use = "dropping it ends the export"]
pub struct Telemetry {
    traces: Option<otlp::Traces>,
    metrics: Option<otlp::Metrics>,
}

/// Installs the log subscriber and, where `OTEL_EXPORTER_OTLP_ENDPOINT` or its `_TRACES_` or
/// `_METRICS_` form is set, the export of traces and metrics. It works inside and outside an async runtime. The TLS provider of the process
/// has to be installed before.
///
/// # Errors
/// When the filter or an `OTEL_*` variable cannot be used, or when it is called twice.
pub fn init(options: &Options) -> Result<Telemetry, TelemetryError> {
    let filter = filter::parse(&options.level)?;
    let (traces, metrics) = match environment::read(&|name| std::env::var_os(name))? {
        Some(settings) => {
            let resource = otlp::resource(settings.resource);
            let traces = settings.traces.map(|how| otlp::Traces::start(how, resource.clone())).transpose()?;
            let metrics = settings.metrics.map(|how| otlp::Metrics::start(how, resource)).transpose()?;
            (traces, metrics)
        }
        None => (None, None),
    };
    let lines = subscriber::Lines::new(writer(options), style(options), Clock::system());
    let stack = subscriber::build(lines, filter, traces.as_ref().map(otlp::Traces::tracer));
    tracing::dispatcher::set_global_default(stack).map_err(|_| TelemetryError::Installed)?;
    Ok(Telemetry { traces, metrics })
}

impl Telemetry {
    /// What is measured; `None` when no metrics are exported.
    #[must_use]
    pub fn gauges(&self) -> Option<metrics::Gauges> {
        self.metrics.as_ref().map(otlp::Metrics::gauges)
    }

    /// Sends the spans and the metrics that are waiting and stops, within five seconds. It blocks the
    /// thread: call it last of all and outside the runtime's tasks. Logs go on working after it.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let (traces, metrics) = (self.traces.take(), self.metrics.take());
        // Beside one another: a collector that hangs takes the time of one.
        thread::scope(|scope| {
            if let Some(metrics) = metrics {
                scope.spawn(|| metrics.stop(otlp::SHUTDOWN_LIMIT));
            }
            if let Some(traces) = traces {
                traces.stop(otlp::SHUTDOWN_LIMIT);
            }
        });
    }
}

fn writer(options: &Options) -> BoxMakeWriter {
    if options.stderr { BoxMakeWriter::new(io::stderr) } else { BoxMakeWriter::new(io::stdout) }
}

fn style(options: &Options) -> line::Style {
    let terminal = if options.stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
    let format = options.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match format {
        LogFormat::Json => line::Style::Json,
        LogFormat::Text => line::Style::Text { colour: terminal && !no_color },
    }
}
