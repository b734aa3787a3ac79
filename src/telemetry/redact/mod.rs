//! Takes personal data and secrets out of text that others wrote, such as a tenant's error message.
//!
//! It hides too much rather than too little: whatever is quoted or capitalised and is not a word that error
//! messages are made of. It cannot see a name in small letters: text from the tenant belongs into `reason`
//! only, and ids into fields of their own.

mod words;

use std::borrow::Cow;
use std::collections::BTreeSet;

use words::{could_be_name, is_mail, is_phone, is_plain, is_secret, looks_like_name};

/// The longest result, in characters, without the mark that says that more followed.
pub const MAX_CHARS: usize = 300;

const MAIL: &str = "[mail]";
const TOKEN: &str = "[token]";
const NAME: &str = "[hidden]";
const PHONE: &str = "[phone]";

/// How the path of a custom attribute begins, and the longest key, in bytes, that is shown in one.
const ATTRIBUTE: &str = "customAttributes[";
const LONGEST_KEY: usize = 100;
/// How much of the text is looked at, in bytes.
const MAX_INPUT: usize = 4 * 1024;
/// What follows such a word and `:` or `=` is a secret.
const SECRET_KEYS: [&str; 6] = ["token", "secret", "password", "authorization", "apikey", "api_key"];
/// What follows such a word is a secret (RFC 7235 §2.1).
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// The text without mail addresses, tokens, telephone numbers and words in quotes that could be names; at
/// most [`MAX_CHARS`] long.
#[must_use]
pub fn text(input: &str) -> Cow<'_, str> {
    text_about(input, &[])
}

/// Which of these names of attributes may be shown in a text about them: each but one in which there is what could be an
/// address or a secret.
pub fn names<'a, T: AsRef<str> + ?Sized + 'a>(
    names: impl IntoIterator<Item = &'a T>,
) -> impl Iterator<Item = &'a str> {
    names.into_iter().map(AsRef::as_ref).filter(|name| is_harmless(name))
}

/// [`text_about`] things of these [`names`].
pub fn text_naming<'a, 'n>(input: &'a str, named: impl IntoIterator<Item = &'n String>) -> Cow<'a, str> {
    let ids: BTreeSet<&str> = names(named).collect();
    text_about(input, &ids.into_iter().collect::<Vec<_>>())
}

/// The same for a text about things whose ids, or [`names`], are known and may be shown.
#[must_use]
pub fn text_about<'a>(input: &'a str, ids: &[&str]) -> Cow<'a, str> {
    let start = beginning(input);
    let mut masked = String::with_capacity(start.len());
    Scanner { rest: start, before: None, expect: Expect::Anything, quoted: false, ids }.run(&mut masked);
    if masked == input && masked.chars().nth(MAX_CHARS).is_none() {
        return Cow::Borrowed(input);
    }
    let end = masked.char_indices().nth(MAX_CHARS).map(|(end, _)| end);
    if end.is_some() || start.len() < input.len() {
        masked.truncate(end.unwrap_or(masked.len()));
        masked.push('…');
    }
    Cow::Owned(masked)
}

fn is_harmless(name: &str) -> bool {
    let harmless = |word: &str| !is_mail(word) && !is_secret(word);
    name.len() <= LONGEST_KEY && name.split(is_delimiter).all(harmless)
}

/// What is looked at: whole words, so that half a token is not taken for a word.
fn beginning(input: &str) -> &str {
    if input.len() <= MAX_INPUT {
        return input;
    }
    let start = &input[..input.floor_char_boundary(MAX_INPUT)];
    &start[..start.rfind(is_delimiter).unwrap_or(0)]
}

/// What the text so far says about the next word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Anything,
    /// After a key such as `token`: a secret if `:` or `=` comes.
    Separator,
    /// After such a key and its separator.
    Secret,
    /// After `Bearer`.
    Credentials,
}

struct Scanner<'a> {
    rest: &'a str,
    before: Option<char>,
    expect: Expect,
    /// Inside quotes: a word that is not known to be harmless could be a name.
    quoted: bool,
    /// Words that may be shown.
    ids: &'a [&'a str],
}

impl<'a> Scanner<'a> {
    /// Gives back what it expects to come next.
    fn run(mut self, out: &mut String) -> Expect {
        while let Some(c) = self.rest.chars().next() {
            if let Some(length) = self.attribute() {
                self.copy(length, out);
            } else if let Some(length) = self.known() {
                self.expect = expected_after(&self.rest[..length].to_lowercase());
                self.copy(length, out);
            } else if let Some(length) = self.phone() {
                self.hide(length, PHONE, out);
            } else if let Some(close) = self.quote(c) {
                self.quoted(c, close, out);
            } else if is_delimiter(c) {
                if matches!(c, ':' | '=') && self.expect == Expect::Separator {
                    self.expect = Expect::Secret;
                } else if !c.is_whitespace() && !"\\\"'".contains(c) && self.expect == Expect::Separator {
                    self.expect = Expect::Anything;
                }
                self.copy(c.len_utf8(), out);
            } else {
                self.word(out);
            }
        }
        self.expect
    }

    fn word(&mut self, out: &mut String) {
        let expect = std::mem::replace(&mut self.expect, Expect::Anything);
        let word = self.prefix(|c| !is_delimiter(c) || c == '\'');
        let word = word.trim_end_matches('\'');
        let lower = word.to_lowercase();
        if expect == Expect::Credentials || (expect == Expect::Secret && !is_plain(&lower)) {
            if SCHEMES.contains(&lower.as_str()) {
                self.expect = Expect::Credentials;
                return self.copy(word.len(), out);
            }
            // Standard base64 has `/` and `=`, which end a word elsewhere.
            let secret = self.prefix(|c| !is_delimiter(c) || matches!(c, '/' | '=' | ':' | '|'));
            return self.hide(secret.len().max(word.len()), TOKEN, out);
        }
        if is_mail(word) {
            return self.hide(word.len(), MAIL, out);
        }
        if is_secret(word) {
            return self.hide(word.len(), TOKEN, out);
        }
        if SCHEMES.contains(&lower.as_str()) {
            self.expect = Expect::Credentials;
        } else {
            self.expect = expected_after(&lower);
        }
        if (self.quoted && could_be_name(word)) || looks_like_name(word) {
            return self.hide_name(word.len(), out);
        }
        self.copy(word.len(), out);
    }

    /// First name and last name become one mark.
    fn hide_name(&mut self, length: usize, out: &mut String) {
        match out.strip_suffix(' ').filter(|before| before.ends_with(NAME)).map(str::len) {
            Some(end) => {
                out.truncate(end);
                self.skip(length);
            }
            None => self.hide(length, NAME, out),
        }
    }

    /// The closing mark, if a quoted string starts here. An apostrophe inside a word is none, and quotes
    /// inside quotes are part of them.
    fn quote(&self, c: char) -> Option<char> {
        match c {
            _ if self.quoted => None,
            '"' | '`' => Some(c),
            '“' | '„' => Some('”'),
            '«' => Some('»'),
            '‘' => Some('’'),
            '\'' if !self.before.is_some_and(char::is_alphanumeric) => Some('\''),
            _ => None,
        }
    }

    /// One that does not end is quoted to the end of the text: an answer that was cut off.
    fn quoted(&mut self, open: char, close: char, out: &mut String) {
        let inside = &self.rest[open.len_utf8()..];
        let end = closing(inside, close);
        let content = &inside[..end.unwrap_or(inside.len())];
        out.push(open);
        self.expect = if self.expect == Expect::Secret && !content.is_empty() {
            // `"Authorization": "Bearer …"`: the whole of it.
            out.push_str(TOKEN);
            Expect::Anything
        } else {
            Scanner { rest: content, before: None, expect: self.expect, quoted: true, ids: self.ids }.run(out)
        };
        self.skip(open.len_utf8() + content.len());
        if end.is_some() {
            self.copy(close.len_utf8(), out);
        }
    }

    /// The length of the path of a custom attribute that starts here: its key names an attribute, and nobody. One in which
    /// there is what could be an address or a secret is looked at like any other text.
    fn attribute(&self) -> Option<usize> {
        let key = self.rest.strip_prefix(ATTRIBUTE)?;
        let key = &key[..key.find(']')?];
        is_harmless(key).then_some(ATTRIBUTE.len() + key.len() + 1)
    }

    /// The length of something known that starts here, and is no part of a longer word.
    fn known(&self) -> Option<usize> {
        let inside_a_word = |c: char| !is_delimiter(c);
        if self.expect == Expect::Secret
            || self.expect == Expect::Credentials
            || self.before.is_some_and(inside_a_word)
        {
            return None;
        }
        let here = |id: &&&str| {
            // The end of a sentence is none of a word.
            let after = self.rest.strip_prefix(**id).map(|rest| rest.trim_start_matches(['.', '!']));
            !id.is_empty() && after.is_some_and(|after| !after.starts_with(inside_a_word))
        };
        self.ids.iter().filter(here).map(|id| id.len()).max()
    }

    /// The length of a telephone number that starts here.
    fn phone(&self) -> Option<usize> {
        let starts = self.rest.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '('));
        let inside_a_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '+');
        if !starts || self.before.is_some_and(inside_a_word) {
            return None;
        }
        let run = self.prefix(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | ' ' | '(' | ')' | '/'));
        let run = run.trim_end_matches(|c: char| !c.is_ascii_digit());
        let after = self.rest[run.len()..].chars().next();
        if after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '-')) {
            return None;
        }
        is_phone(run).then_some(run.len())
    }

    fn prefix(&self, belongs: impl Fn(char) -> bool) -> &'a str {
        &self.rest[..self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len())]
    }

    fn copy(&mut self, length: usize, out: &mut String) {
        out.push_str(&self.rest[..length]);
        self.skip(length);
    }

    fn hide(&mut self, length: usize, mask: &str, out: &mut String) {
        out.push_str(mask);
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        let (done, rest) = self.rest.split_at(length);
        self.before = done.chars().next_back().or(self.before);
        self.rest = rest;
    }
}

/// What may come after a word, given in lower case.
fn expected_after(lower: &str) -> Expect {
    let key = SECRET_KEYS.iter().any(|key| lower.ends_with(key));
    if key { Expect::Separator } else { Expect::Anything }
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || "\"'`“”„‘’«»<>()[]{},;=|&?/:\\".contains(c)
}

/// Where the quoted string ends; a backslash protects the character after it.
fn closing(inside: &str, close: char) -> Option<usize> {
    let mut protected = false;
    for (at, c) in inside.char_indices() {
        if c == close && !protected {
            // `'it isn't'`: an apostrophe between letters does not close.
            let next = inside[at + c.len_utf8()..].chars().next();
            if c != '\'' || !next.is_some_and(char::is_alphanumeric) {
                return Some(at);
            }
        }
        protected = c == '\\' && !protected;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_personal_or_secret_is_hidden() {
        for (input, expected) in [
            ("no user user-0001@example.com here", "no user [mail] here"),
            ("<user.0001+hr@mail.example.co.uk>", "<[mail]>"),
            ("userName%20eq%20user%40example.com&count=1", "[mail]&count=1"),
            ("o'user@example.com", "[mail]"),
            ("{\"value\":\"user-0001@example.com\"}", "{\"value\":\"[mail]\"}"),
            ("Authorization: Bearer abc/def==", "Authorization: Bearer [token]"),
            ("authorization=Basic dXNlcjpwYXNz", "authorization=Basic [token]"),
            ("{\"access_token\":\"abc\"}", "{\"access_token\":\"[token]\"}"),
            (
                "client_secret=hunter2&grant_type=client_credentials",
                "client_secret=[token]&grant_type=client_credentials",
            ),
            ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "got [token]"),
            ("key Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyMTIz was refused", "key [token] was refused"),
            ("\"First Last\" is in use", "\"[hidden]\" is in use"),
            ("user 'First Last' is locked", "user '[hidden]' is locked"),
            ("displayName „Zoë” or ‘Zoë’ or «Zoë»", "displayName „[hidden]” or ‘[hidden]’ or «[hidden]»"),
            ("\"{\\\"access_token\\\":\\\"abc\\\"}\"", "\"{\\\"access_token\\\":\\\"[token]\\\"}\""),
            ("{\"Authorization\": \"Bearer abc\"}", "{\"Authorization\": \"[token]\"}"),
            (
                "{\"detail\":\"User \\\"First Last\\\" is gone\"}",
                "{\"detail\":\"User \\\"[hidden]\\\" is gone\"}",
            ),
            ("{\"name\":\"First La", "{\"name\":\"[hidden]"),
            ("User First Last is locked", "User [hidden] is locked"),
            ("poisoned (user First00040 Last00040)", "poisoned (user [hidden])"),
            ("Last, First: no license", "[hidden], [hidden]: no license"),
            ("call +49 30 1234567 now", "call [phone] now"),
            ("(555) 123-4567 is wrong", "[phone] is wrong"),
            ("tel 555.123.4567", "tel [phone]"),
        ] {
            assert_eq!(text(input), expected, "{input}");
        }
    }

    #[test]
    fn ids_and_status_words_stay() {
        for input in [
            "",
            "Rate limit exceeded the maximum. Retry the request in [17] seconds",
            "team 'team-id-456' does not exist",
            "\"invalidSyntax\": \"Attribute 'teams' is required\"",
            "{\"status\":\"409\",\"scimType\":\"uniqueness\",\"detail\":\"User not found\"}",
            "user 0b8f2f6e-5f0b-4f2a-9d0c-1c2d3e4f5a6b at https://api.example.com:443/api/v2/scim/v2/Users",
            "urn:ietf:params:scim:api:messages:2.0:Error",
            "error returned from 10.120.130.140:8443 at 2026-01-01T00:00:00.000Z",
            "2026-01-01 10 entries",
            "the user's record isn't valid",
            "ServiceProviderConfig has no PatchOp, though totalResults is 3",
            "Connection refused (os error 111)",
            "token: expired",
            "password: needs 8 characters, a capital, a small letter and a digit",
            "password: holds a control character; token: begins with a blank",
            "operation 123456789012 of 15551234567",
            "W/\"1234\"",
        ] {
            assert!(
                matches!(text(input), Cow::Borrowed(same) if same == input),
                "{} became {}",
                input,
                text(input)
            );
        }
    }

    #[test]
    fn ids_that_are_known_stay() {
        for (said, shown) in [
            ("team 'Sales' of Ann does not exist", "team 'Sales' of [hidden] does not exist"),
            ("\"Cost Center\" of \"Cost Centers\"", "\"Cost Center\" of \"[hidden]\""),
            ("Salesman, Presales, `Sales`", "[hidden], [hidden], `Sales`"),
            ("Desk Token: hunter2, Sales", "Desk Token: [token], Sales"),
            ("password: Sales", "password: [token]"),
            ("there is no Sales.", "there is no Sales."),
        ] {
            assert_eq!(text_about(said, &["Sales", "Cost Center", "Desk Token"]), shown);
        }
    }

    #[test]
    fn the_key_of_a_custom_attribute_stays() {
        for (said, shown) in [
            ("path 'customAttributes[\"department\"]' does not exist", None),
            (r#"customAttributes["Cost Center"], customAttributes[\"a\"b\"]"#, None),
            (r#"customAttributes["ann@example.com"]"#, Some(r#"customAttributes["[mail]"]"#)),
            (
                r#"customAttributes["department" of "Ann""#,
                Some(r#"customAttributes["[hidden]" of "[hidden]""#),
            ),
        ] {
            assert_eq!(text(said), shown.unwrap_or(said));
        }
    }

    #[test]
    fn the_name_of_an_attribute_is_shown_unless_it_could_be_somebody_or_a_secret() {
        let keys = ["Desk", "ann@example.com", "eyJhbGciOi.J9", "Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyMTIz"];
        assert_eq!(names(keys).collect::<Vec<_>>(), ["Desk"]);
    }

    #[test]
    fn the_result_is_short() {
        let long = "word ".repeat(1_000);
        let short = text(&long);
        assert_eq!(short.chars().count(), MAX_CHARS + 1);
        assert!(short.ends_with('…'));
    }

    proptest! {
        #[test]
        fn no_mail_address_survives(
            before in "\\PC{0,40}",
            local in "[a-z0-9!#$%*+^_~é-]{1,12}(\\.[A-Za-z0-9]{1,8}){0,2}",
            domain in "[a-z0-9-]{1,10}(\\.[a-z]{2,6}){1,2}",
            after in "\\PC{0,40}",
        ) {
            let address = format!("{local}@{domain}");
            let out = text(&format!("{before}{address}{after}")).into_owned();
            prop_assert!(!out.contains(&address), "{out}");
            prop_assert!(!out.contains(&format!("@{domain}")), "{out}");
        }

        #[test]
        fn any_text_is_fine(input in any::<String>()) {
            let once = text(&input).into_owned();
            prop_assert!(once.chars().count() <= MAX_CHARS + 1);
        }

        #[test]
        fn no_quoted_name_survives(first in "\\p{Lu}\\p{Ll}{8}", last in "\\p{Ll}{9}", quote in "[\"'`]", after in "\\PC{0,40}") {
            let out = text(&format!("no user {quote}{first} {last}{quote} {after}")).into_owned();
            prop_assert!(!out.contains(&first) && !out.contains(&last), "{out}");
        }
    }

    #[test]
    fn hostile_text_is_not_a_burden() {
        for unit in ["“‘", "((((", "\"'", "+", "a@", "\\\""] {
            assert!(text(&unit.repeat(1_000_000)).chars().count() <= MAX_CHARS + 1);
        }
    }
}
