//! The routes, by method and path.

use http::Method;

use crate::script::Target;

// The parts of a path.
type App<'a> = &'a str;
type MessageId<'a> = &'a str;
type EndpointId<'a> = &'a str;
type TypeName<'a> = &'a str;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Health {
        /// Whether the answer tells of the parts. Only the open-source server's does.
        in_parts: bool,
    },
    CreateMessage(App<'a>),
    ListMessages(App<'a>),
    GetMessage(App<'a>, MessageId<'a>),
    ExpungeMessage(App<'a>, MessageId<'a>),
    /// The endpoints of a message.
    ListDestinations(App<'a>, MessageId<'a>),
    /// The attempts of a message.
    ListAttempts(App<'a>, MessageId<'a>),
    Resend(App<'a>, MessageId<'a>, EndpointId<'a>),
    CreateEndpoint(App<'a>),
    ListEndpoints(App<'a>),
    GetEndpoint(App<'a>, EndpointId<'a>),
    PatchEndpoint(App<'a>, EndpointId<'a>),
    DeleteEndpoint(App<'a>, EndpointId<'a>),
    Recover(App<'a>, EndpointId<'a>),
    /// Only the hosted Svix has this route.
    ReplayMissing(App<'a>, EndpointId<'a>),
    CreateApplication,
    GetApplication(App<'a>),
    PatchApplication(App<'a>),
    DeleteApplication(App<'a>),
    OpenPortal(App<'a>),
    /// Only the hosted Svix has this route.
    RevokePortals(App<'a>),
    CreateEventType,
    ListEventTypes,
    GetEventType(TypeName<'a>),
    DeleteEventType(TypeName<'a>),
    /// The path has only these methods.
    WrongMethod(&'static str),
    Unknown,
}

impl<'a> Route<'a> {
    /// A route of the open-source server, or of the hosted Svix. Svix's routes end in a slash. Here they also
    /// work without it.
    pub fn of(method: &Method, path: &'a str, is_hosted: bool) -> Self {
        let path = path.split('?').next().unwrap_or(path);
        let Some(path) = path.strip_prefix("/api/v1/") else {
            return Self::Unknown;
        };
        let segments: Vec<_> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        match (segments.as_slice(), method.as_str()) {
            (["health"], "GET") => Self::Health {
                in_parts: !is_hosted,
            },
            (["app", app, "msg"], "POST") => Self::CreateMessage(app),
            (["app", app, "msg"], "GET") => Self::ListMessages(app),
            (["app", app, "msg", id], "GET") => Self::GetMessage(app, id),
            (["app", app, "msg", id, "content"], "DELETE") => Self::ExpungeMessage(app, id),
            (["app", app, "msg", id, "endpoint"], "GET") => Self::ListDestinations(app, id),
            (["app", app, "msg", id, "endpoint", endpoint, "resend"], "POST") => {
                Self::Resend(app, id, endpoint)
            }
            (["app", app, "attempt", "msg", id], "GET") => Self::ListAttempts(app, id),
            (["app", app, "endpoint"], "POST") => Self::CreateEndpoint(app),
            (["app", app, "endpoint"], "GET") => Self::ListEndpoints(app),
            (["app", app, "endpoint", id], "GET") => Self::GetEndpoint(app, id),
            (["app", app, "endpoint", id], "PATCH") => Self::PatchEndpoint(app, id),
            (["app", app, "endpoint", id], "DELETE") => Self::DeleteEndpoint(app, id),
            (["app", app, "endpoint", endpoint, "recover"], "POST") => Self::Recover(app, endpoint),
            (["app", app, "endpoint", endpoint, "replay-missing"], "POST") if is_hosted => {
                Self::ReplayMissing(app, endpoint)
            }
            (["app"], "POST") => Self::CreateApplication,
            (["app", app], "GET") => Self::GetApplication(app),
            (["app", app], "PATCH") => Self::PatchApplication(app),
            (["app", app], "DELETE") => Self::DeleteApplication(app),
            (["auth", "app-portal-access", app], "POST") => Self::OpenPortal(app),
            (["auth", "app", app, "expire-all"], "POST") if is_hosted => Self::RevokePortals(app),
            (["event-type"], "POST") => Self::CreateEventType,
            (["event-type"], "GET") => Self::ListEventTypes,
            (["event-type", name], "GET") => Self::GetEventType(name),
            (["event-type", name], "DELETE") => Self::DeleteEventType(name),
            (["app", _, "msg" | "endpoint"] | ["event-type"], _) => Self::WrongMethod("GET, POST"),
            (
                ["app"]
                | ["auth", "app-portal-access", _]
                | ["app", _, "msg", _, "endpoint", _, "resend"]
                | ["app", _, "endpoint", _, "recover"],
                _,
            ) => Self::WrongMethod("POST"),
            (["app", _, "msg", _, "content"], _) => Self::WrongMethod("DELETE"),
            (["app", _] | ["app", _, "endpoint", _], _) => Self::WrongMethod("GET, PATCH, DELETE"),
            (["event-type", _], _) => Self::WrongMethod("GET, DELETE"),
            (
                ["health"]
                | ["app", _, "msg", _]
                | ["app", _, "msg", _, "endpoint"]
                | ["app", _, "attempt", "msg", _],
                _,
            ) => Self::WrongMethod("GET"),
            _ => Self::Unknown,
        }
    }

    /// The target of the faults that this route meets.
    pub fn target(&self) -> Option<Target> {
        match self {
            Self::CreateMessage(..) | Self::GetMessage(..) => Some(Target::Messages),
            Self::CreateApplication
            | Self::GetApplication(..)
            | Self::PatchApplication(..)
            | Self::DeleteApplication(..) => Some(Target::Applications),
            Self::OpenPortal(..) | Self::RevokePortals(..) => Some(Target::Portals),
            Self::CreateEventType | Self::GetEventType(..) | Self::DeleteEventType(..) => {
                Some(Target::EventTypes)
            }
            Self::ListMessages(..) => Some(Target::MessageLists),
            Self::ExpungeMessage(..)
            | Self::ListDestinations(..)
            | Self::ListAttempts(..)
            | Self::Resend(..)
            | Self::CreateEndpoint(..)
            | Self::ListEndpoints(..)
            | Self::GetEndpoint(..)
            | Self::PatchEndpoint(..)
            | Self::DeleteEndpoint(..)
            | Self::Recover(..)
            | Self::ReplayMissing(..) => Some(Target::Deliveries),
            Self::Health { .. } | Self::ListEventTypes | Self::WrongMethod(_) | Self::Unknown => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A route of the open-source server.
    fn of<'a>(method: &Method, path: &'a str) -> Route<'a> {
        Route::of(method, path, false)
    }

    #[test]
    fn finds_the_route_with_and_without_a_slash_at_the_end() {
        let get = |path| of(&Method::GET, path);
        let (app, id) = ("dev", "evt_1");
        for end in ["", "/", "/?with_content=false", "?with_content=false"] {
            let path = format!("/api/v1/app/dev/msg/evt_1{end}");
            assert_eq!(of(&Method::GET, &path), Route::GetMessage(app, id));
            let path = format!("/api/v1/app/dev/msg{end}");
            assert_eq!(of(&Method::POST, &path), Route::CreateMessage(app));
            assert_eq!(of(&Method::GET, &path), Route::ListMessages(app));
        }
        let health = Route::Health { in_parts: true };
        assert_eq!(get("/api/v1/health/"), health);
    }

    #[test]
    fn finds_the_routes_for_customers() {
        let (get, post) = (&Method::GET, &Method::POST);
        let (app, name) = ("dev", "a.b");
        for end in ["", "/", "/?get_if_exists=true"] {
            let path = format!("/api/v1/app{end}");
            assert_eq!(of(post, &path), Route::CreateApplication);
            assert_eq!(of(get, &path), Route::WrongMethod("POST"));
            let path = format!("/api/v1/auth/app-portal-access/dev{end}");
            assert_eq!(of(post, &path), Route::OpenPortal(app));
            let path = format!("/api/v1/event-type{end}");
            assert_eq!(of(post, &path), Route::CreateEventType);
            assert_eq!(of(get, &path), Route::ListEventTypes);
            let path = format!("/api/v1/event-type/a.b{end}");
            assert_eq!(of(get, &path), Route::GetEventType(name));
            assert_eq!(of(post, &path), Route::WrongMethod("GET, DELETE"));
            let delete = of(&Method::DELETE, &path);
            assert_eq!(delete, Route::DeleteEventType(name));
            let path = format!("/api/v1/app/dev{end}");
            let delete = of(&Method::DELETE, &path);
            assert_eq!(delete, Route::DeleteApplication(app));
            let changed = of(&Method::PATCH, &path);
            assert_eq!(changed, Route::PatchApplication(app));
            assert_eq!(of(get, &path), Route::GetApplication(app));
            let put = of(&Method::PUT, &path);
            assert_eq!(put, Route::WrongMethod("GET, PATCH, DELETE"));
        }
    }

    #[test]
    fn finds_the_routes_of_deliveries() {
        let (get, post, delete) = (&Method::GET, &Method::POST, &Method::DELETE);
        let (app, id, endpoint) = ("dev", "evt_1", "ep_1");
        let message = "/api/v1/app/dev/msg/evt_1";
        for end in ["", "/", "/?limit=5"] {
            let path = format!("{message}/content{end}");
            assert_eq!(of(delete, &path), Route::ExpungeMessage(app, id));
            assert_eq!(of(get, &path), Route::WrongMethod("DELETE"));
            let path = format!("{message}/endpoint{end}");
            assert_eq!(of(get, &path), Route::ListDestinations(app, id));
            assert_eq!(of(post, &path), Route::WrongMethod("GET"));
            let path = format!("{message}/endpoint/ep_1/resend{end}");
            assert_eq!(of(post, &path), Route::Resend(app, id, endpoint));
            assert_eq!(of(get, &path), Route::WrongMethod("POST"));
            let path = format!("/api/v1/app/dev/attempt/msg/evt_1{end}");
            assert_eq!(of(get, &path), Route::ListAttempts(app, id));
            let path = format!("/api/v1/app/dev/endpoint/ep_1/recover{end}");
            assert_eq!(of(post, &path), Route::Recover(app, endpoint));
        }
    }

    #[test]
    fn only_the_hosted_svix_has_some_routes() {
        let (app, endpoint) = ("dev", "ep_1");
        for (path, route) in [
            (
                "/api/v1/app/dev/endpoint/ep_1/replay-missing/",
                Route::ReplayMissing(app, endpoint),
            ),
            (
                "/api/v1/auth/app/dev/expire-all/",
                Route::RevokePortals(app),
            ),
        ] {
            assert_eq!(Route::of(&Method::POST, path, true), route);
            assert_eq!(Route::of(&Method::POST, path, false), Route::Unknown);
        }
    }

    #[test]
    fn does_not_take_any_other_path_or_method() {
        let delete = |path| of(&Method::DELETE, path);
        assert_eq!(
            delete("/api/v1/app/dev/msg/"),
            Route::WrongMethod("GET, POST")
        );
        assert_eq!(
            delete("/api/v1/app/dev/msg/evt_1/"),
            Route::WrongMethod("GET")
        );
        for path in [
            "/",
            "/api/v1/",
            "/api/v2/health/",
            "/api/v1/app/dev/msg/1/2/",
        ] {
            assert_eq!(of(&Method::GET, path), Route::Unknown, "{path}");
        }
    }
}
