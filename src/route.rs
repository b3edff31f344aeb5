//! Which request asks for what.

use percent_encoding::percent_decode_str;

/// What the relay can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /notifications`: deliver an event.
    Notify,
    /// `GET /notifications/{project}/{eventId}`: what is known of an event.
    Lookup {
        /// The customer.
        project: String,
        /// The platform's identifier of the event.
        event_id: String,
    },
    /// `GET /healthz`: is the relay alive?
    Health,
    /// `GET /readyz`: could it deliver?
    Ready,
}

/// Why a request asks for nothing the relay has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No such path.
    NotFound,
    /// The path exists, for other methods: the value of the `Allow` header.
    MethodNotAllowed(&'static str),
}

const POST: &str = "POST";
const GET: &str = "GET, HEAD";

impl Route {
    /// The route of a request with `method` and `path_with_query`.
    ///
    /// The segments of a path may be percent-encoded; the query is not looked at.
    pub fn of(method: &str, path_with_query: &str) -> Result<Self, NoRoute> {
        let path = path_with_query.split('?').next().unwrap_or_default();
        let segments: Vec<_> = path.split('/').skip(1).collect();
        let (allow, route) = match segments[..] {
            ["notifications"] => (POST, Self::Notify),
            ["notifications", project, event_id] => {
                let (project, event_id) = decode(project)
                    .zip(decode(event_id))
                    .ok_or(NoRoute::NotFound)?;
                (GET, Self::Lookup { project, event_id })
            }
            ["healthz"] => (GET, Self::Health),
            ["readyz"] => (GET, Self::Ready),
            _ => return Err(NoRoute::NotFound),
        };
        if allow.split(", ").any(|allowed| allowed == method) {
            Ok(route)
        } else {
            Err(NoRoute::MethodNotAllowed(allow))
        }
    }
}

fn decode(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::NON_ALPHANUMERIC;
    use proptest::prelude::*;

    #[test]
    fn finds_every_route() {
        assert_eq!(Route::of("POST", "/notifications"), Ok(Route::Notify));
        assert_eq!(Route::of("POST", "/notifications?a=b"), Ok(Route::Notify));
        assert_eq!(Route::of("GET", "/healthz"), Ok(Route::Health));
        assert_eq!(Route::of("HEAD", "/readyz"), Ok(Route::Ready));
        assert_eq!(
            Route::of("GET", "/notifications/dev/evt%2F1%20%C3%A4"),
            Ok(Route::Lookup {
                project: "dev".to_owned(),
                event_id: "evt/1 ä".to_owned(),
            })
        );
    }

    #[test]
    fn names_the_allowed_methods() {
        for (method, path, allow) in [
            ("GET", "/notifications", POST),
            ("HEAD", "/notifications", POST),
            ("POST", "/notifications/dev/evt_1", GET),
            ("post", "/notifications", POST),
            ("DELETE", "/healthz", GET),
        ] {
            assert_eq!(
                Route::of(method, path),
                Err(NoRoute::MethodNotAllowed(allow)),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn knows_no_other_path() {
        for path in [
            "",
            "/",
            "notifications",
            "/notifications/",
            "/notifications//evt_1",
            "/notifications/dev",
            "/notifications/dev/evt_1/",
            "/notifications/dev/%FF",
            "/Healthz",
        ] {
            assert_eq!(Route::of("POST", path), Err(NoRoute::NotFound), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_event_id_can_be_asked_for(id in "\\PC+") {
            let encoded = percent_encoding::percent_encode(id.as_bytes(), NON_ALPHANUMERIC);
            prop_assert_eq!(
                Route::of("GET", &format!("/notifications/dev/{encoded}")),
                Ok(Route::Lookup { project: "dev".to_owned(), event_id: id })
            );
        }
    }
}
