//! One log line: what is on it, and how it is written as JSON or for people.
//!
//! Whatever a value holds, a line stays one line: every control character and line separator is escaped.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;

use opentelemetry::trace::SpanContext;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer as _};
use tracing::Level;
use tracing::field::{Field, Visit};

use super::field;
use crate::model::Timestamp;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    Text { colour: bool },
}

/// A value that was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

/// Values by name, in the order in which they were recorded.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(Cow<'static, str>, Value)>);

impl Fields {
    /// Sets a value; the newer one wins.
    pub(super) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds what is not there yet.
    pub(super) fn inherit(&mut self, outer: &Self) {
        for (name, value) in &outer.0 {
            if !self.0.iter().any(|(known, _)| known == name) {
                self.0.push((name.clone(), value.clone()));
            }
        }
    }

    /// Takes a value out.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), Value::Unsigned(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), Value::Float(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), Value::Text(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.set(field.name(), Value::Text(text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), Value::Text(format!("{value:?}")));
    }
}

/// Everything on one line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) at: Timestamp,
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) message: &'a str,
    pub(super) fields: &'a Fields,
    /// The sampled span that it belongs to.
    pub(super) span: Option<&'a SpanContext>,
}

impl Line<'_> {
    /// The line with its line feed.
    pub(super) fn render(&self, style: Style) -> Vec<u8> {
        let mut out = match style {
            Style::Json => self.json(),
            Style::Text { colour } => self.text(colour).into_bytes(),
        };
        out.push(b'\n');
        out
    }

    fn json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, OneLine);
        // Writing to a Vec cannot fail, and none of the values can refuse to be written.
        let _ = serializer.serialize_map(None).and_then(|mut map| {
            map.serialize_entry("timestamp", &format_args!("{}", self.at))?;
            map.serialize_entry("level", self.level.as_str())?;
            map.serialize_entry("target", self.target)?;
            map.serialize_entry("message", self.message)?;
            for (name, value) in &self.fields.0 {
                map.serialize_entry(&*free_name(name), value)?;
            }
            if let Some(span) = self.span {
                map.serialize_entry("trace_id", &format_args!("{}", span.trace_id()))?;
                map.serialize_entry("span_id", &format_args!("{}", span.span_id()))?;
            }
            map.end()
        });
        out
    }

    fn text(&self, colour: bool) -> String {
        let paint = |code: &'static str| if colour { code } else { "" };
        let (dim, plain) = (paint("\x1b[2m"), paint("\x1b[0m"));
        let mut out = format!(
            "{dim}{}{plain} {}{:>5}{plain} {dim}{}:{plain} {}",
            self.at,
            paint(level_colour(self.level)),
            self.level.as_str(),
            Escaped(self.target),
            Escaped(self.message),
        );
        for (name, value) in &self.fields.0 {
            // Writing to a String cannot fail.
            let _ = write!(out, " {dim}{}={plain}{}", Escaped(name), Shown(value));
        }
        if let Some(span) = self.span {
            let _ = write!(out, " {dim}trace_id={} span_id={}{plain}", span.trace_id(), span.span_id());
        }
        out
    }
}

fn level_colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// A field of another crate may have one of our names; no object has a key twice.
fn free_name(name: &str) -> Cow<'_, str> {
    if field::RESERVED.contains(&name) { format!("field.{name}").into() } else { name.into() }
}

/// Control characters (a terminal obeys them) and Unicode's line separators (many readers split there).
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| breaks(*c)) {
            write!(f, "{}{}", &rest[..at], c.escape_default())?;
            rest = &rest[at + c.len_utf8()..];
        }
        f.write_str(rest)
    }
}

struct Shown<'a>(&'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Bool(value) => value.fmt(f),
            Value::Signed(value) => value.fmt(f),
            Value::Unsigned(value) => value.fmt(f),
            Value::Float(value) => value.fmt(f),
            Value::Text(text) if text.is_empty() || text.contains([' ', '"', '=', '\\']) => {
                write!(f, "\"{}\"", Escaped(&text.replace('\\', "\\\\").replace('"', "\\\"")))
            }
            Value::Text(text) => Escaped(text).fmt(f),
        }
    }
}

/// JSON without spaces that escapes more than JSON asks for.
struct OneLine;

impl serde_json::ser::Formatter for OneLine {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| breaks(*c)) {
            // All of them lie in the basic plane: four digits are enough.
            write!(writer, "{}\\u{:04x}", &rest[..at], u32::from(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NASTY: &str = "a\nb\r\u{1b}[31m\u{85}\u{9b}\u{2028}\u{2029}\"\\\0é";

    fn line<'a>(message: &'a str, fields: &'a Fields) -> Line<'a> {
        Line {
            at: Timestamp::from_millis(1_767_225_600_007),
            level: Level::WARN,
            target: "rosterd::deliver",
            message,
            fields,
            span: None,
        }
    }

    fn text(style: Style, message: &str, fields: &Fields) -> String {
        String::from_utf8(line(message, fields).render(style)).unwrap()
    }

    #[test]
    fn json_is_flat_and_in_order() {
        let mut fields = Fields::default();
        fields.set("status", Value::Unsigned(503));
        fields.set("level", Value::Text("theirs".into()));
        fields.set("share", Value::Float(f64::NAN));
        assert_eq!(
            text(Style::Json, "attempt failed", &fields),
            "{\"timestamp\":\"2026-01-01T00:00:00.007Z\",\"level\":\"WARN\",\"target\":\"rosterd::deliver\",\
             \"message\":\"attempt failed\",\"status\":503,\"field.level\":\"theirs\",\"share\":null}\n"
        );
    }

    #[test]
    fn text_is_plain_unless_colour_is_asked_for() {
        let mut fields = Fields::default();
        fields.set("reason", Value::Text("no \"such\" team".into()));
        fields.set("user", Value::Text("user-0001".into()));
        assert_eq!(
            text(Style::Text { colour: false }, "attempt failed", &fields),
            "2026-01-01T00:00:00.007Z  WARN rosterd::deliver: attempt failed \
             reason=\"no \\\"such\\\" team\" user=user-0001\n"
        );
        assert!(text(Style::Text { colour: true }, "x", &fields).contains("\u{1b}[33m WARN\u{1b}[0m"));
    }

    #[test]
    fn json_gives_the_value_back() {
        let mut fields = Fields::default();
        fields.set("reason", Value::Text(NASTY.into()));
        let line: serde_json::Value = serde_json::from_str(&text(Style::Json, NASTY, &fields)).unwrap();
        assert_eq!(line["message"], NASTY);
        assert_eq!(line["reason"], NASTY);
    }

    proptest! {
        #[test]
        fn a_line_stays_one_line(message in "\\PC*|.*|[\\x00-\\x20\\x7f-\\xa0\u{2028}\u{2029}\"\\\\]*", value in any::<String>()) {
            let mut fields = Fields::default();
            fields.set("reason", Value::Text(value.clone()));
            for style in [Style::Json, Style::Text { colour: false }] {
                let out = text(style, &message, &fields);
                prop_assert_eq!(out.chars().filter(|c| breaks(*c)).count(), 1, "{:?}", out);
                prop_assert!(out.ends_with('\n'));
            }
            let back: serde_json::Value = serde_json::from_str(&text(Style::Json, &message, &fields)).unwrap();
            prop_assert_eq!(back["reason"].as_str(), Some(value.as_str()));
        }
    }
}
