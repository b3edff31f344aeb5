//! The contract, `GET /openapi.json`: all that can be asked of the relay, and all that it can answer.
//!
//! `openapi.json` is written by hand. Tests keep it true: those below, and all in `host-tests`, which hold
//! every exchange with the relay against it. To keep it true, add
//!
//! - for a route: its path and operation, with every status it answers with;
//! - for a problem: its name in the `enum` of each operation that it can end, below its status;
//! - for a field or a header: its schema. Objects and headers are closed: an undocumented one must
//!   not be answered;
//! - for a new version: `info.version`.

use crate::api::reply::Success;

const TEXT: &[u8] = include_bytes!("openapi.json");

const LENGTH: usize = squeezed::<0>(TEXT).1;

/// The document without the spaces between its tokens: a third less to carry along.
static DOCUMENT: [u8; LENGTH] = squeezed(TEXT).0;

pub fn document() -> Success {
    Success::Document { name: "openapi", json: DOCUMENT.to_vec() }
}

/// The first `N` bytes of JSON without spaces, and how many bytes it has in all.
const fn squeezed<const N: usize>(text: &[u8]) -> ([u8; N], usize) {
    let mut squeezed = [0; N];
    let (mut from, mut to) = (0, 0);
    let (mut quoted, mut escaped) = (false, false);
    while from < text.len() {
        let byte = text[from];
        from += 1;
        if !quoted && byte.is_ascii_whitespace() {
            continue;
        }
        if to < N {
            squeezed[to] = byte;
        }
        to += 1;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
    }
    (squeezed, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route::{Operation, Route};
    use crate::api::table::ROWS;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn document() -> Value {
        serde_json::from_slice(TEXT).expect("JSON")
    }

    /// Path, method and operation of everything that can be asked for.
    fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
        let paths = document["paths"].as_object().expect("paths");
        let operations = paths.iter().flat_map(|(path, item)| {
            let item = item.as_object().expect("a path item");
            let operations = item.iter().filter(|(key, _)| *key != "parameters");
            operations.map(move |(method, operation)| (&path[..], &method[..], operation))
        });
        operations.collect()
    }

    /// A path of a request.
    fn example(template: &str) -> String {
        template
            .replace("{n}", "7")
            .replace("{id}", "1f0c9a62d1b0e4f7")
            .replace("{endpointId}", "ep_1")
            .replace("{project}", "dev")
            .replace("{eventId}", "evt_1")
    }

    #[test]
    fn the_contract_names_this_version() {
        assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_served_contract_lacks_only_spaces() {
        let served: Value = serde_json::from_slice(&DOCUMENT).expect("JSON");
        assert_eq!(served, document());
        let (text, length) = squeezed::<64>(br#" { "a \" b\\" : [ 1 , "c d" ] } "#);
        assert_eq!(&text[..length], br#"{"a \" b\\":[1,"c d"]}"#);
    }

    #[test]
    fn every_operation_is_a_route() {
        for (path, method, _) in operations(&document()) {
            let route = Route::of(&method.to_uppercase(), &example(path));
            let unknown = matches!(&route, Ok(Route::Operator(Operation::WrongMethod(_))) | Err(_));
            assert!(!unknown, "{method} {path}: {route:?}");
        }
    }

    #[test]
    fn every_operation_that_acts_is_no_get_and_is_refused_to_a_reader() {
        for (path, method, operation) in operations(&document()) {
            let name = method.to_uppercase();
            let Ok(Route::Operator(asked)) = Route::of(&name, &example(path)) else {
                continue;
            };
            assert_eq!(asked.acts(&name), method != "get", "{method} {path}");
            let refused = operation["responses"].get("403").is_some();
            assert_eq!(refused, method != "get", "{method} {path}");
        }
    }

    #[test]
    fn knows_the_problems_of_the_table_and_no_others() {
        let document = document();
        let responses = &document["components"]["responses"];
        let other = [("405", &responses["MethodNotAllowed"])];
        let operations = operations(&document);
        let of_operations = operations.iter().flat_map(|(_, _, operation)| {
            let answers = operation["responses"].as_object().expect("responses");
            answers.iter().map(|(status, response)| {
                let name = response["$ref"]
                    .as_str()
                    .and_then(|name| name.strip_prefix("#/components/responses/"));
                (&status[..], name.map_or(response, |name| &responses[name]))
            })
        });
        let mut documented = BTreeSet::new();
        for (status, response) in of_operations.chain(other) {
            let schema = &response["content"]["application/problem+json"]["schema"];
            for name in schema["properties"]["type"]["enum"].as_array().into_iter().flatten() {
                let name =
                    name.as_str().and_then(|name| name.strip_prefix("urn:svix-relay:problem:"));
                documented.insert((status.to_owned(), name.expect("a type").to_owned()));
            }
        }
        let rows = ROWS.iter();
        let known: BTreeSet<_> =
            rows.map(|row| (row.status.to_string(), row.name.to_owned())).collect();
        assert_eq!(documented, known);
    }
}
