//! An event becomes one message, whatever fails and however often it comes.

mod commit;
mod forgotten;
pub mod matrix;
mod model;
mod once;
mod retries;
mod versions;
