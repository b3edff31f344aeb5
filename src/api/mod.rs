//! What can be asked of the relay, and what it answers. The only folder that knows
//! the relay's own HTTP statuses.

pub mod openapi;
pub mod problem;
pub mod reply;
pub mod route;
pub mod table;
