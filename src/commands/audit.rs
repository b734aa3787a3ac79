//! `rosterd audit`: is the audit what was written, the whole of it, in its order?
//!
//! It only reads, beside a running daemon too, and needs no configuration when it is told which files to look at.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{CommandError, Exit, answer, complain};
use crate::audit::{self, AuditError, Breach, BreachKind, Link, Place, Report};
use crate::config::{self, Sources};
use crate::daemon::audit_head;
use crate::model::counted;
use crate::store::{Store, StoreError};

/// What is asked about the audit.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no line was changed, taken away or moved
    Verify(VerifyArgs),
}

/// What to check, and how the answer is written.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// Only these files, in this order; the beginning of the first is taken on trust
    /// [default: the audit of the configuration, from its very first line]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A line that must be there: the head that an earlier check has printed
    #[arg(long, value_name = "SEQ:HASH")]
    head: Option<Link>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Answers on standard output.
///
/// # Errors
/// When there is no audit, or it cannot be read.
pub async fn run(command: AuditCommand, sources: &Sources) -> Result<Exit, CommandError> {
    let AuditCommand::Verify(args) = command;
    let report = if args.files.is_empty() {
        let settings = config::load(sources)?;
        // Asked for first: a daemon may add lines meanwhile.
        let known = known_head(&settings.store).await;
        audit::verify(&settings.audit.path, args.head.or(known))?
    } else {
        audit::verify_files(&args.files, args.head).map_err(|error| match error {
            error @ AuditError::Unread { .. } => CommandError::Usage(error.to_string()),
            error => error.into(),
        })?
    };
    let on_trust = !args.files.is_empty();
    answer(&if args.json {
        format!("{:#}\n", to_json(&report, on_trust))
    } else {
        to_text(&report, on_trust)
    })?;
    Ok(if report.is_sound() { Exit::Done } else { Exit::Failed })
}

/// The last line that the database knows of. An audit is checked without a database as well.
async fn known_head(database: &Path) -> Option<Link> {
    let head = async {
        let store = Store::beside(database).await?;
        let head = audit_head(&store).await;
        store.close().await;
        head
    };
    match head.await {
        Ok(head) => head,
        Err(StoreError::NotThere { .. }) => None,
        Err(error) => {
            complain(&format!("lines that are missing at the end will not be noticed: {error}"));
            None
        }
    }
}

fn path(report: &Report, place: Place) -> &Path {
    report.files.get(place.file).map_or(Path::new(""), |file| &file.path)
}

fn to_text(report: &Report, on_trust: bool) -> String {
    let mut out = String::new();
    for file in &report.files {
        let _ = writeln!(out, "{}  {}", file.path.display(), counted(file.lines, "line", "lines"));
    }
    if let Some((first, last)) = report.times {
        let _ = writeln!(out, "from {first} to {last}");
    }
    if let Some(head) = report.head {
        let _ = writeln!(out, "head {head}");
    }
    if on_trust {
        out.push_str("the beginning of the first file is taken on trust\n");
    }
    for remark in &report.remarks {
        let _ = writeln!(
            out,
            "remark: {}:{}: {}",
            path(report, remark.place).display(),
            remark.place.line,
            remark.kind
        );
    }
    let foreign = |breach: &Breach| matches!(breach.kind, BreachKind::Unreadable | BreachKind::TooLong);
    if report.times.is_none() && !report.breaches.is_empty() && report.breaches.iter().all(foreign) {
        out.push_str("not one line of an audit is there: is this the right file?\n");
        return out;
    }
    for breach in &report.breaches {
        let place = breach.place;
        let _ = writeln!(out, "{}:{}: {}", path(report, place).display(), place.line, breach.kind);
    }
    let _ = match (report.breaches.len() as u64).saturating_add(report.unlisted) {
        0 => writeln!(out, "the chain is whole"),
        1 => writeln!(out, "the chain is broken in 1 place"),
        several => {
            writeln!(out, "the chain is broken in {several} places, {} of them listed", report.breaches.len())
        }
    };
    out
}

fn to_json(report: &Report, on_trust: bool) -> Value {
    let told =
        |place: Place, what: String| json!({ "file": path(report, place), "line": place.line, "what": what });
    let files = report.files.iter().map(|file| json!({ "file": file.path, "lines": file.lines }));
    json!({
        "ok": report.is_sound(),
        "files": files.collect::<Vec<_>>(),
        "lines": report.files.iter().map(|file| file.lines).sum::<u64>(),
        "first_at": report.times.map(|(first, _)| first.to_string()),
        "last_at": report.times.map(|(_, last)| last.to_string()),
        "head": report.head.map(|head| json!({ "seq": head.seq, "hash": head.hash })),
        "on_trust": on_trust,
        "breaches": report.breaches.iter().map(|breach| told(breach.place, breach.kind.to_string())).collect::<Vec<_>>(),
        "unlisted": report.unlisted,
        "remarks": report.remarks.iter().map(|remark| told(remark.place, remark.kind.to_string())).collect::<Vec<_>>(),
    })
}
