//! The values of the component's variables: their sources in order of precedence, and the templates
//! between the application and the component. Any value may be a secret, so none is printed.

use std::collections::BTreeMap;
use std::env;
use std::fmt;

use anyhow::{Context, Result, bail, ensure};

use super::file::Manifest;

/// The beginning of the environment's variables that give values.
const PREFIX: &str = "SPIN_VARIABLE_";

/// The environment's variables whose names are none of the application's. Spin ignores them, too.
pub(crate) fn unknown_in_environment(manifest: &Manifest) -> Vec<String> {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let is_unknown = |name: &String| {
        let mut known = manifest.variables.keys().map(|name| name.to_uppercase());
        let suffix = name.strip_prefix(PREFIX);
        suffix.is_some_and(|suffix| !known.any(|known| known == suffix))
    };
    names.filter(is_unknown).collect()
}

/// All variables of one application and its component.
///
/// As in Spin, a required variable without a value is an error only when the component reads it.
#[derive(Clone)]
pub struct Variables {
    component_id: String,
    application: BTreeMap<String, Option<String>>,
    component: BTreeMap<String, Template>,
}

/// Why a variable has no value. Spin gives the guest the same texts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unresolved {
    /// There is no variable of this name.
    Undefined(String),
    /// The variable is required and has no value.
    Missing(String),
}

impl Variables {
    /// Collects the values. A value `given` on the command line takes precedence over the
    /// `environment`, and the environment over the manifest's default.
    pub fn new(
        manifest: &Manifest,
        given: &BTreeMap<String, String>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        for name in given.keys() {
            if !manifest.variables.contains_key(name) {
                bail!("--variable {name}: the manifest's [variables] has no such name");
            }
        }
        let mut application = BTreeMap::new();
        for (name, declaration) in &manifest.variables {
            let value = given.get(name).cloned().or_else(|| environment(name));
            let value = value.or_else(|| declaration.default.clone());
            application.insert(name.clone(), value);
        }
        let id = &manifest.component.id;
        let mut component = BTreeMap::new();
        for (name, template) in &manifest.component.variables {
            let key = format!("component.{id}.variables.{name}");
            let template = Template::parse(template).context(key.clone())?;
            for variable in template.variables() {
                ensure!(application.contains_key(variable), "{key}: unknown variable {variable:?}");
            }
            component.insert(name.clone(), template);
        }
        Ok(Self { component_id: id.clone(), application, component })
    }

    /// The value of the component's variable `name`.
    pub fn get(&self, name: &str) -> Result<String, Unresolved> {
        let template = self.component.get(name).ok_or_else(|| {
            Unresolved::Undefined(format!("no variable for {:?}.{name:?}", self.component_id))
        })?;
        self.fill(template)
    }

    /// Renders a template of the manifest, for example of `allowed_outbound_hosts`.
    pub fn render(&self, template: &str) -> Result<String> {
        let rendered = self.fill(&Template::parse(template)?);
        rendered.map_err(|unresolved| anyhow::anyhow!("{unresolved}"))
    }

    fn fill(&self, template: &Template) -> Result<String, Unresolved> {
        let mut text = String::new();
        for part in &template.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(name) => text.push_str(self.value(name)?),
            }
        }
        Ok(text)
    }

    fn value(&self, name: &str) -> Result<&str, Unresolved> {
        match self.application.get(name) {
            Some(Some(value)) => Ok(value),
            Some(None) => {
                Err(Unresolved::Missing(format!("no provider resolved required variable {name:?}")))
            }
            None => Err(Unresolved::Undefined(name.to_owned())),
        }
    }
}

/// The value of `name` in the environment, under the name that Spin uses.
pub fn from_environment(name: &str) -> Option<String> {
    let value = env::var_os(format!("{PREFIX}{}", name.to_uppercase()))?;
    // Replace bytes that aren't UTF-8 instead of ignoring the variable: then the value is invalid, not
    // absent.
    Some(value.to_string_lossy().into_owned())
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.application.keys()).finish()
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Undefined(text) | Self::Missing(text)) = self;
        f.write_str(text)
    }
}

/// Text with places for variables, `{{ name }}`.
#[derive(Clone)]
struct Template(Vec<Part>);

#[derive(Clone)]
enum Part {
    Literal(String),
    Variable(String),
}

impl Template {
    fn parse(mut text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        while let Some((literal, rest)) = text.split_once("{{") {
            let (name, rest) = rest.split_once("}}").context("unmatched '{{' in template")?;
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(Part::Variable(name.trim().to_owned()));
            text = rest;
        }
        parts.push(Part::Literal(text.to_owned()));
        Ok(Self(parts))
    }

    fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MANIFEST: &str = r#"
        spin_manifest_version = 2
        application = { name = "relay" }
        trigger = { http = [{ route = "/...", component = "relay" }] }
        [variables]
        token = { required = true, secret = true }
        region = { default = "eu" }
        [component.relay]
        source = "relay.wasm"
        [component.relay.variables]
        bearer = "Bearer {{ token }}"
        url = "https://api.{{region}}.example.com/{{ region }}"
    "#;

    fn manifest() -> Manifest {
        Manifest::parse(MANIFEST, Path::new("")).unwrap()
    }

    fn variables(given: &[(&str, &str)], environment: &[(&str, &str)]) -> Variables {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: BTreeMap<_, _> = environment.iter().map(owned).collect();
        let given = given.iter().map(owned).collect();
        Variables::new(&manifest(), &given, |name| environment.get(name).cloned()).unwrap()
    }

    #[test]
    fn the_command_line_comes_before_the_environment_before_the_default() {
        let url = |variables: Variables| variables.get("url").unwrap();
        let environment = ("region", "us");
        assert_eq!(url(variables(&[], &[])), "https://api.eu.example.com/eu");
        assert_eq!(url(variables(&[], &[environment])), "https://api.us.example.com/us");
        let both = variables(&[("region", "in")], &[environment]);
        assert_eq!(url(both), "https://api.in.example.com/in");
    }

    #[test]
    fn a_required_variable_is_missed_only_when_it_is_read() {
        let missing =
            Unresolved::Missing("no provider resolved required variable \"token\"".to_owned());
        assert_eq!(variables(&[], &[]).get("bearer"), Err(missing));
        assert_eq!(variables(&[("token", "t")], &[]).get("bearer").unwrap(), "Bearer t");
    }

    #[test]
    fn the_component_sees_only_its_own_names() {
        let variables = variables(&[("token", "t")], &[]);
        for name in ["token", "region", "nothing"] {
            assert!(matches!(variables.get(name), Err(Unresolved::Undefined(_))), "{name}");
        }
    }

    #[test]
    fn values_are_never_shown() {
        let shown = format!("{:?}", variables(&[("token", "hunter2")], &[]));
        assert!(shown.contains("token") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn unknown_names_and_wrong_templates_stop_the_start() {
        let given = BTreeMap::from([("regoin".to_owned(), "hunter2".to_owned())]);
        let error = Variables::new(&manifest(), &given, |_| None).unwrap_err().to_string();
        assert!(error.contains("regoin") && !error.contains("hunter2"));
        for (from, to, expected) in [
            ("{{ token }}", "{{ tokn }}", "component.relay.variables.bearer: unknown variable"),
            ("{{ token }}", "{{ token ", "unmatched '{{'"),
        ] {
            let text = MANIFEST.replace(from, to);
            let manifest = Manifest::parse(&text, Path::new("")).unwrap();
            let error = Variables::new(&manifest, &BTreeMap::new(), |_| None).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(expected), "{error}");
        }
    }
}
