//! Every fault of Svix × the attempts that meet it × the kind of duplicate × the form. The tests check the
//! replies, Svix's messages and the store's contents.

use std::time::Duration;

use futures::future::join;
use http::Method;

use fake_svix::Fault;

use super::table::{REFUSED, Row, rows};
use super::{
    DEAD_LETTERED, DELIVERED, DUPLICATE, Form, ID, KEPT, LIMITED, NO_RECORD, RECORDED, Seen, State,
    UNAVAILABLE, UNKNOWN, View, assert_justified, finish, letters, told,
};
use crate::support::{World, event, world};

/// Which attempts meet the fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    First,
    /// The attempt after one that failed.
    Second,
    /// The attempt after one that failed, but whose message Svix has stored.
    SecondAfterStoring,
    All,
}

impl When {
    const EACH: [Self; 4] = [Self::First, Self::Second, Self::SecondAfterStoring, Self::All];

    /// Prepares the fault for so many senders at once.
    fn prepare(self, world: &World, fault: &Fault, senders: usize) {
        let before = match self {
            Self::First => None,
            Self::Second => Some(Fault::status(500)),
            Self::SecondAfterStoring => Some(Fault::ResetAfterStoring),
            Self::All => return world.svix.always(fault.clone()),
        };
        world.svix.script(before.into_iter().cycle().take(senders));
        world.svix.script([fault.clone()]);
    }

    /// The outcome that applies, of those for "once" and "always".
    fn of(self, (once, always): (View, View)) -> View {
        if self == Self::All { always } else { once }
    }
}

#[derive(Debug)]
struct Cell {
    row: Row,
    when: When,
    form: Form,
}

fn cells() -> impl Iterator<Item = Cell> {
    rows().into_iter().flat_map(|row| {
        When::EACH.into_iter().flat_map(move |when| {
            let row = row.clone();
            [Form::Direct, Form::Wrapped, Form::Unwrapped].map(move |form| Cell {
                row: row.clone(),
                when,
                form,
            })
        })
    })
}

impl Cell {
    async fn deliver(&self, world: &World) -> String {
        let event = event(ID);
        let (reply, took) = world.timed(self.form.deliver(world, &event)).await;
        // The default budget bounds the request.
        let longest = Duration::from_millis(8_100);
        assert!(took <= longest, "{self:?} took {took:?}");
        told(&reply)
    }

    /// Whether the relay looks for the message before it believes the answer.
    fn is_refusal(&self) -> bool {
        self.row.post.0 == REFUSED
    }

    /// The reply to a sender whose post meets the fault.
    fn view(&self) -> View {
        let view = match self.when {
            // Svix may still be at work on the attempt before.
            When::Second if self.is_refusal() => UNAVAILABLE,
            When::SecondAfterStoring if self.is_refusal() => DELIVERED,
            when => when.of(self.row.post),
        };
        let is_final = view.starts_with("422");
        if is_final && self.form != Form::Direct { DEAD_LETTERED } else { view }
    }

    /// The store's knowledge after that.
    fn state(&self) -> State {
        match (self.view(), self.when) {
            (DELIVERED, _) => RECORDED,
            (DEAD_LETTERED, _) => KEPT,
            // The attempt before ended without an answer.
            (_, When::Second | When::SecondAfterStoring) => UNKNOWN,
            _ => self.row.leaves,
        }
    }

    fn held(&self) -> usize {
        let stored = self.row.stores || self.when == When::SecondAfterStoring;
        usize::from(stored || self.view() == DELIVERED)
    }

    async fn assert(&self, world: &World, told: &[String], expected: &Seen) {
        let seen = Seen::of(world, told.to_vec()).await;
        assert_eq!(&seen, expected, "{self:?}");
        assert_justified(&seen, world, self).await;
        finish(world, self.form, self).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_event_meets_every_fault() {
    for cell in cells() {
        let world = world();
        cell.when.prepare(&world, &cell.row.fault, 1);
        let told = cell.deliver(&world).await;
        let kept = usize::from(told == DEAD_LETTERED);
        assert_eq!(letters(&world).await.len(), kept, "{cell:?}");
        let expected = Seen {
            told: vec![cell.view().to_owned()],
            held: cell.held(),
            state: cell.state().to_owned(),
        };
        cell.assert(&world, &[told], &expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_deliveries_of_one_event_at_once_meet_every_fault() {
    for cell in cells() {
        let world = world();
        cell.when.prepare(&world, &cell.row.fault, 2);
        // The latency lets both deliveries begin before either has an answer.
        world.svix.set_latency(Duration::from_millis(50));
        let (one, other) = join(cell.deliver(&world), cell.deliver(&world)).await;
        let seen = Seen::of(&world, vec![one, other]).await;

        // One of the two meets the fault.
        let mut others = vec![cell.when.of((DELIVERED, cell.view()))];
        if cell.row.post.1 == LIMITED {
            // The other one may also meet the closed gate.
            others.push(LIMITED);
        }
        let mut views = vec![cell.view()];
        if cell.is_refusal() && cell.when != When::All {
            // The refused one may find the message of the other.
            views.push(DELIVERED);
        }
        let pairs = others.iter().flat_map(|other| views.iter().map(move |view| (*view, *other)));
        let expected: Vec<_> = pairs
            .map(|(view, other)| {
                let mut told = [view.to_owned(), other.to_owned()];
                told.sort_unstable();
                told
            })
            .collect();
        assert!(
            expected.iter().any(|told| told[..] == seen.told),
            "{cell:?}: {seen:?} instead of {expected:?}"
        );
        let delivered = seen.told.iter().any(|told| told == DELIVERED);
        let held = usize::from(delivered).max(cell.held());
        assert_eq!(seen.held, held, "{cell:?}: {seen:?}");
        let state = if delivered { RECORDED } else { cell.state() };
        assert_eq!(seen.state, state, "{cell:?}: {seen:?}");
        assert_justified(&seen, &world, &cell).await;
        finish(&world, cell.form, &cell).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_with_a_record_meets_no_fault() {
    for cell in cells() {
        let world = world();
        assert_eq!(cell.deliver(&world).await, DELIVERED);
        world.clock.advance(Duration::from_hours(49));
        cell.when.prepare(&world, &cell.row.fault, 1);
        let told = cell.deliver(&world).await;
        assert_eq!(world.svix.requests().len(), 1, "{cell:?}");
        let expected =
            Seen { told: vec![DUPLICATE.to_owned()], held: 1, state: RECORDED.to_owned() };
        cell.assert(&world, &[told], &expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_whose_record_is_lost_meets_every_fault() {
    for cell in cells() {
        let world = world();
        world.faults.lose_next_set();
        assert_eq!(cell.deliver(&world).await, DELIVERED);
        // Svix has forgotten key and eventId, unless a fault makes a lookup wrong: then the eventId must
        // prevent a second message.
        let lies = cell.row.fault == Fault::status(404);
        let hours = if lies { 13 } else { 49 };
        world.clock.advance(Duration::from_hours(hours));
        cell.when.prepare(&world, &cell.row.fault, 1);
        let told = cell.deliver(&world).await;
        let view = cell.when.of(cell.row.lookup);
        let expected = Seen {
            told: vec![view.to_owned()],
            held: 1,
            state: match view {
                DELIVERED => RECORDED,
                // The event was posted after such a lookup, and the post was not answered by Svix.
                _ if lies => UNKNOWN,
                _ => NO_RECORD,
            }
            .to_owned(),
        };
        cell.assert(&world, &[told], &expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_fails_late_hides_no_dead_letter() {
    let world = world();
    let cell = Cell { row: rows().remove(0), when: When::All, form: Form::Wrapped };
    // Svix never answers the slow delivery; it refuses the one that overtakes it.
    let hang = Fault::HangBeforeStoring;
    world.svix.always_for(&Method::POST, hang);
    let overtaking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.svix.script([Fault::status(422)]);
        cell.deliver(&world).await
    };
    let (slow, quick) = join(cell.deliver(&world), overtaking).await;
    assert_eq!((&*slow, &*quick), (UNAVAILABLE, DEAD_LETTERED));
    let seen = Seen::of(&world, vec![slow, quick]).await;
    assert_eq!(seen.state, KEPT);
    assert_justified(&seen, &world, &cell).await;
    finish(&world, cell.form, &cell).await;
}
