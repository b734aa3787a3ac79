//! `rosterd plan`: what `sync` would do. It changes nothing, neither in the tenant nor in the database; with `--out`
//! it writes the plan to a file for `rosterd apply`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::select::Selected;
use super::{CommandError, Exit, answer, complain};
use crate::config::{self, Sources, TenantSettings};
use crate::daemon::{self, Parts};
use crate::model::counted;
use crate::plan::{Plan, SavedPlan};

/// A plan tells who is in which team: it is for its owner only.
const MODE: u32 = 0o600;

/// Show what sync would do, and change nothing; exit code 2 when there are changes
#[derive(Args, Clone, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    selected: Selected,
    /// Read all users, not only those who have changed
    #[arg(long)]
    full: bool,
    /// Also write the plan to this file, for `rosterd apply`; one tenant a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write over the file if it is there
    #[arg(long, requires = "out")]
    force: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Plans the selected tenants one after the other.
///
/// # Errors
/// When the file or standard output cannot be written.
pub async fn run(args: PlanArgs, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    let database = settings.store.clone();
    let tenants = args.selected.of(settings)?;
    args.check_out(tenants.len())?;
    let parts = Parts::default();
    let (mut exit, mut text, mut values) = (Exit::Done, String::new(), Vec::new());
    for tenant in tenants {
        let own = match daemon::preview(&tenant, &database, args.full, &parts).await {
            Ok(plan) => {
                text.push_str(&plan.to_text());
                if let Some(file) = &args.out {
                    save(&plan, &tenant, file, args.force)?;
                    text.push_str(&saved(&plan, file));
                }
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

impl PlanArgs {
    /// Says before anything is read what would be in the way of writing.
    fn check_out(&self, tenants: usize) -> Result<(), CommandError> {
        let Some(file) = &self.out else { return Ok(()) };
        if tenants > 1 {
            return Err(CommandError::Usage(
                "a plan is saved for one tenant: say which with --tenant".into(),
            ));
        }
        if file.exists() && !self.force {
            let text = format!("{}: is there already; --force writes over it", file.display());
            return Err(CommandError::Usage(text));
        }
        Ok(())
    }
}

fn save(plan: &Plan, tenant: &TenantSettings, file: &Path, force: bool) -> Result<(), CommandError> {
    let failed = |error: &dyn std::fmt::Display| {
        CommandError::Other(anyhow::anyhow!("{}: cannot be written: {error}", file.display()))
    };
    let text = SavedPlan::new(plan.clone(), tenant.base_url.as_str()).to_text();
    let text = text.map_err(|error| failed(&error))?;
    if force && file.exists() {
        fs::remove_file(file).map_err(|error| failed(&error))?;
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(MODE).open(file);
    let written = opened.and_then(|mut opened| opened.write_all(text.as_bytes()).and(opened.sync_all()));
    written.map_err(|error| failed(&error))
}

fn saved(plan: &Plan, file: &Path) -> String {
    let (tenant, file) = (&plan.tenant, file.display());
    let users = counted(plan.to_change(), "user", "users");
    format!("{tenant}: saved; `rosterd apply {file}` changes {users} as it stands there\n")
}

fn exit_of(plan: &Plan) -> Exit {
    match plan {
        plan if plan.to_change() > 0 => Exit::Changes,
        plan if !plan.changes.is_empty() || plan.unreadable > 0 || !plan.complete => Exit::Left,
        _ => Exit::Done,
    }
}
