//! `rosterd dead-letters`: operations that were given up, to look at, send again, or give up for good.
//!
//! A running daemon is asked to move them; without one the command does it by itself.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use serde_json::{Value, json};

use super::select::Selected;
use super::{CommandError, Exit, answer, asking, complain};
use crate::config::{self, Settings, Sources};
use crate::daemon::{Answer, Ask, AskError};
use crate::model::{Payload, UserId, counted};
use crate::scim::{Write, write_of};
use crate::store::{DeadLetter, Selection, Store};

/// What to do with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List them
    List(ListArgs),
    /// Show one: the request that was sent and the answer that came
    Show(ShowArgs),
    /// Send them again, with all attempts before them
    Replay(WhichArgs),
    /// Give them up for good
    Discard(WhichArgs),
}

/// Which to list, and how.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    selected: Selected,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Which to show, and how.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The letter's id, as listed
    id: i64,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Which to act on, and how the answer is written.
#[derive(Args, Clone, Debug)]
pub struct WhichArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    selected: Selected,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Some, or all.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// The letters' ids, as listed
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    /// All of them, or all of the tenant
    #[arg(long)]
    all: bool,
}

/// Does it.
///
/// # Errors
/// When the database or standard output fails.
pub async fn run(command: DeadLettersCommand, sources: &Sources) -> Result<Exit, CommandError> {
    let settings = config::load(sources)?;
    match command {
        DeadLettersCommand::List(args) => {
            let store = Store::beside(&settings.store).await?;
            args.selected.of(settings)?;
            list(&store.dead_letters(&Selection::All(args.selected.name())).await?, args.json)
        }
        DeadLettersCommand::Show(args) => {
            let store = Store::beside(&settings.store).await?;
            let letters = store.dead_letters(&Selection::Ids(vec![args.id])).await?;
            show(args.id, letters.first(), args.json)
        }
        DeadLettersCommand::Replay(args) => {
            let moved = moved(&args, settings, |ids| Ask::ReplayDeadLetters { ids }).await?;
            moved_report(
                &args,
                &moved,
                ("replayed", ["dead letter will be sent again", "dead letters will be sent again"]),
            )
        }
        DeadLettersCommand::Discard(args) => {
            let moved = moved(&args, settings, |ids| Ask::DiscardDeadLetters { ids }).await?;
            moved_report(
                &args,
                &moved,
                ("discarded", ["dead letter given up for good", "dead letters given up for good"]),
            )
        }
    }
}

/// Has the letters moved that are meant, tenant by tenant; returns which were.
async fn moved(
    args: &WhichArgs,
    settings: Settings,
    ask: impl Fn(Option<Vec<i64>>) -> Ask,
) -> Result<Vec<i64>, CommandError> {
    let (database, audit) = (settings.store.clone(), settings.audit.clone());
    let tenants = args.selected.of(settings)?;
    let store = Store::beside(&database).await?;
    let letters = store.dead_letters(&args.selection()).await?;
    store.close().await;
    let mut asks = Vec::new();
    for tenant in tenants {
        let own = letters.iter().filter(|letter| letter.tenant == tenant.name).map(|letter| letter.id);
        let own: Vec<i64> = own.collect();
        if !own.is_empty() {
            asks.push((tenant, ask(if args.which.all { None } else { Some(own) })));
        }
    }
    let mut moved = Vec::new();
    if asks.is_empty() {
        return Ok(moved);
    }
    for (_, end) in asking((&database, &audit), asks).await? {
        let Answer::Moved { ids } = end? else { return Err(AskError::Words.into()) };
        moved.extend(ids);
    }
    Ok(moved)
}

impl WhichArgs {
    fn selection(&self) -> Selection {
        if self.which.all {
            Selection::All(self.selected.name())
        } else {
            Selection::Ids(self.which.ids.clone())
        }
    }
}

fn moved_report(
    args: &WhichArgs,
    moved: &[i64],
    (word, [one, many]): (&str, [&str; 2]),
) -> Result<Exit, CommandError> {
    let missing: Vec<i64> = args.which.ids.iter().copied().filter(|id| !moved.contains(id)).collect();
    let error = (!missing.is_empty()).then(|| unknown(&missing));
    let mut value = json!({ word: moved });
    match error {
        Some(error) if moved.is_empty() => return Err(error),
        Some(ref error) => {
            complain(&error.to_string());
            value["error"] = error.to_json();
        }
        None => {}
    }
    answer(&if args.json { format!("{value:#}\n") } else { counted(moved.len(), one, many) + "\n" })?;
    Ok(error.map_or(Exit::Done, |error| error.exit()))
}

fn unknown(ids: &[i64]) -> CommandError {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let ids = ids.join(", ");
    CommandError::Unknown(format!("no dead letter {ids}; `rosterd dead-letters list` shows what there is"))
}

fn list(letters: &[DeadLetter], as_json: bool) -> Result<Exit, CommandError> {
    if as_json {
        let values: Vec<Value> = letters.iter().map(to_json).collect();
        answer(&format!("{:#}\n", json!({ "dead_letters": values })))?;
    } else if letters.is_empty() {
        answer("no dead letters\n")?;
    } else {
        let mut table = Table::new();
        table
            .load_style(NOTHING)
            .set_header(["id", "tenant", "user", "cause", "attempts", "status", "given up", "reason"]);
        for letter in letters {
            let status = letter.status.map(|status| status.to_string()).unwrap_or_default();
            table.add_row([
                letter.id.to_string(),
                letter.tenant.to_string(),
                letter.user.to_string(),
                letter.cause.clone(),
                letter.attempts.to_string(),
                status,
                letter.given_up_at.to_string(),
                letter.reason.clone().unwrap_or_default(),
            ]);
        }
        answer(&format!("{table}\n"))?;
    }
    Ok(Exit::Done)
}

fn show(id: i64, letter: Option<&DeadLetter>, as_json: bool) -> Result<Exit, CommandError> {
    let letter = letter.ok_or_else(|| unknown(&[id]))?;
    let value = to_json(letter);
    if as_json {
        answer(&format!("{value:#}\n"))?;
        return Ok(Exit::Done);
    }
    let text = |key: &str| value[key].as_str().map_or_else(|| value[key].to_string(), ToOwned::to_owned);
    let mut out = String::new();
    for key in [
        "id",
        "tenant",
        "user",
        "cause",
        "pass",
        "decided_at",
        "given_up_at",
        "attempts",
        "status",
        "reason",
        "correlation_id",
    ] {
        let _ = writeln!(out, "{key:15}{}", text(key));
    }
    match &value["request"]["body"] {
        Value::Null => out.push_str("request        cannot be read\n"),
        body => {
            let (method, path) = request(letter.payload.as_ref(), &letter.user);
            let _ = writeln!(out, "request        {method} {path}\n{body:#}");
        }
    }
    let _ = writeln!(out, "answer\n{}", letter.answer.as_deref().unwrap_or("none"));
    answer(&out)?;
    Ok(Exit::Done)
}

fn request(payload: Option<&Payload>, user: &UserId) -> (&'static str, String) {
    match payload.map(|payload| write_of(payload).0) {
        Some(Write::Create) => ("POST", "/Users".to_owned()),
        Some(Write::Replace) => ("PUT", format!("/Users/{user}")),
        Some(Write::Patch) | None => ("PATCH", format!("/Users/{user}")),
    }
}

fn to_json(letter: &DeadLetter) -> Value {
    let mut body = letter.payload.as_ref().map(|payload| write_of(payload).1).unwrap_or_default();
    if let Some(password) = body.get_mut("password") {
        *password = json!("***");
    }
    let (method, path) = request(letter.payload.as_ref(), &letter.user);
    json!({
        "id": letter.id,
        "tenant": letter.tenant,
        "user": letter.user,
        "cause": letter.cause,
        "pass": letter.pass,
        "decided_at": letter.created_at.to_string(),
        "given_up_at": letter.given_up_at.to_string(),
        "attempts": letter.attempts,
        "status": letter.status,
        "reason": letter.reason,
        "correlation_id": letter.correlation_id,
        "request": { "method": method, "path": path, "if_match": letter.version, "body": body },
        "answer": letter.answer,
    })
}
