//! `wasi:keyvalue@0.2.0-draft2`. Its functions are synchronous: here as in Spin, a call that waits
//! holds up the whole instance.

use wasmtime::component::Resource;

use super::bindings::wasi::keyvalue::atomics;
use super::bindings::wasi::keyvalue::batch;
use super::bindings::wasi::keyvalue::store::{self, Error};
use super::stores::OpenStore;
use crate::component::instance::Guest;
use crate::store::{Error as StoreError, Op, Write};

type Returned<T> = wasmtime::Result<Result<T, Error>>;

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> Returned<Resource<OpenStore>> {
        let Some(store) = self.openable(&identifier) else {
            return Ok(Err(Error::AccessDenied));
        };
        if let Err(error) = store.open().await {
            return Ok(Err(error.into()));
        }
        Ok(Ok(self.table.push(store)?))
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
        self.write(&bucket, Op::DeleteMany, Write::Delete(keys)).await
    }
}

impl atomics::Host for Guest {
    async fn increment(
        &mut self,
        bucket: Resource<OpenStore>,
        key: String,
        delta: i64,
    ) -> Returned<i64> {
        let increment = Write::Increment { key, delta };
        let sum = self.table.get(&bucket)?.write(Op::Increment, increment).await;
        Ok(sum.map_err(Error::from))
    }
}

impl Guest {
    async fn write(&mut self, bucket: &Resource<OpenStore>, op: Op, write: Write) -> Returned<()> {
        let written = self.table.get(bucket)?.write(op, write).await;
        Ok(written.map(drop).map_err(Error::from))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Other(error.0)
    }
}
