//! Capture files on stdout.

use std::{
    io::Read as _,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use traffic_tests::{Test, netns::VETH, wait_until};

use crate::{FileStage, NEEDS, Tests, WITH_TSHARK, ping, pipe};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "frames_on_stdout_come_at_once",
        NEEDS,
        frames_on_stdout_come_at_once,
    ),
    Test::new(
        "tshark_reads_along_on_a_pipe",
        WITH_TSHARK,
        tshark_reads_along_on_a_pipe,
    ),
    Test::new(
        "a_closed_pipe_ends_the_capture",
        NEEDS,
        a_closed_pipe_ends_the_capture,
    ),
];

/// Ends a process with SIGINT and waits for its exit code.
fn interrupt(child: &mut Child) -> Result<Option<i32>> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    kill(pid, Signal::SIGINT)?;
    Ok(child.wait()?.code())
}

/// Until a capture to stdout has written its headers, it listens or soon will.
fn wait_for_headers(child: &mut Child) -> Result<ChildStdout> {
    let mut stdout = child.stdout.take().context("stdout is piped")?;
    let mut bytes = [0; 4096];
    let headers = stdout.read(&mut bytes)?;
    ensure!(headers > 0, "the capture ended: {:?}", child.wait()?);
    Ok(stdout)
}

fn frames_on_stdout_come_at_once() -> Result<()> {
    let stage = FileStage::new()?;
    let mut child = pipe(&stage)?;
    let mut stdout = wait_for_headers(&mut child)?;
    let mut bytes = vec![0; 1 << 16];
    // The first frames come when the gate has opened.
    let mut ping = ping(&stage, "0.5")?;
    let mut delays = Vec::new();
    for _ in 0..5 {
        let count = stdout.read(&mut bytes)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        // An enhanced packet block: type, length, interface, time (high, low).
        let word = |at: usize| {
            let word = bytes[at..at + 4].try_into().map(u32::from_le_bytes);
            word.map(u64::from)
        };
        ensure!(count >= 32 && word(0)? == 6, "no frame in {count} bytes");
        let sent = Duration::from_nanos(word(12)? << 32 | word(16)?);
        delays.push(now.saturating_sub(sent));
    }
    ping.kill()?;
    ping.wait()?;
    ensure!(interrupt(&mut child)? == Some(0));
    delays.sort();
    // Others use this machine as well: the middle one tells.
    ensure!(delays[2] < Duration::from_millis(100), "{delays:?}");
    Ok(())
}

fn tshark_reads_along_on_a_pipe() -> Result<()> {
    let stage = FileStage::new()?;
    let mut child = pipe(&stage)?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut tshark = Command::new("tshark")
        .args([
            "-l",
            "-r",
            "-",
            "-T",
            "fields",
            "-e",
            "frame.interface_name",
        ])
        .args(["-Y", "icmp", "-c", "4"])
        .stdin(stdout)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut ping = ping(&stage, "0.2")?;
    // tshark ends after four frames, while the capture runs; that in turn ends the capture.
    let mut seen = String::new();
    let output = tshark.stdout.as_mut().context("stdout is piped")?;
    output.read_to_string(&mut seen)?;
    tshark.wait()?;
    let end = wait_until("the end of the capture", Duration::from_secs(10), || {
        !matches!(child.try_wait(), Ok(None))
    });
    ping.kill()?;
    ping.wait()?;
    if end.is_err() {
        child.kill()?;
    }
    let code = child.wait()?.code();
    end?;
    ensure!(code == Some(0), "exit code {code:?}");
    ensure!(
        !seen.is_empty() && seen.lines().all(|name| name == VETH),
        "tshark saw: {seen}"
    );
    Ok(())
}

fn a_closed_pipe_ends_the_capture() -> Result<()> {
    let stage = FileStage::new()?;
    let mut child = pipe(&stage)?;
    drop(wait_for_headers(&mut child)?);
    // There is no traffic: nothing is ever written that could fail.
    let end = wait_until("the end of the capture", Duration::from_secs(10), || {
        !matches!(child.try_wait(), Ok(None))
    });
    if end.is_err() {
        child.kill()?;
    }
    let code = child.wait()?.code();
    end?;
    ensure!(code == Some(0), "exit code {code:?}");
    Ok(())
}
