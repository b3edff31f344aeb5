//! The requests to Svix that an operator's request or a report needs, within its time.

use crate::api::problem::Problem;
use crate::api::table;
use crate::config::Config;
use crate::delivery::shared_gate;
use crate::digest;
use crate::host;
use crate::host::clock;
use crate::host::deadline::Deadline;
use crate::host::http::{Method, header};
use crate::svix::client::{self, Request};
use crate::svix::endpoints::{self, Endpoint};
use crate::svix::retry::{self, Retries};
use crate::svix::{self, Answer, Cause};

pub struct Conversation<'a> {
    config: &'a Config,
    deadline: Deadline,
    random: fastrand::Rng,
    request_id: String,
    asks_gate: bool,
    /// The idempotency key that the operator has given the request.
    key: Option<String>,
}

impl<'a> Conversation<'a> {
    /// A conversation that neither asks the gate nor tells it anything: an operator wants to hear of Svix
    /// itself, most of all while Svix is in trouble.
    pub fn new(config: &'a Config, deadline: Deadline) -> Self {
        let mut random = host::random();
        Self {
            config,
            deadline,
            request_id: client::request_id(random.u64(..)),
            random,
            asks_gate: false,
            key: None,
        }
    }

    pub fn with_key(self, key: Option<String>) -> Self {
        Self { key, ..self }
    }

    /// A conversation that fails while the gate is closed. The gate learns nothing from it: what is asked here
    /// says little about messages, and events must not wait for it.
    pub fn behind_the_gate(config: &'a Config, deadline: Deadline) -> Self {
        Self { asks_gate: true, ..Self::new(config, deadline) }
    }

    pub async fn get(&mut self, path: &str) -> Result<Answer, svix::Error> {
        self.ask(path, None).await
    }

    /// An endpoint of a customer. `None` if Svix doesn't have it.
    pub async fn endpoint(
        &mut self,
        project: &str,
        endpoint: &str,
    ) -> Result<Option<Endpoint>, svix::Error> {
        let path = endpoints::endpoint_path(project, endpoint);
        let answer = self.get(&path).await?;
        endpoints::classify_endpoint(&answer)
    }

    pub async fn post(&mut self, path: &str, body: Vec<u8>) -> Result<Answer, svix::Error> {
        self.ask(path, Some((Method::Post, body))).await
    }

    /// Posts to a path that only the hosted Svix has.
    pub async fn post_to_hosted(&mut self, path: &str, body: Vec<u8>) -> Result<Answer, Problem> {
        self.post(path, body).await.map_err(|error| match error {
            svix::Error::Unavailable { cause: Cause::NoSuchPath, .. } => table::NOT_OFFERED.into(),
            error => error.into(),
        })
    }

    pub async fn patch(&mut self, path: &str, body: Vec<u8>) -> Result<Answer, svix::Error> {
        self.ask(path, Some((Method::Patch, body))).await
    }

    pub async fn delete(&mut self, path: &str) -> Result<Answer, svix::Error> {
        self.ask(path, Some((Method::Delete, Vec::new()))).await
    }

    /// Asks until Svix answers, or the time is over.
    async fn ask(
        &mut self,
        path: &str,
        body: Option<(Method, Vec<u8>)>,
    ) -> Result<Answer, svix::Error> {
        // The same for all attempts, so that a second one does nothing anew.
        let key = match &self.key {
            Some(key) => digest::of_pair(path, key),
            None => client::request_id(self.random.u64(..)),
        };
        let mut retries = Retries::new(&self.config.retry, self.random.u64(..));
        loop {
            retry::check_time(self.deadline.remaining())?;
            if self.asks_gate {
                check_gate().await?;
            }
            let request = Request {
                path,
                // Svix knows the key with a POST only.
                headers: match body {
                    Some((Method::Post, _)) => vec![header("idempotency-key", &key)],
                    _ => Vec::new(),
                },
                body: body.clone(),
                id: &self.request_id,
            };
            let result = client::send(&self.config.svix, request, self.deadline.remaining()).await;
            let Err(svix::Error::Unavailable { cause, retry_after }) = &result else {
                return result;
            };
            // A path that is missing now is missing in a second, too.
            if *cause == Cause::NoSuchPath {
                return result;
            }
            match retries.next_wait(self.deadline.remaining(), *retry_after) {
                Some(wait) => clock::sleep(wait).await,
                None => return result,
            }
        }
    }
}

/// Fails while the gate is closed. An event that comes then may still be the probe.
async fn check_gate() -> Result<(), svix::Error> {
    shared_gate::refresh().await;
    match shared_gate::closed() {
        Some(shut) if !shut.rest.is_zero() => Err(svix::Error::Unavailable {
            cause: Cause::Gate(shut.reason),
            retry_after: Some(shut.rest),
        }),
        _ => Ok(()),
    }
}
