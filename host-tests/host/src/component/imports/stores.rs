//! The stores that an instance may open, and has open.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::component::instance::Guest;
use crate::store::FaultyStore;

/// How many stores an instance may have open at once, as in Spin.
const MAX_OPEN_STORES: usize = 256;

/// A store which a guest has opened.
#[derive(Clone)]
pub struct OpenStore {
    pub stores: Arc<FaultyStore>,
    pub label: Arc<str>,
}

/// A compare-and-swap which a guest has begun.
#[derive(Clone)]
pub struct Cas {
    pub store: OpenStore,
    pub key: String,
    /// What `current` has read.
    pub current: Option<Vec<u8>>,
}

/// Why a store can't be opened.
pub(super) enum Refusal {
    TableFull,
    AccessDenied,
}

impl Guest {
    /// What may be opened under `label`. Only labels of the manifest exist, and the host has
    /// checked at its start that it knows them: "no such store" is not an answer of ours.
    pub(super) fn openable(&self, label: &str) -> Result<OpenStore, Refusal> {
        let label = self.labels.iter().find(|allowed| allowed.as_ref() == label);
        let label = label.cloned().ok_or(Refusal::AccessDenied)?;
        Ok(OpenStore {
            stores: self.stores.clone(),
            label,
        })
    }

    pub(super) fn keep_open(
        &mut self,
        store: OpenStore,
    ) -> wasmtime::Result<Result<Resource<OpenStore>, Refusal>> {
        if self.open_stores == MAX_OPEN_STORES {
            return Ok(Err(Refusal::TableFull));
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
