//! Limits of the host and of the store: sizes, headers, requests at once.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use tokio::time::Instant;

use super::forms::push;
use super::{Host, expect};
use crate::check::Outcome;

/// Pub/Sub's largest message, in base64 and with the most attributes around it, in bytes.
const LARGEST: usize = 14_000_000;

pub async fn largest_push(host: &mut Host) -> Result<Outcome> {
    let id = host.new_event().id;
    // 9.9 MB of data that is no event.
    let small = push(&id, &"/".repeat(13_200_000));
    let attributes =
        format!(r#""attributes":{{"x":"{}"}},"#, "x".repeat(LARGEST - small.len() - 24));
    let body = small.replacen(r#""data""#, &format!("{attributes}\"data\""), 1);
    let start = Instant::now();
    let kept = host.post(body.clone()).await?;
    expect::status(&kept, "dead-lettered")?;
    let took = start.elapsed().as_millis();
    let letter = host.letter(&kept.json()["deadLetter"]).await?;
    ensure!(letter["body"] == body, "the letter holds another body");
    Ok(Outcome::Noted(format!("{} bytes in {took} ms", body.len())))
}

pub async fn headers(host: &mut Host) -> Result<Outcome> {
    let mut most = 0;
    for number in [100, 128, 256] {
        let event = host.new_event();
        let (text, length) = (&event.text, event.text.len());
        // The first three lines count, too.
        let more = "x-more: v\r\n".repeat(number - 3);
        let request = format!(
            "POST /notifications HTTP/1.1\r\nhost: relay\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n{text}"
        );
        let head = host.client.send_raw(request.as_bytes(), false).await?;
        let line = head.unwrap_or_default();
        if !line.starts_with("HTTP/1.1 200") {
            ensure!(number > 100, "{number} headers are not taken: {line}");
            break;
        }
        most = number;
    }
    Ok(Outcome::Noted(format!("{most} are taken")))
}

pub async fn concurrency(host: &mut Host) -> Result<Outcome> {
    let events = host.new_events(128);
    let start = Instant::now();
    for reply in try_join_all(events.iter().map(|event| host.deliver(event))).await? {
        expect::status(&reply, "delivered")?;
    }
    let took = start.elapsed();
    for event in &events {
        host.expect_one(event)?;
    }
    ensure!(took.as_secs() < 10, "it took {} s, longer than Pub/Sub waits", took.as_secs());
    Ok(Outcome::Noted(format!("in {} ms", took.as_millis())))
}

/// Posts 5 MB of a media type that the relay refuses without reading.
pub async fn early_answers(host: &mut Host) -> Result<Outcome> {
    const SIZE: usize = 5_000_000;
    let head = format!(
        "POST /notifications HTTP/1.1\r\nhost: relay\r\ncontent-type: text/plain\r\ncontent-length: {SIZE}\r\n\r\n"
    );
    for (sent, what) in [(64 * 1024, "a part"), (SIZE, "the whole")] {
        let mut request = head.clone().into_bytes();
        request.resize(head.len() + sent, b'x');
        let answer = host.client.send_raw(&request, false).await?;
        let answer = answer.with_context(|| format!("{what} of the body breaks the connection"))?;
        ensure!(answer.starts_with("HTTP/1.1 415"), "{what} of the body: {answer}");
    }
    Ok(Outcome::Passed)
}
