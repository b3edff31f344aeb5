//! Three nodes that share a Redis, as in production: real processes in real time, with as little of it as
//! possible.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use serde_json::json;
use tokio::time::{Instant, sleep};

use fake_svix::{FakeSvix, Fault, RetryAfter};
use rig::{Proxy, RedisServer, or_skip};

use crate::serve::{Serve, bare_command, event, status_of, svix, url_of};
use crate::support::{self, Reply, TOKEN, assert_contains, full};

/// Within what time an answer must come while Redis is away. The budget below and the store's 1.5 s need
/// half of it; the rest is for a busy machine.
const ANSWER: Duration = Duration::from_secs(5);

/// Within what time events must flow again when Redis is back.
const RECOVERY: Duration = Duration::from_secs(2);

/// The commands that the relay may send to Redis, with those that every client and this test send.
/// On a slow machine the relay first sees whether the store is awake, by `exists` for one key.
#[rustfmt::skip]
const ALLOWED: [&str; 10] =
    ["exists", "get", "set", "mset", "incrby", "del", "ping", "select", "client|setinfo", "info"];

struct Cluster {
    nodes: Vec<Serve>,
    svix: FakeSvix,
    redis: RedisServer,
    /// The path of the nodes to Redis.
    way: Proxy,
}

impl Cluster {
    /// `None` where Redis is not installed; `for_test` has printed a warning then.
    async fn start() -> Option<Self> {
        support::build_component();
        let redis = RedisServer::for_test().await.expect("Redis")?;
        let way = Proxy::start(redis.address()).await.expect("a way");
        let svix = svix();
        let url = url_of(&svix).await;
        let node = |_| node(&format!("redis://{}/1", way.address()), &url);
        Some(Self { nodes: (0..3).map(node).collect(), svix, redis, way })
    }

    /// Posts to every node at once.
    async fn post_to_all(&self, events: [&str; 3]) -> Vec<Reply> {
        let posts = self.nodes.iter().zip(events);
        let replies = join_all(posts.map(|(node, event)| node.post(event))).await;
        replies.into_iter().map(|reply| reply.expect("a reply")).collect()
    }

    /// Checks that no node takes an event, and that each answers in time.
    async fn assert_stopped(&self, id: &str) {
        for round in 0..2 {
            let events = [0, 1, 2].map(|node| event(&format!("evt_{id}_{round}_{node}")));
            let start = Instant::now();
            for reply in self.post_to_all(events.each_ref().map(String::as_str)).await {
                reply.assert_retryable_problem(503, "store-failing");
            }
            assert!(start.elapsed() < ANSWER, "{:?}", start.elapsed());
        }
    }

    /// Checks that every node takes events again, soon.
    async fn assert_flowing(&self, id: &str) {
        let deadline = Instant::now() + RECOVERY;
        let events = [0, 1, 2].map(|node| event(&format!("evt_{id}_{node}")));
        for (node, event) in self.nodes.iter().zip(events) {
            loop {
                let reply = node.post(&event).await.expect("a reply");
                if reply.status == 200 {
                    break;
                }
                assert!(Instant::now() < deadline, "{}", reply.text());
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    #[track_caller]
    fn assert_messages(&self, count: usize) {
        let messages = self.svix.messages();
        assert_eq!(messages.len(), count, "{messages:?}");
    }
}

/// A node with short timeouts.
fn node(redis: &str, svix: &str) -> Serve {
    let mut command = bare_command();
    command
        .env("SPIN_VARIABLE_SVIX_TOKEN", TOKEN)
        .args(["--listen", "127.0.0.1:0", "--key-value", redis])
        .args(["--variable", &format!("svix_url={svix}")])
        .args(["--variable", "svix_timeout_ms=500"])
        .args(["--variable", "retry_budget_ms=2000"])
        .args(["--variable", "admin_token=hush"]);
    Serve::start(command)
}

fn request(method: &str, path: &str, body: String) -> Request<support::Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", "Bearer hush")
        .header("content-type", "application/json")
        .body(full(Bytes::from(body)))
        .expect("a valid request")
}

/// A push of bytes that hold no event.
fn hopeless(number: u32) -> Request<support::Body> {
    let data = BASE64_STANDARD.encode(format!("hopeless {number}"));
    let push = json!({"message": {"data": data, "messageId": number.to_string()}});
    request("POST", "/notifications", push.to_string())
}

#[tokio::test]
async fn the_same_event_at_all_nodes_at_once_is_one_message() {
    let cluster = or_skip!(Cluster::start().await);
    for number in 1..=10 {
        let event = event(&format!("evt_{number}"));
        for reply in cluster.post_to_all([&event; 3]).await {
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        for node in &cluster.nodes {
            assert_eq!(status_of(node.post(&event).await), "duplicate");
        }
        cluster.assert_messages(number);
    }
}

#[tokio::test]
async fn a_delivery_of_a_killed_node_is_completed_by_another_one() {
    let cluster = or_skip!(Cluster::start().await);
    cluster.svix.script([Fault::HangAfterStoring]);
    let event = event("evt_1");
    let killed = async {
        while cluster.svix.messages().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        cluster.nodes[0].signal("KILL");
    };
    let (reply, ()) = tokio::join!(cluster.nodes[0].post(&event), killed);
    assert!(reply.is_none());
    assert_eq!(status_of(cluster.nodes[1].post(&event).await), "delivered");
    cluster.assert_messages(1);
}

#[tokio::test]
async fn a_rate_limit_that_one_node_meets_stops_the_others_at_once() {
    let cluster = or_skip!(Cluster::start().await);
    // Each node has been in touch with Svix, and knows the gate as open.
    cluster.assert_flowing("before").await;
    let before = cluster.svix.requests().len();
    let limit = Fault::retry_after(429, RetryAfter::Seconds(60));
    cluster.svix.script([limit]);
    for (number, node) in cluster.nodes.iter().enumerate() {
        let reply = node.post(&event(&format!("evt_{number}"))).await;
        let reply = reply.expect("a reply");
        // A node goes by what it has read of the gate for 20 ms.
        sleep(Duration::from_millis(25)).await;
        reply.assert_retryable_problem(429, "rate-limited");
    }
    assert_eq!(cluster.svix.requests().len(), before + 1);
}

/// Checks that an outage stops every event in time, that events flow again after it, and the number of messages then.
async fn survives(
    cluster: &mut Cluster,
    begin: impl AsyncFnOnce(&mut Cluster),
    end: impl AsyncFnOnce(&mut Cluster),
    messages: usize,
) {
    cluster.assert_flowing("before").await;
    begin(cluster).await;
    cluster.assert_stopped("meanwhile").await;
    end(cluster).await;
    cluster.assert_flowing("after").await;
    cluster.assert_messages(messages);
}

#[tokio::test]
async fn while_redis_is_down_every_answer_is_a_503_and_then_events_flow_again() {
    let mut cluster = or_skip!(Cluster::start().await);
    let kill = async |it: &mut Cluster| it.redis.kill().expect("killed");
    let restart = async |it: &mut Cluster| it.redis.restart().await.expect("restarted");
    survives(&mut cluster, kill, restart, 6).await;
    // Redis has forgotten nothing.
    let reply = cluster.nodes[1].post(&event("evt_before_0")).await;
    assert_eq!(status_of(reply), "duplicate");
}

#[tokio::test]
async fn while_redis_is_cut_off_every_answer_is_a_503_and_then_events_flow_again() {
    let mut cluster = or_skip!(Cluster::start().await);
    let cut = async |it: &mut Cluster| it.way.cut();
    let heal = async |it: &mut Cluster| it.way.heal();
    survives(&mut cluster, cut, heal, 6).await;
}

#[tokio::test]
async fn events_flow_again_when_another_redis_becomes_the_master() {
    let mut cluster = or_skip!(Cluster::start().await);
    let master = RedisServer::start().await.expect("another Redis");
    let demote = async |it: &mut Cluster| {
        let port = master.address().port().to_string();
        let order = ["REPLICAOF", "127.0.0.1", &port];
        it.redis.order(&order).await.expect("a replica");
    };
    let lead = async |it: &mut Cluster| it.way.lead_to(master.address());
    // Redis refuses the records of the six events between, but not their messages.
    survives(&mut cluster, demote, lead, 12).await;
}

#[tokio::test]
async fn a_connection_cut_between_message_and_record_leaves_one_message() {
    let cluster = or_skip!(Cluster::start().await);
    cluster.svix.script([Fault::Delay { millis: 300 }]);
    let event = event("evt_1");
    let cut = async {
        while cluster.svix.messages().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        cluster.way.cut();
    };
    let (reply, ()) = tokio::join!(cluster.nodes[0].post(&event), cut);
    let reply = reply.expect("a reply");
    reply.assert_retryable_problem(503, "store-failing");
    cluster.way.heal();
    // The last attempt to connect may still answer the first post.
    drop(cluster.nodes[1].post(&event).await);
    let reply = cluster.nodes[1].post(&event).await;
    reply.expect("a reply").ok();
    cluster.assert_messages(1);
}

#[tokio::test]
async fn a_record_lost_with_the_last_second_of_redis_leads_to_no_second_message() {
    let mut cluster = or_skip!(Cluster::start().await);
    cluster.assert_flowing("before").await;
    let written = cluster.redis.written().expect("a log");
    let event = event("evt_1");
    assert_eq!(status_of(cluster.nodes[0].post(&event).await), "delivered");
    cluster.redis.kill().expect("killed");
    cluster.redis.forget_after(written).expect("forgotten");
    cluster.redis.restart().await.expect("restarted");
    cluster.assert_flowing("after").await;
    // The node finds no record, but Svix knows the event.
    assert_eq!(status_of(cluster.nodes[1].post(&event).await), "delivered");
    assert_eq!(status_of(cluster.nodes[2].post(&event).await), "duplicate");
    cluster.assert_messages(7);
}

#[tokio::test]
async fn dead_letters_of_all_nodes_are_one_list() {
    let cluster = or_skip!(Cluster::start().await);
    let pushes = (1..=12).zip(cluster.nodes.iter().cycle());
    let pushes = pushes.map(|(number, node)| node.send(hopeless(number)));
    for reply in join_all(pushes).await {
        assert_eq!(status_of(reply), "dead-lettered");
    }
    for node in &cluster.nodes {
        let list = request("GET", "/dead-letters", String::new());
        let list = node.send(list).await.expect("a reply").json();
        assert_eq!(list["deadLetters"].as_array().map(Vec::len), Some(12));
    }
}

#[tokio::test]
async fn no_request_lists_keys_compares_or_reads_many() {
    let cluster = or_skip!(Cluster::start().await);
    let node = &cluster.nodes[0];
    let crowd = (0..40).map(|number| event(&format!("evt_{number}")));
    let crowd: Vec<_> = crowd.collect();
    let crowd = crowd.iter().chain(&crowd[..5]);
    join_all(crowd.map(|event| node.post(event))).await;
    cluster.svix.script([Fault::HangAfterStoring, Fault::status(500)]);
    node.post(&event("evt_slow")).await;
    for number in 0..3 {
        let reply = node.send(hopeless(number)).await;
        assert_eq!(status_of(reply), "dead-lettered");
    }
    for (method, path) in [
        ("GET", "/readyz"),
        ("GET", "/healthz"),
        ("GET", "/notifications/dev/evt_1"),
        ("GET", "/dead-letters"),
        ("GET", "/dead-letters/1"),
        ("POST", "/dead-letters/1/replay"),
        ("POST", "/dead-letters/replay"),
        ("DELETE", "/dead-letters/2"),
    ] {
        let reply = node.send(request(method, path, String::new())).await;
        let reply = reply.expect("a reply");
        let is_good = reply.status != 404 && reply.status < 500;
        assert!(is_good, "{}", reply.text());
    }
    let asked = cluster.redis.commands().await.expect("commands");
    let expected = ["get", "set", "mset", "incrby", "del"].map(str::to_owned);
    assert!(asked.is_superset(&expected.into()), "{asked:?}");
    let allowed: BTreeSet<_> = ALLOWED.map(str::to_owned).into();
    let others: Vec<_> = asked.difference(&allowed).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[tokio::test]
async fn a_node_that_starts_without_redis_says_so_and_shows_no_password() {
    support::build_component();
    let mut redis = or_skip!(RedisServer::for_test().await.expect("Redis"));
    redis.kill().expect("killed");
    let svix = svix();
    let url = format!("redis://:hush@{}/2", redis.address());
    let mut node = node(&url, &url_of(&svix).await);
    let lines: String = (0..5).map(|_| node.line()).collect();
    let place = format!("Redis at {}, database 2", redis.address());
    assert!(lines.contains(&format!("records: {place}")), "{lines}");
    assert_contains(&lines, &format!("{place} can't be reached now"));
    assert!(!lines.contains("hush"), "{lines}");
    let reply = node.post(&event("evt_1")).await.expect("a reply");
    reply.assert_retryable_problem(503, "store-failing");
    assert!(!reply.text().contains("hush"), "{}", reply.text());
}
