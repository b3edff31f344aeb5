//! The forms in which events come in.

use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use tokio::time;

use super::{Event, Host, expect};
use crate::check::Outcome;
use crate::client::Headers;

async fn arrives(host: &Host, event: &Event, headers: Headers<'_>, body: String) -> Result<()> {
    let reply = host.client.send("POST", "/notifications", headers, body).await?;
    expect::status(&reply, "delivered")?;
    host.expect_one(event)?;
    let messages = host.svix.messages_for(&host.project);
    let message = messages.iter().find(|message| message.event_id.as_deref() == Some(&event.id));
    let payload = message.map(|message| message.payload.as_str());
    ensure!(payload == Some(&event.text), "{} became {payload:?}", event.text);
    Ok(())
}

pub async fn direct(host: &mut Host) -> Result<Outcome> {
    let event = host.new_event();
    let headers = [("content-type", "application/cloudevents+json; charset=utf-8")];
    arrives(host, &event, &headers, event.text.clone()).await?;
    Ok(Outcome::Passed)
}

pub async fn wrapped(host: &mut Host) -> Result<Outcome> {
    for engine in [BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD] {
        let event = host.new_event();
        let body = push(&event.id, &engine.encode(&event.text));
        arrives(host, &event, &[], body).await?;
    }
    Ok(Outcome::Passed)
}

const UNWRAPPED: [(&str, &str); 2] = [
    ("x-goog-pubsub-subscription-name", "projects/p/subscriptions/conformance"),
    ("content-type", "application/octet-stream"),
];

pub async fn unwrapped(host: &mut Host) -> Result<Outcome> {
    let event = host.new_event();
    let mut headers = vec![("x-goog-pubsub-message-id", event.id.as_str())];
    headers.extend(UNWRAPPED);
    arrives(host, &event, &headers, event.text.clone()).await?;
    // Only an event of Pub/Sub is kept.
    let id = host.new_event().id;
    headers[0].1 = &id;
    let kept = host.client.send("POST", "/notifications", &headers, "{}").await?;
    expect::status(&kept, "dead-lettered")?;
    Ok(Outcome::Passed)
}

pub async fn marked(host: &mut Host) -> Result<Outcome> {
    let event = host.new_event();
    arrives(host, &event, &[], format!("\u{feff}{}", event.text)).await?;
    let event = host.new_event();
    let data = BASE64_STANDARD.encode(format!("\u{feff}{}", event.text));
    arrives(host, &event, &[], push(&event.id, &data)).await?;
    Ok(Outcome::Passed)
}

const HEAD: &str =
    "POST /notifications HTTP/1.1\r\nhost: relay\r\ncontent-type: application/json\r\n";

pub async fn chunked(host: &mut Host) -> Result<Outcome> {
    let event = host.new_event();
    let (length, text) = (event.text.len(), &event.text);
    let request =
        format!("{HEAD}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{text}\r\n0\r\n\r\n");
    let head = host.client.send_raw(request.as_bytes(), false).await?;
    let head = head.context("the connection ends without an answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head} instead of 200");
    host.expect_one(&event)?;
    Ok(Outcome::Passed)
}

pub async fn cut_off(host: &mut Host) -> Result<Outcome> {
    let event = host.new_event();
    let length = event.text.len() + 1;
    let request = format!("{HEAD}content-length: {length}\r\n\r\n{}", event.text);
    let head = host.client.send_raw(request.as_bytes(), true).await?;
    if let Some(head) = head.filter(|head| !head.starts_with("HTTP/1.1 400")) {
        bail!("{head} instead of 400");
    }
    // The relay may still be at work.
    time::sleep(time::Duration::from_millis(200)).await;
    ensure!(host.messages(&event) == 0, "half a body was stored");
    let reply = host.deliver(&event).await?;
    expect::status(&reply, "delivered")?;
    Ok(Outcome::Passed)
}

/// Pub/Sub's push of this data. `id` is the message's.
pub fn push(id: &str, data: &str) -> String {
    let now = clock::rfc3339(SystemTime::now());
    format!(
        r#"{{"message":{{"data":"{data}","messageId":"{id}","publishTime":"{now}"}},"subscription":"projects/p/subscriptions/conformance"}}"#
    )
}
