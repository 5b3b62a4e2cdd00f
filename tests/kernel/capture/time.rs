//! Time stamps against tcpdump's, and the histogram against time stamps.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use traffic_tests::{
    Need, Test,
    ledger::{balanced, entry},
    netns::VETH,
    program::Capture,
    stage::Stage,
};

use crate::{
    NEEDS, Tests,
    frame::{self, Frame},
    send::{self, MARK},
    tcpdump::{Tcpdump, before},
};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "time_stamps_are_those_of_tcpdump",
        NEEDS,
        time_stamps_are_those_of_tcpdump,
    ),
    Test::new(
        "every_bin_counts_the_frames_of_its_time",
        NEEDS,
        every_bin_counts_the_frames_of_its_time,
    ),
    Test::new(
        "a_planned_end_is_an_edge_for_every_counter",
        NEEDS,
        a_planned_end_is_an_edge_for_every_counter,
    ),
];

fn time_stamps_are_those_of_tcpdump() -> Result<()> {
    const PACKETS: u32 = 300;
    let xdp = Need::XdpFrames.is_there().then_some(("in", "xdp"));
    for (direction, hook) in [("in", "tc"), ("out", "tc")].into_iter().chain(xdp) {
        let stage = Stage::new()?;
        let namespace = if direction == "in" {
            &stage.pair.right
        } else {
            &stage.pair.left
        };
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("traffic.pcapng");
        let name = file.to_str().context("a path in UTF-8")?;
        let theirs = directory.path().join("tcpdump.pcap");
        let theirs = Tcpdump::start(namespace, VETH, direction, &theirs)?;
        let args = ["-i", VETH, "-Q", direction, "--hook", hook, "-w", name];
        let capture = Capture::start(namespace, &args)?;
        stage.numbered(PACKETS, Duration::from_millis(2))?.join()?;
        send::mark(&stage.pair)?;
        let theirs = theirs.until(MARK)?;
        let captured = capture.interrupt()?;
        ensure!(captured.status.success(), "{}", captured.stderr);
        let ours = before(frame::read(&file)?, MARK);
        ensure!(ours.len() == theirs.len() && ours.len() >= PACKETS as usize);
        close(&ours, &theirs).with_context(|| format!("{hook}, {direction}"))?;
    }
    Ok(())
}

/// The median differs by at most 100 µs, 99 % by at most 1 ms. Where each instruction is emulated,
/// it is ten times that and 90 %: another process may take the CPU away between two time stamps.
fn close(ours: &[Frame], theirs: &[Frame]) -> Result<()> {
    let pairs = ours.iter().zip(theirs);
    let mut apart: Vec<u64> = pairs
        .map(|(ours, theirs)| ours.timestamp_ns.abs_diff(theirs.timestamp_ns))
        .collect();
    apart.sort_unstable();
    let is_emulated = Need::Machine.is_there();
    let (times, percent) = if is_emulated { (10, 90) } else { (1, 99) };
    let (median, most) = (apart[apart.len() / 2], apart[apart.len() * percent / 100]);
    ensure!(
        median <= 100_000 * times && most <= 1_000_000 * times,
        "time stamps differ by {median} ns in the median, {percent} % by at most {most} ns"
    );
    Ok(())
}

fn every_bin_counts_the_frames_of_its_time() -> Result<()> {
    for (bins, duration) in [("20", "600ms"), ("30", "500ms"), ("7", "700ms")] {
        let stage = Stage::new()?;
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("traffic.pcapng");
        let name = file.to_str().context("a path in UTF-8")?;
        let args = ["-i", VETH, "-d", duration, "--bins", bins, "-w", name];
        let capture = Capture::start(&stage.pair.right, &args)?;
        // It goes on after the planned end.
        let sending = stage.numbered(5000, Duration::from_micros(150))?;
        let captured = capture.finish()?;
        ensure!(captured.status.success(), "{}", captured.stderr);
        let report = &captured.report;
        let matched = balanced(report, true)?;
        let frames = frame::read(&file)?;
        ensure!(frames.len() as u64 == matched && matched > 500);
        bins_agree(&report["timeline"], &frames).with_context(|| format!("{bins}, {duration}"))?;
        sending.join()?;
    }
    Ok(())
}

/// How far a time stamp may be from an edge to count on its other side.
const EDGE_NS: u64 = 20_000;

fn bins_agree(timeline: &Value, frames: &[Frame]) -> Result<()> {
    let bins: Vec<u64> = serde_json::from_value(timeline["bins"].clone())?;
    let width = timeline["bin_seconds"].as_f64().context("bin_seconds")?;
    let width_ns = u64::try_from(Duration::from_secs_f64(width).as_nanos())?;
    let start = timeline["start"].as_str().context("start")?;
    let start_ns = nanoseconds(start)?;
    let mut counted = vec![0_u64; bins.len()];
    let mut at_edges = vec![0_u64; bins.len()];
    let last = bins.len() - 1;
    for frame in frames {
        let since = frame.timestamp_ns.saturating_sub(start_ns);
        let bin = |ns: u64| usize::try_from(ns / width_ns).map(|bin| bin.min(last));
        counted[bin(since)?] += 1;
        let (low, high) = (bin(since.saturating_sub(EDGE_NS))?, bin(since + EDGE_NS)?);
        if low != high {
            at_edges[low] += 1;
            at_edges[high] += 1;
        }
    }
    for (bin, (&exact, &counted)) in bins.iter().zip(&counted).enumerate() {
        ensure!(
            exact.abs_diff(counted) <= at_edges[bin],
            "bin {bin} has {exact} frames, and {counted} time stamps lie in it ({} at edges)",
            at_edges[bin]
        );
    }
    Ok(())
}

/// Nanoseconds since the Unix epoch of an RFC 3339 time.
fn nanoseconds(time: &str) -> Result<u64> {
    let output = std::process::Command::new("date")
        .args(["-u", "+%s%N", "-d", time])
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// A process that is stopped over its planned end reports that time and nothing after it.
fn a_planned_end_is_an_edge_for_every_counter() -> Result<()> {
    use nix::sys::signal::Signal;
    let stage = Stage::new()?;
    let args = ["-i", VETH, "-d", "400ms", "--protocol", "icmp"];
    let capture = Capture::start(&stage.pair.right, &args)?;
    capture.signal(Signal::SIGSTOP)?;
    let sending = stage.numbered(400, Duration::from_millis(2))?;
    sending.join()?;
    capture.signal(Signal::SIGCONT)?;
    let captured = capture.finish()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    ensure!(balanced(&captured.report, false)? == 0);
    let filtered_out = entry(&captured.report, "filtered_out")?;
    // 400 ms of a datagram in 2 ms; the sender's sleep is never shorter.
    ensure!(
        (1..=200).contains(&filtered_out),
        "{filtered_out} filtered out"
    );
    ensure!(captured.report["duration_s"].as_f64() == Some(0.4));
    Ok(())
}
