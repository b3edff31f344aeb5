//! Posts and lookups for one event, until Svix has its message or the budget is spent.

use std::time::{Duration, SystemTime};

use super::job::Job;
use super::next::{Known, Why, may_be_at_work};
use super::turnstile::Turnstile;
use crate::api::problem::Problem;
use crate::api::table;
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

/// How far Svix's lookups may lag behind its posts. A race to create an application is over by then, too.
const LAG: Duration = Duration::from_secs(2);

/// If a request has no time left to wait for `LAG`, the sender comes back. With a budget below this one, there would
/// hardly ever be time, so the id counts as taken.
const LEAST_BUDGET_FOR_LAG: Duration = Duration::from_secs(4);

/// How much older than this request a message must be to count as one of an earlier request. Svix's clocks agree
/// within it.
const MARGIN: Duration = Duration::from_secs(2);

/// How many lost messages one request replaces.
const MOST_LOST: u32 = 3;

pub struct Attempts<'a> {
    job: Job<'a>,
    /// The idempotency key of the next post.
    key: String,
    /// How many messages Svix has lost, as far as this request has seen. The key of each is used up.
    lost: u32,
    /// The event's id as Svix takes it.
    svix_event_id: &'a str,
    request_id: String,
    random: fastrand::Rng,
    turnstile: Turnstile<'a>,
    known: Known,
    /// How often the event was posted.
    pub posts: u32,
    /// Whether a post of this request had no clear answer, so that only Svix knows if it has stored it.
    pub has_unclear_post: bool,
    /// Whether Svix may still be at work on such a post of an earlier request.
    earlier_post_goes_on: bool,
}

/// The message that Svix has of the event.
pub struct Sent {
    pub svix_message_id: String,
    /// Whether a lookup showed it. An earlier attempt has stored it then, perhaps with other bytes.
    pub by_lookup: bool,
}

impl<'a> Attempts<'a> {
    pub fn new(job: Job<'a>, first_key: &'a str, svix_event_id: &'a str, found: &Found) -> Self {
        // A record, even an unreadable one, shows that the event came before. An event that is too large by now may
        // have been sent under a higher limit. Both are looked up first, whatever their age.
        let is_new = matches!(found, Found::Nothing) && !job.is_too_large();
        let known = match job.published_at {
            Some(since) if is_new => Known::MayPost { since, conflicts: 0 },
            _ => Known::MustLookUp(Why::MaybeSent),
        };
        let earlier_post_goes_on = matches!(found.record(), Some(Record::Unknown(record))
            if may_be_at_work(record, job.deadline.length, clock::now()));
        let mut random = host::random();
        let event = EventAtGate { key: first_key, project: &job.event.project };
        Self {
            turnstile: Turnstile::new(job.config, job.deadline, event, random.fork()),
            job,
            key: first_key.to_owned(),
            lost: 0,
            svix_event_id,
            request_id: client::request_id(random.u64(..)),
            random,
            known,
            posts: 0,
            has_unclear_post: false,
            earlier_post_goes_on,
        }
    }

    /// Whether only Svix knows if it has the message.
    pub fn is_unknown(&self) -> bool {
        self.has_unclear_post
            || self.earlier_post_goes_on
            // Svix has said that it has the message, and no lookup has settled that.
            || matches!(self.known, Known::MustLookUp(Why::Conflict(_) | Why::MaybeLost(_)))
    }

    /// Tries until Svix has the message.
    pub async fn run(&mut self) -> Result<Sent, Problem> {
        let mut retries = Retries::new(&self.job.config.retry, self.random.u64(..));
        loop {
            // The turnstile has waited for as long as that makes sense, so its failure isn't tried again.
            self.turnstile.wait().await?;
            let now = clock::now();
            let sent =
                if self.known.may_post(now) { self.post().await } else { self.look_up(now).await };
            let problem = match sent {
                Ok(Some(sent)) => return Ok(sent),
                // This ends: `known` allows three 409s for each key, and `MOST_LOST` messages are replaced.
                Ok(None) => continue,
                Err(problem) => problem,
            };
            let Problem::Svix(svix::Error::Unavailable { retry_after, .. }) = problem else {
                return Err(problem);
            };
            let wait = retries.next_wait(self.job.deadline.remaining(), retry_after);
            clock::sleep(wait.ok_or(problem)?).await;
        }
    }

    /// Posts the event. `None` if a lookup must tell whether Svix has it.
    async fn post(&mut self) -> Result<Option<Sent>, Problem> {
        let posted = self.request_post().await;
        // Svix may answer from its idempotency cache while it takes no new messages. So the gate isn't told of such an
        // answer, but of the lookup or the post that follows.
        let is_cached =
            matches!(&posted, Ok(Posted::Stored { age, .. }) if self.is_cached_answer(*age));
        if !is_cached {
            self.turnstile.tell(&posted).await;
        }
        let why = match posted {
            Ok(Posted::Stored { message_id, .. }) if is_cached => Why::MaybeLost(message_id),
            Ok(Posted::Stored { message_id, .. }) => {
                return Ok(Some(Sent { svix_message_id: message_id, by_lookup: false }));
            }
            Ok(Posted::Conflict) => Why::Conflict(self.known.conflicts() + 1),
            Err(error @ svix::Error::Refused(_)) => Why::Refused(error),
            Err(error) => {
                if let svix::Error::Unavailable { cause, .. } = &error {
                    self.has_unclear_post |= cause.leaves_unknown();
                }
                return Err(error.into());
            }
        };
        self.known = Known::MustLookUp(why);
        Ok(None)
    }

    /// Whether a message of this age was stored before this request, so that Svix answered from its idempotency cache.
    /// The cache holds no answer for longer than `KEY_LIFETIME`. If a message seems older than that, its time is wrong,
    /// and the answer counts as a delivery by this request.
    fn is_cached_answer(&self, age: Duration) -> bool {
        let before = age.saturating_sub(self.job.deadline.since.elapsed());
        before > MARGIN && before < KEY_LIFETIME + MARGIN
    }

    /// Looks the event up. `None` if Svix doesn't have it, and it may be posted.
    async fn look_up(&mut self, now: SystemTime) -> Result<Option<Sent>, Problem> {
        let found = self.request_lookup().await;
        self.turnstile.tell_lookup(&found).await;
        if let Some(svix_message_id) = found? {
            return Ok(Some(Sent { svix_message_id, by_lookup: true }));
        }
        // If the event is the probe, it stays so: the post will show whether Svix takes messages.
        let may_post = self.after_empty_lookup(now).await;
        if may_post.is_err() {
            self.turnstile.give_up_probe().await;
        }
        may_post.map(|()| None)
    }

    /// A lookup at `now` found nothing. Fails if the event must not be posted.
    async fn after_empty_lookup(&mut self, now: SystemTime) -> Result<(), Problem> {
        let Job { config, deadline, .. } = self.job;
        let problem = match self.known.not_found(now) {
            None | Some(Why::MaybeSent) if !self.job.is_too_large() => return Ok(()),
            None | Some(Why::MaybeSent) => Problem::BodyTooLarge(config.max_body_bytes),
            Some(Why::MaybeLost(lost)) if self.lost < MOST_LOST => {
                self.lost += 1;
                self.key = event::next_key(&self.key, &lost);
                return Ok(());
            }
            Some(Why::MaybeLost(_)) => Problem::StillUnknown,
            // Two first messages may race to create the project's application: most often, that is settled soon.
            Some(Why::Conflict(1)) => {
                clock::sleep(config.retry.base_delay.mul_f64(self.random.f64())).await;
                return Ok(());
            }
            Some(Why::Conflict(2)) if deadline.remaining() >= LAG + 2 * MIN_ATTEMPT => {
                clock::sleep(LAG).await;
                return Ok(());
            }
            // Svix was slow this time, so the sender comes back.
            Some(Why::Conflict(2)) if config.retry.budget >= LEAST_BUDGET_FOR_LAG => {
                Problem::StillUnknown
            }
            Some(Why::Conflict(_)) => table::EVENT_ID_TAKEN.into(),
            Some(Why::Refused(error)) => error.into(),
        };
        // Svix may not have finished a post, or it has named a message that its lookups don't show yet.
        Err(if self.is_unknown() || self.lost > 0 { Problem::StillUnknown } else { problem })
    }

    async fn request_post(&mut self) -> Result<Posted, svix::Error> {
        let mut headers = self.trace_headers();
        headers.push(header("idempotency-key", &self.key));
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
                body: Some((Method::Post, message::body(event, creates, &config.messages))),
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
            client::send(&self.job.config.svix, request, self.job.deadline.remaining()).await;
        counters::count(|counts| counts.asked_svix(stopwatch.elapsed()));
        result
    }

    fn trace_headers(&self) -> Vec<(String, Vec<u8>)> {
        let headers = self.job.trace_headers.iter();
        headers.map(|(name, value)| header(name, value)).collect()
    }
}
