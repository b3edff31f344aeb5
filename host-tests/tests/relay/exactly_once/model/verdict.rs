//! The end of a case: without faults, everything is redelivered, and then the outcome must be right.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::cast::{EVENTS, VALID};
use super::play::Play;
use crate::exactly_once::matrix::Form;
use crate::support::{ADMIN, World};

/// Within this time the names of all records are in the journal.
const JOURNAL: Duration = Duration::from_secs(10);

impl Play<'_> {
    /// Plays the end, and fails if the outcome is wrong.
    pub async fn end(mut self) -> Result<()> {
        self.mend().await?;
        self.acknowledgements_were_justified().await?;

        // The gate opens within this time.
        self.world.clock.advance(Duration::from_mins(1));
        for number in 0..EVENTS {
            let reply = self.deliver((number, Form::Wrapped)).await?;
            ensure!(reply.status == 200, "{number}: {}", reply.text());
        }
        self.replay_all().await?;
        self.everything_is_where_it_belongs().await?;

        let world = self.world;
        let asked = || {
            let requests = world.svix.requests().into_iter();
            requests.filter(|request| request.path.contains("/msg/")).count()
        };
        let before = asked();
        for number in 0..EVENTS {
            let reply = self.deliver((number, Form::Unwrapped)).await?.json();
            let expected = if number < VALID { "duplicate" } else { "dead-lettered" };
            ensure!(reply["status"] == expected, "{number} again: {reply}");
        }
        ensure!(asked() == before, "a redelivery asks Svix nothing");
        self.audit_finds_nothing().await
    }

    /// Audits everything that the case has done: whatever an audit found on the way has resolved itself.
    async fn audit_finds_nothing(&self) -> Result<()> {
        tokio::time::sleep(JOURNAL).await;
        self.world.clock.advance(Duration::from_hours(1));
        let began = "/maintenance/audit?since=2026-11-23T00:00:00Z";
        let mut report = ask(self.world, "POST", began).await?;
        while report["done"] == false {
            report = ask(self.world, "POST", "/maintenance/audit").await?;
        }
        let findings = ask(self.world, "GET", "/audit/findings").await?;
        ensure!(findings["findings"] == json!([]), "{findings}");
        Ok(())
    }

    /// Checks acknowledged events before their redelivery: since Pub/Sub never delivers them again, each
    /// must be in Svix or a dead letter already.
    async fn acknowledgements_were_justified(&self) -> Result<()> {
        if self.store_lies {
            // A dead letter is nowhere but in the store, so a store that loses a write loses the event.
            return Ok(());
        }
        let letters = letters(self.world).await?;
        for number in &self.dead_lettered {
            let event = &self.published[number];
            let kept = letters.iter().any(|letter| letter.event == event.bytes);
            ensure!(
                kept || !self.messages(*number)?.is_empty(),
                "{number} was acknowledged as a dead letter and is nowhere"
            );
        }
        Ok(())
    }

    /// Replays all letters: only invalid ones remain unresolved.
    async fn replay_all(&self) -> Result<()> {
        let replayed = ask(self.world, "POST", "/dead-letters/replay?limit=100").await?;
        ensure!(
            replayed["failed"] == EVENTS - VALID
                && replayed["next"].is_null()
                && replayed["stopped"].is_null(),
            "{replayed}"
        );
        Ok(())
    }

    async fn everything_is_where_it_belongs(&self) -> Result<()> {
        for number in 0..VALID {
            let messages = self.messages(number)?;
            ensure!(messages.len() == 1, "{number} is not in Svix");
        }
        let messages = self.world.svix.messages();
        ensure!(messages.len() == VALID, "more is in Svix: {messages:?}");

        let letters = letters(self.world).await?;
        for (number, event) in &self.published {
            let mut of_event = letters.iter().filter(|letter| letter.event == event.bytes);
            let letter = of_event.next();
            ensure!(of_event.next().is_none(), "{number} has two dead letters");
            let is_open = letter.is_some_and(|letter| !letter.resolved);
            ensure!(is_open == (*number >= VALID), "{number} is an open dead letter: {is_open}");
        }

        let world = self.world;
        let mut states = Vec::new();
        for name in world.store.keys().await? {
            let known = [
                "record/",
                "dead-letter/",
                "dead-letters",
                "letter/",
                "letter-body/",
                "gate",
                "event-type/",
                "metrics/",
                "journal",
                "audit/",
            ];
            ensure!(known.iter().any(|known| name.starts_with(known)), "{name} is in the store");
            if name.starts_with("record/") {
                let bytes = world.store.get(&name).await?.unwrap_or_default();
                let record: Value = serde_json::from_slice(&bytes)?;
                states.push(record["state"].as_str().unwrap_or_default().to_owned());
            }
        }
        states.sort_unstable();
        let expected = [vec!["dead-lettered"; EVENTS - VALID], vec!["delivered"; VALID]];
        ensure!(states == expected.concat(), "the records: {states:?}");
        Ok(())
    }
}

/// The parts of a dead letter that the model checks.
struct Letter {
    /// The bytes that were published.
    event: Vec<u8>,
    resolved: bool,
}

impl Letter {
    fn read(json: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let body = if json["bodyBase64"].is_null() {
            text(&json["body"]).into_bytes()
        } else {
            BASE64_STANDARD.decode(text(&json["bodyBase64"]))?
        };
        // Of two deliveries in different forms, one may have written the head and the other one the body.
        let push: Value = serde_json::from_slice(&body).unwrap_or_default();
        let event = match push["message"]["data"].as_str() {
            Some(data) => BASE64_STANDARD.decode(data)?,
            None => body,
        };
        let resolved = !json["resolved"].is_null();
        Ok(Self { event, resolved })
    }
}

/// All letters that an operator sees.
async fn letters(world: &World) -> Result<Vec<Letter>> {
    let page = ask(world, "GET", "/dead-letters?limit=100").await?;
    ensure!(page["next"].is_null(), "more than a page of letters");
    let mut letters = Vec::new();
    for letter in page["deadLetters"].as_array().into_iter().flatten() {
        let path = format!("/dead-letters/{}", letter["number"]);
        letters.push(Letter::read(&ask(world, "GET", &path).await?)?);
    }
    Ok(letters)
}

async fn ask(world: &World, method: &str, path: &str) -> Result<Value> {
    let reply = world.request_or_die(method, path, &[ADMIN], b"").await;
    let Some(reply) = reply.filter(|reply| reply.status == 200) else {
        bail!("{method} {path} fails without a fault");
    };
    Ok(reply.json())
}
