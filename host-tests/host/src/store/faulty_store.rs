//! The store as a guest sees it: with the faults that a test has asked for, and only while the
//! guest's instance lives.

use super::faults::{Faults, Op};
use super::key_value::KeyValue;
use super::write::{Result, Write};
use crate::life::Lifeline;

/// The store of one instance. After its death, no call of its reaches the store.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    store: KeyValue,
    faults: Faults,
    life: Lifeline,
}

impl FaultyStore {
    pub fn new(store: KeyValue, faults: Faults, life: Lifeline) -> Self {
        Self { store, faults, life }
    }

    pub async fn open(&self) -> Result<()> {
        let open = async {
            self.store.open().await;
            Ok(())
        };
        self.faults.around(Op::Open, self.life.guard(open)).await
    }

    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let faults = self.faults.of(key);
        let get = self.life.guard(self.store.get(key));
        faults.around(Op::Get, get).await
    }

    pub async fn exists(&self, key: &str) -> Result<bool> {
        let faults = self.faults.of(key);
        let exists = self.life.guard(self.store.exists(key));
        faults.around(Op::Exists, exists).await
    }

    /// Changes the store; `op` is the guest's call.
    pub async fn write(&self, op: Op, mut write: Write) -> Result<i64> {
        let faults = match &mut write {
            Write::Set(pairs) => {
                let faults = pairs.first().map(|(key, _)| self.faults.of(key));
                if let Some(values) = faults.as_ref().and_then(|it| it.take_partial(op)) {
                    pairs.truncate(values);
                }
                faults
            }
            Write::Increment { key, .. } => Some(self.faults.of(key)),
            Write::Delete(_) => None,
        };
        let write = self.life.guard(self.store.write(write));
        faults.as_ref().unwrap_or(&self.faults).around(op, write).await
    }
}
