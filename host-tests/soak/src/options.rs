//! The command line of `soak`.

use std::path::PathBuf;

use clap::Parser;

/// The token that the fake Svix accepts.
pub const TOKEN: &str = "testsk_soak.eu";

/// Sends events to a relay that is killed again and again, and to a Svix that fails in every way
/// it can, and checks that each event becomes exactly one message.
#[derive(Clone, Debug, Parser)]
#[command(name = "soak")]
pub struct Options {
    /// How many events
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub events: usize,

    /// How many of them, of a hundred, are delivered again although acknowledged
    #[arg(long, value_name = "PERCENT", default_value_t = 20)]
    pub duplicates: u8,

    /// How often a relay is killed, at least
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub kills: usize,

    /// So many relays that share a Redis [default: one, with a database of its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub nodes: Option<u8>,

    /// How often that Redis is away, for all or for one of them
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub outages: usize,

    /// Nothing goes wrong, and everything is published at once: shows how fast it is
    #[arg(long)]
    pub calm: bool,

    /// How many deliveries are under way at once, at most
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub concurrency: usize,

    /// What all that is random is drawn from, but for the timing [default: another one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// After how many seconds it has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 290)]
    pub deadline: u64,

    /// The application's manifest
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    pub from: PathBuf,

    /// The binary `serve` [default: the one beside this binary]
    #[arg(long, value_name = "PATH")]
    pub serve: Option<PathBuf>,

    /// Shows no progress
    #[arg(long)]
    pub quiet: bool,
}
