//! The events that a kill may have hit: between Svix's reply and the record, or between the record
//! and the relay's reply.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use fastrand::Rng;

use crate::publisher::message::Message;
use crate::storm::outage::Away;
use fake_svix::StoredMessage;

/// How many events are delivered once more at the end.
const SAMPLE: usize = 500;

/// How many more for each kill: those acknowledged last before it.
const BEFORE_KILL: usize = 20;

/// The messages to deliver once more: those whose records a kill may have hit, all whose records Redis may
/// have lost, and random others.
pub fn sample(
    messages: &[Message],
    kills: impl Iterator<Item = Duration>,
    outages: &[Away],
    random: &mut Rng,
) -> BTreeSet<usize> {
    let mut by_time: Vec<_> = (0..messages.len())
        .filter_map(|at| Some((messages[at].history.acknowledged()?, at)))
        .collect();
    by_time.sort_unstable();
    let mut sample = BTreeSet::new();
    for kill in kills {
        let before = by_time.partition_point(|(at, _)| *at < kill);
        let last = &by_time[before.saturating_sub(BEFORE_KILL)..before];
        sample.extend(last.iter().map(|(_, message)| *message));
    }
    let is_lost = |at| outages.iter().any(|away| (away.lost_from..=away.until).contains(&at));
    let lost = by_time.iter().filter(|(at, _)| is_lost(*at));
    sample.extend(lost.map(|(_, message)| *message));
    let others = random.choose_multiple(0..messages.len(), SAMPLE);
    sample.extend(others);
    sample
}

/// How many events were in Svix when a kill broke their delivery off, and were acknowledged only afterwards.
pub fn survivors(
    messages: &[Message],
    stored: &[StoredMessage],
    began: SystemTime,
    kills: &[Duration],
) -> usize {
    let stored: HashMap<_, _> = stored
        .iter()
        .filter_map(|message| Some((message.event_id.as_deref()?, message.timestamp)))
        .collect();
    let survived = |message: &&Message| {
        let history = &message.history;
        let stored = stored.get(message.event.id.as_str());
        let stored = stored.and_then(|at| at.duration_since(began).ok());
        let (Some(stored), Some(acknowledged)) = (stored, history.acknowledged()) else {
            return false;
        };
        let is_hit_by = |kill| stored < kill && kill < acknowledged && history.is_broken_at(kill);
        kills.iter().copied().any(is_hit_by)
    };
    messages.iter().filter(survived).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::event::Event;
    use crate::publisher::history::History;
    use crate::publisher::history::testing::after;
    use crate::publisher::outcome::Outcome;

    const MS: Duration = Duration::from_millis(1);

    /// A message that was acknowledged so many milliseconds after the start.
    fn message(number: u32) -> Message {
        let event = Event {
            id: format!("evt_{number}"),
            project: "dev",
            ordering_key: None,
            text: "{}".into(),
        };
        let mut message = Message::new(0, event, "", None);
        let outcome = Outcome::of_reply(200, b"");
        message.history.note(number * MS, Duration::ZERO, outcome);
        message
    }

    #[test]
    fn the_sample_holds_messages_that_a_kill_or_redis_may_have_lost_and_others() {
        let messages: Vec<_> = (0..5_000).map(message).collect();
        let kills = [1_000 * MS, 3_000 * MS].into_iter();
        let away = Away { lost_from: 4_000 * MS, from: 4_010 * MS, until: 4_099 * MS };
        let sample = sample(&messages, kills, &[away], &mut Rng::with_seed(1));
        assert!(
            (980..1_000).chain(2_980..3_000).chain(4_000..4_100).all(|at| sample.contains(&at))
        );
        assert!((SAMPLE..=SAMPLE + 2 * BEFORE_KILL + 100).contains(&sample.len()));
    }

    /// How many events survive kills at these times, if they are stored and delivered so.
    fn survivors_of(kills: &[u32], events: &[(u32, History)]) -> usize {
        let began = SystemTime::UNIX_EPOCH;
        let events = (1..).zip(events);
        let (messages, stored): (Vec<_>, Vec<_>) = events
            .map(|(number, (stored_at, history))| {
                let mut message = message(number);
                message.history = history.clone();
                let stored = StoredMessage {
                    app: "dev".to_owned(),
                    id: "msg_1".to_owned(),
                    event_id: Some(message.event.id.clone()),
                    event_type: "user.created".to_owned(),
                    channels: None,
                    payload: "{}".to_owned(),
                    timestamp: began + *stored_at * MS,
                    idempotency_key: None,
                };
                (message, stored)
            })
            .unzip();
        let kills: Vec<_> = kills.iter().map(|at| *at * MS).collect();
        survivors(&messages, &stored, began, &kills)
    }

    /// A delivery that a kill breaks off at 15 ms, and the acknowledgement at 31 ms.
    fn broken_off() -> History {
        let mut history = History::default();
        history.note(5 * MS, 10 * MS, Outcome::Broken);
        history.note(30 * MS, MS, Outcome::of_reply(200, b""));
        history
    }

    #[test]
    fn a_survivor_was_stored_before_a_kill_and_acknowledged_after_it() {
        let events = [(9, broken_off())];
        assert_eq!(survivors_of(&[12], &events), 1);
        assert_eq!(survivors_of(&[8, 40], &events), 0);
        assert_eq!(survivors_of(&[12], &[(14, broken_off())]), 0);
    }

    #[test]
    fn an_event_whose_delivery_the_kill_does_not_break_off_is_no_survivor() {
        let refused = after(&[(5, 4, 503, ""), (30, 1, 200, "")]);
        let at_another_node = after(&[(5, 20, 200, "")]);
        assert_eq!(survivors_of(&[12], &[(9, refused), (9, at_another_node)]), 0);
        // Pub/Sub has sent the event again, and another node has acknowledged it.
        let mut acknowledged_before = after(&[(2, 3, 200, "")]);
        acknowledged_before.note(5 * MS, 10 * MS, Outcome::Broken);
        assert_eq!(survivors_of(&[12], &[(3, acknowledged_before)]), 0);
    }
}
