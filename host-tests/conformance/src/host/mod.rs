//! The checks of a host and its store. A relay runs under the host, beside a fake Svix of this process.

mod answers;
mod crashes;
mod expect;
mod forms;
mod letters;
mod limits;
mod operators;
mod relay;

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use fake_svix::FakeSvix;
use rig::Process;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time;

use crate::check::{self, Check, checks, same};
use crate::client::{Client, Reply};
use crate::options::Options;
use crate::report::Report;
use crate::{TOKEN, fake_svix};

pub const CHECKS: &[Check<Host>] = checks![
    forms::direct, "an event posted directly arrives byte for byte",
        "customers get another webhook than the platform published";
    forms::wrapped, "a wrapped event arrives, in either alphabet of base64",
        "pushes of Pub/Sub become dead letters";
    forms::unwrapped, "headers of an unwrapped push come through the host",
        "a broken event is refused instead of kept, and Pub/Sub sends it for days";
    forms::marked, "a byte order mark is skipped",
        "events of publishers that write one become dead letters";
    forms::chunked, "a body without a length comes through the host",
        "proxies that send chunks can't be used in front of the relay";
    forms::cut_off, "a body that breaks off is not taken for an event",
        "half an event is acknowledged or kept";
    answers::name_the_problem, "a failure has its status, problem and headers",
        "senders and operators can't tell what to do; Pub/Sub sees the status alone";
    answers::repeat_nothing, "an event that comes again is a duplicate, with a record",
        "every repetition costs up to two requests to Svix";
    answers::at_once, "16 deliveries of one event at once are one message",
        "instances that get an event at the same moment store it twice";
    answers::pass_a_limit_on, "a limit of Svix closes the gate for every instance, until it is opened",
        "instances that don't share the gate send into the limit, and are limited for longer";
    answers::pass_a_failure_on, "a failure of Svix is a 503 with `Retry-After`, and the event arrives later",
        "the sender takes the event for delivered or for refused: it is lost";
    crashes::keep_records, "a record is there after SIGKILL",
        "the store doesn't write what it confirms; lost dead letters are lost events";
    crashes::before_the_record, "an event is one message after SIGKILL before its record",
        "a crash makes a second message";
    crashes::under_load, "SIGKILL under load loses and repeats nothing",
        "a crash loses events or repeats them";
    crashes::keep_letters, "a dead letter is there after SIGKILL, with its body",
        "a crash loses an event that Pub/Sub has forgotten";
    letters::are_kept, "a dead letter is kept, listed, shown and discarded",
        "an event that Svix refuses is lost, or can't be found; `set-many` may be incomplete";
    letters::are_replayed, "a dead letter is delivered by a replay",
        "operators can't bring refused events back";
    letters::have_numbers_of_their_own, "numbers of dead letters neither skip nor repeat",
        "`increment` is not atomic: a letter replaces another one, and its event is lost";
    limits::largest_push, "Pub/Sub's largest push, of 14 MB, is kept and shown",
        "the host or the store refuses it, and Pub/Sub sends it for days";
    limits::headers, "a request may have 100 headers",
        "unwrapped pushes with many attributes are refused: use wrapped ones";
    limits::concurrency, "128 events at once are delivered",
        "bursts are answered late, and Pub/Sub slows the whole subscription down";
    limits::early_answers, "an answer arrives before the end of a body, and after it",
        "a sender that is refused sees a broken connection instead, and comes again";
    operators::read_metrics, "metrics count every event",
        "alerts stay silent: the counters of instances get lost";
    operators::read_the_status, "probes and status answer, without secrets",
        "the platform restarts a healthy relay, or secrets are shown";
    operators::purge, "a purge ends, and keeps young records",
        "old records stay for ever, or events of the last days are delivered twice";
    operators::open_the_console, "the console is served with its policy",
        "operators have no console, or one that loads foreign scripts";
];

/// For so long, and longer than that, an instance goes by what it has read of the gate.
const FRESH: Duration = Duration::from_millis(100);

/// How the checks reach the relay.
pub struct Host {
    client: Client,
    svix: FakeSvix,
    /// `None` if the relay was running already.
    process: Option<Process>,
    /// A project that no other run has.
    project: String,
    used: usize,
}

/// An event, as text.
struct Event {
    id: String,
    text: String,
}

pub async fn check(options: &Options, report: &mut Report) -> Result<()> {
    let mut tasks = JoinSet::new();
    let directory = tempfile::Builder::new().prefix("conformance-").tempdir()?;
    let is_ours = options.relay_url.is_none();
    let (mut fake, mut admin) = ("127.0.0.1:0", "admin");
    if !is_ours {
        fake = options.fake.as_deref().unwrap_or("127.0.0.1:9071");
        admin = options.admin_token.as_deref().unwrap_or(admin);
    }
    let name = relay::name(options);
    check::tell(options.quiet, &format!("Host: {name}"));
    let (svix, fake) = fake_svix(fake, TOKEN, &mut tasks).await?;
    let mut process = match &options.relay_url {
        Some(_) => None,
        None => Some(relay::start(options, directory.path(), fake)?),
    };
    let url = match &mut process {
        Some(process) => {
            process.is_up().await?;
            format!("http://{}", process.address())
        }
        None => name.clone(),
    };
    ensure!(url.starts_with("http://"), "RELAY_URL must begin with http://, and is {url}");
    let headers = vec![
        ("authorization", format!("Bearer {admin}")),
        ("content-type", "application/json".to_owned()),
    ];
    let mut host = Host {
        client: Client::new(&url, headers),
        svix,
        process,
        project: format!("conformance-{:016x}", fastrand::u64(..)),
        used: 0,
    };
    host.is_usable().await?;
    let before = report.failed().len();
    let ended = check::run(CHECKS, &mut host, Host::recover, options.quiet, report).await;
    report.subjects.push(format!("Host: {name}"));
    drop(host);
    if report.failed().len() > before && is_ours {
        let log = relay::log(&directory.keep());
        report.subjects.push(format!("Log of the host: {}", log.display()));
    }
    ended
}

impl Host {
    /// Fails if no event can arrive in the fake Svix: then every check would.
    async fn is_usable(&mut self) -> Result<()> {
        let ready = self.client.get("/readyz").await;
        let ready = ready.and_then(|reply| reply.expect(200).map(drop));
        ready.context("no relay answers, or it is not ready")?;
        self.open_gate().await.context("the operator's token (ADMIN_TOKEN)")?;
        let event = self.new_event();
        let reply = self.deliver(&event).await?;
        reply.expect(200).context("the relay can't reach the fake Svix (FAKE)")?;
        Ok(())
    }

    /// Ends what a failed check has left behind. Tells if the host has ended, too.
    async fn recover(&mut self) -> Result<Option<String>> {
        self.svix.clear_faults();
        self.svix.set_latency(Duration::ZERO);
        let mut ended = None;
        if let Some(process) = &mut self.process
            && let Err(error) = process.check()
        {
            // The log tells more than the first line.
            ended = error.to_string().lines().next().map(str::to_owned);
            process.restart()?;
            process.is_up().await?;
        }
        let open = self.open_gate().await;
        open.context("the relay doesn't answer after a failed check")?;
        Ok(ended)
    }

    fn new_event(&mut self) -> Event {
        self.used += 1;
        let (project, now) = (&self.project, clock::rfc3339(SystemTime::now()));
        let id = format!("evt_{project}_{}", self.used);
        // A number and a text that would not survive being read and written again.
        let text = format!(
            r#"{{ "id":"{id}","type":"conformance.checked", "project":"{project}","time":"{now}","n":10.0,"x":"???>>>~~~ÿ\u00ff" }}"#
        );
        Event { id, text }
    }

    fn new_events(&mut self, number: usize) -> Vec<Event> {
        (0..number).map(|_| self.new_event()).collect()
    }

    /// Posts an event directly.
    async fn deliver(&self, event: &Event) -> Result<Reply> {
        self.post(event.text.clone()).await
    }

    async fn post(&self, body: String) -> Result<Reply> {
        self.client.send("POST", "/notifications", &[], body).await
    }

    async fn open_gate(&self) -> Result<()> {
        let reply = self.client.ask("POST", "/gate/open").await?;
        reply.expect(200)?;
        time::sleep(FRESH).await;
        Ok(())
    }

    /// The dead letter with this number.
    async fn letter(&self, number: &Value) -> Result<Value> {
        let letter = self.client.get(&format!("/dead-letters/{number}")).await?;
        Ok(letter.expect(200)?.json())
    }

    /// The number of messages of an event.
    fn messages(&self, event: &Event) -> usize {
        let messages = self.svix.messages_for(&self.project).into_iter();
        let of_event = messages.filter(|message| message.event_id.as_deref() == Some(&event.id));
        of_event.count()
    }

    /// Fails unless Svix holds the event as one message.
    fn expect_one(&self, event: &Event) -> Result<()> {
        same(&format!("messages of {}", event.id), &self.messages(event), &1)
    }

    /// Kills the host, and starts it again.
    async fn crash(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("a host of another")?;
        process.kill().await?;
        process.restart()?;
        process.is_up().await
    }

    /// Waits until the fake Svix holds an event.
    async fn is_stored(&self, event: &Event) {
        while self.messages(event) == 0 {
            time::sleep(Duration::from_millis(1)).await;
        }
    }
}
