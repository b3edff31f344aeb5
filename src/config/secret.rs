//! Texts that must never be seen.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use subtle::ConstantTimeEq as _;

/// The shortest key that Svix makes, in bytes.
const MIN_SIGNING_KEY: usize = 24;

/// A secret: it has no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn parse(value: &str) -> Result<Self, String> {
        const QUOTES: [char; 2] = ['"', '\''];
        if value.is_empty() {
            Err("is required".to_owned())
        } else if value.starts_with(QUOTES) || value.ends_with(QUOTES) {
            // Docker's --env-file keeps them, for example.
            Err("must not begin or end with a quotation mark".to_owned())
        } else if value.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(value.to_owned()))
        } else {
            Err("must hold only visible ASCII characters, without spaces or line ends".to_owned())
        }
    }

    /// Whether `text` is the secret. A near miss takes as long as a far one.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// The secret itself. Neither log, error nor reply may show it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// The key that signs webhooks; its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

impl SigningKey {
    /// Reads a key as Svix shows it, `whsec_` and base64.
    pub fn parse(value: &str) -> Result<Self, String> {
        let key = value.strip_prefix("whsec_");
        let key = key.and_then(|key| BASE64.decode(key).ok());
        key.filter(|key| key.len() >= MIN_SIGNING_KEY)
            .map(Self)
            .ok_or_else(|| format!("must be whsec_ and at least {MIN_SIGNING_KEY} bytes in base64"))
    }

    /// The key itself, for the check of a signature.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}
