//! The host around the component, and its processes in real time.

mod cluster;
mod instances;
mod process;
mod soak;
