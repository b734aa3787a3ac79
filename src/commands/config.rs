//! `rosterd config`: is the configuration right, and what is in effect?
//!
//! It talks to no tenant, and opens neither a database nor an export.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{CommandError, Exit, answer};
use crate::clock::Clock;
use crate::config::{self, Credentials, Faults, Loaded, Profile, Sources, TenantSettings};
use crate::model::{Timestamp, counted};

/// How many runs of a schedule are foretold.
const RUNS: usize = 3;

/// What is asked about the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check files and environment: every fault at once, or each tenant and the next runs of its schedules
    Check(ConfigArgs),
    /// Show every key in effect and where it comes from; secrets are masked
    Show(ConfigArgs),
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, Args)]
pub struct ConfigArgs {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Answers on standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(command: &ConfigCommand, sources: &Sources) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Check(args) => check(sources, args.json),
        ConfigCommand::Show(args) => show(sources, args.json),
    }
}

/// Writes all faults, or each tenant and the next runs of its schedules.
///
/// # Errors
/// When standard output cannot be written.
pub fn check(sources: &Sources, json: bool) -> anyhow::Result<Exit> {
    print(check_report(sources, json, Clock::system().now()))
}

/// Writes every key in effect, or all faults.
///
/// # Errors
/// When standard output cannot be written.
pub fn show(sources: &Sources, json: bool) -> anyhow::Result<Exit> {
    print(show_report(sources, json))
}

fn print((report, exit): (String, Exit)) -> anyhow::Result<Exit> {
    answer(&report)?;
    Ok(exit)
}

/// What `config check` writes at the time `now`, and how it ends.
#[must_use]
pub fn check_report(sources: &Sources, json: bool, now: Timestamp) -> (String, Exit) {
    match config::inspect(sources) {
        Err(faults) => (faults_report(&faults, json), Exit::Config),
        Ok(loaded) if json => (lines_of(&check_json(&loaded, now)), Exit::Done),
        Ok(loaded) => (check_text(&loaded, now), Exit::Done),
    }
}

/// What `config show` writes, and how it ends.
#[must_use]
pub fn show_report(sources: &Sources, json: bool) -> (String, Exit) {
    match config::inspect(sources) {
        Err(faults) => (faults_report(&faults, json), Exit::Config),
        Ok(loaded) if json => (lines_of(&loaded.effective.to_json()), Exit::Done),
        Ok(loaded) => (loaded.effective.to_toml(), Exit::Done),
    }
}

fn faults_report(faults: &Faults, json: bool) -> String {
    if json {
        let error = CommandError::Config(faults.clone());
        return lines_of(&json!({ "ok": false, "faults": faults, "error": error.to_json() }));
    }
    let count = counted(faults.as_slice().len(), "fault", "faults");
    format!("{count} in the configuration:\n{faults}\n")
}

fn lines_of(value: &Value) -> String {
    format!("{value:#}\n")
}

fn check_text(loaded: &Loaded, now: Timestamp) -> String {
    let mut out = format!("no fault in {}\n", files(loaded));
    for tenant in loaded.settings.tenants.values() {
        let _ = writeln!(out, "\ntenant {}", tenant.name);
        for (word, value) in facts(tenant) {
            let _ = writeln!(out, "  {word:20}{value}");
        }
        for (word, line) in schedules(tenant) {
            let _ = writeln!(out, "  {word:20}{line}");
            for run in config::next_runs(line, tenant.cadence.time_zone, now, RUNS) {
                let _ = writeln!(out, "  {:20}  next {}", "", run.format("%Y-%m-%d %H:%M:%S %:z"));
            }
        }
    }
    if !loaded.settings.not_in_force.is_empty() {
        let _ = writeln!(out, "\nset, but not in force in this version:");
        for key in &loaded.settings.not_in_force {
            let _ = writeln!(out, "  {key}");
        }
    }
    out
}

fn files(loaded: &Loaded) -> String {
    match loaded.files.as_slice() {
        [] => "the environment".to_owned(),
        files => files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "),
    }
}

fn facts(tenant: &TenantSettings) -> Vec<(&'static str, String)> {
    let Credentials::Client { token_url, .. } = &tenant.credentials;
    let mut facts = vec![
        ("profile", profile(tenant).to_owned()),
        ("base_url", tenant.base_url.to_string()),
        ("token_url", token_url.to_string()),
        ("roles", tenant.mapping.rules().len().to_string()),
        ("teams", tenant.mapping.managed().len().to_string()),
        ("time_zone", tenant.cadence.time_zone.to_string()),
    ];
    if let Some(webhook) = &tenant.webhook {
        let unsigned = if webhook.secret.is_some() { "" } else { ", NOT SIGNED: webhook.secret is not set" };
        facts.push(("webhook", format!("{}{unsigned}", webhook.shown())));
    }
    if let Some(file) = &tenant.provision.file {
        // HR may bring it later.
        let missing = if file.is_file() { "" } else { ", NOT THERE" };
        facts.push(("provision.file", format!("{}{missing}", file.display())));
    }
    facts
}

const fn profile(tenant: &TenantSettings) -> &'static str {
    match tenant.profile {
        Profile::GenesysScim => "genesys-scim",
    }
}

fn schedules(tenant: &TenantSettings) -> impl Iterator<Item = (&'static str, &str)> {
    let passes = [("schedule", &tenant.cadence.schedule), ("sweep_schedule", &tenant.cadence.sweep_schedule)];
    let export = tenant.provision.schedule.as_ref().map(|line| ("provision.schedule", line));
    passes.into_iter().chain(export).map(|(word, line)| (word, line.as_str()))
}

fn check_json(loaded: &Loaded, now: Timestamp) -> Value {
    let tenants: Vec<Value> =
        loaded.settings.tenants.values().map(|tenant| tenant_json(tenant, now)).collect();
    json!({
        "ok": true,
        "files": loaded.files.iter().map(|file| file.to_string_lossy()).collect::<Vec<_>>(),
        "tenants": tenants,
        "not_in_force": loaded.settings.not_in_force,
    })
}

fn tenant_json(tenant: &TenantSettings, now: Timestamp) -> Value {
    let Credentials::Client { token_url, .. } = &tenant.credentials;
    let schedule = |line: &str| {
        let runs = config::next_runs(line, tenant.cadence.time_zone, now, RUNS);
        json!({ "cron": line, "next": runs.iter().map(chrono::DateTime::to_rfc3339).collect::<Vec<_>>() })
    };
    json!({
        "name": tenant.name,
        "profile": profile(tenant),
        "base_url": tenant.base_url.as_str(),
        "token_url": token_url.as_str(),
        "roles": tenant.mapping.rules().len(),
        "teams": tenant.mapping.managed().len(),
        "time_zone": tenant.cadence.time_zone.name(),
        "webhook": tenant.webhook.as_ref().map(|webhook| {
            json!({ "url": webhook.shown(), "signed": webhook.secret.is_some() })
        }),
        "schedule": schedule(&tenant.cadence.schedule),
        "sweep_schedule": schedule(&tenant.cadence.sweep_schedule),
        "provision": tenant.provision.file.as_ref().map(|file| json!({
            "file": file.to_string_lossy(),
            "found": file.is_file(),
            "schedule": tenant.provision.schedule.as_deref().map(schedule),
        })),
    })
}
