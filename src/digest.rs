//! SHA-256, written as 64 hexadecimal digits.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

pub fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut hex = String::with_capacity(64);
    for byte in hash.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The digest of two texts. `first` holds no zero byte, so no two pairs run together.
pub fn of_pair(first: &str, second: &str) -> String {
    sha256_hex(&[first.as_bytes(), b"\0", second.as_bytes()])
}
