//! Pub/Sub's order: of the messages with one ordering key, one is outstanding at a time. Until it is
//! acknowledged, it comes again after every refusal, and the others wait behind it.
//!
//! A copy of an acknowledged message waits for none: Pub/Sub may deliver it again at any time.

use std::collections::{HashMap, VecDeque};

/// The ordering keys with an outstanding message, each with the messages that wait behind it.
#[derive(Debug, Default)]
pub struct OrderingKeys(HashMap<String, VecDeque<usize>>);

impl OrderingKeys {
    /// Takes the next message of `key`. Returns whether it is outstanding now; otherwise it waits.
    pub fn publish(&mut self, key: &str, message: usize) -> bool {
        if let Some(waiting) = self.0.get_mut(key) {
            waiting.push_back(message);
            return false;
        }
        self.0.insert(key.to_owned(), VecDeque::new());
        true
    }

    /// Ends the turn of the outstanding message of `key`. Returns the message whose turn it is now.
    pub fn acknowledge(&mut self, key: &str) -> Option<usize> {
        let next = self.0.get_mut(key)?.pop_front();
        if next.is_none() {
            self.0.remove(key);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_of_a_key_is_outstanding_and_the_others_follow_in_order() {
        let mut keys = OrderingKeys::default();
        let published = [("a", 0), ("b", 1), ("a", 2), ("a", 3)];
        let outstanding = published.map(|(key, message)| keys.publish(key, message));
        assert_eq!(outstanding, [true, true, false, false]);
        assert_eq!(keys.acknowledge("a"), Some(2));
        assert!(!keys.publish("a", 4));
        let rest = [(); 3].map(|()| keys.acknowledge("a"));
        assert_eq!(rest, [Some(3), Some(4), None]);
        assert!(keys.publish("a", 5));
    }
}
