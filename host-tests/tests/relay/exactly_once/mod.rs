//! An event becomes one message, even if everything else fails or the event comes many times.

mod commit;
mod forgotten;
pub mod matrix;
mod model;
mod once;
mod retries;
mod versions;

use crate::support::World;

/// The methods of the requests to Svix, in their order.
fn methods(world: &World) -> Vec<String> {
    let requests = world.svix.requests().into_iter();
    requests.map(|request| request.method.to_string()).collect()
}
