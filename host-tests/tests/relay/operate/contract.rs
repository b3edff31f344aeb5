//! The contract, `src/api/openapi.json`: served as it is, valid, and true. Every exchange of any test here
//! with the relay in a [`World`] is held against it. A status, a header or a field that the document
//! doesn't have fails the test.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use boon::{Compiler, SchemaIndex, Schemas};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::support::{JSON, Reply, Setup, World};

/// The address under which the document's own references find it.
const NAME: &str = "http://relay.test/openapi.json";

/// Headers of HTTP itself, which any reply may have.
const HTTP: [&str; 4] = ["content-type", "content-length", "date", "connection"];

/// Why the contract doesn't allow what the relay answered to this request.
pub fn check(method: &str, path: &str, reply: &Reply) -> Result<(), String> {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    let checked = CONTRACT.get_or_init(Contract::load).check(method, path, reply);
    let status = reply.status;
    checked.map_err(|violation| format!("{method} {path}: {status}: {violation}"))
}

struct Contract {
    document: Value,
    schemas: Schemas,
    /// Every `schema` in the document, by the pointer to it.
    indexes: HashMap<String, SchemaIndex>,
}

impl Contract {
    fn load() -> Self {
        let text = include_str!("../../../../src/api/openapi.json");
        let document: Value = serde_json::from_str(text).expect("JSON");
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        let resource = compiler.add_resource(NAME, document.clone());
        resource.expect("a resource");
        let mut schemas = Schemas::new();
        let indexes = pointers(&document, "schema").into_iter().map(|pointer| {
            let url = format!("{NAME}#{}", percent_encoded(&pointer));
            let index = compiler.compile(&url, &mut schemas);
            (pointer, index.expect("a schema"))
        });
        Self { indexes: indexes.collect(), document, schemas }
    }

    fn check(&self, method: &str, path: &str, reply: &Reply) -> Result<(), String> {
        let response = self.response(method, path, reply)?;
        self.check_headers(&response, reply)?;
        let content_type = reply.header("content-type").unwrap_or_default();
        let media_type = format!("{response}/content/{}", escaped(content_type));
        self.document
            .pointer(&media_type)
            .ok_or_else(|| format!("undocumented media type {content_type:?}"))?;
        if method == "HEAD" {
            return match reply.body.len() {
                0 => Ok(()),
                _ => Err("a body for HEAD".to_owned()),
            };
        }
        let text = str::from_utf8(&reply.body).map_err(|error| error.to_string())?;
        let body = if content_type.ends_with("json") {
            serde_json::from_str(text).map_err(|error| error.to_string())?
        } else {
            Value::String(text.to_owned())
        };
        self.validate(&format!("{media_type}/schema"), &body)?;
        if content_type == "application/problem+json" {
            check_problem(&body, reply)?;
        }
        Ok(())
    }

    /// The pointer to the response that the document has for this exchange.
    fn response(&self, method: &str, path: &str, reply: &Reply) -> Result<String, String> {
        let shared = |name: &str| Ok(format!("/components/responses/{name}"));
        let status = reply.status;
        let Some((template, item)) = self.path(path) else {
            return match status {
                404 => shared("NotFound"),
                _ => Err("undocumented path".to_owned()),
            };
        };
        let key = method.to_lowercase().replace("head", "get");
        if item.contains_key(&key) {
            let template = escaped(template);
            let response = format!("/paths/{template}/{key}/responses/{status}");
            return self.resolved(response).ok_or("undocumented status".to_owned());
        }
        let only_for_operators = operations(item).all(|(_, operation)| needs_operator(operation));
        match status {
            405 => {
                check_allow(item, reply)?;
                shared("MethodNotAllowed")
            }
            401 if only_for_operators => shared("Unauthorized"),
            404 if only_for_operators => shared("NotFound"),
            503 if only_for_operators => shared("Unconfigured"),
            _ => Err("undocumented method".to_owned()),
        }
    }

    /// The path item for a path: of those that match, the one with the fewest parameters.
    fn path(&self, path: &str) -> Option<(&str, &Map<String, Value>)> {
        let matches = |template: &str| {
            let (known, asked) = (template.split('/'), path.split('/'));
            known.clone().count() == asked.clone().count()
                && known.zip(asked).all(|(known, asked)| {
                    known == asked || known.starts_with('{') && !asked.is_empty()
                })
        };
        let paths = self.document["paths"].as_object()?.iter();
        let (template, item) = paths
            .filter(|(template, _)| matches(template))
            .min_by_key(|(template, _)| template.matches('{').count())?;
        Some((template, item.as_object()?))
    }

    /// The pointer, or the one that it refers to if a reference stands there.
    fn resolved(&self, pointer: String) -> Option<String> {
        match self.document.pointer(&pointer)?.get("$ref") {
            Some(reference) => Some(reference.as_str()?.strip_prefix('#')?.to_owned()),
            None => Some(pointer),
        }
    }

    fn check_headers(&self, response: &str, reply: &Reply) -> Result<(), String> {
        let documented = self.document.pointer(&format!("{response}/headers"));
        let documented = documented.and_then(Value::as_object).ok_or("no headers")?;
        for name in documented.keys() {
            let header = self.resolved(format!("{response}/headers/{name}"));
            let header = header.ok_or("a reference to nothing")?;
            let required = self.document.pointer(&format!("{header}/required"));
            match reply.header(name) {
                None if required == Some(&json!(true)) => return Err(format!("no {name}")),
                None => {}
                Some(text) => {
                    let number = text.parse::<u64>().ok().map(Value::from);
                    let value = number.unwrap_or_else(|| text.into());
                    self.validate(&format!("{header}/schema"), &value)?;
                }
            }
        }
        let mut names = reply.headers.keys().map(http::HeaderName::as_str);
        match names.find(|name| !documented.contains_key(*name) && !HTTP.contains(name)) {
            Some(name) => Err(format!("undocumented header {name}")),
            None => Ok(()),
        }
    }

    fn validate(&self, schema: &str, value: &Value) -> Result<(), String> {
        let index = self.indexes.get(schema).ok_or("no schema")?;
        let validated = self.schemas.validate(value, *index);
        validated.map_err(|error| format!("{error}\nof {value}"))
    }
}

/// Checks that `Allow` names every method that the document has for the path.
fn check_allow(item: &Map<String, Value>, reply: &Reply) -> Result<(), String> {
    let allow = reply.header("allow").unwrap_or_default();
    let allowed: BTreeSet<_> = allow.split(", ").map(str::to_owned).collect();
    let methods = operations(item).map(|(method, _)| method.to_uppercase());
    let mut documented: BTreeSet<_> = methods.collect();
    if documented.contains("GET") {
        documented.insert("HEAD".to_owned());
    }
    if allowed == documented {
        Ok(())
    } else {
        Err(format!("allows {allowed:?} instead of {documented:?}"))
    }
}

/// Checks the rules for problems that the document states in words alone.
fn check_problem(problem: &Value, reply: &Reply) -> Result<(), String> {
    if problem["status"] != reply.status {
        return Err(format!("another status in the body: {problem}"));
    }
    if problem["retryable"] != reply.headers.contains_key("retry-after") {
        return Err(format!("retryable, or a Retry-After, but not both: {problem}"));
    }
    Ok(())
}

fn operations(item: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    item.iter().filter(|(key, _)| *key != "parameters")
}

/// Whether a token with this scheme opens the operation. Without `security` of its own, an operation
/// inherits the operator's token.
fn is_opened_by(operation: &Value, scheme: &str) -> bool {
    match operation.get("security").and_then(Value::as_array) {
        Some(schemes) => schemes.iter().any(|known| known.get(scheme).is_some()),
        None => scheme == "operator",
    }
}

/// Whether the operation stays closed without a token.
fn needs_operator(operation: &Value) -> bool {
    let open = json!({});
    let schemes = operation.get("security").and_then(Value::as_array);
    is_opened_by(operation, "operator") && schemes.is_none_or(|schemes| !schemes.contains(&open))
}

/// Method and path of every operation that a token with this scheme opens.
pub fn opened_by(scheme: &str) -> Vec<(String, String)> {
    let document = Contract::load().document;
    let paths = document["paths"].as_object().expect("paths").iter();
    let opened = paths.flat_map(|(path, item)| {
        let operations = operations(item.as_object().expect("an item"));
        let opened = operations.filter(|(_, operation)| is_opened_by(operation, scheme));
        opened.map(|(method, _)| {
            let path = path.replace("{n}", "7").replace("{project}", "dev");
            let path = path.replace("{eventId}", "evt_1");
            let query = if path == "/records" { "?project=dev&eventId=evt_1" } else { "" };
            (method.to_uppercase(), path + query)
        })
    });
    opened.collect()
}

/// The pointers to every value with this key.
fn pointers(document: &Value, wanted: &str) -> Vec<String> {
    fn walk(value: &Value, pointer: &str, visit: &mut impl FnMut(&str, &str)) {
        let members: Vec<(String, &Value)> = match value {
            Value::Object(members) => {
                members.iter().map(|(key, value)| (escaped(key), value)).collect()
            }
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
            }
            _ => Vec::new(),
        };
        for (key, value) in members {
            let pointer = format!("{pointer}/{key}");
            visit(&key, &pointer);
            walk(value, &pointer, visit);
        }
    }
    let mut found = Vec::new();
    walk(document, "", &mut |key, pointer| {
        if key == wanted {
            found.push(pointer.to_owned());
        }
    });
    found
}

/// A key as a part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A JSON pointer as the fragment of a URL.
fn percent_encoded(pointer: &str) -> String {
    let encoded = pointer.bytes().map(|byte| match byte {
        b'/' | b'~' | b'.' | b'-' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[tokio::test(start_paused = true)]
async fn the_contract_is_served_without_a_token() {
    // A relay without a valid configuration serves the contract, too.
    let world = World::with(&[("svix_token", "")]);
    let reply = world.get("/openapi.json").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json(), Contract::load().document);
    let reply = world.request("HEAD", "/openapi.json", &[], "").await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
}

#[tokio::test(start_paused = true)]
async fn operations_for_operators_refuse_every_other_token() {
    let document = Contract::load().document;
    let mut setup = Setup::new();
    setup.variables.remove("svix_token");
    let tokenless = World::with(&[("svix_token", "")]);
    let worlds = [
        (World::new(), 404, "not-found"),
        (World::with(&[("admin_token", "hush")]), 401, "unauthorized"),
        (tokenless, 503, "invalid-configuration"),
        (World::build(&setup), 503, "unreadable-configuration"),
    ];
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path.replace("{n}", "7").replace("{project}", "dev");
        for (method, operation) in operations(item.as_object().expect("an item")) {
            if !needs_operator(operation) {
                continue;
            }
            for (world, status, name) in &worlds {
                let method = method.to_uppercase();
                let reply = world.request(&method, &path, &[], "").await;
                assert_eq!(reply.status, *status, "{method} {path}");
                let problem = format!("urn:svix-relay:problem:{name}");
                assert_eq!(reply.json()["type"], problem, "{method} {path}");
            }
            seen += 1;
        }
    }
    assert!(seen > 0, "the document has operations for operators");
}

#[test]
fn every_example_is_valid() {
    let contract = Contract::load();
    let one = pointers(&contract.document, "example").into_iter();
    let several = pointers(&contract.document, "value").into_iter();
    let examples: Vec<_> = one.chain(several).collect();
    assert!(examples.len() > 5, "{examples:?}");
    for pointer in examples {
        let (beside, _) = pointer.split_once("/example").expect("an example");
        let value = contract.document.pointer(&pointer).expect("a value");
        let valid = contract.validate(&format!("{beside}/schema"), value);
        assert_eq!(valid, Ok(()), "{pointer}");
    }
}

/// A reply as the relay gives it, to be changed in tests.
fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &Value) -> Reply {
    let headers = headers.iter().map(|(name, value)| {
        let name = http::HeaderName::from_static(name);
        (name, http::HeaderValue::from_static(value))
    });
    Reply { status, headers: headers.collect(), body: Bytes::from(body.to_string()) }
}

const PROBLEM: (&str, &str) = ("content-type", "application/problem+json");
const NO_STORE: (&str, &str) = ("cache-control", "no-store");
const LATER: (&str, &str) = ("retry-after", "5");

#[test]
fn an_undocumented_part_of_a_reply_is_found() {
    let alive = json!({"status": "alive"});
    let whole = reply(200, &[JSON, NO_STORE], &alive);
    assert_eq!(check("GET", "/healthz", &whole), Ok(()));
    for (method, path, expected) in [
        ("GET", "/nowhere", "undocumented path"),
        ("POST", "/healthz", "undocumented method"),
        ("HEAD", "/healthz", "a body for HEAD"),
    ] {
        let violation = check(method, path, &whole).expect_err(expected);
        assert!(violation.contains(expected), "{violation}");
    }
    let more = json!({"status": "alive", "since": 1});
    let other = json!({"status": "asleep"});
    let (private, server) = (("cache-control", "private"), ("server", "s"));
    for (reply, expected) in [
        (reply(201, &[JSON, NO_STORE], &alive), "undocumented status"),
        (reply(200, &[NO_STORE], &alive), "undocumented media type"),
        (reply(200, &[JSON], &alive), "no cache-control"),
        (reply(200, &[JSON, private], &alive), "no-store"),
        (reply(200, &[JSON, NO_STORE, server], &alive), "server"),
        (reply(200, &[JSON, NO_STORE], &more), "since"),
        (reply(200, &[JSON, NO_STORE], &other), "alive"),
    ] {
        let violation = check("GET", "/healthz", &reply).expect_err(expected);
        assert!(violation.contains(expected), "{violation}");
    }
}

#[test]
fn an_undocumented_part_of_a_problem_is_found() {
    let problem = |name: &str, status: u16, retryable: bool| {
        json!({
            "type": format!("urn:svix-relay:problem:{name}"), "title": "t", "status": status,
            "detail": "d", "retryable": retryable,
        })
    };
    let nothing = problem("not-found", 404, false);
    let failing = problem("store-failing", 503, true);
    let forbidden = problem("method-not-allowed", 405, false);
    let allow = ("allow", "GET, HEAD");
    #[rustfmt::skip] // One line for each reply.
    let allowed = [
        ("GET", "/nowhere", reply(404, &[PROBLEM, NO_STORE], &nothing)),
        ("GET", "/readyz", reply(503, &[PROBLEM, NO_STORE, LATER], &failing)),
        ("PUT", "/readyz", reply(405, &[PROBLEM, NO_STORE, allow], &forbidden)),
    ];
    for (method, path, reply) in allowed {
        assert_eq!(check(method, path, &reply), Ok(()));
    }
    // A problem of another operation, one that names another status, one that is retryable without a wait,
    // and a final one with a wait.
    let foreign = problem("no-record", 404, false);
    let unsure = problem("not-found", 405, false);
    let never = problem("store-failing", 503, false);
    let (at_once, post) = (("retry-after", "0"), ("allow", "POST"));
    #[rustfmt::skip] // One line for each reply.
    let violating = [
        ("GET", "/nowhere", reply(404, &[PROBLEM, NO_STORE], &foreign), "not-found"),
        ("GET", "/nowhere", reply(404, &[PROBLEM, NO_STORE], &unsure), "another status"),
        ("GET", "/readyz", reply(503, &[PROBLEM, NO_STORE], &failing), "no retry-after"),
        ("GET", "/readyz", reply(503, &[PROBLEM, NO_STORE, at_once], &failing), ">=1"),
        ("GET", "/readyz", reply(503, &[PROBLEM, NO_STORE, LATER], &never), "retryable"),
        ("PUT", "/readyz", reply(405, &[PROBLEM, NO_STORE, post], &forbidden), "allows"),
    ];
    for (method, path, reply, expected) in violating {
        let violation = check(method, path, &reply).expect_err(expected);
        assert!(violation.contains(expected), "{violation}");
    }
}
