//! Tokens that open the events of one project, for the platform's own dashboard.
//!
//! A token is made of the second at which it expires and of an HMAC over that second and the project. So
//! nothing is stored, and a token of another project is as wrong as a forged one. A token is revoked by
//! removing the secret that has signed it. This file only decides.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Secret;

/// The beginning of every token, by which scanners for secrets find one.
const PREFIX: &str = "srp_";

/// Keeps a signature apart from those that other uses of the same secret would make.
const DOMAIN: &[u8] = b"svix-relay project token 1\0";

/// A token that opens `project` until this second after 1970. `None` without a secret.
pub fn sign(secrets: &[Secret], project: &str, until: u64) -> Option<String> {
    let signature = mac(secrets.first()?, project, until)?.finalize();
    let bytes = [&until.to_be_bytes()[..], &signature.into_bytes()].concat();
    Some(format!("{PREFIX}{}", BASE64.encode(bytes)))
}

/// Whether `token` opens `project` at `now`, in seconds since 1970.
pub fn opens(secrets: &[Secret], project: &str, token: &str, now: u64) -> bool {
    let encoded = token.strip_prefix(PREFIX);
    let Some(bytes) = encoded.and_then(|encoded| BASE64.decode(encoded).ok()) else {
        return false;
    };
    let Some((until, signature)) = bytes.split_first_chunk() else {
        return false;
    };
    let until = u64::from_be_bytes(*until);
    // Every secret is tried, so that no answer comes sooner than another.
    let genuine = secrets.iter().fold(false, |genuine, secret| {
        let mac = mac(secret, project, until);
        genuine | mac.is_some_and(|mac| mac.verify_slice(signature).is_ok())
    });
    genuine && now < until
}

/// The expiry has a fixed length, so no two pairs of expiry and project run together. An HMAC takes a key
/// of any length, so this is never `None`.
fn mac(secret: &Secret, project: &str, until: u64) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(DOMAIN);
    mac.update(&until.to_be_bytes());
    mac.update(project.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secrets<const N: usize>(texts: [&str; N]) -> [Secret; N] {
        texts.map(|text| Secret::parse(text).expect("a secret"))
    }

    /// Tokens outlive the relay that made them: this text must never need to change.
    const TOKEN: &str = "srp_AAAAAGsEV-pecyVjprfzC_lPlgV6ENi7gcYOYFWwylRDTDTt11g3mw";

    #[test]
    fn a_token_opens_its_project_until_it_expires() {
        let secrets = secrets(["new", "old"]);
        assert_eq!(sign(&secrets, "dev", 1_795_446_762).as_deref(), Some(TOKEN));
        assert!(opens(&secrets, "dev", TOKEN, 1_795_446_761));
        assert!(!opens(&secrets, "dev", TOKEN, 1_795_446_762));
        assert_eq!(sign(&[], "dev", 1_795_446_762), None);
    }

    #[test]
    fn a_token_opens_no_other_project() {
        let secrets = secrets(["new"]);
        for project in ["", "de", "devs", "Dev", "dev\0", "d%65v", "dev/", " dev"] {
            assert!(!opens(&secrets, project, TOKEN, 0), "{project}");
        }
    }

    #[test]
    fn a_token_has_one_form() {
        let secrets = secrets(["new"]);
        for other in [
            "",
            "srp_",
            "srp_AAAA",
            &TOKEN[4..],
            &TOKEN.to_uppercase(),
            &TOKEN[..TOKEN.len() - 1],
            &format!("{TOKEN}A"),
            &format!("{TOKEN}="),
            &format!(" {TOKEN}"),
        ] {
            assert!(!opens(&secrets, "dev", other, 0), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_changed_bit_is_overlooked(bit in 0..320_usize) {
            let mut bytes = BASE64.decode(&TOKEN[4..]).expect("base64");
            bytes[bit / 8] ^= 1 << (bit % 8);
            let forged = format!("{PREFIX}{}", BASE64.encode(bytes));
            prop_assert!(!opens(&secrets(["new"]), "dev", &forged, 0));
        }
    }
}
