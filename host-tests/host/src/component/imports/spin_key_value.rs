//! `spin:key-value@3.0.0`. Its calls are concurrent: while one waits, the rest of the instance goes
//! on.

use wasmtime::component::{Accessor, HasSelf, Resource};

use super::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use super::stores::OpenStore;
use crate::component::instance::Guest;
use crate::store::{Error as StoreError, Op, Write};

type Returned<T> = wasmtime::Result<Result<T, Error>>;

impl Host for Guest {}

impl HostStore for Guest {
    fn drop(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.close(store)
    }
}

impl<T: Send + 'static> HostStoreWithStore<T> for HasSelf<Guest> {
    async fn open(accessor: &Accessor<T, Self>, label: String) -> Returned<Resource<OpenStore>> {
        let Some(store) = accessor.with(|mut access| access.get().openable(&label)) else {
            return Ok(Err(Error::AccessDenied));
        };
        if let Err(error) = store.open().await {
            return Ok(Err(error.into()));
        }
        let opened = accessor.with(|mut access| access.get().table.push(store))?;
        Ok(Ok(opened))
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> Returned<Option<Vec<u8>>> {
        let store = opened(accessor, &store)?;
        Ok(store.get(&key).await.map_err(Error::from))
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
        value: Vec<u8>,
    ) -> Returned<()> {
        write(accessor, &store, Op::Set, Write::Set(vec![(key, value)])).await
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> Returned<()> {
        write(accessor, &store, Op::Delete, Write::Delete(vec![key])).await
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> Returned<bool> {
        let store = opened(accessor, &store)?;
        Ok(store.exists(&key).await.map_err(Error::from))
    }
}

fn opened<T>(
    accessor: &Accessor<T, HasSelf<Guest>>,
    store: &Resource<OpenStore>,
) -> wasmtime::Result<OpenStore> {
    accessor.with(|mut access| Ok(access.get().table.get(store)?.clone()))
}

async fn write<T>(
    accessor: &Accessor<T, HasSelf<Guest>>,
    store: &Resource<OpenStore>,
    op: Op,
    write: Write,
) -> Returned<()> {
    let written = opened(accessor, store)?.write(op, write).await;
    Ok(written.map(drop).map_err(Error::from))
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Other(error.0)
    }
}
