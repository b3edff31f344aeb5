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
    let is_lost = |at| {
        outages
            .iter()
            .any(|away| (away.lost_from..=away.until).contains(&at))
    };
    let lost = by_time.iter().filter(|(at, _)| is_lost(*at));
    sample.extend(lost.map(|(_, message)| *message));
    let others = random.choose_multiple(0..messages.len(), SAMPLE);
    sample.extend(others);
    sample
}

/// How many events were in Svix when a relay was killed, and were acknowledged only afterwards.
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
        let acknowledged = message.history.acknowledged();
        let stored = stored.get(message.event.id.as_str());
        let stored = stored.and_then(|at| at.duration_since(began).ok());
        matches!((stored, acknowledged), (Some(stored), Some(acknowledged))
            if kills.iter().any(|kill| stored < *kill && *kill < acknowledged))
    };
    messages.iter().filter(survived).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::event::Event;
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
        let away = Away {
            lost_from: 4_000 * MS,
            from: 4_010 * MS,
            until: 4_099 * MS,
        };
        let sample = sample(&messages, kills, &[away], &mut Rng::with_seed(1));
        assert!(
            (980..1_000)
                .chain(2_980..3_000)
                .chain(4_000..4_100)
                .all(|at| sample.contains(&at))
        );
        assert!((SAMPLE..=SAMPLE + 2 * BEFORE_KILL + 100).contains(&sample.len()));
    }

    #[test]
    fn a_survivor_was_stored_before_a_kill_and_acknowledged_after_it() {
        let messages = [10, 20, 30].map(message);
        let began = SystemTime::UNIX_EPOCH;
        let stored: Vec<_> = [9, 5, 25]
            .into_iter()
            .zip(&messages)
            .map(|(at, message)| StoredMessage {
                app: "dev".to_owned(),
                id: "msg_1".to_owned(),
                event_id: Some(message.event.id.clone()),
                event_type: "user.created".to_owned(),
                channels: None,
                payload: "{}".to_owned(),
                timestamp: began + at * MS,
                idempotency_key: None,
            })
            .collect();
        assert_eq!(survivors(&messages, &stored, began, &[15 * MS]), 1);
        assert_eq!(survivors(&messages, &stored, began, &[40 * MS]), 0);
    }
}
