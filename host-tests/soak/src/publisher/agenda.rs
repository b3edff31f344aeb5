//! The deliveries to come, each due at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::time::Instant;

/// A delivery to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    /// The message's place in the publisher's list.
    pub message: usize,
    /// How often this copy of the message was refused before.
    pub nacks: u32,
}

#[derive(Debug, Default)]
pub struct Agenda(BinaryHeap<Reverse<(Instant, Delivery)>>);

impl Agenda {
    pub fn add(&mut self, due: Instant, delivery: Delivery) {
        self.0.push(Reverse((due, delivery)));
    }

    /// Takes the delivery that is overdue the longest, if one is due `now`.
    pub fn take_due(&mut self, now: Instant) -> Option<Delivery> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, delivery))| delivery)
    }

    /// When the next delivery is due, possibly in the past.
    pub fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn due_deliveries_are_handed_out_in_order() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut agenda = Agenda::default();
        for (due, message) in [(30, 0), (10, 1), (20, 2)] {
            let delivery = Delivery { message, nacks: 0 };
            agenda.add(at(due), delivery);
        }
        assert_eq!(agenda.next(), Some(at(10)));
        assert_eq!(agenda.take_due(at(9)), None);
        let mut taken = || agenda.take_due(at(29)).map(|delivery| delivery.message);
        assert_eq!([taken(), taken(), taken()], [Some(1), Some(2), None]);
        assert!(!agenda.is_empty());
    }
}
