//! Texts that must never be seen.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// A secret: it has no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn parse(value: &str) -> Result<Self, String> {
        if value.is_empty() {
            Err("is required".to_owned())
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

    /// The secret itself, for the one header that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}
