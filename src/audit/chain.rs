//! How a line is chained to the one before, and what a single line tells.
//!
//! A line is a JSON object that ends in `,"hash":"…"}`, and the hash is over all bytes before that comma. Whoever
//! can cut 75 bytes off a line and has a SHA-256 can check it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Entry, Hash};
use crate::model::Timestamp;

/// The longest line, without its newline. Five figures of team ids fit in; nothing that the daemon writes comes near.
pub(super) const MAX_LINE: usize = 1 << 20;

const HASH_KEY: &str = ",\"hash\":\"";
const END: &str = "\"}";
const HASH_DIGITS: usize = 64;
const SEAL: usize = HASH_KEY.len() + HASH_DIGITS + END.len();

/// A line as the next one sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number, from 1, across all files of the chain.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Link {
    /// What the first line follows.
    pub const GENESIS: Self = Self { seq: 0, hash: Hash::ZERO };
}

impl fmt::Display for Link {
    /// `SEQ:HASH`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// A text is not `SEQ:HASH`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not SEQ:HASH, as `rosterd audit verify` prints the head")]
pub struct NoLink;

impl FromStr for Link {
    type Err = NoLink;

    fn from_str(text: &str) -> Result<Self, NoLink> {
        let (seq, hash) = text.split_once(':').ok_or(NoLink)?;
        Ok(Self { seq: seq.parse().map_err(|_| NoLink)?, hash: Hash::parse(hash).ok_or(NoLink)? })
    }
}

/// A sound line: its hash is over what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) link: Link,
    pub(super) prev: Hash,
    pub(super) at: Timestamp,
    pub(super) event: String,
}

/// A line that is not sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsound {
    /// Its hash is not over what it says. One of the two may be what the next line was chained to.
    Changed { said: Hash, is: Hash },
    /// It is none of ours.
    Unreadable,
}

/// What is hashed of a line.
#[derive(Serialize)]
struct Body<'a> {
    seq: u64,
    at: String,
    #[serde(flatten)]
    entry: &'a Entry,
    prev: Hash,
}

/// What is needed of a line to check it, whatever else it holds.
#[derive(Deserialize)]
struct Head {
    seq: u64,
    at: String,
    event: String,
    prev: Hash,
    hash: Hash,
}

/// Appends the line that follows `link` to `out`, newline included.
pub(super) fn write(
    out: &mut Vec<u8>,
    link: Link,
    entry: &Entry,
    now: Timestamp,
) -> Result<Link, serde_json::Error> {
    let seq = link.seq.saturating_add(1);
    let mut body = serde_json::to_vec(&Body { seq, at: now.to_string(), entry, prev: link.hash })?;
    body.pop();
    let hash = Hash::of(&body);
    out.extend_from_slice(&body);
    out.extend_from_slice(format!("{HASH_KEY}{hash}{END}\n").as_bytes());
    Ok(Link { seq, hash })
}

/// Reads a line without its newline.
pub(super) fn read(line: &[u8]) -> Result<Line, Unsound> {
    let (body, said) = unseal(line).ok_or(Unsound::Unreadable)?;
    let is = Hash::of(body);
    if said != is {
        return Err(Unsound::Changed { said, is });
    }
    let head: Head = serde_json::from_slice(line).map_err(|_| Unsound::Unreadable)?;
    let at = Timestamp::parse(&head.at).ok_or(Unsound::Unreadable)?;
    Ok(Line { link: Link { seq: head.seq, hash: head.hash }, prev: head.prev, at, event: head.event })
}

/// What is hashed, and the hash that the line gives for it.
fn unseal(line: &[u8]) -> Option<(&[u8], Hash)> {
    let (body, seal) = line.split_at_checked(line.len().checked_sub(SEAL)?)?;
    let digits = std::str::from_utf8(seal).ok()?.strip_prefix(HASH_KEY)?.strip_suffix(END)?;
    Some((body, Hash::parse(digits)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Repair;
    use crate::model::{Cause, Kind, TenantId};

    fn written(entry: &Entry) -> String {
        let before = Link { seq: 6, hash: Hash::of(b"the line before") };
        let mut out = Vec::new();
        let now = Timestamp::parse("2026-01-02T03:04:05.678Z").unwrap();
        let head = write(&mut out, before, entry, now).unwrap();
        let line = String::from_utf8(out).unwrap();
        let read = read(line.trim_end().as_bytes()).unwrap();
        assert_eq!((read.link, read.prev, read.at), (head, before.hash, now));
        assert_eq!(head.seq, 7);
        let again: Entry = serde_json::from_str(&line).unwrap();
        assert_eq!(again, *entry, "what was written can be read");
        line
    }

    fn change() -> Entry {
        Entry::ChangeApplied {
            tenant: "acme".into(),
            user: "user-0001".into(),
            operation: 17,
            kind: Kind::Teams,
            cause: Cause::Mapped,
            teams_added: ["team-b".into(), "team-a".into()].into(),
            teams_removed: ["team-c".into()].into(),
            roles: ["HR_ENGINEER".into()].into(),
            mapping: Some("0123".to_owned()),
            pass: 5,
            attempt: 1,
            request_id: Some("line\nbreak".to_owned()),
            verified: None,
        }
    }

    #[test]
    fn a_line_is_flat_and_its_fields_have_a_fixed_order() {
        assert_eq!(
            written(&change()),
            concat!(
                r#"{"seq":7,"at":"2026-01-02T03:04:05.678Z","event":"change_applied","tenant":"acme","#,
                r#""user":"user-0001","operation":17,"kind":"teams","cause":"mapped","#,
                r#""teams_added":["team-a","team-b"],"teams_removed":["team-c"],"roles":["HR_ENGINEER"],"#,
                r#""mapping":"0123","pass":5,"attempt":1,"request_id":"line\nbreak","verified":null,"#,
                r#""prev":"39045f39d3b751ed412a081efab9551e2329831dddf2b7444ce5586de13d5886","#,
                r#""hash":"3e2428239fe0c934d02db4649201093c2825a2ad71a456f3a90f8758a3dc27ee"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn every_event_is_written_and_read() {
        let (tenant, digest, operator) = (TenantId::from("acme"), "a1b2".to_owned(), Some(1000));
        let sha256 = Hash::of(b"");
        for (entry, says) in [
            (
                Entry::ChangeUnclear {
                    tenant: tenant.clone(),
                    user: "user-0001".into(),
                    operation: 17,
                    kind: Kind::Teams,
                    cause: Cause::Mapped,
                    teams_added: ["team-a".into()].into(),
                    teams_removed: [].into(),
                    roles: [].into(),
                    mapping: None,
                    pass: 5,
                    attempt: 2,
                },
                r#""event":"change_unclear","tenant":"acme","user":"user-0001","operation":17,"kind":"teams","cause":"mapped","teams_added":["team-a"],"teams_removed":[],"roles":[],"mapping":null,"pass":5,"attempt":2,"prev""#,
            ),
            (
                Entry::Approved {
                    tenant: tenant.clone(),
                    digest: digest.clone(),
                    pass: 5,
                    operations: 40,
                    left: 2,
                    operator,
                },
                r#""event":"approved","tenant":"acme","digest":"a1b2","pass":5,"operations":40,"left":2,"operator":1000,"prev""#,
            ),
            (
                Entry::Discarded {
                    tenant: tenant.clone(),
                    digest: digest.clone(),
                    pass: 5,
                    operations: 40,
                    left: 0,
                    operator: None,
                },
                r#""event":"discarded","tenant":"acme","digest":"a1b2","pass":5,"operations":40,"left":0,"operator":null,"prev""#,
            ),
            (
                Entry::DeadLettersReplayed { operations: vec![3, 1], tenant: None, operator },
                r#""event":"dead_letters_replayed","operations":[3,1],"tenant":null,"operator":1000,"prev""#,
            ),
            (
                Entry::DeadLettersDiscarded { operations: vec![9], tenant: Some(tenant.clone()), operator },
                r#""event":"dead_letters_discarded","operations":[9],"tenant":"acme","operator":1000,"prev""#,
            ),
            (
                Entry::PlanApplied { tenant: tenant.clone(), digest, users: 3, operator },
                r#""event":"plan_applied","tenant":"acme","digest":"a1b2","users":3,"operator":1000,"prev""#,
            ),
            (
                Entry::StateReset { tenant, what: "watermark".to_owned(), operator },
                r#""event":"state_reset","tenant":"acme","what":"watermark","operator":1000,"prev""#,
            ),
            (Entry::Started, r#""event":"started","prev""#),
            (
                Entry::Continued { after: "audit.jsonl.000000000006".to_owned() },
                r#""event":"continued","after":"audit.jsonl.000000000006","prev""#,
            ),
            (
                Entry::Repaired { repair: Repair::Dropped, bytes: 12, sha256 },
                r#""event":"repaired","repair":"dropped","bytes":12,"sha256":"e3b0c442"#,
            ),
            (
                Entry::Resumed { damaged_lines: 1, damaged_bytes: 12, sha256, missing_lines: 3 },
                r#""event":"resumed","damaged_lines":1,"damaged_bytes":12,"sha256":"e3b0c442"#,
            ),
        ] {
            let line = written(&entry);
            assert!(line.contains(says), "{line}");
            assert_eq!(line.matches('\n').count(), 1);
        }
    }

    #[test]
    fn a_line_that_is_not_as_it_was_written_is_not_sound() {
        let line = written(&change());
        let line = line.trim_end();
        let changed = |text: &str| matches!(read(text.as_bytes()), Err(Unsound::Changed { .. }));
        assert!(changed(&line.replace("user-0001", "user-0002")));
        assert!(changed(&line.replace("\"seq\":7", "\"seq\":8")));
        let last = &line[line.len() - 3..line.len() - 2];
        let other = if last == "0" { "1" } else { "0" };
        assert!(changed(&format!("{}{other}\"}}", &line[..line.len() - 3])), "the hash itself");
        for text in ["", "{}", &line[1..line.len() - 1], &line.to_uppercase(), &format!("{line}\r")] {
            assert_eq!(read(text.as_bytes()), Err(Unsound::Unreadable), "{text}");
        }
    }

    /// Whoever can hash can write a line that is sound in itself; it must still say what a line says.
    #[test]
    fn a_hash_does_not_make_a_line() {
        let seal = |body: &str| format!("{body},\"hash\":\"{}\"}}", Hash::of(body.as_bytes()));
        let zero = Hash::ZERO;
        let good = format!(r#"{{"seq":1,"at":"2026-01-01T00:00:00.000Z","event":"later","prev":"{zero}""#);
        assert_eq!(read(seal(&good).as_bytes()).map(|line| line.event), Ok("later".to_owned()));
        for (from, to) in [
            ("\"seq\":1", "\"seq\":-1"),
            ("\"seq\":1", "\"seq\":1,\"seq\":2"),
            ("2026-01-01", "yesterday"),
            ("\"event\":\"later\",", ""),
            ("\"prev\":\"0", "\"prev\":\""),
        ] {
            assert_eq!(
                read(seal(&good.replace(from, to)).as_bytes()),
                Err(Unsound::Unreadable),
                "{from} → {to}"
            );
        }
    }

    #[test]
    fn a_link_is_read_as_it_is_written() {
        let link = Link { seq: 12, hash: Hash::of(b"abc") };
        assert_eq!(link.to_string().parse::<Link>().ok(), Some(link));
        for text in ["", "12", "12:abc", ":", &link.to_string()[1..].replace(':', "")] {
            assert!(text.parse::<Link>().is_err(), "{text}");
        }
    }
}
