//! Event types, portals, and the end of the application.

use anyhow::{Result, ensure};
use serde_json::json;

use super::Svix;
use crate::check::Outcome;

/// Deletes the type in the end, unless Svix knew it before.
pub async fn have_event_types(svix: &mut Svix) -> Result<Outcome> {
    let path = format!("/api/v1/event-type/{}/", svix.app);
    let body = json!({"name": svix.app, "description": svix.app}).to_string();
    svix.client.get(&path).await?.expect(404)?;
    let types = "/api/v1/event-type/";
    svix.client.send("POST", types, &[], body.clone()).await?.expect(201)?;
    let checked = async {
        svix.client.send("POST", types, &[], body).await?.expect(409)?;
        svix.client.get(&path).await?.expect(200)?;
        anyhow::Ok(())
    };
    let checked = checked.await;
    svix.delete_event_type().await?.expect(204)?;
    checked.map(|()| Outcome::Passed)
}

pub async fn have_a_portal(svix: &mut Svix) -> Result<Outcome> {
    let body = json!({"uid": svix.app, "name": svix.app}).to_string();
    let path = "/api/v1/app/?get_if_exists=true";
    svix.client.send("POST", path, &[], body).await?.expect(200)?;
    let portal = |app: String| {
        let path = format!("/api/v1/auth/app-portal-access/{app}/");
        let client = &svix.client;
        async move { client.send("POST", &path, &[], r#"{"expiry":3600}"#).await }
    };
    let reply = portal(svix.app.clone()).await?;
    let url = reply.expect(200)?.json()["url"].take();
    let is_link = url.as_str().is_some_and(|url| url.starts_with("http"));
    ensure!(is_link, "the link is {url}");
    portal(format!("{}-missing", svix.app)).await?.expect(404)?;
    Ok(Outcome::Passed)
}

pub async fn can_be_deleted(svix: &mut Svix) -> Result<Outcome> {
    svix.delete_application().await?.expect(204)?;
    svix.client.get(&svix.path("msg/?limit=1")).await?.expect(404)?;
    Ok(Outcome::Passed)
}
