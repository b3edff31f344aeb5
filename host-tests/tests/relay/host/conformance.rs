//! The suite of `make conformance`: `serve` and the fake Svix pass, and each fault is found by the checks
//! that it concerns.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use futures::future::{join_all, pending};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time;

use clock::Clock;
use conformance::{Options, Report};
use fake_svix::{FakeSvix, Fault, RetryAfter, Target};
use rig::ports;

use crate::serve::{Serve, url_of};
use crate::support::{self, Reply, assert_contains, full, root};

const TOKEN: &str = "testsk_fake.eu";

/// The options of a run, whatever the environment says.
fn options(arguments: &[&str]) -> Options {
    support::build_component();
    Options {
        from: root().join("spin.toml"),
        serve: Some(support::binary("serve")),
        quiet: true,
        svix_url: None,
        svix_token: None,
        spin: None,
        runtime_config: None,
        relay_url: None,
        fake: None,
        admin_token: None,
        ..Options::parse_from([&["conformance"], arguments].concat())
    }
}

fn options_for_svix(url: String, token: &str) -> Options {
    Options { svix_url: Some(url), svix_token: Some(token.to_owned()), ..options(&["svix"]) }
}

async fn run(options: Options) -> Report {
    let mut report = Report::default();
    let ended = conformance::run(&options, pending(), &mut report).await;
    ended.expect("a whole run");
    report
}

/// The expected names of failed checks, each by its beginning, that have not failed.
fn missing<'a>(report: &Report, expected: &[&'a str]) -> Vec<&'a str> {
    let failed = report.failed();
    let has_passed = |name: &&str| !failed.iter().any(|failed| failed.starts_with(name));
    expected.iter().copied().filter(has_passed).collect()
}

/// Checks that exactly these checks have failed.
#[track_caller]
fn assert_failed(report: &Report, expected: &[&str]) {
    assert_eq!(missing(report, expected), [""; 0], "{report}");
    assert!(!report.to_string().contains(TOKEN), "{report}");
    assert_eq!(report.failed().len(), expected.len(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_and_the_fake_svix_conform() {
    let report = run(options(&[])).await;
    assert_failed(&report, &[]);
    // The fake has no limit.
    assert_eq!(report.skipped().len(), 1, "{report}");
    // docs/conformance.md promises at most 130, among them deletions that are tried again.
    assert_contains(&report.to_string(), "the fake Svix, 120 requests");
}

#[tokio::test]
async fn an_interrupted_run_leaves_nothing_in_svix() {
    let svix = FakeSvix::new(TOKEN, Clock::system());
    let options = options_for_svix(url_of(&svix).await, TOKEN);
    let interrupted = async {
        while svix.applications().is_empty() {
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    let mut report = Report::default();
    let ended = conformance::run(&options, interrupted, &mut report).await;
    let error = ended.expect_err("an interruption").to_string();
    assert_eq!(error, "interrupted");
    assert_eq!(svix.applications(), [""; 0]);
    let requests = svix.requests().into_iter();
    let deleted: Vec<_> = requests.filter(|it| it.method == "DELETE").collect();
    assert_eq!(deleted.len(), 2, "{deleted:?}");
    assert_contains(&deleted[0].path, "/event-type/conformance-");
}

#[tokio::test]
async fn a_run_that_cannot_begin_names_the_variable() {
    let url = url_of(&FakeSvix::new(TOKEN, Clock::system())).await;
    let nothing = format!("http://{}", ports::free().expect("a port"));
    let host = |spin: &str, relay_url: Option<&str>| Options {
        spin: Some(spin.into()),
        relay_url: relay_url.map(str::to_owned),
        fake: Some("127.0.0.1:0".to_owned()),
        ..options(&["host"])
    };
    let svix = |url: String, token| options_for_svix(url, token);
    for (options, expected) in [
        (svix(url.clone(), "testsk_wrong"), "(SVIX_TOKEN)"),
        (svix(format!("{url}/other"), TOKEN), "(SVIX_URL)"),
        (svix(nothing.clone(), TOKEN), "(SVIX_URL)"),
        (host("/missing/spin", None), "/missing/spin"),
        (host("false", None), "ended by itself"),
        (host("", Some("127.0.0.1:1")), "RELAY_URL"),
        (host("", Some(&nothing)), "no relay answers"),
    ] {
        let mut report = Report::default();
        let ended = conformance::run(&options, pending(), &mut report).await;
        let error = format!("{:#}", ended.expect_err(expected));
        assert!(error.contains(expected), "{error}");
        assert_eq!(report.to_string(), "");
    }
}

#[test]
fn the_document_about_conformance_shows_every_check() {
    let text = fs::read_to_string(root().join("docs/conformance.md")).expect("the document");
    let rows = text.lines().filter_map(|row| row.strip_prefix("| "));
    let cells = rows.map(|row| row.trim_end_matches(" |").split(" | ").collect());
    let cells: Vec<Vec<_>> = cells.collect();
    let shown: Vec<_> = cells.iter().map(|cells| (cells[0], cells[2])).collect();
    // Below the head and its line.
    assert_eq!(shown[2..], conformance::list());
}

/// A fault of a server, made by a proxy before it. `Line` stands for a part of a request's method, URI and
/// headers.
#[derive(Clone, Copy)]
enum Change {
    /// A text in the URI and the body of requests is replaced.
    Request(&'static str, &'static str),
    /// A header of requests is removed.
    RequestHeader(&'static str),
    /// The status of answers.
    Status(Line, u16),
    /// A text in the body of answers is replaced; an empty one stands for the whole body.
    Answer(Line, &'static str, &'static str),
    /// A header of all answers.
    AnswerHeader(&'static str, &'static str),
    /// The fake Svix itself has the fault.
    Fake(fn(&FakeSvix, &Clock)),
}
use Change::{Answer, AnswerHeader, Fake, RequestHeader, Status};

type Line = &'static str;

fn change_request(request: &mut Request<Bytes>, changes: &[Change]) {
    for change in changes {
        match *change {
            Change::Request(old, new) => {
                let uri = request.uri().to_string().replace(old, new);
                *request.uri_mut() = uri.parse().expect("a URI");
                if let Ok(text) = str::from_utf8(request.body()) {
                    *request.body_mut() = text.replace(old, new).into();
                }
            }
            RequestHeader(name) => drop(request.headers_mut().remove(name)),
            _ => {}
        }
    }
    request.headers_mut().remove(CONTENT_LENGTH);
}

fn change_answer(line: &str, reply: &mut Reply, changes: &[Change]) {
    for change in changes {
        match *change {
            Status(of, status) if line.contains(of) => reply.status = status,
            Answer(of, "", new) if line.contains(of) => reply.body = new.into(),
            Answer(of, old, new) if line.contains(of) => {
                reply.body = reply.text().replace(old, new).into();
            }
            AnswerHeader(name, value) => {
                let value = HeaderValue::from_static(value);
                reply.headers.insert(name, value);
            }
            _ => {}
        }
    }
    reply.headers.remove(CONTENT_LENGTH);
}

/// A proxy that sends requests to each server in turn.
async fn proxy(servers: Vec<String>, changes: Vec<Change>) -> String {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let (servers, changes) = (&*servers.leak(), &*changes.leak());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let service = service_fn(move |request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        let mut request = Request::from_parts(head, body.collect().await?.to_bytes());
        change_request(&mut request, changes);
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let line = format!("{method} {uri} {headers:?}");
        let server = &servers[TURN.fetch_add(1, Ordering::Relaxed) % servers.len()];
        let stream = TcpStream::connect(server.trim_start_matches("http://")).await?;
        let reply = support::send(stream, request.map(full)).await;
        let mut reply = reply.ok_or("no reply")?;
        change_answer(&line, &mut reply, changes);
        let mut response = Response::new(Full::new(reply.body));
        *response.status_mut() = reply.status.try_into()?;
        *response.headers_mut() = reply.headers;
        Ok::<_, Box<dyn Error + Send + Sync>>(response)
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut server = http1::Builder::new();
            // Fewer than the relay needs.
            server.max_headers(64);
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

/// Faults of a Svix, and the checks that find each.
#[rustfmt::skip] // One line for each fault.
const FAULTS_OF_SVIX: &[(&[Change], &[&str])] = &[
    (&[RequestHeader("idempotency-key")], &["a key gives", "posts at once"]),
    (&[Change::Request("[]", "{}")], &["a refusal"]),
    (&[Answer("/msg/", "\"conflict\"", "\"gone\"")], &["a used event id"]),
    (&[Status("with_content=true", 500)], &["a key at another URI"]),
    (&[Status("/msg/msg_", 500)], &["a message comes back", "a message is found"]),
    (&[Change::Request("a-Z_0.9", "a Z")], &["names have"]),
    (&[Status("/app/app_", 500)], &["`msg_` and `app_`"]),
    (&[Fake(|svix, _| svix.set_body_limit(100_000))], &["a message of 1 MiB"]),
    (&[Answer("/msg/?", "\"detail\":\"The", "\"it\":\"")], &["a message that is too large"]),
    (&[Change::Request("iterator=", "tag=")], &["pages lead on", "`after` and"]),
    (&[Change::Request("before=", "tag=")], &["`after` and"]),
    (&[Change::Request("limit=251", "limit=250")], &["a page holds"]),
    (&[Change::Request("limit=250", "limit=2")], &["a list shows", "pages lead on"]),
    (&[Fake(|svix, _| svix.always_at(Target::Portals, Fault::status(500)))], &["an application has"]),
    (&[Status("/event-type/", 500)], &["an event type"]),
    (&[Answer("evt_1/", "\"code\"", "\"it\"")], &["an error has"]),
    (&[Answer("/elsewhere/", "", r#"{"code":"not_found"}"#)], &["an unknown path"]),
    (&[AnswerHeader("content-encoding", "gzip")], &["answers are plain"]),
    (&[Fake(|_, clock| clock.advance(Duration::from_hours(1)))], &["Svix's clock"]),
    (&[Status("evt_1/?", 429), AnswerHeader("retry-after", "soon")], &["a project's first", "a limit is"]),
    // No fault: a limit only delays the end.
    (&[Fake(limit_an_application)], &[]),
    (&[Status("DELETE /api/v1/app/", 500)], &["an application can"]),
];

fn limit_an_application(svix: &FakeSvix, _: &Clock) {
    let limit = Fault::retry_after(429, RetryAfter::Seconds(0));
    svix.script_at(Target::Applications, [Fault::None, limit]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_svix_is_found_and_each_check_finds_one() {
    let runs = FAULTS_OF_SVIX.iter().map(|(changes, expected)| async move {
        let clock = Clock::system();
        let svix = FakeSvix::new(TOKEN, clock.clone());
        for change in *changes {
            if let Fake(change) = change {
                change(&svix, &clock);
            }
        }
        let url = proxy(vec![url_of(&svix).await], changes.to_vec()).await;
        let report = run(options_for_svix(url, TOKEN)).await;
        assert_failed(&report, expected);
        report.failed()
    });
    let found: BTreeSet<_> = join_all(runs).await.into_iter().flatten().collect();
    assert_eq!(found.len(), 24, "{found:?}");
}

/// Runs the checks of a host on relays behind a proxy, each with a store of its own.
async fn run_behind_a_proxy(relays: usize, changes: &[Change]) -> Report {
    let fake = ports::free().expect("a port").to_string();
    let directory = || tempfile::tempdir().expect("a directory");
    let directories: Vec<_> = (0..relays).map(|_| directory()).collect();
    let svix = format!("http://{fake}");
    let variables = [&format!("svix_token={TOKEN}")[..], "admin_token=admin"];
    let relays = directories.iter();
    let relays = relays.map(|directory| Serve::at(&svix, directory.path(), &variables));
    let relays: Vec<_> = relays.collect();
    let addresses = relays.iter().map(|relay| relay.address().to_owned());
    let url = proxy(addresses.collect(), changes.to_vec()).await;
    let options = Options { relay_url: Some(url), fake: Some(fake), ..options(&["host"]) };
    run(options).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_a_host_are_found_by_the_checks_that_they_concern() {
    let changes = [
        Change::Request("10.0", "10.00"),
        Change::Request("\"message\":", "\"massage\":"),
        Status("GET /notifications", 404),
        AnswerHeader("retry-after", "soon"),
        Answer("/metrics", "# EOF", ""),
        Answer("/status", "[redacted]", "testsk"),
        Answer("/purge", "true", "false"),
        Status("page.css", 404),
        Status("\"chunked\"", 411),
    ];
    let expected = [
        "an event posted directly",
        "a wrapped event",
        "headers of an unwrapped",
        "a byte order mark",
        "a body without a length",
        "a failure has",
        "an event that comes again",
        "a limit of Svix",
        "a failure of Svix",
        "a dead letter is kept",
        "a dead letter is delivered",
        "numbers of dead letters",
        "Pub/Sub's largest push",
        "a request may have",
        "an answer arrives",
        "metrics count",
        "probes and status",
        "a purge ends",
        "the console",
    ];
    let report = run_behind_a_proxy(1, &changes).await;
    assert_failed(&report, &expected);
    // The suite kills no relay of another.
    assert_eq!(report.skipped().len(), 4, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_share_no_store_are_found() {
    let report = run_behind_a_proxy(2, &[]).await;
    let expected = ["a limit of Svix", "numbers of dead letters"];
    assert_eq!(missing(&report, &expected), [""; 0], "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_a_kill_empties_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let spin = directory.path().join("spin");
    let serve = support::binary("serve");
    // As `spin up`: the server is a second process. The options are up, --state-dir, and those of `serve`.
    let serve = serve.display();
    let script = format!("#!/bin/sh\nshift 3\n{serve} --key-value memory \"$@\"\n");
    fs::write(&spin, script).expect("a file");
    fs::set_permissions(&spin, Permissions::from_mode(0o755)).expect("an executable");
    let options = Options { spin: Some(spin), ..options(&["host"]) };
    let report = run(options).await;
    let expected = ["a record is there", "SIGKILL under", "a dead letter is there"];
    assert_failed(&report, &expected);
    let report = report.to_string();
    let mut lines = report.lines();
    let log = lines.find_map(|line| line.strip_prefix("Log of the host: "));
    let kept = Path::new(log.expect("a log")).parent();
    fs::remove_dir_all(kept.expect("a directory")).expect("the kept directory");
}
