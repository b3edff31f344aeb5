//! The valid and invalid events of the model, and the forms in which they come.

use std::time::SystemTime;

use clock::rfc3339;

use crate::exactly_once::matrix::Form;
use crate::support::{Reply, World, event, unwrapped, wrapped};

/// How many events are valid; the others have the numbers from here on.
pub const VALID: usize = 4;
pub const EVENTS: usize = VALID + 3;

#[derive(Clone, Debug)]
pub struct Published {
    pub bytes: Vec<u8>,
    at: SystemTime,
}

/// The project of a valid event.
pub fn project(number: usize) -> &'static str {
    if number == 1 { "gigs" } else { "dev" }
}

impl Published {
    /// The event with this number, published at `at`.
    pub fn new(number: usize, at: SystemTime) -> Self {
        let time = rfc3339(at);
        let bytes = match number {
            0 => event("evt_0").replace("2026-11-23T14:12:42Z", &time),
            // The same id in another project is another event.
            1 => event("evt_0")
                .replace("2026-11-23T14:12:42Z", &time)
                .replace(r#""dev""#, r#""gigs""#),
            // Svix refuses such an id, and the spacing is odd.
            2 => format!(
                "\n{{ \"time\":\"{time}\",\"id\" :\"msg_\u{fc}\", \"type\":\"t\",\
                 \"project\":\"dev\",\"data\":{{\"n\":10.0}} }}"
            ),
            // Only Pub/Sub knows the age of this event.
            3 => r#"{"id":"evt_3","type":"t","project":"dev"}"#.to_owned(),
            4 => "nonsense".to_owned(),
            5 => format!(r#"{{"id":"evt_5","type":"t","time":"{time}"}}"#),
            _ => {
                return Self { bytes: b"\xff\xfe".to_vec(), at };
            }
        };
        Self { bytes: bytes.into_bytes(), at }
    }

    /// The payload that Svix should hold.
    pub fn payload(&self) -> &str {
        str::from_utf8(&self.bytes).unwrap_or_default().trim()
    }

    /// Delivers it once; `None` if the process dies meanwhile.
    pub async fn deliver(&self, world: &World, form: Form) -> Option<Reply> {
        let time = rfc3339(self.at);
        let (headers, body): (&[_], _) = match form {
            Form::Direct => (&[], self.bytes.clone()),
            Form::Wrapped => {
                let body = wrapped(&self.bytes).replace("2026-11-23T14:12:42.123Z", &time);
                (&[], body.into_bytes())
            }
            Form::Unwrapped => {
                let headers = unwrapped(&self.bytes).map(|(name, value)| {
                    let is_time = name == "x-goog-pubsub-publish-time";
                    (name, if is_time { time.as_str() } else { value })
                });
                return world.request_or_die("POST", "/notifications", &headers, &self.bytes).await;
            }
        };
        world.request_or_die("POST", "/notifications", headers, &body).await
    }
}
