//! The servers that are measured, and how each is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::server::{Server, beside};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The relay in `serve` with SQLite, as users start it.
    Relay,
    /// The relay with its records in memory.
    RelayMemory,
    /// The relay in memory without TCP_NODELAY on either side, as under Spin.
    RelayDelayed,
    /// A component that guarantees nothing, in `serve`, with SQLite.
    Floor,
    FloorMemory,
    FloorDelayed,
    /// A native program with SQLite.
    Native,
    /// The same with one transaction for records that come together.
    NativeGrouped,
    NativeMemory,
    /// A proxy that does nothing.
    Limit,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Relay,
        Self::RelayMemory,
        Self::RelayDelayed,
        Self::Floor,
        Self::FloorMemory,
        Self::FloorDelayed,
        Self::Native,
        Self::NativeGrouped,
        Self::NativeMemory,
        Self::Limit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::RelayMemory => "relay-memory",
            Self::RelayDelayed => "relay-delayed",
            Self::Floor => "floor",
            Self::FloorMemory => "floor-memory",
            Self::FloorDelayed => "floor-delayed",
            Self::Native => "native",
            Self::NativeGrouped => "native-grouped",
            Self::NativeMemory => "native-memory",
            Self::Limit => "limit",
        }
    }

    /// Whether this load is measured. TCP's delays don't depend on the load, so few loads suffice
    /// for them.
    pub fn takes_part(self, connections: usize, latency: Duration) -> bool {
        match self {
            Self::RelayDelayed | Self::FloorDelayed => {
                latency.is_zero() && matches!(connections, 1 | 64)
            }
            _ => true,
        }
    }

    fn command(self, svix: SocketAddr, directory: &Path) -> Result<Command> {
        let database = |name: &str| format!("{}/{name}.db", directory.display());
        let (from, store, delayed) = match self {
            Self::Relay => ("spin.toml", Some("relay"), false),
            Self::RelayMemory => ("spin.toml", None, false),
            Self::RelayDelayed => ("spin.toml", None, true),
            Self::Floor => (FLOOR, Some("floor"), false),
            Self::FloorMemory => (FLOOR, None, false),
            Self::FloorDelayed => (FLOOR, None, true),
            Self::Native | Self::NativeGrouped | Self::NativeMemory => {
                let mut command = Command::new(beside("native")?);
                command.args(["--svix-url", &format!("http://{svix}")]);
                if self != Self::NativeMemory {
                    command.args(["--sqlite", &database(self.name())]);
                }
                if self == Self::NativeGrouped {
                    command.arg("--group-commit");
                }
                return Ok(command);
            }
            Self::Limit => {
                let mut command = Command::new(beside("passthrough")?);
                command.args(["--svix", &svix.to_string()]);
                return Ok(command);
            }
        };
        let store = store.map_or("memory".to_owned(), |name| format!("sqlite:{}", database(name)));
        let mut command = serve(from, svix)?;
        command.args(["--key-value", &store]);
        if delayed {
            command.arg("--tcp-delay");
        }
        Ok(command)
    }
}

const FLOOR: &str = "host-tests/bench/floor/spin.toml";

/// `serve` with an application of this repository.
pub fn serve(from: &str, svix: SocketAddr) -> Result<Command> {
    let root: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect();
    let mut command = Command::new(beside("serve")?);
    command
        .env("SPIN_VARIABLE_SVIX_TOKEN", "testsk_fake.eu")
        .arg("--from")
        .arg(root.join(from))
        .args(["--variable", &format!("svix_url=http://{svix}")]);
    Ok(command)
}

#[derive(Debug)]
pub struct Contender {
    pub kind: Kind,
    pub server: Server,
}

impl Contender {
    pub async fn start(kind: Kind, svix: SocketAddr, directory: &Path) -> Result<Self> {
        let command = kind.command(svix, directory)?;
        let server = Server::start(command, directory).await?;
        Ok(Self { kind, server })
    }
}
