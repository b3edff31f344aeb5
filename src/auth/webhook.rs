//! Verifies the webhooks that Svix sends: the time and the signature (HMAC-SHA256), as Standard Webhooks describes
//! them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::flaw::Flaw;
use crate::config::SigningKey;

/// How far the clocks of Svix and the relay may be apart, in seconds.
const TOLERANCE: u64 = 5 * 60;

/// The longest header that is looked at, in bytes. Svix sends a signature of 47 bytes for each of its keys.
const MAX_HEADER: usize = 1_024;

/// The headers of a webhook, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The same for every attempt at one webhook.
    pub id: String,
    /// In seconds since 1970.
    timestamp: String,
    /// As `v1,{base64}`, one for each key, separated by spaces.
    signatures: String,
}

impl Claims {
    /// Reads the headers `svix-id`, `svix-timestamp` and `svix-signature`, or those that begin with `webhook-`, as
    /// Svix sends them under a customer's own brand.
    pub fn read<'h>(header: impl Fn(&str) -> Option<Cow<'h, str>>, now: u64) -> Result<Self, Flaw> {
        let header = |name: &str| {
            let value =
                header(&format!("svix-{name}")).or_else(|| header(&format!("webhook-{name}")));
            value
                .filter(|value| !value.is_empty() && value.len() <= MAX_HEADER)
                .map(Cow::into_owned)
                .ok_or(Flaw::Webhook)
        };
        let claims = Self {
            id: header("id")?,
            timestamp: header("timestamp")?,
            signatures: header("signature")?,
        };
        let sent: u64 = claims.timestamp.parse().map_err(|_| Flaw::Webhook)?;
        if sent.abs_diff(now) > TOLERANCE {
            return Err(Flaw::WebhookTime);
        }
        Ok(claims)
    }

    /// Fails unless one of the keys has signed the body with this id and time.
    pub fn verify(&self, body: &[u8], keys: &[SigningKey]) -> Result<(), Flaw> {
        let signatures = self.signatures.split(' ');
        let signatures: Vec<_> = signatures
            .filter_map(|signature| BASE64.decode(signature.strip_prefix("v1,")?).ok())
            .collect();
        let is_signed = keys.iter().any(|key| {
            // A key of any length is taken.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else {
                return false;
            };
            for part in [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            let mut signatures = signatures.iter();
            signatures.any(|signature| mac.clone().verify_slice(signature).is_ok())
        });
        if is_signed { Ok(()) } else { Err(Flaw::Signature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of Svix's documentation.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER_KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const SENT: u64 = 1_614_265_330;

    fn claims(signatures: &str, now: u64) -> Result<Claims, Flaw> {
        let header = |name: &str| match name {
            "svix-id" => Some("msg_p5jXN8AQM9LWM0D4loKWxJek".into()),
            "svix-timestamp" => Some(SENT.to_string().into()),
            "svix-signature" => Some(signatures.to_owned().into()),
            _ => None,
        };
        Claims::read(header, now)
    }

    fn verify(signatures: &str, body: &[u8], keys: &[&str]) -> Result<(), Flaw> {
        let keys: Vec<_> = keys.iter().map(|key| SigningKey::parse(key).expect("a key")).collect();
        claims(signatures, SENT)?.verify(body, &keys)
    }

    #[test]
    fn takes_what_one_of_the_keys_has_signed() {
        assert_eq!(verify(SIGNATURE, BODY, &[KEY]), Ok(()));
        assert_eq!(verify(SIGNATURE, BODY, &[OTHER_KEY, KEY]), Ok(()));
        let several = format!("v1a,AAAA v1,AAAA {SIGNATURE}");
        assert_eq!(verify(&several, BODY, &[KEY]), Ok(()));
    }

    #[test]
    fn refuses_what_no_key_has_signed() {
        for (signatures, body, keys) in [
            (SIGNATURE, &BODY[1..], &[KEY][..]),
            (SIGNATURE, BODY, &[OTHER_KEY]),
            (SIGNATURE, BODY, &[]),
            (&SIGNATURE[..40], BODY, &[KEY]),
            (&SIGNATURE[3..], BODY, &[KEY]),
            (&SIGNATURE.replace("v1", "v2"), BODY, &[KEY]),
            ("v1,", BODY, &[KEY]),
            ("v1", BODY, &[KEY]),
        ] {
            assert_eq!(verify(signatures, body, keys), Err(Flaw::Signature), "{signatures}");
        }
    }

    #[test]
    fn the_id_is_signed_as_well() {
        let of_another =
            Claims { id: "msg_other".to_owned(), ..claims(SIGNATURE, SENT).expect("readable") };
        let key = SigningKey::parse(KEY).expect("a key");
        assert_eq!(of_another.verify(BODY, &[key]), Err(Flaw::Signature));
    }

    #[test]
    fn refuses_a_time_that_is_5_minutes_off() {
        for now in [SENT - 300, SENT + 300] {
            assert!(claims(SIGNATURE, now).is_ok());
        }
        for now in [SENT - 301, SENT + 301, 0, u64::MAX] {
            assert_eq!(claims(SIGNATURE, now), Err(Flaw::WebhookTime));
        }
    }

    #[test]
    fn headers_begin_with_svix_or_webhook_and_each_is_required() {
        let all = [("id", "msg_1"), ("timestamp", "7"), ("signature", "v1,AAAA")];
        let read = |prefix: &str, all: &[(&str, &str)]| {
            let header = |name: &str| {
                let mut all = all.iter();
                let found = all.find(|(known, _)| format!("{prefix}-{known}") == name);
                found.map(|(_, value)| (*value).into())
            };
            Claims::read(header, 7)
        };
        assert!(read("svix", &all).is_ok() && read("webhook", &all).is_ok());
        assert_eq!(read("x", &all), Err(Flaw::Webhook));
        let long = "x".repeat(MAX_HEADER + 1);
        for index in 0..all.len() {
            for bad in ["", &long] {
                let mut some = all;
                some[index].1 = bad;
                assert_eq!(read("svix", &some), Err(Flaw::Webhook));
            }
        }
        for time in ["-7", "7.5", "7s"] {
            let some = [all[0], ("timestamp", time), all[2]];
            assert_eq!(read("svix", &some), Err(Flaw::Webhook));
        }
    }
}
