//! Where Redis differs from the other stores, as Spin's Redis store does, and what happens while Redis is
//! away. These tests run in real time, with as little of it as possible.

use std::time::Duration;

use tokio::time::Instant;

use super::super::key_value::KeyValue;
use super::link::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT};
use super::*;
use rig::{Proxy, RedisServer, or_skip};

fn increment(key: &str, delta: i64) -> Write {
    let key = key.to_owned();
    Write::Increment { key, delta }
}

/// How long something took.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let output = work.await;
    (output, start.elapsed())
}

#[tokio::test]
async fn keys_have_no_prefix() {
    let server = or_skip!(RedisServer::for_test().await.unwrap());
    let store = KeyValue::redis(&server.url()).unwrap();
    store.set("k", b"1").await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap(), b"1");
    assert_eq!(store.keys().await.unwrap(), ["k"]);
}

#[tokio::test]
async fn databases_are_apart() {
    let server = or_skip!(RedisServer::for_test().await.unwrap());
    let [one, other] = [1, 2].map(|n| KeyValue::redis(&format!("{}/{n}", server.url())).unwrap());
    one.set("k", b"1").await.unwrap();
    assert!(one.exists("k").await.unwrap());
    assert!(!other.exists("k").await.unwrap());
}

#[tokio::test]
async fn a_counter_is_text() {
    let server = or_skip!(RedisServer::for_test().await.unwrap());
    let store = Redis::at(&server.url()).unwrap();
    assert_eq!(store.write(increment("n", 0)).await.unwrap(), 0);
    assert_eq!(store.write(increment("n", -12)).await.unwrap(), -12);
    assert_eq!(store.get("n").await.unwrap().unwrap(), b"-12");
    let text = vec![("n".to_owned(), b"text".to_vec())];
    store.write(Write::Set(text)).await.unwrap();
    let error = store.write(increment("n", 1)).await.unwrap_err();
    assert!(error.0.contains("not an integer"), "{error}");
    assert_eq!(store.get("n").await.unwrap().unwrap(), b"text");
}

#[tokio::test]
async fn no_connection_is_made_before_the_store_is_used() {
    let address = rig::ports::free().unwrap();
    let store = Redis::at(&format!("redis://{address}")).unwrap();
    let (result, took) = timed(store.get("k")).await;
    result.unwrap_err();
    assert!(took < CONNECT_TIMEOUT * 2, "{took:?}");
}

#[tokio::test]
async fn a_redis_that_is_killed_fails_at_once_and_comes_back_with_its_data() {
    let mut server = or_skip!(RedisServer::for_test().await.unwrap());
    let store = KeyValue::redis(&server.url()).unwrap();
    store.set("k", b"1").await.unwrap();
    server.kill().unwrap();
    for _ in 0..3 {
        let (result, took) = timed(store.get("k")).await;
        result.unwrap_err();
        assert!(took < CONNECT_TIMEOUT * 2, "{took:?}");
    }
    server.restart().await.unwrap();
    assert_eq!(store.get("k").await.unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn a_connection_that_is_cut_fails_calls_soon_and_is_replaced() {
    let server = or_skip!(RedisServer::for_test().await.unwrap());
    let proxy = Proxy::start(server.address()).await.unwrap();
    let store = KeyValue::redis(&format!("redis://{}", proxy.address())).unwrap();
    store.set("k", b"1").await.unwrap();
    proxy.cut();
    let many = || async {
        let (result, took) = timed(store.get("k")).await;
        result.unwrap_err();
        took
    };
    let took = futures::future::join_all((0..20).map(|_| many())).await;
    let slack = Duration::from_millis(700);
    assert!(took.iter().all(|took| *took < RESPONSE_TIMEOUT + slack));
    // They wait for one attempt, not each for one of its own.
    let took = futures::future::join_all((0..20).map(|_| many())).await;
    assert!(took.iter().all(|took| *took < CONNECT_TIMEOUT + slack));
    proxy.heal();
    assert_eq!(store.get("k").await.unwrap().unwrap(), b"1");
}
