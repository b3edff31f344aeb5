//! A short soak: the same as `make soak`, in seconds. In real time, like `process`.

use clap::Parser as _;

use host_tests::soak::{self, Options};

use crate::support;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak_loses_nothing_and_repeats_nothing() {
    support::build_component();
    let mut options = Options::parse_from(["soak", "--events=1000", "--kills=3", "--quiet"]);
    options.seed = Some(1);
    options.deadline = 55;
    options.from = support::root().join("spin.toml");
    options.serve = Some(env!("CARGO_BIN_EXE_serve").into());
    let report = soak::run(options).await.expect("a soak");

    let told = report.details().join("\n");
    assert!(report.is_clean(), "{report}\n{told}");
    assert_eq!((report.events, report.messages), (1_000, 1_000), "{told}");
    assert_eq!((report.lost, report.duplicated), (0, 0), "{told}");
    assert!(report.kills >= 3 && report.terminations > 0, "{report}");
    assert!(report.redeliveries >= 200, "{report}");
}
