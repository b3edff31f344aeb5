//! Operational webhooks: what Svix tells its user of customers' endpoints.
//!
//! The shapes are those of Svix's open-source server (`core/operational_webhooks.rs`).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::attempt::Attempt;
use crate::endpoint::Endpoint;
use clock::rfc3339;

/// The number of failed attempts after which Svix reports a message as failing.
pub(crate) const FAILING_AFTER: usize = 4;

/// An operational webhook that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The `svix-id`: the same for every attempt to send it.
    pub id: String,
    pub body: String,
}

impl Report {
    /// A report about an endpoint.
    pub(crate) fn of_endpoint(id: String, kind: &str, endpoint: &Endpoint) -> Self {
        let data = json!({
            "appId": app_id(&endpoint.app), "appUid": endpoint.app,
            "endpointId": endpoint.id, "endpointUid": null,
        });
        Self::new(id, kind, &data)
    }

    /// Svix has disabled an endpoint that fails since then.
    pub(crate) fn of_disabled(id: String, endpoint: &Endpoint, since: SystemTime) -> Self {
        let data = json!({
            "appId": app_id(&endpoint.app), "appUid": endpoint.app,
            "endpointId": endpoint.id, "endpointUid": null, "failSince": rfc3339(since),
        });
        Self::new(id, "endpoint.disabled", &data)
    }

    /// A report about a message, after an attempt to bring it to an endpoint.
    pub(crate) fn of_attempt(
        id: String,
        kind: &str,
        app: &str,
        event_id: Option<&str>,
        attempt: &Attempt,
    ) -> Self {
        let data = json!({
            "appId": app_id(app), "appUid": app, "endpointId": attempt.endpoint,
            "msgId": attempt.message, "msgEventId": event_id,
            "lastAttempt": {
                "id": attempt.id, "responseStatusCode": attempt.status,
                "timestamp": rfc3339(attempt.at),
            },
        });
        Self::new(id, kind, &data)
    }

    fn new(id: String, kind: &str, data: &Value) -> Self {
        let body = json!({ "type": kind, "data": data }).to_string();
        Self { id, body }
    }

    /// The headers with which Svix sends the report at this time.
    ///
    /// # Panics
    ///
    /// If the secret is not `whsec_` and base64.
    pub fn headers(&self, secret: &str, now: SystemTime) -> [(&'static str, String); 4] {
        let key = secret.strip_prefix("whsec_");
        let key = key.and_then(|key| BASE64.decode(key).ok()).expect("a secret of Svix");
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
        mac.update(format!("{}.{seconds}.{}", self.id, self.body).as_bytes());
        let signature = BASE64.encode(mac.finalize().into_bytes());
        [
            ("content-type", "application/json".to_owned()),
            ("svix-id", self.id.clone()),
            ("svix-timestamp", seconds.to_string()),
            ("svix-signature", format!("v1,{signature}")),
        ]
    }
}

/// Svix's own id of an application. Here it follows from the uid.
fn app_id(uid: &str) -> String {
    format!("app_{uid}")
}
