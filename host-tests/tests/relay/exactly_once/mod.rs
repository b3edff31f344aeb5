//! An event becomes one message, even if everything else fails or the event comes many times.

mod commit;
mod forgotten;
pub mod matrix;
mod model;
mod once;
mod retries;
mod versions;
