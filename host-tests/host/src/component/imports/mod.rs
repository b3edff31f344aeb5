//! The component's imports beyond WASI: `spin:key-value`, `spin:variables` and `wasi:keyvalue`,
//! answered as Spin does. They translate between the guest's types and ours, and decide which
//! stores a guest may open. The rest is done by `store` and `manifest`.

mod bindings;
mod spin_key_value;
mod spin_variables;
mod stores;
mod wasi_key_value;

use wasmtime::component::{HasSelf, Linker};

use crate::component::instance::Guest;
use bindings::{spin, wasi};

pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Us = HasSelf<Guest>;
    spin::key_value::key_value::add_to_linker::<_, Us>(linker, |guest| guest)?;
    spin::variables::variables::add_to_linker::<_, Us>(linker, |guest| guest)?;
    wasi::keyvalue::store::add_to_linker::<_, Us>(linker, |guest| guest)?;
    wasi::keyvalue::atomics::add_to_linker::<_, Us>(linker, |guest| guest)?;
    wasi::keyvalue::batch::add_to_linker::<_, Us>(linker, |guest| guest)
}
