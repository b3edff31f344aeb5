//! The metrics that deploy/alerts.yaml is tested with, held against the relay.

use std::{env, fs};

use crate::support::{World, ask, root};

#[tokio::test(start_paused = true)]
async fn the_alerts_are_tested_with_the_metrics_of_a_fresh_store() {
    let world = World::with(&[("admin_token", "hush")]);
    let metrics = ask(&world, "GET", "/metrics").await.text();
    let sample = root().join("host-tests/samples/fresh.metrics");
    if env::var_os("REWRITE_SAMPLES").is_some() {
        fs::write(&sample, &metrics).expect("a file");
    }
    let expected = fs::read_to_string(&sample).expect("the sample");
    assert_eq!(metrics, expected, "REWRITE_SAMPLES=1 writes the sample anew");
}
