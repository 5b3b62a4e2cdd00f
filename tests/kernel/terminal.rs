//! What a capture prints, and what becomes of it when its terminal goes away.

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::watch;
use traffic_tests::{
    Need, Test,
    netns::VETH,
    program::{Capture, binary},
    screen::Screen,
    stage::Stage,
    wait_until,
};
use traffic_user::live::{terminal::Terminal, view::LiveReport};

const DEADLINE: Duration = Duration::from_secs(15);

/// Where it is set, this program is the one that panics while its terminal is taken.
const PANIC: &str = "TRAFFIC_TEST_PANIC";

fn main() -> ExitCode {
    if env::var_os(PANIC).is_some() {
        panic_behind_the_view();
    }
    traffic_tests::main(&[
        Test::new(
            "a_panic_restores_the_terminal",
            &[Need::Tool("tmux")],
            a_panic_restores_the_terminal,
        ),
        Test::new(
            "the_progress_bar_tells_times_rates_and_losses",
            &[Need::Capture, Need::Tool("tmux")],
            the_progress_bar_tells_times_rates_and_losses,
        ),
        Test::new(
            "printed_lines_are_those_of_tcpdump",
            &[Need::Capture, Need::Tool("tcpdump")],
            printed_lines_are_those_of_tcpdump,
        ),
        Test::new(
            "an_ignored_hangup_stays_ignored",
            &[Need::Capture, Need::Tool("nohup")],
            an_ignored_hangup_stays_ignored,
        ),
        Test::new(
            "a_terminal_that_goes_away_ends_the_capture_with_its_report",
            &[Need::Capture, Need::Tool("tmux")],
            a_terminal_that_goes_away_ends_the_capture_with_its_report,
        ),
    ])
}

/// The lines of a running capture beside tcpdump's of the file that it wrote.
fn printed_lines_are_those_of_tcpdump() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("a.pcap");
    let file = file.to_str().context("a path")?;
    let args = ["-i", VETH, "-c", "12", "--print", "-e", "-w", file];
    let capture = Capture::start(&stage.pair.right, &args)?;
    stage.pair.left.run("ping -c 3 -i 0.01 -s 100 10.77.0.2")?;
    stage.numbered(6, Duration::ZERO)?.join()?;
    let captured = capture.finish()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    let tcpdump = Command::new("tcpdump")
        .args(["-n", "-e", "-r", file])
        .output()?;
    let theirs = String::from_utf8(tcpdump.stdout)?;
    let ours = String::from_utf8(captured.stdout)?;
    ensure!(theirs.lines().count() == 12, "{theirs}");
    ensure!(theirs.contains("ICMP echo request") && theirs.contains("10.77.0.2.9: UDP"));
    // The analysis follows.
    ensure!(
        ours.starts_with(&theirs),
        "{ours}\nbeside tcpdump's\n{theirs}"
    );
    Ok(())
}

fn a_panic_restores_the_terminal() -> Result<()> {
    let screen = Screen::start(&format!("{PANIC}=1 {}", env::current_exe()?.display()))?;
    screen.wait_for("a fault behind the view")?;
    screen.is_restored(101)?;
    // What was said is not gone with the view.
    ensure!(screen.text()?.contains("a fault behind the view"));
    Ok(())
}

/// The view is shown by its own thread, and this one panics.
fn panic_behind_the_view() {
    let (_source, reports) = watch::channel(None);
    let save = |_: &LiveReport| String::new();
    let terminal = Terminal::start(reports, Box::new(save));
    let _terminal = terminal.expect("the test gives it a terminal");
    panic!("a fault behind the view");
}

fn the_progress_bar_tells_times_rates_and_losses() -> Result<()> {
    let stage = Stage::new()?;
    let screen = Screen::start(&format!(
        "ip netns exec {} {} capture -i {VETH} -d 60s -B 64K",
        stage.pair.right.name(),
        binary().display()
    ))?;
    screen.wait_for(" left  0 packets")?;
    // The ring is full while nobody reads it.
    let reader = screen.child()?;
    let signal = |name: &str| Command::new("kill").args([name, &reader]).status();
    signal("-STOP")?;
    stage.flood()?.join()?;
    signal("-CONT")?;
    screen.wait_for("summaries lost")?;
    let shown = screen.text()?;
    let line = shown.lines().find(|line| line.contains("summaries lost"));
    let line = line.context("the line with losses")?;
    for part in ["00:0", " 00:5", " left", "120,000 packets", "/s", "B/s"] {
        ensure!(line.contains(part), "no {part} in: {line}");
    }
    signal("-INT")?;
    screen.is_restored(0)
}

fn an_ignored_hangup_stays_ignored() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("a.pcapng");
    let mut command = stage.pair.right.command("nohup");
    command
        .arg(binary())
        .args(["capture", "-i", VETH, "-d", "0", "-qq", "-U", "-w"]);
    let mut capture = Killed(command.arg(&file).stdout(Stdio::null()).spawn()?);
    let length = || fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let grows = |from: u64| {
        wait_until("more frames in the file", DEADLINE, || {
            // What is sent before the capture listens is for nobody.
            stage.pair.left.run("ping -c 1 -W 1 10.77.0.2").is_ok() && length() > from
        })
    };
    wait_until("the file", DEADLINE, || length() > 0)?;
    grows(length())?;
    capture.signal(Signal::SIGHUP)?;
    grows(length())?;
    capture.signal(Signal::SIGINT)?;
    ensure!(capture.0.wait()?.success());
    Ok(())
}

fn a_terminal_that_goes_away_ends_the_capture_with_its_report() -> Result<()> {
    let stage = Stage::new()?;
    for (number, before) in ["", "trap '' HUP;"].into_iter().enumerate() {
        let directory = tempfile::tempdir()?;
        let report = directory.path().join("report.json");
        let socket = format!("traffic-terminal-{}-{number}", std::process::id());
        let tmux = |args: &[&str]| {
            Command::new("tmux")
                .args(["-L", &socket])
                .args(args)
                .output()
        };
        let line = format!(
            "{before} exec ip netns exec {} {} capture -i {VETH} -d 0 --live --json {}",
            stage.pair.right.name(),
            binary().display(),
            report.display()
        );
        tmux(&["new-session", "-d", "-x", "80", "-y", "24", &line])?;
        wait_until("the view", DEADLINE, || {
            tmux(&["capture-pane", "-p"])
                .is_ok_and(|screen| String::from_utf8_lossy(&screen.stdout).contains("q quit"))
        })?;
        tmux(&["kill-server"])?;
        wait_until("the report", DEADLINE, || is_whole(&report))
            .with_context(|| format!("with '{before}'"))?;
    }
    Ok(())
}

fn is_whole(report: &Path) -> bool {
    let text = fs::read(report).unwrap_or_default();
    serde_json::from_slice::<serde_json::Value>(&text)
        .is_ok_and(|report| report["ledger"]["balanced"] == true)
}

/// A process that is killed on drop.
struct Killed(Child);

impl Killed {
    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.0.id())?), signal)?)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail when it has ended, as it should have.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
