//! Requests to Svix beside messages, and the gate that spares Svix.

mod customers;
mod event_types;
mod gate;
mod impostors;
mod message_fields;
pub mod reports;
