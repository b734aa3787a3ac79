//! `rosterd apply FILE`: a saved plan, exactly as it was reviewed. A user who has changed since is left alone, and
//! named.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{CommandError, Exit, answer, beside_owner, complain, error};
use crate::config::{self, AuditSettings, Settings, Sources, TenantSettings};
use crate::daemon::{
    self, ApplyEnd, Ask, AskError, Blame, Left, Ownership, Parts, StopOnSignal, Tenant, own_or_ask,
};
use crate::model::{State, TenantId, counted};
use crate::plan::{Plan, SavedPlan};
use crate::store::{Sent, Store};

/// No larger file is read. A change takes half a kibibyte, more with many teams: a plan for a million users fits.
const LARGEST: u64 = 1 << 30;

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

/// Applies it: by ourselves, or through whoever owns the database.
///
/// # Errors
/// When the file cannot be used, the database fails, or standard output cannot be written.
pub async fn run(args: ApplyArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let (database, written) = (settings.store.clone(), settings.audit.clone());
    let saved = args.read()?;
    let settings = args.tenant(&saved, settings)?;
    let (parts, stop) = (Parts::default(), StopOnSignal::default());
    let end = loop {
        let owning = own_or_ask(&database, &parts.clock, &stop.stop, &beside_owner);
        match stop.run(owning).await?.ok_or(CommandError::Cut)?? {
            Ownership::Ours(store) => {
                let alone = alone(&settings, &saved.plan, (&store, &written), &parts, &args, &stop.stop);
                break stop.run(Box::pin(alone)).await?;
            }
            Ownership::Daemon(owner) => {
                let store = Store::beside(&database).await?;
                let asks = [(settings.name.clone(), Ask::Apply { plan: Box::new(saved.plan.clone()) })];
                let Some(left) = daemon::leave(&store, &database, &asks, &parts.clock).await? else {
                    continue;
                };
                beside_owner(&owner);
                break stop.run(beside((&left, &settings.name), &store, &parts, &args, &stop.stop)).await?;
            }
            Ownership::Stopped => return Err(AskError::Withdrawn.into()),
        }
    };
    report(&saved.plan.tenant, &end.ok_or(CommandError::Cut)??, args.json)
}

/// How it ended, or why it came to nothing.
type End = Result<ApplyEnd, (String, Blame)>;

async fn alone(
    settings: &TenantSettings,
    plan: &Plan,
    (store, written): (&Store, &AuditSettings),
    parts: &Parts,
    args: &ApplyArgs,
    stop: &CancellationToken,
) -> Result<End, CommandError> {
    let audit = daemon::open_audit(written, store, parts.clock.now()).await?;
    let mut tenant = Tenant::new(settings.clone(), store, &audit, parts)?;
    let end = daemon::apply(&mut tenant, (store, &audit), &parts.clock, plan, args.wait, stop).await;
    store.prune(parts.clock.now()).await?;
    store.close().await;
    Ok(end.map_err(|error| (error.to_string(), error.blame())))
}

async fn beside(
    (left, tenant): (&[Left], &TenantId),
    store: &Store,
    parts: &Parts,
    args: &ApplyArgs,
    stop: &CancellationToken,
) -> Result<End, CommandError> {
    let Some(left) = left.first() else { return Err(AskError::Withdrawn.into()) };
    let end = daemon::apply_beside(left, tenant, store, &parts.clock, args.wait, stop).await;
    Ok(end.map_err(|error| (error.to_string(), error.blame())))
}

impl ApplyArgs {
    fn unfit(&self, why: impl std::fmt::Display) -> CommandError {
        CommandError::Usage(format!("{}: {why}", self.file.display()))
    }

    fn read(&self) -> Result<SavedPlan, CommandError> {
        let unread = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => self.unfit(format_args!("{error}; `rosterd plan --out FILE` writes one")),
            _ => self.unfit(error),
        };
        let meta = fs::metadata(&self.file).map_err(unread)?;
        if !meta.is_file() {
            return Err(self.unfit("is no regular file; `rosterd plan --out FILE` writes one"));
        }
        let mut text = String::new();
        let whole = File::open(&self.file).map_err(unread)?;
        if meta.len() <= LARGEST {
            whole.take(LARGEST + 1).read_to_string(&mut text).map_err(unread)?;
        }
        if meta.len() > LARGEST || text.len() as u64 > LARGEST {
            return Err(
                self.unfit("is larger than 1 GiB, and no plan is; `rosterd plan --out FILE` writes one")
            );
        }
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

fn report(tenant: &str, end: &End, as_json: bool) -> Result<Exit, CommandError> {
    let (exit, text, value) = match end {
        Ok(end) => (exit_of(end), text(tenant, end), value(tenant, end)),
        Err((error, blame)) => {
            complain(&format!("{tenant}: {error}"));
            let exit = error::of_blame(*blame);
            (
                exit,
                String::new(),
                json!({ "tenant": tenant, "exit_code": exit.code(), "error": error::told(exit, error) }),
            )
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
    for user in &applied.already {
        let _ = writeln!(out, "{user}: is so already");
    }
    for sent in end.operations.iter().filter(|sent| sent.state != State::Done) {
        let reason = sent.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let _ = writeln!(out, "{}: operation {} is {}{reason}", sent.operation.user, sent.id, sent.state);
    }
    let _ = write!(
        out,
        "{tenant}: apply pass {} {}: {} applied, {} refused",
        applied.report.id,
        applied.report.result,
        applied.users.len(),
        applied.refused.len(),
    );
    if !applied.already.is_empty() {
        let _ = write!(out, ", {}", counted(applied.already.len(), "is so already", "are so already"));
    }
    let _ = write!(out, "; {} delivered, {} left", delivered(end), left(end));
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
        "already": applied.already,
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
    end.applied.users.len().saturating_sub(delivered(end))
}

fn exit_of(end: &ApplyEnd) -> Exit {
    let waiting = end.operations.iter().any(|sent| sent.state == State::Ready);
    match error::of_trouble(end.trouble) {
        Some(exit) if waiting => exit,
        _ if left(end) > 0 || !end.applied.refused.is_empty() => Exit::Left,
        _ => Exit::Done,
    }
}
