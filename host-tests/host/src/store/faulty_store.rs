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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::time::Instant;

    use super::*;

    fn faulty() -> (KeyValue, Faults, FaultyStore) {
        let (store, faults) = (KeyValue::memory(), Faults::default());
        let guests = FaultyStore::new(store.clone(), faults.clone(), Lifeline::endless());
        (store, faults, guests)
    }

    async fn set(guests: &FaultyStore, key: &str) -> Result<i64> {
        let pair = (key.to_owned(), b"value".to_vec());
        guests.write(Op::Set, Write::Set(vec![pair])).await
    }

    #[tokio::test]
    async fn a_call_fails_as_often_as_told() {
        let (store, faults, guests) = faulty();
        faults.fail_next(Op::Set, 2);
        set(&guests, "k").await.unwrap_err();
        set(&guests, "k").await.unwrap_err();
        assert!(!store.exists("k").await.unwrap());
        set(&guests, "k").await.unwrap();
        assert_eq!(faults.count(Op::Set), 3);
        faults.fail_always(Op::Get);
        guests.get("k").await.unwrap_err();
        guests.get("k").await.unwrap_err();
        faults.clear();
        assert!(guests.get("k").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn forgets_or_denies_a_write() {
        let (store, faults, guests) = faulty();
        faults.lose_next_set();
        set(&guests, "lost").await.unwrap();
        assert!(!store.exists("lost").await.unwrap());
        faults.write_then_fail_next_set();
        set(&guests, "denied").await.unwrap_err();
        assert!(store.exists("denied").await.unwrap());
        faults.write_then_hang_next_set();
        assert!(Box::pin(set(&guests, "hung")).now_or_never().is_none());
        assert!(store.exists("hung").await.unwrap());
    }

    #[tokio::test]
    async fn a_batch_can_break_off() {
        let (store, faults, guests) = faulty();
        faults.write_first_of_next_set_many(1);
        let pairs = ["a", "b"].map(|key| (key.to_owned(), b"value".to_vec()));
        let many = Write::Set(pairs.to_vec());
        set(&guests, "single").await.unwrap();
        guests.write(Op::SetMany, many.clone()).await.unwrap_err();
        assert!(store.exists("a").await.unwrap());
        assert!(!store.exists("b").await.unwrap());
        guests.write(Op::SetMany, many).await.unwrap();
    }

    #[tokio::test]
    async fn a_test_can_wait_for_a_call() {
        let (_store, faults, guests) = faulty();
        faults.hang_next(Op::Set);
        let mut called = Box::pin(faults.called(Op::Set, 1));
        assert!((&mut called).now_or_never().is_none());
        let mut hanging = Box::pin(set(&guests, "k"));
        assert!((&mut hanging).now_or_never().is_none());
        called.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_call_takes_its_time_by_the_paused_clock() {
        let (_store, faults, guests) = faulty();
        let start = Instant::now();
        faults.delay(Op::Exists, Duration::from_secs(5));
        assert!(!guests.exists("k").await.unwrap());
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}
