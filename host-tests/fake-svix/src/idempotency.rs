//! The replies kept for Idempotency-Keys. It keeps what it is given and forgets it in time; what
//! deserves to be kept is decided by its caller.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::reply::Reply;

const KEPT_FOR: Duration = Duration::from_hours(12);

/// Replies to be sent again, each under the fingerprint of its request.
#[derive(Debug, Default)]
pub(crate) struct KeptReplies(HashMap<String, (SystemTime, Reply)>);

impl KeptReplies {
    /// What identifies a request: who sends what key to which full URI. The body has no part in
    /// it: the same key with another body gets the reply to the first one.
    pub fn fingerprint(authorization: &str, key: &str, uri: &str) -> String {
        format!("{authorization}\n{key}\n{uri}")
    }

    /// The reply kept under this fingerprint, if it has not expired.
    pub fn get(&self, fingerprint: &str, now: SystemTime) -> Option<&Reply> {
        let (kept_at, reply) = self.0.get(fingerprint)?;
        (now < *kept_at + KEPT_FOR).then_some(reply)
    }

    /// Keeps a reply from now on.
    pub fn keep(&mut self, fingerprint: &str, reply: Reply, now: SystemTime) {
        self.0.insert(fingerprint.to_owned(), (now, reply));
    }
}
