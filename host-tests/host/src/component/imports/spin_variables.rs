//! `spin:variables@3.0.0`.

use wasmtime::component::{Accessor, HasSelf};

use super::bindings::spin::variables::variables::{Error, Host, HostWithStore};
use crate::component::instance::Guest;
use crate::manifest::Unresolved;

impl Host for Guest {}

impl<T: Send + 'static> HostWithStore<T> for HasSelf<Guest> {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, Error>> {
        let value = accessor.with(|mut access| access.get().variables.get(&name));
        Ok(value.map_err(|unresolved| match unresolved {
            Unresolved::Undefined(text) => Error::Undefined(text),
            Unresolved::Missing(text) => Error::Provider(text),
        }))
    }
}
