//! What operators ask for and see.

mod beside;
mod console;
pub mod contract;
mod dead_letters;
mod purge;
mod readme;
mod seeing;
