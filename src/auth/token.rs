//! Verifies Google's OIDC tokens, as Pub/Sub sends them: the claims, their time, and the signature of one
//! of Google's keys. This file only decides; [`super::keys`] fetches the keys.
//!
//! RS256 is the only algorithm, and every key is an RSA key, so a token's header can only get the token
//! refused. The `rsa` crate does the cryptography. A whole JWT library would add 170 kB to the component,
//! and read the clock by itself.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rsa::{BoxedUint, Pkcs1v15Sign, PublicKey};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::flaw::Flaw;
use crate::config::Pubsub;
use crate::json;

/// How far the clocks of Google and the relay may be apart, in seconds.
const SKEW: u64 = 30;

/// The issuer, as Google spells it.
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// The sizes of an RSA modulus that are safe, and not made to keep the relay busy, in bits.
const MODULUS: std::ops::RangeInclusive<usize> = 2_048..=4_096;

/// The most keys that are kept: Google has two or three.
const MAX_KEYS: usize = 16;

/// The most tokens that are remembered: a subscription has one, and the next one while it changes.
const MAX_REMEMBERED: usize = 8;

/// An RSA key that signs tokens; as JSON, a JWK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    kty: &'static str,
    pub kid: String,
    /// The modulus, in base64url.
    n: String,
    /// The exponent, in base64url.
    e: String,
}

impl Key {
    /// A JWK, if it is an RSA key that signs with RS256.
    fn of_jwk(jwk: &str) -> Option<Self> {
        let fields = json::pick(jwk, ["kty", "use", "alg", "kid", "n", "e"]).ok()?;
        let [kty, usage, alg, kid, n, e] = fields;
        let is = |field: Option<&RawValue>, expected: &str| {
            field.and_then(json::string).as_deref() == Some(expected)
        };
        let signs = (usage.is_none() || is(usage, "sig")) && (alg.is_none() || is(alg, "RS256"));
        if !is(kty, "RSA") || !signs {
            return None;
        }
        let text = |field: Option<&RawValue>| Some(json::string(field?)?.into_owned());
        let key = Self { kty: "RSA", kid: text(kid)?, n: text(n)?, e: text(e)? };
        key.public().map(|_| key)
    }

    fn public(&self) -> Option<PublicKey> {
        let [n, e] = [&self.n, &self.e].map(|number| BASE64.decode(number).ok());
        let [n, e] = [n?, e?].map(|bytes| BoxedUint::from_be_slice_vartime(&bytes));
        PublicKey::new_with_size_limits(n, e, MODULUS).ok()
    }
}

/// The RSA keys in a JWK set that sign. `None` if the set holds none.
pub fn keys(jwks: &str) -> Option<Vec<Key>> {
    let [keys] = json::pick(jwks, ["keys"]).ok()?;
    let keys: Vec<&RawValue> = serde_json::from_str(keys?.get()).ok()?;
    let keys = keys.into_iter().filter_map(|key| Key::of_jwk(key.get()));
    let keys: Vec<_> = keys.take(MAX_KEYS).collect();
    (!keys.is_empty()).then_some(keys)
}

/// A token of which nothing is verified yet.
#[derive(Debug)]
pub struct Token<'a> {
    /// The name of the key with which the token claims to be signed.
    pub kid: String,
    /// Header and claims, as they were signed.
    signed: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Token<'a> {
    pub fn parse(token: &'a str) -> Result<Self, Flaw> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Flaw::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(Flaw::Form)?;
        let header = part(header)?;
        let [alg, kid, crit] =
            json::pick(&header, ["alg", "kid", "crit"]).map_err(|_| Flaw::Form)?;
        if alg.and_then(json::string).as_deref() != Some("RS256") {
            return Err(Flaw::Algorithm);
        }
        // A token with critical extensions must be refused by a reader that knows none (RFC 7515).
        if crit.is_some() {
            return Err(Flaw::Form);
        }
        let kid = kid.and_then(json::string).ok_or(Flaw::Form)?;
        Ok(Self { kid: kid.into_owned(), signed, claims, signature })
    }

    /// Checks that `key` has signed the token and that its claims hold at `now`, in seconds since 1970.
    /// Returns the time until which they hold.
    pub fn verify(&self, key: &Key, pubsub: &Pubsub, now: u64) -> Result<u64, Flaw> {
        let public = key.public().ok_or(Flaw::Key)?;
        let signature = BASE64.decode(self.signature).map_err(|_| Flaw::Form)?;
        let digest = Sha256::digest(self.signed);
        public
            .verify(Pkcs1v15Sign::new::<Sha256>(), &digest, &signature)
            .map_err(|_| Flaw::Signature)?;
        check(&part(self.claims)?, pubsub, now)
    }
}

fn part(text: &str) -> Result<String, Flaw> {
    let bytes = BASE64.decode(text).map_err(|_| Flaw::Form)?;
    String::from_utf8(bytes).map_err(|_| Flaw::Form)
}

/// Checks the claims, and returns the time until which they hold.
fn check(claims: &str, pubsub: &Pubsub, now: u64) -> Result<u64, Flaw> {
    let names = ["iss", "aud", "exp", "iat", "nbf", "email", "email_verified"];
    let fields = json::pick(claims, names).map_err(|_| Flaw::Form)?;
    let [iss, aud, exp, iat, nbf, email, email_verified] = fields;
    let is = |field: Option<&RawValue>, accepted: &[&str]| {
        let text = field.and_then(json::string);
        text.is_some_and(|text| accepted.contains(&text.as_ref()))
    };
    let seconds = |field: Option<&RawValue>| field.and_then(|raw| raw.get().parse::<u64>().ok());
    if !is(iss, &ISSUERS) {
        return Err(Flaw::Issuer);
    }
    if !is(aud, &[&pubsub.audience]) {
        return Err(Flaw::Audience);
    }
    let until = seconds(exp).ok_or(Flaw::Expiry)?.saturating_add(SKEW);
    if until <= now {
        return Err(Flaw::Expiry);
    }
    if seconds(iat).is_none_or(|iat| iat > now + SKEW) {
        return Err(Flaw::IssuedAt);
    }
    if nbf.is_some() && seconds(nbf).is_none_or(|nbf| nbf > now + SKEW) {
        return Err(Flaw::NotBefore);
    }
    if !is(email, &[&pubsub.service_account]) {
        return Err(Flaw::Account);
    }
    if email_verified.is_none_or(|raw| raw.get() != "true") {
        return Err(Flaw::AccountVerified);
    }
    Ok(until)
}

/// The tokens that were verified last. Pub/Sub sends the same token for up to an hour, and checking a
/// signature costs more than all the rest of an event.
#[derive(Debug, Default)]
pub struct Verified(Vec<Remembered>);

#[derive(Debug)]
struct Remembered {
    digest: [u8; 32],
    key: Key,
    until: u64,
}

impl Verified {
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether `token` was verified, holds at `now`, and was signed by `key`.
    pub fn holds(&self, token: &str, key: &Key, now: u64) -> bool {
        let digest = Sha256::digest(token);
        let mut known = self.0.iter();
        known.any(|known| known.digest[..] == digest[..] && known.key == *key && now < known.until)
    }

    /// Remembers `token`, which `key` has signed and which holds until `until`.
    pub fn remember(&mut self, token: &str, key: Key, until: u64) {
        if self.0.len() >= MAX_REMEMBERED
            && let Some((first, _)) = self.0.iter().enumerate().min_by_key(|(_, one)| one.until)
        {
            self.0.swap_remove(first);
        }
        let digest = Sha256::digest(token).into();
        self.0.push(Remembered { digest, key, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The example of RFC 7515, appendix A.2.
    const N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const SIGNED: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

    fn key() -> Key {
        let jwks = json!({"keys": [{"kty": "RSA", "kid": "rfc", "n": N, "e": "AQAB"}]});
        let keys = keys(&jwks.to_string()).expect("a key");
        keys.into_iter().next().expect("a key")
    }

    fn pubsub() -> Pubsub {
        Pubsub {
            audience: "https://relay.example".to_owned(),
            service_account: "push@p.example".to_owned(),
            jwks: crate::host::origin::Address {
                origin: crate::host::origin::Origin {
                    https: true,
                    authority: "keys.example".to_owned(),
                },
                path: "/".to_owned(),
            },
        }
    }

    #[test]
    fn refuses_a_signature_of_another_key() {
        let verify = |signature: &str| {
            let token = Token {
                kid: "rfc".to_owned(),
                signed: SIGNED,
                claims: SIGNED.split_once('.').expect("claims").1,
                signature,
            };
            token.verify(&key(), &pubsub(), 0)
        };
        // The signature is good, and the issuer is called Joe.
        assert_eq!(verify(SIGNATURE), Err(Flaw::Issuer));
        assert_eq!(verify(&SIGNATURE.replacen('c', "d", 1)), Err(Flaw::Signature));
        assert_eq!(verify(""), Err(Flaw::Signature));
        assert_eq!(verify("%"), Err(Flaw::Form));
    }

    #[test]
    fn holds_claims_to_their_time() {
        let claims = |iat: u64, exp: u64| {
            let claims = json!({
                "iss": "accounts.google.com", "aud": "https://relay.example", "iat": iat,
                "exp": exp, "email": "push@p.example", "email_verified": true,
            });
            check(&claims.to_string(), &pubsub(), 10_000)
        };
        assert_eq!(claims(10_000, 13_600), Ok(13_630));
        assert_eq!(claims(10_030, u64::MAX), Ok(u64::MAX));
        assert_eq!(claims(10_031, 13_600), Err(Flaw::IssuedAt));
        assert_eq!(claims(6_000, 9_971), Ok(10_001));
        assert_eq!(claims(6_000, 9_970), Err(Flaw::Expiry));
    }

    #[test]
    fn a_set_without_a_signing_key_is_refused() {
        for jwks in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[[],1]}"#] {
            assert_eq!(keys(jwks), None, "{jwks}");
        }
    }

    #[test]
    fn a_token_is_remembered_with_its_key_until_it_expires() {
        let mut verified = Verified::none();
        assert!(!verified.holds("a", &key(), 5));
        verified.remember("a", key(), 10);
        assert!(verified.holds("a", &key(), 9));
        assert!(!verified.holds("a", &key(), 10));
        assert!(!verified.holds("b", &key(), 9));
        let renamed = Key { kid: "other".to_owned(), ..key() };
        assert!(!verified.holds("a", &renamed, 9));
    }

    #[test]
    fn only_the_few_tokens_that_hold_longest_are_remembered() {
        let mut verified = Verified::none();
        for number in 0..100 {
            verified.remember(&number.to_string(), key(), 1_000 + number);
            assert!(verified.0.len() <= MAX_REMEMBERED);
        }
        let known = (0..100).filter(|number| verified.holds(&number.to_string(), &key(), 1_000));
        assert!(known.eq(92..100));
    }
}
