//! Event types: Svix shows customers, and lets them choose among, only the types that it knows.

use super::{Answer, Error};

pub const CREATE_PATH: &str = "/api/v1/event-type/";

pub fn lookup_path(event_type: &str) -> String {
    format!("{CREATE_PATH}{event_type}/")
}

/// The body of the request that creates an event type. Customers see the description and the group: what stands
/// before the first dot. An operator who knows better ones may write them in Svix, where the relay never changes
/// them.
pub fn body(event_type: &str) -> Vec<u8> {
    let group = match event_type.split_once('.') {
        Some((group, _)) if !group.is_empty() => format!(r#","groupName":"{group}""#),
        _ => String::new(),
    };
    format!(r#"{{"name":"{event_type}","description":"{event_type}"{group}}}"#).into_bytes()
}

/// Whether Svix knows the event type. An archived type is known, too: an operator who archived it
/// doesn't want to see it again.
pub fn classify_lookup(answer: &Answer) -> Result<bool, Error> {
    match answer.status {
        200 => named(answer).map(|()| true),
        404 => Ok(false),
        _ => Err(answer.refused_or_unexpected()),
    }
}

/// Fails unless the answer shows an event type, as Svix does.
fn named(answer: &Answer) -> Result<(), Error> {
    match answer.fields(["name"]) {
        Some([Some(_)]) => Ok(()),
        _ => Err(answer.not_as_promised()),
    }
}

/// Fails unless Svix now has the event type that it was to create. A conflict means that another instance has
/// just created it.
pub fn classify_create(answer: &Answer) -> Result<(), Error> {
    match answer.status {
        200 | 201 => named(answer),
        409 => Ok(()),
        _ => Err(answer.refused_or_unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::answer;
    use super::super::{Cause, Refusal};
    use super::*;

    #[test]
    fn requests_have_the_form_of_the_api() {
        let path = "/api/v1/event-type/user.created/";
        assert_eq!(lookup_path("user.created"), path);
        let text = br#"{"name":"user.created","description":"user.created","groupName":"user"}"#;
        assert_eq!(body("user.created"), text);
    }

    #[test]
    fn a_missing_type_is_told_from_a_failure() {
        let look_up = |status| classify_lookup(&answer(status, r#"{"name":"t"}"#));
        assert_eq!(look_up(200), Ok(true));
        assert_eq!(look_up(404), Ok(false));
        let unexpected = Error::from(Cause::NotSvix(302));
        assert_eq!(look_up(302), Err(unexpected));
    }

    #[test]
    fn creating_an_existing_type_succeeds() {
        for status in [200, 201, 409] {
            assert_eq!(classify_create(&answer(status, r#"{"name":"t"}"#)), Ok(()));
        }
        let refused = classify_create(&answer(422, r#"{"detail":"no testsk_secret"}"#));
        let refusal = Refusal { status: 422, code: None, detail: Some("no [redacted]".to_owned()) };
        assert_eq!(refused, Err(Error::Refused(refusal)));
        let unexpected = Error::from(Cause::NotSvix(404));
        assert_eq!(classify_create(&answer(404, "")), Err(unexpected));
    }
}
