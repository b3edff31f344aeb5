//! `wasi:keyvalue@0.2.0-draft2`. Its functions are synchronous: here as in Spin, a call that waits
//! holds up the whole instance.

use wasmtime::component::Resource;

use super::bindings::wasi::keyvalue::atomics::{self, CasError};
use super::bindings::wasi::keyvalue::batch;
use super::bindings::wasi::keyvalue::store::{self, Error, KeyResponse};
use super::stores::{Cas, OpenError, OpenStore};
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
    async fn get(&mut self, bucket: Resource<OpenStore>, key: String) -> Returned<Option<Vec<u8>>> {
        let OpenStore { stores, label } = self.table.get(&bucket)?;
        Ok(stores.get(label, &key).await.map_err(Error::from))
    }

    async fn set(
        &mut self,
        bucket: Resource<OpenStore>,
        key: String,
        value: Vec<u8>,
    ) -> Returned<()> {
        self.write(&bucket, Op::Set, Write::Set(vec![(key, value)]))
            .await
    }

    async fn delete(&mut self, bucket: Resource<OpenStore>, key: String) -> Returned<()> {
        self.write(&bucket, Op::Delete, Write::Delete(vec![key]))
            .await
    }

    async fn exists(&mut self, bucket: Resource<OpenStore>, key: String) -> Returned<bool> {
        let OpenStore { stores, label } = self.table.get(&bucket)?;
        Ok(stores.exists(label, &key).await.map_err(Error::from))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<OpenStore>,
        cursor: Option<String>,
    ) -> Returned<KeyResponse> {
        if cursor.is_some() {
            return Ok(Err(Error::Other(
                "list_keys: cursor not supported".to_owned(),
            )));
        }
        let OpenStore { stores, label } = self.table.get(&bucket)?;
        let keys = stores.keys(label).await;
        Ok(keys
            .map(|keys| KeyResponse { keys, cursor: None })
            .map_err(Error::from))
    }

    fn drop(&mut self, bucket: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.close(bucket)
    }
}

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<OpenStore>,
        keys: Vec<String>,
    ) -> Returned<Vec<(String, Option<Vec<u8>>)>> {
        let OpenStore { stores, label } = self.table.get(&bucket)?;
        Ok(stores.get_many(label, &keys).await.map_err(Error::from))
    }

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

    async fn swap(
        &mut self,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), CasError>> {
        let Cas {
            store,
            key,
            current,
        } = self.table.delete(cas)?;
        let write = Write::Swap {
            key: key.clone(),
            expected: current,
            value,
        };
        match store.stores.write(Op::Swap, &store.label, write).await {
            Ok(0) => {}
            Ok(_) => return Ok(Ok(())),
            Err(error) => return Ok(Err(CasError::StoreError(error.into()))),
        }
        match store.stores.get(&store.label, &key).await {
            Ok(current) => {
                let again = self.table.push(Cas {
                    store,
                    key,
                    current,
                })?;
                Ok(Err(CasError::CasFailed(again)))
            }
            Err(error) => Ok(Err(CasError::StoreError(error.into()))),
        }
    }
}

impl atomics::HostCas for Guest {
    async fn new(&mut self, bucket: Resource<OpenStore>, key: String) -> Returned<Resource<Cas>> {
        let store = self.table.get(&bucket)?.clone();
        Ok(Ok(self.table.push(Cas {
            store,
            key,
            current: None,
        })?))
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Returned<Option<Vec<u8>>> {
        let cas = self.table.get_mut(&cas)?;
        match cas.store.stores.get(&cas.store.label, &cas.key).await {
            Ok(value) => {
                cas.current.clone_from(&value);
                Ok(Ok(value))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
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
