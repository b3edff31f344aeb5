//! The replies kept for Idempotency-Keys, and their expiry. The caller decides which replies are
//! kept.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::reply::Reply;
use crate::request::ReceivedRequest;

const KEPT_FOR: Duration = Duration::from_hours(12);

/// Kept replies, by the fingerprint of their request.
#[derive(Debug, Default)]
pub(crate) struct KeptReplies(HashMap<String, (SystemTime, Reply)>);

impl KeptReplies {
    /// A request is identified by its sender, its key and its full URI. The body doesn't count: the
    /// same key with another body gets the reply to the first one, even if that body is invalid.
    pub fn fingerprint(request: &ReceivedRequest) -> Option<String> {
        let key = request.idempotency_key()?;
        let authorization = request.header("authorization")?;
        Some(format!("{authorization}\n{key}\n{}", request.path))
    }

    pub fn get(&self, fingerprint: &str, now: SystemTime) -> Option<&Reply> {
        let (kept_at, reply) = self.0.get(fingerprint)?;
        (now < *kept_at + KEPT_FOR).then_some(reply)
    }

    pub fn keep(&mut self, fingerprint: &str, reply: Reply, now: SystemTime) {
        self.0.insert(fingerprint.to_owned(), (now, reply));
    }
}
