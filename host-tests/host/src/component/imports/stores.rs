//! The store of an instance, and whether the manifest lets the instance open it.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::component::instance::Guest;
use crate::store::{FaultyStore, LABEL};

/// The store, once a guest has opened it.
pub type OpenStore = Arc<FaultyStore>;

impl Guest {
    /// `None` if the manifest doesn't allow the store. The host has checked all labels of the manifest at its
    /// start, so that "no such store" never occurs.
    pub(super) fn openable(&self, label: &str) -> Option<OpenStore> {
        self.store.clone().filter(|_| label == LABEL)
    }

    pub(super) fn close(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}
