//! Behaviour of every store.

use futures::future::join_all;

use super::key_value::{KeyValue, Location};
use super::write::Write;
use rig::RedisServer;

/// The stores of all kinds, so that each test below holds for any.
struct Stores {
    directory: tempfile::TempDir,
    redis: Option<RedisServer>,
}

impl Stores {
    async fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            redis: RedisServer::for_test().await.unwrap(),
        }
    }

    /// The stores of one process, which count in bytes.
    fn local(&self) -> [KeyValue; 2] {
        let file = self.directory.path().join("new/store.db");
        [KeyValue::memory(), KeyValue::sqlite(file).unwrap()]
    }

    fn all(&self) -> Vec<KeyValue> {
        let redis = self.redis.iter();
        let redis = redis.map(|server| KeyValue::redis(&server.url()).unwrap());
        self.local().into_iter().chain(redis).collect()
    }
}

fn pair(key: &str, value: &str) -> (String, Vec<u8>) {
    (key.to_owned(), value.as_bytes().to_vec())
}

#[tokio::test]
async fn a_value_stays_until_it_is_deleted() {
    let stores = Stores::new().await;
    for store in stores.all() {
        assert_eq!(store.get("k").await.unwrap(), None);
        store.set("k", b"1").await.unwrap();
        store.set("k", b"2").await.unwrap();
        assert_eq!(store.get("k").await.unwrap().unwrap(), b"2");
        assert!(store.exists("k").await.unwrap());
        assert_eq!(store.keys().await.unwrap(), ["k"]);
        store.delete("k").await.unwrap();
        store.delete("k").await.unwrap();
        assert!(!store.exists("k").await.unwrap());
        assert_eq!(store.keys().await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn any_bytes_come_back_as_they_were() {
    let stores = Stores::new().await;
    let bytes: Vec<_> = (0..=255).cycle().take(3 << 20).collect();
    for store in stores.all() {
        store.set("b\r\n\0ä", &bytes).await.unwrap();
        store.set("empty", b"").await.unwrap();
        let found = store.get("b\r\n\0ä").await.unwrap().unwrap();
        assert!(found == bytes);
        assert_eq!(store.get("empty").await.unwrap().unwrap(), b"");
    }
}

#[tokio::test]
async fn many_are_written_and_deleted_together() {
    let stores = Stores::new().await;
    for store in stores.all() {
        let pairs = vec![pair("k1", "1"), pair("k2", "2")];
        store.write(Write::Set(pairs)).await.unwrap();
        assert_eq!(store.get("k1").await.unwrap().unwrap(), b"1");
        assert_eq!(store.get("k2").await.unwrap().unwrap(), b"2");
        let keys = ["k2", "none", "k1"].map(str::to_owned);
        store.write(Write::Delete(keys.to_vec())).await.unwrap();
        assert_eq!(store.keys().await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn counters_are_eight_bytes_little_endian() {
    for store in Stores::new().await.local() {
        let add = async |delta| {
            let key = "n".to_owned();
            store.write(Write::Increment { key, delta }).await
        };
        assert_eq!(add(3).await.unwrap(), 3);
        assert_eq!(add(-4).await.unwrap(), -1);
        assert_eq!(store.get("n").await.unwrap().unwrap(), (-1_i64).to_le_bytes());
        store.set("n", b"text").await.unwrap();
        add(1).await.unwrap_err();
    }
}

#[tokio::test]
async fn concurrent_increments_of_one_counter_all_count() {
    let stores = Stores::new().await;
    for store in stores.all() {
        let add = || async {
            let key = "n".to_owned();
            let increment = Write::Increment { key, delta: 2 };
            store.write(increment).await.unwrap()
        };
        let mut sums = join_all((0..50).map(|_| add())).await;
        sums.sort_unstable();
        assert!(sums.into_iter().eq((2..=100).step_by(2)));
    }
}

#[test]
fn a_location_is_sqlite_redis_or_memory() {
    assert_eq!("memory".parse::<Location>().unwrap(), Location::Memory);
    let sqlite = Location::Sqlite("/a/b.db".into());
    assert_eq!("sqlite:/a/b.db".parse::<Location>().unwrap(), sqlite);
    let redis: Location = "redis://:hush@localhost:1/2".parse().unwrap();
    assert!(!format!("{redis:?}").contains("hush"));
    let opened = redis.open().unwrap();
    assert_eq!(opened.to_string(), "Redis at localhost:1, database 2");
    assert!(!format!("{opened:?}").contains("hush"));
    for wrong in ["", "sqlite", "sqlite:", "rediss:h", "redis:h", "memory:x"] {
        wrong.parse::<Location>().unwrap_err();
    }
    for wrong in ["redis://:hush@", "redis://:hush@h:port", "redis://:hush@h/x"] {
        let error = wrong.parse::<Location>().unwrap().open().unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}
