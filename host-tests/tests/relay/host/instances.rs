//! The host around the component: the life of its instances, their death, and the end.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tokio::net::TcpStream;
use tokio::time;

use host::{Cut, Faults, Host, Op, Program, Reuse};

use super::{Listening, builder, builder_for};
use crate::support::{manifest, program, wrapped};

/// A request that the component answers without any of its imports.
fn alive() -> Request<Full<Bytes>> {
    get("/healthz")
}

fn record() -> Request<Full<Bytes>> {
    get("/notifications/dev/evt_1")
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).body(Full::default()).expect("valid")
}

/// A host whose next request waits for its store forever.
fn hanging() -> (Host, Faults) {
    let faults = Faults::default();
    faults.hang_next(Op::Get);
    let host = builder().faults(faults.clone()).build();
    (host.expect("a host"), faults)
}

async fn client(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> SendRequest<Full<Bytes>> {
    let (client, connection) = handshake(TokioIo::new(io)).await.expect("a connection");
    tokio::spawn(connection);
    client
}

#[tokio::test(start_paused = true)]
async fn an_instance_serves_128_requests() {
    let host = builder().build().expect("a host");
    for _ in 0..128 {
        assert_eq!(host.handle(alive()).await.expect("a reply").status(), 200);
    }
    assert_eq!(host.instances_created(), 1);
    host.handle(alive()).await.expect("a reply");
    assert_eq!(host.instances_created(), 2);
}

/// WebAssembly's memory never shrinks.
#[tokio::test(start_paused = true)]
async fn an_instance_that_has_held_a_large_body_takes_no_further_request() {
    let host = builder().build().expect("a host");
    let large = wrapped(vec![b' '; 9 << 20]);
    for (body, instances) in [(wrapped(b"small"), 1), (large, 1), (wrapped(b"next"), 2)] {
        let request = Request::post("/notifications").header("content-type", "application/json");
        let request = request.body(Full::from(body)).expect("valid");
        assert_eq!(host.handle(request).await.expect("a reply").status(), 200);
        assert_eq!(host.instances_created(), instances);
    }
}

/// A host that speaks HTTP/2, as Spin does, passes on what it gets, and clients then see a broken stream.
#[tokio::test(start_paused = true)]
async fn the_component_gives_its_host_no_body_for_head() {
    let host = builder().build().expect("a host");
    for (path, status) in
        [("/healthz", 200), ("/readyz", 200), ("/openapi.json", 200), ("/nothing", 404)]
    {
        let request = Request::head(path).body(Full::default()).expect("valid");
        let reply = host.handle(request).await.expect("a reply");
        assert_eq!(reply.status(), status, "{path}");
        assert!(reply.body().is_empty(), "{path}");
        assert_ne!(reply.headers()["content-length"], "0", "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_dropped_when_it_is_idle() {
    let host = builder().build().expect("a host");
    host.handle(alive()).await.expect("a reply");
    time::sleep(Duration::from_millis(900)).await;
    assert_eq!(host.instances_living(), 1);
    time::sleep(Duration::from_millis(200)).await;
    assert_eq!(host.instances_living(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_instances_wait_for_their_turn() {
    let reuse = Reuse { max_concurrent: 1, ..Reuse::default() };
    let host = builder().reuse(reuse).max_requests(8).build().expect("a host");
    let requests = (0..100).map(|_| host.handle(alive()));
    let replies = join_all(requests).await;
    assert!(replies.iter().flatten().all(|reply| reply.status() == 200));
    assert_eq!(replies.len(), 100);
    assert!(host.instances_created() <= 8, "{host:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_shares_the_existing_instances() {
    let faults = Faults::default();
    faults.delay(Op::Get, Duration::from_millis(100));
    let host = builder().faults(faults).build().expect("a host");
    let replies = join_all((0..256).map(|_| host.handle(record()))).await;
    assert_eq!(replies.iter().flatten().count(), 256);
    // With 16 requests at once in each, 16 instances suffice.
    assert!(host.instances_created() <= 20, "{host:?}");
}

#[tokio::test(start_paused = true)]
async fn without_entrances_a_crowd_gets_more_instances_than_it_needs_as_in_spin() {
    let faults = Faults::default();
    faults.delay(Op::Get, Duration::from_millis(100));
    let host = builder().faults(faults).entrances(0).build();
    let host = host.expect("a host");
    let replies = join_all((0..256).map(|_| host.handle(record()))).await;
    assert_eq!(replies.iter().flatten().count(), 256);
    assert!(host.instances_created() > 20, "{host:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_an_entrance_and_are_counted() {
    let host = builder().entrances(1).build().expect("a host");
    let mut crowd = Box::pin(join_all((0..9).map(|_| host.handle(record()))));
    assert!(futures::poll!(&mut crowd).is_pending());
    assert_eq!(host.requests_waiting(), 8);
    crowd.await;
    assert_eq!(host.requests_waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_burst_beyond_all_instances_is_served() {
    let faults = Faults::default();
    faults.delay(Op::Get, Duration::from_secs(1));
    // This test needs a program of its own, since it takes all the slots for instances.
    let manifest = manifest();
    let program = Program::load(&manifest).expect("a component");
    let reuse = Reuse { max_concurrent: 3, ..Reuse::default() };
    let host =
        builder_for(&program, &manifest).reuse(reuse).faults(faults).build().expect("a host");
    let requests = (0..3000).map(|_| host.handle(record()));
    let replies = join_all(requests).await;
    let statuses = replies.iter().flatten().map(Response::status);
    assert_eq!(statuses.filter(|status| *status == 404).count(), 3000);
    assert_eq!(host.output().stderr_lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_death_cuts_its_requests_and_nothing_else() {
    let (host, faults) = hanging();
    let cut = tokio::spawn({
        let host = host.clone();
        async move { host.handle(record()).await }
    });
    faults.called(Op::Get, 1).await;
    host.drop_instances().await;
    assert_eq!(cut.await.expect("works").expect_err("fails"), Cut);
    assert_eq!(host.instances_living(), 0);
    assert_eq!(host.handle(record()).await.expect("a reply").status(), 404);
    assert_eq!(host.output().stderr_lines(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_death_closes_the_connection() {
    let (host, faults) = hanging();
    let (near, far) = duplex(4096);
    tokio::spawn({
        let host = host.clone();
        async move { host.serve_connection(far).await }
    });
    let mut client = client(near).await;
    let reply = client.send_request(alive()).await.expect("works");
    assert_eq!(reply.status(), 200);
    assert!(reply.headers().contains_key("content-length"));
    let die = async {
        faults.called(Op::Get, 1).await;
        host.drop_instances().await;
    };
    let (reply, ()) = tokio::join!(client.send_request(record()), die);
    assert!(reply.expect_err("fails").is_incomplete_message());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_stays_open_for_longer_than_google_s_load_balancers_use_it() {
    let (host, faults) = hanging();
    faults.clear();
    let (near, far) = duplex(4096);
    let serving = tokio::spawn(async move { host.serve_connection(far).await });
    let mut client = client(near).await;
    for _ in 0..3 {
        let reply = client.send_request(alive()).await.expect("works");
        assert_eq!(reply.status(), 200);
        time::sleep(Duration::from_secs(610)).await;
    }
    let end = time::timeout(Duration::from_secs(20), serving).await;
    end.expect("it ends").expect("no panic");
}

#[tokio::test]
async fn a_shutdown_waits_for_requests_but_not_forever() {
    let (host, faults) = hanging();
    faults.clear();
    faults.delay(Op::Get, Duration::from_millis(50));
    assert_eq!(shut_down_during(&host, &faults).await, (true, Some(404)));

    let faults = Faults::default();
    faults.hang_next(Op::Get);
    let host = builder()
        .faults(faults.clone())
        .drain_timeout(Duration::from_millis(50))
        .build()
        .expect("works");
    assert!(!shut_down_during(&host, &faults).await.0);
}

/// Whether all requests ended, and the status of the request in flight.
async fn shut_down_during(host: &Host, faults: &Faults) -> (bool, Option<u16>) {
    let listening = Listening::start(host.clone()).await;
    let mut client = client(listening.connect().await).await;
    client.send_request(alive()).await.expect("works");
    let in_flight = tokio::spawn(client.send_request(record()));
    faults.called(Op::Get, 1).await;
    drop(listening.stop);
    let all_ended = listening.all_ended.await.expect("works");
    assert!(TcpStream::connect(listening.address).await.is_err());
    host.drop_instances().await;
    let status = in_flight.await.expect("works").ok();
    (all_ended, status.map(|reply| reply.status().as_u16()))
}

#[tokio::test]
async fn a_store_label_unknown_to_spin_stops_the_start() {
    let (program, manifest) = program();
    let mut manifest = manifest.clone();
    manifest.component.key_value_stores.push("other".to_owned());
    let error = Host::builder(program, &manifest).build().expect_err("no such label");
    assert!(error.to_string().contains("\"other\""), "{error}");
}
