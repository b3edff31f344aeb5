//! The metrics of the process `serve`, as a scraper gets them, held against the document and the sample with which
//! the alerts are tested. These tests run in real time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use http::Request;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::serve::{Serve, command_before, event, status_of, svix};
use crate::support::{self, Reply, full, root};

const SOON: Duration = Duration::from_secs(20);

async fn get(address: &str, path: &str) -> Reply {
    let stream = TcpStream::connect(address).await.expect("connected");
    let request = Request::get(path).body(full(Vec::new().into()));
    let reply = support::send(stream, request.expect("valid")).await;
    reply.expect("a reply")
}

/// The value of each series.
async fn scrape(address: &str) -> BTreeMap<String, u64> {
    let text = get(address, "/metrics").await.text();
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let series = series.map(|line| line.split_once(' ').expect("a value"));
    let series = series.map(|(name, value)| (name.to_owned(), value.parse().expect("a number")));
    series.collect()
}

#[tokio::test]
async fn serve_shows_a_scraper_its_connections_instances_and_memory() {
    let (svix, directory) = (svix(), tempfile::tempdir().expect("a directory"));
    let mut command = command_before(&svix, directory.path()).await;
    command.env("SERVE_METRICS_LISTEN", "127.0.0.1:0");
    let mut serve = Serve::start(command);
    let address = loop {
        let line = serve.line();
        if let Some(rest) = line.trim().strip_prefix("metrics: http://") {
            break rest.trim_end_matches("/metrics").to_owned();
        }
    };
    assert_eq!(status_of(serve.post(&event("evt_1")).await), "delivered");
    let _idle = TcpStream::connect(serve.address()).await;
    let busy = TcpStream::connect(serve.address()).await;
    let mut busy = busy.expect("connected");
    let half = "POST /notifications HTTP/1.1\r\nhost: relay.test\r\n\
                content-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    busy.write_all(half.as_bytes()).await.expect("sent");
    let counted = async {
        loop {
            let metrics = scrape(&address).await;
            let connections = |name: &str| metrics[&format!("svix_relay_host_connections{name}")];
            if (connections(""), connections("_busy")) == (2, 1) {
                assert!(connections("_limit") >= 2, "{metrics:?}");
                return metrics;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let metrics = timeout(SOON, counted).await.expect("two connections");
    for (name, least) in [
        ("svix_relay_host_instances", 1),
        ("svix_relay_host_instances_created_total", 1),
        ("process_resident_memory_bytes", 1 << 20),
        ("process_open_fds", 8),
        ("process_max_fds", metrics["process_open_fds"] + 1),
        ("process_start_time_seconds", 1_700_000_000),
    ] {
        assert!(metrics[name] >= least, "{name}: {metrics:?}");
    }
    assert_eq!(get(&address, "/").await.status, 404);
    // The component's own answer stays with its token.
    assert_eq!(get(serve.address(), "/metrics").await.status, 404);

    let text = |path: &str| fs::read_to_string(root().join(path)).expect(path);
    let names: BTreeSet<_> = metrics.keys().map(String::as_str).collect();
    let document = text("docs/metrics-and-log.md");
    let head = "\n| metric of `serve` | meaning |\n";
    let (_, table) = document.split_once(head).expect("a table");
    let rows = table.lines().skip(1);
    let rows = rows.take_while(|line| line.starts_with("| "));
    let explained = rows.map(|row| row.split('`').nth(1).expect("a name"));
    assert_eq!(explained.collect::<BTreeSet<_>>(), names);
    let sample = text("host-tests/samples/serve.metrics");
    let sampled = sample.lines().filter_map(|line| line.split_once(' '));
    let sampled: BTreeSet<_> = sampled.map(|(name, _)| name).collect();
    assert_eq!(sampled, names);
}
