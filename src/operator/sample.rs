//! A test event: it lets a new customer see a webhook arrive before anything has happened.

use std::borrow::Cow;
use std::time::SystemTime;

use super::request::{Check, OperatorRequest, fields};
use crate::api::problem::Problem;
use crate::api::reply::Success;
use crate::delivery::Occasion;
use crate::event::arrival::Arrival;
use crate::event::notification::Notification;
use crate::host;
use crate::host::clock;
use crate::identifier;
use crate::intake;
use crate::json;
use crate::time::rfc3339;

/// The beginning of the ids that only samples have.
pub const SAMPLES: &str = "svix-relay.test_";

/// The type of a sample event, unless another one is asked for.
const TEST_TYPE: &str = "svix-relay.test";

/// Sends a sample event to a project, the way every other event goes.
pub async fn test_event(
    request: &mut OperatorRequest<'_>,
    project: &str,
) -> Result<Success, Problem> {
    request.entry.project = Some(project.to_owned());
    let body = request.body().await?;
    let event_type = test_event_request(project, &body)?;
    send_sample(request, project, &event_type).await
}

/// Delivers a sample event of this type.
pub async fn send_sample(
    request: &mut OperatorRequest<'_>,
    project: &str,
    event_type: &str,
) -> Result<Success, Problem> {
    let event = sample(project, event_type, host::random().u64(..), clock::now());
    let notification = Notification::read(event.as_bytes(), Arrival::default());
    request.entry.set_arrival(notification.source, &notification.arrival);
    let (config, deadline) = (request.config, request.deadline);
    let event = notification.check().map_err(Problem::Rejected)?;
    let (arrival, occasion) = (&notification.arrival, Occasion::Direct);
    intake::deliver_event(config, &event, arrival, occasion, deadline, request.entry).await
}

/// The type of the sample that is to be sent.
fn test_event_request<'a>(project: &str, body: &'a [u8]) -> Result<Cow<'a, str>, Problem> {
    let [event_type] = fields(body, ["type"])?;
    let mut check = Check::of(project);
    let event_type = check.field("type", event_type, |raw| json::text(raw, identifier::check));
    check.end(Some(event_type.unwrap_or(Cow::Borrowed(TEST_TYPE))))
}

/// A sample event of the platform's shape, which says that it is a test. Customers' parsers may look
/// at the API version, so it is one of the platform's.
fn sample(project: &str, event_type: &str, number: u64, now: SystemTime) -> String {
    let time = rfc3339(now);
    // Type and project are plain identifiers: nothing in them needs escaping.
    format!(
        concat!(
            r#"{{"object":"event","id":"{samples}{number:016x}","type":"{event_type}","#,
            r#""project":"{project}","source":"urn:svix-relay:test","specversion":"1.0","#,
            r#""datacontenttype":"application/json","time":"{time}","version":"2023-01-30","#,
            r#""data":{{"object":"test","id":"test_{number:016x}","#,
            r#""message":"This is a test. Nothing has happened."}}}}"#,
        ),
        samples = SAMPLES,
        number = number,
        event_type = event_type,
        project = project,
        time = time,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::json;

    #[test]
    fn a_sample_has_any_type_that_svix_takes() {
        for (body, expected) in [
            ("", "svix-relay.test"),
            ("{}", "svix-relay.test"),
            (r#"{"type":"user\u002ecreated"}"#, "user.created"),
        ] {
            let event_type = test_event_request("dev", body.as_bytes());
            assert_eq!(event_type.as_deref(), Ok(expected));
        }
        for (event_type, reason) in [
            ("7", "must be a string"),
            ("null", "must be a string"),
            (r#""""#, "must not be empty"),
            (r#""user created""#, "may hold only letters, digits, '-', '_' and '.'"),
        ] {
            let body = format!(r#"{{"type":{event_type}}}"#);
            let invalid = Problem::invalid("type", reason);
            assert_eq!(test_event_request("dev", body.as_bytes()), Err(invalid));
        }
    }

    #[test]
    fn a_sample_is_a_valid_event_that_calls_itself_a_test() {
        let json = sample("dev", "user.created", 7, SystemTime::UNIX_EPOCH);
        let fields = json::pick(&json, Event::FIELDS).expect("an object");
        let event = Event::from_fields(&json, fields).expect("valid");
        assert_eq!(event.project, "dev");
        assert_eq!(event.event_type, "user.created");
        assert_eq!(event.time, Some(SystemTime::UNIX_EPOCH));
        assert_eq!(
            json,
            concat!(
                r#"{"object":"event","id":"svix-relay.test_0000000000000007","type":"user.created","#,
                r#""project":"dev","source":"urn:svix-relay:test","specversion":"1.0","#,
                r#""datacontenttype":"application/json","time":"1970-01-01T00:00:00Z","#,
                r#""version":"2023-01-30","data":{"object":"test","id":"test_0000000000000007","#,
                r#""message":"This is a test. Nothing has happened."}}"#,
            )
        );
    }
}
