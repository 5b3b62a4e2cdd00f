//! The live views: a real terminal, a browser's requests, a Prometheus server.

mod dashboard;

use std::{
    fs,
    io::Write,
    net::TcpListener,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use traffic_tests::{
    Need, Test,
    netns::{Namespace, VETH, VethOptions, VethPair},
    program::{Capture, binary, traffic},
    prometheus::Prometheus,
    screen::Screen,
    wait_until,
};

const NEEDS: &[Need] = &[Need::Capture, Need::Tool("curl")];
const TERMINAL: &[Need] = &[Need::Capture, Need::Tool("tmux")];
const PROMETHEUS: &[Need] = &[
    Need::Capture,
    Need::Tool("prometheus"),
    Need::Tool("promtool"),
    Need::Tool("setpriv"),
];

const DEADLINE: Duration = Duration::from_secs(20);
const PORT: u16 = 8080;

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "the_terminal_shows_a_capture_and_is_restored",
            TERMINAL,
            the_terminal_shows_a_capture_and_is_restored,
        ),
        Test::new(
            "signals_restore_the_terminal",
            TERMINAL,
            signals_restore_the_terminal,
        ),
        Test::new(
            "the_page_and_its_data_agree_with_the_report",
            NEEDS,
            the_page_and_its_data_agree_with_the_report,
        ),
        Test::new("strangers_get_no_answer", NEEDS, strangers_get_no_answer),
        Test::new(
            "clients_that_do_not_read_slow_nothing",
            NEEDS,
            clients_that_do_not_read_slow_nothing,
        ),
        Test::new(
            "an_address_that_cannot_be_had_is_known_before_the_capture",
            &[Need::Program],
            an_address_that_cannot_be_had_is_known_before_the_capture,
        ),
        Test::new("counters_never_go_back", NEEDS, counters_never_go_back),
        Test::new("the_dashboards_are_whole", &[], dashboard::are_whole),
        Test::new(
            "a_prometheus_server_scrapes_and_answers",
            PROMETHEUS,
            a_prometheus_server_scrapes_and_answers,
        ),
    ])
}

fn the_terminal_shows_a_capture_and_is_restored() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let screen = shown(&pair, "--duration 60s")?;
    let _pings = Pings::start(&pair)?;
    screen.wait_for("icmp")?;
    screen.wait_for("10.77.0.1 <-> 10.77.0.2")?;
    let shown = screen.text()?;
    for part in [
        VETH,
        "last 30 s",
        "Sources",
        "Running: every one of",
        "own cost:",
        "q quit",
    ] {
        ensure!(shown.contains(part), "no {part} in:\n{shown}");
    }
    ensure!(shown.lines().count() <= 24, "more than 24 lines:\n{shown}");
    screen.press("?")?;
    screen.wait_for("end the capture and print its report")?;
    screen.press("?")?;
    screen.press("w")?;
    screen.wait_for("last 2 min")?;
    screen.press("p")?;
    screen.wait_for("paused")?;
    screen.run(&["resize-window", "-x", "120", "-y", "40"])?;
    screen.wait_for("Conversations")?;
    screen.press("q")?;
    screen.wait_for("Ledger: balanced")?;
    screen.is_restored(0)
}

fn signals_restore_the_terminal() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    for signal in ["-TERM", "-INT", "-HUP"] {
        let screen = shown(&pair, "--duration 60s")?;
        screen.wait_for("q quit")?;
        Command::new("kill")
            .args([signal, &screen.child()?])
            .status()?;
        screen.wait_for("Ledger: balanced")?;
        screen.is_restored(0).context(signal)?;
    }
    Ok(())
}

fn the_page_and_its_data_agree_with_the_report() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("a.pcapng");
    let capture = listening(&pair, &["--write", file.to_str().context("a path")?])?;
    pair.left.run("ping -c 5 -i 0.05 -W 5 10.77.0.2")?;
    let icmp = |report: &Value| -> u64 {
        let rows = report["protocols"].as_array().into_iter().flatten();
        let rows = rows.filter(|row| row["name"] == "icmp");
        rows.filter_map(|row| row["packets"].as_u64()).sum()
    };
    wait_until("the pings in the report", DEADLINE, || {
        let report = get(&pair.right, "/report.json", "");
        report.is_ok_and(|answer| answer.json().is_ok_and(|report| icmp(&report) == 10))
    })?;
    let report = get(&pair.right, "/report.json", "")?.json()?;
    ensure!(
        report["ledger"]["in_flight"].is_u64(),
        "{}",
        report["ledger"]
    );
    let page = get(&pair.right, "/", "")?;
    ensure!(page.text().contains("Network Traffic Analysis"));
    ensure!(page.text().contains("connect-src 'self'"));
    ensure!(page.head.contains("x-frame-options: DENY"), "{}", page.head);
    let picture = get(&pair.right, "/histogram.png", "")?;
    ensure!(picture.body.starts_with(b"\x89PNG"));
    let frames = get(&pair.right, "/capture.pcapng", "")?;
    let so_far = directory.path().join("so-far.pcapng");
    fs::write(&so_far, &frames.body)?;
    let read = traffic(&[
        "read".as_ref(),
        so_far.as_os_str(),
        "--json".as_ref(),
        "-".as_ref(),
    ])?;
    ensure!(read.status.success(), "{read:?}");
    let read: Value = serde_json::from_slice(&read.stdout)?;
    ensure!(icmp(&read) == 10, "{}", read["protocols"]);
    let metrics = get(&pair.right, "/metrics", "")?;
    ensure!(metrics.text().contains(&format!(
        "traffic_frames_total{{interface=\"{VETH}\",direction=\"ingress\",protocol=\"icmp\"}} 5\n"
    )));
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    ensure!(icmp(&captured.report) == 10);
    ensure!(captured.report["ledger"]["in_flight"].is_null());
    Ok(())
}

fn strangers_get_no_answer() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let capture = listening(&pair, &["--token", "letmein"])?;
    let status = |path: &str, head: &str| -> Result<u16> { get(&pair.right, path, head)?.status() };
    for path in [
        "/",
        "/events",
        "/report.json",
        "/metrics",
        "/capture.pcapng",
        "/nothing",
    ] {
        ensure!(status(path, "")? == 401, "{path}");
        ensure!(
            status(path, "Authorization: Bearer letmeout")? == 401,
            "{path}"
        );
    }
    ensure!(status("/metrics", "Authorization: Bearer letmein")? == 200);
    ensure!(status("/", "Cookie: traffic_token=letmein")? == 200);
    ensure!(status("/?token=letmein", "")? == 303);
    let token = "Authorization: Bearer letmein";
    ensure!(status("/metrics", &format!("{token}\r\nHost: evil.example"))? == 403);
    let method = ["-X", "POST", "-H", token];
    ensure!(curl(&pair.right, "/", &method)?.status()? == 405);
    capture.interrupt().map(drop)
}

/// A hundred clients ask for the events and never read them.
fn clients_that_do_not_read_slow_nothing() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let capture = listening(&pair, &[])?;
    let script = "for i in $(seq 100); do exec {fd}<>/dev/tcp/127.0.0.1/8080; \
                  printf 'GET /events HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n' >&$fd; done; \
                  exec sleep 60";
    let clients = Server::start(pair.right.command("bash").args(["-c", script]))?;
    pair.left.run("ping -c 200 -i 0.005 -q -W 5 10.77.0.2")?;
    let captured = capture.interrupt()?;
    drop(clients);
    ensure!(captured.status.success(), "{}", captured.stderr);
    let ledger = &captured.report["ledger"];
    ensure!(
        ledger["balanced"] == true && ledger["summaries_lost"] == 0,
        "{ledger}"
    );
    let icmp = captured.report["protocols"]
        .as_array()
        .into_iter()
        .flatten();
    let icmp = icmp.filter(|row| row["name"] == "icmp");
    ensure!(icmp.map(|row| row["packets"].as_u64()).eq([Some(400)]));
    Ok(())
}

fn an_address_that_cannot_be_had_is_known_before_the_capture() -> Result<()> {
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let address = taken.local_addr()?.to_string();
    let output = traffic(&["capture", "-i", "lo", "--listen", &address])?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(
        text.starts_with(&format!("error: listen on {address}: ")),
        "{text}"
    );
    ensure!(text.lines().count() == 1, "{text}");
    for args in [
        &["--listen", "0.0.0.0:0"][..],
        &["--listen", "here"],
        &["--token", "secret"],
        &["--listen", "127.0.0.1:0", "--token", "with space"],
    ] {
        let output = traffic(&[&["capture", "-i", "lo"], args].concat())?;
        ensure!(output.status.code() == Some(2), "{args:?}: {output:?}");
    }
    Ok(())
}

fn counters_never_go_back() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let capture = listening(&pair, &[])?;
    let _pings = Pings::start(&pair)?;
    let mut before: Vec<(String, f64)> = Vec::new();
    for _ in 0..6 {
        let now = counters(&get(&pair.right, "/metrics", "")?.text())?;
        for (name, value) in &before {
            let later = now.iter().find(|(other, _)| other == name);
            ensure!(
                later.is_some_and(|(_, later)| later >= value),
                "{name}: {later:?}"
            );
        }
        before = now;
    }
    for loss in [
        "traffic_lost_total{what=\"summaries\",cause=\"ring_full\"}",
        "traffic_lost_total{what=\"frames\",cause=\"ring_full\"}",
        "traffic_lost_total{what=\"frames\",cause=\"write_failed\"}",
        "traffic_lost_total{what=\"excerpts\",cause=\"ring_full\"}",
    ] {
        ensure!(before.iter().any(|(name, _)| name == loss), "no {loss}");
    }
    capture.interrupt().map(drop)
}

/// Samples whose name ends in `_total`.
fn counters(text: &str) -> Result<Vec<(String, f64)>> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.filter(|line| {
        line.split(['{', ' '])
            .next()
            .is_some_and(|n| n.ends_with("_total"))
    });
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').context("a sample has a value")?;
            Ok((name.to_owned(), value.parse()?))
        })
        .collect()
}

fn a_prometheus_server_scrapes_and_answers() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let capture = listening(&pair, &["--token", "letmein"])?;
    let _pings = Pings::start(&pair)?;
    let metrics = get(&pair.right, "/metrics", "Authorization: Bearer letmein")?;
    check_metrics(&metrics.body)?;
    let server = Prometheus::start(
        &pair.right,
        &format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: \
             traffic\n  authorization: {{credentials: letmein}}\n  static_configs:\n  - targets: \
             ['127.0.0.1:{PORT}']\n"
        ),
    )?;
    for (query, least) in [
        ("up", 1.0),
        ("sum(rate(traffic_frames_total[5s]))", 1.0),
        ("sum(traffic_bytes_total{protocol=\"icmp\"})", 98.0),
        ("count(traffic_lost_total)", 4.0),
        ("count(traffic_build_info)", 1.0),
    ] {
        wait_until(query, DEADLINE, || {
            server.value(query).is_ok_and(|value| value >= least)
        })?;
    }
    dashboard::has_answers(&server)?;
    capture.interrupt().map(drop)
}

fn check_metrics(text: &[u8]) -> Result<()> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    promtool
        .stdin
        .take()
        .context("stdin is piped")?
        .write_all(text)?;
    let output = promtool.wait_with_output()?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    Ok(())
}

/// A capture on the right side that browsers there can see.
fn listening(pair: &VethPair, args: &[&str]) -> Result<Capture> {
    let listen = [
        "-i",
        VETH,
        "--duration",
        "60s",
        "--listen",
        "127.0.0.1:8080",
    ];
    let mut capture = Capture::start(&pair.right, &[&listen, args].concat())?;
    capture.wait_for_note("live at http://127.0.0.1:8080/", DEADLINE)?;
    Ok(capture)
}

/// An answer: its head, and its body.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    fn status(&self) -> Result<u16> {
        let status = self.head.split(' ').nth(1).context("a status line")?;
        Ok(status.parse()?)
    }
}

/// Asks for `path`, with the header lines in `headers`.
fn get(namespace: &Namespace, path: &str, headers: &str) -> Result<Answer> {
    let headers = headers.split("\r\n").filter(|line| !line.is_empty());
    let args: Vec<&str> = headers.flat_map(|line| ["-H", line]).collect();
    curl(namespace, path, &args)
}

fn curl(namespace: &Namespace, path: &str, args: &[&str]) -> Result<Answer> {
    let output = namespace
        .command("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "15"])
        .args(args)
        .arg(format!("http://127.0.0.1:{PORT}{path}"))
        .output()?;
    ensure!(output.status.success(), "{path}: {output:?}");
    let end = output
        .stdout
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n");
    let end = end.context("the head ends")?;
    Ok(Answer {
        head: String::from_utf8_lossy(&output.stdout[..end]).into_owned(),
        body: output.stdout[end + 4..].to_vec(),
    })
}

/// A process that is ended on drop.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.stderr(Stdio::null()).spawn()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Pings from the left side until it is dropped.
struct Pings(#[expect(dead_code, reason = "held until the end")] Server);

impl Pings {
    fn start(pair: &VethPair) -> Result<Self> {
        let mut command = pair.left.command("ping");
        Server::start(command.args(["-i", "0.02", "-q", "10.77.0.2"])).map(Self)
    }
}

/// A capture on the right end in a terminal.
fn shown(pair: &VethPair, args: &str) -> Result<Screen> {
    Screen::start(&format!(
        "ip netns exec {} {} capture -i {VETH} --live {args}",
        pair.right.name(),
        binary().display()
    ))
}
