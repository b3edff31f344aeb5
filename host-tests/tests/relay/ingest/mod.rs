//! Events come in: their forms, their senders, and the answers.

mod answers;
pub mod auth;
mod forms;
mod injection;
mod limits;
mod order;
mod traces;
