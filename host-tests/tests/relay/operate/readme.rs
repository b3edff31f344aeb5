//! The documents, held against the relay: their tours run, and their lists are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::net::TcpStream;

use clock::Clock;
use fake_svix::{FakeSvix, Fault, RetryAfter, Target};
use host::Op;
use rig::ports;

use crate::ingest::auth::google::{Answers, Google, claims, key};
use crate::serve::{Serve, url_of};
use crate::support::{self, TOKEN, World, ask, event, full, refuse, root};

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// The text between two others.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).expect(start);
    rest.split_once(end).expect(end).0
}

/// The cells of each row of the table that begins with this head.
fn table<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, rest) = text.split_once(&format!("\n{head}\n")).expect(head);
    let rows = rest.lines().skip(1);
    let rows = rows.take_while(|line| line.starts_with("| "));
    let cells = |row: &'a str| row.trim_matches('|').split(" | ").map(str::trim).collect();
    rows.map(cells).collect()
}

/// The words between backquotes.
fn code(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The shell commands of a document.
fn shell(text: &str) -> String {
    let blocks = text.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().expect("commands"));
    blocks.collect()
}

/// The outputs that the comments beside the commands promise, in order: JSON as the relay prints it, or a
/// number on a line.
fn promises(commands: &str) -> Vec<String> {
    let mut promises = Vec::new();
    let comments = commands.lines().filter_map(|line| line.split_once("  # "));
    for (_, comment) in comments {
        if let Ok(number) = comment.parse::<u32>() {
            promises.push(format!("\n{number}\n"));
        }
        let words = comment.split_whitespace();
        let json = words.filter(|word| word.starts_with('"'));
        promises.extend(json.map(|word| word.trim_end_matches(',').to_owned()));
    }
    promises
}

/// Runs a tour beside a fake Svix and a relay, and checks its promises. Returns the number of promises, and
/// of messages that Svix got.
///
/// scripts/image-check.sh has both running already, and gives their addresses.
async fn take(commands: String) -> (usize, usize) {
    let directory = TempDir::new().expect("a directory");
    let running = ["TOUR_SVIX", "TOUR_RELAY"].map(|name| env::var(name).ok());
    let (svix, relay, _serve) = if let [Some(svix), Some(relay)] = running {
        (svix, relay, None)
    } else {
        let svix = url_of(&FakeSvix::new(TOKEN, Clock::system())).await;
        let variables = ["admin_token=admin", "svix_timeout_ms=300"];
        let serve = Serve::at(&svix, directory.path(), &variables);
        (svix, serve.address().to_owned(), Some(serve))
    };
    let before = messages(&svix).await;
    let other = ports::free().expect("a port").to_string();
    let below = |directory: &Path| format!("{}/tour", directory.display());
    let script = commands
        .replace("127.0.0.1:3000", &relay)
        .replace("http://127.0.0.1:9071", &svix)
        .replace("127.0.0.1:3001", &other)
        .replace("testsk_fake.eu", TOKEN)
        .replace("target/debug/serve", &support::binary("serve").display().to_string())
        .replace("target/tour", &below(directory.path()));
    let run = move || {
        // The tour's loops would go on forever if the second relay didn't start. A busy machine may take minutes.
        Command::new("timeout")
            .current_dir(root())
            .args(["300", "bash", "-euo", "pipefail", "-c", &script])
            .output()
    };
    let output = tokio::task::spawn_blocking(run).await;
    let output = output.expect("no panic").expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = || {
        let left =
            ["tour.err", "tour.log"].map(|name| fs::read_to_string(directory.path().join(name)));
        format!("{printed}\n{left:?}\n{}", String::from_utf8_lossy(&output.stderr))
    };
    assert!(output.status.success(), "{}", failed());
    let promises = promises(&commands);
    let mut rest = &printed[..];
    for promise in &promises {
        let at = rest.find(promise.as_str());
        let at = at.unwrap_or_else(|| panic!("no {promise} in {rest}"));
        rest = &rest[at + promise.trim_end().len()..];
    }
    (promises.len(), messages(&svix).await - before)
}

/// How many messages the fake Svix at `url` has.
async fn messages(url: &str) -> usize {
    let address = url.trim_start_matches("http://");
    let stream = TcpStream::connect(address).await.expect("connected");
    let request = Request::get("/_fake/messages").body(full(Bytes::new()));
    let reply = support::send(stream, request.expect("valid")).await;
    let messages = reply.expect("a reply").json();
    messages.as_array().expect("a list").len()
}

#[test]
fn the_readme_is_a_front_page() {
    let words = document("README.md").split_whitespace().count();
    assert!(words <= 900, "{words} words");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_of_the_readme_prints_the_promised_output() {
    let readme = document("README.md");
    let commands = shell(between(&readme, "## Quick tour", "\n## "));
    assert_eq!(take(commands).await, (4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_event_of_the_readme_gets_the_promised_answer() {
    let readme = document("README.md");
    let first = between(&readme, "## Try it", "\n## ");
    let curl = shell(first).lines().last().expect("curl").to_owned();
    assert!(curl.starts_with("curl "), "{curl}");
    let answer = between(first, "```json\n", "\n").split("msg_…");
    let promised: Vec<_> = answer.collect();
    let checked = format!("test \"$({curl} | sed 's/msg_[^\"]*/…/')\" = '{}'", promised.join("…"));
    assert_eq!(take(checked).await, (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_long_tour_prints_the_promised_output() {
    let commands = shell(&document("docs/tour.md"));
    assert_eq!(take(commands).await, (25, 5));
}

#[test]
fn every_variable_is_explained_with_its_default() {
    let manifest: toml::Table = document("spin.toml").parse().expect("TOML");
    let declared = manifest["variables"].as_table().expect("variables");
    let text = document("docs/configuration.md");
    let explained = variables(&text);
    let names: BTreeSet<_> = declared.keys().map(String::as_str).collect();
    assert_eq!(explained.keys().copied().collect::<BTreeSet<_>>(), names);
    for (name, cells) in explained {
        let described = ["required", "by the token's region", "Google's"];
        if !described.contains(&cells[0]) {
            let default = declared[name].get("default").and_then(toml::Value::as_str);
            let shown = default.filter(|default| !default.is_empty());
            assert_eq!(shown.unwrap_or("empty"), cells[0], "{name}");
        }
    }
}

/// The cells behind the name of each variable.
fn variables(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let rows = table(text, "| variable | default | range | meaning | change it |");
    let rows = rows.into_iter().map(|cells| {
        assert_eq!(cells.len(), 5, "{cells:?}");
        (cells[0].trim_matches('`'), cells[1..].to_vec())
    });
    rows.collect()
}

#[tokio::test(start_paused = true)]
async fn every_variable_is_explained_with_its_range() {
    let text = document("docs/configuration.md");
    let explained = variables(&text);
    // Without an origin, the relay doesn't start.
    let names = explained.iter().filter(|(_, cells)| cells[1] != "an origin");
    let wrong: Vec<_> = names.map(|(name, _)| (leaked(name), "?")).collect();
    assert_eq!(wrong.len(), explained.len() - 2);
    let reply = World::with(&wrong).get("/readyz").await.json();
    let errors = reply["errors"].as_array().expect("errors");
    let mut checked = 0;
    for error in errors {
        let text = |field: &str| error[field].as_str().expect("text").to_owned();
        let (name, reason) = (text("field"), text("reason"));
        let Some(cells) = explained.get(&name[..]) else {
            panic!("{name} is not explained");
        };
        if let Some(range) = reason.strip_prefix("must be a whole number from ") {
            assert_eq!(cells[1], range, "{name}");
            checked += 1;
        } else if reason.starts_with("must be '") {
            let choices: BTreeSet<_> = reason.split('\'').skip(1).step_by(2).collect();
            assert_eq!(code(cells[1]), choices, "{name}");
            checked += 1;
        }
    }
    assert_eq!(checked, 14, "{errors:?}");
}

/// The same text for the rest of the process, since a world borrows the names of its variables.
fn leaked(name: &str) -> &'static str {
    name.to_owned().leak()
}

/// Below each status, the names of the problems in a part of the contract.
fn problems<'a>(
    contract: &'a Value,
    status: &'a str,
    part: &'a Value,
    found: &mut BTreeSet<(&'a str, &'a str)>,
) {
    match part {
        Value::String(text) => {
            let name = text.strip_prefix("urn:svix-relay:problem:");
            found.extend(name.map(|name| (status, name)));
            let shared = text.strip_prefix("#/components/responses/");
            if let Some(name) = shared {
                let part = &contract["components"]["responses"][name];
                problems(contract, status, part, found);
            }
        }
        Value::Array(parts) => {
            for part in parts {
                problems(contract, status, part, found);
            }
        }
        Value::Object(parts) => {
            for (key, part) in parts {
                let is_status = key.len() == 3 && key.parse::<u16>().is_ok();
                let status = if is_status { key } else { status };
                problems(contract, status, part, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_problem_is_explained_with_its_status() {
    let contract: Value = serde_json::from_str(&document("src/api/openapi.json")).expect("JSON");
    let mut known = BTreeSet::new();
    problems(&contract, "", &contract["paths"], &mut known);
    let shared = &contract["components"]["responses"]["MethodNotAllowed"];
    problems(&contract, "405", shared, &mut known);
    assert!(known.len() >= 30, "{known:?}");
    let text = document("docs/api.md");
    let rows = table(&text, "| situation | status | problem | come back |");
    let explained = rows.iter().map(|cells| (cells[1], cells[2].trim_matches('`')));
    let explained: Vec<_> = explained.collect();
    assert_eq!(explained.len(), known.len(), "each has one row");
    assert_eq!(explained.into_iter().collect::<BTreeSet<_>>(), known);
}

const CORRECTIONS: &str =
    "| the first event | the corrected one, with the same id | with a new id |";

#[test]
fn every_reason_of_a_dead_letter_is_named() {
    let contract: Value = serde_json::from_str(&document("src/api/openapi.json")).expect("JSON");
    let replay = &contract["paths"]["/dead-letters/{n}/replay"];
    let mut found = BTreeSet::new();
    problems(&contract, "", replay, &mut found);
    let found = found.into_iter();
    let kept = found.filter(|(status, _)| ["400", "413", "415", "422"].contains(status));
    let mut reasons: BTreeSet<_> = kept.map(|(_, name)| name).collect();
    // A push is JSON by its form, whatever its media type.
    reasons.remove("unsupported-media-type");
    // The request, not the event.
    reasons.remove("invalid-query");
    reasons.remove("invalid-request");
    // The problem of a held project is no final one.
    reasons.insert("held");
    assert!(reasons.len() >= 12, "{reasons:?}");

    let api = document("docs/api.md");
    let flowing = api.replace('\n', " ");
    let list = between(&flowing, "that a direct post would get: ", ". ");
    assert_eq!(code(list), reasons);
    let rows = table(&api, CORRECTIONS);
    let became = rows.iter().map(|cells| cells[0]).filter(|first| first.contains("dead letter"));
    assert_eq!(became.flat_map(code).collect::<BTreeSet<_>>(), reasons);
    let page = document("src/operator/console/page.js");
    let list = between(&page, "const REASONS = ['", "'];").split("', '");
    assert_eq!(list.collect::<BTreeSet<_>>(), reasons);
    let runbook = document("deploy/runbook.md");
    let act = between(&runbook, "3. Act by `reason`:\n", "\n4. ");
    assert!(code(act).is_superset(&reasons), "{act}");
}

#[test]
fn every_route_is_named_with_its_methods() {
    let contract: Value = serde_json::from_str(&document("src/api/openapi.json")).expect("JSON");
    let paths = contract["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("an item").keys();
        let methods = methods.filter(|key| *key != "parameters");
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let text = document("docs/api.md");
    let rows = table(&text, "| route | for | |");
    let named = rows.iter().flat_map(|cells| code(cells[0]));
    let named: BTreeSet<_> = named.map(str::to_owned).collect();
    assert_eq!(named, operations.collect());
}

/// A world after a few events that raise every count and fill every field of the log.
async fn eventful() -> (World, Vec<Map<String, Value>>) {
    let world = World::with(&[
        ("admin_token", "hush"),
        ("register_event_types", "true"),
        ("dead_letter_retention_days", "2"),
        ("project_token_secret", "0123456789abcdef0123456789abcdef"),
    ]);
    let refused = Fault::status(422);
    world.svix.script_at(Target::EventTypes, [refused]);
    world.push(event("evt_1")).await.assert_became("delivered");
    let other = event("evt_1").replace("usr_", "usr_other_");
    assert_eq!(world.post(&other).await.json()["contentDiffers"], true);
    refuse(&world, "evt_2").await;
    let race = [Fault::RaceToCreateApplication, Fault::None, Fault::None];
    world.svix.script(race);
    assert_eq!(world.post(&event("evt_6")).await.status, 200);
    world.svix.script([Fault::status(401)]);
    assert_eq!(world.post(&event("evt_7")).await.status, 503);
    world.svix.always(Fault::ResetAfterStoring);
    assert_eq!(world.post(&event("evt_3")).await.status, 503);
    world.svix.always(Fault::None);
    let limited = Fault::retry_after(429, RetryAfter::Seconds(30));
    world.svix.script([limited]);
    assert_eq!(world.post(&event("evt_4")).await.status, 429);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.post(&event("evt_4")).await.status, 200);
    assert_eq!(world.post(&event("evt_3")).await.status, 200);
    let lost = world.svix.messages().pop().expect("a message").id;
    world.svix.forget_message(&lost);
    tokio::time::sleep(Duration::from_mins(20)).await;
    let audit = ask(&world, "POST", "/maintenance/audit").await;
    assert_eq!(audit.json()["found"], 1, "{}", audit.text());
    let issued = ask(&world, "POST", "/projects/dev/token");
    let issued = issued.await.json();
    let dashboard = format!("Bearer {}", issued["token"].as_str().expect("a token"));
    let dashboard = [("authorization", &dashboard[..])];
    let path = "/notifications/dev/evt_1";
    let seen = world.request("GET", path, &dashboard, "").await;
    assert_eq!(seen.json()["state"], "delivered");
    world.faults.fail_next(Op::Set, 1);
    for status in [503, 200] {
        assert_eq!(world.get("/readyz").await.status, status);
    }

    world.clock.advance(Duration::from_hours(48));
    let purge = ask(&world, "POST", "/maintenance/purge").await;
    assert_eq!(purge.json()["letters"], 1, "{}", purge.text());

    let google = Google::new(&[key(0)]);
    google.answer(Answers::Down);
    let pubsub = google.world();
    let token = format!("Bearer {}", key(0).token(&claims(&pubsub)));
    let headers = [("authorization", &token[..])];
    for status in [503, 200] {
        let sent = event("evt_1");
        let reply = pubsub.post_with(&headers, &sent);
        assert_eq!(reply.await.status, status);
        google.answer(Answers::Keys);
        pubsub.clock.advance(Duration::from_secs(5));
    }

    let lines = [world.stdout(), pubsub.stdout()].concat();
    let lines = lines.iter();
    let lines = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (world, lines)
}

#[tokio::test(start_paused = true)]
async fn every_field_of_the_log_is_explained() {
    let (_, lines) = eventful().await;
    let is_of_request = |line: &Map<String, Value>| line.contains_key("status");
    let (requests, changes): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_of_request);

    let text = document("docs/metrics-and-log.md");
    let rows = table(&text, "| field | meaning | Loki | Cloud Logging |");
    let explained = rows.iter().map(|cells| cells[0].trim_matches('`'));
    let explained: BTreeSet<_> = explained.collect();
    let logged = requests.iter().flat_map(Map::keys).map(String::as_str);
    assert_eq!(logged.collect::<BTreeSet<_>>(), explained);

    let rows = table(&text, "| `outcome` | meaning | more fields |");
    let explained = rows.iter().flat_map(|cells| {
        let outcomes = code(cells[0]).into_iter();
        outcomes.map(|outcome| (outcome, code(cells[2])))
    });
    let always = ["severity", "time", "message", "outcome"];
    let logged = changes.iter().map(|line| {
        let outcome = line["outcome"].as_str().expect("text");
        let fields = line.keys().map(String::as_str);
        let fields = fields.filter(|field| !always.contains(field));
        (outcome, fields.collect::<BTreeSet<_>>())
    });
    let logged: BTreeMap<_, _> = logged.collect();
    assert_eq!(logged, explained.collect());
}

#[tokio::test(start_paused = true)]
async fn every_metric_is_explained_with_its_labels() {
    let (world, _) = eventful().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let metrics = ask(&world, "GET", "/metrics").await.text();
    let text = document("docs/metrics-and-log.md");
    let rows = table(&text, "| metric | labels | meaning |");
    let explained = rows.iter().map(|cells| (cells[0].trim_matches('`'), code(cells[1])));
    let explained: BTreeMap<_, _> = explained.collect();
    let mut exposed = BTreeMap::<_, BTreeSet<_>>::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let suffixes = ["_bucket", "_sum", "_count"];
        let family = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        let words = exposed.entry(family.unwrap_or(name)).or_default();
        let labels = labels.trim_end_matches('}').split(',');
        for (label, value) in labels.filter_map(|label| label.split_once('=')) {
            match label {
                "le" => {}
                "outcome" | "project" => words.extend([label]),
                _ => words.extend([label, value.trim_matches('"')]),
            }
        }
    }
    assert_eq!(exposed, explained);
}
