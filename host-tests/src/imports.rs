//! The component's imports beyond WASI: `spin:key-value`, `spin:variables` and `wasi:keyvalue`,
//! as Spin answers them. They translate between the guest's types and ours, and decide which
//! stores may be opened; everything else is the store's and the variables' own.

mod spin_key_value;
mod spin_variables;
mod wasi_key_value;

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, Resource};

use crate::bindings::{spin, wasi};
use crate::instance::Guest;
use crate::key_value::FaultyStore;

/// How many stores an instance may have open at once, as in Spin.
const MAX_OPEN_STORES: usize = 256;

/// A store which a guest has opened.
#[derive(Clone)]
pub struct OpenStore {
    stores: Arc<FaultyStore>,
    label: Arc<str>,
}

/// A compare-and-swap which a guest has begun.
#[derive(Clone)]
pub struct Cas {
    store: OpenStore,
    key: String,
    /// What `current` has read.
    current: Option<Vec<u8>>,
}

/// Why a store can't be opened.
enum Refusal {
    TableFull,
    AccessDenied,
}

/// Links all of them.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Us = HasSelf<Guest>;
    spin::key_value::key_value::add_to_linker::<_, Us>(linker, |guest| guest)?;
    spin::variables::variables::add_to_linker::<_, Us>(linker, |guest| guest)?;
    wasi::keyvalue::store::add_to_linker::<_, Us>(linker, |guest| guest)?;
    wasi::keyvalue::atomics::add_to_linker::<_, Us>(linker, |guest| guest)?;
    wasi::keyvalue::batch::add_to_linker::<_, Us>(linker, |guest| guest)
}

impl Guest {
    /// What may be opened under `label`. Only labels of the manifest exist, and the host has
    /// checked at its start that it knows them: "no such store" is not an answer of ours.
    fn openable(&self, label: &str) -> Result<OpenStore, Refusal> {
        let label = self.labels.iter().find(|allowed| allowed.as_ref() == label);
        let label = label.cloned().ok_or(Refusal::AccessDenied)?;
        Ok(OpenStore {
            stores: self.stores.clone(),
            label,
        })
    }

    fn keep_open(
        &mut self,
        store: OpenStore,
    ) -> wasmtime::Result<Result<Resource<OpenStore>, Refusal>> {
        if self.open_stores == MAX_OPEN_STORES {
            return Ok(Err(Refusal::TableFull));
        }
        self.open_stores += 1;
        Ok(Ok(self.table.push(store)?))
    }

    fn close(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        self.open_stores -= 1;
        Ok(())
    }
}
