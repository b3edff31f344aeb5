//! The configuration: `file` reads `spin.toml`, `variables` finds the values of its variables, and
//! `allowed_hosts` decides which hosts the component may call.

mod allowed_hosts;
mod file;
mod variables;

pub(crate) use allowed_hosts::AllowedHosts;
pub use file::Manifest;
pub(crate) use variables::{Unresolved, Variables, from_environment, unknown_in_environment};
