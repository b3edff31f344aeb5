//! What can be asked of the relay, and what it answers. The only folder that knows HTTP statuses.

pub mod openapi;
pub mod problem;
pub mod reply;
pub mod route;
pub mod table;
