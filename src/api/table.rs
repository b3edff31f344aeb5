//! The table of failures: how each problem is answered. Data only.
//!
//! `openapi.json` names the same problems, and a test holds the two against each other.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub status: u16,
    pub severity: Severity,
    pub retry: Retry,
    /// The last part of the problem's `type`, and the log's `outcome`. Names never change.
    pub name: &'static str,
    pub title: &'static str,
}

/// How serious a problem is to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// Nothing is wrong.
    Info,
    /// The sender or Svix is at fault, or the trouble passes.
    Warning,
    /// An operator has to act.
    Error,
}

/// When the sender should come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The sender gains nothing by coming back.
    Never,
    /// In a few seconds: the trouble passes by itself.
    Soon,
    /// In a minute: an operator has to act first.
    Later,
    /// When Svix says so, or soon.
    Asked,
}

macro_rules! table {
    ($($row:ident: $status:literal $severity:ident $retry:ident $name:literal $title:literal;)*) => {
        $(pub const $row: Row = Row {
            status: $status,
            severity: Severity::$severity,
            retry: Retry::$retry,
            name: $name,
            title: $title,
        };)*

        pub const ROWS: &[Row] = &[$($row),*];
    };
}

table! {
    NOT_FOUND:                404 Warning Never "not-found"                "Nothing is here";
    METHOD_NOT_ALLOWED:       405 Warning Never "method-not-allowed"       "Not with this method";
    NO_RECORD:                404 Info    Never "no-record"                "No record of this event";
    NO_DEAD_LETTER:           404 Info    Never "no-dead-letter"           "No such dead letter";
    NO_FINDING:               404 Info    Never "no-finding"               "No such finding";
    NO_MESSAGE:               404 Info    Never "no-message"               "Svix has no such message";
    NO_ENDPOINT:              404 Info    Never "no-endpoint"              "No such endpoint";
    ENDPOINT_DISABLED:        422 Info    Never "endpoint-disabled"        "The endpoint is disabled";
    NOT_OFFERED:              422 Info    Never "not-offered"              "This Svix does not offer it";
    NO_CANARY:                404 Info    Never "no-canary"                "No project for the canary";
    CANARY_NOT_SENT:          422 Warning Never "canary-not-sent"          "Svix sends no webhook of the canary";
    NO_PROJECT_TOKENS:        404 Info    Never "no-project-tokens"        "No tokens for projects";
    UNAUTHORIZED:             401 Warning Never "unauthorized"             "The operator's token is needed";
    READ_ONLY:                403 Warning Never "read-only"                "The operator may only read";
    UNAUTHENTICATED:          401 Warning Never "unauthenticated"          "The sender is not known";
    NOT_SIGNED:               403 Warning Never "not-signed"               "The report is not signed by Svix";
    KEYS_UNAVAILABLE:         503 Error   Soon  "keys-unavailable"         "The keys of the senders can not be fetched";
    INVALID_QUERY:            400 Warning Never "invalid-query"            "The query is invalid";
    INVALID_REQUEST:          422 Warning Never "invalid-request"          "The request is invalid";
    NO_APPLICATION:           404 Info    Never "no-application"           "No application of this project";
    UNSUPPORTED_MEDIA_TYPE:   415 Warning Never "unsupported-media-type"   "The body must be JSON";
    CONTENT_ENCODED:          415 Warning Never "content-encoded"          "The body is encoded";
    BINARY_CLOUD_EVENT:       415 Warning Never "binary-cloud-event"       "A CloudEvent in binary mode";
    BODY_TOO_LARGE:           413 Warning Never "body-too-large"           "The body is too large";
    OVERLOADED:               503 Warning Soon  "overloaded"               "No room for a body of this size";
    SLOW_BODY:                408 Warning Soon  "slow-body"                "The body came too slowly";
    INCOMPLETE_BODY:          400 Warning Soon  "incomplete-body"          "The body ended too early";
    NOT_UTF8:                 400 Warning Never "not-utf8"                 "The event is not UTF-8";
    NOT_JSON:                 400 Warning Never "not-json"                 "Not JSON";
    NOT_BASE64:               400 Warning Never "not-base64"               "The message's data is not base64";
    TOO_DEEP:                 422 Warning Never "too-deep"                 "The event is nested too deeply";
    INVALID_EVENT:            422 Warning Never "invalid-event"            "The event is invalid";
    REFUSED_BY_SVIX:          422 Warning Never "refused-by-svix"          "Refused by Svix";
    EVENT_ID_TAKEN:           422 Warning Never "event-id-taken"           "The event's id is taken in Svix";
    HELD:                     503 Info    Later "held"                     "The project is held";
    RATE_LIMITED:             429 Warning Asked "rate-limited"             "Svix limits the rate";
    SVIX_UNAVAILABLE:         503 Warning Asked "svix-unavailable"         "Svix is not available";
    TOKEN_REFUSED:            503 Error   Later "token-refused"            "Svix refuses the token";
    APPLICATION_MISSING:      422 Error   Never "application-missing"      "Svix has no such application";
    OUTBOUND_DENIED:          503 Error   Later "outbound-denied"          "The host lets no request out to Svix";
    UNEXPECTED_STATUS:        503 Error   Asked "unexpected-status"        "The answer is not as expected";
    INVALID_CONFIGURATION:    503 Error   Later "invalid-configuration"    "The configuration is invalid";
    UNREADABLE_CONFIGURATION: 503 Error   Soon  "unreadable-configuration" "The configuration can not be read";
    STORE_FAILING:            503 Error   Soon  "store-failing"            "The key-value store is failing";
}
