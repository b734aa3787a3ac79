//! What a single word looks like: an address, a secret, a telephone number, a name, or something harmless.

use std::ops::RangeInclusive;

/// Opaque text of this length, in letters of both cases and digits, is taken for a secret.
const SECRET_CHARS: usize = 32;
/// ITU-T E.164 numbers have up to 15 digits; below 7 it is more likely something else.
const PHONE_DIGITS: RangeInclusive<usize> = 7..=15;
/// Quoted words that are no name.
const PLAIN_WORDS: &str = "\
    a active add already an and any api argument attribute attributes authentication authorization bad \
    body by cannot client code conflict count detail details does entity error errors exceeded exist \
    exists expected expired failed false field filter for forbidden found gateway gone group groups has \
    header id in inactive internal invalid is it limit list many match matches members message missing \
    must name no not null number object of one op operation or page parameter patch path permission \
    permissions rate reason remove replace request required resource resources retry role roles schema schemas scope \
    server service status string supported syntax team teams temporarily the timeout to token too true \
    type unauthorized unavailable unique uniqueness unknown unsupported user users value values version \
    was with";

/// A mail address, or what is left of one: anything around an `@`, percent-encoded or not.
pub(super) fn is_mail(word: &str) -> bool {
    word.len() > 1 && (word.contains(['@', '＠']) || word.contains("%40"))
}

/// A JSON Web Token, or long opaque text.
pub(super) fn is_secret(word: &str) -> bool {
    let jwt = word.starts_with("eyJ") && word.contains('.');
    let has = |test: fn(&char) -> bool| word.chars().any(|c| test(&c));
    let mixed = has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase) && has(char::is_ascii_digit);
    jwt || (word.len() >= SECRET_CHARS && mixed && word.bytes().all(|b| b.is_ascii_graphic()))
}

/// A word in quotes is harmless when it is a status word, a number, or looks like an id.
pub(super) fn could_be_name(word: &str) -> bool {
    word.split(['.', '!', '\''])
        .any(|part| part.chars().any(char::is_alphabetic) && !is_plain(&part.to_lowercase()) && !is_id(part))
}

/// A status word, given in lower case.
pub(super) fn is_plain(lower: &str) -> bool {
    !lower.is_empty() && PLAIN_WORDS.split_ascii_whitespace().any(|known| known == lower)
}

/// `team-id-123`, `HR_ENGINEER`, `invalidSyntax`, a UUID: ASCII with a digit, an underscore or a hump.
fn is_id(word: &str) -> bool {
    let hump =
        word.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    let camel = hump && word.starts_with(|c: char| c.is_ascii_lowercase());
    word.is_ascii() && (camel || word.contains('_') || word.contains(|c: char| c.is_ascii_digit()))
}

fn is_date(run: &str) -> bool {
    let mut parts = run.split(['-', '/', '.', ' ']).map(str::len);
    matches!(
        (parts.next(), parts.next(), parts.next()),
        (Some(4), Some(2), Some(2)) | (Some(2), Some(2), Some(4))
    )
}

fn is_address(run: &str) -> bool {
    run.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Digits in groups, or with a country code; neither a date nor an IP address.
pub(super) fn is_phone(run: &str) -> bool {
    let digits = run.chars().filter(char::is_ascii_digit).count();
    let international = run.starts_with('+') || run.starts_with("(+") || run.starts_with("00");
    let grouped = run.chars().any(|c| !c.is_ascii_digit());
    let number = international || (grouped && digits >= 9 && !is_date(run) && !is_address(run));
    number && PHONE_DIGITS.contains(&digits)
}
