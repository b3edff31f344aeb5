//! What holds for every store.

use super::*;

/// Both kinds, so that each test below holds for either.
fn stores() -> (tempfile::TempDir, [KeyValue; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = KeyValue::sqlite(directory.path().join("new/store.db")).unwrap();
    (directory, [KeyValue::memory(), sqlite])
}

fn pair(key: &str, value: &str) -> (String, Vec<u8>) {
    (key.to_owned(), value.as_bytes().to_vec())
}

#[tokio::test]
async fn what_is_set_is_there_until_it_is_deleted() {
    let (_directory, stores) = stores();
    for store in stores {
        assert_eq!(store.get("a", "k").await.unwrap(), None);
        store.set("a", "k", b"1").await.unwrap();
        store.set("a", "k", b"2").await.unwrap();
        assert_eq!(store.get("a", "k").await.unwrap().unwrap(), b"2");
        assert!(store.exists("a", "k").await.unwrap());
        assert!(!store.exists("b", "k").await.unwrap(), "labels are apart");
        store.delete("a", "k").await.unwrap();
        store.delete("a", "k").await.unwrap();
        assert_eq!(store.keys("a").await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn many_are_written_and_read_together() {
    let (_directory, stores) = stores();
    for store in stores {
        let pairs = vec![pair("k1", "1"), pair("k2", "2")];
        store.write("a", Write::Set(pairs)).await.unwrap();
        let keys = ["k2", "none", "k1"].map(str::to_owned);
        let found = store.get_many("a", &keys).await.unwrap();
        let expected = [pair("k2", "2"), pair("k1", "1")];
        assert_eq!(found, expected.map(|(key, value)| (key, Some(value))));
        store
            .write("a", Write::Delete(keys.to_vec()))
            .await
            .unwrap();
        assert_eq!(store.keys("a").await.unwrap(), [""; 0]);
    }
}

#[tokio::test]
async fn counters_are_eight_bytes_little_endian() {
    let (_directory, stores) = stores();
    for store in stores {
        let add = async |delta| {
            let key = "n".to_owned();
            store.write("a", Write::Increment { key, delta }).await
        };
        assert_eq!(add(3).await.unwrap(), 3);
        assert_eq!(add(-4).await.unwrap(), -1);
        assert_eq!(
            store.get("a", "n").await.unwrap().unwrap(),
            (-1_i64).to_le_bytes()
        );
        store.set("a", "n", b"text").await.unwrap();
        add(1).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_swap_overwrites_what_was_absent_when_it_began() {
    let (_directory, stores) = stores();
    for store in stores {
        let swap = async |expected: Option<&str>, value: &str| {
            let key = "k".to_owned();
            let expected = expected.map(|text| text.as_bytes().to_vec());
            let value = value.as_bytes().to_vec();
            store
                .write(
                    "a",
                    Write::Swap {
                        key,
                        expected,
                        value,
                    },
                )
                .await
                .unwrap()
        };
        assert_eq!(swap(None, "first").await, 1);
        assert_eq!(swap(None, "second").await, 1, "as Spin's SQLite store does");
        assert_eq!(swap(Some("first"), "third").await, 0);
        assert_eq!(swap(Some("second"), "third").await, 1);
        assert_eq!(store.get("a", "k").await.unwrap().unwrap(), b"third");
    }
}

#[test]
fn a_location_is_sqlite_or_memory() {
    assert_eq!("memory".parse::<Location>().unwrap(), Location::Memory);
    let sqlite = Location::Sqlite("/a/b.db".into());
    assert_eq!("sqlite:/a/b.db".parse::<Location>().unwrap(), sqlite);
    for wrong in ["", "sqlite", "sqlite:", "redis://localhost", "memory:x"] {
        wrong.parse::<Location>().unwrap_err();
    }
}
