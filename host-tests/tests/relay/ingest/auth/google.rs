//! Google, as the relay sees it: its keys, the server of the keys, and tokens signed with them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, PrivateKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{Setup, World};

pub const AUDIENCE: &str = "https://relay.example/notifications";
pub const ACCOUNT: &str = "push@p.iam.gserviceaccount.com";

/// The behaviour of the server of the keys.
#[derive(Clone, Debug)]
pub enum Answers {
    Keys,
    /// The connection breaks.
    Down,
    Status(u16),
    Text(String),
    /// The keys come, but only after so many seconds.
    Late(u64),
}

/// The server of the keys. Clones share it.
#[derive(Clone)]
pub struct Google(Arc<Mutex<State>>);

struct State {
    jwks: Value,
    answers: Answers,
    cache_control: Option<String>,
    requests: Vec<String>,
}

impl Google {
    /// A server with these keys.
    pub fn new(keys: &[&Key]) -> Self {
        let google = Self(Arc::new(Mutex::new(State {
            jwks: Value::Null,
            answers: Answers::Keys,
            cache_control: Some("public, max-age=21600, must-revalidate".to_owned()),
            requests: Vec::new(),
        })));
        google.rotate(keys);
        google
    }

    /// A server with the first key, and a world whose senders are verified with that.
    pub fn with_world() -> (Self, World) {
        let google = Self::new(&[key(0)]);
        let world = google.world();
        (google, world)
    }

    pub fn rotate(&self, keys: &[&Key]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.state().jwks = json!({ "keys": keys });
    }

    pub fn answer(&self, answers: Answers) {
        self.state().answers = answers;
    }

    pub fn cache_control(&self, value: Option<&str>) {
        self.state().cache_control = value.map(str::to_owned);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }

    /// How often the server was asked.
    pub fn requests(&self) -> usize {
        self.state().requests.len()
    }

    /// The last request to the server.
    pub fn last_request(&self) -> String {
        let state = self.state();
        state.requests.last().cloned().expect("a request")
    }

    /// A world whose senders are verified with these keys.
    pub fn world(&self) -> World {
        World::build(&self.setup())
    }

    pub fn setup(&self) -> Setup {
        let mut setup = Setup::new();
        setup.variables.extend([
            ("ingest_auth", "pubsub"),
            ("pubsub_audience", AUDIENCE),
            ("pubsub_service_account", ACCOUNT),
            ("pubsub_jwks_url", "http://keys.test/oauth2/v3/certs?alt=json"),
            ("pubsub_jwks_origin", "http://keys.test"),
        ]);
        let google = self.clone();
        let serve = move |io| {
            let google = google.clone();
            tokio::spawn(async move { google.serve(io).await });
        };
        setup.elsewhere = Some(("keys.test", Arc::new(serve)));
        setup
    }

    async fn serve(self, io: tokio::io::DuplexStream) {
        let service = service_fn(|request| {
            let google = self.clone();
            async move { google.reply(request).await }
        });
        // Ignore the result: the server cuts connections on purpose.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
    }

    async fn reply(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
        let (answers, cache_control, jwks) = {
            let mut state = self.state();
            let line = format!("{} {}", request.method(), request.uri());
            state.requests.push(line);
            let jwks = state.jwks.to_string();
            (state.answers.clone(), state.cache_control.clone(), jwks)
        };
        let (status, text) = match answers {
            Answers::Keys => (200, jwks),
            Answers::Down => return Err(Cut),
            Answers::Status(status) => (status, jwks),
            Answers::Text(text) => (200, text),
            Answers::Late(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                (200, jwks)
            }
        };
        let mut reply = Response::builder().status(status);
        if let Some(value) = cache_control {
            reply = reply.header("cache-control", value);
        }
        Ok(reply.body(Full::from(text)).expect("a reply"))
    }
}

#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

pub struct Key {
    pub kid: &'static str,
    private: PrivateKey,
}

/// One of three keys, generated once.
pub fn key(number: usize) -> &'static Key {
    static KEYS: [OnceLock<Key>; 3] = [const { OnceLock::new() }; 3];
    const KIDS: [&str; 3] = ["one", "two", "three"];
    KEYS[number].get_or_init(|| Key::new(KIDS[number], 2_048))
}

impl Key {
    /// A new key with a modulus of `bits`.
    pub fn new(kid: &'static str, bits: usize) -> Self {
        let seed = kid.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte));
        let mut random = Random(fastrand::Rng::with_seed(seed));
        let private = PrivateKey::new(&mut random, bits).expect("a key");
        Self { kid, private }
    }

    pub fn jwk(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": BASE64.encode(self.modulus()),
            "e": "AQAB",
        })
    }

    /// The public key as bytes, which HS256 would use as its secret.
    pub fn modulus(&self) -> Vec<u8> {
        self.private.n().to_be_bytes().to_vec()
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "RS256", "kid": self.kid, "typ": "JWT"}), claims)
    }

    /// A token with this header, signed with RS256 all the same.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let digest = Sha256::digest(&signed);
        let signature = self.private.sign(Pkcs1v15Sign::new::<Sha256>(), &digest);
        format!("{signed}.{}", BASE64.encode(signature.expect("a signature")))
    }
}

/// A token without its signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
    format!("{header}.{claims}")
}

/// Google's claims about Pub/Sub at this time.
pub fn claims(world: &World) -> Value {
    let since = world.clock.now().duration_since(UNIX_EPOCH);
    let now = since.expect("a time").as_secs();
    json!({
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "azp": "113774264463038321964",
        "email": ACCOUNT, "email_verified": true, "sub": "113774264463038321964",
        "iat": now, "exp": now + 3_600,
    })
}

/// Random numbers that are the same in every run.
struct Random(fastrand::Rng);

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.u32(..))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.u64(..))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}
