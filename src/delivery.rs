//! The delivery of one event to Svix: look at its record, talk to Svix at the gate's pace, write the
//! record. In the order in which things happen.
//!
//! The order is the guarantee. The record is written after Svix has the message and before anyone
//! hears of it, so a crash at any point leaves either nothing (the sender sends again) or a message
//! without a record: then the same `Idempotency-Key`, or after it has expired the conflict on the
//! eventId or the lookup of an old event, keep the next delivery from creating a second one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::client::{self, Request, header};
use crate::commit;
use crate::config::Config;
use crate::event::Event;
use crate::event_type;
use crate::gate::{self, Closing, Gate, Pass, Standing};
use crate::host::{self, Stopwatch};
use crate::letters;
use crate::log::{Change, Entry};
use crate::problem::Problem;
use crate::record::{Record, rfc3339};
use crate::reply::Success;
use crate::retry::{MIN_ATTEMPT, Retries};
use crate::svix::{self, Asked, Cause, Failure, Trouble, Verdict};
use crate::tally;
use crate::trace::Trace;

/// The longest that a notification waits for the gate; longer waits are the sender's.
const PATIENCE: Duration = Duration::from_secs(1);

/// Within what time those who have waited come to the gate, each at a random moment: the first
/// becomes the probe, and the others shall have heard of it.
const SPREAD: Duration = Duration::from_millis(250);

/// How long, and how often, a notification waits for a probe to come back.
const PROBE_TIME: Duration = Duration::from_millis(150);
const PROBE_TURNS: u32 = 2;

/// For how long an attempt without an answer may still go on in Svix.
const SETTLED: Duration = Duration::from_mins(1);

/// What this instance knows of the gate.
static GATE: Mutex<Gate> = Mutex::new(Gate::open());

/// The gate, as this instance knows it. Never held while waiting.
pub fn gate() -> MutexGuard<'static, Gate> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a notification or a replay is about, and what it may use.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The event.
    pub event: &'a Event<'a>,
    /// The earliest time at which the event is known to have been there.
    pub published: Option<SystemTime>,
    /// Whether a dead letter is the answer if the event is among them.
    pub accept_dead_letter: bool,
    /// Runs since the request came in.
    pub stopwatch: Stopwatch,
}

impl Order<'_> {
    /// What is left for talking to Svix.
    fn remaining(&self) -> Duration {
        self.stopwatch.remaining(self.config.retry.budget)
    }

    /// What is left for writing things down.
    fn time_to_store(&self) -> Duration {
        self.stopwatch.time_to_store(self.config.retry.budget)
    }
}

/// Delivers an event, unless its record says that this is done.
pub async fn deliver(order: Order<'_>, entry: &mut Entry) -> Result<Success, Problem> {
    let event = order.event;
    entry.event(&event.project, &event.id);
    entry.event_type(&event.event_type);
    let key = svix::key(&event.project, &event.id);
    let name = Record::name(&key);

    let (stored, shared_gate) = host::get_both(&name, gate::NAME).await;
    let stored = stored?;
    // A gate that can't be read is the one that this instance knows.
    gate().learn(shared_gate.ok().flatten().as_deref(), host::now());

    let known = stored.as_deref().and_then(Record::decode);
    let mut dead_letter = None;
    match &known {
        Some(Record::Delivered(record)) => {
            entry.svix_message_id(&record.svix_message_id);
            if record.dead_letter.is_some() {
                letters::closed(&name);
            }
            return Ok(Success::Duplicate(record.clone()));
        }
        Some(Record::DeadLettered(record)) => {
            if order.accept_dead_letter
                && let Some(known) = letters::known(&name, record).await?
            {
                return Ok(known);
            }
            dead_letter = Some(record.dead_letter);
        }
        Some(Record::Unknown(_)) | None => {}
    }

    let _coming = commit::coming();
    let mut random = host::random();
    let trace = entry
        .trace
        .get_or_insert_with(|| Trace::of(None, &mut random));
    let mut talk = Talk {
        order,
        key: &key,
        // Whatever stands in the record's place, Svix may know more.
        sent_since: order.published.filter(|_| stored.is_none()),
        traceparent: trace.header(),
        random,
        left_unknown: matches!(&known, Some(Record::Unknown(record))
            if record.age(host::now()) < SETTLED),
        in_conflict: false,
    };
    match talk.run(entry).await {
        Ok(message_id) => {
            entry.svix_message_id(&message_id);
            let attempts = entry.attempts;
            let mut record = Record::delivered(event, message_id, attempts, host::now());
            record.dead_letter = dead_letter;
            let stored = Record::Delivered(record.clone());
            commit::write((name, stored.encode()), order.time_to_store()).await?;
            if dead_letter.is_some() {
                letters::closed(&Record::name(&key));
            }
            event_type::make_known(order.config, &event.event_type);
            Ok(Success::Delivered { record, attempts })
        }
        Err(problem) => {
            entry.left_unknown = talk.left_unknown || talk.in_conflict;
            if (talk.left_unknown || talk.in_conflict) && known.is_none() {
                // Another delivery of the same event may have got further in the meantime.
                match read(&name, order.time_to_store() / 2).await? {
                    Some(Record::Delivered(record)) => {
                        entry.left_unknown = false;
                        return Ok(Success::Duplicate(record));
                    }
                    Some(_) => {}
                    None => {
                        let record = Record::unknown(event, order.stopwatch.started());
                        commit::write((name, record.encode()), order.time_to_store()).await?;
                    }
                }
            }
            Err(problem)
        }
    }
}

/// A record, if there is one; read within `time`.
pub async fn read(name: &str, time: Duration) -> Result<Option<Record>, Problem> {
    let bytes = host::get(name, time).await?;
    Ok(bytes.as_deref().and_then(Record::decode))
}

/// What is said to Svix about one event, within the budget of one request.
struct Talk<'a> {
    order: Order<'a>,
    key: &'a str,
    /// The earliest time at which the event may have been sent; `None`: nobody knows.
    sent_since: Option<SystemTime>,
    /// The same for all that is said.
    traceparent: String,
    random: fastrand::Rng,
    /// Whether an attempt ended without telling whether the message is stored.
    left_unknown: bool,
    /// Whether Svix has reported a conflict that no lookup has explained yet.
    in_conflict: bool,
}

impl Talk<'_> {
    /// Tries until Svix has the message, and returns its id; or until that is out of reach.
    async fn run(&mut self, entry: &mut Entry) -> Result<String, Problem> {
        let mut retries = Retries::new(self.order.config.retry.clone(), self.random.u64(..));
        let request_id = client::request_id(self.random.u64(..));
        let mut conflicts = 0;
        loop {
            let probe = self.enter().await?;
            let now = host::now();
            // Every time: a frozen process may go on after half a day.
            let look_up = self.in_conflict || svix::may_have_forgotten(self.sent_since, now);
            let verdict = if look_up {
                self.look_up(&request_id).await?
            } else {
                let verdict = self.create(&request_id, entry).await;
                // The only other end of an attempt is that the host doesn't allow it.
                let result = verdict.as_ref().map_or("misconfigured", Verdict::name);
                tally::count(|counts| counts.attempt(result));
                verdict?
            };
            self.tell_gate(&verdict, probe).await;
            let trouble = match verdict {
                Verdict::Stored(message_id) => return Ok(message_id),
                Verdict::Conflict => {
                    conflicts += 1;
                    self.in_conflict = true;
                    continue;
                }
                Verdict::Absent if conflicts < 2 => {
                    self.in_conflict = false;
                    self.sent_since = Some(now);
                    // After a conflict: two first messages of an application may have raced to
                    // create it. That is settled by one more attempt, however many are allowed.
                    if conflicts == 1 {
                        let wait = self
                            .order
                            .config
                            .retry
                            .base_delay
                            .mul_f64(self.random.f64());
                        host::sleep(wait).await;
                    }
                    continue;
                }
                // What the id is taken by may be an attempt of this event that still goes on.
                Verdict::Absent if self.left_unknown => {
                    return Err(Problem::Unavailable(Trouble {
                        cause: Cause::Status(409),
                        retry_after: None,
                    }));
                }
                Verdict::Absent => {
                    self.in_conflict = false;
                    return Err(Problem::EventIdTaken);
                }
                Verdict::Retry(trouble) => trouble,
                Verdict::Refused(refusal) => return Err(Problem::Refused(refusal)),
                Verdict::Misconfigured(what) => return Err(Problem::Misconfigured(what)),
            };
            self.left_unknown |= !look_up && trouble.cause.leaves_unknown();
            match retries.next_wait(self.order.remaining(), trouble.retry_after) {
                Some(wait) => host::sleep(wait).await,
                None => return Err(Problem::Unavailable(trouble)),
            }
        }
    }

    /// Waits at the gate for as long as that makes sense. Whether this request is a probe.
    async fn enter(&mut self) -> Result<bool, Problem> {
        let entered = self.order.stopwatch.elapsed();
        let mut turns = 0;
        loop {
            self.check_time()?;
            let pass = gate().pass(host::now());
            let closing = match pass {
                Pass::Open => return Ok(false),
                Pass::Probe => {
                    let lease = self.order.config.timeout.min(self.order.remaining());
                    let state = gate().probing(lease, host::now());
                    self.share(&state).await;
                    self.check_time()?;
                    return Ok(true);
                }
                Pass::Closed(closing) => closing,
            };
            let (rest, patient) = if closing.probing {
                turns += 1;
                (closing.rest.min(PROBE_TIME), turns <= PROBE_TURNS)
            } else {
                let waited = self.order.stopwatch.elapsed().saturating_sub(entered);
                (closing.rest, waited + closing.rest <= PATIENCE)
            };
            let wait = rest + SPREAD.mul_f64(self.random.f64());
            if !patient || wait + MIN_ATTEMPT > self.order.remaining() {
                return Err(Problem::Unavailable(Trouble {
                    cause: Cause::Gate(closing.reason),
                    retry_after: Some(gate::spread(closing.rest, self.random.f64())),
                }));
            }
            host::sleep(wait).await;
            self.learn_gate().await;
        }
    }

    /// An attempt that would most likely time out is not worth what it would leave open.
    fn check_time(&self) -> Result<(), Problem> {
        if self.order.remaining() < MIN_ATTEMPT {
            return Err(Problem::Unavailable(Trouble {
                cause: Cause::OutOfTime,
                retry_after: None,
            }));
        }
        Ok(())
    }

    /// Hears what others know of the gate by now.
    async fn learn_gate(&self) {
        if let Ok(state) = host::get(gate::NAME, self.time_for_gate()).await {
            gate().learn(state.as_deref(), host::now());
        }
    }

    /// Lets the gate know how it went, and others if that changes it.
    async fn tell_gate(&mut self, verdict: &Verdict, probe: bool) {
        let failure = match verdict {
            Verdict::Retry(trouble) => trouble
                .cause
                .gate_reason()
                .map(|reason| (reason, trouble.retry_after)),
            _ => None,
        };
        if failure.is_some() {
            // Others may have failed since: together they make a run.
            self.learn_gate().await;
        }
        let jitter = self.random.f64();
        let now = host::now();
        let (state, news) = {
            let mut gate = gate();
            let before = gate.closed(now);
            let state = match failure {
                None => gate.succeeded(probe, now),
                Some((reason, asked)) => gate.failed(self.key, probe, reason, asked, jitter, now),
            };
            let Some(state) = state else { return };
            (state, Change::of_gate(before, gate.closed(now)))
        };
        if let Some(news) = news {
            host::print(&news.line(rfc3339(now)));
        }
        self.share(&state).await;
    }

    async fn create(&self, request_id: &str, entry: &mut Entry) -> Result<Verdict, Problem> {
        let retry_count = entry.attempts;
        entry.attempts += 1;
        let path = svix::create_path(&self.order.event.project);
        let body = svix::message_body(self.order.event, self.order.config.create_applications);
        let mut headers = vec![self.trace(), header("idempotency-key", self.key)];
        if retry_count > 0 {
            headers.push(header("svix-retry-count", &retry_count.to_string()));
        }
        let request = Request {
            path: &path,
            headers,
            body: Some(body),
            id: request_id,
        };
        let result = self.send(request).await?;
        let event_id = svix::event_id(&self.order.event.id);
        Ok(svix::classify_create(
            result,
            &self.asked(&event_id),
            host::now(),
        ))
    }

    async fn look_up(&self, request_id: &str) -> Result<Verdict, Problem> {
        let event_id = svix::event_id(&self.order.event.id);
        let path = svix::lookup_path(&self.order.event.project, &event_id);
        let request = Request {
            path: &path,
            headers: vec![self.trace()],
            body: None,
            id: request_id,
        };
        let result = self.send(request).await?;
        Ok(svix::classify_lookup(
            result,
            &self.asked(&event_id),
            host::now(),
        ))
    }

    fn trace(&self) -> (String, Vec<u8>) {
        header("traceparent", &self.traceparent)
    }

    fn asked<'a>(&'a self, event_id: &'a str) -> Asked<'a> {
        Asked {
            event_id,
            create_application: self.order.config.create_applications,
            token: self.order.config.token.expose(),
        }
    }

    async fn send(&self, request: Request<'_>) -> Result<Result<svix::Reply, Failure>, Problem> {
        let stopwatch = Stopwatch::start();
        let outcome = client::send(self.order.config, request, self.order.remaining()).await?;
        tally::count(|counts| counts.asked_svix(stopwatch.elapsed()));
        Ok(outcome)
    }

    /// Shares the gate's state. If that fails, the others find out for themselves.
    async fn share(&self, state: &[u8]) {
        let _ = host::set(gate::NAME, state, self.time_for_gate()).await;
    }

    /// What the gate may take of the time: half of what is left stays for the record.
    fn time_for_gate(&self) -> Duration {
        host::STORE_TIMEOUT.min(self.order.time_to_store() / 2)
    }
}

/// How the gate is closed, as this instance knows it.
pub fn closed() -> Option<Closing> {
    gate().closed(host::now())
}

/// The gate as everybody knows it.
pub async fn standing() -> Result<Standing, Problem> {
    let state = host::get(gate::NAME, host::STORE_TIMEOUT).await?;
    let (mut gate, now) = (gate(), host::now());
    gate.learn(state.as_deref(), now);
    Ok(gate.standing(now))
}
