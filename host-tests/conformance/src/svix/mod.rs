//! The checks of a Svix. They create one application with a random uid, and delete it at the end.

mod customers;
mod errors;
mod lists;
mod messages;
mod repetitions;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time;

use crate::check::{self, Check, checks};
use crate::client::{Client, Reply};
use crate::options::Options;
use crate::report::Report;
use crate::{TOKEN, fake_svix};

pub const CHECKS: &[Check<Svix>] = checks![
    messages::create_their_application, "a project's first message creates its application",
        "every project must be created by hand, with `create_applications=false`";
    messages::come_back_as_sent, "a message comes back with its payload",
        "customers get another webhook than the platform published";
    messages::have_ids_of_256_characters, "names have 1 to 256 letters, digits, `-`, `_`, `.`",
        "events with other names become dead letters, though the relay takes them for valid";
    messages::have_reserved_prefixes, "`msg_` and `app_` begin only Svix's own ids",
        "a lookup by such an event's id may find another message";
    messages::have_up_to_1_mib, "a message of 1 MiB is taken",
        "events above Svix's limit become dead letters: set `max_body_bytes` to that limit";
    messages::are_refused_if_too_large, "a message that is too large is refused for good",
        "Pub/Sub delivers such an event again for days, instead of once";
    repetitions::conflict, "a used event id is a 409 `conflict`",
        "an event without a record and older than 12 hours may be stored twice";
    repetitions::are_found, "a message is found by either id, and a missing one is a 404 `not_found`",
        "the relay can't tell whether an event is stored, after a crash or a 409";
    repetitions::have_the_first_id, "a key gives the first message's id back",
        "a crash before the record makes a second message, or a second look at Svix";
    repetitions::at_once_are_one, "posts at once with one key are one message",
        "nodes that get an event at the same moment store it twice";
    repetitions::of_another_uri, "a key at another URI makes no second message",
        "a later version of the relay, with another query, stores events twice";
    repetitions::of_a_refusal, "a refusal is not kept under its key",
        "an event that Svix refused once never arrives, even if it is valid by then";
    lists::show_each_message_once, "a list shows every message once, newest first",
        "an audit reports messages that are there as missing";
    lists::go_on_until_done, "pages lead on by `iterator` until `done`",
        "an audit sees only some of the messages";
    lists::have_at_most_250, "a page holds at most 250 messages",
        "an audit's requests are refused";
    lists::keep_to_a_window, "`after` and `before` bound a list",
        "an audit counts messages of another window as unrecorded";
    customers::have_event_types, "an event type is created once, and found",
        "customers can't choose the types of new events; events still arrive";
    customers::have_a_portal, "an application has a portal, and a missing one has none",
        "operators can't send a customer the link; events still arrive";
    errors::have_a_code, "an error has a `code` and a `detail`, a 422 a list",
        "the relay takes Svix's refusals for those of a proxy, and sends the event again and again";
    errors::of_an_unknown_path, "an unknown path is no missing message",
        "behind a wrong `svix_url`, a lookup says that an event is not stored";
    errors::are_told_without_encoding, "answers are plain JSON, as the relay asks",
        "every event counts as unknown, and is looked up in vain";
    errors::of_the_clock, "Svix's clock agrees within 30 s",
        "waits by date are wrong, and an audit looks into the wrong window";
    errors::of_a_limit, "a limit is a 429, and its `Retry-After` can be read",
        "the relay asks again too early, and is limited for longer";
    customers::can_be_deleted, "an application can be deleted",
        "the application of this run stays, and can be deleted in Svix's dashboard";
];

/// How the checks reach Svix.
pub struct Svix {
    client: Client,
    /// The uid of the application, also of those that the checks only ask for.
    app: String,
    used: usize,
}

pub async fn check(
    options: &Options,
    interrupted: impl Future<Output = ()>,
    report: &mut Report,
) -> Result<()> {
    let mut tasks = JoinSet::new();
    let (url, token) = match (&options.svix_url, &options.svix_token) {
        (None, None) => {
            let (_, address) = fake_svix("127.0.0.1:0", TOKEN, &mut tasks).await?;
            (format!("http://{address}"), TOKEN.to_owned())
        }
        (url, Some(token)) => (url.clone().unwrap_or_else(|| region(token)), token.clone()),
        (Some(_), None) => bail!("SVIX_URL needs a SVIX_TOKEN"),
    };
    let name = match options.svix_token {
        Some(_) => &url,
        None => "the fake Svix",
    };
    check::tell(options.quiet, &format!("Svix: {name}"));
    let headers = vec![
        ("authorization", format!("Bearer {token}")),
        ("content-type", "application/json".to_owned()),
        ("accept-encoding", "identity".to_owned()),
    ];
    let mut svix = Svix {
        client: Client::new(&url, headers),
        app: format!("conformance-{:016x}", fastrand::u64(..)),
        used: 0,
    };
    svix.is_usable().await?;
    let recover = async |_: &mut Svix| Ok(None);
    let ended = tokio::select! {
        ended = check::run(CHECKS, &mut svix, recover, options.quiet, report) => ended,
        () = interrupted => {
            let cleaned = svix.clean_up().await;
            cleaned.with_context(|| format!("interrupted, and {} is still in Svix", svix.app))?;
            bail!("interrupted");
        }
    };
    let calls = svix.client.calls();
    report.subjects.push(format!("Svix: {name}, {calls} requests"));
    ended
}

/// The URL of the region that a token names.
fn region(token: &str) -> String {
    match token.rsplit('.').next() {
        Some(region @ ("us" | "eu" | "in" | "ca" | "au")) => {
            format!("https://api.{region}.svix.com")
        }
        _ => "https://api.svix.com".to_owned(),
    }
}

impl Svix {
    /// Fails if no Svix answers, or none that accepts the token: then every check would.
    async fn is_usable(&self) -> Result<()> {
        let nothing = || format!("no Svix answers at {} (SVIX_URL)", self.client.base());
        let reply = self.look_up("evt_0").await.with_context(nothing)?;
        let shown = reply.shown();
        ensure!(
            !matches!(reply.status, 401 | 403),
            "Svix does not accept the token (SVIX_TOKEN): {shown}"
        );
        ensure!(reply.json()["code"].is_string(), "{}: {shown}", nothing());
        Ok(())
    }

    /// Deletes something. Waits while Svix limits, because a check may have met the limit just before.
    async fn delete(&self, path: &str) -> Result<Reply> {
        for _ in 0..4 {
            let reply = self.client.ask("DELETE", path).await?;
            if reply.status != 429 {
                return Ok(reply);
            }
            let wait = reply.header("retry-after").and_then(|wait| wait.parse().ok());
            time::sleep(Duration::from_secs(wait.unwrap_or(5).min(30))).await;
        }
        self.client.ask("DELETE", path).await
    }

    async fn delete_event_type(&self) -> Result<Reply> {
        let path = format!("/api/v1/event-type/{}/?expunge=true", self.app);
        self.delete(&path).await
    }

    async fn delete_application(&self) -> Result<Reply> {
        self.delete(&self.path("")).await
    }

    /// Deletes all that the checks may have created.
    async fn clean_up(&self) -> Result<()> {
        for reply in [self.delete_event_type().await?, self.delete_application().await?] {
            ensure!(matches!(reply.status, 204 | 404), "{}", reply.shown());
        }
        Ok(())
    }

    /// An event id that was not used before.
    fn new_id(&mut self) -> String {
        self.used += 1;
        format!("{}-{}", self.app, self.used)
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/app/{}/{rest}", self.app)
    }

    /// A message with a new event id, which it returns, too.
    fn new_message(&mut self) -> (String, Value) {
        let id = self.new_id();
        let message = json!({
            "eventType": "conformance.checked",
            "eventId": id,
            "application": {"uid": self.app, "name": self.app},
            "payload": {"id": id, "n": 10.5},
        });
        (id, message)
    }

    /// Posts a message as the relay does.
    async fn post(&self, message: &Value, key: Option<&str>) -> Result<Reply> {
        let path = self.path("msg/?with_content=false");
        let key = key.map(|key| ("idempotency-key", key));
        self.client.send("POST", &path, key.as_slice(), message.to_string()).await
    }

    /// Posts a message. Returns its id.
    async fn create(&self, message: &Value, key: Option<&str>) -> Result<String> {
        let event_id = message["eventId"].as_str().unwrap_or_default();
        stored(&self.post(message, key).await?, event_id)
    }

    /// Stores a new message. Returns its event id, and its id.
    async fn store(&mut self) -> Result<(String, String)> {
        let (event_id, message) = self.new_message();
        let id = self.create(&message, None).await?;
        Ok((event_id, id))
    }

    async fn look_up(&self, id: &str) -> Result<Reply> {
        self.client.get(&self.path(&format!("msg/{id}/?with_content=false"))).await
    }
}

/// The id of the event's message in an answer, as the relay reads it.
fn stored(reply: &Reply, event_id: &str) -> Result<String> {
    let answer = reply.json();
    let is_ours = (200..300).contains(&reply.status) && answer["eventId"] == event_id;
    let id = answer["id"].as_str().filter(|id| is_ours && id.starts_with("msg_"));
    let id = id.with_context(|| format!("{} is no message of {event_id}", reply.shown()))?;
    Ok(id.to_owned())
}
