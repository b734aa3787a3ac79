//! rosterd: parse, telemetry, command, exit code. Telemetry is flushed on every path.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rosterd::commands::apply::ApplyArgs;
use rosterd::commands::approve::DigestArgs;
use rosterd::commands::attributes::AttributesArgs;
use rosterd::commands::audit::AuditCommand;
use rosterd::commands::config::ConfigCommand;
use rosterd::commands::dead_letters::DeadLettersCommand;
use rosterd::commands::demo::DemoArgs;
use rosterd::commands::explain::ExplainArgs;
use rosterd::commands::plan::PlanArgs;
use rosterd::commands::practice_tenant::PracticeTenantArgs;
use rosterd::commands::provision::ProvisionArgs;
use rosterd::commands::state::StateCommand;
use rosterd::commands::status::StatusArgs;
use rosterd::commands::sync::SyncArgs;
use rosterd::commands::{
    CommandError, Exit, answer_failure, apply, approve, attributes, audit, config, dead_letters, demo,
    explain, fail, plan, practice_tenant, provision, run, state, status, sync,
};
use rosterd::config::Sources;
use rosterd::telemetry::metrics::Gauges;
use rosterd::telemetry::{self, LogFormat, TelemetryError};

/// Keeps the team rosters of a contact centre in step with HR
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    /// Configuration file; several are laid over one another [default: ./rosterd.toml, then /etc/rosterd/rosterd.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// How log lines are written [default: text on a terminal, JSON otherwise]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged: a level, or TARGET=LEVEL, or several with commas between
    /// [default: `RUST_LOG`, then info; error for the demo]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon: passes on their schedules, delivery all the time
    Run,
    Sync(SyncArgs),
    Plan(PlanArgs),
    Apply(ApplyArgs),
    Provision(ProvisionArgs),
    Attributes(AttributesArgs),
    Status(StatusArgs),
    Explain(ExplainArgs),
    /// Send what is held of a plan that the guard has stopped
    Approve(DigestArgs),
    /// Drop what is held of a plan that the guard has stopped
    Discard(DigestArgs),
    /// Operations that were given up: look at them, send them again, give them up for good
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// What the database knows: save a copy of it, or forget some of it
    #[command(subcommand)]
    State(StateCommand),
    /// The record of every change and decision: is it what was written?
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    Demo(DemoArgs),
    PracticeTenant(PracticeTenantArgs),
}

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed; `audit verify` found the chain broken
  2   `plan`, or `--plan`, found changes that would be sent
  3   done, but something is left: dead letters, held or still waiting operations, users or lists that could not be
      read properly, users whom `apply` refused; rows of a file that were rejected, failed, dropped by an operator,
      or mean nobody (with `--plan`, that would be), and a run that was interrupted, stopped or superseded; a `plan`
      that found nothing but what is held or a dead letter already
  64  wrong usage; a file that was named cannot be used
  69  the tenant cannot be reached
  77  the tenant refuses us
  78  wrong configuration, `RUST_LOG` and the `OTEL_…` variables included";

/// The runtime gets at least this many threads, so that one busy task never holds up all others.
const LEAST_THREADS: usize = 2;

fn main() -> ExitCode {
    let as_json = asks_for_json(std::env::args_os());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            if !error.use_stderr() {
                return Exit::Done.into();
            }
            if as_json {
                let text = error.to_string();
                let text = text.strip_prefix("error: ").unwrap_or(&text);
                answer_failure(&CommandError::Usage(text.trim_end().to_owned()));
            }
            return Exit::Usage.into();
        }
    };
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail(&anyhow::anyhow!("another TLS provider is installed").into(), as_json).into();
    }
    let telemetry = match start_telemetry(&cli) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(&error, as_json).into(),
    };
    let ended = execute(cli.command, &Sources::from_process(cli.config), telemetry.gauges());
    let exit = ended.unwrap_or_else(|error| fail(&error, as_json));
    telemetry.shutdown();
    exit.into()
}

/// The command shall write JSON. Whoever has mistyped something else gets JSON, too.
fn asks_for_json(mut arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.by_ref().take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// A level that makes no sense is wrong usage where it stands on the command line, and wrong configuration in `RUST_LOG`.
fn start_telemetry(cli: &Cli) -> Result<telemetry::Telemetry, CommandError> {
    let of_environment = || std::env::var_os("RUST_LOG").map(|text| text.to_string_lossy().into_owned());
    let level = cli.log_level.clone().or_else(of_environment);
    let options = telemetry::Options {
        format: cli.log_format,
        level: level.unwrap_or_else(|| default_level(&cli.command).to_owned()),
        stderr: !matches!(cli.command, Command::Run),
    };
    telemetry::init(&options).map_err(|error| match error {
        TelemetryError::Level { .. } if cli.log_level.is_some() => CommandError::Usage(error.to_string()),
        error => error.into(),
    })
}

/// The demo's lines would run into its progress.
const fn default_level(command: &Command) -> &'static str {
    if matches!(command, Command::Demo(_)) { "error" } else { "info" }
}

fn execute(command: Command, sources: &Sources, gauges: Option<Gauges>) -> Result<Exit, CommandError> {
    let threads =
        std::thread::available_parallelism().map_or(LEAST_THREADS, |cores| cores.get().max(LEAST_THREADS));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.map_err(|error| anyhow::anyhow!("the runtime did not start: {error}"))?;
    runtime.block_on(dispatch(command, sources, gauges))
}

async fn dispatch(command: Command, sources: &Sources, gauges: Option<Gauges>) -> Result<Exit, CommandError> {
    match command {
        Command::Run => run::run(sources, gauges).await,
        Command::Sync(args) => sync::run(args, sources).await,
        Command::Plan(args) => plan::run(args, sources).await,
        Command::Apply(args) => apply::run(args, sources).await,
        Command::Provision(args) => provision::run(args, sources).await,
        Command::Attributes(args) => attributes::run(args, sources).await,
        Command::Status(args) => status::run(args, sources).await,
        Command::Explain(args) => explain::run(args, sources).await,
        Command::Approve(args) => approve::run(args, approve::Decision::Approve, sources).await,
        Command::Discard(args) => approve::run(args, approve::Decision::Discard, sources).await,
        Command::State(command) => state::run(command, sources).await,
        Command::DeadLetters(command) => dead_letters::run(command, sources).await,
        Command::Audit(command) => audit::run(command, sources).await,
        Command::Config(command) => Ok(config::run(&command, sources)?),
        Command::Demo(args) => Ok(demo::run(args).await?),
        Command::PracticeTenant(args) => Ok(practice_tenant::run(args).await?),
    }
}
