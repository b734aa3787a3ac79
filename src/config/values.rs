//! The kinds of values that keys have: numbers, durations, words, and text with a meaning.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};

use super::reader::{Judged, Raw, Section, quoted};
use super::tree::{Kind, Node};

impl Raw {
    /// The number, or why it is none.
    fn number(&self) -> Judged<f64> {
        match &self.kind {
            #[expect(clippy::cast_precision_loss, reason = "all ranges end far below 2^52")]
            Kind::Integer(value) => Ok(*value as f64),
            Kind::Float(value) => Ok(*value),
            Kind::Text(text) if self.origin.is_environment() => {
                text.trim().parse().map_err(|_| "is not a number".to_owned())
            }
            Kind::Text(text) if text.parse::<f64>().is_ok() => {
                Err("is not a number: write it without quotes".to_owned())
            }
            _ => Err("is not a number".to_owned()),
        }
    }
}

impl Raw {
    /// The texts of a list, none of them empty, or why it is none.
    fn list(&self) -> Judged<Vec<String>> {
        let texts = match &self.kind {
            Kind::List(list) => {
                let text = |node: &Node| match &node.kind {
                    Kind::Text(text) => Ok(text.trim().to_owned()),
                    kind => Err(format!("holds {}: write texts in quotes", kind.describe())),
                };
                list.iter().map(text).collect::<Judged<Vec<String>>>()?
            }
            Kind::Text(text) if self.origin.is_environment() => {
                text.split(',').map(|text| text.trim().to_owned()).collect()
            }
            _ => return Err("is no list: write [\"ONE\", \"OTHER\"]".to_owned()),
        };
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            return Err("is empty, or holds an empty text: leave it out".to_owned());
        }
        Ok(texts)
    }
}

impl Section<'_> {
    /// Text that `judge` turns into something with a text of its own.
    pub(super) fn parsed<T: Display>(
        &mut self,
        key: &'static str,
        default: T,
        judge: impl Fn(&str) -> Judged<T>,
    ) -> T {
        self.or_default(key, default, |raw| raw.text().and_then(judge), |value| json!(value.to_string()))
    }

    /// A number within `range`.
    pub(super) fn number(&mut self, key: &'static str, default: f64, range: RangeInclusive<f64>) -> f64 {
        let judge = |raw: &Raw| within(raw, &range);
        self.or_default(key, default, judge, |value| number(*value))
    }

    /// A number within `range` that is unset by default.
    pub(super) fn optional_number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let judge = |raw: &Raw| within(raw, &range);
        self.optional(key, judge, |value| number(*value)).ok().flatten()
    }

    /// A whole number within `range`.
    pub(super) fn whole(&mut self, key: &'static str, default: u32, range: RangeInclusive<u32>) -> u32 {
        self.or_default(key, default, |raw| whole(raw, &range), |value| json!(value))
    }

    /// A whole number within `range` that is unset by default.
    pub(super) fn optional_whole(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u64> {
        self.optional(key, |raw| whole(raw, &range), |value| json!(value)).ok().flatten().map(u64::from)
    }

    /// A duration with its unit, within `range`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let shown = |value: &Duration| json!(humantime::format_duration(*value).to_string());
        self.or_default(key, default, |raw| duration(raw, &range), shown)
    }

    /// A list of texts, each of which `judge` turns into what it means; from the environment, with commas between them.
    pub(super) fn words(
        &mut self,
        key: &'static str,
        judge: impl Fn(&str) -> Judged<String>,
    ) -> Option<BTreeSet<String>> {
        let judge_all = |raw: &Raw| {
            let texts = raw.list()?;
            let judged =
                texts.iter().map(|text| judge(text).map_err(|reason| format!("{reason}: {}", quoted(text))));
            judged.collect::<Judged<BTreeSet<String>>>()
        };
        self.optional(key, judge_all, |words| json!(words)).ok().flatten()
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        default: T,
        words: &[(&'static str, T)],
    ) -> T {
        let judge = |raw: &Raw| {
            let text = raw.text()?;
            let hit = words.iter().find(|(word, _)| *word == text);
            hit.map(|(_, value)| *value).ok_or_else(|| {
                let all: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                format!("is none of {}", all.join(", "))
            })
        };
        let shown = |value: &T| {
            words.iter().find(|(_, other)| other == value).map_or(Value::Null, |(word, _)| json!(word))
        };
        self.or_default(key, default, judge, shown)
    }
}

/// A number as short as it can be: `50`, not `50.0`.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "checked on the same line")]
    let whole = value as i64;
    #[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "it is whole or it is not")]
    if whole as f64 == value { json!(whole) } else { json!(value) }
}

fn whole(raw: &Raw, range: &RangeInclusive<u32>) -> Judged<u32> {
    let bounds = f64::from(*range.start())..=f64::from(*range.end());
    let value = within(raw, &bounds)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within u32")]
    let whole = value as u32;
    if value.fract() == 0.0 { Ok(whole) } else { Err(format!("is not a whole number{}", allowed(&bounds))) }
}

fn within(raw: &Raw, range: &RangeInclusive<f64>) -> Judged<f64> {
    let value = raw.number().map_err(|reason| format!("{reason}{}", allowed(range)))?;
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("is out of range: {} to {}", range.start(), range.end()))
    }
}

/// What may stand there, behind what is wrong.
fn allowed(range: &RangeInclusive<f64>) -> String {
    format!("; {} to {} may stand there", range.start(), range.end())
}

fn duration(raw: &Raw, range: &RangeInclusive<Duration>) -> Judged<Duration> {
    let bare = match &raw.kind {
        Kind::Text(text) => text.trim().parse::<f64>().is_ok(),
        Kind::Integer(_) | Kind::Float(_) => true,
        _ => false,
    };
    if bare {
        return Err("has no unit: write \"30s\", \"5m\" or \"1h\"".to_owned());
    }
    let value = humantime::parse_duration(raw.text()?)
        .map_err(|_| "is no duration such as \"30s\", \"5m\" or \"1h 30m\"".to_owned())?;
    if range.contains(&value) {
        return Ok(value);
    }
    let [from, to] = [range.start(), range.end()].map(|bound| humantime::format_duration(*bound));
    Err(format!("is out of range: {from} to {to}"))
}
