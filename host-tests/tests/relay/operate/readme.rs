//! What README.md says, held against what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use clock::Clock;
use fake_svix::FakeSvix;
use rig::ports;

use crate::serve::{Serve, url_of};
use crate::support::{self, TOKEN, root};

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// The text between two others.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).expect(start);
    rest.split_once(end).expect(end).0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quick_tour_ends_as_it_says() {
    let readme = readme();
    let tour = between(&readme, "## Quick tour", "\n## ");
    let code: Vec<_> = tour.split("```sh\n").skip(1).collect();
    let code = code
        .iter()
        .map(|rest| rest.split("```").next().expect("code"));
    let code: String = code.collect();
    let (addresses, steps) = code.split_once('\n').expect("several lines");
    assert!(addresses.starts_with("RELAY="), "{addresses}");

    let svix = FakeSvix::new(TOKEN, Clock::system());
    let (url, directory) = (url_of(&svix).await, TempDir::new().expect("a directory"));
    let variables = ["admin_token=admin", "svix_timeout_ms=300"];
    let relay = Serve::at(&url, directory.path(), &variables);
    let other = ports::free().expect("a port").to_string();
    let script = format!("RELAY=http://{} SVIX={url}\n{steps}", relay.address())
        .replace("127.0.0.1:3001", &other)
        .replace("testsk_fake.eu", TOKEN)
        .replace(
            "target/debug/serve",
            &support::binary("serve").display().to_string(),
        )
        .replace(
            "target/tour",
            &format!("{}/tour", directory.path().display()),
        );
    let run = move || {
        // What waits in it would wait for ever if the relay didn't start.
        Command::new("timeout")
            .current_dir(root())
            .args(["60", "bash", "-euo", "pipefail", "-c", &script])
            .output()
    };
    let output = tokio::task::spawn_blocking(run)
        .await
        .expect("no panic")
        .expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}");

    // What the comments beside the commands promise, in their order.
    let mut rest = &printed[..];
    let promised = steps.lines().filter_map(|line| line.split_once("  # "));
    let quoted = promised.flat_map(|(_, comment)| comment.split('"').skip(1).step_by(2));
    let mut found = 0;
    for word in quoted {
        let at = rest.find(&format!("\"{word}\"")).unwrap_or_else(|| {
            panic!("no {word} in {rest}");
        });
        rest = &rest[at + word.len()..];
        found += 1;
    }
    assert!(found >= 10, "{found} promises");
    assert!(
        printed.contains(r#"{"resolved":1,"failed":1,"#),
        "{printed}"
    );
    assert!(printed.ends_with("\n1\n"), "{printed}");
    assert_eq!(svix.messages().len(), 4);
}

#[test]
fn every_variable_is_explained_with_its_default() {
    let manifest = fs::read_to_string(root().join("spin.toml")).expect("spin.toml");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let defaults: BTreeMap<_, _> = manifest["variables"]
        .as_table()
        .expect("variables")
        .iter()
        .map(|(name, variable)| {
            (
                name.clone(),
                variable.get("default").map(ToString::to_string),
            )
        })
        .collect();
    let readme = readme();
    let table = between(&readme, "## Configuration", "\n## ");
    let explained: BTreeMap<_, _> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name.to_owned(), rest.split(" | ").collect::<Vec<_>>()))
        .collect();
    assert_eq!(
        explained.keys().collect::<BTreeSet<_>>(),
        defaults.keys().collect::<BTreeSet<_>>()
    );
    for (name, cells) in explained {
        assert_eq!(
            cells.len(),
            3,
            "{name}: default, meaning, when to change it"
        );
        let described = ["none", "required", "by the token's region", "Google's"];
        if !described.contains(&cells[0]) {
            let default = defaults[&name].as_deref().unwrap_or_default();
            assert_eq!(default.trim_matches('"'), cells[0], "{name}");
        }
    }
}

/// The names of all problems in a part of the contract.
fn problems<'a>(part: &'a Value, found: &mut BTreeSet<&'a str>) {
    match part {
        Value::String(text) => found.extend(text.strip_prefix("urn:svix-relay:problem:")),
        Value::Array(parts) => parts.iter().for_each(|part| problems(part, found)),
        Value::Object(parts) => parts.values().for_each(|part| problems(part, found)),
        _ => {}
    }
}

#[test]
fn every_problem_and_every_route_is_named() {
    let contract = fs::read(root().join("src/api/openapi.json")).expect("the contract");
    let contract: Value = serde_json::from_slice(&contract).expect("JSON");
    let readme = readme();
    let mut found = BTreeSet::new();
    problems(&contract, &mut found);
    assert!(found.len() >= 30, "{found:?}");
    for problem in found {
        assert!(readme.contains(&format!("`{problem}`")), "{problem}");
    }
    for path in contract["paths"].as_object().expect("paths").keys() {
        let path = path.replace("{number}", "{n}");
        assert!(readme.contains(&path), "{path}");
    }
}
