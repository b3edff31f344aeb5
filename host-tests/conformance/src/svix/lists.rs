//! Lists of messages, as an audit reads them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time;

use super::Svix;
use crate::check::{Outcome, same};

async fn page(svix: &Svix, query: &str) -> Result<Value> {
    let path = svix.path(&format!("msg/?with_content=false&{query}"));
    let reply = svix.client.get(&path).await?;
    let page = reply.expect(200)?.json();
    ensure!(page["done"].is_boolean(), "{}", reply.shown());
    Ok(page)
}

fn messages(page: &Value) -> impl Iterator<Item = &Value> {
    page["data"].as_array().into_iter().flatten()
}

fn ids(page: &Value) -> Vec<&str> {
    messages(page).filter_map(|it| it["id"].as_str()).collect()
}

fn iterator(page: &Value) -> Result<String> {
    let iterator = page["iterator"].as_str().context("no iterator")?;
    Ok(format!("&iterator={iterator}"))
}

/// Stores messages at different times. Returns their ids, newest first.
async fn store(svix: &mut Svix, number: usize) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for _ in 0..number {
        time::sleep(Duration::from_millis(10)).await;
        ids.insert(0, svix.store().await?.1);
    }
    Ok(ids)
}

pub async fn show_each_message_once(svix: &mut Svix) -> Result<Outcome> {
    let newest = store(svix, 3).await?;
    let page = page(svix, "limit=250").await?;
    let listed = ids(&page);
    same("the newest", listed.get(..3).unwrap_or_default(), &newest[..])?;
    same("done", &page["done"], &true)?;
    let different: BTreeSet<_> = listed.iter().collect();
    same("different messages", &different.len(), &listed.len())?;
    let bare = messages(&page).all(|it| it["payload"] == json!({}));
    ensure!(bare, "with_content=false shows payloads");
    Ok(Outcome::Passed)
}

pub async fn go_on_until_done(svix: &mut Svix) -> Result<Outcome> {
    let all = page(svix, "limit=250").await?;
    let (mut collected, mut query) = (Vec::new(), "limit=5".to_owned());
    for _ in 0..=ids(&all).len() / 5 {
        let page = page(svix, &query).await?;
        collected.extend(ids(&page).into_iter().map(str::to_owned));
        if page["done"] == true {
            same("all pages", &collected, &ids(&all))?;
            return Ok(Outcome::Passed);
        }
        query = format!("limit=5{}", iterator(&page)?);
    }
    bail!("the pages never end")
}

pub async fn have_at_most_250(svix: &mut Svix) -> Result<Outcome> {
    page(svix, "limit=250").await?;
    let more = svix.client.get(&svix.path("msg/?limit=251")).await?;
    more.expect(422)?;
    Ok(Outcome::Passed)
}

pub async fn keep_to_a_window(svix: &mut Svix) -> Result<Outcome> {
    let stored = store(svix, 4).await?;
    let newest = page(svix, "limit=4").await?;
    let times: Vec<_> = messages(&newest).filter_map(|it| it["timestamp"].as_str()).collect();
    ensure!(times.len() == 4, "{newest} lacks times");
    let window = format!("after={}&before={}", times[3], times[0]);
    let page_of_all = page(svix, &window).await?;
    let (inside, mut between) = (ids(&page_of_all), ids(&page_of_all));
    between.retain(|id| *id != stored[3]);
    same(&window, &between, &stored[1..3])?;
    let first = page(svix, &format!("{window}&limit=1")).await?;
    let rest = page(svix, &format!("{window}{}", iterator(&first)?)).await?;
    same("the rest by iterator", &ids(&rest), &inside[1..])?;
    let which = if inside.len() > 2 { "in" } else { "out" };
    Ok(Outcome::Noted(format!("`after` leaves its own moment {which}")))
}
