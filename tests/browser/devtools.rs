//! A headless Chromium, driven through its `DevTools` protocol over a pair of pipes: JSON messages,
//! each ended by a zero byte (<https://chromedevtools.github.io/devtools-protocol/>).

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(30);

/// The browser takes messages from descriptor 3 and answers on 4; what it prints is for nobody.
const START: &str = "exec \"$0\" \"$@\" --headless --no-sandbox --disable-gpu --disable-quic \
                     --disable-dev-shm-usage --no-first-run --disable-background-networking \
                     --disable-component-update --disable-sync --remote-debugging-pipe \
                     --window-size=1280,900 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";

/// A browser with one page; ended on drop.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    events: Vec<Value>,
    /// Held until the end.
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser with what `command` makes of its name: itself, or itself in a namespace.
    pub(crate) fn start(command: impl Fn(&str) -> Command) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut child = command("sh")
            .args(["-c", START, "chromium"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start chromium")?;
        let input = child.stdin.take().context("stdin is piped")?;
        let output = child.stdout.take().context("stdout is piped")?;
        let mut browser = Self {
            child,
            input,
            messages: receive(output),
            calls: 0,
            session: None,
            events: Vec::new(),
            _profile: profile,
        };
        browser.attach()?;
        Ok(browser)
    }

    fn attach(&mut self) -> Result<()> {
        let page = self.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let target = json!({ "targetId": page["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", &target)?;
        let session = session["sessionId"].as_str().context("a session")?;
        self.session = Some(session.to_owned());
        for domain in ["Page", "Runtime", "Log", "Network", "DOM"] {
            self.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(())
    }

    /// Calls a method of the protocol and gives its result.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.clone().into();
        }
        self.input.write_all(message.to_string().as_bytes())?;
        self.input.write_all(&[0])?;
        let end = Instant::now() + DEADLINE;
        loop {
            let mut answer = self.next(end).with_context(|| format!("call {method}"))?;
            if answer["id"] == id {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].take());
            }
            self.events.push(answer);
        }
    }

    fn next(&mut self, end: Instant) -> Result<Value> {
        let left = end.saturating_duration_since(Instant::now());
        Ok(self.messages.recv_timeout(left)?)
    }

    /// Goes to `url` and waits until the page is loaded.
    pub(crate) fn open(&mut self, url: &str) -> Result<()> {
        self.events.clear();
        let answer = self.call("Page.navigate", &json!({ "url": url }))?;
        ensure!(answer["errorText"].is_null(), "{url}: {answer}");
        let end = Instant::now() + DEADLINE;
        while !self
            .events
            .iter()
            .any(|event| event["method"] == "Page.loadEventFired")
        {
            let event = self.next(end).with_context(|| format!("load {url}"))?;
            self.events.push(event);
        }
        Ok(())
    }

    /// The value of `expression` in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &params)?;
        let thrown = &answer["exceptionDetails"];
        ensure!(thrown.is_null(), "{expression}: {thrown}");
        Ok(answer["result"]["value"].take())
    }

    /// The text that `expression` gives.
    pub(crate) fn text(&mut self, expression: &str) -> Result<String> {
        let value = self.evaluate(expression)?;
        let text = value.as_str().map(str::to_owned);
        text.with_context(|| format!("{expression} is no text: {value}"))
    }

    /// Waits until `expression` holds in the page.
    pub(crate) fn wait_for(&mut self, expression: &str) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        while self.evaluate(expression)? != true {
            ensure!(
                Instant::now() < end,
                "not within {DEADLINE:?}: {expression}"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Moves the pointer, or presses or releases its left button for the `clicks`-th time.
    pub(crate) fn pointer(&mut self, kind: &str, (x, y): (f64, f64), clicks: u32) -> Result<()> {
        let held = u32::from(kind == "mousePressed" || (kind == "mouseMoved" && clicks > 0));
        let button = if clicks > 0 { "left" } else { "none" };
        let params = json!({
            "type": kind, "x": x, "y": y, "button": button, "buttons": held, "clickCount": clicks,
        });
        self.call("Input.dispatchMouseEvent", &params).map(drop)
    }

    /// URLs that the page asked for since it was opened, and what went wrong in it.
    pub(crate) fn requests_and_complaints(&mut self) -> (Vec<String>, Vec<String>) {
        self.events.extend(self.messages.try_iter());
        let requests = self.events.iter().filter_map(|event| {
            let url = &event["params"]["request"]["url"];
            (event["method"] == "Network.requestWillBeSent")
                .then(|| url.as_str().map(str::to_owned))?
        });
        let complaints = self.events.iter().filter(|event| {
            let params = &event["params"];
            match event["method"].as_str() {
                Some("Runtime.exceptionThrown" | "Page.javascriptDialogOpening") => true,
                Some("Runtime.consoleAPICalled") => params["type"] == "error",
                Some("Log.entryAdded") => params["entry"]["level"] == "error",
                _ => false,
            }
        });
        let complaints = complaints.map(Value::to_string);
        (requests.collect(), complaints.collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.session = None;
        // It ends its helpers itself; a browser that does not answer is killed.
        let _ = self.call("Browser.close", &json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn receive(output: impl std::io::Read + Send + 'static) -> Receiver<Value> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for message in BufReader::new(output).split(0).map_while(Result::ok) {
            let message = serde_json::from_slice(&message).unwrap_or_default();
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    receiver
}
