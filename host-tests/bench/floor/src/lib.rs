//! The floor: one read, `get`, POST, `set` and reply for each event, with spin-sdk's ordinary
//! helpers and no logic. Shows the cost of a component that guarantees nothing.
#![cfg(target_family = "wasm")]

use std::sync::OnceLock;

use spin_sdk::http::body::IncomingBodyExt as _;
use spin_sdk::http::{self, IntoResponse, Request};
use spin_sdk::http_service;
use spin_sdk::key_value::Store;
use spin_sdk::variables;

static URL: OnceLock<String> = OnceLock::new();

#[http_service]
async fn handle(request: Request) -> http::Result<impl IntoResponse> {
    let url = if let Some(url) = URL.get() {
        url
    } else {
        let url = variables::get("svix_url").await.map_err(other)?;
        URL.get_or_init(|| format!("{url}/api/v1/app/dev/msg/"))
    };
    let key = request.uri().to_string();
    let event = request.into_body().bytes().await?;
    let store = Store::open_default().await.map_err(other)?;
    if store.get(&key).await.map_err(other)?.is_some() {
        return Ok("duplicate".to_owned());
    }
    let reply = http::post(url, event).await?;
    let message = reply.into_body().bytes().await?;
    store.set(&key, &message).await.map_err(other)?;
    Ok("delivered".to_owned())
}

fn other(error: impl std::fmt::Display) -> http::Error {
    http::Error::other(error.to_string())
}
