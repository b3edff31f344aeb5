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
    /// The operation takes no parameters. An unknown one, such as `dryRun`, is refused.
    WrongQuery,
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

    fn has_parameters(&self) -> bool {
        matches!(self, Self::List(_) | Self::ReplayAll(_) | Self::Audit(_) | Self::EraseProject(..))
    }

    /// Whether the body of a request says more than its path.
    pub fn takes_body(&self) -> bool {
        matches!(
            self,
            Self::Application(_)
                | Self::Portal(_)
                | Self::RevokePortal(_)
                | Self::Recover(_)
                | Self::ProjectToken(_)
                | Self::TestEvent(_)
        )
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
        let (path, query) = path_with_query.split_once('?').unwrap_or((path_with_query, ""));
        let is_empty = query.is_empty();
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
        let is_allowed = allow.split(", ").any(|allowed| allowed == method);
        match route {
            Self::Operator(_) if !is_allowed => Ok(Self::Operator(Operation::WrongMethod(allow))),
            _ if !is_allowed => Err(NoRoute::MethodNotAllowed(allow)),
            Self::Operator(operation)
                if !is_empty && operation.acts(method) && !operation.has_parameters() =>
            {
                Ok(Self::Operator(Operation::WrongQuery))
            }
            route => Ok(route),
        }
    }

    /// Whether monitoring asks for this every few seconds, so that a success leaves no line.
    pub fn is_routine(&self) -> bool {
        matches!(
            self,
            Self::Health | Self::Ready | Self::Operator(Operation::Metrics | Operation::Status)
        )
    }
}

fn name(project: &str, event_id: &str) -> Result<Name, NoRoute> {
    Ok(Name { project: text(project)?, event_id: text(event_id)? })
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

    /// The event of project `dev` with this id.
    fn named(event_id: &str) -> Name {
        Name { project: "dev".to_owned(), event_id: event_id.to_owned() }
    }

    #[test]
    fn decodes_each_segment_and_leaves_the_query_as_it_came() {
        let (dev, after) = ("dev".to_owned(), Query::of("after=%37"));
        for (method, target, route) in [
            ("POST", "/notifications?a=b", Route::Notify),
            ("GET", "/notifications/dev/evt%2F1%20%C3%A4", Route::Lookup(named("evt/1 ä"))),
            (
                "POST",
                "/projects/d%65v/erase?after=%37",
                Route::Operator(Operation::EraseProject(dev, after.clone())),
            ),
            ("GET", "/dead-letters?after=%37", Route::Operator(Operation::List(after))),
            ("POST", "/dead-letters/replay", Route::Operator(Operation::ReplayAll(Query::of("")))),
        ] {
            assert_eq!(Route::of(method, target), Ok(route), "{method} {target}");
        }
    }

    #[test]
    fn tells_operators_alone_which_methods_their_paths_have() {
        for (method, path, allow) in [
            ("POST", "/dead-letters/7", GET_DELETE),
            ("GET", "/dead-letters/7/replay", POST),
            ("DELETE", "/dead-letters", GET),
            ("GET", "/maintenance/purge", POST),
            ("POST", "/projects/dev/hold", PUT_DELETE),
            ("GET", "/projects/dev/portal", POST),
            ("POST", "/projects/dev", PUT),
            ("PUT", "/projects/dev/recover", POST),
        ] {
            let operation = Operation::WrongMethod(allow);
            assert!(!operation.acts(method), "a reader may learn that, too");
            let route = Route::Operator(operation);
            assert_eq!(Route::of(method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn an_operation_that_acts_takes_no_parameter_that_it_does_not_know() {
        for (method, path) in [
            ("DELETE", "/dead-letters/7?dryRun=true"),
            ("PUT", "/projects/dev/hold?until=2026-12-01T00:00:00Z"),
            ("POST", "/maintenance/purge?dryRun=true"),
        ] {
            let route = Route::Operator(Operation::WrongQuery);
            assert_eq!(Route::of(method, path), Ok(route), "{path}");
        }
        let metrics = Route::Operator(Operation::Metrics);
        assert_eq!(Route::of("GET", "/metrics?collect=all"), Ok(metrics));
        let wrong = Route::Operator(Operation::WrongMethod(GET));
        assert_eq!(Route::of("POST", "/metrics?collect=all"), Ok(wrong));
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
