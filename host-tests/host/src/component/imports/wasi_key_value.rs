//! `wasi:keyvalue@0.2.0-draft2`. Its functions are synchronous: here as in Spin, a call that waits
//! holds up the whole instance.

use wasmtime::component::Resource;

use super::bindings::wasi::keyvalue::atomics;
use super::bindings::wasi::keyvalue::batch;
use super::bindings::wasi::keyvalue::store::{self, Error};
use super::stores::{OpenError, OpenStore};
use crate::component::instance::Guest;
use crate::store::{Error as StoreError, Op, Write};

type Returned<T> = wasmtime::Result<Result<T, Error>>;

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> Returned<Resource<OpenStore>> {
        let store = match self.openable(&identifier) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(error) = store.stores.open().await {
            return Ok(Err(error.into()));
        }
        Ok(self.keep_open(store)?.map_err(Error::from))
    }
}

impl store::HostBucket for Guest {
    fn drop(&mut self, bucket: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.close(bucket)
    }
}

impl batch::Host for Guest {
    async fn set_many(
        &mut self,
        bucket: Resource<OpenStore>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Returned<()> {
        self.write(&bucket, Op::SetMany, Write::Set(pairs)).await
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<OpenStore>,
        keys: Vec<String>,
    ) -> Returned<()> {
        self.write(&bucket, Op::DeleteMany, Write::Delete(keys))
            .await
    }
}

impl atomics::Host for Guest {
    async fn increment(
        &mut self,
        bucket: Resource<OpenStore>,
        key: String,
        delta: i64,
    ) -> Returned<i64> {
        let OpenStore { stores, label } = self.table.get(&bucket)?;
        let sum = stores
            .write(Op::Increment, label, Write::Increment { key, delta })
            .await;
        Ok(sum.map_err(Error::from))
    }
}

impl Guest {
    async fn write(&mut self, bucket: &Resource<OpenStore>, op: Op, write: Write) -> Returned<()> {
        let OpenStore { stores, label } = self.table.get(bucket)?;
        Ok(stores
            .write(op, label, write)
            .await
            .map(drop)
            .map_err(Error::from))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Other(error.0)
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::TableFull => Self::Other("store table full".to_owned()),
            OpenError::AccessDenied => Self::AccessDenied,
        }
    }
}
