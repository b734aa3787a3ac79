//! `rosterd approve` and `rosterd discard`: what becomes of a plan that the guard has stopped.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::select::Selected;
use super::{CommandError, Exit, answer, asking};
use crate::config::{self, Sources};
use crate::daemon::{Answer, Ask, AskError, find_hold};
use crate::model::{DigestPrefix, counted};
use crate::store::Store;

/// Which plan.
#[derive(Args, Clone, Debug)]
pub struct DigestArgs {
    /// The digest of the plan, or its beginning: at least 6 digits
    digest: DigestPrefix,
    #[command(flatten)]
    selected: Selected,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is sent.
    Approve,
    /// It is dropped.
    Discard,
}

impl Decision {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Discard => "discarded",
        }
    }
}

/// Has it sent or dropped.
///
/// # Errors
/// When no such plan is held, or the database or standard output fails.
pub async fn run(args: DigestArgs, decision: Decision, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let (database, audit) = (settings.store.clone(), settings.audit.clone());
    args.selected.of(settings.clone())?;
    let store = Store::beside(&database).await?;
    let holds = store.holds(args.selected.name().as_ref()).await?;
    store.close().await;
    let hold = find_hold(&holds, &args.digest).map_err(CommandError::NotHeld)?;
    let tenants = Selected { tenant: Some(hold.tenant.to_string()) }.of(settings)?;
    let digest = hold.digest.clone();
    let ask = match decision {
        Decision::Approve => Ask::Approve { digest },
        Decision::Discard => Ask::Discard { digest },
    };
    let asks = tenants.into_iter().map(|tenant| (tenant, ask.clone())).collect();
    let answers = asking((&database, &audit), asks).await?;
    let daemon = Store::occupant(&database)?.is_some_and(|owner| owner.daemon);
    for (name, end) in answers {
        let Answer::Released { digest, pass, operations, left, missing } = end? else {
            return Err(AskError::Words.into());
        };
        let word = decision.as_str();
        let values = json!({
            "tenant": name,
            "decision": word,
            "digest": digest,
            "pass": pass,
            "operations": operations,
            "left": left,
            "missing": missing,
            "daemon": daemon,
        });
        let mut text = match decision {
            Decision::Approve => counted(operations, "operation is ready", "operations are ready"),
            Decision::Discard => counted(operations, "operation is dropped", "operations are dropped"),
        };
        text = format!("{name}: pass {pass} {word}: {text}, ");
        text.push_str(&counted(left, "user has left the plan since", "users have left the plan since"));
        if missing > 0 && decision == Decision::Approve {
            let users =
                counted(missing, "missing user is asked for by id", "missing users are asked for by id");
            let _ = write!(text, ", {users}");
        }
        if decision == Decision::Approve && !daemon {
            text.push_str(
                "; no daemon is at work: nothing is sent before the next `rosterd sync` or `rosterd run`",
            );
        }
        answer(&if args.json { format!("{values:#}\n") } else { text + "\n" })?;
    }
    Ok(Exit::Done)
}
