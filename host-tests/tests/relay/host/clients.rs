//! Clients that connect and send as they like: the host keeps serving the others, and ends in time.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use host::{Faults, Op};

use super::{Listening, builder};
use crate::support::{assert_contains, assert_fields};

/// Within what time everything must happen that should happen at once, also on a busy machine.
const SOON: Duration = Duration::from_secs(9);

const ALIVE: &str = "GET /healthz HTTP/1.1\r\nhost: relay.test\r\n\r\n";
const RECORD: &str = "GET /notifications/dev/evt_1 HTTP/1.1\r\nhost: relay.test\r\n\r\n";

/// Longer than the buffers of both sockets, and shorter than a push may be.
const LARGE: usize = 8 << 20;

/// Reads until `end` has come, and returns everything.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut read = String::new();
    let reading = async {
        while !read.ends_with(end) {
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).await.expect("a reply");
            assert_ne!(length, 0, "{read}");
            read.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    };
    timeout(SOON, reading).await.expect("a reply soon");
    read
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let reading = timeout(SOON, stream.read_to_end(&mut read));
    reading.await.expect("an end soon").expect("a proper end");
    String::from_utf8(read).expect("UTF-8")
}

/// A head that announces a push of `LARGE` bytes, and the beginning of its body.
fn large_push() -> String {
    format!(
        "POST /notifications HTTP/1.1\r\nhost: relay.test\r\ncontent-type: application/json\r\n\
         content-length: {LARGE}\r\n\r\n{{\"message\":{{\"data\":\""
    )
}

fn chunked_push() -> String {
    "POST /notifications HTTP/1.1\r\nhost: relay.test\r\ncontent-type: application/json\r\n\
     transfer-encoding: chunked\r\n\r\n"
        .to_owned()
}

#[tokio::test]
async fn a_new_sender_is_served_though_idle_connections_reach_the_bound() {
    let host = builder().max_connections(4).build().expect("a host");
    let listening = Listening::start(host).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(listening.send("").await);
        idle.push(listening.send("GET /heal").await);
        let mut answered = listening.send(ALIVE).await;
        read_to(&mut answered, "}").await;
        idle.push(answered);
    }
    let mut sender = listening.send(ALIVE).await;
    let reply = read_to(&mut sender, "}").await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    // The oldest were closed, and the last one was left.
    assert_eq!(read_to_end(&mut idle[0]).await, "");
    let last = idle.last_mut().expect("twelve");
    last.write_all(ALIVE.as_bytes()).await.expect("sent");
    read_to(last, "}").await;
}

#[tokio::test]
async fn a_request_at_work_is_not_cut_for_a_new_sender() {
    let faults = Faults::default();
    faults.hang_next(Op::Get);
    let host = builder().faults(faults.clone()).max_connections(1);
    let listening = Listening::start(host.build().expect("a host")).await;
    let called = faults.called(Op::Get, 1);
    let mut first = listening.send(RECORD).await;
    timeout(SOON, called).await.expect("the store is asked");
    let mut second = listening.send(ALIVE).await;
    // The relay gives the store up after a while, and answers.
    let reply = read_to(&mut first, "}").await;
    assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
    assert_eq!(read_to_end(&mut first).await, "");
    read_to(&mut second, "}").await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_half_a_head_or_an_idle_connection() {
    let host = builder().build().expect("a host");
    let listening = Listening::start(host).await;
    let mut clients = Vec::new();
    for half in ["", "G", "GET /healthz HTTP/1.1\r\nhost: rel"] {
        clients.push(listening.send(half).await);
        let mut answered = listening.send(ALIVE).await;
        read_to(&mut answered, "}").await;
        answered.write_all(half.as_bytes()).await.expect("sent");
        clients.push(answered);
    }
    drop(listening.stop);
    let all_ended = timeout(SOON, listening.all_ended).await;
    assert!(all_ended.expect("an end soon").expect("no panic"));
}

#[tokio::test]
async fn large_bodies_beyond_the_room_are_refused_and_small_ones_never() {
    let host = builder().body_room(LARGE + 1).build().expect("a host");
    let listening = Listening::start(host).await;
    let first = listening.send(&large_push()).await;
    // Only the first takes room, whichever of both comes to the host first.
    let mut reply = String::new();
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(listening.send(&large_push()).await);
    }
    for refused in &mut others {
        let rest = vec![b'A'; LARGE - r#"{"message":{"data":""#.len()];
        // A client that sends everything before it reads also gets the reply.
        refused.write_all(&rest).await.expect("sent");
        reply = read_to_end(refused).await;
    }
    assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
    let (head, document) = reply.split_once("\r\n\r\n").expect("a head");
    assert_contains(head, "content-type: application/problem+json");
    assert_contains(head, "retry-after: 5");
    let document = serde_json::from_str(document).expect("JSON");
    let expected = json!({
        "type": "urn:svix-relay:problem:overloaded", "title": "No room for a body of this size",
        "status": 503, "retryable": true,
    });
    assert_fields(&document, &expected);
    read_to(&mut listening.send(ALIVE).await, "}").await;

    // A body of unknown length is refused once it has grown too large.
    let mut growing = listening.send(&chunked_push()).await;
    let chunk = format!("{:x}\r\n{}\r\n", 64 << 10, "A".repeat(64 << 10));
    growing.write_all(chunk.as_bytes()).await.expect("sent");
    growing.write_all(b"1\r\nA\r\n").await.expect("sent");
    let reply = read_to(&mut growing, "}").await;
    assert!(reply.contains("problem:overloaded"), "{reply}");

    // The client that leaves gives its room back.
    drop(first);
    let mut next = listening.send(&large_push()).await;
    loop {
        let refused = timeout(Duration::from_millis(100), next.readable()).await;
        if refused.is_err() {
            break;
        }
        next = listening.send(&large_push()).await;
        sleep(Duration::from_millis(10)).await;
    }
}
