//! The things that can happen, and how often each does.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use fake_svix::Fault;
use host::Op;

use super::cast::{EVENTS, VALID};
use crate::exactly_once::matrix::{Form, table};

/// One event on its way to the relay.
pub type Delivery = (usize, Form);

#[derive(Clone, Debug)]
pub enum Command {
    /// These deliveries start at once; the commands after it find them in flight.
    Deliver(Vec<Delivery>),
    /// These deliveries start at once, and at this step of one of them the process dies.
    DieAt(Step, Vec<Delivery>),
    /// The process dies now. The store survives.
    Die,
    /// The deliveries in flight go on for so many milliseconds.
    Wait(u64),
    /// The deliveries in flight end, and then nothing happens for so long.
    Jump(Duration),
    /// The next request to Svix meets a fault.
    SvixFails(Fault),
    /// All requests to Svix meet a fault.
    SvixIsFailing(Fault),
    /// The deliveries in flight end. Then Svix becomes unreachable, or reachable again.
    SvixIsDown(bool),
    SvixIsMended,
    /// Svix takes so many milliseconds for each answer.
    SvixIsSlow(u64),
    /// The store has a fault in its next calls.
    StoreFails(StoreFault),
    StoreIsMended,
    Operate(Operation),
}

/// The moment at which the process dies.
#[derive(Clone, Debug)]
pub enum Step {
    /// During a call to the store, which has no effect.
    Calling(Op),
    /// During a write, which has taken effect.
    Written,
    /// Svix has received the message, but done nothing yet.
    Sent,
    /// Svix has stored the message, but not answered yet.
    Stored,
}

#[derive(Clone, Debug)]
pub enum StoreFault {
    Fails(Op, usize),
    IsFailing(Op),
    Hangs(Op),
    IsSlow(Op, u64),
    LosesWrite,
    WritesAndFails,
    WritesAndHangs,
}

#[derive(Clone, Debug)]
pub enum Operation {
    List,
    Replay(u64),
    ReplayAll,
    Audit,
}

pub fn commands() -> impl Strategy<Value = Vec<Command>> {
    vec(command(), 1..24)
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        10 => deliveries().prop_map(Command::Deliver),
        4 => (step(), deliveries()).prop_map(|(step, all)| Command::DieAt(step, all)),
        2 => Just(Command::Die),
        2 => (1..100_u64).prop_map(Command::Wait),
        2 => (100..12_000_u64).prop_map(Command::Wait),
        4 => jump().prop_map(Command::Jump),
        5 => svix_fault().prop_map(Command::SvixFails),
        2 => svix_fault().prop_map(Command::SvixIsFailing),
        1 => any::<bool>().prop_map(Command::SvixIsDown),
        2 => Just(Command::SvixIsMended),
        2 => (0..1_000_u64).prop_map(Command::SvixIsSlow),
        4 => store_fault().prop_map(Command::StoreFails),
        1 => Just(Command::StoreIsMended),
        3 => operation().prop_map(Command::Operate),
    ]
}

fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
    vec(delivery(), 1..5)
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let form = select(vec![Form::Wrapped, Form::Unwrapped, Form::Direct]);
    let pubsub = select(vec![Form::Wrapped, Form::Unwrapped]);
    // Few events, so that they meet often.
    prop_oneof![
        4 => (Just(0), form.clone()),
        4 => (0..VALID, form),
        2 => (VALID..EVENTS, pubsub),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => op().prop_map(Step::Calling),
        1 => Just(Step::Written),
        1 => Just(Step::Sent),
        // After this step, only Svix knows of the message.
        2 => Just(Step::Stored),
    ]
}

fn jump() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..60_u64).prop_map(Duration::from_mins),
        (1..30_u64).prop_map(Duration::from_hours),
        (1..6_u64).prop_map(|days| Duration::from_hours(24 * days)),
    ]
}

/// Every fault, except a Svix that denies a message that it has.
fn svix_fault() -> impl Strategy<Value = Fault> {
    let faults = table::rows().into_iter().map(|row| row.fault);
    let honest = faults.filter(|fault| *fault != Fault::status(404));
    prop_oneof![
        3 => select(honest.collect::<Vec<_>>()),
        1 => Just(Fault::HangBeforeStoring),
        1 => Just(Fault::HangAfterStoring),
        1 => Just(Fault::status(422)),
        1 => Just(Fault::page(404)),
        1 => Just(Fault::page(409)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    select(vec![Op::Open, Op::Get, Op::Set, Op::Set, Op::Increment, Op::SetMany])
}

fn store_fault() -> impl Strategy<Value = StoreFault> {
    prop_oneof![
        (op(), 1..4_usize).prop_map(|(op, times)| StoreFault::Fails(op, times)),
        op().prop_map(StoreFault::IsFailing),
        op().prop_map(StoreFault::Hangs),
        (op(), 1..2_000_u64).prop_map(|(op, millis)| StoreFault::IsSlow(op, millis)),
        Just(StoreFault::LosesWrite),
        Just(StoreFault::WritesAndFails),
        Just(StoreFault::WritesAndHangs),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        1 => Just(Operation::List),
        2 => (1..5_u64).prop_map(Operation::Replay),
        2 => Just(Operation::ReplayAll),
        2 => Just(Operation::Audit),
    ]
}
