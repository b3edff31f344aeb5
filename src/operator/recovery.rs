//! Has Svix send an endpoint everything again that it has failed to take, or everything that was never sent to it.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::fate;
use super::request::{Check, OperatorRequest, fields, flag, time};
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::api::table;
use crate::host::clock;
use crate::identifier;
use crate::json;
use crate::svix::endpoints;
use crate::time::{SKEW, rfc3339};

/// How far back Svix recovers: 14 days, and 5 minutes so that `now - 14 days` is always taken.
const LONGEST: Duration = Duration::from_mins(14 * 24 * 60 + 5);

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    endpoint: String,
    since: SystemTime,
    until: Option<SystemTime>,
    /// Whether messages are meant that were never sent to the endpoint.
    missing: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recovering<'a> {
    endpoint_id: &'a str,
    task_id: &'a str,
    status: &'a str,
}

pub async fn recover(request: &mut OperatorRequest<'_>, project: &str) -> Result<Success, Problem> {
    request.entry.project = Some(project.to_owned());
    let body = request.body().await?;
    let wanted = recovery_request(project, &body, clock::now())?;
    let endpoint = &wanted.endpoint;
    let mut conversation = request.keyed_conversation();
    fate::check_endpoint(&mut conversation, project, endpoint).await?;
    let body = endpoints::recovery_body(wanted.since, wanted.until);
    let answer = if wanted.missing {
        let path = endpoints::replay_missing_path(project, endpoint);
        conversation.post_to_hosted(&path, body).await?
    } else {
        let path = endpoints::recover_path(project, endpoint);
        conversation.post(&path, body).await?
    };
    let task = endpoints::classify_recovery(&answer)?;
    let [task_id, status] = &task.ok_or(table::NO_ENDPOINT)?;
    let since = rfc3339(wanted.since);
    request.entry.message = format!("recovers {endpoint} since {since}");
    let recovering = Recovering { endpoint_id: endpoint, task_id, status };
    Ok(Success::document("recovering", &recovering))
}

fn recovery_request(project: &str, body: &[u8], now: SystemTime) -> Result<Wanted, Problem> {
    let names = ["endpointId", "since", "until", "missing"];
    let [endpoint, since, until, missing] = fields(body, names)?;
    let mut check = Check::of(project);
    let endpoint = check
        .required("endpointId", endpoint, |raw| json::text(raw, identifier::check_path_segment));
    let until = check.field("until", until, time);
    let since = check.required("since", since, |raw| {
        let since = time(raw)?;
        if since > now + SKEW {
            return Err("must not be in the future".to_owned());
        }
        match until.unwrap_or(now.max(since)).duration_since(since) {
            Err(_) => Err("must not be later than until".to_owned()),
            Ok(length) if length > LONGEST => {
                Err("must be at most 14 days before until, or before now".to_owned())
            }
            Ok(_) => Ok(since),
        }
    });
    let missing = check.field("missing", missing, flag).unwrap_or(false);
    check.end(endpoint.zip(since).map(|(endpoint, since)| Wanted {
        endpoint: endpoint.into_owned(),
        since,
        until,
        missing,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::named;
    use super::*;

    const NOW: Duration = Duration::from_secs(1_795_443_162);
    const DAY: Duration = Duration::from_hours(24);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + NOW
    }

    fn read(body: &str) -> Result<Wanted, Vec<&'static str>> {
        named(recovery_request("dev", body.as_bytes(), now()))
    }

    fn since(time: SystemTime) -> String {
        format!(r#"{{"endpointId":"ep_1","since":"{}"}}"#, rfc3339(time))
    }

    #[test]
    fn a_recovery_begins_within_two_weeks_and_five_minutes() {
        for ago in [Duration::ZERO, DAY * 14, LONGEST] {
            let wanted = Wanted {
                endpoint: "ep_1".to_owned(),
                since: now() - ago,
                until: None,
                missing: false,
            };
            assert_eq!(read(&since(now() - ago)), Ok(wanted), "{ago:?}");
        }
        let late = now() - LONGEST - Duration::from_secs(1);
        assert_eq!(read(&since(late)), Err(vec!["since"]));
        assert!(read(&since(now() + SKEW)).is_ok(), "a clock that is ahead");
        let future = now() + SKEW + Duration::from_secs(1);
        assert_eq!(read(&since(future)), Err(vec!["since"]));
    }

    #[test]
    fn the_end_of_a_recovery_bounds_its_beginning() {
        let between = |since, until| {
            let (since, until) = (rfc3339(since), rfc3339(until));
            read(&format!(r#"{{"endpointId":"ep_1","since":"{since}","until":"{until}"}}"#))
        };
        assert!(between(now() - DAY * 30, now() - DAY * 16).is_ok());
        assert_eq!(between(now() - DAY * 30, now() - DAY), Err(vec!["since"]));
        assert_eq!(between(now() - DAY, now() - DAY * 2), Err(vec!["since"]));
    }

    #[test]
    fn an_endpoint_is_a_plain_identifier_since_it_becomes_part_of_a_path() {
        for endpoint in ["..", ".", "a/b", "%2e%2e", "ep_1?x", "ep 1", "", "\\u00e4"] {
            let since = rfc3339(now());
            let body = format!(r#"{{"endpointId":"{endpoint}","since":"{since}"}}"#);
            assert_eq!(read(&body), Err(vec!["endpointId"]), "{endpoint}");
        }
    }

    #[test]
    fn every_violation_is_named_at_once() {
        assert_eq!(read(""), Err(vec!["endpointId", "since"]));
        let all = r#"{"endpointId":7,"since":"yesterday","until":7,"missing":"yes"}"#;
        assert_eq!(read(all), Err(vec!["endpointId", "until", "since", "missing"]));
    }
}
