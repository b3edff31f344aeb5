//! The command line and the environment of `conformance`.

use std::env;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// The variables of the environment.
const ENVIRONMENT: &str = "\
Environment:
  SVIX_URL, SVIX_TOKEN  a real Svix; the region of the token names its URL [default: a fake Svix]
  SPIN                  a `spin` that the suite starts and kills [default: serve, beside this program]
  SPIN_RUNTIME_CONFIG   the runtime configuration for it
  RELAY_URL             a relay that is running already, as http://HOST:PORT. Its variables must be
                        svix_url=http://FAKE, svix_token=testsk_fake.eu and the ADMIN_TOKEN
  FAKE                  where the fake Svix listens for that relay [default: 127.0.0.1:9071]
  ADMIN_TOKEN           the operator's token of that relay [default: admin]";

/// Checks that a host, its store and a Svix behave as the relay's guarantee needs.
#[derive(Clone, Parser)]
#[command(name = "conformance", after_help = ENVIRONMENT)]
pub struct Options {
    /// Only this part
    pub part: Option<Part>,

    /// The application's manifest
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    pub from: PathBuf,

    /// The binary `serve` [default: the one beside this binary]
    #[arg(long, value_name = "PATH")]
    pub serve: Option<PathBuf>,

    /// Don't show the progress
    #[arg(long)]
    pub quiet: bool,

    #[arg(skip = variable("SVIX_URL"))]
    pub svix_url: Option<String>,

    #[arg(skip = variable("SVIX_TOKEN"))]
    pub svix_token: Option<String>,

    #[arg(skip = variable("SPIN").map(Into::into))]
    pub spin: Option<PathBuf>,

    #[arg(skip = variable("SPIN_RUNTIME_CONFIG").map(Into::into))]
    pub runtime_config: Option<PathBuf>,

    #[arg(skip = variable("RELAY_URL"))]
    pub relay_url: Option<String>,

    #[arg(skip = variable("FAKE"))]
    pub fake: Option<String>,

    #[arg(skip = variable("ADMIN_TOKEN"))]
    pub admin_token: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The checks of a Svix
    Svix,
    /// The checks of a host and its store, with a relay
    Host,
}

impl Options {
    pub(crate) fn checks(&self, part: Part) -> bool {
        self.part.is_none_or(|only| only == part)
    }
}

/// A variable of the environment. An empty one counts as missing.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
