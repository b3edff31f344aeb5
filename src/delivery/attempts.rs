//! Posts and lookups for one event, until Svix has its message or the budget is spent.

use std::time::{Duration, SystemTime};

use super::job::Job;
use super::next::{AfterLookup, Known, Why, may_be_at_work};
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

/// How much older than this request a message must be to count as one of an earlier request. Svix's clocks agree
/// within it.
const MARGIN: Duration = Duration::from_secs(2);

/// How many further keys one request tries, since Svix has lost the messages of those before.
const MOST_NEW_KEYS: u32 = 3;

pub struct Attempts<'a> {
    job: Job<'a>,
    idempotency_key: &'a str,
    /// The key used instead, once Svix has lost the message of the first one.
    new_key: Option<String>,
    new_keys: u32,
    /// The event's id as Svix takes it.
    svix_event_id: &'a str,
    request_id: String,
    random: fastrand::Rng,
    turnstile: Turnstile<'a>,
    known: Known,
    /// How often the event was posted.
    pub posts: u32,
    /// Whether Svix may still be at work on a post of an earlier request.
    earlier_goes_on: bool,
    /// Whether only Svix knows if it has stored a post of this request.
    pub left_unknown: bool,
}

/// The message that Svix has of the event.
pub struct Sent {
    pub svix_message_id: String,
    /// Whether a lookup showed it. An earlier attempt has stored it then, perhaps with other bytes.
    pub by_lookup: bool,
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
        let known = match job.published_at {
            Some(since) if is_new => Known::MayPost {
                since,
                conflicts: 0,
            },
            _ => Known::MustLookUp(Why::MaybeSent),
        };
        let earlier_goes_on = matches!(found.record(), Some(Record::Unknown(record))
            if may_be_at_work(record, job.budget.time, clock::now()));
        let mut random = host::random();
        let event = EventAtGate {
            key: idempotency_key,
            project: &job.event.project,
        };
        Self {
            turnstile: Turnstile::new(job.config, job.budget, event, random.fork()),
            job,
            idempotency_key,
            new_key: None,
            new_keys: 0,
            svix_event_id,
            request_id: client::request_id(random.u64(..)),
            random,
            known,
            posts: 0,
            earlier_goes_on,
            left_unknown: false,
        }
    }

    /// Whether only Svix knows if it has the message.
    pub fn is_unknown(&self) -> bool {
        self.left_unknown
            || self.earlier_goes_on
            // Svix has said that it has the message, and no lookup has settled that.
            || matches!(self.known, Known::MustLookUp(Why::Conflict(_) | Why::MaybeLost(_)))
    }

    /// Tries until Svix has the message.
    pub async fn run(&mut self) -> Result<Sent, Problem> {
        let mut retries = Retries::new(&self.job.config.retry, self.random.u64(..));
        loop {
            // The gate has waited for as long as that makes sense, so its failure isn't tried again.
            self.turnstile.wait().await?;
            let now = clock::now();
            let sent = match self.known.may_post(now) {
                Some(conflicts) => self.post(conflicts).await,
                None => self.look_up(now).await,
            };
            match sent {
                Ok(Some(sent)) => return Ok(sent),
                // This ends: `known` allows three 409s for each key, and there are at most `MOST_NEW_KEYS` further keys.
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

    /// Posts the event, which has had so many conflicts. `None` if a lookup must tell whether Svix has it.
    async fn post(&mut self, conflicts: u8) -> Result<Option<Sent>, Problem> {
        let posted = self.request_post().await;
        // An answer from memory doesn't show that Svix takes messages. The lookup that follows, or the post after it,
        // tells the gate.
        let from_memory =
            matches!(&posted, Ok(Posted::Stored { age, .. }) if self.is_remembered(*age));
        if !from_memory {
            self.turnstile.tell(&posted).await;
        }
        let why = match posted {
            Ok(Posted::Stored { message_id, .. }) if from_memory => Why::MaybeLost(message_id),
            Ok(Posted::Stored { message_id, .. }) => {
                return Ok(Some(Sent {
                    svix_message_id: message_id,
                    by_lookup: false,
                }));
            }
            Ok(Posted::Conflict) => Why::Conflict(conflicts + 1),
            Err(error @ svix::Error::Refused(_)) => Why::Refused(error),
            Err(error) => {
                if let svix::Error::Unavailable { cause, .. } = &error {
                    self.left_unknown |= cause.leaves_unknown();
                }
                return Err(error.into());
            }
        };
        self.known = Known::MustLookUp(why);
        Ok(None)
    }

    /// Whether a message of this age was stored before this request, so that Svix answered from its memory. Svix
    /// remembers no answer for longer than its key. If a message seems older than that, its time is wrong, and the
    /// answer counts as a delivery by this request.
    fn is_remembered(&self, age: Duration) -> bool {
        let before = age.saturating_sub(self.job.budget.stopwatch.elapsed());
        before > MARGIN && before < KEY_LIFETIME + MARGIN
    }

    /// Looks the event up. `None` if Svix doesn't have it, and it may be posted.
    async fn look_up(&mut self, now: SystemTime) -> Result<Option<Sent>, Problem> {
        let found = self.request_lookup().await;
        self.turnstile.tell_lookup(&found).await;
        if let Some(svix_message_id) = found? {
            return Ok(Some(Sent {
                svix_message_id,
                by_lookup: true,
            }));
        }
        // If the event is the probe, it stays so: the post will show whether Svix takes messages.
        let may_post = self.not_found(now).await;
        if may_post.is_err() {
            self.turnstile.pass_on().await;
        }
        may_post.map(|()| None)
    }

    /// A lookup at `now` found nothing. Fails if the event must not be posted.
    async fn not_found(&mut self, now: SystemTime) -> Result<(), Problem> {
        let Job { config, budget, .. } = self.job;
        let problem = match self.known.not_found(now) {
            AfterLookup::Post if !self.job.is_too_large() => return Ok(()),
            AfterLookup::Post => Problem::BodyTooLarge(config.max_body_bytes),
            AfterLookup::PostUnderNextKey(lost) if self.new_keys < MOST_NEW_KEYS => {
                self.new_keys += 1;
                let key = self.new_key.as_deref().unwrap_or(self.idempotency_key);
                self.new_key = Some(event::next_key(key, &lost));
                return Ok(());
            }
            AfterLookup::PostUnderNextKey(_) => Problem::StillUnknown,
            AfterLookup::PostAfterRace => {
                clock::sleep(config.retry.base_delay.mul_f64(self.random.f64())).await;
                return Ok(());
            }
            AfterLookup::PostAfterLag if budget.remaining() >= LAG + 2 * MIN_ATTEMPT => {
                clock::sleep(LAG).await;
                return Ok(());
            }
            // Svix was slow, and the sender comes back. With a budget below 4 s, there would hardly ever be time for the
            // wait, so the id counts as taken.
            AfterLookup::PostAfterLag if config.retry.budget >= 2 * LAG => Problem::StillUnknown,
            AfterLookup::PostAfterLag | AfterLookup::IdTaken => Problem::EventIdTaken,
            AfterLookup::Refused(error) => error.into(),
        };
        // Svix may not have finished a post, or it has named a message that its lookups don't show yet.
        let may_appear = self.left_unknown || self.earlier_goes_on || self.new_key.is_some();
        Err(if may_appear {
            Problem::StillUnknown
        } else {
            problem
        })
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
