//! Operators' requests, and the relay as operators see it.

mod alerts;
mod audit;
mod beside;
mod canary;
mod console;
pub mod contract;
mod dead_letters;
mod erase;
mod fate;
mod hold;
mod people;
mod project_tokens;
mod purge;
mod readme;
mod retention;
mod seeing;
