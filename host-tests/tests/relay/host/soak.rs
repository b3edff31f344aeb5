//! Short soaks: the same as `make soak` and `make soak-cluster`, in seconds of real time.

use clap::Parser as _;

use rig::RedisServer;
use soak::{Options, Report};

use crate::support;

async fn soak(events: usize, options: &[&str]) -> Report {
    support::build_component();
    let few = ["soak", "--kills=3", "--quiet", "--seed=1"];
    let mut options = Options::parse_from([&few, options].concat());
    options.events = events;
    options.deadline = 110;
    options.from = support::root().join("spin.toml");
    options.serve = Some(support::binary("serve"));
    let report = soak::run(options).await.expect("a soak");

    let told = report.details().join("\n");
    assert!(report.is_clean(), "{report}\n{told}");
    assert_eq!((report.events, report.messages), (events, events), "{told}");
    assert_eq!((report.lost, report.duplicated), (0, 0), "{told}");
    assert_eq!(report.reordered, 0, "{told}");
    assert!(report.kills >= 3 && report.terminations > 0, "{report}");
    assert!(report.redeliveries >= events / 5, "{report}");
    assert!(report.audit.audited > 0, "{report}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak_loses_nothing_and_repeats_nothing() {
    let report = soak(1_000, &[]).await;
    assert!(report.ordered >= 150, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak_with_dead_letters_loses_none() {
    let report = soak(400, &["--letters"]).await;
    assert!(report.replayed.resolved > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak_of_three_nodes_with_a_failing_redis_loses_nothing() {
    // Without Redis, `for_test` prints a warning.
    if RedisServer::for_test().await.expect("Redis").is_none() {
        return;
    }
    let report = soak(1_000, &["--nodes=3", "--outages=4"]).await;
    assert_eq!((report.nodes, report.outages), (3, 4), "{report}");
    assert!(report.ordered >= 150, "{report}");
}
