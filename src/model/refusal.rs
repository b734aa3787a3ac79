//! Why the tenant refused something, without whom it was for: so that refusals for one reason are known to be that. Pure.
//!
//! Tenants put ids, values and names into what they say. What is left without them is told to nobody, only compared.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Payload, UserId};

/// What was refused. Refusals for one reason are equal, whatever users and values they name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Which of the names that were written the answer names: attributes, or keys. No personal data.
    pub names: BTreeSet<String>,
    /// What it says besides, without what could be about one user; empty where it names what it is about.
    said: String,
}

impl Refusal {
    /// Of what was asked for `user`, and answered with `status` and `reason`.
    #[must_use]
    pub fn of(status: Option<u16>, reason: &str, payload: &Payload, user: &UserId) -> Self {
        let names: BTreeSet<String> =
            payload.names().into_iter().filter(|name| stands_in(reason, name)).map(str::to_owned).collect();
        let said = if names.is_empty() { common(reason, payload, user) } else { String::new() };
        Self { status, names, said }
    }
}

/// Whether a name stands in a text, not as a part of a longer word. Quotes in it may be protected, as in JSON.
fn stands_in(text: &str, name: &str) -> bool {
    let protected = name.replace('\\', "\\\\").replace('"', "\\\"");
    [name, protected.as_str()].iter().any(|name| !places(text, name).is_empty())
}

/// Where a name stands in a text, not as a part of a longer word.
fn places(text: &str, name: &str) -> Vec<usize> {
    let outside = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    let alone = |at: &usize| {
        let (before, after) = (&text[..*at], &text[at + name.len()..]);
        outside(before.chars().next_back()) && outside(after.chars().next())
    };
    let found = text.match_indices(name).map(|(at, _)| at);
    if name.is_empty() { Vec::new() } else { found.filter(alone).collect() }
}

/// A text with a blank for a name where it stands, and not where it is a part of a longer word.
#[must_use]
pub fn without(text: &str, name: &str) -> String {
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    for at in places(text, name) {
        out.push_str(&text[from..at]);
        out.push(' ');
        from = at + name.len();
    }
    out.push_str(&text[from..]);
    out
}

/// The words of a reason that are not about one user: no id, no value, nothing in quotes, no number and no name.
fn common(reason: &str, payload: &Payload, user: &UserId) -> String {
    let mut text = without(reason, user.as_str());
    if let Payload::Attributes(attributes) = payload {
        for value in attributes.set.values().filter_map(Value::as_str) {
            text = without(&text, value);
        }
    }
    let plain = |word: &&str| {
        let letters = word.chars().all(|c| c.is_alphabetic() || c == '\'');
        letters && word.starts_with(|c: char| c.is_lowercase())
    };
    let text = unquoted(&text);
    let words = text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    words.filter(plain).collect::<Vec<_>>().join(" ")
}

/// A text without what stands in quotes; an apostrophe within a word is none. What is not closed goes to its end.
fn unquoted(text: &str) -> String {
    let (mut out, mut close, mut before) = (String::new(), None, ' ');
    for c in text.chars() {
        match close {
            Some(end) if c == end => close = None,
            Some(_) => {}
            None => {
                close = match c {
                    '"' | '`' => Some(c),
                    '“' | '„' => Some('”'),
                    '«' => Some('»'),
                    '‘' => Some('’'),
                    '\'' if !before.is_alphanumeric() => Some('\''),
                    _ => None,
                };
                out.push(if close.is_some() { ' ' } else { c });
            }
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AttributesPayload;

    fn refusal(user: &str, desk: &str, reason: &str) -> Refusal {
        let set = [("Desk".to_owned(), Value::from(desk)), ("Cost \"Center\"".to_owned(), 1.into())].into();
        let payload = Payload::Attributes(AttributesPayload { set, ..AttributesPayload::default() });
        Refusal::of(Some(400), reason, &payload, &UserId::from(user))
    }

    #[test]
    fn refusals_that_differ_in_whom_they_are_about_are_for_one_reason() {
        for [one, other] in [
            ["user u-1 has no licence", "user u-2 has no licence"],
            ["request 17 of u-1: quota exceeded", "request 18 of u-2: quota exceeded"],
            ["'A-1' is not allowed", "'B-2' is not allowed"],
            ["value A-1 is too long", "value B-2 is too long"],
            ["User Ann Lee isn't licensed", "User Bo Dahl isn't licensed"],
            ["ann@example.com is suspended (c=1)", "bo@example.com is suspended (c=2)"],
            ["attribute \"Desk\" of user \"ann\" is unknown", "attribute \"Desk\" of user \"bo\" is unknown"],
            ["„ann” is „x", "„bo” is „y"],
            ["such an entry is not allowed: A-1", "such an entry is not allowed: B-2"],
        ] {
            assert_eq!(refusal("u-1", "A-1", one), refusal("u-2", "B-2", other), "{one}");
        }
    }

    #[test]
    fn a_value_is_not_cut_out_of_a_longer_word() {
        let reason = "such an entry is not allowed there";
        for (user, value) in [("a", "e"), ("no", "s"), ("there", "n"), ("t", "such")] {
            let words = refusal(user, value, reason).said;
            let left = reason.split(' ').filter(|word| *word != user && *word != value);
            assert_eq!(words, left.collect::<Vec<_>>().join(" "), "{user} {value}");
        }
    }

    #[test]
    fn other_reasons_keys_and_statuses_are_not() {
        let one = refusal("u-1", "A-1", "user u-1 has no licence");
        for other in ["user u-1 is suspended", "Desk: no licence", "", "path customAttributes[\"Desk\"]"] {
            assert_ne!(refusal("u-1", "A-1", other), one, "{other}");
        }
        assert_ne!(Refusal { status: Some(422), ..one.clone() }, one);
    }

    #[test]
    fn the_key_that_a_reason_names_is_known() {
        for (reason, names) in [
            ("attribute \"Desk\" does not exist", vec!["Desk"]),
            ("path 'customAttributes[\"Desk\"]' does not exist", vec!["Desk"]),
            ("no Desk, no Cost \"Center\"", vec!["Cost \"Center\"", "Desk"]),
            ("path customAttributes[\"Cost \\\"Center\\\"\"] does not exist", vec!["Cost \"Center\""]),
            ("Desks and Desk_2 and my-Desk", vec![]),
        ] {
            let refusal = refusal("u-1", "A-1", reason);
            assert_eq!(refusal.names.iter().map(String::as_str).collect::<Vec<_>>(), names, "{reason}");
        }
    }
}
