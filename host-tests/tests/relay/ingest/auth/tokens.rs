//! Google's tokens, with every flaw once.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::google::{Google, claims, key, unsigned};
use super::{assert_nothing_stored, assert_refused, bearer, post};
use crate::support::{World, event, wrapped};

/// The claims with one of them changed, or left out.
fn but(world: &World, name: &str, value: Value) -> Value {
    let mut claims = claims(world);
    let fields = claims.as_object_mut().expect("an object");
    match value {
        Value::Null => drop(fields.remove(name)),
        value => drop(fields.insert(name.to_owned(), value)),
    }
    claims
}

fn seconds(world: &World, name: &str, later: i64) -> Value {
    json!(claims(world)[name].as_i64().expect("a time") + later)
}

#[tokio::test(start_paused = true)]
async fn a_token_of_google_for_this_relay_lets_its_sender_in() {
    let google = Google::new(&[key(0), key(1)]);
    let world = google.world();
    assert_eq!(world.get("/readyz").await.json()["ingestAuth"], "pubsub");
    for (number, claims) in [
        claims(&world),
        but(&world, "iss", json!("accounts.google.com")),
        but(&world, "iat", seconds(&world, "iat", 29)),
        but(&world, "exp", seconds(&world, "iat", -29)),
        but(&world, "nbf", seconds(&world, "iat", 29)),
    ]
    .iter()
    .enumerate()
    {
        let authorization = format!("Bearer {}", key(number % 2).token(claims));
        let push = wrapped(event(&format!("evt_{number}")));
        let reply = post(&world, &authorization, &push).await;
        assert_eq!(reply.json()["status"], "delivered", "{claims}");
        let log = world.stdout().concat();
        assert!(!log.contains(&authorization[7..40]), "{log}");
    }
    assert_eq!(google.requests(), 1);
    assert_eq!(google.last_request(), "GET /oauth2/v3/certs?alt=json");
}

#[tokio::test(start_paused = true)]
async fn a_token_with_any_other_claim_is_refused() {
    let (google, world) = Google::with_world();
    let issuer = "iss is not Google";
    let audience = "aud is not pubsub_audience";
    let account = "email is not pubsub_service_account";
    let verified = "email_verified is not true";
    #[rustfmt::skip] // One line for each claim.
    let rows = [
        ("iss", json!(null), issuer),
        ("iss", json!("https://accounts.google.com.evil.example"), issuer),
        ("iss", json!(["https://accounts.google.com"]), issuer),
        ("aud", json!(null), audience),
        ("aud", json!("https://other.example/notifications"), audience),
        ("aud", json!("https://relay.example/notifications/"), audience),
        ("exp", json!(null), "exp is over"),
        ("exp", json!("tomorrow"), "exp is over"),
        ("exp", json!(-1), "exp is over"),
        ("exp", seconds(&world, "iat", -31), "exp is over"),
        ("iat", json!(null), "iat is in the future"),
        ("iat", seconds(&world, "iat", 40), "iat is in the future"),
        ("nbf", seconds(&world, "iat", 40), "nbf is in the future"),
        ("nbf", json!("soon"), "nbf is in the future"),
        ("email", json!(null), account),
        ("email", json!("other@p.iam.gserviceaccount.com"), account),
        ("email", json!("PUSH@p.iam.gserviceaccount.com"), account),
        ("email_verified", json!(null), verified),
        ("email_verified", json!(false), verified),
        ("email_verified", json!("true"), verified),
    ];
    for (name, value, reason) in rows {
        let token = key(0).token(&but(&world, name, value));
        assert_refused(&world, &bearer(&world, &token).await, reason);
    }
    assert_nothing_stored(&world).await;
    assert_eq!(google.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_algorithm_but_rs256_is_refused() {
    let (google, world) = Google::with_world();
    let claims = claims(&world);
    let header = |alg: Value| json!({"alg": alg, "kid": "one", "typ": "JWT"});
    for alg in ["none", "None", "", "HS256", "RS512", "PS256", "ES256", "rs256"] {
        let token = key(0).token_with(&header(json!(alg)), &claims);
        assert_refused(&world, &bearer(&world, &token).await, "alg is not RS256");
    }
    for header in [json!({"kid": "one"}), header(json!(["RS256"])), header(json!(null))] {
        let token = key(0).token_with(&header, &claims);
        assert_refused(&world, &bearer(&world, &token).await, "alg is not RS256");
    }
    let unsigned_token = format!("{}.", unsigned(&header(json!("none")), &claims));
    let reply = bearer(&world, &unsigned_token).await;
    assert_refused(&world, &reply, "alg is not RS256");
    // The token is refused before a key is looked for.
    assert_eq!(google.requests(), 0);

    // The public key taken for a secret, and headers that invite a reader to do so.
    for secret in [key(0).modulus(), key(0).jwk().to_string().into_bytes()] {
        let signed = unsigned(&header(json!("HS256")), &claims);
        let token = format!("{signed}.{}", BASE64.encode(hmac(&secret, &signed)));
        assert_refused(&world, &bearer(&world, &token).await, "alg is not RS256");
        let signed = unsigned(&header(json!("RS256")), &claims);
        let token = format!("{signed}.{}", BASE64.encode(hmac(&secret, &signed)));
        assert_refused(&world, &bearer(&world, &token).await, "wrong signature");
    }
    let critical = json!({"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": false});
    let reply = bearer(&world, &key(0).token_with(&critical, &claims)).await;
    assert_refused(&world, &reply, "not a JWT of Google's form");
    assert_nothing_stored(&world).await;
}

fn hmac(secret: &[u8], message: &str) -> impl AsRef<[u8]> {
    let hmac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    hmac.chain_update(message).finalize().into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_forged_or_changed_token_is_refused() {
    let (_, world) = Google::with_world();
    let claims = claims(&world);
    let good = key(0).token(&claims);
    let (signed, signature) = good.rsplit_once('.').expect("a signature");
    let (header, _) = signed.split_once('.').expect("a header");
    let other = BASE64.encode(but(&world, "sub", json!("me")).to_string());
    let foreign = json!({"alg": "RS256", "kid": "one"});
    let with_header = |header: &[u8]| format!("{}.{other}.{signature}", BASE64.encode(header));
    // A length of whole bytes.
    let half = &signature[..168];
    for token in [
        format!("{header}.{other}.{signature}"),
        key(1).token_with(&foreign, &claims),
        format!("{signed}."),
        format!("{good}.{signature}"),
        format!("{signed}.{half}"),
        format!("{signed}.{half}{signature}"),
        format!("{signed}.{}", BASE64.encode([0; 256])),
        format!("{signed}.{}", BASE64.encode([255; 256])),
    ] {
        assert_refused(&world, &bearer(&world, &token).await, "wrong signature");
    }
    for token in [
        ".",
        "..",
        "...",
        "x.y.z",
        header,
        signed,
        &format!("{good}="),
        &format!(" {good}"),
        &BASE64.encode("[]"),
        &with_header(b"[]"),
        &with_header(b"\xff\xfe"),
        &with_header(br#"{"alg":"RS256"}"#),
    ] {
        let reply = bearer(&world, token).await;
        let log = world.stdout().pop().expect("a line");
        let reason = if log.contains("alg is not") {
            "alg is not RS256"
        } else {
            "not a JWT of Google's form"
        };
        assert_refused(&world, &reply, reason);
    }
    assert_nothing_stored(&world).await;
    assert_eq!(bearer(&world, &good).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_verified_token_is_refused_once_it_has_expired() {
    let (_, world) = Google::with_world();
    let token = key(0).token(&claims(&world));
    for _ in 0..3 {
        assert_eq!(bearer(&world, &token).await.status, 200);
    }
    world.clock.advance(Duration::from_secs(3_600 + 29));
    assert_eq!(bearer(&world, &token).await.status, 200);
    world.clock.advance(Duration::from_secs(2));
    let reply = bearer(&world, &token).await;
    assert_eq!(reply.status, 401);
    assert_eq!(world.lines_with("exp is over").len(), 1);
}
