//! Posts and lookups for one event, until Svix has its message or the budget is spent.

use std::time::{Duration, SystemTime};

use super::job::Job;
use super::next::{AfterLookup, Known, Step, may_be_at_work};
use super::turnstile::Turnstile;
use crate::api::problem::Problem;
use crate::event;
use crate::host;
use crate::host::clock::{self, Stopwatch};
use crate::host::http::{Method, header};
use crate::records::{Found, Record};
use crate::svix::client::{self, Request};
use crate::svix::gate::EventAtGate;
use crate::svix::message::{self, KEY_LIFETIME, Posted};
use crate::svix::retry::{MIN_ATTEMPT, Retries};
use crate::svix::{self, Answer};
use crate::watch::counters;

/// How far Svix's lookups may lag behind its posts, and how long a race to create an application may last.
const LAG: Duration = Duration::from_secs(2);

/// A message that is older than this request by more than this was stored before. Svix's clocks agree within it.
const MARGIN: Duration = Duration::from_secs(2);

/// How many keys one request tries after Svix has lost messages.
const MOST_KEYS: u32 = 3;

/// The requests to Svix about one event.
pub struct Attempts<'a> {
    job: Job<'a>,
    idempotency_key: &'a str,
    /// The key since Svix has shown that it knows the first one, but not its message.
    new_key: Option<String>,
    new_keys: u32,
    /// The event's id as Svix takes it.
    svix_event_id: &'a str,
    request_id: String,
    random: fastrand::Rng,
    known: Known,
    /// How often the event was posted.
    pub posts: u32,
    /// Whether Svix may still be at work on an attempt that an earlier request has left unanswered.
    earlier_unanswered: bool,
    /// Whether Svix has left an attempt of this request unanswered.
    pub unanswered: bool,
}

/// The message that Svix has of the event.
pub struct Sent {
    pub message_id: String,
    /// Whether a lookup showed it. An earlier attempt has stored it then, perhaps with other bytes.
    pub was_found: bool,
}

impl<'a> Attempts<'a> {
    pub fn new(
        job: Job<'a>,
        idempotency_key: &'a str,
        svix_event_id: &'a str,
        found: &Found,
    ) -> Self {
        // A record, even an unreadable one, shows that the event came before. An event that is too large by now may
        // have been sent under a higher limit. Both are looked up first, whatever their age.
        let is_new = matches!(found, Found::Nothing) && !job.is_too_large();
        let sent_since = job.known_since.filter(|_| is_new);
        let earlier_unanswered = matches!(found.record(), Some(Record::Unknown(record))
            if may_be_at_work(record, job.budget.time, clock::now()));
        let mut random = host::random();
        Self {
            job,
            idempotency_key,
            new_key: None,
            new_keys: 0,
            svix_event_id,
            request_id: client::request_id(random.u64(..)),
            random,
            known: sent_since.map_or(Known::MaybeSentAtAnyTime, Known::MaybeSentSince),
            posts: 0,
            earlier_unanswered,
            unanswered: false,
        }
    }

    /// Whether only Svix knows if it has the message.
    pub fn left_unknown(&self) -> bool {
        self.may_be_stored() || self.known.is_open()
    }

    fn may_be_stored(&self) -> bool {
        self.unanswered || self.earlier_unanswered
    }

    /// Tries until Svix has the message.
    pub async fn run(&mut self) -> Result<Sent, Problem> {
        let event = EventAtGate {
            key: self.idempotency_key,
            project: &self.job.event.project,
        };
        let mut turnstile =
            Turnstile::new(self.job.config, self.job.budget, event, self.random.fork());
        let retry = self.job.config.retry.clone();
        let mut retries = Retries::new(retry, self.random.u64(..));
        loop {
            turnstile.wait().await?;
            let now = clock::now();
            let sent = match self.known.step(now) {
                Step::Post => self.post(&mut turnstile).await,
                Step::LookUp => self.look_up(&mut turnstile, now).await,
            };
            match sent {
                Ok(Some(sent)) => return Ok(sent),
                // `known` bounds how often posts and lookups follow each other without a failure.
                Ok(None) => {}
                Err(Problem::Svix(svix::Error::Unavailable { cause, retry_after })) => {
                    match retries.next_wait(self.job.budget.remaining(), retry_after) {
                        Some(wait) => clock::sleep(wait).await,
                        None => return Err(svix::Error::Unavailable { cause, retry_after }.into()),
                    }
                }
                Err(problem) => return Err(problem),
            }
        }
    }

    /// Posts the event. `None` if a lookup must tell whether Svix has it.
    async fn post(&mut self, turnstile: &mut Turnstile<'_>) -> Result<Option<Sent>, Problem> {
        let posted = self.request_post().await;
        // An answer from memory doesn't show that Svix takes messages. The lookup that follows tells the gate.
        let from_memory =
            matches!(&posted, Ok(Posted::Stored { age, .. }) if self.is_remembered(*age));
        if !from_memory {
            turnstile.tell(&posted).await;
        }
        match posted {
            Ok(Posted::Stored { message_id, .. }) if from_memory => {
                self.known = Known::Remembered(message_id);
                Ok(None)
            }
            Ok(Posted::Stored { message_id, .. }) => Ok(Some(Sent {
                message_id,
                was_found: false,
            })),
            Ok(Posted::Conflict) => {
                self.known.conflict();
                Ok(None)
            }
            Err(error @ svix::Error::Refused(_)) => {
                self.known = Known::Refused(error);
                Ok(None)
            }
            Err(error) => {
                if let svix::Error::Unavailable { cause, .. } = &error {
                    self.unanswered |= cause.leaves_unknown();
                }
                Err(error.into())
            }
        }
    }

    /// Whether a message of this age was stored before this request, so that Svix answered from its memory. No answer
    /// stays there for longer than its key: the time of an older message means something else.
    fn is_remembered(&self, age: Duration) -> bool {
        let before = age.saturating_sub(self.job.budget.stopwatch.elapsed());
        before > MARGIN && before < KEY_LIFETIME + MARGIN
    }

    /// Looks the event up. `None` if Svix doesn't have it, and it may be posted.
    async fn look_up(
        &mut self,
        turnstile: &mut Turnstile<'_>,
        now: SystemTime,
    ) -> Result<Option<Sent>, Problem> {
        let found = self.request_lookup().await;
        turnstile.tell_lookup(&found).await;
        if let Some(message_id) = found? {
            return Ok(Some(Sent {
                message_id,
                was_found: true,
            }));
        }
        // If the event is the probe, it stays so: the post will show whether Svix takes messages.
        let may_post = self.not_found(now).await;
        if may_post.is_err() {
            turnstile.pass_on().await;
        }
        may_post.map(|()| None)
    }

    /// A lookup at `now` found nothing. Fails if the event must not be posted.
    async fn not_found(&mut self, now: SystemTime) -> Result<(), Problem> {
        match self.known.not_found(now) {
            AfterLookup::Post if !self.job.is_too_large() => Ok(()),
            AfterLookup::PostAnew(lost) if self.new_keys < MOST_KEYS => {
                self.new_keys += 1;
                let key = self.new_key.as_deref().unwrap_or(self.idempotency_key);
                self.new_key = Some(event::next_key(key, &lost));
                Ok(())
            }
            AfterLookup::PostAfterRace => {
                let wait = self.job.config.retry.base_delay;
                clock::sleep(wait.mul_f64(self.random.f64())).await;
                Ok(())
            }
            AfterLookup::PostAfterLag if self.job.budget.remaining() >= LAG + 2 * MIN_ATTEMPT => {
                clock::sleep(LAG).await;
                Ok(())
            }
            // Svix may not have finished an earlier attempt, or it has named a message that its lookups don't show yet.
            AfterLookup::Post
            | AfterLookup::PostAfterLag
            | AfterLookup::IdTaken
            | AfterLookup::Refused(_)
                if self.may_be_stored() || self.new_key.is_some() =>
            {
                Err(Problem::StillUnanswered)
            }
            AfterLookup::PostAnew(_) => Err(Problem::StillUnanswered),
            AfterLookup::Post => Err(Problem::BodyTooLarge(self.job.config.max_body_bytes)),
            // Svix was slow. Let the sender come back, unless the budget is always too short for the wait.
            AfterLookup::PostAfterLag if self.job.config.retry.budget >= 2 * LAG => {
                Err(Problem::StillUnanswered)
            }
            AfterLookup::PostAfterLag | AfterLookup::IdTaken => Err(Problem::EventIdTaken),
            AfterLookup::Refused(error) => Err(error.into()),
        }
    }

    async fn request_post(&mut self) -> Result<Posted, svix::Error> {
        let mut headers = self.trace_headers();
        let key = self.new_key.as_deref().unwrap_or(self.idempotency_key);
        headers.push(header("idempotency-key", key));
        if self.posts > 0 {
            headers.push(header("svix-retry-count", &self.posts.to_string()));
        }
        self.posts += 1;
        let Job { config, event, .. } = self.job;
        let creates = config.svix.create_applications;
        let answer = self
            .send(Request {
                path: &message::create_path(&event.project),
                headers,
                body: Some((
                    Method::Post,
                    message::body(event, creates, &config.messages),
                )),
                id: &self.request_id,
            })
            .await;
        let result = answer
            .and_then(|answer| message::classify_create(&answer, self.svix_event_id, creates));
        let name = match &result {
            Ok(posted) => posted.name(),
            Err(error) => error.name(),
        };
        counters::count(|counts| counts.attempt(name));
        result
    }

    async fn request_lookup(&self) -> Result<Option<String>, svix::Error> {
        let answer = self
            .send(Request {
                path: &message::lookup_path(&self.job.event.project, self.svix_event_id),
                headers: self.trace_headers(),
                body: None,
                id: &self.request_id,
            })
            .await?;
        message::classify_lookup(&answer, self.svix_event_id)
    }

    /// Sends one request. Fails with the answers that mean the same for every request, such as 429 and 500.
    async fn send(&self, request: Request<'_>) -> Result<Answer, svix::Error> {
        let stopwatch = Stopwatch::start();
        let result =
            client::send(&self.job.config.svix, request, self.job.budget.remaining()).await;
        counters::count(|counts| counts.asked_svix(stopwatch.elapsed()));
        result
    }

    fn trace_headers(&self) -> Vec<(String, Vec<u8>)> {
        let headers = self.job.trace_headers.iter();
        headers.map(|(name, value)| header(name, value)).collect()
    }
}
