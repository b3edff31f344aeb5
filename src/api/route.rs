//! Routes: which request asks for what.

use std::time::SystemTime;

use percent_encoding::percent_decode_str;

use crate::time::parse_rfc3339;
use crate::violation::Violation;

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

/// Which event is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The customer.
    pub project: String,
    /// The platform's identifier of the event.
    pub event_id: String,
}

/// The query of a request, not parsed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(String);

/// Which records are to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Begin anew with the day of this time.
    pub since: Option<SystemTime>,
    /// Only one in so many projects, others each day.
    pub one_in: u64,
}

/// Which dead letters are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Only those with a higher number.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
    /// Only those of this project.
    pub project: Option<String>,
    /// Only those with this reason.
    pub reason: Option<String>,
    /// Only those that wait for a decision.
    pub unresolved: bool,
}

impl Query {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Reads `project` and `eventId`.
    pub fn name(&self) -> Result<Name, Violation> {
        let (mut project, mut event_id) = (None, None);
        for (name, value) in self.pairs() {
            match name {
                "project" => project = decode(value),
                "eventId" => event_id = decode(value),
                _ => return Err(Violation::new("query", "may hold only project and eventId")),
            }
        }
        let required = |name| move || Violation::new(name, "is required, as text in UTF-8");
        Ok(Name {
            project: project.ok_or_else(required("project"))?,
            event_id: event_id.ok_or_else(required("eventId"))?,
        })
    }

    /// Reads `after`, a text.
    pub fn after(&self) -> Result<String, Violation> {
        let mut after = String::new();
        for (name, value) in self.pairs() {
            if name != "after" {
                return Err(Violation::new("query", "may hold only after"));
            }
            value.clone_into(&mut after);
        }
        Ok(after)
    }

    /// Reads `since` and `oneIn`.
    pub fn audit(&self) -> Result<Audit, Violation> {
        let mut audit = Audit {
            since: None,
            one_in: 1,
        };
        for (name, value) in self.pairs() {
            match name {
                "since" => {
                    let since = decode(value).and_then(|text| parse_rfc3339(&text));
                    let reason = "must be a time in RFC 3339";
                    audit.since = Some(since.ok_or_else(|| Violation::new("since", reason))?);
                }
                "oneIn" => {
                    let number = value.parse().ok();
                    audit.one_in = number
                        .filter(|number| (1..=MAX_ONE_IN).contains(number))
                        .ok_or_else(|| {
                            let reason = format!("must be a whole number from 1 to {MAX_ONE_IN}");
                            Violation::new("oneIn", reason)
                        })?;
                }
                _ => return Err(Violation::new("query", "may hold only since and oneIn")),
            }
        }
        Ok(audit)
    }

    /// Reads `after`, `limit`, `project`, `reason` and `unresolved`.
    pub fn selection(&self) -> Result<Selection, Violation> {
        let mut selection = Selection {
            after: 0,
            limit: 50,
            project: None,
            reason: None,
            unresolved: false,
        };
        for (name, value) in self.pairs() {
            let number = || value.parse::<u64>().ok();
            let text = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "after" => {
                    selection.after = number()
                        .ok_or_else(|| Violation::new("after", "must be a whole number"))?;
                }
                "limit" => {
                    selection.limit = number()
                        .and_then(|limit| usize::try_from(limit).ok())
                        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                        .ok_or_else(|| {
                            let reason = format!("must be a whole number from 1 to {MAX_LIMIT}");
                            Violation::new("limit", reason)
                        })?;
                }
                "project" => selection.project = Some(text()),
                "reason" => selection.reason = Some(text()),
                "unresolved" => {
                    selection.unresolved = value
                        .parse()
                        .map_err(|_| Violation::new("unresolved", "must be true or false"))?;
                }
                _ => {
                    let known = "may hold only after, limit, project, reason and unresolved";
                    return Err(Violation::new("query", known));
                }
            }
        }
        Ok(selection)
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

/// The fewest projects that an audit compares are one in so many.
const MAX_ONE_IN: u64 = 1_000;

/// The most dead letters that one request is about.
const MAX_LIMIT: usize = 100;

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
        let query = Query(query.to_owned());
        let segments: Vec<_> = path.split('/').skip(1).collect();
        let (allow, route) = match segments[..] {
            ["notifications"] => (POST, Self::Notify),
            ["notifications", project, event_id] => {
                let (project, event_id) = decode(project)
                    .zip(decode(event_id))
                    .ok_or(NoRoute::NotFound)?;
                (GET, Self::Lookup(Name { project, event_id }))
            }
            ["notifications", project, event_id, "erase"] => {
                let name = decode(project).zip(decode(event_id));
                let (project, event_id) = name.ok_or(NoRoute::NotFound)?;
                let operation = Operation::Erase(Name { project, event_id });
                (POST, Self::Operator(operation))
            }
            [
                "notifications",
                project,
                event_id,
                "deliveries",
                ref rest @ ..,
            ] => {
                let name = decode(project).zip(decode(event_id));
                let (project, event_id) = name.ok_or(NoRoute::NotFound)?;
                let name = Name { project, event_id };
                match rest {
                    [] => (GET, Self::Operator(Operation::Fate(name))),
                    [endpoint, "resend"] => {
                        let endpoint = decode(endpoint).ok_or(NoRoute::NotFound)?;
                        (POST, Self::Operator(Operation::Resend(name, endpoint)))
                    }
                    _ => return Err(NoRoute::NotFound),
                }
            }
            ["records"] => (GET, Self::Find(query)),
            ["dead-letters"] => (GET, Self::Operator(Operation::List(query))),
            ["dead-letters", "replay"] => (POST, Self::Operator(Operation::ReplayAll(query))),
            ["dead-letters", number] => {
                let number = parse(number)?;
                let operation = match method {
                    "DELETE" => Operation::Discard(number),
                    _ => Operation::Show(number),
                };
                (GET_DELETE, Self::Operator(operation))
            }
            ["dead-letters", number, "replay"] => {
                let operation = Operation::Replay(parse(number)?);
                (POST, Self::Operator(operation))
            }
            ["maintenance", "purge"] => (POST, Self::Operator(Operation::Purge)),
            ["maintenance", "audit"] => (POST, Self::Operator(Operation::Audit(query))),
            ["maintenance", "canary"] => (POST, Self::Operator(Operation::Canary)),
            ["audit", "findings"] => (GET, Self::Operator(Operation::Findings)),
            ["audit", "findings", id, "resolve"] => {
                let id = decode(id).ok_or(NoRoute::NotFound)?;
                (POST, Self::Operator(Operation::Resolve(id)))
            }
            ["gate", "open"] => (POST, Self::Operator(Operation::OpenGate)),
            ["metrics"] => (GET, Self::Operator(Operation::Metrics)),
            ["status"] => (GET, Self::Operator(Operation::Status)),
            ["projects", project, ref rest @ ..] => {
                let project = decode(project).ok_or(NoRoute::NotFound)?;
                let (allow, operation) = for_customer(method, project, rest, query)?;
                (allow, Self::Operator(operation))
            }
            ["svix", "operational"] => (POST, Self::Report),
            ["healthz"] => (GET, Self::Health),
            ["readyz"] => (GET, Self::Ready),
            ["console"] => (GET, Self::Console(Part::Page)),
            ["console", "page.css"] => (GET, Self::Console(Part::Style)),
            ["console", "page.js"] => (GET, Self::Console(Part::Script)),
            ["openapi.json"] => (GET, Self::OpenApi),
            _ => return Err(NoRoute::NotFound),
        };
        match route {
            route if allow.split(", ").any(|allowed| allowed == method) => Ok(route),
            Self::Operator(_) => Ok(Self::Operator(Operation::WrongMethod(allow))),
            _ => Err(NoRoute::MethodNotAllowed(allow)),
        }
    }
}

/// The operation below `/projects/{project}`, and the methods of its path.
fn for_customer(
    method: &str,
    project: String,
    rest: &[&str],
    query: Query,
) -> Result<(&'static str, Operation), NoRoute> {
    Ok(match rest {
        [] => (PUT, Operation::Application(project)),
        ["portal"] => (POST, Operation::Portal(project)),
        ["portal", "revoke"] => (POST, Operation::RevokePortal(project)),
        ["recover"] => (POST, Operation::Recover(project)),
        ["test-event"] => (POST, Operation::TestEvent(project)),
        ["token"] => (POST, Operation::ProjectToken(project)),
        ["erase"] => (POST, Operation::EraseProject(project, query)),
        ["hold"] if method == "DELETE" => (PUT_DELETE, Operation::Release(project)),
        ["hold"] => (PUT_DELETE, Operation::Hold(project)),
        _ => return Err(NoRoute::NotFound),
    })
}

fn parse(number: &str) -> Result<u64, NoRoute> {
    number.parse().map_err(|_| NoRoute::NotFound)
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
    fn refuses_a_query_that_names_no_event() {
        for (query, field) in [
            ("", "project"),
            ("eventId=evt_1", "project"),
            ("project=dev", "eventId"),
            ("project=dev&eventId=", "eventId"),
            ("project=dev&eventId=%FF", "eventId"),
            ("project=dev&id=evt_1", "query"),
        ] {
            let violation = Query(query.to_owned()).name().expect_err(query);
            assert_eq!(violation.field, field);
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
                Operation::EraseProject("dev".to_owned(), Query("after=7".to_owned())),
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
        let all = "/dead-letters?after=7&limit=2&project=d%65v&reason=not-json&unresolved=true";
        let Ok(Route::Operator(Operation::List(query))) = Route::of("GET", all) else {
            panic!("a list");
        };
        assert_eq!(
            query.selection(),
            Ok(Selection {
                after: 7,
                limit: 2,
                project: Some("dev".to_owned()),
                reason: Some("not-json".to_owned()),
                unresolved: true,
            })
        );
        let all = Route::of("POST", "/dead-letters/replay");
        let Ok(Route::Operator(Operation::ReplayAll(query))) = all else {
            panic!("a replay");
        };
        assert_eq!(query.selection().map(|selection| selection.limit), Ok(50));
    }

    #[test]
    fn refuses_a_query_that_makes_no_sense() {
        for (query, field) in [
            ("after=x", "after"),
            ("after=-1", "after"),
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit", "limit"),
            ("unresolved=1", "unresolved"),
            ("projct=dev", "query"),
        ] {
            let violation = Query(query.to_owned()).selection().expect_err(query);
            assert_eq!(violation.field, field);
        }
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
            let query = Query(format!("project=dev&eventId={encoded}"));
            prop_assert_eq!(Route::of("GET", &format!("/records?{}", query.0)), Ok(Route::Find(query.clone())));
            prop_assert_eq!(query.name(), Ok(named(&id)));
        }
    }
}
