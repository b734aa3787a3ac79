//! A number with its noun, for whatever a person reads. Plain text, in English.

use std::fmt::Display;

/// `count` and `one` if it is 1, otherwise `count` and `many`. Either may bring its verb along: `record is`, `records are`.
#[must_use]
pub fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    let noun = if count == N::from(1) { one } else { many };
    format!("{count} {noun}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn only_one_is_singular() {
        for (count, text) in [(0, "0 users are"), (1, "1 user is"), (2, "2 users are"), (21, "21 users are")]
        {
            assert_eq!(counted::<u64>(count, "user is", "users are"), text);
        }
    }
}
