//! Applications: creating, changing and deleting one.

use std::collections::BTreeMap;
use std::time::SystemTime;

use http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::message::check_app_uid;
use crate::refusal::{Answer, Refusal, Violation};
use crate::reply;
use crate::request::ReceivedRequest;
use crate::store::Store;
use clock::rfc3339;

/// The most metadata, in bytes of JSON.
const MAX_METADATA: usize = 4_096;

/// The description of an application.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details {
    /// The uid is shown if it is empty.
    name: String,
    metadata: BTreeMap<String, String>,
    throttle_rate: Option<u16>,
}

impl Details {
    fn shown(&self, uid: &str, now: SystemTime) -> Value {
        let name = if self.name.is_empty() { uid } else { &self.name };
        let time = rfc3339(now);
        json!({
            "id": format!("app_{uid}"), "uid": uid, "name": name, "createdAt": time, "updatedAt": time,
            "metadata": self.metadata, "rateLimit": self.throttle_rate,
            "throttleRate": self.throttle_rate,
        })
    }
}

/// The rules of `ApplicationIn` and `ApplicationPatch` in `v1/endpoints/application.rs`.
fn check(
    name: Option<&str>,
    metadata: Option<&BTreeMap<String, String>>,
    throttle_rate: Option<u16>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    if name.is_some_and(str::is_empty) {
        violations.push(Violation::value(
            &["body", "name"],
            "Application names must be at least one character",
        ));
    }
    if name.is_some_and(|name| name.bytes().any(|byte| byte <= 8)) {
        let msg = "Control characters 0x00-0x08 not allowed.";
        violations.push(Violation::value(&["body", "name"], msg));
    }
    if metadata.is_some_and(|metadata| json!(metadata).to_string().len() > MAX_METADATA) {
        let msg = format!("metadata must be less than or equal to {MAX_METADATA} bytes");
        violations.push(Violation::value(&["body", "metadata"], msg));
    }
    if throttle_rate == Some(0) {
        let msg = "Application throttle rate must be at least 1 if set";
        violations.push(Violation::value(&["body", "throttleRate"], msg));
    }
    violations
}

fn is_storable(metadata: &BTreeMap<String, String>) -> bool {
    let mut texts = metadata.iter().flat_map(|(name, value)| [name, value]);
    !texts.any(|text| text.contains('\0'))
}

#[derive(Debug)]
pub(crate) struct CreateApplication {
    uid: String,
    details: Details,
    get_if_exists: bool,
}

impl CreateApplication {
    pub fn read(request: &ReceivedRequest) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ApplicationIn {
            uid: Option<String>,
            name: String,
            metadata: Option<BTreeMap<String, String>>,
            throttle_rate: Option<u16>,
        }
        let get_if_exists = request.flag("get_if_exists", false)?;
        let new: ApplicationIn = request.json()?;
        let mut violations = check(Some(&new.name), new.metadata.as_ref(), new.throttle_rate);
        // Svix accepts an application without a uid. Here it could never be found, so it is
        // refused.
        let uid = new.uid.unwrap_or_default();
        violations.extend(check_app_uid(&["body", "uid"], &uid));
        Refusal::of(violations)?;
        let details = Details {
            name: new.name,
            metadata: new.metadata.unwrap_or_default(),
            throttle_rate: new.throttle_rate,
        };
        Ok(Self { uid, details, get_if_exists })
    }

    pub fn execute(&self, store: &mut Store, now: SystemTime) -> Answer {
        let exists = store.has_application(&self.uid);
        if exists && !self.get_if_exists {
            return Err(Refusal::ApplicationExists);
        }
        if !exists && !is_storable(&self.details.metadata) {
            return Err(Refusal::Unstorable);
        }
        let status = if exists {
            StatusCode::OK
        } else {
            store.create_application(&self.uid);
            StatusCode::CREATED
        };
        let details = store.details(&self.uid).ok_or(Refusal::ApplicationNotFound)?;
        if !exists {
            *details = self.details.clone();
        }
        Ok(reply::json(status, &details.shown(&self.uid, now)))
    }
}

pub(crate) fn get(store: &mut Store, app: &str, now: SystemTime) -> Answer {
    let details = store.details(app).ok_or(Refusal::ApplicationNotFound)?;
    Ok(reply::json(StatusCode::OK, &details.shown(app, now)))
}

/// A change of an application. A field that it doesn't name stays. Metadata is replaced as a whole. Svix changes the
/// uid, too; here that is refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PatchApplication {
    name: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    throttle_rate: NewRate,
}

#[derive(Clone, Copy, Debug, Default)]
enum NewRate {
    #[default]
    Missing,
    /// Null takes the limit away.
    There(Option<u16>),
}

impl<'de> Deserialize<'de> for NewRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self::There)
    }
}

impl PatchApplication {
    pub fn read(request: &ReceivedRequest) -> Result<Self, Refusal> {
        let patch: Self = request.json()?;
        let rate = match patch.throttle_rate {
            NewRate::There(rate) => rate,
            NewRate::Missing => None,
        };
        let violations = check(patch.name.as_deref(), patch.metadata.as_ref(), rate);
        Refusal::of(violations)?;
        Ok(patch)
    }

    pub fn execute(&self, store: &mut Store, app: &str, now: SystemTime) -> Answer {
        let details = store.details(app).ok_or(Refusal::ApplicationNotFound)?;
        if self.metadata.as_ref().is_some_and(|it| !is_storable(it)) {
            return Err(Refusal::Unstorable);
        }
        if let Some(name) = &self.name {
            details.name.clone_from(name);
        }
        if let Some(metadata) = &self.metadata {
            details.metadata.clone_from(metadata);
        }
        if let NewRate::There(rate) = self.throttle_rate {
            details.throttle_rate = rate;
        }
        Ok(reply::json(StatusCode::OK, &details.shown(app, now)))
    }
}

/// Deletes an application with its messages. Its uid is free again.
pub(crate) fn delete(store: &mut Store, app: &str) -> Answer {
    store.application(app).ok_or(Refusal::ApplicationNotFound)?;
    store.delete_application(app);
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
