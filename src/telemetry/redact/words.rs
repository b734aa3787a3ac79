//! What a single word looks like: an address, a secret, a telephone number, a name, or something harmless.

use std::ops::RangeInclusive;

/// Opaque text of this length, in letters of both cases and digits, is taken for a secret.
const SECRET_CHARS: usize = 32;
/// ITU-T E.164 numbers have up to 15 digits; below 7 it is more likely something else.
const PHONE_DIGITS: RangeInclusive<usize> = 7..=15;
/// Words that are no name, in quotes or with a capital letter.
const PLAIN_WORDS: &str = "\
    a accepted access account active add address after all allowed already an and another any api are argument as at \
    attempt attribute attributes authentication authorization authorized back bad base basic be bearer because been \
    before begins body broken bulk but by call calls can cannot certificate change changed client close closed code \
    config configuration conflict connect connection contain contains content could count created custom data \
    database date day deleted denied detail details did directory disabled do does down due duplicate each empty \
    enabled end entity entry error errors etag exceeded execute exist existing exists expected expired external \
    extra failed failure false field file filter for forbidden found from full gateway get given go gone grant group \
    groups had has have header held hold holds host how html http https id if illegal in inactive index insufficient \
    internal into invalid io is it its json key later length less license licensed limit line list lock locked long \
    lost malformed many match matches maximum may member members message method minimum missing modified more must \
    mutability name need needs network new next no none not nothing null number object of off ok old on one only op \
    open operation operations or org organization os other out over page parameter parse patch path payload peer \
    permission permissions please policy post precondition primary provider proxy put quota rate read reason \
    received record refused remove replace request requests required reset resource resources response retry role \
    roles schema schemas scim scope seconds see send sensitive sent server service set should since size some stale \
    start state status still stop string such supplied supported syntax system target team teams temporarily \
    temporary than that the their them then there these they this time timed timeout to token too total true try \
    type unable unauthorized unavailable unexpected unique uniqueness unknown unprocessable unsupported until update \
    upstream url us use user users valid value values version wait was we went were what when which while will with \
    within without write written wrong you your";

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

/// A word with a capital letter that is neither a known word nor put together from such: `totalResults` and
/// `ServiceProviderConfig` are none, a first or a last name is one, with or without a number behind it.
pub(super) fn looks_like_name(word: &str) -> bool {
    let mut rest = word;
    while let Some(start) = rest.find(char::is_uppercase) {
        let part = &rest[start..];
        let first = part.chars().next().map_or(0, char::len_utf8);
        let end = part[first..].find(|c: char| !c.is_lowercase()).map_or(part.len(), |end| first + end);
        let hump = word[..word.len() - part.len()].ends_with(char::is_lowercase);
        if end > first && !hump && !is_plain(&part[..end].to_lowercase()) {
            return true;
        }
        rest = &part[end..];
    }
    false
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
