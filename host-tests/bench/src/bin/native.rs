//! The relay's task as a plain native program, as a good engineer writes it in an afternoon. With
//! axum, reqwest and rusqlite, each event's record is durable before its reply. Retries, gate and
//! dead letters are missing, so that the program is a yardstick of the benchmark, not an
//! alternative.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use clap::Parser;
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task;

/// The allocator of `serve`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    svix_url: String,
    /// If missing, the records are in memory.
    #[arg(long)]
    sqlite: Option<PathBuf>,
    /// Records that come at the same time become one transaction.
    #[arg(long, requires = "sqlite")]
    group_commit: bool,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    project: String,
    r#type: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    event_type: &'a str,
    event_id: &'a str,
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    status: &'static str,
    svix_message_id: String,
}

#[derive(Clone)]
enum Records {
    Memory(Arc<Mutex<HashMap<String, String>>>),
    Sqlite { reader: Arc<Mutex<Connection>>, writer: Writer },
}

#[derive(Clone)]
enum Writer {
    Alone(Arc<Mutex<Connection>>),
    Grouped(mpsc::Sender<Write>),
}

struct Write {
    record: [String; 2],
    done: oneshot::Sender<bool>,
}

impl Records {
    fn open(options: &Options) -> anyhow::Result<Self> {
        let Some(path) = &options.sqlite else {
            return Ok(Self::Memory(Arc::default()));
        };
        let writer = Connection::open(path)?;
        writer.pragma_update(None, "journal_mode", "wal")?;
        writer.pragma_update(None, "synchronous", "full")?;
        let schema =
            "CREATE TABLE IF NOT EXISTS record (key TEXT PRIMARY KEY, value TEXT NOT NULL)";
        writer.execute(schema, [])?;
        Ok(Self::Sqlite {
            reader: Arc::new(Mutex::new(Connection::open(path)?)),
            writer: if options.group_commit {
                let (grouped, queue) = mpsc::channel(1_024);
                thread::spawn(move || write_groups(writer, queue));
                Writer::Grouped(grouped)
            } else {
                Writer::Alone(Arc::new(Mutex::new(writer)))
            },
        })
    }

    async fn get(&self, key: String) -> anyhow::Result<Option<String>> {
        match self.clone() {
            Self::Memory(map) => Ok(lock(&map)?.get(&key).cloned()),
            Self::Sqlite { reader, .. } => {
                task::spawn_blocking(move || {
                    let connection = lock(&reader)?;
                    let mut get =
                        connection.prepare_cached("SELECT value FROM record WHERE key = ?1")?;
                    Ok(get.query_row([key], |row| row.get(0)).optional()?)
                })
                .await?
            }
        }
    }

    async fn set(&self, key: String, value: String) -> anyhow::Result<()> {
        match self.clone() {
            Self::Memory(map) => {
                lock(&map)?.insert(key, value);
                Ok(())
            }
            Self::Sqlite { writer: Writer::Alone(writer), .. } => {
                task::spawn_blocking(move || Ok(insert(&*lock(&writer)?, [key, value])?)).await?
            }
            Self::Sqlite { writer: Writer::Grouped(writes), .. } => {
                let (done, is_done) = oneshot::channel();
                let record = [key, value];
                writes.send(Write { record, done }).await?;
                anyhow::ensure!(is_done.await?, "the transaction failed");
                Ok(())
            }
        }
    }
}

fn insert(connection: &Connection, record: [String; 2]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO record VALUES (?1, ?2)")?;
    insert.execute(record)?;
    Ok(())
}

/// Writes all records that are waiting as one transaction, again and again.
fn write_groups(mut connection: Connection, mut queue: mpsc::Receiver<Write>) {
    let mut group = Vec::new();
    while queue.blocking_recv_many(&mut group, 1_024) > 0 {
        let (records, waiting): (Vec<_>, Vec<_>) =
            group.drain(..).map(|write| (write.record, write.done)).unzip();
        let commit = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            for record in records {
                insert(&transaction, record)?;
            }
            transaction.commit()
        };
        let is_done = commit(&mut connection).is_ok();
        for done in waiting {
            // The request may have ended.
            let _ = done.send(is_done);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> anyhow::Result<std::sync::MutexGuard<'_, T>> {
    mutex.lock().map_err(|_| anyhow::anyhow!("poisoned"))
}

#[derive(Clone)]
struct Relay {
    records: Records,
    client: reqwest::Client,
    svix_url: Arc<str>,
}

async fn notify(State(relay): State<Relay>, body: Bytes) -> Result<Json<Reply>, StatusCode> {
    let event: Event = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let key = format!("{}/{}", event.project, event.id);
    if let Some(svix_message_id) = relay.records.get(key.clone()).await.map_err(unavailable)? {
        return Ok(Json(Reply { status: "duplicate", svix_message_id }));
    }
    let created = send(&relay, &event, &key, &body).await.map_err(unavailable)?;
    let stored = relay.records.set(key, created.id.clone()).await;
    stored.map_err(unavailable)?;
    Ok(Json(Reply { status: "delivered", svix_message_id: created.id }))
}

async fn send(relay: &Relay, event: &Event, key: &str, body: &[u8]) -> anyhow::Result<Created> {
    let message = Message {
        event_type: &event.r#type,
        event_id: &event.id,
        payload: serde_json::from_slice(body)?,
    };
    let url = format!("{}/api/v1/app/{}/msg/", relay.svix_url, event.project);
    let reply = relay
        .client
        .post(url)
        .bearer_auth("testsk_fake.eu")
        .header("idempotency-key", key)
        .json(&message)
        .send()
        .await?;
    Ok(reply.error_for_status()?.json().await?)
}

fn unavailable(_: anyhow::Error) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let relay = Relay {
        records: Records::open(&options)?,
        client: reqwest::Client::builder().timeout(Duration::from_secs(3)).build()?,
        svix_url: options.svix_url.into(),
    };
    let router = Router::new()
        .route("/notifications", post(notify))
        .layer(DefaultBodyLimit::max(1 << 20))
        .with_state(relay);
    let listener = TcpListener::bind(options.listen).await?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // With TCP's delay, replies may wait for the peer's acknowledgement.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}
