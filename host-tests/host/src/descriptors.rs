//! File descriptors: connections from clients must leave enough for Svix, the store and files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that do not depend on the number of requests: the store, standard streams, the runtime.
const KEPT_BACK: usize = 64;

/// A request needs a connection from its client, one to Svix, and one while a name is looked up.
const FOR_EACH_REQUEST: usize = 3;

/// Raises the soft limit of this process to the hard one, and returns that limit. `None` stands for an unlimited number.
pub(crate) fn raise_limit() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    let hard = Rlimit { current: limit.maximum, ..limit };
    let is_raised = setrlimit(Resource::Nofile, hard).is_ok();
    let limit = if is_raised { hard } else { limit };
    limit.current.and_then(|limit| usize::try_from(limit).ok())
}

/// How many connections from clients fit below `limit`.
pub(crate) fn connections_below(limit: usize) -> usize {
    (limit.saturating_sub(KEPT_BACK) / FOR_EACH_REQUEST).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_svix_and_the_store() {
        assert_eq!(connections_below(1024), 320);
        assert_eq!(connections_below(0), 1);
    }
}
