//! The store that is lost at the end of the process. Its calls return at once and never fail.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::write::{Result, Write, increment};
use crate::lock::lock;

type Pairs = BTreeMap<String, Vec<u8>>;

/// A store in memory. Clones share the contents.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Pairs>>);

impl Memory {
    fn pairs(&self) -> MutexGuard<'_, Pairs> {
        lock(&self.0)
    }

    pub(super) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.pairs().get(key).cloned()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.pairs().keys().cloned().collect()
    }

    pub(super) fn write(&self, write: Write) -> Result<i64> {
        let mut pairs = self.pairs();
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
