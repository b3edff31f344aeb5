//! Dead letters: their numbers, and the values that belong together.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fake_svix::Fault;
use futures::future::try_join_all;

use super::forms::push;
use super::{Host, expect};
use crate::check::{Outcome, same};

const CROWD: u64 = 32;

/// Keeps an event as a dead letter that can never be delivered. Returns its number and its body.
async fn keep(host: &Host, id: &str) -> Result<(u64, String)> {
    let body = push(id, &BASE64_STANDARD.encode(r#"{"id":"no type"}"#));
    let reply = host.post(body.clone()).await?;
    expect::status(&reply, "dead-lettered")?;
    let number = reply.json()["deadLetter"].as_u64();
    Ok((number.with_context(|| reply.shown())?, body))
}

pub async fn are_kept(host: &mut Host) -> Result<Outcome> {
    let id = host.new_event().id;
    let (number, body) = keep(host, &id).await?;
    same("the letter of a repetition", &keep(host, &id).await?.0, &number)?;
    let list = format!("/dead-letters?after={}&limit=1", number - 1);
    let listed = host.client.get(&list).await?;
    let first = listed.expect(200)?.json()["deadLetters"][0].clone();
    same("the number", &first["number"], &number)?;
    same("the reason", &first["reason"], "invalid-event")?;
    same("the body", &host.letter(&number.into()).await?["body"], &body)?;
    let path = format!("/dead-letters/{number}");
    host.client.ask("DELETE", &path).await?.expect(200)?;
    host.client.get(&path).await?.expect(404)?;
    same("the discarded letter", &keep(host, &id).await?.0, &number)?;
    Ok(Outcome::Passed)
}

pub async fn are_replayed(host: &mut Host) -> Result<Outcome> {
    let event = host.new_event();
    host.svix.script([Fault::status(422)]);
    let body = push(&event.id, &BASE64_STANDARD.encode(&event.text));
    let kept = host.post(body).await?;
    expect::status(&kept, "dead-lettered")?;
    same("messages of a refused event", &host.messages(&event), &0)?;
    let number = &kept.json()["deadLetter"];
    let replay = format!("/dead-letters/{number}/replay");
    let replay = host.client.ask("POST", &replay).await?;
    expect::status(&replay, "delivered")?;
    host.expect_one(&event)?;
    let letter = host.letter(number).await?;
    same("the resolved letter's event", &letter["resolved"]["eventId"], &event.id)?;
    Ok(Outcome::Passed)
}

pub async fn have_numbers_of_their_own(host: &mut Host) -> Result<Outcome> {
    let first = host.new_event();
    let (before, _) = keep(host, &first.id).await?;
    let events: Vec<_> = (0..CROWD).map(|_| host.new_event()).collect();
    let kept = try_join_all(events.iter().map(|event| keep(host, &event.id))).await?;
    let mut numbers: Vec<_> = kept.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    let expected: Vec<_> = (before + 1..=before + CROWD).collect();
    same("the numbers", &numbers, &expected)?;
    for (number, body) in &kept {
        same("the body", &host.letter(&(*number).into()).await?["body"], body)?;
    }
    Ok(Outcome::Passed)
}
