//! Every call of the relay to its store × every fault of that call: the reply to the sender, Svix's
//! messages and the store's contents. A store that fails delays an event, and no more.

use std::time::Duration;

use tokio::time::timeout;

use fake_svix::Fault as SvixFault;
use host::{Faults, Op};

use super::{
    DEAD_LETTERED, DELIVERED, Form, ID, KEPT, NO_RECORD, RECORDED, STORE_FAILING, Seen, State,
    UNAVAILABLE, UNKNOWN, View, assert_justified, finish, letters, told,
};
use crate::support::{World, event, hold_up, world, wrapped};

/// When Pub/Sub gives up waiting, by default.
const DEADLINE: Duration = Duration::from_secs(10);

/// The view of a sender that gave up waiting.
const NOTHING: View = "nothing";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Open,
    GetRecord,
    GetGate,
    /// Did other events fail, too?
    GetGateFailed,
    /// The look at the gate after a wait there.
    GetGateAgain,
    /// Counts one more failure in a row.
    SetRun,
    /// Ends the run of failures after a success.
    SetRunOver,
    /// Closes the gate, because Svix limits the rate.
    SetGateClosed,
    SetGateProbing,
    SetGateOpen,
    SetDelivered,
    /// Did another delivery get further?
    GetBeforeUnknown,
    SetUnknown,
    /// Precedes the writing of a dead letter.
    GetBeforeKeeping,
    /// Opens the store by its other interface, for the calls below.
    OpenBucket,
    /// Writes the body of a dead letter.
    SetBody,
    Increment,
    SetMany,
    /// Was this notification without an event here before?
    GetRejected,
    SetBodyForRejected,
    IncrementForRejected,
    SetManyForRejected,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Fails,
    Hangs,
    /// The call takes a second. With more, it would be as good as hanging.
    IsSlow,
    Loses,
    WritesAndFails,
    WritesAndHangs,
}

const CALLS: [Call; 22] = [
    Call::Open,
    Call::GetRecord,
    Call::GetGate,
    Call::GetGateFailed,
    Call::GetGateAgain,
    Call::SetRun,
    Call::SetRunOver,
    Call::SetGateClosed,
    Call::SetGateProbing,
    Call::SetGateOpen,
    Call::SetDelivered,
    Call::GetBeforeUnknown,
    Call::SetUnknown,
    Call::GetBeforeKeeping,
    Call::OpenBucket,
    Call::SetBody,
    Call::Increment,
    Call::SetMany,
    Call::GetRejected,
    Call::SetBodyForRejected,
    Call::IncrementForRejected,
    Call::SetManyForRejected,
];

pub const FAULTS: [Fault; 6] = [
    Fault::Fails,
    Fault::Hangs,
    Fault::IsSlow,
    Fault::Loses,
    Fault::WritesAndFails,
    Fault::WritesAndHangs,
];

/// The table: what the sender is told, how many messages Svix holds, what the store knows.
/// `None`: there is no such fault of this call.
#[rustfmt::skip] // One line per outcome.
#[expect(clippy::match_same_arms, reason = "a table: each line has a reason of its own")]
fn outcome(call: Call, fault: Fault) -> Option<(View, usize, State)> {
    use Call::{
        GetBeforeKeeping, GetBeforeUnknown, GetGate, GetGateAgain, GetGateFailed, GetRecord, GetRejected, Increment, IncrementForRejected, Open,
        OpenBucket, SetBody, SetBodyForRejected, SetDelivered, SetRun, SetRunOver, SetGateClosed, SetGateOpen, SetGateProbing, SetMany,
        SetManyForRejected, SetUnknown,
    };
    use Fault::{Fails, Hangs, IsSlow, Loses, WritesAndFails, WritesAndHangs};
    Some(match (call, fault) {
        (
            Open | GetRecord | GetGate | GetGateFailed | GetGateAgain | GetBeforeUnknown | GetBeforeKeeping
            | GetRejected,
            Loses | WritesAndFails | WritesAndHangs,
        ) => return None,
        // The host has these faults for `set` and `set-many` only.
        (
            OpenBucket | Increment | IncrementForRejected,
            Loses | WritesAndFails | WritesAndHangs,
        ) => return None,

        // Nothing is sent before the record was read.
        (Open | GetRecord | GetBeforeKeeping | GetRejected, Fails | Hangs)
                                                        => (STORE_FAILING, 0, NO_RECORD),
        (Open | GetRecord, IsSlow)                      => (DELIVERED, 1, RECORDED),
        // Without its store, the gate is the instance's own.
        (GetGate | GetGateFailed | GetGateAgain | SetRun | SetRunOver | SetGateClosed | SetGateProbing | SetGateOpen, _)
                                                        => (DELIVERED, 1, RECORDED),
        // Nothing is acknowledged before its record is written.
        (SetDelivered, Fails | Hangs)                   => (STORE_FAILING, 1, NO_RECORD),
        (SetDelivered, WritesAndFails | WritesAndHangs) => (STORE_FAILING, 1, RECORDED),
        (SetDelivered, IsSlow)                          => (DELIVERED, 1, RECORDED),
        // The message is in Svix, so nothing is lost.
        (SetDelivered, Loses)                           => (DELIVERED, 1, NO_RECORD),
        (GetBeforeUnknown | SetUnknown, Fails | Hangs)  => (STORE_FAILING, 1, NO_RECORD),
        (SetUnknown, WritesAndFails | WritesAndHangs)   => (STORE_FAILING, 1, UNKNOWN),
        (GetBeforeUnknown | SetUnknown, IsSlow)         => (UNAVAILABLE, 1, UNKNOWN),
        (SetUnknown, Loses)                             => (UNAVAILABLE, 1, NO_RECORD),

        (SetBody | SetBodyForRejected, Fails | Hangs | WritesAndFails | WritesAndHangs)
                                                        => (STORE_FAILING, 0, NO_RECORD),
        (SetBody | SetBodyForRejected, IsSlow)          => (DEAD_LETTERED, 0, KEPT),
        // The record doesn't acknowledge an event whose letter has no body, so the next delivery keeps it.
        (SetBody | SetBodyForRejected, Loses)           => (DEAD_LETTERED, 0, KEPT),
        (OpenBucket | Increment | IncrementForRejected | SetMany | SetManyForRejected, Fails)
                                                        => (STORE_FAILING, 0, NO_RECORD),
        // These calls are synchronous: the instance hangs with them.
        (OpenBucket | Increment | IncrementForRejected | SetMany | SetManyForRejected, Hangs)
                                                        => (NOTHING, 0, NO_RECORD),
        (
            GetBeforeKeeping | GetRejected | OpenBucket | Increment | IncrementForRejected | SetMany
            | SetManyForRejected,
            IsSlow,
        )                                               => (DEAD_LETTERED, 0, KEPT),
        // A dead letter is nowhere but in the store, so a store that loses a write loses the event.
        (SetMany | SetManyForRejected, Loses)           => (DEAD_LETTERED, 0, NO_RECORD),
        (SetMany | SetManyForRejected, WritesAndFails)  => (STORE_FAILING, 0, KEPT),
        (SetMany | SetManyForRejected, WritesAndHangs)  => (NOTHING, 0, KEPT),
    })
}

impl Fault {
    /// Puts the fault in the way of the `nth` call of `op`. The faults of writes meet the next one.
    pub fn plan(self, faults: &Faults, op: Op, nth: usize) {
        match self {
            Self::Fails => faults.fail_nth(op, nth),
            Self::Hangs => faults.hang_nth(op, nth),
            Self::IsSlow => faults.delay(op, Duration::from_secs(1)),
            Self::Loses => faults.lose_next_set(),
            Self::WritesAndFails => faults.write_then_fail_next_set(),
            Self::WritesAndHangs => faults.write_then_hang_next_set(),
        }
    }
}

impl Call {
    /// The operation, and the place of the call among those of its kind in a delivery.
    fn op(self) -> (Op, usize) {
        match self {
            Self::Open => (Op::Open, 1),
            Self::GetRecord | Self::GetRejected => (Op::Get, 1),
            Self::GetGate => (Op::Get, 2),
            Self::GetGateFailed | Self::GetBeforeKeeping => (Op::Get, 3),
            Self::GetGateAgain => (Op::Get, 4),
            // Four attempts precede the call, and each looks at the gate.
            Self::GetBeforeUnknown => (Op::Get, 7),
            Self::SetGateClosed
            | Self::SetRun
            | Self::SetDelivered
            | Self::SetBody
            | Self::SetBodyForRejected => (Op::Set, 1),
            Self::SetGateProbing | Self::SetRunOver => (Op::Set, 2),
            // Three writes precede the call, for the three failures of one event that count.
            Self::SetUnknown => (Op::Set, 4),
            Self::SetGateOpen => (Op::Set, 3),
            Self::OpenBucket => (Op::Open, 2),
            Self::Increment | Self::IncrementForRejected => (Op::Increment, 1),
            Self::SetMany | Self::SetManyForRejected => (Op::SetMany, 1),
        }
    }

    /// Whether the delivery is that of a notification without an event.
    fn is_of_rejected(self) -> bool {
        matches!(
            self,
            Self::GetRejected
                | Self::SetBodyForRejected
                | Self::IncrementForRejected
                | Self::SetManyForRejected
        )
    }

    /// Makes Svix behave so that the relay makes the call.
    fn prepare(self, world: &World) {
        // The latency leaves time to put faults between two calls.
        world.svix.set_latency(Duration::from_millis(20));
        match self {
            Self::SetRun | Self::SetRunOver => world.svix.script([SvixFault::status(500)]),
            Self::GetGateFailed
            | Self::GetGateAgain
            | Self::SetGateClosed
            | Self::SetGateProbing
            | Self::SetGateOpen => {
                world.svix.script([SvixFault::status(429)]);
            }
            Self::GetBeforeUnknown | Self::SetUnknown => {
                world.svix.always(SvixFault::ResetAfterStoring);
            }
            Self::GetBeforeKeeping
            | Self::OpenBucket
            | Self::SetBody
            | Self::Increment
            | Self::SetMany => {
                world.svix.script([SvixFault::status(422)]);
            }
            Self::Open
            | Self::GetRecord
            | Self::GetGate
            | Self::SetDelivered
            | Self::GetRejected
            | Self::SetBodyForRejected
            | Self::IncrementForRejected
            | Self::SetManyForRejected => {}
        }
    }

    /// Puts the fault in the way of the call, just before the relay makes it.
    async fn meets(self, fault: Fault, world: &World) {
        let (op, nth) = self.op();
        match fault {
            Fault::Fails | Fault::Hangs => {}
            // The call follows the one before without a wait.
            _ if self == Self::GetGate => {}
            // The body is written before, by a call of another kind.
            _ if op == Op::SetMany => world.faults.spare_next_set(),
            _ => world.faults.called(op, nth - 1).await,
        }
        fault.plan(&world.faults, op, nth);
    }
}

/// Delivers, and puts the fault in the way. Returns the reply that comes before the sender gives up.
async fn deliver(call: Call, fault: Fault, world: &World) -> String {
    let body = if call.is_of_rejected() { wrapped(b"nonsense") } else { wrapped(event(ID)) };
    let delivery = async {
        let reply = timeout(DEADLINE, world.post(&body)).await.ok();
        reply.as_ref().map_or(NOTHING.to_owned(), told)
    };
    let met = timeout(DEADLINE, call.meets(fault, world));
    let (met, told) = tokio::join!(biased; met, delivery);
    let (op, nth) = call.op();
    let came = met.is_ok() && world.faults.count(op) >= nth;
    assert!(came, "{call:?} never came");
    told
}

/// Delivers a notification without an event again: one dead letter must come of it, and nothing else.
async fn finish_rejected(world: &World, cell: (Call, Fault)) {
    world.faults.clear();
    for _ in 0..2 {
        let again = told(&world.push(b"nonsense").await);
        assert_eq!(again, DEAD_LETTERED, "{cell:?}");
        assert_eq!(letters(world).await.len(), 1, "{cell:?}");
    }
    assert_eq!(world.svix.requests().len(), 0, "{cell:?}");
}

#[tokio::test(start_paused = true)]
async fn every_call_to_the_store_meets_every_fault() {
    meet_every_fault(world).await;
}

#[tokio::test(start_paused = true)]
async fn every_call_to_a_store_that_holds_up_its_instance_meets_every_fault() {
    let held_up = || {
        let world = world();
        world.faults.before(Op::Get, hold_up);
        world
    };
    meet_every_fault(held_up).await;
}

async fn meet_every_fault(world: impl Fn() -> World) {
    let mut cells = 0;
    for call in CALLS {
        for fault in FAULTS {
            let cell = (call, fault);
            let Some((view, held, state)) = outcome(call, fault) else {
                continue;
            };
            cells += 1;
            let world = world();
            call.prepare(&world);
            let told = deliver(call, fault, &world).await;
            if told == NOTHING {
                // An instance that hangs stays so until an operator restarts the process.
                world.crash().await;
            }
            world.faults.clear();
            let mut seen = Seen::of(&world, vec![told]).await;
            if call.is_of_rejected() && world.records().await.len() == 1 {
                KEPT.clone_into(&mut seen.state);
            }
            let expected = Seen { told: vec![view.to_owned()], held, state: state.to_owned() };
            assert_eq!(seen, expected, "{cell:?}");
            if (view, fault) != (DEAD_LETTERED, Fault::Loses) {
                assert_justified(&seen, &world, cell).await;
            }
            if cell == (Call::SetBody, Fault::Loses) {
                // Svix takes the event by now.
                let again = deliver(Call::GetRecord, Fault::IsSlow, &world).await;
                assert_eq!(again, DELIVERED);
            } else if call.is_of_rejected() {
                finish_rejected(&world, cell).await;
            } else {
                finish(&world, Form::Wrapped, cell).await;
            }
        }
    }
    assert_eq!(cells, 99);
}
