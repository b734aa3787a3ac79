//! `rosterd plan`: what `sync` would do. It changes nothing, neither in the tenant nor in the database.

use clap::Args;
use serde_json::json;

use super::select::Selected;
use super::{CommandError, Exit, answer, complain};
use crate::config::{self, Sources};
use crate::daemon::{self, Parts};
use crate::plan::Plan;
use crate::store::{Store, StoreError, TenantState};

/// Show what sync would do, and change nothing; exit code 2 when there are changes
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    selected: Selected,
    /// Read all users, not only those who have changed
    #[arg(long)]
    full: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Plans the selected tenants one after the other.
///
/// # Errors
/// When standard output cannot be written.
pub async fn run(args: PlanArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let store = match Store::beside(&settings.store).await {
        Ok(store) => Some(store),
        Err(StoreError::NotThere { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let tenants = args.selected.of(settings)?;
    let parts = Parts::default();
    let (mut exit, mut text, mut values) = (Exit::Done, String::new(), Vec::new());
    for tenant in tenants {
        let state = match &store {
            Some(store) => store.tenant(&tenant.name).await?,
            None => TenantState::default(),
        };
        let own = match daemon::preview(&tenant, &state, args.full, &parts).await {
            Ok(plan) => {
                text.push_str(&plan.to_text());
                values.push(json!(plan));
                exit_of(&plan)
            }
            Err(error) => {
                let error = CommandError::Preview { tenant: tenant.name.to_string(), error: Box::new(error) };
                complain(&error.to_string());
                values.push(json!({
                    "tenant": tenant.name,
                    "error": error.to_string(),
                    "exit_code": error.exit().code(),
                }));
                error.exit()
            }
        };
        exit = exit.worse(own);
    }
    answer(&if args.json { format!("{:#}\n", json!({ "tenants": values })) } else { text })?;
    Ok(exit)
}

fn exit_of(plan: &Plan) -> Exit {
    match plan {
        plan if !plan.changes.is_empty() => Exit::Changes,
        plan if plan.unreadable > 0 || !plan.complete => Exit::Left,
        _ => Exit::Done,
    }
}
