//! The command line of `soak`.

use std::path::PathBuf;

use clap::Parser;

/// The token that the fake Svix accepts.
pub const TOKEN: &str = "testsk_soak.eu";

/// The operator's token.
pub const ADMIN_TOKEN: &str = "soak";

/// Sends events to a relay that is killed again and again, beside a Svix with every fault.
/// Checks that each event becomes exactly one message.
#[derive(Clone, Debug, Parser)]
#[command(name = "soak")]
pub struct Options {
    /// How many events
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub events: usize,

    /// The percentage of events that are delivered again although they were acknowledged
    #[arg(long, value_name = "PERCENT", default_value_t = 20)]
    pub duplicates: u8,

    /// The least number of times that a relay is killed
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub kills: usize,

    /// How many relays share a Redis [default: one relay with a database of its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub nodes: Option<u8>,

    /// How often that Redis is away, for all relays or for one
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub outages: usize,

    /// Events that Svix refuses become dead letters, which are replayed at the end. No event has an ordering key
    #[arg(long)]
    pub letters: bool,

    /// Publishes everything at once, and lets nothing fail: a measurement of speed
    #[arg(long)]
    pub calm: bool,

    /// Svix refuses more than so many requests a second, and Pub/Sub waits as long as the real one does
    #[arg(long, value_name = "N", requires = "calm", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,

    /// The most deliveries at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub concurrency: usize,

    /// The seed of everything random but the timing [default: a different one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// The soak fails if it takes more seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 290)]
    pub deadline: u64,

    /// The application's manifest
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    pub from: PathBuf,

    /// The binary `serve` [default: the one beside this binary]
    #[arg(long, value_name = "PATH")]
    pub serve: Option<PathBuf>,

    /// Don't show the progress
    #[arg(long)]
    pub quiet: bool,
}
