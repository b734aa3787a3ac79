//! The name of a plan: a digest of what it changes. Pure; where a plan comes from, and what becomes of it, is not known
//! here.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::{TeamId, UserId};

/// SHA-256 over who gains and loses which teams, and who is missing: equal for equal plans, whenever they
/// are made. Both are taken in the order in which they come.
#[derive(Debug, Default)]
pub struct PlanDigest(Sha256);

impl PlanDigest {
    /// A user, teams gained, teams lost, each in order.
    pub fn change<'a>(
        &mut self,
        user: &UserId,
        added: impl IntoIterator<Item = &'a TeamId>,
        removed: impl IntoIterator<Item = &'a TeamId>,
    ) {
        self.word(b'u', user.as_str());
        added.into_iter().for_each(|team| self.word(b'+', team.as_str()));
        removed.into_iter().for_each(|team| self.word(b'-', team.as_str()));
    }

    /// A known user whom the list did not show.
    pub fn missing(&mut self, user: &UserId) {
        self.word(b'?', user.as_str());
    }

    fn word(&mut self, kind: u8, text: &str) {
        self.0.update([kind]);
        self.0.update(text.len().to_be_bytes());
        self.0.update(text);
    }

    /// In hexadecimal, 64 digits.
    #[must_use]
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The beginning of a digest, as somebody types it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPrefix(String);

impl DigestPrefix {
    /// So many digits have to be given.
    const LEAST: usize = 6;

    /// Whether this digest begins so.
    #[must_use]
    pub fn fits(&self, digest: &str) -> bool {
        digest.starts_with(&self.0)
    }
}

impl FromStr for DigestPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() < Self::LEAST || !text.chars().all(|digit| digit.is_ascii_hexdigit()) {
            let least = Self::LEAST;
            return Err(format!(
                "a digest has hexadecimal digits, and at least {least} of them have to be given"
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_sees_every_difference() {
        let digest = |changes: &[(&str, &[&str], &[&str])], missing: &[&str]| {
            let mut digest = PlanDigest::default();
            for (user, added, removed) in changes {
                let teams = |ids: &[&str]| ids.iter().map(|id| TeamId::from(*id)).collect::<Vec<_>>();
                digest.change(&UserId::from(*user), &teams(added), &teams(removed));
            }
            for user in missing {
                digest.missing(&UserId::from(*user));
            }
            digest.finish()
        };
        let one = digest(&[("u", &["a"], &["b"])], &[]);
        assert_eq!(one, digest(&[("u", &["a"], &["b"])], &[]));
        for other in [
            digest(&[("u", &["a", "b"], &[])], &[]),
            digest(&[("u", &["b"], &["a"])], &[]),
            digest(&[("u", &["a"], &["b"])], &["v"]),
            digest(&[("v", &["a"], &["b"])], &[]),
            digest(&[], &["u"]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn the_beginning_of_a_digest_has_six_digits_at_least() {
        for text in ["abcdef", "9F86D0818"] {
            assert!(text.parse::<DigestPrefix>().unwrap().fits(&format!("{}12", text.to_lowercase())));
        }
        for text in ["abcde", "nothex", ""] {
            assert!(text.parse::<DigestPrefix>().unwrap_err().contains("at least 6"), "{text}");
        }
    }
}
