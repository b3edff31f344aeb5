//! Sends operational webhooks, as Svix sends them: signed, and again until they are taken.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::Full;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::delivery::SCHEDULE;
use crate::fake::FakeSvix;
use crate::report::Report;

/// How often new reports are looked for.
const INTERVAL: Duration = Duration::from_millis(500);

/// The longest that Svix waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

struct Due {
    report: Report,
    at: SystemTime,
    failures: usize,
}

/// Sends every operational webhook of a Svix to an `http` URL, signed with this secret.
pub async fn send_reports(fake: FakeSvix, url: Uri, secret: String) {
    let mut queue = VecDeque::new();
    loop {
        let now = fake.clock().now();
        let reports = fake.take_reports().into_iter();
        queue.extend(reports.map(|report| Due { report, at: now, failures: 0 }));
        for _ in 0..queue.len() {
            let Some(mut due) = queue.pop_front() else {
                break;
            };
            if due.at > now {
                queue.push_back(due);
            } else if send(&due.report, &url, &secret, now).await.is_err()
                && let Some(delay) = SCHEDULE.get(due.failures)
            {
                due.at = now + Duration::from_secs(*delay);
                due.failures += 1;
                queue.push_back(due);
            }
        }
        sleep(INTERVAL).await;
    }
}

async fn send(report: &Report, url: &Uri, secret: &str, now: SystemTime) -> Result<()> {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let mut request =
        Request::builder().method(Method::POST).uri(url.path()).header("host", authority);
    for (name, value) in report.headers(secret, now) {
        request = request.header(name, value);
    }
    let request = request.body(Full::<Bytes>::from(report.body.clone()))?;
    let exchange = async {
        let stream = TcpStream::connect(authority).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let status = sender.send_request(request).await?.status();
        ensure!(status.is_success(), "{status}");
        Ok(())
    };
    timeout(TIMEOUT, exchange).await?
}
