//! Capture files of live captures.

mod contents;
mod pipes;
mod rotation;
mod trouble;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use traffic_tests::{
    Need, Test,
    netns::VETH,
    program::{Captured, binary},
    stage::FileStage,
};
use traffic_user::capture_file;

const NEEDS: &[Need] = &[Need::Capture];
const WITH_TSHARK: &[Need] = &[Need::Capture, Need::Tool("tshark"), Need::Tool("capinfos")];

/// Names and functions of a file's tests.
type Tests = &'static [Test<'static>];

fn main() -> ExitCode {
    let tests = [
        pipes::TESTS,
        contents::TESTS,
        rotation::TESTS,
        trouble::TESTS,
    ];
    traffic_tests::main(&tests.concat())
}

/// Sends echo requests from the left with `interval` seconds between them until it is killed.
fn ping(stage: &FileStage, interval: &str) -> Result<Child> {
    let mut command = stage.pair.left.command("ping");
    command
        .args(["-q", "-i", interval, "10.77.0.2"])
        .stdout(Stdio::null())
        .spawn()
        .context("start ping")
}

/// Starts a capture to stdout.
fn pipe(stage: &FileStage) -> Result<Child> {
    let mut command = stage.pair.left.command(binary());
    command
        .args(["capture", "-i", VETH, "-d", "0", "-w", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start traffic capture")
}

/// Times of the frames of a whole capture file.
fn times(path: &Path) -> Result<Vec<u64>> {
    let mut times = Vec::new();
    let summary = capture_file::read(path, |record, _| {
        times.push(record.timestamp_ns());
        ControlFlow::Continue(())
    })
    .with_context(|| format!("read {}", path.display()))?;
    match summary.fault {
        None => Ok(times),
        Some(fault) => Err(fault).with_context(|| format!("read {}", path.display())),
    }
}

/// Frames of a file so far; 0 where it cannot be read yet.
fn frames_so_far(path: &str) -> u64 {
    capture_file::read(Path::new(path), |_, _| ControlFlow::Continue(()))
        .map_or(0, |summary| summary.packets)
}

fn frames(paths: &[PathBuf]) -> Result<u64> {
    let counts: Result<Vec<_>> = paths.iter().map(|path| times(path)).collect();
    Ok(counts?.iter().map(|times| times.len() as u64).sum())
}

fn number(captured: &Captured, pointer: &str) -> Result<u64> {
    let value = captured.report.pointer(pointer).and_then(Value::as_u64);
    value.with_context(|| format!("{pointer} in {}\n{}", captured.report, captured.stderr))
}

fn expect_balance(captured: &Captured, code: i32) -> Result<()> {
    ensure!(
        captured.status.code() == Some(code),
        "{}: {}",
        captured.status,
        captured.stderr
    );
    let ledger = &captured.report["ledger"];
    ensure!(ledger["balanced"] == true, "{ledger}");
    Ok(())
}

/// The files hold what the ledger says was written, and that is every frame that was not lost.
fn expect_whole(captured: &Captured, files: &[PathBuf]) -> Result<()> {
    expect_balance(captured, 0)?;
    let written = number(captured, "/ledger/frames_written")?;
    let lost = number(captured, "/ledger/frames_lost/ring_full")?;
    let matched = number(captured, "/ledger/matched")?;
    let held = frames(files)?;
    ensure!(
        held == written && written + lost == matched,
        "{held} in files, {written} written, {lost} lost of {matched}"
    );
    Ok(())
}

fn tool(name: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(name).args(args).output()?;
    ensure!(
        output.status.success(),
        "{name} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
