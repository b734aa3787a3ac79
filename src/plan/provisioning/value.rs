//! Single values: what a cell or a JSON value means, and whether it will do. A reason never quotes. Pure.

use serde_json::Value;

use crate::model::RawValue;

/// The longest text, in characters.
const LONGEST: usize = 1024;

/// Why a value will not do, as the end of a sentence.
pub(super) type Judged<T> = Result<T, String>;

/// Trimmed text, of several lines perhaps. A whole number in JSON is one: ids often are.
pub(super) fn text(value: &RawValue) -> Judged<String> {
    let text = match value {
        RawValue::Text(text) | RawValue::Json(Value::String(text)) => text.trim().to_owned(),
        RawValue::Json(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
        RawValue::Json(_) => return Err("is no text".to_owned()),
    };
    sound(&text.replace(['\n', '\r', '\t'], " "))?;
    Ok(text)
}

/// Text that may be kept at all.
pub(super) fn sound(text: &str) -> Judged<()> {
    if text.chars().any(char::is_control) {
        return Err("holds a control character, such as a line break".to_owned());
    }
    if text.chars().nth(LONGEST).is_some() {
        return Err(format!("is longer than {LONGEST} characters"));
    }
    Ok(())
}

/// The same for text by which somebody is found: two that look alike must be alike.
pub(super) fn visible(text: &str) -> Judged<()> {
    sound(text)?;
    if text.chars().any(is_invisible) {
        return Err("holds an invisible character: type it anew".to_owned());
    }
    Ok(())
}

/// Characters without width, which come along when text is copied. Names may need some of them, addresses never do.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
    )
}

/// `true`, `false`, `1` or `0`, whatever its case.
pub(super) fn flag(value: &RawValue) -> Judged<bool> {
    let word = match value {
        RawValue::Text(text) | RawValue::Json(Value::String(text)) => text.trim().to_ascii_lowercase(),
        RawValue::Json(value) => value.to_string(),
    };
    match word.as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("is none of true, false, 1, 0".to_owned()),
    }
}

/// An address that mail could reach. All that `^[A-Za-z0-9+_.-]+@[A-Za-z0-9.-]+$` takes will do, and so do the other
/// characters that RFC 5322 §3.2.3 allows without quotes, and letters of other scripts (RFC 6531).
pub(super) fn mail(text: &str) -> Judged<()> {
    visible(text)?;
    let other_script = |c: char| !c.is_ascii() && !c.is_whitespace();
    let local_part =
        |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c) || other_script(c);
    let domain_part = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c) || other_script(c);
    match text.split_once('@') {
        Some((local, domain))
            if !local.is_empty()
                && !domain.is_empty()
                && local.chars().all(local_part)
                && domain.chars().all(domain_part) =>
        {
            Ok(())
        }
        _ => Err("is no mail address: a name, one @ and a domain".to_owned()),
    }
}

/// What the tenant asks of a password. Nothing says which of it is missing where.
pub(super) fn password(value: &RawValue) -> Judged<String> {
    let (RawValue::Text(text) | RawValue::Json(Value::String(text))) = value else {
        return Err("is no text".to_owned());
    };
    sound(text)?;
    let long = text.chars().nth(7).is_some();
    let has = |kind: fn(char) -> bool| text.chars().any(kind);
    if long && has(char::is_uppercase) && has(char::is_lowercase) && has(|c| c.is_ascii_digit()) {
        Ok(text.clone())
    } else {
        Err("needs 8 characters, a capital, a small letter and a digit".to_owned())
    }
}

/// All texts within a value of an extension that nobody here knows.
pub(super) fn anything(value: &Value) -> Judged<()> {
    match value {
        Value::String(text) => sound(text),
        Value::Array(list) => list.iter().try_for_each(anything),
        Value::Object(members) => members.iter().try_for_each(|(key, value)| {
            sound(key)?;
            anything(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn real_addresses_are_taken_and_slips_are_not() {
        for right in [
            "user-0001@example.com",
            "o'hara+hr@mail.example.com",
            "jörg@bücher.example",
            "用户@例子.测试",
            "a@b",
            "a/b=c@example.com",
        ] {
            assert_eq!(mail(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "a",
            "@",
            "a@",
            "@example.com",
            "a@b@c",
            "a b@example.com",
            "a@exam ple.com",
            "A <a@example.com>",
            "a@example.com;b@example.com",
            "a,b@example.com",
            "a@example.com\u{200b}",
            "a@b_c",
            "a@b\u{a0}c",
            "a\n@b.c",
        ] {
            assert!(mail(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_the_documents_take_is_taken(address in "[A-Za-z0-9+_.-]{1,30}@[A-Za-z0-9.-]{1,30}") {
            prop_assert_eq!(mail(&address), Ok(()));
        }
    }

    #[test]
    fn a_flag_is_one_of_four_words() {
        let text = |text: &str| flag(&RawValue::Text(text.to_owned())).ok();
        for (word, value) in [
            ("true", Some(true)),
            (" TRUE ", Some(true)),
            ("1", Some(true)),
            ("False", Some(false)),
            ("0", Some(false)),
            ("yes", None),
            ("", None),
            ("01", None),
        ] {
            assert_eq!(text(word), value, "{word}");
        }
        for (value, expected) in [
            (json!(true), Some(true)),
            (json!(0), Some(false)),
            (json!("TRUE"), Some(true)),
            (json!(2), None),
            (json!(1.0), None),
            (json!(["true"]), None),
        ] {
            assert_eq!(flag(&RawValue::Json(value.clone())).ok(), expected, "{value}");
        }
    }

    #[test]
    fn a_password_has_eight_characters_of_three_kinds() {
        let judge = |text: &str| password(&RawValue::Text(text.to_owned())).is_ok();
        assert!(["Abcdefg1", " Abcdef1", "Äöüäöü12"].into_iter().all(judge));
        let weak = ["Abcdef1", "abcdefg1", "ABCDEFG1", "Abcdefgh", "", "Abcdefg1\n"];
        assert!(!weak.into_iter().any(judge));
        assert!(password(&RawValue::Json(json!(12_345_678))).is_err());
    }
}
