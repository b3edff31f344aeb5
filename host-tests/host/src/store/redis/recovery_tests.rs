//! A Redis that is healthy again, or another one at its address, is used at once, and no command is executed
//! twice. These tests run in real time, with as little of it as possible.

use std::collections::VecDeque;
use std::time::Duration;

use futures::future::join_all;
use redis::Client;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::*;
use rig::{Proxy, RedisServer, or_skip};

/// Within what time commands must succeed again once a healthy Redis is there.
const RECOVERY: Duration = Duration::from_secs(2);

fn set(key: &str) -> Write {
    Write::Set(vec![(key.to_owned(), b"1".to_vec())])
}

fn increment() -> Write {
    let key = "n".to_owned();
    Write::Increment { key, delta: 1 }
}

/// Writes until it succeeds.
async fn assert_recovers(store: &Redis) {
    let deadline = Instant::now() + RECOVERY;
    while let Err(error) = store.write(set("again")).await {
        assert!(Instant::now() < deadline, "{error}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn two_servers() -> Option<[RedisServer; 2]> {
    let first = RedisServer::for_test().await.unwrap()?;
    Some([first, RedisServer::start().await.unwrap()])
}

#[tokio::test]
async fn a_master_that_became_a_replica_is_left_for_the_new_master() {
    let [old, new] = or_skip!(two_servers().await);
    let proxy = Proxy::start(old.address()).await.unwrap();
    let store = Redis::at(&format!("redis://{}", proxy.address())).unwrap();
    store.write(set("k")).await.unwrap();
    let port = new.address().port().to_string();
    old.order(&["REPLICAOF", "127.0.0.1", &port]).await.unwrap();
    let error = store.write(set("k")).await.unwrap_err();
    assert!(error.0.contains("ReadOnly"), "{error}");
    proxy.lead_to(new.address());
    assert_recovers(&store).await;
    let healthy = Redis::at(&new.url()).unwrap();
    assert!(healthy.exists("again").await.unwrap());
}

#[tokio::test]
async fn a_replica_that_becomes_the_master_is_written_to() {
    let [server, master] = or_skip!(two_servers().await);
    let port = master.address().port().to_string();
    let order = ["REPLICAOF", "127.0.0.1", &port];
    server.order(&order).await.unwrap();
    let store = Redis::at(&server.url()).unwrap();
    store.write(set("k")).await.unwrap_err();
    server.order(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    assert_recovers(&store).await;
}

#[tokio::test]
async fn a_wrong_password_is_named_until_redis_accepts_it() {
    let server = or_skip!(RedisServer::for_test().await.unwrap());
    let order = ["CONFIG", "SET", "requirepass", "hush"];
    server.order(&order).await.unwrap();
    let store = Redis::at(&format!("redis://:hush@{}", server.address())).unwrap();
    let operator = Client::open(format!("redis://:hush@{}", server.address())).unwrap();
    let mut operator = operator.get_multiplexed_async_connection().await.unwrap();
    let mut change = async |password: &str| {
        let mut change = cmd("CONFIG");
        change.arg(&["SET", "requirepass", password]);
        let () = change.query_async(&mut operator).await.unwrap();
        // Connections that gave the old password stay open in Redis until it restarts.
        let mut kill = cmd("CLIENT");
        kill.arg(&["KILL", "SKIPME", "yes"]);
        let _: i64 = kill.query_async(&mut operator).await.unwrap();
    };
    store.write(set("k")).await.unwrap();
    change("new").await;
    // The first command may still find the connection that was killed.
    drop(store.write(set("k")).await);
    let error = store.write(set("k")).await.unwrap_err();
    assert!(error.0.contains("refuses the password"), "{error}");
    assert!(!error.0.contains("hush"), "{error}");
    change("hush").await;
    assert_recovers(&store).await;
}

#[tokio::test]
async fn after_a_pause_a_dead_connection_is_replaced_before_a_command_is_sent() {
    let mut server = or_skip!(RedisServer::for_test().await.unwrap());
    let store = Redis::at(&server.url()).unwrap();
    store.write(increment()).await.unwrap();
    server.kill().unwrap();
    server.restart().await.unwrap();
    sleep(link::IDLE).await;
    assert_eq!(store.write(increment()).await.unwrap(), 2);
}

#[tokio::test]
async fn after_a_pause_a_connection_of_a_network_that_was_cut_is_replaced() {
    let server = or_skip!(RedisServer::for_test().await.unwrap());
    let proxy = Proxy::start(server.address()).await.unwrap();
    let store = Redis::at(&format!("redis://{}", proxy.address())).unwrap();
    store.write(increment()).await.unwrap();
    proxy.cut();
    sleep(link::IDLE).await;
    proxy.heal();
    assert_eq!(store.write(increment()).await.unwrap(), 2);
}

/// A server that speaks Redis' protocol. Each connection gets the next of these answers to every command
/// with a key; the last one stays. Returns its address and the number of connections so far.
async fn scripted(answers: &[&'static str]) -> (String, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (count, counted) = watch::channel(0);
    let mut answers: VecDeque<_> = answers.iter().copied().collect();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.send_modify(|count| *count += 1);
            let answer = answers[0];
            if answers.len() > 1 {
                answers.pop_front();
            }
            tokio::spawn(answer_all(stream, answer));
        }
    });
    (url, counted)
}

/// Reads commands as arrays of strings without line breaks.
async fn answer_all(stream: TcpStream, answer: &str) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let line = async |stream: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        let length = stream.read_line(&mut line).await.ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    };
    loop {
        let count: usize = line(&mut stream).await?.strip_prefix('*')?.parse().ok()?;
        let mut words = Vec::new();
        for _ in 0..count {
            line(&mut stream).await?;
            words.push(line(&mut stream).await?);
        }
        let answer = match words[0].as_str() {
            "CLIENT" => "+OK",
            "PING" => "+PONG",
            _ => answer,
        };
        let answer = format!("{answer}\r\n");
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}

#[tokio::test]
async fn a_refused_command_is_sent_once_more_over_a_new_connection() {
    let codes = [
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
        "CLUSTERDOWN The cluster is down",
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair",
        "NOPERM this user has no permissions",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots",
    ];
    join_all(codes.map(|code| async move {
        let refusal: &str = Box::leak(format!("-{code}").into_boxed_str());
        let (url, connections) = scripted(&[refusal, ":7"]).await;
        let store = Redis::at(&url).unwrap();
        drop(store.ping().await);
        sleep(link::FRESH).await;
        assert_eq!(store.write(increment()).await, Ok(7), "{code}");
        assert_eq!(*connections.borrow(), 2, "{code}");
    }))
    .await;
}

#[tokio::test]
async fn a_redis_that_refuses_everything_costs_few_connections() {
    let (url, connections) = scripted(&["-OOM command not allowed"]).await;
    let store = Redis::at(&url).unwrap();
    for _ in 0..50 {
        store.write(increment()).await.unwrap_err();
    }
    assert!(*connections.borrow() < 10, "{}", *connections.borrow());
}

#[tokio::test]
async fn an_error_about_the_key_leaves_the_connection_as_it_is() {
    for answer in ["-ERR value is not an integer", "-WRONGTYPE Operation"] {
        let (url, connections) = scripted(&[answer]).await;
        let store = Redis::at(&url).unwrap();
        drop(store.ping().await);
        sleep(link::FRESH).await;
        store.write(increment()).await.unwrap_err();
        assert_eq!(*connections.borrow(), 1, "{answer}");
    }
}
