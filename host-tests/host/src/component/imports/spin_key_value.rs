//! `spin:key-value@3.0.0`. Its calls are concurrent: while one waits, the rest of the instance goes
//! on.

use wasmtime::component::{Accessor, HasSelf, Resource};

use super::bindings::spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use super::stores::{OpenError, OpenStore};
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
        let store = match accessor.with(|mut access| access.get().openable(&label)) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(error) = store.stores.open().await {
            return Ok(Err(error.into()));
        }
        let opened = accessor.with(|mut access| access.get().keep_open(store))?;
        Ok(opened.map_err(Error::from))
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        store: Resource<OpenStore>,
        key: String,
    ) -> Returned<Option<Vec<u8>>> {
        let OpenStore { stores, label } = opened(accessor, &store)?;
        Ok(stores.get(&label, &key).await.map_err(Error::from))
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
        let OpenStore { stores, label } = opened(accessor, &store)?;
        Ok(stores.exists(&label, &key).await.map_err(Error::from))
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
    let OpenStore { stores, label } = opened(accessor, store)?;
    Ok(stores
        .write(op, &label, write)
        .await
        .map(drop)
        .map_err(Error::from))
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Other(error.0)
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::TableFull => Self::StoreTableFull,
            OpenError::AccessDenied => Self::AccessDenied,
        }
    }
}
