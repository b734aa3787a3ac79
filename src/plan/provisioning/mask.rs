//! Values as a rejected row shows them. Pure.

/// What is shown of a value that is nobody's business.
pub(super) const HIDDEN: &str = "***";

/// A mail address by its first letter: it takes no more to find the row. Anything that is no plain address could hold a
/// name anywhere, and is hidden.
pub(super) fn mail(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let Some((local, domain)) = text.split_once('@') else { return HIDDEN.to_owned() };
    if !domain.contains('.') || !domain.chars().all(plain) {
        return HIDDEN.to_owned();
    }
    let mut letters = local.chars().filter(|c| c.is_alphanumeric());
    match (letters.next(), letters.next()) {
        (Some(first), Some(_)) => format!("{first}{HIDDEN}@{HIDDEN}"),
        _ => format!("{HIDDEN}@{HIDDEN}"),
    }
}

/// An id or a role, escaped, no longer than a line.
pub(super) fn id(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = text.chars().take(MOST).flat_map(escaped).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() || super::value::is_invisible(c) { c.escape_default().collect() } else { vec![c] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_shown_than_it_takes_to_find_the_row() {
        for (text, shown) in [
            ("jane@example.com", "j***@***"),
            ("j@example.com", "***@***"),
            ("jane.example.com", "***"),
            ("Jane Doe <jane@example.com>", "***"),
            ("jane@doe", "***"),
            ("jane@example.com@doe.com", "***"),
            ("@example.com", "***@***"),
            ("", "***"),
        ] {
            assert_eq!(mail(text), shown, "{text}");
        }
        assert_eq!(id("a\u{7}b"), "a\\u{7}b");
        assert_eq!(id(&"x".repeat(61)), format!("{}…", "x".repeat(60)));
    }
}
