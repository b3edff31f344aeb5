//! Chromium without a window, driven by WebDriver (<https://www.w3.org/TR/webdriver2/>): JSON over HTTP. A
//! test needs so little of it that no crate is worth its dependencies.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};
use std::{env, io};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{full, send};

pub const ENTER: &str = "\u{e007}";
pub const TAB: &str = "\u{e004}";

/// How long a change may take to appear, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// One browser is enough for a small machine.
static ONLY_ONE: Mutex<()> = Mutex::const_new(());

/// The warning that no browser is installed is printed once.
static SAID: Once = Once::new();

/// A browser with one page; killed when dropped.
pub struct Browser {
    driver: Child,
    chromium: Option<u64>,
    address: String,
    session: String,
    // The pipe must stay open while both run.
    _output: BufReader<ChildStdout>,
    _profile: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// A browser, or `None` where none is installed: then the test can't run.
    pub async fn start() -> Option<Self> {
        let turn = ONLY_ONE.lock().await;
        if !["chromium", "chromedriver"].into_iter().all(is_installed) {
            let missing = "the console is NOT tested: chromium or chromedriver is not installed";
            assert!(env::var_os("CI").is_none(), "{missing}");
            // Write past the capture of the test's output: cargo hides it if the test passes.
            SAID.call_once(|| _ = writeln!(io::stderr(), "{missing}"));
            return None;
        }
        let profile = tempfile::tempdir().expect("a directory");
        let options = json!({"args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1200,900",
            format!("--user-data-dir={}", profile.path().display()),
        ]});
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut output = BufReader::new(driver.stdout.take().expect("piped"));
        let mut browser = Self {
            driver,
            chromium: None,
            address: format!("127.0.0.1:{}", port(&mut output)),
            session: String::new(),
            _output: output,
            _profile: profile,
            _turn: turn,
        };
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": options,
        }}});
        let session = browser.call("POST", "/session", &capabilities).await;
        browser.chromium = session["capabilities"]["goog:processID"].as_u64();
        let id = session["sessionId"].as_str().expect("a session");
        browser.session = format!("/session/{id}");
        Some(browser)
    }

    pub async fn open(&self, url: &str) {
        self.command("/url", json!({"url": url})).await;
    }

    /// The value of a JavaScript expression in the page.
    pub async fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.command("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// The text of an element, as it is shown.
    pub async fn text(&self, selector: &str) -> String {
        let text = self.value(&text_of(selector)).await;
        text.as_str().expect("a text").to_owned()
    }

    pub async fn keys(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key})))
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]});
        self.command("/actions", actions).await;
    }

    /// Types, and presses Enter.
    pub async fn enter(&self, keys: &str) {
        self.keys(keys).await;
        self.keys(ENTER).await;
    }

    /// Moves the focus to an element with the Tab key.
    pub async fn tab_to(&self, selector: &str) {
        let reached = format!("!!document.activeElement?.matches({})", Value::from(selector));
        // While the page draws itself anew, the focus may begin again at the top.
        for _ in 0..200 {
            if self.value(&reached).await == true {
                return;
            }
            self.keys(TAB).await;
        }
        panic!("no way to {selector} by keyboard");
    }

    pub async fn press(&self, selector: &str) {
        self.tab_to(selector).await;
        self.keys(ENTER).await;
    }

    pub async fn fill(&self, selector: &str, text: &str) {
        self.tab_to(selector).await;
        self.keys(text).await;
    }

    /// Sets the size of the window and the preferred colour scheme.
    pub async fn look(&self, width: u32, height: u32, scheme: &str) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// The page as it is shown now, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        let path = format!("{}/screenshot", self.session);
        let image = self.call("GET", &path, &Value::Null).await;
        let image = image.as_str().expect("base64");
        BASE64_STANDARD.decode(image).expect("base64")
    }

    /// Ends the visit. Checks that the browser has complained of nothing but refusals by the relay.
    pub async fn finish(self) {
        let log = self.command("/se/log", json!({"type": "browser"})).await;
        let mut log = log.as_array().expect("a list").clone();
        log.retain(|entry| entry["source"] != "network");
        assert_eq!(log, [Value::Null; 0]);
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.command("/goog/cdp/execute", body).await;
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        let path = format!("{}{path}", self.session);
        self.call("POST", &path, &body).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.body(full(Bytes::from(body))).expect("valid");
        let stream = TcpStream::connect(&self.address).await.expect("chromedriver");
        let reply = send(stream, request).await.expect("chromedriver");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()["value"].clone()
    }
}

/// Waits until the expression is true.
pub async fn until(browser: &Browser, expression: &str) {
    let start = Instant::now();
    while browser.value(&format!("!!({expression})")).await != true {
        if start.elapsed() > PATIENCE {
            let page = browser.value("document.body.innerText").await;
            panic!("never true: {expression}\n{}", page.as_str().unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the text of an element contains `text`.
pub async fn sees(browser: &Browser, selector: &str, text: &str) {
    let text = Value::from(text);
    let shown = format!("{}.includes({text})", text_of(selector));
    until(browser, &shown).await;
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium doesn't end with its driver.
        if let Some(id) = self.chromium {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The text of an element; empty while the element is hidden.
fn text_of(selector: &str) -> String {
    let element = format!("document.querySelector({})", Value::from(selector));
    format!("({element}?.checkVisibility() ? {element}.innerText : '')")
}

fn is_installed(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// The port that the driver has chosen.
fn port(output: &mut impl io::BufRead) -> u16 {
    let mut lines = output.lines();
    loop {
        let line = lines.next().expect("a port").expect("UTF-8");
        if let Some((_, port)) = line.rsplit_once("successfully on port ") {
            return port.trim_end_matches('.').parse().expect("a port");
        }
    }
}
