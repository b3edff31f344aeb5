//! The surroundings of every measurement beside the load.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rusqlite::{Transaction, params};
use sha2::{Digest as _, Sha256};

use crate::contender::serve;
use crate::svix::Svix;

/// The component, as spin.toml names it.
pub const WASM: &str = "target/wasm32-wasip2/release/svix_relay.wasm";

/// A Svix and a place for files.
#[derive(Debug)]
pub struct Setting<'a> {
    pub svix: &'a Svix,
    pub svix_address: SocketAddr,
    pub directory: &'a Path,
}

impl Setting<'_> {
    /// The relay with its records in `store`.
    pub fn relay(&self, store: &str) -> Result<Command> {
        let mut command = serve("spin.toml", self.svix_address)?;
        command.args(["--key-value", store]);
        Ok(command)
    }
}

/// The folder of spin.toml.
pub fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect()
}

/// Writes records like those of the relay into a store, each dated by `at`, and returns their names.
pub fn insert_records(
    transaction: &Transaction<'_>,
    numbers: Range<u64>,
    at: impl Fn(u64) -> String,
) -> Result<Vec<String>> {
    let sql = "INSERT INTO spin_key_value (store, key, value) VALUES ('default', ?1, ?2)";
    let mut insert = transaction.prepare(sql)?;
    let mut names = Vec::new();
    for number in numbers {
        let key = Sha256::digest(format!("dev\0evt_{number:026}"));
        let mut name = "record/".to_owned();
        for byte in key {
            let _ = write!(name, "{byte:02x}");
        }
        let value = format!(
            r#"{{"version":1,"state":"delivered","project":"dev","eventId":"evt_{number:026}","eventType":"user.created","svixMessageId":"msg_{number:027}","attempts":1,"deliveredAt":"{}"}}"#,
            at(number)
        );
        insert.execute(params![name, value.into_bytes()])?;
        names.push(name);
    }
    Ok(names)
}
