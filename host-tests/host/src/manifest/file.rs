//! `spin.toml`, as far as one HTTP component needs it. The values are interpreted elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A Spin manifest (version 2) with one HTTP trigger and its component.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub name: String,
    pub variables: BTreeMap<String, Declaration>,
    pub component: Component,
}

/// An entry of `[variables]`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Declaration {
    /// The value if none is given.
    pub default: Option<String>,
    /// Whether a value must be given.
    #[serde(default)]
    pub required: bool,
}

/// `[component.NAME]`.
#[derive(Clone, Debug)]
pub struct Component {
    pub id: String,
    /// The wasm file; relative paths are already resolved against the manifest's directory.
    pub source: PathBuf,
    /// The hosts it may call, as templates.
    pub allowed_outbound_hosts: Vec<String>,
    pub key_value_stores: Vec<String>,
    /// Templates over the variables of the application.
    pub variables: BTreeMap<String, String>,
}

impl Manifest {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("can't read the manifest {}", path.display()))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, directory).with_context(|| format!("{}", path.display()))
    }

    /// Parses a manifest; its relative paths begin at `directory`.
    pub fn parse(text: &str, directory: &Path) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        ensure!(
            file.spin_manifest_version == 2,
            "spin_manifest_version: only 2 is supported, not {}",
            file.spin_manifest_version
        );
        for (name, variable) in &file.variables {
            ensure!(
                variable.required != variable.default.is_some(),
                "variables.{name}: give it either a default or required = true"
            );
        }
        let [trigger] = <[Trigger; 1]>::try_from(file.trigger.http)
            .ok()
            .context("trigger.http: there must be exactly one")?;
        ensure!(
            trigger.route == "/...",
            "trigger.http.route: only \"/...\" is supported, not {:?}",
            trigger.route
        );
        let id = trigger.component;
        let mut components = file.component;
        let component = components
            .remove(&id)
            .with_context(|| format!("component.{id}: named by trigger.http, but not there"))?;
        Ok(Self {
            name: file.application.name,
            variables: file.variables,
            component: Component {
                source: directory.join(component.source),
                allowed_outbound_hosts: component.allowed_outbound_hosts,
                key_value_stores: component.key_value_stores,
                variables: component.variables,
                id,
            },
        })
    }
}

/// The file as it is written. Keys that only Spin needs are ignored.
#[derive(Deserialize)]
struct File {
    spin_manifest_version: u32,
    application: Application,
    #[serde(default)]
    variables: BTreeMap<String, Declaration>,
    trigger: Triggers,
    component: BTreeMap<String, ComponentTable>,
}

#[derive(Deserialize)]
struct Application {
    name: String,
}

#[derive(Deserialize)]
struct Triggers {
    #[serde(default)]
    http: Vec<Trigger>,
}

#[derive(Deserialize)]
struct Trigger {
    route: String,
    component: String,
}

#[derive(Deserialize)]
struct ComponentTable {
    source: PathBuf,
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    key_value_stores: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "relay"
        version = "1.0.0"
        [variables]
        token = { required = true, secret = true }
        url = { default = "" }
        [[trigger.http]]
        route = "/..."
        component = "relay"
        [component.relay]
        source = "target/relay.wasm"
        allowed_outbound_hosts = ["https://api.example.com", "{{ url }}"]
        key_value_stores = ["default"]
        variables = { token = "{{ token }}" }
        [component.relay.build]
        command = "cargo build"
        watch = ["src/**"]
    "#;

    fn refusal(text: &str) -> String {
        let error = Manifest::parse(text, Path::new("/app")).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn reads_all_that_the_host_needs() {
        let manifest = Manifest::parse(COMPLETE, Path::new("/app")).unwrap();
        assert_eq!(manifest.name, "relay");
        assert!(manifest.variables["token"].required);
        assert_eq!(manifest.variables["url"].default.as_deref(), Some(""));
        let component = manifest.component;
        assert_eq!(component.source, Path::new("/app/target/relay.wasm"));
        assert_eq!(component.allowed_outbound_hosts[1], "{{ url }}");
        assert_eq!(component.key_value_stores, ["default"]);
        assert_eq!(component.variables["token"], "{{ token }}");
    }

    #[test]
    fn names_the_key_that_is_wrong() {
        let cases = [
            ("name = \"relay\"", "", "missing field `name`"),
            ("spin_manifest_version = 2", "spin_manifest_version = 1", "spin_manifest_version"),
            ("required = true, ", "", "variables.token"),
            ("component = \"relay\"", "component = \"other\"", "component.other"),
            ("[[trigger.http]]", "[[trigger.redis]]", "trigger.http"),
            ("route = \"/...\"", "route = \"/a\"", "trigger.http.route"),
            ("source = \"target/relay.wasm\"", "source = 1", "source = 1"),
        ];
        for (from, to, expected) in cases {
            let refusal = refusal(&COMPLETE.replace(from, to));
            assert!(refusal.contains(expected), "{expected}: {refusal}");
        }
    }

    #[test]
    fn names_the_file_that_is_missing() {
        let error = Manifest::read(Path::new("/nowhere/spin.toml")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/spin.toml"));
    }
}
