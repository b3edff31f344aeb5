//! Routes: which request asks for what.

use super::query::{Name, Query, decode};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /notifications`: deliver an event.
    Notify,
    /// `GET /notifications/{project}/{eventId}`: the record of an event.
    Lookup(Name),
    /// `GET /records`: the same, for ids that a path can't carry. Browsers and proxies resolve `.` and `..`.
    Find(Query),
    Operator(Operation),
    /// `POST /svix/operational`: Svix reports what becomes of customers' endpoints.
    Report,
    /// `GET /healthz`: is the relay alive?
    Health,
    /// `GET /readyz`: could it deliver?
    Ready,
    /// `GET /console` and what belongs to it: the operator's page.
    Console(Part),
    /// `GET /openapi.json`: what the relay can be asked for.
    OpenApi,
}

/// The files of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Page,
    Style,
    Script,
}

/// A request of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `POST /maintenance/purge`: forget old records.
    Purge,
    /// `GET /notifications/{project}/{eventId}/deliveries`: what became of the event at each endpoint.
    Fate(Name),
    /// `POST …/deliveries/{endpoint}/resend`: send it to one endpoint again.
    Resend(Name, String),
    /// `POST /maintenance/audit`: compare the next records with Svix.
    Audit(Query),
    /// `POST /maintenance/canary`: send the canary, and see that it arrives.
    Canary,
    /// `GET /audit/findings`: what the audit has found.
    Findings,
    /// `POST /audit/findings/{id}/resolve`: an operator has seen to it.
    Resolve(String),
    /// `POST /gate/open`: ask Svix again at once.
    OpenGate,
    /// `GET /metrics`: every counter, for a monitoring system.
    Metrics,
    /// `GET /status`: what the console shows.
    Status,
    /// `PUT /projects/{project}`: create or change the customer's application in Svix.
    Application(String),
    /// `POST /projects/{project}/portal`: a link to the customer's portal in Svix.
    Portal(String),
    /// `POST /projects/{project}/portal/revoke`: end such links.
    RevokePortal(String),
    /// `POST /projects/{project}/recover`: send an endpoint again all that it has failed to take.
    Recover(String),
    /// `POST /projects/{project}/test-event`: send the customer a sample.
    TestEvent(String),
    /// `POST /notifications/{project}/{eventId}/erase`: delete its payload.
    Erase(Name),
    /// `POST /projects/{project}/erase`: delete all that is held of a project that has left.
    EraseProject(String, Query),
    /// `PUT /projects/{project}/hold`: keep the project's events as letters for a while.
    Hold(String),
    /// `DELETE /projects/{project}/hold`: let them go again.
    Release(String),
    /// `POST /projects/{project}/token`: a token that opens the project's events.
    ProjectToken(String),
    /// `GET /dead-letters`: the dead letters, in the order in which they came.
    List(Query),
    /// `GET /dead-letters/{n}`: one of them, with its body.
    Show(u64),
    /// `DELETE /dead-letters/{n}`: forget it.
    Discard(u64),
    /// `POST /dead-letters/{n}/replay`: try to deliver it.
    Replay(u64),
    /// `POST /dead-letters/replay`: try to deliver all that are unresolved.
    ReplayAll(Query),
    /// The path exists, but only for the methods of this `Allow` header. Only operators may know that.
    WrongMethod(&'static str),
}

impl Operation {
    /// The operation of a path, and the methods of the path.
    fn of(method: &str, path: &[&str], query: Query) -> Result<(&'static str, Self), NoRoute> {
        Ok(match *path {
            ["notifications", project, event_id, ref rest @ ..] => {
                let name = name(project, event_id)?;
                match *rest {
                    ["erase"] => (POST, Self::Erase(name)),
                    ["deliveries"] => (GET, Self::Fate(name)),
                    ["deliveries", id, "resend"] => (POST, Self::Resend(name, text(id)?)),
                    _ => return Err(NoRoute::NotFound),
                }
            }
            ["dead-letters"] => (GET, Self::List(query)),
            ["dead-letters", "replay"] => (POST, Self::ReplayAll(query)),
            ["dead-letters", n] if method == "DELETE" => (GET_DELETE, Self::Discard(number(n)?)),
            ["dead-letters", n] => (GET_DELETE, Self::Show(number(n)?)),
            ["dead-letters", n, "replay"] => (POST, Self::Replay(number(n)?)),
            ["maintenance", "purge"] => (POST, Self::Purge),
            ["maintenance", "audit"] => (POST, Self::Audit(query)),
            ["maintenance", "canary"] => (POST, Self::Canary),
            ["audit", "findings"] => (GET, Self::Findings),
            ["audit", "findings", id, "resolve"] => (POST, Self::Resolve(text(id)?)),
            ["gate", "open"] => (POST, Self::OpenGate),
            ["metrics"] => (GET, Self::Metrics),
            ["status"] => (GET, Self::Status),
            ["projects", project, ref rest @ ..] => {
                let project = text(project)?;
                match *rest {
                    [] => (PUT, Self::Application(project)),
                    ["portal"] => (POST, Self::Portal(project)),
                    ["portal", "revoke"] => (POST, Self::RevokePortal(project)),
                    ["recover"] => (POST, Self::Recover(project)),
                    ["test-event"] => (POST, Self::TestEvent(project)),
                    ["token"] => (POST, Self::ProjectToken(project)),
                    ["erase"] => (POST, Self::EraseProject(project, query)),
                    ["hold"] if method == "DELETE" => (PUT_DELETE, Self::Release(project)),
                    ["hold"] => (PUT_DELETE, Self::Hold(project)),
                    _ => return Err(NoRoute::NotFound),
                }
            }
            _ => return Err(NoRoute::NotFound),
        })
    }

    /// Whether a request with `method` changes or sends something, or gives a right away: not for a reader.
    pub fn acts(&self, method: &str) -> bool {
        !matches!(self, Self::WrongMethod(_)) && !matches!(method, "GET" | "HEAD")
    }

    /// The project whose token opens the operation, too.
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Fate(name) => Some(&name.project),
            _ => None,
        }
    }
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
const PUT: &str = "PUT";
const GET: &str = "GET, HEAD";
const GET_DELETE: &str = "GET, HEAD, DELETE";
const PUT_DELETE: &str = "PUT, DELETE";

impl Route {
    /// The route of a request with `method` and `path_with_query`.
    ///
    /// The segments of a path may be percent-encoded.
    pub fn of(method: &str, path_with_query: &str) -> Result<Self, NoRoute> {
        let (path, query) = path_with_query
            .split_once('?')
            .unwrap_or((path_with_query, ""));
        let query = Query::of(query);
        let segments: Vec<_> = path.split('/').skip(1).collect();
        let (allow, route) = match segments[..] {
            ["notifications"] => (POST, Self::Notify),
            ["notifications", project, event_id] => (GET, Self::Lookup(name(project, event_id)?)),
            ["records"] => (GET, Self::Find(query)),
            ["svix", "operational"] => (POST, Self::Report),
            ["healthz"] => (GET, Self::Health),
            ["readyz"] => (GET, Self::Ready),
            ["console"] => (GET, Self::Console(Part::Page)),
            ["console", "page.css"] => (GET, Self::Console(Part::Style)),
            ["console", "page.js"] => (GET, Self::Console(Part::Script)),
            ["openapi.json"] => (GET, Self::OpenApi),
            _ => {
                let (allow, operation) = Operation::of(method, &segments, query)?;
                (allow, Self::Operator(operation))
            }
        };
        match route {
            route if allow.split(", ").any(|allowed| allowed == method) => Ok(route),
            Self::Operator(_) => Ok(Self::Operator(Operation::WrongMethod(allow))),
            _ => Err(NoRoute::MethodNotAllowed(allow)),
        }
    }
}

fn name(project: &str, event_id: &str) -> Result<Name, NoRoute> {
    Ok(Name {
        project: text(project)?,
        event_id: text(event_id)?,
    })
}

fn text(segment: &str) -> Result<String, NoRoute> {
    decode(segment).ok_or(NoRoute::NotFound)
}

fn number(segment: &str) -> Result<u64, NoRoute> {
    segment.parse().map_err(|_| NoRoute::NotFound)
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
        assert_eq!(Route::of("POST", "/svix/operational"), Ok(Route::Report));
        assert_eq!(Route::of("GET", "/healthz"), Ok(Route::Health));
        assert_eq!(Route::of("HEAD", "/readyz"), Ok(Route::Ready));
        for (path, part) in [
            ("/console", Part::Page),
            ("/console/page.css", Part::Style),
            ("/console/page.js", Part::Script),
        ] {
            assert_eq!(Route::of("GET", path), Ok(Route::Console(part)));
        }
        assert_eq!(Route::of("GET", "/openapi.json"), Ok(Route::OpenApi));
        assert_eq!(
            Route::of("GET", "/notifications/dev/evt%2F1%20%C3%A4"),
            Ok(Route::Lookup(named("evt/1 ä")))
        );
    }

    /// The event of project `dev` with this id.
    fn named(event_id: &str) -> Name {
        Name {
            project: "dev".to_owned(),
            event_id: event_id.to_owned(),
        }
    }

    #[test]
    fn finds_the_routes_of_operators() {
        for (method, path, operation) in [
            ("GET", "/dead-letters/7", Operation::Show(7)),
            ("DELETE", "/dead-letters/7", Operation::Discard(7)),
            ("POST", "/dead-letters/7/replay", Operation::Replay(7)),
            (
                "POST",
                "/dead-letters/7",
                Operation::WrongMethod(GET_DELETE),
            ),
            (
                "GET",
                "/dead-letters/7/replay",
                Operation::WrongMethod(POST),
            ),
            ("DELETE", "/dead-letters", Operation::WrongMethod(GET)),
            ("POST", "/maintenance/purge", Operation::Purge),
            ("GET", "/maintenance/purge", Operation::WrongMethod(POST)),
            ("GET", "/metrics", Operation::Metrics),
            ("HEAD", "/status", Operation::Status),
            (
                "POST",
                "/projects/dev/portal",
                Operation::Portal("dev".to_owned()),
            ),
            (
                "POST",
                "/projects/d%65v/test-event",
                Operation::TestEvent("dev".to_owned()),
            ),
            (
                "POST",
                "/projects/dev/token",
                Operation::ProjectToken("dev".to_owned()),
            ),
            (
                "PUT",
                "/projects/dev/hold",
                Operation::Hold("dev".to_owned()),
            ),
            (
                "DELETE",
                "/projects/dev/hold",
                Operation::Release("dev".to_owned()),
            ),
            (
                "POST",
                "/projects/dev/hold",
                Operation::WrongMethod(PUT_DELETE),
            ),
            (
                "POST",
                "/notifications/dev/evt_1/erase",
                Operation::Erase(named("evt_1")),
            ),
            (
                "POST",
                "/projects/dev/erase?after=7",
                Operation::EraseProject("dev".to_owned(), Query::of("after=7")),
            ),
            ("GET", "/projects/dev/portal", Operation::WrongMethod(POST)),
            (
                "PUT",
                "/projects/dev",
                Operation::Application("dev".to_owned()),
            ),
            ("POST", "/projects/dev", Operation::WrongMethod(PUT)),
            (
                "POST",
                "/projects/dev/portal/revoke",
                Operation::RevokePortal("dev".to_owned()),
            ),
            (
                "POST",
                "/projects/dev/recover",
                Operation::Recover("dev".to_owned()),
            ),
            ("PUT", "/projects/dev/recover", Operation::WrongMethod(POST)),
        ] {
            let route = Route::Operator(operation);
            assert_eq!(Route::of(method, path), Ok(route), "{method} {path}");
        }
        for (method, path, query) in [
            ("GET", "/dead-letters?after=7", "after=7"),
            ("GET", "/dead-letters", ""),
        ] {
            let route = Route::Operator(Operation::List(Query::of(query)));
            assert_eq!(Route::of(method, path), Ok(route));
        }
        let all = Route::Operator(Operation::ReplayAll(Query::of("")));
        assert_eq!(Route::of("POST", "/dead-letters/replay"), Ok(all));
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
            "/dead-letters/",
            "/dead-letters/x",
            "/dead-letters/-1",
            "/dead-letters/7/undo",
            "/projects",
            "/projects/",
            "/projects/dev/",
            "/projects//portal",
            "/projects/dev/portal/",
            "/projects/dev/portal/else",
            "/projects/dev/else",
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
                Ok(Route::Lookup(named(&id)))
            );
            let query = format!("project=dev&eventId={encoded}");
            let path = format!("/records?{query}");
            let query = Query::of(&query);
            prop_assert_eq!(Route::of("GET", &path), Ok(Route::Find(query.clone())));
            prop_assert_eq!(query.name(), Ok(named(&id)));
        }
    }
}
