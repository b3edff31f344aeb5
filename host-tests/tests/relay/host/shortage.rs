//! A process that runs short: of file descriptors, of a reader for its log, of a database. These tests run in
//! real time, with as little of it as possible.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use http::Request;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::serve::{Serve, command, command_before, event, status_of, svix, without_variables};
use crate::support::{Reply, TOKEN, full};

/// Before an idle connection is closed anyway.
const SOON: Duration = Duration::from_secs(20);

/// An event may use this store three times, and each call takes a second at the most. The rest is for a busy
/// machine.
const ANSWER: Duration = Duration::from_secs(7);

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// `serve` with so many file descriptors.
fn with_descriptors(limit: u32, serve: &Command) -> Command {
    let mut limited = without_variables(Command::new("sh"));
    limited
        .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
        .arg(serve.get_program())
        .args(serve.get_args())
        .env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN);
    limited
}

/// Posts so many events at once.
async fn post_many(serve: &Serve, id: &str, events: usize) -> Vec<Option<Reply>> {
    let events: Vec<_> = (0..events).map(|number| event(&format!("{id}_{number}"))).collect();
    join_all(events.iter().map(|event| serve.post(event))).await
}

/// Posts so many events at once, and checks that all are delivered soon.
async fn assert_all_delivered(serve: &Serve, id: &str, events: usize) {
    let replies = timeout(SOON, post_many(serve, id, events)).await;
    for reply in replies.expect("replies soon") {
        assert_eq!(status_of(reply), "delivered");
    }
}

#[tokio::test]
async fn idle_connections_leave_descriptors_for_svix_and_the_store() {
    let (svix, directory) = (svix(), directory());
    let serve = command_before(&svix, directory.path()).await;
    let mut serve = Serve::start(with_descriptors(256, &serve));
    let said: String = (0..4).map(|_| serve.line()).collect();
    let bound = "connections: at most 64 at once, with 256 file descriptors";
    assert!(said.contains(bound), "{said}");
    let warning = "connections: only 64 at once, so probes may wait";
    assert!(said.contains(warning), "{said}");
    let connect = |_| TcpStream::connect(serve.address());
    let idle: Vec<_> = join_all((0..300).map(connect)).await;
    assert!(idle.iter().all(Result::is_ok), "{idle:?}");
    assert_all_delivered(&serve, "evt", 8).await;
}

#[tokio::test]
async fn a_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let directory = directory();
    let serve = with_descriptors(2048, &command(directory.path()));
    let mut soft = without_variables(Command::new("sh"));
    soft.args(["-c", "ulimit -S -n 100; exec \"$0\" \"$@\"", "sh"])
        .args(["-c", "ulimit -H -n 1000; exec \"$0\" \"$@\""])
        .args(serve.get_args().skip(2))
        .env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN);
    let mut serve = Serve::start(soft);
    let said: String = (0..3).map(|_| serve.line()).collect();
    assert!(said.contains("with 1000 file descriptors"), "{said}");
}

#[tokio::test]
async fn a_log_that_is_not_read_stops_nothing() {
    let (svix, directory) = (svix(), directory());
    let mut command = command_before(&svix, directory.path()).await;
    command.stdout(Stdio::piped());
    // Each line has more than 200 bytes, and the pipe holds 64 kB.
    let serve = Serve::start(command);
    for round in 0..10 {
        assert_all_delivered(&serve, &format!("evt_{round}"), 50).await;
    }
    serve.signal("TERM");
    assert_eq!(serve.wait().code(), Some(0));
}

#[tokio::test]
async fn a_database_deleted_underneath_is_seen_by_readyz() {
    let (svix, directory) = (svix(), directory());
    let serve = Serve::with(&svix, directory.path()).await;
    let readyz = || async {
        let request = Request::get("/readyz").body(full(Vec::new().into()));
        let reply = serve.send(request.expect("valid")).await;
        reply.expect("a reply").status
    };
    assert_eq!(readyz().await, 200);
    std::fs::remove_file(directory.path().join("records.db")).expect("deleted");
    assert_eq!(readyz().await, 503);
    let reply = serve.post(&event("evt_1")).await.expect("a reply");
    reply.assert_retryable_problem(503, "store-failing");
}

#[tokio::test]
async fn while_another_process_locks_the_database_every_answer_is_a_503_in_time() {
    let (svix, directory) = (svix(), directory());
    let serve = Serve::with(&svix, directory.path()).await;
    assert_eq!(status_of(serve.post(&event("evt_0")).await), "delivered");
    let other = Connection::open(directory.path().join("records.db")).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    for reply in timeout(ANSWER, post_many(&serve, "evt_locked", 8)).await.expect("replies in time")
    {
        let reply = reply.expect("a reply");
        reply.assert_retryable_problem(503, "store-failing");
    }
    assert_eq!(status_of(serve.post(&event("evt_0")).await), "duplicate");
    other.execute_batch("ROLLBACK").expect("unlocked");
    let reply = serve.post(&event("evt_9")).await;
    reply.expect("a reply").ok();
}
