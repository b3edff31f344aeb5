//! Operational webhooks: when Svix sends them, and how.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::customers::{get, post, send};
use super::{Client, assert_fields, fake, message};
use crate::{FakeSvix, Report, send_reports};

/// The example of Svix's documentation.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn kinds(fake: &FakeSvix) -> Vec<String> {
    let reports = fake.take_reports().into_iter();
    let kinds = reports.map(|report| {
        let body: Value = serde_json::from_str(&report.body).expect("JSON");
        body["type"].as_str().expect("a type").to_owned()
    });
    kinds.collect()
}

async fn send_message(fake: &FakeSvix, event_id: &str) {
    let mut client = Client::connect(fake).await;
    client.post(&message(event_id)).await.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_reported_as_failing_and_as_exhausted() {
    let (fake, clock) = fake();
    let endpoint = fake.create_endpoint("dev", "https://hooks.test/status/500");
    assert_eq!(kinds(&fake), ["endpoint.created"]);
    send_message(&fake, "evt_1").await;
    clock.advance(Duration::from_mins(30));
    assert_eq!(kinds(&fake), [""; 0]);
    clock.advance(Duration::from_mins(10));
    assert_eq!(kinds(&fake), ["message.attempt.failing"]);
    clock.advance(Duration::from_hours(28));
    let reports = fake.take_reports();
    let body: Value = serde_json::from_str(&reports[0].body).expect("JSON");
    assert_eq!(body["type"], "message.attempt.exhausted");
    let data = &body["data"];
    let id = &fake.messages()[0].id;
    let expected =
        json!({ "appUid": "dev", "endpointId": endpoint, "msgId": id, "msgEventId": "evt_1" });
    assert_fields(data, &expected);
    let path = "/api/v1/app/dev/attempt/msg/evt_1/";
    let last = &get(&fake, path).await.json()["data"][0];
    let expected =
        json!({ "id": last["id"], "responseStatusCode": 500, "timestamp": last["timestamp"] });
    assert_eq!(data["lastAttempt"], expected);
    assert_eq!(reports.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_arrives_late_is_reported_and_one_sent_by_hand_is_not() {
    let (fake, clock) = fake();
    fake.create_endpoint("dev", "https://hooks.test/status/500,500,500,500,200");
    send_message(&fake, "evt_1").await;
    clock.advance(Duration::from_hours(5));
    let expected = ["message.attempt.failing", "message.attempt.recovered"];
    assert_eq!(kinds(&fake)[1..], expected);
    let endpoint = fake.create_endpoint("dev", "https://hooks.test/status/500");
    send_message(&fake, "evt_2").await;
    clock.advance(Duration::from_hours(48));
    kinds(&fake);
    fake.answer_of_endpoint("dev", &endpoint, [200]);
    let path = format!("/api/v1/app/dev/msg/evt_2/endpoint/{endpoint}/resend/");
    post(&fake, &path, &json!({})).await;
    assert_eq!(kinds(&fake), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn every_change_of_an_endpoint_is_reported() {
    let (fake, clock) = fake();
    let endpoint = fake.create_endpoint("dev", "https://hooks.test/status/500");
    for id in ["evt_1", "evt_2", "evt_3", "evt_4"] {
        send_message(&fake, id).await;
        clock.advance(Duration::from_hours(48));
    }
    assert_eq!(kinds(&fake).pop().as_deref(), Some("endpoint.disabled"));
    let path = format!("/api/v1/app/dev/endpoint/{endpoint}/");
    send(&fake, Method::PATCH, &path, r#"{"disabled":false}"#).await;
    send(&fake, Method::DELETE, &path, "").await;
    assert_eq!(kinds(&fake), ["endpoint.updated", "endpoint.deleted"]);
}

#[test]
fn the_signature_is_that_of_the_documentation() {
    let report = Report {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
        body: r#"{"test": 2432232314}"#.to_owned(),
    };
    let headers = report.headers(SECRET, UNIX_EPOCH + Duration::from_secs(1_614_265_330));
    let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(headers[3], ("svix-signature", signature.to_owned()));
}

#[tokio::test]
async fn a_report_is_sent_again_until_it_is_taken() {
    let (fake, clock) = fake();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let requests = Arc::new(Mutex::new(Vec::new()));
    let taken = requests.clone();
    let server = tokio::spawn(async move {
        for status in ["503 Service Unavailable", "200 OK"] {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut bytes = vec![0; 4_096];
            let count = stream.read(&mut bytes).await.expect("a request");
            bytes.truncate(count);
            taken.lock().expect("no panic").push(String::from_utf8(bytes).expect("text"));
            let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(reply.as_bytes()).await.expect("a reply");
            clock.advance(Duration::from_secs(5));
        }
    });
    fake.create_endpoint("dev", "https://hooks.test/");
    let url = format!("http://{address}/svix/operational").parse().expect("a URL");
    let sender = tokio::spawn(send_reports(fake, url, SECRET.to_owned()));
    server.await.expect("both requests");
    sender.abort();
    let requests = requests.lock().expect("no panic");
    let id =
        |request: &str| request.lines().find(|line| line.starts_with("svix-id")).map(str::to_owned);
    assert!(requests[0].starts_with("POST /svix/operational HTTP/1.1"), "{requests:?}");
    assert_eq!(id(&requests[0]), id(&requests[1]));
    assert_ne!(requests[0], requests[1]);
}
