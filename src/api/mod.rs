//! The routes of the relay and its answers. The only folder that knows the relay's own HTTP statuses.

pub mod openapi;
pub mod problem;
pub mod query;
pub mod reply;
pub mod route;
pub mod table;
