//! Applications: creating and deleting one, and the link to its portal.

use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::message::check_app_uid;
use crate::refusal::{Refusal, Violation};
use crate::reply::{self, Reply};
use crate::request::ReceivedRequest;
use crate::store::Store;
use clock::rfc3339;

/// The lifetimes that a link may have, in seconds.
const EXPIRY: std::ops::RangeInclusive<u64> = 3_600..=604_800;

#[derive(Debug)]
pub(crate) struct CreateApplication {
    uid: String,
    name: String,
    get_if_exists: bool,
}

impl CreateApplication {
    pub fn read(request: &ReceivedRequest, too_large: bool) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct ApplicationIn {
            uid: Option<String>,
            name: String,
        }
        let get_if_exists = request.flag("get_if_exists", false)?;
        let application: ApplicationIn = request.json(too_large)?;
        let mut violations = Vec::new();
        if application.name.is_empty() {
            violations.push(Violation::value(
                &["body", "name"],
                "Application names must not be empty.",
            ));
        }
        // Svix accepts an application without a uid. Here it could never be found, so it is
        // refused.
        let uid = application.uid.unwrap_or_default();
        violations.extend(check_app_uid(&["body", "uid"], &uid));
        if violations.is_empty() {
            Ok(Self {
                uid,
                name: application.name,
                get_if_exists,
            })
        } else {
            Err(Refusal::Invalid(violations))
        }
    }

    pub fn execute(&self, store: &mut Store, now: SystemTime) -> Reply {
        let exists = store.has_application(&self.uid);
        if exists && !self.get_if_exists {
            return Refusal::ApplicationExists.reply();
        }
        store.create_application(&self.uid);
        let status = if exists {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        let time = rfc3339(now);
        let application = json!({
            "id": format!("app_{}", self.uid), "uid": self.uid, "name": self.name,
            "createdAt": time, "updatedAt": time, "metadata": {},
        });
        reply::json(status, &application)
    }
}

/// Deletes an application with its messages. Its uid is free again.
pub(crate) fn delete(store: &mut Store, app: &str) -> Reply {
    if !store.has_application(app) {
        return Refusal::ApplicationNotFound.reply();
    }
    store.delete_application(app);
    reply::empty(StatusCode::NO_CONTENT)
}

#[derive(Debug)]
pub(crate) struct OpenPortal<'a> {
    app: &'a str,
    expiry: u64,
}

impl<'a> OpenPortal<'a> {
    pub fn read(app: &'a str, request: &ReceivedRequest, too_large: bool) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct PortalIn {
            expiry: Option<u64>,
        }
        let portal: PortalIn = request.json(too_large)?;
        let expiry = portal.expiry.unwrap_or(*EXPIRY.end());
        if EXPIRY.contains(&expiry) {
            Ok(Self { app, expiry })
        } else {
            let msg = format!("Must be from {} to {}.", EXPIRY.start(), EXPIRY.end());
            let violation = Violation::value(&["body", "expiry"], msg);
            Err(Refusal::Invalid(vec![violation]))
        }
    }

    pub fn execute(&self, store: &mut Store) -> Reply {
        if !store.has_application(self.app) {
            return Refusal::ApplicationNotFound.reply();
        }
        let token = format!("appsk_{:032x}", store.new_link());
        let key = json!({
            "appId": format!("app_{}", self.app), "token": token, "expiry": self.expiry,
        });
        let key = BASE64_STANDARD.encode(key.to_string());
        let url = format!("https://app.svix.com/login#key={key}");
        reply::json(StatusCode::OK, &json!({ "url": url, "token": token }))
    }
}
