//! The host around the component, and its processes in real time.

mod clients;
mod cluster;
mod conformance;
mod instances;
mod metrics;
mod process;
mod shortage;
mod soak;
