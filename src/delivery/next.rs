//! Decides whether to post an event or to look it up first. Sends nothing.
//!
//! An event is posted only if Svix surely remembers any key that it was sent with, or if a lookup has just found
//! nothing. It is looked up before its first post if
//! - 11 h 58 min or more have passed since the event came into being, so that Svix may soon forget its key, or nothing
//!   tells its age;
//! - there is a record of the event that doesn't answer it: unknown, unreadable, or of a dead letter;
//! - the event is larger than allowed by now, but may have been sent under a higher limit.
//!
//! It is looked up after a post if
//! - Svix has answered with 409, or with a message that was stored before this request;
//! - Svix has refused the event: an earlier attempt, which nothing records, may have stored the message.
//!
//! Without a record, the event's age is the limit, since no key is older than its event. After a timeout, the same
//! request posts the event again. A later request finds an `unknown` record, and looks the event up first. It doesn't
//! trust the time in the record, since another clock may have written it.
//!
//! | known | next | lookup finds nothing |
//! | --- | --- | --- |
//! | `MayPost` | post; look up after 11 h 58 min | post |
//! | `MaybeSent` | look up | post |
//! | `Conflict(1)` | look up | post once more, after a moment |
//! | `Conflict(2)` | look up | post a last time, two seconds later |
//! | `Conflict(3)` | look up | the id is taken |
//! | `MaybeLost` | look up | post under the next key |
//! | `Refused` | look up | the refusal stands |
//!
//! Each 409 under one key adds one to `Conflict`. A message of an earlier request leads to `MaybeLost`, and a refusal
//! to `Refused`.
//!
//! The longest sequence under one key: look up, then three times post (409) and look up; then the id is taken. Each new
//! key may begin it again. Each time that 11 h 58 min pass adds a lookup.

use std::mem;
use std::time::{Duration, SystemTime};

use crate::records::Unknown;
use crate::svix;
use crate::svix::message::may_have_forgotten;

/// For how long Svix may be at work on an attempt that the relay has given up.
const MAY_BE_AT_WORK: Duration = Duration::from_secs(20);

/// How old an unknown record is before another attempt without an answer renews it: a write for each
/// redelivery would say nothing new.
pub const RENEWED_AFTER: Duration = Duration::from_secs(30);

/// Whether Svix may still be at work on an attempt without an answer. An attempt may end with the `budget` of its
/// notification. The record has the time when that notification came in, or a time up to [`RENEWED_AFTER`] earlier.
pub fn may_be_at_work(record: &Unknown, budget: Duration, now: SystemTime) -> bool {
    record.age(now) < RENEWED_AFTER + budget + MAY_BE_AT_WORK
}

/// The knowledge of the event's message in Svix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    MayPost {
        /// The event may have been sent since this time, and not before.
        since: SystemTime,
        /// How often Svix has answered 409 to a post under the same key.
        conflicts: u8,
    },
    MustLookUp(Why),
}

/// Why only a lookup can tell whether Svix has the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// An earlier request may have sent the event at any time: there is a record of it, it is too large by now, or
    /// nothing tells its age.
    MaybeSent,
    /// Svix has answered 409, so often under the same key: the message may be stored. Or two first messages of the
    /// project race to create its application, or Svix's lookups lag behind its posts.
    Conflict(u8),
    /// Svix answered from its idempotency cache, with this message of an earlier request. It may have lost the message
    /// since.
    MaybeLost(String),
    /// Svix refused the event for good, with this error.
    Refused(svix::Error),
}

impl Known {
    /// Whether the event may be posted. If not, it must be looked up. Decided before every request: the process may have
    /// been suspended past the 12 hours for which Svix knows the idempotency key.
    pub fn may_post(&self, now: SystemTime) -> bool {
        matches!(self, Self::MayPost { since, .. } if !may_have_forgotten(*since, now))
    }

    /// How often Svix has answered 409 to a post under the same key.
    pub fn conflicts(&self) -> u8 {
        match self {
            Self::MayPost { conflicts, .. } | Self::MustLookUp(Why::Conflict(conflicts)) => {
                *conflicts
            }
            Self::MustLookUp(_) => 0,
        }
    }

    /// A lookup at `now` found nothing. Returns why it was due. `None` if only because Svix might forget the key.
    pub fn not_found(&mut self, now: SystemTime) -> Option<Why> {
        let next = Self::MayPost { since: now, conflicts: self.conflicts() };
        match mem::replace(self, next) {
            Self::MustLookUp(why) => Some(why),
            Self::MayPost { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(hours)
    }

    fn may_post(since: SystemTime, conflicts: u8) -> Known {
        Known::MayPost { since, conflicts }
    }

    /// Why a lookup at `now` was due that found nothing.
    fn look_up(known: &mut Known, now: SystemTime) -> Option<Why> {
        assert!(!known.may_post(now));
        known.not_found(now)
    }

    #[test]
    fn a_new_event_is_posted_and_an_old_one_is_looked_up_first() {
        assert!(may_post(hours(1), 0).may_post(hours(2)));
        let mut old = may_post(hours(1), 0);
        let almost = hours(13) - Duration::from_mins(2);
        assert_eq!(look_up(&mut old, almost), None);
        assert_eq!(old, may_post(almost, 0));
        assert!(!old.may_post(hours(25)), "the process was frozen");
    }

    #[test]
    fn an_event_may_be_posted_after_any_lookup_that_finds_nothing() {
        for why in [
            Why::MaybeSent,
            Why::MaybeLost("msg_1".to_owned()),
            Why::Refused(svix::Error::ApplicationMissing),
        ] {
            let mut known = Known::MustLookUp(why.clone());
            assert_eq!(look_up(&mut known, hours(1)), Some(why));
            assert_eq!(known, may_post(hours(1), 0));
        }
    }

    #[test]
    fn conflicts_are_counted_past_lookups_and_the_lifetime_of_a_key() {
        for conflicts in 1..=3 {
            let why = Why::Conflict(conflicts);
            let mut known = Known::MustLookUp(why.clone());
            assert_eq!(look_up(&mut known, hours(1)), Some(why));
            assert_eq!(known, may_post(hours(1), conflicts));
            assert_eq!(look_up(&mut known, hours(13)), None);
            assert_eq!(known.conflicts(), conflicts);
        }
    }
}
