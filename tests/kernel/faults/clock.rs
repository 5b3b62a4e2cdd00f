//! Clocks that are not what they seem.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use traffic_tests::{
    Need, Test,
    ledger::balanced,
    netns::VETH,
    program::{Capture, Captured, binary},
    stage::Stage,
};
use traffic_user::capture_file;

use crate::Tests;

pub(crate) const TESTS: Tests = &[
    Test::new(
        "a_time_namespace_changes_neither_time_stamps_nor_durations",
        &[Need::Capture, Need::Tool("unshare")],
        a_time_namespace_changes_neither_time_stamps_nor_durations,
    ),
    Test::new(
        "time_stamps_follow_a_clock_that_is_set_by_an_hour_both_ways",
        &[Need::Machine, Need::Capture],
        time_stamps_follow_a_clock_that_is_set_by_an_hour_both_ways,
    ),
    Test::new(
        "time_stamps_follow_the_clock_over_a_sleep_of_the_machine",
        &[Need::Machine, Need::Capture],
        time_stamps_follow_the_clock_over_a_sleep_of_the_machine,
    ),
];

/// Ten datagrams.
fn ten(stage: &Stage) -> Result<()> {
    stage.numbered(10, Duration::ZERO)?.join()
}

const SOON: Duration = Duration::from_secs(20);

fn time_stamps_follow_a_clock_that_is_set_by_an_hour_both_ways() -> Result<()> {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("set.pcapng");
    let path = file.to_str().context("a path in UTF-8")?;
    let (begun_ns, begun) = (now_ns()?, Instant::now());
    let args = ["-i", VETH, "-Q", "in", "-d", "0", "-w", path];
    let mut capture = Capture::start(&stage.pair.right, &args)?;
    ten(&stage)?;
    for (step, said) in [("+1 hour", "set by +"), ("-1 hour", "set by -")] {
        let set = Command::new("date").args(["--set", step]).output()?;
        ensure!(set.status.success(), "{set:?}");
        capture.wait_for_note(said, SOON)?;
        ten(&stage)?;
    }
    let captured = capture.interrupt()?;
    let taken = begun.elapsed();
    for part in ["set by +3600.", "set by -3600."] {
        // Or a moment less.
        let less = part.replace("3600.", "3599.9");
        let said = &captured.stderr;
        ensure!(said.contains(part) || said.contains(&less), "{said}");
    }
    let times = stamps(&captured, &file, 30, taken)?;
    let taken_ns = u64::try_from(taken.as_nanos())?;
    for (times, offset_ns) in times.chunks(10).zip([0, HOUR_NS, 0]) {
        let begun_ns = begun_ns + offset_ns;
        // `date` reads the clock a while before it sets it.
        let expected = begun_ns - 100_000_000..begun_ns + taken_ns + 100_000_000;
        ensure!(
            times.is_sorted() && times.iter().all(|time| expected.contains(time)),
            "{times:?}, expected in {expected:?}"
        );
    }
    Ok(())
}

/// To memory, until the machine's clock wakes it.
fn time_stamps_follow_the_clock_over_a_sleep_of_the_machine() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("slept.pcapng");
    let path = file.to_str().context("a path in UTF-8")?;
    let begun = Instant::now();
    let args = ["-i", VETH, "-Q", "in", "-d", "0", "-w", path];
    let mut capture = Capture::start(&stage.pair.right, &args)?;
    ten(&stage)?;
    let asleep_ns = now_ns()?;
    fs::write("/sys/class/rtc/rtc0/wakealarm", "+3")?;
    fs::write("/sys/power/state", "mem").context("sleep")?;
    let awake_ns = now_ns()?;
    ensure!(awake_ns > asleep_ns + 1_000_000_000, "it did not sleep");
    capture.wait_for_note("the machine slept for ", SOON)?;
    ten(&stage)?;
    let captured = capture.interrupt()?;
    // This clock does not go on either.
    let taken = begun.elapsed();
    let ended_ns = now_ns()?;
    let times = stamps(&captured, &file, 20, taken)?;
    ensure!(
        times.is_sorted()
            && times[..10].iter().all(|time| *time < asleep_ns)
            && times[10..]
                .iter()
                .all(|time| (awake_ns..ended_ns).contains(time)),
        "{times:?}, asleep from {asleep_ns} to {awake_ns}"
    );
    Ok(())
}

/// Time stamps of the file, when the capture took `expected` datagrams and no longer than `taken`.
fn stamps(captured: &Captured, file: &Path, expected: u64, taken: Duration) -> Result<Vec<u64>> {
    ensure!(captured.status.success(), "{}", captured.stderr);
    let matched = balanced(&captured.report, true)?;
    ensure!(matched == expected, "{matched} of {expected}");
    let duration_s = captured.report["duration_s"]
        .as_f64()
        .context("a duration")?;
    ensure!(
        duration_s < taken.as_secs_f64(),
        "{duration_s} s of {taken:?}"
    );
    let mut times = Vec::new();
    capture_file::read(file, |_, frame| {
        times.push(frame.timestamp_ns);
        ControlFlow::Continue(())
    })?;
    ensure!(times.len() as u64 == expected, "{} frames", times.len());
    Ok(times)
}

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
        .stdout(Stdio::null())
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
