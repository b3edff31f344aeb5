//! The client by itself, without a component.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::Empty;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::manifest::{Manifest, Variables};

/// A client that may call `http://peer.test`.
fn client(connector: Connector) -> (Client, Output) {
    client_to(connector, &["http://peer.test".to_owned()])
}

fn client_to(connector: Connector, origins: &[String]) -> (Client, Output) {
    let manifest = r#"
        spin_manifest_version = 2
        application = { name = "relay" }
        trigger = { http = [{ route = "/...", component = "relay" }] }
        component = { relay = { source = "relay.wasm" } }
    "#;
    let manifest = Manifest::parse(manifest, Path::new("")).unwrap();
    let variables = Variables::new(&manifest, &BTreeMap::new(), |_| None).unwrap();
    let allowed = AllowedHosts::new(origins, &variables).unwrap();
    let output = Output::captured();
    (Client::new(connector, allowed, output.clone()), output)
}

fn request(uri: &str) -> Request<WasiBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::get(uri).body(body).unwrap()
}

/// A peer that answers requests on a connection with these texts, and closes it after the last.
/// Counts the requests and the connections.
fn peer(replies: &'static [&'static str]) -> (Connector, Arc<[AtomicUsize; 2]>) {
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let counting = counts.clone();
    let connector = Connector::new(move |_| {
        let counts = counting.clone();
        let (near, far) = duplex(4096);
        counts[1].fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move { serve(far, replies, &counts[0]).await });
        async move { Ok(near) }
    });
    (connector, counts)
}

async fn serve(mut io: DuplexStream, replies: &[&str], requests: &AtomicUsize) {
    for reply in replies {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match io.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        requests.fetch_add(1, Ordering::Relaxed);
        io.write_all(reply.as_bytes()).await.unwrap();
    }
}

async fn get(client: &Client, options: RequestOptions) -> Result<Bytes, Error> {
    let response = client.clone().send(request("http://peer.test/"), options).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

fn counted(counts: &[AtomicUsize; 2]) -> [usize; 2] {
    [&counts[0], &counts[1]].map(|count| count.load(Ordering::Relaxed))
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SHORT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok";

#[tokio::test(start_paused = true)]
async fn connections_are_used_again() {
    let (connector, counts) = peer(&[OK, OK, OK]);
    let (client, _) = client(connector);
    for _ in 0..3 {
        assert_eq!(get(&client, RequestOptions::default()).await.unwrap(), "ok");
    }
    assert_eq!(counted(&counts), [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_sent_is_never_sent_again() {
    // The second request goes over the kept connection, which breaks once the request is there.
    let (connector, counts) = peer(&[OK, ""]);
    let (client, _) = client(connector);
    get(&client, RequestOptions::default()).await.unwrap();
    let error = get(&client, RequestOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionTerminated), "{error}");
    assert_eq!(counted(&counts), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_meanwhile_is_replaced() {
    let (connector, counts) = peer(&[OK]);
    let (client, _) = client(connector);
    for _ in 0..3 {
        assert_eq!(get(&client, RequestOptions::default()).await.unwrap(), "ok");
        time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(counted(&counts), [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_not_allowed_is_refused_without_connecting() {
    let (connector, counts) = peer(&[OK]);
    let (client, output) = client(connector);
    let uri = "https://other.test/secret?token";
    let error = client.send(request(uri), RequestOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestDenied), "{error}");
    assert_eq!(counted(&counts), [0, 0]);
    let [line] = <[String; 1]>::try_from(output.stderr_lines()).unwrap();
    assert!(line.contains("https://other.test") && !line.contains("secret"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn broken_replies_have_names() {
    for (replies, expected) in [
        (&[SHORT][..], "incomplete HTTP response"),
        (&[""][..], "connection terminated"),
        (&["HTTP/1.1 200 OK\r\ncontent-"][..], "connection terminated"),
        (&["nonsense\r\n\r\n"][..], "HTTP protocol error"),
    ] {
        let (client, _) = client(peer(replies).0);
        let error = get(&client, RequestOptions::default()).await.unwrap_err();
        assert_eq!(error.to_string(), expected, "{replies:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_to_connect_have_names() {
    for (errno, expected) in [
        (Errno::CONNREFUSED, "connection refused"),
        (Errno::CONNRESET, "connection terminated"),
        (Errno::NETUNREACH, "destination IP address is unroutable"),
        (Errno::MFILE, "connection limit reached"),
        (Errno::NFILE, "connection limit reached"),
        (Errno::NOBUFS, "connection limit reached"),
        (Errno::ADDRNOTAVAIL, "DNS error: rcode address not available (info code 0)"),
    ] {
        let failing =
            Connector::new(move |_| async move { Err::<DuplexStream, _>(io::Error::from(errno)) });
        let error = get(&client(failing).0, RequestOptions::default()).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn failures_of_the_network_have_names() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let no_tls = plain.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"what?").await.unwrap();
    });
    let origins =
        [format!("https://{no_tls}"), format!("http://{free}"), "http://peer.test:1".to_owned()];
    let (client, output) = client_to(Connector::network(false), &origins);
    let expected = ["TLS protocol error", "connection refused", "DNS error"];
    for (origin, expected) in origins.iter().zip(expected) {
        let sent = client.clone().send(request(origin), RequestOptions::default()).await;
        let error = sent.err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let [line] = <[String; 1]>::try_from(output.stderr_lines()).unwrap();
    let reason = format!("https://{no_tls}: the TLS handshake failed: ");
    assert!(line.contains(&reason), "{line}");
}

#[tokio::test(start_paused = true)]
async fn each_timeout_ends_its_own_wait() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let options = RequestOptions {
        connect_timeout: seconds(1),
        first_byte_timeout: seconds(2),
        between_bytes_timeout: seconds(3),
    };
    let nowhere = Connector::new(|_| std::future::pending::<io::Result<DuplexStream>>());
    let silent = Connector::new(|_| async {
        let (near, far) = duplex(4096);
        // Kept open, but never read.
        std::mem::forget(far);
        Ok(near)
    });
    let (slow, _) = peer(&[SHORT, OK]);
    for (connector, expected, after) in [
        (nowhere, "connection timeout", 1),
        (silent, "connection read timeout", 2),
        (slow, "connection read timeout", 3),
    ] {
        let start = Instant::now();
        let error = get(&client(connector).0, options).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(start.elapsed(), Duration::from_secs(after));
    }
}

#[tokio::test(start_paused = true)]
async fn giving_up_a_request_closes_its_connection() {
    let (near, mut far) = duplex(4096);
    let near = std::sync::Mutex::new(Some(near));
    let connector = Connector::new(move |_| {
        let near = near.lock().unwrap().take().unwrap();
        async move { Ok(near) }
    });
    let client = client(connector).0;
    let sending = get(&client, RequestOptions::default());
    assert!(time::timeout(Duration::from_secs(1), sending).await.is_err());
    let mut seen = String::new();
    far.read_to_string(&mut seen).await.unwrap();
    assert!(seen.starts_with("GET / HTTP/1.1"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_has_died_sends_nothing() {
    let (connector, counts) = peer(&[OK]);
    let deaths = tokio::sync::watch::Sender::new(());
    let mut outbound = Outbound::new(client(connector).0, Lifeline::until(&deaths));
    deaths.send_replace(());
    let processed = Box::new(async { Ok(()) });
    let sending = outbound.send_request(request("http://peer.test/"), None, processed);
    assert!(time::timeout(Duration::from_secs(1), Box::into_pin(sending)).await.is_err());
    assert_eq!(counted(&counts), [0, 0]);
}

#[test]
fn a_body_of_a_wrong_length_is_reported_as_the_guests_mistake() {
    let error = Error::HttpRequestBodySize(Some(3));
    let told = classify(&error, Error::ConnectionTerminated);
    assert!(matches!(told, Error::HttpRequestBodySize(Some(3))));
}

/// Counts those that exist at once, and the most of them.
struct Open(Arc<[AtomicUsize; 2]>);

impl Open {
    fn one_more(counts: &Arc<[AtomicUsize; 2]>) -> Self {
        let open = counts[0].fetch_add(1, Ordering::Relaxed) + 1;
        counts[1].fetch_max(open, Ordering::Relaxed);
        Self(counts.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0[0].fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_connection_costs_a_bounded_number_of_them() {
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let counting = counts.clone();
    let connector = Connector::new(move |_| {
        let counting = counting.clone();
        async move {
            let _open = Open::one_more(&counting);
            std::future::pending::<io::Result<DuplexStream>>().await
        }
    });
    let (client, _) = client(connector);
    let begun = Instant::now();
    let requests = (0..300).map(|_| get(&client, RequestOptions::default()));
    for result in futures::future::join_all(requests).await {
        assert_eq!(result.unwrap_err().to_string(), "connection timeout");
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert_eq!(counted(&counts), [0, 64]);
}
