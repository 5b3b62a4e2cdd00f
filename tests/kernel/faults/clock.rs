//! Clocks that are not what they seem.

use std::{
    ops::ControlFlow,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use traffic_tests::{Need, Test, ledger::balanced, netns::VETH, program::binary, stage::Stage};
use traffic_user::capture_file;

use crate::Tests;

pub(crate) const TESTS: Tests = &[Test::new(
    "a_time_namespace_changes_neither_time_stamps_nor_durations",
    &[Need::Capture, Need::Tool("unshare")],
    a_time_namespace_changes_neither_time_stamps_nor_durations,
)];

/// There the monotonic clock is a day ahead, or as far behind as it can be, of that of programs in
/// the kernel, as after a suspend that only one of them noticed.
fn a_time_namespace_changes_neither_time_stamps_nor_durations() -> Result<()> {
    for offset in ["86400", "-10"] {
        in_time_namespace(offset).with_context(|| format!("offset {offset} s"))?;
    }
    Ok(())
}

fn in_time_namespace(offset: &str) -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let (file, json) = (
        directory.path().join("time.pcapng"),
        directory.path().join("report.json"),
    );
    let begun_ns = now_ns()?;
    // With a count it ends by itself: the process is `unshare`, and the capture its child.
    let process = stage
        .pair
        .right
        .command("unshare")
        .args(["--time", "--fork", "--monotonic", offset])
        .arg(binary())
        .args(["capture", "-i", VETH, "-Q", "in", "-d", "30", "-c", "10"])
        .arg("-w")
        .arg(&file)
        .arg("--json")
        .arg(&json)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let sender = stage.numbered(2000, Duration::from_millis(5))?;
    let output = process.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let ended_ns = now_ns()?;
    sender.join()?;
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json)?)?;
    ensure!(balanced(&report, true)? == 10, "{report}");
    let taken_s = Duration::from_nanos(ended_ns - begun_ns).as_secs_f64();
    let duration_s = report["duration_s"].as_f64().context("a duration")?;
    ensure!(
        duration_s > 0.04 && duration_s < taken_s,
        "{duration_s} s of {taken_s} s"
    );
    let mut times = Vec::new();
    capture_file::read(&file, |_, frame| {
        times.push(frame.timestamp_ns);
        ControlFlow::Continue(())
    })?;
    ensure!(times.len() == 10 && times.is_sorted(), "{times:?}");
    ensure!(
        times.iter().all(|time| (begun_ns..ended_ns).contains(time)),
        "{times:?}"
    );
    Ok(())
}

fn now_ns() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_nanos())?)
}
