//! A message: its application, its names, its size.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Svix;
use crate::check::{Outcome, same};
use crate::client::Reply;

/// The default of `max_body_bytes`.
const LARGEST: usize = 1024 * 1024;

/// More than the open-source server takes.
const TOO_LARGE: usize = 2_200_000;

pub async fn create_their_application(svix: &mut Svix) -> Result<Outcome> {
    svix.look_up("evt_1").await?.expect(404)?;
    svix.store().await?;
    // The second message finds the application.
    svix.store().await?;
    Ok(Outcome::Passed)
}

pub async fn come_back_as_sent(svix: &mut Svix) -> Result<Outcome> {
    let (_, message) = svix.new_message();
    let id = svix.create(&message, None).await?;
    let shown = svix.client.get(&svix.path(&format!("msg/{id}/"))).await?;
    same("the payload", &shown.expect(200)?.json()["payload"], &message["payload"])?;
    let bare = svix.look_up(&id).await?;
    same("with_content=false", &bare.expect(200)?.json()["payload"], &json!({}))?;
    Ok(Outcome::Passed)
}

pub async fn have_ids_of_256_characters(svix: &mut Svix) -> Result<Outcome> {
    let mut laxer = Vec::new();
    for field in ["eventId", "eventType"] {
        let (id, mut message) = svix.new_message();
        let longest = format!("{:x<256}", format!("a-Z_0.9-{id}"));
        message[field] = longest.as_str().into();
        svix.post(&message, None).await?.expect(202)?;
        for bad in ["", "a b", "ä", "a/b", &"x".repeat(257)] {
            let (_, mut message) = svix.new_message();
            message[field] = bad.into();
            if !is_refused(&svix.post(&message, None).await?)? {
                laxer.push(format!("{field} {bad:.9}"));
            }
        }
    }
    Ok(more_than_expected(&laxer))
}

pub async fn have_reserved_prefixes(svix: &mut Svix) -> Result<Outcome> {
    let mut laxer = Vec::new();
    let (_, mut message) = svix.new_message();
    message["eventId"] = format!("msg_{}", svix.app).into();
    if !is_refused(&svix.post(&message, None).await?)? {
        laxer.push("eventId msg_…".to_owned());
    }
    // Without an application in the body, the message creates none.
    let message = json!({"eventType": "a", "payload": {}}).to_string();
    let path = format!("/api/v1/app/app_{}/msg/", svix.app);
    let reply = svix.client.send("POST", &path, &[], message).await?;
    if !is_refused(&reply)? {
        laxer.push("uid app_…".to_owned());
    }
    Ok(more_than_expected(&laxer))
}

pub async fn have_up_to_1_mib(svix: &mut Svix) -> Result<Outcome> {
    let message = of_size(svix, LARGEST);
    svix.create(&message, None).await?;
    Ok(Outcome::Passed)
}

pub async fn are_refused_if_too_large(svix: &mut Svix) -> Result<Outcome> {
    let message = of_size(svix, TOO_LARGE);
    let reply = svix.post(&message, None).await?;
    is_refused(&reply)?;
    Ok(Outcome::Noted(format!("{} to 2.2 MB", reply.status)))
}

/// A message whose payload has so many bytes.
fn of_size(svix: &mut Svix, bytes: usize) -> Value {
    let (_, mut message) = svix.new_message();
    message["payload"] = json!({"x": "x".repeat(bytes - r#"{"x":""}"#.len())});
    message
}

/// Whether Svix refuses for good, in the form of its errors. Fails if Svix neither does that nor stores.
fn is_refused(reply: &Reply) -> Result<bool> {
    let is_final = matches!(reply.status, 400 | 404 | 413 | 422);
    let is_refused = is_final && !reply.json()["detail"].is_null();
    ensure!(is_refused || reply.status == 202, "{} is no refusal of Svix", reply.shown());
    Ok(is_refused)
}

fn more_than_expected(taken: &[String]) -> Outcome {
    if taken.is_empty() {
        return Outcome::Passed;
    }
    Outcome::Noted(format!("more is taken: {}", taken.join(", ")))
}
