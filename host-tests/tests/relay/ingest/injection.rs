//! Texts in a request stay texts. They reach no other host, path or header of a call to Svix, and start no
//! second line of the log.

use serde_json::{Value, json};

use crate::support::{JSON, World};

/// Texts that mean something to a parser on the way.
fn texts() -> Vec<String> {
    let mut texts: Vec<_> = [
        "a\r\nx-evil: 1",
        "a\r\n\r\nGET / HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        "a\nb",
        "a\0b",
        "\0",
        "../../../auth",
        "..",
        ".",
        "a/../b",
        "%2e%2e/%2e%2e",
        "%2e%2e",
        "%0d%0ax-evil:1",
        "?x=1",
        "a?with_content=true",
        "#x",
        "a#b",
        "a/b",
        "//evil.example/",
        "@evil.example",
        "http://evil.example",
        "a\\b",
        "a;b",
        "\"},\"x\":{\"",
        "${svix_token}{{ svix_token }}",
        "\u{1b}[31mred\u{9b}",
        "\u{2028}\u{2029}\u{202e}\u{feff}",
        "Ünïcödé 💥",
        "ａｐｐ",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(100_000));
    texts.push("💥".repeat(30_000));
    texts
}

/// The headers of a call to Svix.
#[rustfmt::skip]
const KNOWN: [&str; 12] = [
    "accept", "accept-encoding", "authorization", "content-length", "content-type", "host", "idempotency-key",
    "svix-req-id", "svix-retry-count", "traceparent", "tracestate", "user-agent",
];

/// Every call went to Svix, about `dev` or the type `t`, with the headers that belong there.
#[track_caller]
fn assert_calls_are_plain(world: &World, about: &str) {
    for request in world.svix.requests() {
        if let Some(rest) = request.path.strip_prefix("/api/v1/event-type/") {
            assert!(["", "t/"].contains(&rest), "{}: {about}", request.path);
        } else {
            let (path, query) = request.path.split_once('?').expect("a query");
            assert_eq!(query, "with_content=false", "{about}");
            let id = path.strip_prefix("/api/v1/app/dev/msg/").expect(about);
            let id = id.strip_suffix('/').unwrap_or(id);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            assert!(id.bytes().all(plain) && id != ".." && id != ".", "{path}");
            assert!(id.len() <= 256, "{path}");
        }
        assert_eq!(request.header("host"), Some("svix.test"));
        assert_eq!(request.header("authorization"), Some("Bearer testsk_fake"));
        for name in request.headers.keys() {
            assert!(KNOWN.contains(&name.as_str()), "{name}: {about}");
        }
    }
}

/// Checks that each request left one line of JSON, of bounded length and without control characters.
#[track_caller]
fn assert_lines_are_whole(world: &World, requests: usize) {
    let lines = world.stdout();
    assert_eq!(lines.len(), requests, "{lines:?}");
    for line in lines {
        let value: Value = serde_json::from_str(&line).expect(&line);
        assert!(value["outcome"].is_string());
        assert!(!line.contains(char::is_control), "{line}");
        assert!(line.len() < 4_000, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn fields_of_an_event_stay_fields_of_an_event() {
    for text in texts() {
        let world = World::with(&[("register_event_types", "true")]);
        for field in ["project", "type"] {
            let mut event = json!({"id": "evt_1", "type": "t", "project": "dev"});
            event[field] = json!(text);
            let reply = world.post(&event.to_string()).await;
            // Svix allows dots as a type.
            if field == "type" && text.bytes().all(|byte| byte == b'.') {
                assert_eq!(reply.status, 200);
            } else {
                reply.assert_final_problem(422, "invalid-event");
                assert!(!reply.text().contains(&text) || text.len() < 3, "{text}");
            }
        }
        let old = "1999-01-01T00:00:00Z";
        for time in ["2026-11-23T14:12:42Z", old] {
            let event =
                json!({"id": format!("{text}{time}"), "type": "t", "project": "dev", "time": time});
            let event = event.to_string();
            world.post(&event).await.assert_became("delivered");
            world.push(&event).await.assert_became("duplicate");
        }
        assert_calls_are_plain(&world, &text);
        assert_lines_are_whole(&world, 6);
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_a_request_stay_headers_of_a_request() {
    for text in texts() {
        // The client refuses to send control characters in a header.
        let value: String = text.chars().filter(|char| !char.is_control()).collect();
        let world = World::new();
        for (number, name) in [
            "traceparent",
            "tracestate",
            "x-goog-pubsub-message-id",
            "x-goog-pubsub-publish-time",
            "x-goog-pubsub-subscription-name",
            "authorization",
            "idempotency-key",
            "svix-req-id",
            "x-forwarded-host",
        ]
        .iter()
        .enumerate()
        {
            let event = json!({"id": format!("evt_{number}"), "type": "t", "project": "dev"});
            let headers = [JSON, (*name, value.as_str())];
            let path = format!("/notifications?{}", "x=..%2f");
            let reply = world.request("POST", &path, &headers, &event.to_string()).await;
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        }
        assert_calls_are_plain(&world, &text);
        assert_lines_are_whole(&world, 9);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_not_utf8_break_nothing() {
    let world = World::new();
    let body = r#"{"id":"evt_1","type":"t","project":"dev"}"#;
    let post = |header: &[u8]| {
        let head = "POST /notifications HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n";
        let length = format!("content-length: {}\r\n", body.len());
        let rest = format!("\r\n{body}");
        [head.as_bytes(), length.as_bytes(), header, rest.as_bytes()].concat()
    };
    let reply = world.send_raw(&post(b"x-goog-pubsub-message-id: a\xff\xfe\xc3\t\x80b\r\n")).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert_lines_are_whole(&world, 1);
    for header in [&b"x-goog-pubsub-message-id: a\0b\r\n"[..], b"x: a\nb\r\n", b"x y: 1\r\n"] {
        let reply = world.send_raw(&post(header)).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    }
    assert_calls_are_plain(&world, "raw");
}

#[tokio::test(start_paused = true)]
async fn too_many_or_too_large_headers_are_refused_at_once() {
    let world = World::new();
    let request = |headers: &str| {
        format!("GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n")
    };
    let many = |count: usize| {
        let headers: Vec<_> = (0..count).map(|n| format!("x-{n}: 1\r\n")).collect();
        headers.concat()
    };
    let large = |bytes: usize| format!("x: {}\r\n", "x".repeat(bytes));
    for (headers, status) in [
        (many(254), "200"),
        (many(255), "431"),
        (many(100_000), "431"),
        (large(150_000), "200"),
        (large(250_000), "431"),
        (large(5_000_000), "431"),
    ] {
        let sent = request(&headers);
        let (reply, took) = world.timed(world.send_raw(sent.as_bytes())).await;
        let line = reply.lines().next().unwrap_or_default();
        let expected = format!("HTTP/1.1 {status} ");
        assert!(line.starts_with(&expected), "{} bytes: {line}", headers.len());
        assert!(took.as_secs() < 1, "{took:?}");
    }
}
