//! Links to the portal of an application, and their end.
//!
//! The rules are those of the hosted Svix's specification. The open-source server takes an expiry, capabilities,
//! a read-only mode and a session, and ignores all of them.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::refusal::{Answer, Refusal, Violation};
use crate::reply;
use crate::request::ReceivedRequest;
use crate::store::Store;

/// The lifetimes that a link may have, in seconds.
const EXPIRY: RangeInclusive<u64> = 3_600..=604_800;

/// The times that a link may have left once it is revoked, in seconds.
const END: RangeInclusive<u64> = 0..=259_200;

/// The most sessions whose links are revoked at once.
const MAX_SESSIONS: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
enum Capability {
    ViewBase,
    ViewEndpointSecret,
    ManageEndpointSecret,
    ManageTransformations,
    CreateAttempts,
    ManageEndpoint,
}

/// A link to a portal.
#[derive(Debug)]
pub(crate) struct Link {
    pub app: String,
    pub token: String,
    pub expires: SystemTime,
    session: Option<String>,
}

#[derive(Debug)]
pub(crate) struct OpenPortal<'a> {
    app: &'a str,
    expiry: u64,
    session: Option<String>,
    /// The limits that the link carries.
    limits: Value,
}

impl<'a> OpenPortal<'a> {
    pub fn read(app: &'a str, request: &ReceivedRequest) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct PortalIn {
            expiry: Option<u64>,
            capabilities: Option<Vec<Capability>>,
            read_only: Option<bool>,
            session_id: Option<String>,
        }
        let portal: PortalIn = request.json()?;
        let mut violations = Vec::new();
        let expiry = portal.expiry.unwrap_or(*EXPIRY.end());
        violations.extend(check_range(&["body", "expiry"], expiry, &EXPIRY));
        if let Some(capabilities) = &portal.capabilities {
            let each: BTreeSet<_> = capabilities.iter().collect();
            if each.len() < capabilities.len() || !each.contains(&Capability::ViewBase) {
                let msg = "Must hold ViewBase, and each capability once.";
                violations.push(Violation::value(&["body", "capabilities"], msg));
            }
        }
        let session = portal.session_id;
        violations.extend(session.as_deref().and_then(check_session));
        Refusal::of(violations)?;
        let limits = json!({
            "capabilities": portal.capabilities, "readOnly": portal.read_only,
            "sessionId": session,
        });
        Ok(Self { app, expiry, session, limits })
    }

    pub fn execute(&self, store: &mut Store, now: SystemTime) -> Answer {
        store.application(self.app).ok_or(Refusal::ApplicationNotFound)?;
        let token = format!("appsk_{:032x}", store.links.len() + 1);
        store.links.push(Link {
            app: self.app.to_owned(),
            token: token.clone(),
            expires: now + Duration::from_secs(self.expiry),
            session: self.session.clone(),
        });
        let key = json!({
            "appId": format!("app_{}", self.app), "token": token, "expiry": self.expiry,
            "limits": self.limits,
        });
        let key = BASE64_STANDARD.encode(key.to_string());
        let url = format!("https://app.svix.com/login#key={key}");
        let link = json!({ "url": url, "token": token });
        Ok(reply::json(StatusCode::OK, &link))
    }
}

#[derive(Debug)]
pub(crate) struct RevokePortals<'a> {
    app: &'a str,
    expiry: u64,
    /// Only the links of these; of all if there are none.
    sessions: Vec<String>,
}

impl<'a> RevokePortals<'a> {
    pub fn read(app: &'a str, request: &ReceivedRequest) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ExpireIn {
            expiry: Option<u64>,
            #[serde(default)]
            session_ids: Vec<String>,
        }
        let body: ExpireIn = request.json()?;
        let mut violations = Vec::new();
        let expiry = body.expiry.unwrap_or(0);
        violations.extend(check_range(&["body", "expiry"], expiry, &END));
        violations.extend(body.session_ids.iter().filter_map(|id| check_session(id)));
        if body.session_ids.len() > MAX_SESSIONS {
            let msg = format!("Must be at most {MAX_SESSIONS}.");
            violations.push(Violation::value(&["body", "sessionIds"], msg));
        }
        Refusal::of(violations)?;
        Ok(Self { app, expiry, sessions: body.session_ids })
    }

    pub fn execute(&self, store: &mut Store, now: SystemTime) -> Answer {
        store.application(self.app).ok_or(Refusal::ApplicationNotFound)?;
        let end = now + Duration::from_secs(self.expiry);
        let is_meant = |link: &&mut Link| {
            let session = link.session.as_ref();
            let named = session.is_some_and(|session| self.sessions.contains(session));
            link.app == self.app && (named || self.sessions.is_empty())
        };
        for link in store.links.iter_mut().filter(is_meant) {
            link.expires = link.expires.min(end);
        }
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }
}

fn check_range(loc: &[&'static str], value: u64, range: &RangeInclusive<u64>) -> Option<Violation> {
    let msg = format!("Must be from {} to {}.", range.start(), range.end());
    (!range.contains(&value)).then(|| Violation::value(loc, msg))
}

fn check_session(id: &str) -> Option<Violation> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'@' | b'_' | b'-');
    let is_valid = (1..=64).contains(&id.len()) && id.bytes().all(allowed);
    let msg = "Must be 1 to 64 characters of [a-zA-Z0-9@_-].";
    (!is_valid).then(|| Violation::value(&["body", "sessionId"], msg))
}
