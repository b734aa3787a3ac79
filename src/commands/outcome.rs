//! What has become of an operation, for people and for scripts.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::{State, Timestamp, counted};
use crate::store::Sent;

/// So many digits of a digest are enough for a person, and for a command.
const SHORT: usize = 12;

/// A moment, and how long ago it was.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{at} ({} ago)", span(now.since(at)))
}

/// In whole seconds.
pub(super) fn span(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

/// The start of a digest.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..SHORT).unwrap_or(digest)
}

/// As a sentence without its end: `operation 12 was done at …`.
pub(super) fn text(sent: &Sent, now: Timestamp) -> String {
    format!("operation {} {}", sent.id, fate(sent, now))
}

/// The same where it has been named already: `was done at …`.
pub(super) fn fate(sent: &Sent, now: Timestamp) -> String {
    let ended = sent.finished_at.or(sent.touched_at).unwrap_or(sent.created_at);
    let mut text = String::new();
    let _ = match sent.state {
        State::Ready if sent.due_at <= now => write!(text, "is due now"),
        State::Ready => write!(text, "is due in {}, at {}", span(sent.due_at.since(now)), sent.due_at),
        State::Leased => write!(text, "is in flight since {ended}"),
        State::Stale => write!(text, "waits for a new decision, because the user has changed meanwhile"),
        State::Held => write!(text, "is held until its plan is approved or discarded"),
        State::Dead => write!(text, "is a dead letter since {ended}"),
        State::Done => write!(text, "was done at {ended}"),
        State::Superseded => write!(text, "was replaced by a newer decision at {ended}"),
        State::Gone => write!(text, "was dropped at {ended}, because the user is no more"),
        State::Discarded => write!(text, "was discarded at {ended}"),
    };
    if sent.attempts > 0 {
        let _ = write!(text, ", after {}", counted(sent.attempts, "failed attempt", "failed attempts"));
    }
    if let Some(reason) = sent.reason.as_ref().filter(|_| sent.state != State::Done) {
        let status = sent.status.map(|status| format!(" {status}")).unwrap_or_default();
        let _ = write!(text, "; the last answer:{status} {reason}");
    }
    text
}

/// The same for scripts.
pub(super) fn value(sent: &Sent) -> Value {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": sent.id,
        "state": sent.state.as_str(),
        "pass": sent.pass,
        "hold": sent.hold,
        "decided_at": sent.created_at.to_string(),
        "due_at": (sent.state == State::Ready).then(|| sent.due_at.to_string()),
        "attempts": sent.attempts,
        "last_sent_at": text(sent.touched_at),
        "finished_at": text(sent.finished_at),
        "status": sent.status,
        "reason": sent.reason,
        "correlation_id": sent.correlation_id,
    })
}
