//! The relay's own audit of the soak's store. It must count every record on a page of the journal and find
//! nothing. Then faults are planted, and the audit must find each of them and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use bytes::Bytes;
use fastrand::Rng;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time;

use crate::options::ADMIN_TOKEN;
use crate::storm::process::{self, Settings};
use clock::rfc3339;
use fake_svix::FakeSvix;
use host::{KeyValue, Location};

/// How far the relay's clock is ahead, because an audit leaves out the last quarter of an hour.
const AHEAD: Duration = Duration::from_hours(1);

/// How many faults of each kind are planted.
const FAULTS: usize = 5;

/// The audit compares records in batches. The page that brings a batch to so many records is its last, or the
/// last of so many pages.
const BATCH: usize = 4_096;
const PAGES: u64 = 256;

/// The limit for a slice of the audit.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// How many records were found in Svix, each counted once.
    pub audited: usize,
    /// How many findings there were before the faults.
    pub findings: usize,
    /// Each count and finding that should be another one.
    pub wrong: Vec<String>,
    /// The numbers behind `audited`, and how many faults were planted.
    pub told: String,
}

/// A kind and the id of an event.
type Finding = (Value, Value);

/// Audits the store, plants faults, and audits again. All events were published after `began`.
pub async fn audit(
    settings: Settings,
    svix: &FakeSvix,
    began: SystemTime,
    random: &mut Rng,
) -> Result<Audit> {
    let store = settings.key_value.parse::<Location>()?.open()?;
    let (records, batches) = read(&store).await?;
    let paged: BTreeSet<_> = batches.iter().flatten().collect();
    // A record counts once in each batch that names it.
    let again = batches.iter().map(BTreeSet::len).sum::<usize>() - paged.len();

    let clock_ahead = AHEAD;
    let mut relay = process::start(Settings { clock_ahead, ..settings })?;
    relay.is_up().await?;
    let counted = slices(relay.address(), "").await?;
    let mut wrong = differences(findings(relay.address()).await?, &[]);
    let before_faults = wrong.len();
    for (number, expected, of) in [
        (counted, paged.len() + again, "records audited"),
        (records.len(), svix.messages().len(), "records in all"),
    ] {
        if number != expected {
            wrong.push(format!("{number} {of} instead of {expected}"));
        }
    }

    let delivered = paged.iter().filter_map(|name| {
        let record = &records[*name];
        Some((name.as_str(), record["svixMessageId"].as_str()?, &record["eventId"]))
    });
    let chosen = random.choose_multiple(delivered, 3 * FAULTS);
    let mut planted = Vec::new();
    for (number, (name, message, event_id)) in chosen.into_iter().enumerate() {
        let kind = ["missing", "doubled", "unrecorded"][number % 3];
        match kind {
            "missing" => svix.forget_message(message),
            "doubled" => svix.store_again(message),
            _ => store.delete(name).await?,
        }
        planted.push((json!(kind), event_id.clone()));
    }
    slices(relay.address(), &format!("?since={}", rfc3339(began))).await?;
    wrong.extend(differences(findings(relay.address()).await?, &planted));
    relay.terminate().await?;
    let told = format!(
        "{} of {} records are on a page of the journal, and {again} of them in two batches of the audit; {} faults were planted",
        paged.len(),
        records.len(),
        planted.len()
    );
    Ok(Audit { audited: counted.saturating_sub(again), findings: before_faults, wrong, told })
}

/// All records by their names, and the names in each batch of the audit.
async fn read(store: &KeyValue) -> Result<(BTreeMap<String, Value>, Vec<BTreeSet<String>>)> {
    let (mut records, mut pages) = (BTreeMap::new(), BTreeMap::new());
    for name in store.keys().await? {
        let page = name.strip_prefix("journal/day/").and_then(|page| page.split_once('/'));
        let bytes = store.get(&name).await?.unwrap_or_default();
        if let Some((day, number)) = page {
            let place: (u64, u64) = (day.parse()?, number.parse()?);
            pages.insert(place, String::from_utf8(bytes)?);
        } else if name.starts_with("record/") {
            records.insert(name, serde_json::from_slice(&bytes)?);
        }
    }
    let mut batches: Vec<BTreeSet<String>> = Vec::new();
    let (mut day, mut before, mut last) = (0, 0, 0);
    for ((of_day, number), page) in &pages {
        let names = page.lines().filter(|name| records.contains_key(*name)).map(str::to_owned);
        match batches.last_mut() {
            Some(batch) if day == *of_day && batch.len() < BATCH && last < before + PAGES => {
                batch.extend(names);
            }
            _ => {
                before = if day == *of_day { last } else { 0 };
                batches.push(names.collect());
            }
        }
        (day, last) = (*of_day, *number);
    }
    Ok((records, batches))
}

fn differences(mut found: Vec<Finding>, expected: &[Finding]) -> Vec<String> {
    let mut wrong = Vec::new();
    for finding in expected {
        match found.iter().position(|other| other == finding) {
            Some(place) => drop(found.swap_remove(place)),
            None => wrong.push(format!("not found: {} {}", finding.0, finding.1)),
        }
    }
    for (kind, event_id) in found {
        wrong.push(format!("found without a fault: {kind} {event_id}"));
    }
    wrong
}

/// Audits until nothing more is due. Returns how many records were found in Svix.
async fn slices(relay: SocketAddr, query: &str) -> Result<usize> {
    let mut path = format!("/maintenance/audit{query}");
    let mut counted = 0;
    loop {
        let slice = ask(relay, Method::POST, &path).await?;
        let numbers = [&slice["events"], &slice["settled"]].map(Value::as_u64);
        counted += numbers.into_iter().flatten().sum::<u64>();
        if slice["done"] == true {
            return Ok(usize::try_from(counted)?);
        }
        "/maintenance/audit".clone_into(&mut path);
    }
}

async fn findings(relay: SocketAddr) -> Result<Vec<Finding>> {
    let list = ask(relay, Method::GET, "/audit/findings").await?;
    let found = list["findings"].as_array().into_iter().flatten();
    Ok(found.map(|it| (it["kind"].clone(), it["eventId"].clone())).collect())
}

/// Asks the relay as its operator.
pub(super) async fn ask(relay: SocketAddr, method: Method, path: &str) -> Result<Value> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{relay}{path}"))
        .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
        .body(Empty::<Bytes>::new())?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let reply = time::timeout(PATIENCE, client.request(request)).await??;
    let status = reply.status();
    let body = reply.into_body().collect().await?.to_bytes();
    ensure!(status == 200, "{path} is answered {status}: {body:?}");
    Ok(serde_json::from_slice(&body)?)
}
