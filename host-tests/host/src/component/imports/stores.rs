//! The stores of an instance: which it may open, and which are open.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::component::instance::Guest;
use crate::store::FaultyStore;

/// How many stores an instance may have open at once, as in Spin.
const MAX_OPEN_STORES: usize = 256;

/// A store that a guest has opened.
#[derive(Clone)]
pub struct OpenStore {
    pub stores: Arc<FaultyStore>,
    pub label: Arc<str>,
}

/// Why a store can't be opened.
pub(super) enum OpenError {
    TableFull,
    AccessDenied,
}

impl Guest {
    /// The store under `label`, if the manifest allows it. The host has checked all labels of the
    /// manifest at its start, so that "no such store" never occurs.
    pub(super) fn openable(&self, label: &str) -> Result<OpenStore, OpenError> {
        let label = self.labels.iter().find(|allowed| allowed.as_ref() == label);
        let label = label.cloned().ok_or(OpenError::AccessDenied)?;
        Ok(OpenStore {
            stores: self.stores.clone(),
            label,
        })
    }

    pub(super) fn keep_open(
        &mut self,
        store: OpenStore,
    ) -> wasmtime::Result<Result<Resource<OpenStore>, OpenError>> {
        if self.open_stores == MAX_OPEN_STORES {
            return Ok(Err(OpenError::TableFull));
        }
        self.open_stores += 1;
        Ok(Ok(self.table.push(store)?))
    }

    pub(super) fn close(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        self.open_stores -= 1;
        Ok(())
    }
}
