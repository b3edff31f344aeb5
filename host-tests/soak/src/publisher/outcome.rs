//! The end of one delivery, as its sender sees it. Pub/Sub only looks at the status; the rest of
//! the reply is kept for the verdict and the history.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered {
        status: u16,
        said: Said,
    },
    /// The relay did not listen.
    Unreachable,
    /// The connection ended before the reply.
    Broken,
    /// The ack deadline passed without a reply.
    Late,
}

/// The statement of a reply about the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The relay has sent the event just now.
    Delivered,
    /// The relay has asked Svix, which had the event already.
    Found,
    /// The relay's record says that the event was delivered before.
    Duplicate,
    /// The relay keeps the event for an operator.
    DeadLettered,
    /// Any other reply, for example a problem.
    Other,
}

impl Outcome {
    pub fn of_reply(status: u16, body: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Body<'a> {
            status: &'a str,
            #[serde(default)]
            attempts: u32,
        }
        let body: Option<Body<'_>> = serde_json::from_slice(body).ok();
        let said = match body.map(|body| (body.status, body.attempts)) {
            Some(("delivered", 0)) => Said::Found,
            Some(("delivered", _)) => Said::Delivered,
            Some(("duplicate", _)) => Said::Duplicate,
            Some(("dead-lettered", _)) => Said::DeadLettered,
            _ => Said::Other,
        };
        Self::Answered { status, said }
    }

    /// Whether Pub/Sub counts it as an acknowledgement.
    pub fn is_ack(self) -> bool {
        matches!(self, Self::Answered { status: 102 | 200 | 201 | 202 | 204, .. })
    }

    /// Whether the relay replied with status 200 and `said`.
    pub fn says(self, said: Said) -> bool {
        self == Self::Answered { status: 200, said }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, said } => match said {
                Said::Delivered => write!(f, "{status} delivered"),
                Said::Found => write!(f, "{status} found"),
                Said::Duplicate => write!(f, "{status} duplicate"),
                Said::DeadLettered => write!(f, "{status} dead-lettered"),
                Said::Other => write!(f, "{status}"),
            },
            Self::Unreachable => f.write_str("refused"),
            Self::Broken => f.write_str("broken"),
            Self::Late => f.write_str("late"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_statuses_acknowledge_and_nothing_else_does() {
        let acks: Vec<u16> =
            (100..600).filter(|status| Outcome::of_reply(*status, b"").is_ack()).collect();
        assert_eq!(acks, [102, 200, 201, 202, 204]);
        for nack in [Outcome::Unreachable, Outcome::Broken, Outcome::Late] {
            assert!(!nack.is_ack());
        }
    }

    #[test]
    fn the_relays_statement_is_read_from_the_body() {
        let read = |status, body: &str| Outcome::of_reply(status, body.as_bytes());
        let body = r#"{"status":"duplicate","project":"dev","attempts":0}"#;
        assert!(read(200, body).says(Said::Duplicate));
        assert!(!read(503, body).says(Said::Duplicate));
        let problem = r#"{"type":"urn:x","status":503,"retryable":true}"#;
        for (status, body, shown) in [
            (200, body, "200 duplicate"),
            (200, r#"{"status":"delivered","attempts":2}"#, "200 delivered"),
            (200, r#"{"status":"delivered","attempts":0}"#, "200 found"),
            (200, r#"{"status":"dead-lettered","deadLetter":1}"#, "200 dead-lettered"),
            (503, problem, "503"),
            (502, "<html>", "502"),
        ] {
            assert_eq!(read(status, body).to_string(), shown);
        }
    }
}
