//! Lists of messages.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Client, ReceivedReply, fake, message, request};
use crate::FakeSvix;

/// A fake with `evt_1` to `evt_5`, a second apart, and a client.
async fn five() -> anyhow::Result<(FakeSvix, Client)> {
    let (fake, clock) = fake();
    let mut client = Client::connect(&fake).await;
    for number in 1..=5 {
        clock.advance(Duration::from_secs(1));
        client.post(&message(&format!("evt_{number}"))).await?;
    }
    Ok((fake, client))
}

/// A list that is not refused.
async fn listed(client: &mut Client, query: &str) -> anyhow::Result<Value> {
    Ok(list(client, query).await?.json())
}

async fn list(client: &mut Client, query: &str) -> anyhow::Result<ReceivedReply> {
    let path = format!("/api/v1/app/dev/msg/?with_content=false&{query}");
    client.send(request(Method::GET, &path, "")).await
}

fn ids(page: &Value) -> Vec<&str> {
    let data = page["data"].as_array().expect("a list").iter();
    data.map(|message| message["eventId"].as_str().expect("an id")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_stored_again_is_in_the_list_twice() -> anyhow::Result<()> {
    let (fake, mut client) = five().await?;
    fake.store_again(&fake.messages()[2].id);
    let first = listed(&mut client, "limit=3").await?;
    assert_eq!(ids(&first), ["evt_5", "evt_4", "evt_3"]);
    let iterator = first["iterator"].as_str().expect("an id");
    let rest = listed(&mut client, &format!("iterator={iterator}")).await?;
    assert_eq!(ids(&rest), ["evt_3", "evt_2", "evt_1"]);
    assert_eq!(rest["data"][0]["timestamp"], first["data"][2]["timestamp"]);
    assert_ne!(rest["data"][0]["id"], iterator);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn pages_lead_from_the_newest_message_to_the_oldest() -> anyhow::Result<()> {
    let (fake, mut client) = five().await?;
    let first = listed(&mut client, "limit=2").await?;
    assert_eq!(ids(&first), ["evt_5", "evt_4"]);
    let id = |number: usize| fake.messages()[number].id.clone();
    assert_eq!(first["iterator"], id(3));
    assert_eq!(first["done"], false);
    assert_eq!(first["data"][0]["payload"], json!({}));

    let next = format!("limit=3&iterator={}", id(3));
    let last = listed(&mut client, &next).await?;
    assert_eq!(ids(&last), ["evt_3", "evt_2", "evt_1"]);
    assert_eq!(last["done"], true);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_window_lets_its_first_message_in_and_not_its_last() -> anyhow::Result<()> {
    let (fake, mut client) = five().await?;
    let time = |number: usize| clock::rfc3339(fake.messages()[number].timestamp);
    let window = format!("after={}&before={}", time(1), time(3).replace(':', "%3A"));
    let page = listed(&mut client, &window).await?;
    assert_eq!(ids(&page), ["evt_3", "evt_2"]);
    let rest = listed(&mut client, &format!("{window}&limit=1")).await?;
    let iterator = rest["iterator"].as_str().expect("an id");
    let rest = format!("{window}&limit=1&iterator={iterator}");
    let page = listed(&mut client, &rest).await?;
    assert_eq!((ids(&page), &page["done"]), (vec!["evt_2"], &json!(true)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_list_with_after_alone_begins_with_the_oldest() -> anyhow::Result<()> {
    let (fake, mut client) = five().await?;
    let after = clock::rfc3339(fake.messages()[1].timestamp);
    let page = listed(&mut client, &format!("limit=2&after={after}")).await?;
    assert_eq!(ids(&page), ["evt_3", "evt_2"]);
    assert_eq!(page["done"], false);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_list_without_bounds_ends_after_90_days() -> anyhow::Result<()> {
    let (fake, mut client) = five().await?;
    let days = Duration::from_secs(90 * 24 * 3_600 - 2);
    fake.clock().advance(days);
    let page = listed(&mut client, "").await?;
    assert_eq!(ids(&page), ["evt_5", "evt_4", "evt_3"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_invalid_list_is_refused() -> anyhow::Result<()> {
    let (_, mut client) = five().await?;
    for (query, status) in [
        ("limit=250", StatusCode::OK),
        ("limit=251", StatusCode::UNPROCESSABLE_ENTITY),
        ("iterator=evt_1", StatusCode::UNPROCESSABLE_ENTITY),
        ("limit=x", StatusCode::BAD_REQUEST),
        ("before=yesterday", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(list(&mut client, query).await?.status, status, "{query}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_deleted_application_is_gone_with_its_messages() -> anyhow::Result<()> {
    let (fake, mut client) = five().await?;
    let delete = || request(Method::DELETE, "/api/v1/app/dev/", "");
    assert_eq!(client.send(delete()).await?.status, StatusCode::NO_CONTENT);
    assert_eq!(list(&mut client, "").await?.status, StatusCode::NOT_FOUND);
    assert_eq!(client.send(delete()).await?.status, StatusCode::NOT_FOUND);
    assert_eq!(fake.messages(), []);
    Ok(())
}
