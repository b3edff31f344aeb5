//! Post the event, or look it up first? Decides from what is known of its message, and sends nothing.
//!
//! An event is posted only if Svix surely remembers any key that it was sent with, or if a lookup has just found
//! nothing. It is looked up before its first post if
//! - 12 hours or more have passed since the event came into being, or nothing tells its age;
//! - there is a record of the event that doesn't answer it: unknown, unreadable, or of a dead letter;
//! - the event is larger than allowed by now, but may have been sent under a higher limit.
//!
//! It is looked up after a post if
//! - Svix has answered with 409, or with a message that was stored before this request;
//! - Svix has refused the event: an earlier attempt, which nothing records, may have stored the message.
//!
//! Without a record, the event's age is the limit, since no key is older than its event. After a timeout within one
//! request, the event is posted again. With an `unknown` record, a later request looks the event up whatever its time:
//! another clock may have written it.
//!
//! | known | next | 409 | lookup finds nothing |
//! | --- | --- | --- | --- |
//! | `MaybeSentSince` | post | `Conflict` | `MaybeSentSince(now)`: post |
//! | `MaybeSentAtAnyTime` | look up | | `MaybeSentSince(now)`: post |
//! | `Conflict` | look up | | `Raced`: post once more |
//! | `Raced` | post | `ConflictAgain` | `Raced(now)`: post |
//! | `ConflictAgain` | look up | | `Waited`: post a last time, two seconds later |
//! | `Waited` | post | `ConflictStands` | `Waited(now)`: post |
//! | `ConflictStands` | look up | | the id is taken |
//! | `Remembered` | look up | | `MaybeSentSince(now)`: post under another key |
//! | `Refused` | look up | | the refusal stands |
//!
//! `MaybeSentSince`, `Raced` and `Waited` hold a time. After 12 hours the event is looked up instead of posted. From any
//! row that posts, a message of an earlier request leads to `Remembered`, and a refusal to `Refused`.
//!
//! The longest sequence under one key: look up, then three times post (409) and look up; then the id is taken. Each new
//! key may begin it again, and so may each time that 12 hours pass.

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
    /// The event may have been sent since this time, and not before.
    MaybeSentSince(SystemTime),
    /// There is a record of the event, it is too large by now, or nothing tells its age.
    MaybeSentAtAnyTime,
    /// Svix answered 409: the message may be stored.
    Conflict,
    /// Svix answered 409, and a lookup at this time found nothing: two first messages of the project
    /// may have raced to create its application.
    Raced(SystemTime),
    /// Svix answered 409 once more.
    ConflictAgain,
    /// A lookup at this time found nothing again. The race may still go on, or Svix's lookups may lag behind its posts.
    Waited(SystemTime),
    /// Svix answered 409 a third time.
    ConflictStands,
    /// Svix answered with this message of an earlier request. It may have lost the message since, and still know the
    /// idempotency key.
    Remembered(String),
    /// Svix refused the event for good, with this error.
    Refused(svix::Error),
}

/// The next step after a lookup that found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterLookup {
    /// Post the event.
    Post,
    /// Post it once more, after a moment, in which the race is most often settled.
    PostAfterRace,
    /// Post it a last time, once race and lag are over.
    PostAfterLag,
    /// Post it under another key: Svix doesn't show the message with this id any more, or not yet.
    PostAnew(String),
    /// The event's id belongs to another message.
    IdTaken,
    /// Svix will never take the event.
    Refused(svix::Error),
}

impl Known {
    /// Whether to look the event up instead of posting it. Decided before every request: the process may have been
    /// suspended past the 12 hours for which Svix knows the idempotency key.
    pub fn must_look_up(&self, now: SystemTime) -> bool {
        match self {
            Self::MaybeSentSince(since) | Self::Raced(since) | Self::Waited(since) => {
                may_have_forgotten(*since, now)
            }
            Self::MaybeSentAtAnyTime
            | Self::Conflict
            | Self::ConflictAgain
            | Self::ConflictStands
            | Self::Remembered(_)
            | Self::Refused(_) => true,
        }
    }

    /// A post was answered with 409.
    pub fn conflict(&mut self) {
        *self = match self {
            Self::MaybeSentSince(_)
            | Self::MaybeSentAtAnyTime
            | Self::Conflict
            | Self::Remembered(_)
            | Self::Refused(_) => Self::Conflict,
            Self::Raced(_) | Self::ConflictAgain => Self::ConflictAgain,
            Self::Waited(_) | Self::ConflictStands => Self::ConflictStands,
        };
    }

    /// A lookup at `now` found nothing.
    pub fn not_found(&mut self, now: SystemTime) -> AfterLookup {
        match mem::replace(self, Self::MaybeSentSince(now)) {
            Self::MaybeSentSince(_) | Self::MaybeSentAtAnyTime => AfterLookup::Post,
            Self::Conflict | Self::Raced(_) => {
                *self = Self::Raced(now);
                AfterLookup::PostAfterRace
            }
            Self::ConflictAgain => {
                *self = Self::Waited(now);
                AfterLookup::PostAfterLag
            }
            Self::Waited(_) => {
                *self = Self::Waited(now);
                AfterLookup::Post
            }
            Self::ConflictStands => AfterLookup::IdTaken,
            Self::Remembered(lost) => AfterLookup::PostAnew(lost),
            Self::Refused(error) => AfterLookup::Refused(error),
        }
    }

    /// Whether Svix has answered that it may have the message, and no lookup has settled that.
    pub fn is_open(&self) -> bool {
        matches!(
            self,
            Self::Conflict | Self::ConflictAgain | Self::ConflictStands | Self::Remembered(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(hours)
    }

    #[test]
    fn a_new_event_is_posted_and_an_old_one_is_looked_up_first() {
        assert!(!Known::MaybeSentSince(hours(1)).must_look_up(hours(2)));
        let mut old = Known::MaybeSentSince(hours(1));
        assert!(old.must_look_up(hours(13)));
        assert_eq!(old.not_found(hours(13)), AfterLookup::Post);
        assert!(!old.must_look_up(hours(13)));
        assert!(old.must_look_up(hours(25)), "the process was frozen");
        assert!(Known::MaybeSentAtAnyTime.must_look_up(hours(1)));
    }

    #[test]
    fn a_refusal_is_believed_once_a_lookup_finds_nothing() {
        let error = svix::Error::ApplicationMissing;
        let mut known = Known::Refused(error.clone());
        assert!(known.must_look_up(hours(1)));
        assert_eq!(known.not_found(hours(1)), AfterLookup::Refused(error));
        assert!(!known.is_open());
    }

    #[test]
    fn a_message_of_an_earlier_request_is_looked_up_and_replaced_if_it_is_lost() {
        let mut known = Known::Remembered("msg_1".to_owned());
        assert!(known.is_open());
        assert!(known.must_look_up(hours(1)));
        let anew = AfterLookup::PostAnew("msg_1".to_owned());
        assert_eq!(known.not_found(hours(1)), anew);
        assert!(!known.is_open());
        assert!(!known.must_look_up(hours(1)));
    }

    #[test]
    fn a_conflict_is_looked_up_and_an_absent_message_is_posted_once_more() {
        let mut known = Known::MaybeSentSince(hours(1));
        known.conflict();
        assert!(known.is_open());
        assert!(known.must_look_up(hours(1)));
        assert_eq!(known.not_found(hours(1)), AfterLookup::PostAfterRace);
        assert!(!known.is_open());
        assert!(!known.must_look_up(hours(1)));
        known.conflict();
        assert!(known.must_look_up(hours(1)));
        assert!(known.is_open());
        assert_eq!(known.not_found(hours(1)), AfterLookup::PostAfterLag);
        assert!(!known.must_look_up(hours(1)));
        known.conflict();
        assert!(known.must_look_up(hours(1)));
        assert!(known.is_open());
        assert_eq!(known.not_found(hours(1)), AfterLookup::IdTaken);
        assert!(!known.is_open(), "the lookup has explained it");
    }
}
