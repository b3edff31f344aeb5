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
    /// The `detail`, if all occurrences have the same. Else it is empty.
    pub detail: &'static str,
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
    ($(
        $row:ident: $status:literal $severity:ident $retry:ident $name:literal $title:literal
            $($detail:literal)?;
    )*) => {
        $(pub const $row: &Row = &Row {
            status: $status,
            severity: Severity::$severity,
            retry: Retry::$retry,
            name: $name,
            title: $title,
            detail: concat!($($detail)?),
        };)*

        pub const ROWS: &[&Row] = &[$($row),*];
    };
}

table! {
    NOT_FOUND:                404 Warning Never "not-found"                "Nothing is here"
        "no such path";
    METHOD_NOT_ALLOWED:       405 Warning Never "method-not-allowed"       "Not with this method";
    NO_RECORD:                404 Info    Never "no-record"                "No record of this event"
        "the event never came, is to come again, was cut off by a crash, or its record has expired: \
         then Svix may have it";
    NO_DEAD_LETTER:           404 Info    Never "no-dead-letter"           "No such dead letter"
        "never written, discarded, or its body is lost";
    NO_FINDING:               404 Info    Never "no-finding"               "No such finding"
        "never found, or resolved";
    NO_MESSAGE:               404 Info    Never "no-message"               "Svix has no such message"
        "lost, not stored yet, or the event is a dead letter";
    NO_ENDPOINT:              404 Info    Never "no-endpoint"              "No such endpoint"
        "the customer has no endpoint with this id";
    ENDPOINT_DISABLED:        422 Info    Never "endpoint-disabled"        "The endpoint is disabled"
        "Svix or the customer has disabled it";
    NOT_OFFERED:              422 Info    Never "not-offered"              "This Svix does not offer it"
        "only the hosted Svix does this";
    NO_CANARY:                404 Info    Never "no-canary"                "No project for the canary"
        "canary_project is not set";
    CANARY_NOT_SENT:          422 Warning Never "canary-not-sent"          "Svix sends no webhook of the canary"
        "Svix has an earlier canary, and has not tried to send it to an endpoint";
    NO_PROJECT_TOKENS:        404 Info    Never "no-project-tokens"        "No tokens for projects"
        "project_token_secret is not set";
    UNAUTHORIZED:             401 Warning Never "unauthorized"             "The operator's token is needed"
        "send authorization: Bearer and an operator's token";
    READ_ONLY:                403 Warning Never "read-only"                "The operator may only read"
        "ask an operator whose token may act";
    UNAUTHENTICATED:          401 Warning Never "unauthenticated"          "The sender is not known"
        // The same for every flaw: a stranger must not learn by trying.
        "send authorization: Bearer and a token that ingest_auth accepts";
    NOT_SIGNED:               403 Warning Never "not-signed"               "The report is not signed by Svix"
        "sign it with svix_webhook_secret, and send it within five minutes";
    KEYS_UNAVAILABLE:         503 Error   Soon  "keys-unavailable"         "The keys of the senders can not be fetched";
    INVALID_QUERY:            400 Warning Never "invalid-query"            "The query is invalid";
    INVALID_REQUEST:          422 Warning Never "invalid-request"          "The request is invalid";
    NO_APPLICATION:           404 Info    Never "no-application"           "No application of this project"
        "create it in Svix with the project as its uid, or set create_applications";
    UNSUPPORTED_MEDIA_TYPE:   415 Warning Never "unsupported-media-type"   "The body must be JSON"
        "send application/json or application/cloudevents+json";
    CONTENT_ENCODED:          415 Warning Never "content-encoded"          "The body is encoded";
    BINARY_CLOUD_EVENT:       415 Warning Never "binary-cloud-event"       "A CloudEvent in binary mode"
        "the body is the event's data alone; send the whole event as one JSON object \
         (application/cloudevents+json)";
    BODY_TOO_LARGE:           413 Warning Never "body-too-large"           "The body is too large";
    OVERLOADED:               503 Warning Soon  "overloaded"               "No room for a body of this size"
        "other large bodies are being read; come again";
    SLOW_BODY:                408 Warning Soon  "slow-body"                "The body came too slowly"
        "a notification must end within retry_budget_ms";
    INCOMPLETE_BODY:          400 Warning Soon  "incomplete-body"          "The body ended too early"
        "the connection ended before the body did";
    NOT_UTF8:                 400 Warning Never "not-utf8"                 "The event is not UTF-8"
        "the event's bytes are not UTF-8";
    NOT_JSON:                 400 Warning Never "not-json"                 "Not JSON";
    NOT_BASE64:               400 Warning Never "not-base64"               "The message's data is not base64"
        "message.data is not base64";
    TOO_DEEP:                 422 Warning Never "too-deep"                 "The event is nested too deeply";
    INVALID_EVENT:            422 Warning Never "invalid-event"            "The event is invalid";
    REFUSED_BY_SVIX:          422 Warning Never "refused-by-svix"          "Refused by Svix";
    EVENT_ID_TAKEN:           422 Warning Never "event-id-taken"           "The event's id is taken in Svix"
        "Svix answers 409, yet the project's application has no such message";
    HELD:                     503 Info    Later "held"                     "The project is held"
        "an operator holds the events of this project";
    RATE_LIMITED:             429 Warning Asked "rate-limited"             "Svix limits the rate";
    SVIX_UNAVAILABLE:         503 Warning Asked "svix-unavailable"         "Svix is not available";
    TOKEN_REFUSED:            503 Error   Later "token-refused"            "Svix refuses the token"
        "check svix_token, its plan, and that svix_url is of the same region";
    APPLICATION_MISSING:      422 Error   Never "application-missing"      "Svix has no such application"
        "create the application, or set create_applications";
    OUTBOUND_DENIED:          503 Error   Later "outbound-denied"          "The host lets no request out to Svix"
        "add the origin of Svix to allowed_outbound_hosts";
    UNEXPECTED_STATUS:        503 Error   Asked "unexpected-status"        "The answer is not as expected";
    INVALID_CONFIGURATION:    503 Error   Later "invalid-configuration"    "The configuration is invalid";
    UNREADABLE_CONFIGURATION: 503 Error   Soon  "unreadable-configuration" "The configuration can not be read";
    STORE_FAILING:            503 Error   Soon  "store-failing"            "The key-value store is failing";
}
