//! The signature of the Standard Webhooks specification (standardwebhooks.com, "Signature scheme"): HMAC-SHA256 over id,
//! moment and body. Pure.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// What follows in a secret that begins so is base64.
const PREFIX: &str = "whsec_";
/// Base64 as people copy it, with its padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Signs messages with one secret; it never shows it.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// Of `whsec_` and base64 the bytes are the key. Any other secret is taken as the text that it is.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        let text = secret.expose_secret();
        let bytes = text.strip_prefix(PREFIX).and_then(|encoded| LENIENT.decode(encoded).ok());
        let bytes = bytes.unwrap_or_else(|| text.as_bytes().to_vec());
        // A key that is longer than a block is hashed first (RFC 2104 §2).
        let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
        if bytes.len() > key.len() {
            key[..32].copy_from_slice(&Sha256::digest(&bytes));
        } else {
            key[..bytes.len()].copy_from_slice(&bytes);
        }
        Self(Hmac::new(&key))
    }

    /// The value of `webhook-signature` for a message that is sent at `timestamp`, in seconds since the Unix epoch.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(secret: &str) -> String {
        let signer = Signer::new(&SecretString::from(secret));
        signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#)
    }

    /// The example that the libraries of Standard Webhooks are tested with.
    #[test]
    fn the_published_example_gets_the_published_signature() {
        let published = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), published);
        // The same key as text has its own bytes.
        assert_ne!(signed("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), published);
    }

    #[test]
    fn a_key_is_the_same_padded_or_not_and_text_is_a_key_as_it_is() {
        assert_eq!(signed("whsec_a2V5"), signed("key"));
        assert_eq!(signed("whsec_a2V5MQ=="), signed("key1"));
        assert_eq!(signed("whsec_a2V5MQ"), signed("key1"));
    }

    /// RFC 4231 §4.7: a key of 131 bytes.
    #[test]
    fn a_key_longer_than_a_block_is_hashed_first() {
        let long = Signer::new(&SecretString::from(format!("whsec_{}", STANDARD.encode([0xaa; 131]))));
        let mut mac = long.0.clone();
        mac.update(b"Test Using Larger Than Block-Size Key - Hash Key First");
        let expected = [
            0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26, 0xaa, 0xcb, 0xf5, 0xb7, 0x7f,
            0x8e, 0x0b, 0xc6, 0x21, 0x37, 0x28, 0xc5, 0x14, 0x05, 0x46, 0x04, 0x0f, 0x0e, 0xe3, 0x7f, 0x54,
        ];
        assert_eq!(mac.finalize().into_bytes().as_slice(), expected);
    }

    #[test]
    fn nothing_of_the_secret_is_shown() {
        let signer = Signer::new(&SecretString::from("hush"));
        assert_eq!(format!("{signer:?}"), "Signer");
    }
}
