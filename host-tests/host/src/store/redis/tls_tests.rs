//! TLS to Redis, and the files with secrets. These tests run in real time, with as little of it as possible.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::*;
use rig::{RedisServer, Tls};

fn set(key: &str) -> Write {
    Write::Set(vec![(key.to_owned(), b"1".to_vec())])
}

fn files(tls: &Tls) -> RedisFiles {
    RedisFiles {
        redis_ca_file: Some(tls.authority.clone()),
        redis_cert_file: Some(tls.client.certificate.clone()),
        redis_key_file: Some(tls.client.key.clone()),
        redis_password_file: None,
    }
}

#[tokio::test]
async fn tls_needs_the_authority_of_the_server_and_a_certificate_of_the_client() {
    let Some((_server, tls)) = RedisServer::with_tls().await.unwrap() else {
        return;
    };
    let url = format!("rediss://{}/1", tls.address);
    let store = Redis::with(&url, files(&tls)).unwrap();
    store.write(set("k")).await.unwrap();
    assert!(store.exists("k").await.unwrap());
    assert_eq!(
        store.to_string(),
        format!("Redis at {} with TLS, database 1", tls.address)
    );

    let stranger = Redis::at(&url).unwrap();
    let error = stranger.write(set("k")).await.unwrap_err();
    assert!(error.0.contains("UnknownIssuer"), "{error}");
    let nameless = RedisFiles {
        redis_cert_file: None,
        redis_key_file: None,
        ..files(&tls)
    };
    let nameless = Redis::with(&url, nameless).unwrap();
    nameless.write(set("k")).await.unwrap_err();
}

#[tokio::test]
async fn a_password_file_is_read_anew_for_each_connection() {
    let Some(server) = RedisServer::for_test().await.unwrap() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    fs::write(&file, "wrong\n").unwrap();
    let order = ["CONFIG", "SET", "requirepass", "hush"];
    server.order(&order).await.unwrap();
    let files = RedisFiles {
        redis_password_file: Some(file.clone()),
        ..RedisFiles::default()
    };
    let store = Redis::with(&server.url(), files).unwrap();
    let error = store.write(set("k")).await.unwrap_err();
    assert!(error.0.contains("refuses the password"), "{error}");
    fs::write(&file, "hush\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    while let Err(error) = store.write(set("k")).await {
        assert!(Instant::now() < deadline, "{error}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_missing_file_is_named_at_the_start() {
    let files = RedisFiles {
        redis_ca_file: Some("/missing/ca.pem".into()),
        ..RedisFiles::default()
    };
    let error = Redis::with("rediss://127.0.0.1:1", files.clone()).unwrap_err();
    assert!(
        format!("{error:#}").contains("/missing/ca.pem"),
        "{error:#}"
    );
    Redis::with("redis://127.0.0.1:1", files).unwrap();
}
