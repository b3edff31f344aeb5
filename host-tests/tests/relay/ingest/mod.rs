//! Events come in: in which forms, from whom, and what is answered.

mod answers;
pub mod auth;
mod forms;
mod injection;
mod traces;
