//! The same event once more: conflicts, lookups and idempotency keys.

use anyhow::{Result, bail};
use futures::future::try_join_all;
use serde_json::Value;

use super::{Svix, stored};
use crate::check::{Outcome, same};

pub async fn conflict(svix: &mut Svix) -> Result<Outcome> {
    let (_, message) = svix.new_message();
    svix.create(&message, None).await?;
    let again = svix.post(&message, None).await?;
    same("the code", &again.expect(409)?.json()["code"], "conflict")?;
    Ok(Outcome::Passed)
}

pub async fn are_found(svix: &mut Svix) -> Result<Outcome> {
    let (event_id, id) = svix.store().await?;
    for either in [&event_id, &id] {
        same("the message", &stored(&svix.look_up(either).await?, &event_id)?, &id)?;
    }
    for missing in [svix.new_id(), format!("msg_{:0>27}", 0)] {
        let reply = svix.look_up(&missing).await?;
        same("the code", &reply.expect(404)?.json()["code"], "not_found")?;
    }
    Ok(Outcome::Passed)
}

pub async fn have_the_first_id(svix: &mut Svix) -> Result<Outcome> {
    let (id, message) = svix.new_message();
    let first = svix.create(&message, Some(&id)).await?;
    let second = svix.create(&message, Some(&id)).await?;
    same("the second id", &second, &first)?;
    Ok(Outcome::Passed)
}

pub async fn at_once_are_one(svix: &mut Svix) -> Result<Outcome> {
    let (id, message) = svix.new_message();
    let replies = try_join_all((0..8).map(|_| svix.post(&message, Some(&id)))).await?;
    let first = stored(&replies[0], &id)?;
    for reply in &replies {
        same("an id", &stored(reply, &id)?, &first)?;
    }
    Ok(Outcome::Passed)
}

/// The relay never changes the URI of an event, so either answer is fine.
pub async fn of_another_uri(svix: &mut Svix) -> Result<Outcome> {
    let (id, message) = svix.new_message();
    let first = svix.create(&message, Some(&id)).await?;
    let path = svix.path("msg/?with_content=true");
    let key = [("idempotency-key", id.as_str())];
    let other = svix.client.send("POST", &path, &key, message.to_string()).await?;
    match other.status {
        409 => Ok(Outcome::Noted("409, so the key counts for one URI".to_owned())),
        202 if stored(&other, &id)? == first => Ok(Outcome::Noted("the same id".to_owned())),
        _ => bail!("after {first}: {}", other.shown()),
    }
}

pub async fn of_a_refusal(svix: &mut Svix) -> Result<Outcome> {
    let (id, mut message) = svix.new_message();
    let payload = std::mem::replace(&mut message["payload"], Value::Array(Vec::new()));
    svix.post(&message, Some(&id)).await?.expect(422)?;
    message["payload"] = payload;
    svix.create(&message, Some(&id)).await?;
    Ok(Outcome::Passed)
}
