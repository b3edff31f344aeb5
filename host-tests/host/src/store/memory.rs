//! The store that is lost at the end of the process. Its calls return at once and never fail.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::write::{Result, Write, increment};
use crate::lock::lock;

type Stores = HashMap<String, BTreeMap<String, Vec<u8>>>;

/// A store in memory. Clones share the contents.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Stores>>);

impl Memory {
    fn stores(&self) -> MutexGuard<'_, Stores> {
        lock(&self.0)
    }

    pub(super) fn get(&self, store: &str, key: &str) -> Option<Vec<u8>> {
        self.stores().get(store)?.get(key).cloned()
    }

    pub(super) fn keys(&self, store: &str) -> Vec<String> {
        let stores = self.stores();
        stores
            .get(store)
            .map(|pairs| pairs.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn write(&self, store: &str, write: Write) -> Result<i64> {
        let mut stores = self.stores();
        let pairs = stores.entry(store.to_owned()).or_default();
        match write {
            Write::Set(new) => pairs.extend(new),
            Write::Delete(keys) => {
                for key in keys {
                    pairs.remove(&key);
                }
            }
            Write::Increment { key, delta } => {
                let sum = increment(pairs.get(&key).map(Vec::as_slice), delta)?;
                pairs.insert(key, sum.to_le_bytes().to_vec());
                return Ok(sum);
            }
        }
        Ok(0)
    }
}
