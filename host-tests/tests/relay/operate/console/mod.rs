//! The operator's console, in a real browser and by keyboard alone. These tests run in real time, since the
//! browser has a clock of its own.

mod browser;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use fake_svix::{Fault, RetryAfter, Target};
use host::Op;
use rig::or_skip;

use crate::support::{World, ask, event, event_of, root, wrapped};
use browser::{Browser, ENTER, sees, until};

const POISON: &str = r#"<script>window.pwned=1</script><img src=x onerror=\"window.pwned=1\">"#;

fn world() -> World {
    World::with(&[("admin_token", "hush"), ("retry_max_attempts", "1")])
}

/// A browser in front of the console of a world.
async fn visit(world: &World) -> Option<Browser> {
    let browser = Browser::start().await?;
    let page = format!("http://{}/console", world.listen().await);
    browser.open(&page).await;
    until(&browser, "document.activeElement.id === 'token'").await;
    Some(browser)
}

/// The same, signed in.
async fn enter(world: &World) -> Option<Browser> {
    let browser = visit(world).await?;
    browser.enter("hush").await;
    sees(&browser, "#shown", " ").await;
    Some(browser)
}

/// Lets the page run this function body instead of its `fetch`, which is `real`.
async fn instead_of_fetch(browser: &Browser, body: &str) {
    let script = format!(
        "void (real => globalThis.fetch = async (path, options) => {{ {body} }})(globalThis.fetch)"
    );
    browser.value(&script).await;
}

/// Answers the page's requests for `/status` with this document, and makes the page ask now.
async fn answer_status(browser: &Browser, status: &Value) {
    let body = format!("return path === 'status' ? Response.json({status}) : real(path, options);");
    instead_of_fetch(browser, &body).await;
    look_again(browser).await;
}

/// Makes the page do the same as when its tab is shown again.
async fn look_again(browser: &Browser) {
    let shown = "document.dispatchEvent(new Event('visibilitychange'))";
    browser.value(shown).await;
}

/// An event with `name` in it that Svix refuses.
async fn poison(world: &World, id: &str, name: &str) {
    world.svix.script([Fault::status(422)]);
    let event = event(id).replacen("Grace Example", name, 1);
    world.push(&event).await.assert_became("dead-lettered");
}

/// An event at which Svix asks for an hour without any.
async fn rate_limit(world: &World, id: &str) {
    let limited = Fault::retry_after(429, RetryAfter::Seconds(3600));
    world.svix.script([limited]);
    assert_eq!(world.post(&event(id)).await.status, 429);
}

/// Looks up an event of the project `dev`.
async fn find(browser: &Browser, id: &str) {
    browser.fill("#project", "dev").await;
    browser.fill("#event", id).await;
    browser.keys(ENTER).await;
}

/// Opens a dead letter.
async fn open_letter(browser: &Browser, number: usize) {
    let button = format!("[aria-label='Dead letter {number}']");
    browser.press(&button).await;
    let title = format!("Dead letter {number}");
    sees(browser, "#letter-title", &title).await;
}

/// Closes the dead letter. The page gives the focus back a moment after that.
async fn close_letter(browser: &Browser, number: usize) {
    browser.press("#close").await;
    let returned = format!("document.activeElement.ariaLabel === 'Dead letter {number}'");
    until(browser, &returned).await;
}

/// Waits until a dialog is closed.
async fn is_closed(browser: &Browser, dialog: &str) {
    let closed = format!("!document.querySelector('{dialog}').open");
    until(browser, &closed).await;
}

/// Checks that the page is no wider than its window.
async fn assert_fits(browser: &Browser) {
    let overflow = "document.documentElement.scrollWidth - innerWidth";
    assert_eq!(browser.value(overflow).await, 0);
}

/// Presses a button, and confirms the question that has this text.
async fn act(browser: &Browser, button: &str, question: &str) {
    browser.press(button).await;
    sees(browser, "#question", question).await;
    until(browser, "document.querySelector('#question').open").await;
    browser.press("#yes").await;
}

#[tokio::test(start_paused = true)]
async fn a_browser_may_run_nothing_but_the_page_itself() {
    let world = world();
    let reply = world.get("/console").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    let policy = reply.header("content-security-policy").expect("a policy");
    for directive in [
        "default-src 'none';",
        "connect-src 'self';",
        "style-src 'self';",
        "script-src 'self';",
        "base-uri 'none';",
        "form-action 'none';",
        "frame-ancestors 'none';",
    ] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(reply.text().starts_with("<!doctype html>"));
    for (path, content_type) in [
        ("/console/page.css", "text/css; charset=utf-8"),
        ("/console/page.js", "text/javascript; charset=utf-8"),
    ] {
        let part = world.get(path).await;
        assert_eq!(part.header("content-type"), Some(content_type));
        assert_eq!(part.header("content-security-policy"), Some(policy));
    }
    let reply = world.request("HEAD", "/console", &[], "").await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    let reply = world.request("POST", "/console", &[], "").await;
    reply.assert_final_problem(405, "method-not-allowed");
}

#[tokio::test(start_paused = true)]
async fn without_a_token_there_is_no_console() {
    for path in ["/console", "/console/page.css", "/console/page.js"] {
        let reply = World::new().get(path).await;
        reply.assert_final_problem(404, "not-found");
    }
}

#[tokio::test]
async fn only_the_token_opens_the_console_and_no_secret_is_shown() {
    let world = world();
    let browser = or_skip!(visit(&world).await);
    world.post(&event("evt_1")).await;
    browser.enter("guess").await;
    sees(&browser, "#refused", "The operator's token is needed").await;
    assert_eq!(browser.text("#inside").await, "");

    // The refused token is selected, so typing replaces it.
    browser.enter("hush").await;
    sees(&browser, "#tiles", "Ready").await;
    assert!(browser.text("#tiles").await.contains("Open"));
    browser.press("summary").await;
    sees(&browser, "#configuration", "[redacted]").await;
    let shown = browser.text("#configuration").await;
    assert!(shown.contains("http://svix.test"), "{shown}");
    assert!(!shown.contains("hush") && !shown.contains("testsk"), "{shown}");
    until(&browser, "document.querySelector('#bars .delivered')").await;
    assert!(browser.text("#outcomes").await.contains("delivered\t1"));

    browser.press("#leave").await;
    until(&browser, "document.activeElement.id === 'token'").await;
    assert_eq!(browser.text("#inside").await, "");
    let token = "document.querySelector('#token').value";
    assert_eq!(browser.value(token).await, "");
    browser.finish().await;
}

#[tokio::test]
async fn a_token_that_is_refused_later_ends_the_session() {
    let world = world();
    let browser = or_skip!(enter(&world).await);
    instead_of_fetch(&browser, "return new Response('{}', {status: 401});").await;
    browser.press("#filter button").await;
    sees(&browser, "#refused", "401").await;
    assert_eq!(browser.text("#inside").await, "");
}

#[tokio::test]
async fn a_reader_sees_all_and_finds_no_button_that_acts() {
    let operators = [("admin_token", "hush,support:ro:look"), ("retry_max_attempts", "1")];
    let world = World::with(&operators);
    world.svix.create_application("dev");
    world.svix.create_endpoint("dev", "https://hooks.test/in");
    for id in ["evt_1", "evt_lost"] {
        assert_eq!(world.post(&event(id)).await.status, 200);
    }
    poison(&world, "evt_2", "Grace").await;
    wait_for_journal(&world, 3).await;
    world.clock.advance(Duration::from_hours(1));
    let lost = world.message("evt_lost").id;
    world.svix.forget_message(&lost);
    let audit = ask(&world, "POST", "/maintenance/audit");
    assert_eq!(audit.await.json()["found"], 1);
    rate_limit(&world, "evt_3").await;

    let buttons = "[...document.querySelectorAll('button')].filter(button => \
                           button.checkVisibility()).map(button => button.textContent)";
    let mut seen = Vec::new();
    for (token, name) in [("look", "support, read-only"), ("hush", "operator")] {
        let browser = or_skip!(visit(&world).await);
        browser.enter(token).await;
        sees(&browser, "#operator", name).await;
        sees(&browser, "#tiles", "Closed").await;
        sees(&browser, "#findings", "missing").await;
        sees(&browser, "#letters", "evt_2").await;
        find(&browser, "evt_1").await;
        sees(&browser, "#endpoints", "hooks.test").await;
        open_letter(&browser, 1).await;
        sees(&browser, "#letter-body", "Grace").await;
        seen.push(browser.value(buttons).await);
        browser.finish().await;
    }
    let reading = json!(["Sign out", "Look up", "Filter", "#1", "Close"]);
    assert_eq!(seen[0], reading);
    let all = json!([
        "Sign out",
        "Open the gate…",
        "Audit now",
        "Send again…",
        "Look up",
        "Resend…",
        "Recover…",
        "Filter",
        "Replay all…",
        "#1",
        "Replay…",
        "Discard…",
        "Close",
    ]);
    assert_eq!(seen[1], all);
}

#[tokio::test]
async fn an_event_is_looked_up_by_project_and_id() {
    let world = world();
    let browser = or_skip!(enter(&world).await);
    world.post(&event("evt/1 <b>ä</b>")).await;
    find(&browser, "evt/1 <b>ä</b>").await;
    sees(&browser, "#found", &world.only_message().id).await;
    let found = browser.text("#found").await;
    for told in ["delivered", "evt/1 <b>ä</b>", "user.created", "Attempts\n1"] {
        assert!(found.contains(told), "{found}");
    }
    assert!(!found.contains("dashboard"), "a link although Svix is a fake: {found}");

    browser.enter("2").await;
    sees(&browser, "#found", "No record of this event").await;
    world.faults.fail_next(Op::Get, 1);
    browser.keys(ENTER).await;
    sees(&browser, "#found", "The key-value store is failing").await;
    assert!(browser.text("#found").await.contains("Try again in 5 s."));
    browser.finish().await;
}

/// Lets the page wait only until the test ends the wait.
async fn hold_timers(browser: &Browser) {
    let held = "void (globalThis.held = [], globalThis.setTimeout = (act, wait) => held.push({ act, wait }))";
    browser.value(held).await;
}

/// Ends the page's next wait, which is this long in milliseconds.
async fn end_wait(browser: &Browser, wait: u64) {
    until(browser, "held.length").await;
    assert_eq!(browser.value("held[0].wait").await, wait);
    browser.value("void held.shift().act()").await;
}

/// A world in which an endpoint has failed to take `evt_1`, and its id.
async fn world_with_failed_event() -> (World, String) {
    let world = world();
    world.svix.create_application("dev");
    let endpoint = world.svix.create_endpoint("dev", "https://hooks.test/in");
    world.svix.answer_of_endpoint("dev", &endpoint, [500]);
    assert_eq!(world.post(&event("evt_1")).await.status, 200);
    (world, endpoint)
}

/// A browser that shows the fate of `evt_1`.
async fn look_up(world: &World) -> Option<Browser> {
    let browser = enter(world).await?;
    find(&browser, "evt_1").await;
    sees(&browser, "#timeline", "stored in Svix").await;
    Some(browser)
}

#[tokio::test]
async fn an_operator_sees_why_an_endpoint_fails_and_resends() {
    let (world, endpoint) = world_with_failed_event().await;
    let browser = or_skip!(look_up(&world).await);
    sees(&browser, "#endpoints", "https://hooks.test/…").await;
    sees(&browser, "#endpoints", "fail").await;
    sees(&browser, "#timeline", "500 after 35 ms").await;

    world.svix.answer_of_endpoint("dev", &endpoint, [200]);
    let button = format!("[aria-label='Resend to https://hooks.test/… {endpoint}']");
    act(&browser, &button, "retries to this endpoint end").await;
    let told = "Sent to https://hooks.test/… again.";
    sees(&browser, "#fate-said", told).await;
    sees(&browser, "#endpoints", "received").await;
    sees(&browser, "#timeline", "200 after 35 ms, sent again by hand").await;
    browser.finish().await;
}

#[tokio::test]
async fn the_page_waits_for_the_attempt_that_an_operator_asks_for() {
    let (world, endpoint) = world_with_failed_event().await;
    let browser = or_skip!(look_up(&world).await);
    let hour = Duration::from_hours(1);
    world.svix.delay_resends(hour);
    hold_timers(&browser).await;
    let button = format!("[aria-label='Resend to https://hooks.test/… {endpoint}']");
    act(&browser, &button, "").await;
    for wait in [0, 1_000, 2_000, 4_000, 8_000] {
        sees(&browser, "#fate-said", "Svix sends it to").await;
        // A retry by Svix's own schedule is not the attempt that is waited for.
        world.clock.advance(Duration::from_secs(6));
        end_wait(&browser, wait).await;
    }
    sees(&browser, "#fate-said", "Svix has not sent it to").await;
    assert!(!browser.text("#timeline").await.contains("by hand"));

    world.clock.advance(hour);
    world.svix.answer_of_endpoint("dev", &endpoint, [200]);
    act(&browser, &button, "").await;
    end_wait(&browser, 0).await;
    sees(&browser, "#timeline", "by hand").await;
    sees(&browser, "#fate-said", "again.").await;
    browser.finish().await;
}

#[tokio::test]
async fn an_operator_recovers_an_endpoint() {
    let (world, endpoint) = world_with_failed_event().await;
    let browser = or_skip!(look_up(&world).await);
    world.svix.answer_of_endpoint("dev", &endpoint, [200]);
    let since = "document.querySelector('#recover-since').value";
    assert_eq!(browser.value(since).await, "2026-11-23T14:12");
    let question = "everything again that it has failed to take, since 2026-11-23 14:12 UTC";
    act(&browser, "#recover button", question).await;
    sees(&browser, "#fate-said", "is running.").await;
    let requests = world.svix.requests();
    let asked = requests.last().expect("a request");
    assert!(asked.path.ends_with("/recover/"), "{}", asked.path);
    assert_eq!(asked.body, r#"{"since":"2026-11-23T14:12:00Z"}"#);

    browser.tab_to("#recover-missing").await;
    browser.keys(" ").await;
    act(&browser, "#recover button", "never sent to it").await;
    sees(&browser, "#fate-said", "This Svix does not offer it").await;
    browser.look(390, 844, "light").await;
    assert_fits(&browser).await;
    browser.finish().await;
}

#[tokio::test]
async fn a_failure_of_svix_is_shown_beside_the_record() {
    let (world, _) = world_with_failed_event().await;
    world.svix.always_at(Target::Deliveries, Fault::status(500));
    let browser = or_skip!(look_up(&world).await);
    let told = "Svix is not available: Svix answered 500.";
    sees(&browser, "#fate-said", told).await;
    assert!(browser.text("#found").await.contains("delivered"));
}

#[tokio::test]
async fn an_event_whose_id_is_a_dot_segment_is_looked_up() {
    let world = world();
    let browser = or_skip!(enter(&world).await);
    browser.fill("#project", "dev").await;
    browser.tab_to("#event").await;
    for id in [".", "..", "%2e"] {
        world.post(&event(id)).await;
        browser.value("document.activeElement.select()").await;
        browser.enter(id).await;
        sees(&browser, "#found", &format!("Event\n{id}\nType")).await;
    }
}

#[tokio::test]
async fn characters_that_reorder_a_text_or_hide_in_it_are_shown_as_escapes() {
    let world = world();
    let hidden = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\u{200b}\u{feff}\u{34f}\u{e0041}\u{7f}";
    let escaped = r"\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u200b\ufeff\u034f\udb40\udc41\u007f";
    let id = format!("evt_{hidden}1");
    poison(&world, &id, &format!("Grace {hidden}")).await;
    let broken = format!(r#"{{"id":"{id}","type":"a{hidden}","project":"b{hidden}"}}"#);
    world.push(&broken).await;
    world.post(&event(&format!("{id}2"))).await;
    let browser = or_skip!(enter(&world).await);
    let raw = format!(
        "[...{}].some(char => document.documentElement.outerHTML.includes(char))",
        Value::from(hidden)
    );
    sees(&browser, "#letters", &format!("evt_{escaped}1")).await;
    assert_eq!(browser.value(&raw).await, false);
    for (number, told) in [(1, format!("\"Grace {escaped}\"")), (2, format!("\"b{escaped}\""))] {
        open_letter(&browser, number).await;
        sees(&browser, "#letter pre", &told).await;
        assert_eq!(browser.value(&raw).await, false, "letter {number}");
        close_letter(&browser, number).await;
    }

    browser.fill("#project", "dev").await;
    let set = format!("document.querySelector('#event').value = {}", Value::from(format!("{id}2")));
    browser.value(&set).await;
    browser.press("#find button").await;
    sees(&browser, "#found", &format!("evt_{escaped}12")).await;
    assert_eq!(browser.value(&raw).await, false);
}

#[tokio::test]
async fn a_letter_is_shown_with_its_attributes() {
    let world = world();
    let push =
        r#"{"message":{"data":"bm9uZQ==","messageId":"1","attributes":{"ce-id":"evt_\u202e1"}}}"#;
    world.post(push).await.assert_became("dead-lettered");
    let browser = or_skip!(enter(&world).await);
    browser.press("#letters button").await;
    sees(&browser, "#letter-body", "Attributes\nce-id\nevt_\\u202e1").await;
}

/// Closes the gate for a whole minute, however slow the browser was, and waits for the page to show that.
async fn close_gate(world: &World, browser: &Browser) {
    world.clock.advance(Duration::from_secs(61));
    rate_limit(world, "evt_1").await;
    look_again(browser).await;
    sees(browser, "#open-gate", "Open the gate").await;
}

#[tokio::test]
async fn an_operator_opens_the_closed_gate() {
    let world = world();
    let browser = or_skip!(enter(&world).await);
    sees(&browser, "#tiles", "events go to Svix").await;
    assert_eq!(browser.text("#open-gate").await, "");
    close_gate(&world, &browser).await;

    browser.press("#open-gate").await;
    sees(&browser, "#question", "Open the gate?").await;
    browser.press("#no").await;
    is_closed(&browser, "#question").await;
    assert_eq!(world.post(&event("evt_1")).await.status, 429);

    close_gate(&world, &browser).await;
    world.faults.fail_always(Op::Set);
    act(&browser, "#open-gate", "").await;
    let told = "Opening the gate failed. The key-value store";
    sees(&browser, "#gate-said", told).await;
    world.faults.clear();

    act(&browser, "#open-gate", "").await;
    sees(&browser, "#gate-said", "You have opened the gate.").await;
    sees(&browser, "#tiles", "events go to Svix").await;
    assert_eq!(browser.text("#open-gate").await, "");
    until(&browser, "document.activeElement.id === 'status-title'").await;
    assert_eq!(world.post(&event("evt_1")).await.status, 200);
    browser.finish().await;
}

#[tokio::test]
async fn an_operator_audits_and_resolves_what_is_found() {
    let world = World::with(&[("admin_token", "hush"), ("canary_project", "canary")]);
    let browser = or_skip!(enter(&world).await);
    sees(&browser, "#tiles", "no audit has run yet").await;
    sees(&browser, "#tiles", "none has arrived yet").await;
    for id in ["evt_1", "evt_2", "evt_3"] {
        assert_eq!(world.post(&event(id)).await.status, 200);
    }
    world.svix.forget_message(&world.message("evt_1").id);
    world.svix.store_message("dev", "evt_2", "user.created", "{}");
    ask(&world, "POST", "/maintenance/canary").await.ok();
    wait_for_journal(&world, 4).await;
    world.clock.advance(Duration::from_hours(1));

    browser.press("#audit").await;
    let told = "3 events compared, 2 new findings.";
    sees(&browser, "#audit-said", told).await;
    sees(&browser, "#tiles", "3 events, 1 missing, 1 doubled").await;
    sees(&browser, "#tiles", "arrived").await;
    let findings = browser.text("#findings tbody").await;
    for told in ["missing", "evt_1", "doubled", "evt_2", "two messages"] {
        assert!(findings.contains(told), "{findings}");
    }

    act(&browser, "[aria-label='Send again… evt_1']", "publish the event again").await;
    sees(&browser, "#audit-said", "Publish evt_1 again now.").await;
    act(&browser, "[aria-label='Acknowledge… evt_2']", "").await;
    sees(&browser, "#audit-said", "evt_2 is acknowledged.").await;
    until(&browser, "document.querySelector('#findings').hidden").await;
    sees(&browser, "#tiles", "0 missing, 0 doubled").await;
    world.post(&event("evt_1")).await.assert_became("delivered");
    world.message("evt_1");
    browser.finish().await;
}

/// Waits until the journal names this many records.
async fn wait_for_journal(world: &World, records: usize) {
    loop {
        let mut named = 0;
        for name in world.names().await {
            if name.starts_with("journal/day/") && name.matches('/').count() == 3 {
                let page = world.stored(&name).await.unwrap_or_default();
                named += page.split(|byte| *byte == b'\n').count() - 1;
            }
        }
        if named >= records {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_poison_event_is_shown_as_text_and_replayed_until_it_is_resolved() {
    let world = world();
    poison(&world, &format!("evt_{POISON}"), POISON).await;
    let browser = or_skip!(enter(&world).await);
    let listed = browser.text("#letters").await;
    let seen = POISON.replace('\\', "");
    for told in ["refused-by-svix", "Svix answered 422", "unresolved", &seen] {
        assert!(listed.contains(told), "{listed}");
    }

    browser.press("#letters button").await;
    sees(&browser, "#letter", "Dead letter 1").await;
    sees(&browser, "#letter pre", "\n    \"metadata\": {},\n").await;
    let name = format!("\n    \"fullName\": \"{POISON}\",\n");
    sees(&browser, "#letter pre", &name).await;
    let made = "document.querySelectorAll('script, img').length";
    assert_eq!(browser.value(made).await, 1, "only the page's own script");

    world.svix.always_for(&Method::POST, Fault::status(422));
    act(&browser, "#replay", "Replay dead letter 1?").await;
    let told = "Replaying failed. Refused by Svix";
    sees(&browser, "#letter-said", told).await;
    assert_eq!(world.svix.messages().len(), 0);

    world.svix.clear_faults();
    until(&browser, "!document.querySelector('#replay').disabled").await;
    act(&browser, "#replay", "Replay dead letter 1?").await;
    sees(&browser, "#letter-said", "resolved: delivered").await;
    let id = world.only_message().id;
    sees(&browser, "#letter-body", &id).await;
    sees(&browser, "#shown", "No unresolved dead letters.").await;
    browser.press("#close").await;
    until(&browser, "document.activeElement.id === 'letters-title'").await;
    browser.tab_to("#unresolved").await;
    browser.keys(" ").await;
    sees(&browser, "#letters", &id).await;
    assert!(browser.text("#letters").await.contains("resolved"));
    assert_eq!(browser.value("typeof window.pwned").await, "undefined");
    browser.finish().await;
}

#[tokio::test]
async fn a_payload_keeps_each_of_its_tokens() {
    let world = world();
    let odd = r#"{"id":7,"a":[10.0,12345678901234567890,1E2],"b":{},"c":[],"d":"\u003c\"{,:","e":[[null]]}"#;
    for body in [wrapped(odd), wrapped(b"no { JSON"), r#"{"message":{"data":"%"}}"#.to_owned()] {
        world.post(&body).await.assert_became("dead-lettered");
    }
    let browser = or_skip!(enter(&world).await);
    let indented = r#"{
  "id": 7,
  "a": [
    10.0,
    12345678901234567890,
    1E2
  ],
  "b": {},
  "c": [],
  "d": "\u003c\"{,:",
  "e": [
    [
      null
    ]
  ]
}"#;
    let not_base64 = "{\n  \"message\": {\n    \"data\": \"%\"\n  }\n}";
    for (number, expected) in [(1, indented), (2, "no { JSON"), (3, not_base64)] {
        open_letter(&browser, number).await;
        assert_eq!(browser.text("#letter pre").await, expected);
        close_letter(&browser, number).await;
    }
}

#[tokio::test]
async fn a_letter_is_discarded_only_after_a_confirmation() {
    let world = world();
    poison(&world, "evt_1", "Grace").await;
    let browser = or_skip!(enter(&world).await);
    browser.press("#letters button").await;
    browser.press("#discard").await;
    sees(&browser, "#question", "Discard dead letter 1?").await;
    // Enter does not confirm an act that can't be undone.
    until(&browser, "document.activeElement.id === 'no'").await;
    browser.keys(ENTER).await;
    is_closed(&browser, "#question").await;
    let letter = || ask(&world, "GET", "/dead-letters/1");
    assert_eq!(letter().await.status, 200);

    act(&browser, "#discard", "").await;
    sees(&browser, "#said", "Dead letter 1 is discarded.").await;
    sees(&browser, "#shown", "No unresolved dead letters.").await;
    letter().await.assert_final_problem(404, "no-dead-letter");
    is_closed(&browser, "#letter").await;
}

#[tokio::test]
async fn replaying_all_replays_the_letters_of_the_filter() {
    let world = world();
    for number in 1..=25 {
        poison(&world, &format!("evt_{number}"), "Grace").await;
    }
    world.push(b"nonsense").await;
    let browser = or_skip!(enter(&world).await);
    sees(&browser, "#shown", "26 shown").await;
    browser.fill("#of-reason", "not-json").await;
    browser.keys(ENTER).await;
    sees(&browser, "#shown", "1 shown").await;
    browser.fill("#of-reason", &"\u{e003}".repeat(8)).await;
    browser.fill("#of-project", "dev").await;
    act(&browser, "#replay-all", "Each one of the project dev").await;
    let told = "Done: 25 resolved, 0 can not be delivered still.";
    sees(&browser, "#said", told).await;
    assert_eq!(world.svix.messages().len(), 25);
    sees(&browser, "#shown", "No unresolved dead letters.").await;

    browser.fill("#of-project", &"\u{e003}".repeat(3)).await;
    act(&browser, "#replay-all", "").await;
    let told = "Done: 0 resolved, 1 can not be delivered still.";
    sees(&browser, "#said", told).await;
    sees(&browser, "#shown", "1 shown").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_replay_of_all_keeps_to_the_filter_that_was_confirmed() {
    let world = world();
    for project in ["pa", "pb"] {
        for number in 1..=25 {
            let event = event_of(project, &format!("evt_{project}{number}"));
            world.svix.script([Fault::status(422)]);
            world.push(&event).await;
        }
    }
    let browser = or_skip!(enter(&world).await);
    // The answer to the first batch waits until the filter was changed.
    instead_of_fetch(
        &browser,
        "const reply = await real(path, options);
         if (path.includes('replay') && !globalThis.go) await new Promise(go => { globalThis.go = go; });
         return reply;",
    )
    .await;
    sees(&browser, "#shown", "50 shown").await;
    browser.fill("#of-project", "pa").await;
    act(&browser, "#replay-all", "").await;
    until(&browser, "globalThis.go").await;
    browser.fill("#of-project", "\u{e003}\u{e003}pb").await;
    browser.keys(ENTER).await;
    sees(&browser, "#shown", "25 shown").await;
    browser.value("go()").await;
    let told = "Done: 25 resolved, 0 can not be delivered still.";
    sees(&browser, "#said", told).await;
    let sent = |project| world.svix.messages_for(project).len();
    assert_eq!((sent("pa"), sent("pb")), (25, 0));
}

#[tokio::test]
async fn a_refused_token_is_not_sent_again() {
    let world = world();
    let browser = or_skip!(visit(&world).await);
    browser.enter("wrong").await;
    sees(&browser, "#refused", "operator's token").await;
    look_again(&browser).await;
    browser.fill("#token", "hush").await;
    browser.keys(ENTER).await;
    sees(&browser, "#shown", " ").await;
    assert_eq!(world.lines_with("unauthorized").len(), 1);
}

#[tokio::test]
async fn an_event_is_shown_in_whatever_form_its_push_came() {
    let world = world();
    // These bytes have + and / in the standard alphabet of base64.
    let [safe, data] = ["evt_1", "evt_2"].map(|id| {
        let event = format!(r#"{{"id":"{id}","data":">>>???~~~"}}"#);
        let push = wrapped(&event);
        push.replace('+', "-").replace('/', "_")
    });
    let whole = format!(
        r#"{{"specversion":"1.0","id":"7","source":"s","type":"google.cloud.pubsub.topic.v1.messagePublished","data":{data}}}"#
    );
    for body in [&safe, &whole] {
        world.post(body).await.assert_became("dead-lettered");
    }
    let browser = or_skip!(enter(&world).await);
    for number in [1, 2] {
        open_letter(&browser, number).await;
        sees(&browser, "#letter", ">>>???~~~").await;
        browser.press("#close").await;
    }
}

#[tokio::test]
async fn the_replay_of_all_can_be_cancelled() {
    let world = world();
    for number in 1..=25 {
        poison(&world, &format!("evt_{number}"), "Grace").await;
    }
    let browser = or_skip!(enter(&world).await);
    // The answer to the first batch waits until the button was pressed.
    instead_of_fetch(
        &browser,
        "if (path === 'status') return Response.json({deadLetters: {written: 25}});
         const reply = await real(path, options);
         if (path.includes('replay')) await new Promise(go => { globalThis.go = go; });
         return reply;",
    )
    .await;
    look_again(&browser).await;
    sees(&browser, "#tiles", "of 25 so far").await;
    act(&browser, "#replay-all", "").await;
    until(&browser, "globalThis.go").await;
    sees(&browser, "#count", "0 resolved").await;
    assert_eq!(browser.value("progress.max").await, 25);
    browser.press("#cancel").await;
    browser.value("go()").await;
    let told = "Cancelled. 20 resolved, 0 can not be delivered still.";
    sees(&browser, "#said", told).await;
    assert_eq!(world.svix.messages().len(), 20);
    sees(&browser, "#shown", "5 shown").await;
}

#[tokio::test]
async fn the_console_shows_the_status() {
    let world = world();
    let browser = or_skip!(enter(&world).await);
    world.post(&event("evt_1")).await;
    let status = json!({
        "version": "1.2.3",
        "time": "2026-11-23T14:12:42Z",
        "gate": {"state": "closed", "reason": "rate-limited", "seconds": 3.2},
        "configuration": {"svix_token": "[redacted]", "svix_url": "https://api.eu.svix.com", "ingest_token": ""},
        "deadLetters": {"written": 1200, "unresolved": 3},
        "lastHour": [
            {"minute": "2026-11-23T13:13:00Z", "outcomes": {"svix-unavailable": 3, "delivered": 1}},
            {"minute": "2026-11-23T14:12:00Z", "outcomes": {"delivered": 7}},
        ],
    });
    answer_status(&browser, &status).await;
    sees(&browser, "#version", "1.2.3").await;
    let tiles = browser.text("#tiles").await;
    for told in ["Closed\nrate-limited, for 4 s", "3\nof 1,200 so far", "8\nof 11 answers"] {
        assert!(tiles.contains(told), "{tiles}");
    }
    let outcomes = browser.text("#outcomes").await;
    assert_eq!(outcomes, "delivered\t8\nsvix-unavailable\t3");
    let bars = "[...document.querySelectorAll('#bars rect:not(.whole)')]
        .map(bar => `${bar.getAttribute('class')} ${bar.getAttribute('x')}`).join()";
    let drawn = browser.value(bars).await;
    assert_eq!(drawn, "delivered 1,svix-unavailable 1,delivered 591");
    browser.press("summary").await;
    let variables =
        "ingest_token\nempty\nsvix_token\n[redacted]\nsvix_url\nhttps://api.eu.svix.com";
    assert_eq!(browser.text("#configuration").await, variables);

    // The link to Svix's dashboard is shown only if the relay talks to Svix itself.
    let link = "document.querySelector('#found a')";
    find(&browser, "evt_1").await;
    until(&browser, link).await;
    let leads = browser.value(&format!("[{link}.href, {link}.rel]")).await;
    let expected = json!(["https://dashboard.svix.com/", "noreferrer noopener"]);
    assert_eq!(leads, expected);
    let other = json!({"version": "4", "configuration": {"svix_url": "https://api.svix.com.test"}});
    answer_status(&browser, &other).await;
    sees(&browser, "#version", "4").await;
    browser.press("#find button").await;
    until(&browser, &format!("!{link}")).await;
    sees(&browser, "#found", "delivered").await;
    browser.finish().await;
}

#[tokio::test]
async fn a_closed_gate_stops_the_replay_of_all() {
    let world = world();
    poison(&world, "evt_1", "Grace").await;
    let browser = or_skip!(enter(&world).await);
    world.svix.always(Fault::status(429));
    act(&browser, "#replay-all", "").await;
    sees(&browser, "#said", "Stopped before number 1: rate-limited").await;
    sees(&browser, "#shown", "1 shown").await;
    sees(&browser, "#tiles", "Closed").await;
}

#[tokio::test]
async fn the_console_fits_a_phone_in_light_and_in_dark() {
    let world = world();
    poison(&world, &"long".repeat(60), &"wide".repeat(60)).await;
    let browser = or_skip!(visit(&world).await);
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.look(390, 844, scheme).await;
        let ground = "getComputedStyle(document.documentElement).backgroundColor";
        grounds.push(browser.value(ground).await);
    }
    assert_ne!(grounds[0], grounds[1]);

    assert_fits(&browser).await;
    browser.enter("hush").await;
    sees(&browser, "#shown", "1 shown").await;
    sees(&browser, "#tiles", "Ready").await;
    browser.press("summary").await;
    find(&browser, &"long".repeat(60)).await;
    sees(&browser, "#found", "dead-lettered").await;
    assert_fits(&browser).await;
    browser.press("#found button").await;
    sees(&browser, "#letter pre", "wide").await;
    let overflow = "document.querySelector('#letter').scrollWidth - document.querySelector('#letter').clientWidth";
    assert_eq!(browser.value(overflow).await, 0);
}

#[tokio::test]
#[ignore = "takes the screenshot in the README: with --ignored"]
async fn the_screenshot_for_the_readme_is_taken() {
    let world = world();
    for minute in 0..60 {
        world.clock.advance(Duration::from_mins(1));
        for number in 0..8 + 5 * minute % 17 + minute / 4 {
            world.post(&event(&format!("evt_{minute}_{number}"))).await;
        }
        if minute % 9 == 4 {
            world.post(&event(&format!("evt_{minute}_0"))).await;
        }
        if (31..35).contains(&minute) {
            world.svix.always(Fault::status(503));
            for number in 0..8 {
                world.post(&event(&format!("evt_{minute}_late_{number}"))).await;
            }
            world.svix.clear_faults();
        }
        match minute {
            20 => poison(&world, "evt_0SNlurA049MEWV5gNTcQ5A07h3Ol", "Grace Example").await,
            33 => {
                world.push(b"nonsense").await;
            }
            41 => {
                world.push(br#"{"id":"evt_0SNlv","project":"acme"}"#).await;
            }
            _ => {}
        }
    }
    let browser = or_skip!(Browser::start().await);
    browser.look(1200, 1080, "light").await;
    let page = format!("http://{}/console", world.listen().await);
    browser.open(&page).await;
    until(&browser, "document.activeElement.id === 'token'").await;
    browser.enter("hush").await;
    sees(&browser, "#shown", "3 shown").await;
    // The counts take a while to appear.
    let delivered = world.svix.messages().len();
    until(&browser, &format!("tiles.innerText.replace(',', '').includes('\\n{delivered}\\n')"))
        .await;
    browser.press("#audit").await;
    sees(&browser, "#audit-said", "new findings.").await;
    sees(&browser, "#tiles", "0 missing").await;
    let image = browser.screenshot().await;
    std::fs::write(root().join("host-tests/samples/console.png"), image).expect("a file");
}
