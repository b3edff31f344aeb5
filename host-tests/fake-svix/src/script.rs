//! The queues of the faults to come.

use std::collections::{HashMap, VecDeque};

use http::Method;

use crate::fault::Fault;

/// The kind of requests that a fault is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Creating and getting messages.
    Messages,
    /// Lists of messages.
    MessageLists,
    /// Creating applications.
    Applications,
    /// Links to portals.
    Portals,
    /// Creating and getting event types.
    EventTypes,
    /// Endpoints, the attempts to them, and sending again.
    Deliveries,
}

#[derive(Debug, Default)]
pub(crate) struct Scripts(HashMap<Target, Script>);

impl Scripts {
    pub fn of(&mut self, target: Target) -> &mut Script {
        self.0.entry(target).or_default()
    }

    /// The number of faults in all queues.
    pub fn len(&self) -> usize {
        self.0.values().map(|script| script.queue.len()).sum()
    }
}

/// The faults of one target, in the order in which requests meet them.
#[derive(Debug)]
pub(crate) struct Script {
    queue: VecDeque<Entry>,
    always: Entry,
}

/// A fault, and the method of the requests that can meet it; `None` means any.
#[derive(Debug)]
struct Entry {
    method: Option<Method>,
    fault: Fault,
}

impl Entry {
    fn is_for(&self, method: &Method) -> bool {
        self.method.as_ref().is_none_or(|only| only == method)
    }
}

impl Default for Script {
    fn default() -> Self {
        let (method, fault) = (None, Fault::None);
        Self { queue: VecDeque::new(), always: Entry { method, fault } }
    }
}

impl Script {
    pub fn push(&mut self, method: Option<&Method>, faults: impl IntoIterator<Item = Fault>) {
        self.queue.extend(faults.into_iter().map(|fault| Entry { method: method.cloned(), fault }));
    }

    /// Sets the fault for requests that meet no queued one.
    pub fn always(&mut self, method: Option<Method>, fault: Fault) {
        self.always = Entry { method, fault };
    }

    /// Takes the fault for the next request with `method`.
    pub fn next(&mut self, method: &Method) -> Fault {
        let found = self.queue.iter().position(|entry| entry.is_for(method));
        match found.and_then(|at| self.queue.remove(at)) {
            Some(entry) => entry.fault,
            None if self.always.is_for(method) => self.always.fault.clone(),
            None => Fault::None,
        }
    }
}
