//! `rosterd apply FILE`: a saved plan, exactly as it was reviewed. A user who has changed since is left alone, and
//! named.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{CommandError, Exit, answer, complain, error};
use crate::config::{self, Settings, Sources, TenantSettings};
use crate::daemon::{self, ApplyEnd, Parts, PassError, StopOnSignal, Tenant};
use crate::model::State;
use crate::plan::SavedPlan;
use crate::store::{Sent, Store};

/// Send a saved plan exactly as it was reviewed; whoever has changed since is left alone
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// What `rosterd plan --out FILE` wrote
    file: PathBuf,
    /// How long to wait for delivery; what still waits then is kept
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Applies it as the owner of the database.
///
/// # Errors
/// When the file cannot be used, the database is somebody else's, or standard output cannot be written.
pub async fn run(args: ApplyArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let (database, written) = (settings.store.clone(), settings.audit.clone());
    let saved = args.read()?;
    let settings = args.tenant(&saved, settings)?;
    let parts = Parts::default();
    let store = Store::own(&database, parts.clock.now()).await?;
    let audit = daemon::open_audit(&written, &store, parts.clock.now()).await?;
    let mut tenant = Tenant::new(settings, &store, &audit, &parts)?;
    let stop = StopOnSignal::default();
    let apply = daemon::apply(&mut tenant, &store, &parts.clock, &saved.plan, args.wait, &stop.stop);
    let Some(end) = stop.run(apply).await? else { return Ok(Exit::Failed) };
    store.prune(parts.clock.now()).await?;
    store.close().await;
    report(&saved.plan.tenant, &end, args.json)
}

impl ApplyArgs {
    fn unfit(&self, why: impl std::fmt::Display) -> CommandError {
        CommandError::Usage(format!("{}: {why}", self.file.display()))
    }

    fn read(&self) -> Result<SavedPlan, CommandError> {
        let text = fs::read_to_string(&self.file).map_err(|error| self.unfit(error))?;
        SavedPlan::read(&text).map_err(|error| self.unfit(error))
    }

    /// The tenant that the plan was made for.
    fn tenant(&self, saved: &SavedPlan, settings: Settings) -> Result<TenantSettings, CommandError> {
        let name = &saved.plan.tenant;
        let tenant = settings.tenants.into_values().find(|tenant| tenant.name.as_str() == name);
        let tenant =
            tenant.ok_or_else(|| self.unfit(format_args!("tenant {name:?} is not in the configuration")))?;
        if tenant.base_url.as_str() == saved.base_url {
            Ok(tenant)
        } else {
            Err(self.unfit(format_args!("was made for {name} at another base_url: make the plan anew")))
        }
    }
}

fn report(tenant: &str, end: &Result<ApplyEnd, PassError>, as_json: bool) -> Result<Exit, CommandError> {
    let (exit, text, value) = match end {
        Ok(end) => (exit_of(end), text(tenant, end), value(tenant, end)),
        Err(error) => {
            complain(&format!("{tenant}: {error}"));
            let exit = error::of_blame(error.blame());
            let error = error.to_string();
            (exit, String::new(), json!({ "tenant": tenant, "exit_code": exit.code(), "error": error }))
        }
    };
    answer(&if as_json { format!("{value:#}\n") } else { text })?;
    Ok(exit)
}

fn text(tenant: &str, end: &ApplyEnd) -> String {
    let applied = &end.applied;
    let mut out = String::new();
    for refused in &applied.refused {
        let _ = writeln!(out, "{}: refused: {}", refused.user, refused.why);
    }
    for sent in end.operations.iter().filter(|sent| sent.state != State::Done) {
        let reason = sent.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let _ = writeln!(out, "{}: operation {} is {}{reason}", sent.operation.user, sent.id, sent.state);
    }
    let _ = write!(
        out,
        "{tenant}: apply pass {} {}: {} applied, {} refused; {} delivered, {} left",
        applied.report.id,
        applied.report.result,
        applied.users.len(),
        applied.refused.len(),
        delivered(end),
        left(end)
    );
    if let Some(trouble) = end.trouble {
        let _ = write!(out, " ({})", trouble.as_str());
    }
    out + "\n"
}

fn value(tenant: &str, end: &ApplyEnd) -> Value {
    let applied = &end.applied;
    let refused = |refused: &daemon::Refused| json!({ "user": refused.user, "reason": refused.why });
    json!({
        "tenant": tenant,
        "exit_code": exit_of(end).code(),
        "pass": applied.report.id,
        "result": applied.report.result.as_str(),
        "applied": applied.users,
        "refused": applied.refused.iter().map(refused).collect::<Vec<_>>(),
        "delivered": delivered(end),
        "left": end.operations.iter().filter(|sent| sent.state != State::Done).map(left_value).collect::<Vec<_>>(),
        "trouble": end.trouble.map(crate::deliver::Trouble::as_str),
    })
}

fn left_value(sent: &Sent) -> Value {
    json!({
        "user": sent.operation.user,
        "operation": sent.id,
        "state": sent.state.as_str(),
        "status": sent.status,
        "reason": sent.reason,
    })
}

fn delivered(end: &ApplyEnd) -> usize {
    end.operations.iter().filter(|sent| sent.state == State::Done).count()
}

fn left(end: &ApplyEnd) -> usize {
    end.operations.len() - delivered(end)
}

fn exit_of(end: &ApplyEnd) -> Exit {
    let waiting = end.operations.iter().any(|sent| sent.state == State::Ready);
    match error::of_trouble(end.trouble) {
        Some(exit) if waiting => exit,
        _ if left(end) > 0 || !end.applied.refused.is_empty() => Exit::Left,
        _ => Exit::Done,
    }
}
