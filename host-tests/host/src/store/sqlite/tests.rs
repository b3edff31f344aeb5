//! Behaviour of files only; `key_value` tests the behaviour of every store.

use std::os::unix::fs::symlink;

use futures::FutureExt;
use futures::future::join_all;

use rusqlite::params;

use super::*;

fn open(directory: &tempfile::TempDir) -> Sqlite {
    Sqlite::open(&directory.path().join("store.db")).unwrap()
}

fn set(key: &str) -> Write {
    Write::Set(vec![(key.to_owned(), b"value".to_vec())])
}

#[tokio::test]
async fn concurrent_writes_share_their_commits() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = open(&directory);
    let keys: Vec<String> = (0..100).map(|n| format!("key {n}")).collect();
    // The writer can't begin before all of them wait.
    let held = sqlite.writer.connection();
    let mut writes: Vec<_> = keys.iter().map(|key| Box::pin(sqlite.write(set(key)))).collect();
    for write in &mut writes {
        assert!(write.now_or_never().is_none());
    }
    drop(held);
    assert!(join_all(writes).await.iter().all(Result::is_ok));
    assert_eq!(sqlite.keys().await.unwrap().len(), 100);
    // The first may have been taken alone.
    assert!(sqlite.commits() <= 2, "{} commits", sqlite.commits());
}

#[tokio::test]
async fn a_failing_write_does_not_fail_the_writes_of_the_same_commit() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = open(&directory);
    sqlite.write(set("text")).await.unwrap();
    let wrong = Write::Increment { key: "text".to_owned(), delta: 1 };
    let held = sqlite.writer.connection();
    let mut writes = [set("k1"), wrong, set("k2")].map(|write| Box::pin(sqlite.write(write)));
    for write in &mut writes {
        assert!(write.now_or_never().is_none());
    }
    drop(held);
    let results = join_all(writes).await;
    assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok(), "{results:?}");
    assert!(sqlite.exists("k1").await.unwrap() && sqlite.exists("k2").await.unwrap());
}

#[tokio::test]
async fn the_file_has_the_schema_of_spin() {
    let directory = tempfile::tempdir().unwrap();
    let spin = Connection::open(directory.path().join("store.db")).unwrap();
    spin.execute(SCHEMA, []).unwrap();
    spin.execute(writer::SET, params![LABEL, "k", b"spin".as_slice()]).unwrap();
    let sqlite = open(&directory);
    assert_eq!(sqlite.get("k").await.unwrap().unwrap(), b"spin");
    sqlite.write(set("ours")).await.unwrap();
    let ours: Vec<u8> = spin.query_row(GET, [LABEL, "ours"], |row| row.get(0)).unwrap();
    assert_eq!(ours, b"value");
}

#[tokio::test]
async fn a_full_store_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = open(&directory);
    sqlite.writer.connection().pragma_update(None, "max_page_count", 1).unwrap();
    let big = Write::Set(vec![("big".to_owned(), vec![0; 1 << 20])]);
    let error = sqlite.write(big).await.unwrap_err();
    assert!(error.0.contains("full"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_an_error_after_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = open(&directory);
    // As if the disk hung: reader and writer get no further.
    let held = (lock(&sqlite.reader), sqlite.writer.connection());
    let mut read = Box::pin(sqlite.get("k"));
    let mut write = Box::pin(sqlite.write(set("k")));
    for passed in [Duration::ZERO, LIMIT / 2] {
        time::advance(passed).await;
        assert!((&mut read).now_or_never().is_none() && (&mut write).now_or_never().is_none());
    }
    time::advance(LIMIT / 2 + Duration::from_millis(1)).await;
    for error in [read.await.map(drop), write.await.map(drop)].map(Result::unwrap_err) {
        assert!(error.0.contains("in time"), "{error}");
    }
    drop(held);
}

#[tokio::test]
async fn a_file_deleted_or_replaced_underneath_is_an_error_of_every_call() {
    for (name, replaced) in [("store.db", false), ("store.db", true), ("store.db-wal", false)] {
        let directory = tempfile::tempdir().unwrap();
        let sqlite = open(&directory);
        sqlite.write(set("k")).await.unwrap();
        let file = directory.path().join(name);
        let copy = directory.path().join("copy");
        fs::copy(&file, &copy).unwrap();
        fs::remove_file(&file).unwrap();
        if replaced {
            fs::rename(&copy, &file).unwrap();
        }
        for error in [
            sqlite.write(set("k")).await.unwrap_err(),
            sqlite.get("k").await.unwrap_err(),
            sqlite.exists("k").await.unwrap_err(),
            sqlite.keys().await.unwrap_err(),
        ] {
            assert!(error.0.contains("was deleted or replaced"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_database_behind_a_symbolic_link_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let [real, link] = ["real", "link"].map(|name| directory.path().join(name));
    fs::create_dir(&real).unwrap();
    fs::create_dir(&link).unwrap();
    symlink(real.join("store.db"), link.join("store.db")).unwrap();
    let sqlite = Sqlite::open(&link.join("store.db")).unwrap();
    sqlite.write(set("k")).await.unwrap();
    assert!(real.join("store.db-wal").exists());
}

#[tokio::test(start_paused = true)]
async fn no_paused_timeout_overtakes_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = open(&directory);
    let write = sqlite.write(set("k"));
    time::timeout(Duration::from_millis(1), write).await.unwrap().unwrap();
}

#[test]
fn a_runtime_that_ends_does_not_stop_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = open(&directory);
    sqlite.writer.lose_a_run();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(sqlite.write(set("k"))).unwrap();
}
