//! Fetches the variables from the host, once per instance. A failure is never remembered.

use std::sync::OnceLock;

use spin_sdk::variables;

use super::Config;
use super::check::Values;
use crate::host::{self, store};
use crate::violation::Violation;

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Variables are missing or invalid.
    Invalid(Vec<Violation>),
    /// The host could not give the value of a variable.
    Unreadable(host::Error),
}

pub async fn config() -> Result<&'static Config, Unusable> {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config);
    }
    let config = Config::from_values(&values().await?).map_err(Unusable::Invalid)?;
    store::use_prefix(&config.key_prefix);
    Ok(CONFIG.get_or_init(|| config))
}

/// The values of all variables, as far as operators may see them.
pub async fn shown() -> Result<Values, Unusable> {
    Ok(Config::shown(&values().await?))
}

async fn values() -> Result<Values, Unusable> {
    let mut values = Values::new();
    for name in Config::names() {
        match variables::get(name).await {
            Ok(value) => drop(values.insert(name, value)),
            Err(variables::Error::Undefined(_)) => {}
            Err(error) => {
                return Err(Unusable::Unreadable(host::Error {
                    what: name,
                    reason: error.to_string(),
                }));
            }
        }
    }
    Ok(values)
}
