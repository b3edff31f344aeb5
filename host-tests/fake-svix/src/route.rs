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
    GetEventType(TypeName<'a>),
    DeleteEventType(TypeName<'a>),
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
            (["event-type", name], "GET") => Self::GetEventType(name),
            (["event-type", name], "DELETE") => Self::DeleteEventType(name),
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
            Self::Unknown => None,
        }
    }
}
