//! TLS to Redis, and the files with secrets. These tests run in real time, with as little of it as possible.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::key_value::Location;
use super::*;
use rig::{RedisServer, Tls, or_skip};

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
    let (server, tls) = or_skip!(RedisServer::with_tls().await.unwrap());
    let url = format!("rediss://{}/1", tls.address);
    let store = Redis::with(&url, files(&tls)).unwrap();
    store.write(set("k")).await.unwrap();
    assert!(store.exists("k").await.unwrap());
    let older = ["CONFIG", "SET", "tls-protocols", "TLSv1.2"];
    server.order(&older).await.unwrap();
    let again = Redis::with(&url, files(&tls)).unwrap();
    assert!(again.exists("k").await.unwrap());
    assert_eq!(store.to_string(), format!("Redis at {} with TLS, database 1", tls.address));

    let stranger = Redis::at(&url).unwrap();
    let error = stranger.write(set("k")).await.unwrap_err();
    assert!(error.0.contains("UnknownIssuer"), "{error}");
    let nameless = RedisFiles { redis_cert_file: None, redis_key_file: None, ..files(&tls) };
    let nameless = Redis::with(&url, nameless).unwrap();
    nameless.write(set("k")).await.unwrap_err();
}

#[tokio::test]
async fn a_password_file_is_read_anew_for_each_connection() {
    let server = or_skip!(RedisServer::for_test().await.unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    fs::write(&file, "wrong\n").unwrap();
    let order = ["CONFIG", "SET", "requirepass", "hush"];
    server.order(&order).await.unwrap();
    let files = RedisFiles { redis_password_file: Some(file.clone()), ..RedisFiles::default() };
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

/// Where the path of a file stands.
type Place = fn(&mut RedisFiles) -> &mut Option<PathBuf>;

/// The options with a file, and the place of each.
const OPTIONS: [(&str, Place); 4] = [
    ("--redis-password-file", |files| &mut files.redis_password_file),
    ("--redis-ca-file", |files| &mut files.redis_ca_file),
    ("--redis-cert-file", |files| &mut files.redis_cert_file),
    ("--redis-key-file", |files| &mut files.redis_key_file),
];

/// Opens a store whose server is away. An error ends the start of `serve`.
fn open(location: &str, files: RedisFiles) -> std::result::Result<(), String> {
    let location: Location = location.parse().unwrap();
    let opened = location.open_with(files);
    opened.map(drop).map_err(|error| format!("{error:#}"))
}

/// Valid files for TLS and a password.
fn all_files(directory: &Path) -> RedisFiles {
    let password = directory.join("password");
    fs::write(&password, "hush\n").unwrap();
    RedisFiles { redis_password_file: Some(password), ..files(&Tls::new(directory).unwrap()) }
}

#[tokio::test]
async fn a_file_that_the_store_would_not_use_is_refused_by_its_option() {
    let directory = tempfile::tempdir().unwrap();
    let valid = all_files(directory.path());
    open("rediss://127.0.0.1:1", valid.clone()).unwrap();
    let sqlite = format!("sqlite:{}", directory.path().join("db").display());
    for (location, used) in [("memory", 0), (&sqlite, 0), ("redis://127.0.0.1:1", 1)] {
        for (number, (option, place)) in OPTIONS.into_iter().enumerate() {
            let mut files = RedisFiles::default();
            *place(&mut files) = place(&mut valid.clone()).clone();
            let result = open(location, files);
            if number < used {
                result.unwrap();
            } else {
                let error = result.unwrap_err();
                assert!(error.starts_with(option), "{location}: {error}");
            }
        }
    }
}

#[test]
fn a_missing_unreadable_empty_or_wrong_file_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let valid = all_files(directory.path());
    let path = directory.path().join("file");
    let text = path.display().to_string();
    let key = fs::read(valid.redis_key_file.as_ref().unwrap()).unwrap();
    for (option, place) in OPTIONS {
        let mut files = valid.clone();
        *place(&mut files) = Some(path.clone());
        let refused = |expected: &str| {
            let error = open("rediss://127.0.0.1:1", files.clone()).unwrap_err();
            assert!(error.contains(expected), "{option}: {error}");
        };
        refused(&format!("can't read {text}: No such file"));
        fs::create_dir(&path).unwrap();
        refused(&format!("can't read {text}: Is a directory"));
        fs::remove_dir(&path).unwrap();
        let (expected, wrong) = match option {
            "--redis-password-file" => (format!("{text} holds no password"), &b"\r\n"[..]),
            "--redis-key-file" => ("private key".to_owned(), &b"hush"[..]),
            _ => (format!("{text} holds no certificate"), &key[..]),
        };
        for content in [b"", wrong] {
            fs::write(&path, content).unwrap();
            refused(&expected);
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_password_that_crosses_a_network_in_clear_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let file = RedisFiles {
        redis_password_file: all_files(directory.path()).redis_password_file,
        ..RedisFiles::default()
    };
    let none = RedisFiles::default;
    for (url, files, expected) in [
        ("redis://10.0.0.3:6379", file.clone(), true),
        ("redis://:hush@redis.internal", none(), true),
        ("redis://redis.internal", none(), false),
        ("redis://127.0.0.1:6379", file.clone(), false),
        ("redis://:hush@[::1]:6379", none(), false),
        ("redis://:hush@localhost", none(), false),
        ("rediss://:hush@10.0.0.3", file, false),
    ] {
        let store = Redis::with(url, files).unwrap();
        assert_eq!(store.shows_password(), expected, "{url}");
    }
}
