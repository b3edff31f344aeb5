//! Pub/Sub's slow start: how many deliveries may be in flight at once. Pure decisions: the caller passes
//! the outcome of each delivery.

use std::time::Duration;

use tokio::time::Instant;

/// The size at the start, and the smallest one.
const SMALLEST: usize = 4;

/// A slower ack doesn't open the window.
const PROMPT: Duration = Duration::from_secs(1);

/// The push window. Each round of prompt acks doubles the window. A nack halves it, and from then
/// on it grows by one each round.
#[derive(Debug)]
pub struct Window {
    size: usize,
    largest: usize,
    threshold: usize,
    acks: usize,
    shrunk: Option<Instant>,
}

impl Window {
    pub fn new(largest: usize) -> Self {
        let largest = largest.max(1);
        Self { size: SMALLEST.min(largest), largest, threshold: largest, acks: 0, shrunk: None }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn on_ack(&mut self, took: Duration) {
        if took >= PROMPT {
            return;
        }
        self.acks += 1;
        if self.size < self.threshold || self.acks >= self.size {
            self.acks = 0;
            self.size = self.largest.min(self.size + 1);
        }
    }

    pub fn on_nack(&mut self, sent: Instant, now: Instant) {
        // Deliveries that were in flight together fail together: count them once.
        if self.shrunk.is_some_and(|shrunk| sent < shrunk) {
            return;
        }
        self.shrunk = Some(now);
        self.acks = 0;
        self.size = (self.size / 2).max(SMALLEST).min(self.largest);
        self.threshold = self.size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(5);

    fn acks(window: &mut Window, count: usize) -> usize {
        (0..count).for_each(|_| window.on_ack(QUICK));
        window.size()
    }

    #[test]
    fn the_window_doubles_with_each_round_of_prompt_acks_up_to_its_bound() {
        let mut window = Window::new(20);
        assert_eq!(window.size(), 4);
        assert_eq!(acks(&mut window, 4), 8);
        assert_eq!(acks(&mut window, 8), 16);
        assert_eq!(acks(&mut window, 100), 20);
    }

    #[test]
    fn slow_acks_do_not_open_the_window() {
        let mut window = Window::new(20);
        (0..100).for_each(|_| window.on_ack(PROMPT));
        assert_eq!(window.size(), 4);
    }

    #[test]
    fn a_nack_halves_the_window_which_then_grows_by_one_each_round() {
        let mut window = Window::new(64);
        acks(&mut window, 60);
        let now = Instant::now();
        window.on_nack(now, now + QUICK);
        assert_eq!(window.size(), 32);
        assert_eq!(acks(&mut window, 31), 32);
        assert_eq!(acks(&mut window, 1), 33);
        assert_eq!(acks(&mut window, 33), 34);
    }

    #[test]
    fn nacks_of_one_round_count_as_one() {
        let mut window = Window::new(64);
        acks(&mut window, 60);
        let now = Instant::now();
        (0..64).for_each(|_| window.on_nack(now, now + QUICK));
        assert_eq!(window.size(), 32);
        window.on_nack(now + QUICK, now + 2 * QUICK);
        assert_eq!(window.size(), 16);
    }

    #[test]
    fn the_window_never_closes_and_never_exceeds_its_bound() {
        let mut window = Window::new(64);
        let mut now = Instant::now();
        for _ in 0..100 {
            now += QUICK;
            window.on_nack(now, now);
        }
        assert_eq!(window.size(), SMALLEST);
        assert_eq!(Window::new(1).size(), 1);
        assert_eq!(acks(&mut Window::new(1), 9), 1);
    }
}
