//! An event becomes one message, even if everything else fails and however often the event comes.

mod commit;
mod forgotten;
pub mod matrix;
mod model;
mod once;
mod retries;
mod versions;
