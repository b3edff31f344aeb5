//! Plays the commands: holds the requests in flight and their replies, and checks the rules that hold at
//! any time.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use fake_svix::Fault;
use host::Op;

use super::cast::{Published, VALID, project};
use super::command::{Command, Delivery, Operation, Step, StoreFault};
use crate::exactly_once::matrix::Form;
use crate::support::{ADMIN, Reply, Setup, World, hold_up};

/// When Pub/Sub gives up waiting, by default.
const DEADLINE: Duration = Duration::from_secs(10);

/// When an operator gives up waiting. A replay of all lasts two budgets at most.
const OPERATORS_DEADLINE: Duration = Duration::from_secs(30);

/// For how long the relay may go on with a request whose sender has given up.
const AFTERMATH: Duration = Duration::from_secs(5);

/// The end of a request in flight.
struct Done {
    /// `None` for an operator's request.
    delivery: Option<Delivery>,
    /// `None` if the process died.
    reply: Option<Reply>,
    gave_up: bool,
}

/// The differences from the world of one case to that of another.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Whether each request has an instance of its own, or all share one.
    pub nodes: bool,
    /// Whether event types register themselves.
    pub registers: bool,
    /// Whether the store holds up its instance, as Spin's SQLite does, so that records are written together.
    pub store_holds_up: bool,
}

impl Scene {
    pub fn world(self) -> World {
        let mut setup = Setup::operated();
        if self.registers {
            setup.variables.insert("register_event_types", "true");
        }
        if self.nodes {
            setup.reuse.max_requests = 1;
        }
        World::build(&setup)
    }
}

/// A case at work.
pub struct Play<'a> {
    pub world: &'a World,
    scene: Scene,
    pub published: BTreeMap<usize, Published>,
    /// The events that were acknowledged as dead letters.
    pub dead_lettered: BTreeSet<usize>,
    /// Whether the store may have lost a write that it confirmed.
    pub store_lies: bool,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + 'a>>>,
    /// Whether a call that holds up its instance may never end.
    stuck: bool,
}

impl<'a> Play<'a> {
    pub fn new(world: &'a World, scene: Scene) -> Self {
        let play = Self {
            world,
            scene,
            published: BTreeMap::new(),
            dead_lettered: BTreeSet::new(),
            store_lies: false,
            in_flight: FuturesUnordered::new(),
            stuck: false,
        };
        play.mend_store();
        play
    }

    pub async fn command(&mut self, command: Command) -> Result<()> {
        let world = self.world;
        match command {
            Command::Deliver(all) => {
                self.start(all);
                // The deliveries run until each has to wait.
                self.go_on(Duration::ZERO).await?;
            }
            Command::DieAt(step, all) => self.die_at(&step, all).await?,
            Command::Die => self.die().await?,
            Command::Wait(millis) => self.go_on(Duration::from_millis(millis)).await?,
            Command::Jump(span) => world.clock.advance(span),
            Command::SvixFails(fault) => world.svix.script([fault]),
            Command::SvixIsFailing(fault) => world.svix.always(fault),
            Command::SvixIsDown(down) => {
                // Only the order in which connections break is up to chance, so let all requests end first.
                self.settle().await?;
                world.svix.set_down(down);
            }
            Command::SvixIsMended => world.svix.clear_faults(),
            Command::SvixIsSlow(millis) => world.svix.set_latency(Duration::from_millis(millis)),
            Command::StoreFails(fault) => self.store_fails(&fault),
            Command::StoreIsMended => self.mend_store(),
            Command::Operate(operation) => self.operate(&operation),
        }
        Ok(())
    }

    /// Delivers an event now and returns the reply.
    pub async fn deliver(&mut self, (number, form): Delivery) -> Result<Reply> {
        let event = self.publish(number);
        let reply = timeout(DEADLINE, event.deliver(self.world, form)).await;
        let Some(reply) = reply.ok().flatten() else {
            bail!("no reply to {number} without a fault");
        };
        self.check((number, form), &reply)?;
        Ok(reply)
    }

    /// Ends all faults, and lets all requests end.
    pub async fn mend(&mut self) -> Result<()> {
        self.world.svix.clear_faults();
        self.world.svix.set_latency(Duration::ZERO);
        self.world.svix.set_down(false);
        self.mend_store();
        self.settle().await?;
        if self.stuck {
            // An instance that hangs stays so until an operator restarts the process.
            self.die().await?;
        }
        Ok(())
    }

    fn mend_store(&self) {
        self.world.faults.clear();
        if self.scene.store_holds_up {
            self.world.faults.before(Op::Get, hold_up);
        }
    }

    fn publish(&mut self, number: usize) -> Published {
        let now = self.world.clock.now();
        let event = self.published.entry(number);
        event.or_insert_with(|| Published::new(number, now)).clone()
    }

    fn start(&mut self, all: Vec<Delivery>) {
        let world = self.world;
        for (number, form) in all {
            let event = self.publish(number);
            self.in_flight.push(Box::pin(async move {
                let reply = timeout(DEADLINE, event.deliver(world, form)).await;
                Done {
                    delivery: Some((number, form)),
                    gave_up: reply.is_err(),
                    reply: reply.ok().flatten(),
                }
            }));
        }
    }

    fn operate(&mut self, operation: &Operation) {
        let (method, path) = match operation {
            Operation::List => ("GET", "/dead-letters".to_owned()),
            Operation::Replay(number) => ("POST", format!("/dead-letters/{number}/replay")),
            Operation::ReplayAll => ("POST", "/dead-letters/replay".to_owned()),
            Operation::Audit => ("POST", "/maintenance/audit".to_owned()),
        };
        let world = self.world;
        self.in_flight.push(Box::pin(async move {
            let reply = world.request_or_die(method, &path, &[ADMIN], b"");
            let reply = timeout(OPERATORS_DEADLINE, reply).await;
            Done { delivery: None, gave_up: reply.is_err(), reply: reply.ok().flatten() }
        }));
    }

    fn store_fails(&mut self, fault: &StoreFault) {
        let faults = &self.world.faults;
        match *fault {
            StoreFault::Fails(op, times) => faults.fail_next(op, times),
            StoreFault::IsFailing(op) => faults.fail_always(op),
            StoreFault::Hangs(op) => faults.hang_next(op),
            StoreFault::IsSlow(op, millis) => faults.delay(op, Duration::from_millis(millis)),
            StoreFault::LosesWrite => {
                self.store_lies = true;
                faults.lose_next_set();
            }
            StoreFault::WritesAndFails => faults.write_then_fail_next_set(),
            StoreFault::WritesAndHangs => faults.write_then_hang_next_set(),
        }
    }

    async fn die(&mut self) -> Result<()> {
        // Requests that waited for the dead instance go to the next one, which may hang at once.
        let all_gone = Duration::from_millis(10);
        while timeout(all_gone, self.world.crash()).await.is_err() {}
        self.stuck = false;
        self.go_on(Duration::ZERO).await
    }

    /// Delivers, and lets the process die when the step is reached, or else after a while.
    async fn die_at(&mut self, step: &Step, all: Vec<Delivery>) -> Result<()> {
        let World { svix, faults, .. } = self.world;
        let before = [Op::Set, Op::SetMany].map(|op| faults.count(op));
        let calls = match *step {
            Step::Calling(op) => {
                faults.hang_next(op);
                faults.count(op)
            }
            Step::Written => {
                faults.write_then_hang_next_set();
                0
            }
            Step::Sent => {
                svix.script([Fault::HangBeforeStoring]);
                0
            }
            Step::Stored => {
                svix.script([Fault::HangAfterStoring]);
                0
            }
        };
        self.start(all);
        let is_reached = || match *step {
            Step::Calling(op) => faults.count(op) > calls,
            Step::Written => before != [Op::Set, Op::SetMany].map(|op| faults.count(op)),
            Step::Sent | Step::Stored => svix.queued_faults() == 0,
        };
        for _ in 0..200 {
            self.go_on(Duration::from_millis(10)).await?;
            if is_reached() {
                break;
            }
        }
        self.die().await
    }

    /// Lets the requests in flight go on for so long.
    async fn go_on(&mut self, span: Duration) -> Result<()> {
        // Work that is ready at once gets done within a millisecond.
        let until = Instant::now() + span.max(Duration::from_millis(1));
        while let Ok(Some(done)) = timeout_at(until, self.in_flight.next()).await {
            self.end_of(&done)?;
        }
        sleep_until(until).await;
        Ok(())
    }

    /// Lets the requests in flight end.
    async fn settle(&mut self) -> Result<()> {
        while let Some(done) = self.in_flight.next().await {
            self.end_of(&done)?;
        }
        self.go_on(AFTERMATH).await
    }

    fn end_of(&mut self, done: &Done) -> Result<()> {
        self.stuck |= done.gave_up;
        match (&done.delivery, &done.reply) {
            (Some(delivery), Some(reply)) => self.check(*delivery, reply),
            (None, Some(reply)) => {
                let known = matches!(reply.status, 200 | 400 | 404 | 422 | 429 | 503);
                ensure!(known, "an operator is told {}: {}", reply.status, reply.text());
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }

    /// Checks that a reply to a sender is true.
    fn check(&mut self, (number, form): Delivery, reply: &Reply) -> Result<()> {
        let text = reply.text();
        let status = reply.json()["status"].clone();
        match (reply.status, status.as_str()) {
            (200, Some("delivered" | "duplicate")) => {
                ensure!(number < VALID, "{number} is no event: {text}");
                let id = &reply.json()["svixMessageId"];
                let ids = self.messages(number)?;
                ensure!(ids.iter().any(|held| held == id), "{number}: {text}, {ids:?}");
            }
            (200, Some("dead-lettered")) => {
                ensure!(form != Form::Direct, "{number}, posted directly: {text}");
                self.dead_lettered.insert(number);
            }
            (422, _) => ensure!(form == Form::Direct, "{number}, from Pub/Sub: {text}"),
            (429 | 503, _) => {}
            (status, _) => bail!("{number} is told {status}: {text}"),
        }
        Ok(())
    }

    /// The ids of the messages of a valid event. Fails if there are several.
    pub fn messages(&self, number: usize) -> Result<Vec<String>> {
        let Some(event) = self.published.get(&number) else {
            return Ok(Vec::new());
        };
        let mut messages = self.world.svix.messages_for(project(number));
        messages.retain(|message| message.payload == event.payload());
        let ids: Vec<_> = messages.into_iter().map(|message| message.id).collect();
        ensure!(ids.len() <= 1, "{number} is in Svix more than once: {ids:?}");
        Ok(ids)
    }
}
