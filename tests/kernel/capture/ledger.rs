//! The ledger balances exactly, whatever is lost, and agrees with the kernel's own counters.

use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use traffic_tests::{
    Need, Test,
    ledger::{balanced, entry},
    netns::{VETH, VethOptions, VethPair},
    program::{Capture, Captured},
    stage::{DATAGRAMS, Flood, Stage, introduce},
    wait_until,
};

use crate::{NEEDS, Tests, frame, send};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "the_ledger_balances_when_the_ring_overflows",
        NEEDS,
        the_ledger_balances_when_the_ring_overflows,
    ),
    Test::new(
        "the_ledger_balances_on_several_interfaces_and_both_hooks",
        &[Need::Capture, Need::XdpFrames],
        the_ledger_balances_on_several_interfaces_and_both_hooks,
    ),
    Test::new(
        "a_selection_leaves_out_and_counts_the_rest",
        NEEDS,
        a_selection_leaves_out_and_counts_the_rest,
    ),
    Test::new(
        "counters_only_counts_every_frame",
        NEEDS,
        counters_only_counts_every_frame,
    ),
    Test::new(
        "seen_is_what_the_interface_counted",
        NEEDS,
        seen_is_what_the_interface_counted,
    ),
    Test::new(
        "xdp_sees_every_frame_that_arrives",
        &[Need::Capture, Need::XdpFrames],
        xdp_sees_every_frame_that_arrives,
    ),
    Test::new(
        "count_stops_at_exactly_so_many_frames",
        NEEDS,
        count_stops_at_exactly_so_many_frames,
    ),
    Test::new(
        "wire_packets_are_the_segments_that_arrive",
        NEEDS,
        wire_packets_are_the_segments_that_arrive,
    ),
    Test::new(
        "wire_packets_of_joined_frames_are_those_that_were_sent",
        // Before Linux 5.13 veth joins frames only for XDP; the need is of a later one.
        &[Need::Capture, Need::XdpFrames],
        wire_packets_of_joined_frames_are_those_that_were_sent,
    ),
];

fn succeeded(captured: &Captured) -> Result<()> {
    ensure!(captured.status.success(), "{}", captured.stderr);
    Ok(())
}

fn first_line(captured: &Captured) -> String {
    let text = String::from_utf8_lossy(&captured.stdout);
    text.lines().next().unwrap_or_default().to_owned()
}

fn the_ledger_balances_when_the_ring_overflows() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("flood.pcapng");
    let file_name = file.to_str().context("a path in UTF-8")?;
    let args = ["-i", VETH, "-B", "64", "-w", file_name];
    let strict = [&args[..2], &["-B", "64", "--max-loss", "1"]].concat();
    let tolerant = [&args[..2], &["--max-loss", "1%"]].concat();
    let capture = Capture::start(&stage.pair.right, &args)?;
    let strict = Capture::start(&stage.pair.right, &strict)?;
    let tolerant = Capture::start(&stage.pair.right, &tolerant)?;
    for stopped in [&capture, &strict] {
        stopped.signal(Signal::SIGSTOP)?;
    }
    stage.flood()?.join()?;
    for stopped in [&capture, &strict] {
        stopped.signal(Signal::SIGCONT)?;
    }
    let captured = capture.interrupt()?;
    succeeded(&captured)?;
    let matched = balanced(&captured.report, true)?;
    ensure!(matched == 2 * DATAGRAMS, "matched {matched}");
    ensure!(entry(&captured.report, "summaries_lost")? > 0);
    ensure!(entry(&captured.report, "frames_lost/ring_full")? > 0);
    let written = entry(&captured.report, "frames_written")?;
    ensure!(frame::read(&file)?.len() as u64 == written);
    let line = first_line(&captured);
    ensure!(line.contains("summaries lost"), "the first line is: {line}");

    let strict = strict.interrupt()?;
    ensure!(strict.status.code() == Some(1), "{}", strict.stderr);
    let said = strict.stderr.lines().last().unwrap_or_default();
    ensure!(
        said.starts_with("error: ") && said.contains("--max-loss allows 1 %"),
        "{}",
        strict.stderr
    );
    ensure!(balanced(&strict.report, false)? == 2 * DATAGRAMS);
    let tolerant = tolerant.interrupt()?;
    succeeded(&tolerant)?;
    ensure!(balanced(&tolerant.report, false)? == 2 * DATAGRAMS);
    Ok(())
}

fn the_ledger_balances_on_several_interfaces_and_both_hooks() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("flood.pcapng");
    let file = file.to_str().context("a path in UTF-8")?;
    let args = ["-i", VETH, "-i", "lo", "--hook", "xdp", "-B", "64"];
    let args = [&args[..], &["--sample", "10", "-w", file]].concat();
    let received = || Ok::<_, Error>(stage.pair.right.packets("lo")?.0);
    let before = received()?;
    let capture = Capture::start(&stage.pair.right, &args)?;
    let other = Flood::start(&stage.pair.right, "127.0.0.1:9", DATAGRAMS / 4)?;
    stage.flood()?.join()?;
    other.join()?;
    let back = Flood::start(&stage.pair.right, "10.77.0.1:9", DATAGRAMS / 4)?;
    back.join()?;
    // Where the kernel's queue is full, what leaves on the loopback does not arrive (`netif_rx`).
    let passed = received()? - before;
    ensure!(passed >= DATAGRAMS / 4, "{passed} passed");
    let captured = capture.interrupt()?;
    succeeded(&captured)?;
    let matched = balanced(&captured.report, true)?;
    let sampled_out = entry(&captured.report, "frames_sampled_out")?;
    // Each CPU, and with it each place, begins with a frame of its own.
    let expected = matched * 9 / 10;
    ensure!(
        sampled_out.abs_diff(expected) < 20,
        "{sampled_out} of {matched} sampled out"
    );
    let interfaces = &captured.report["interfaces"];
    // tcx is there since Linux 6.6.
    let is_tc = |hook: &Value| *hook == "tcx" || *hook == "tc";
    ensure!(interfaces[0]["ingress_hook"] == "xdp-native" && is_tc(&interfaces[0]["egress_hook"]));
    ensure!(interfaces[0]["packets"].as_u64() >= Some(DATAGRAMS / 2));
    let packets = interfaces[1]["packets"].as_u64();
    ensure!(packets >= Some(passed), "{packets:?} of {passed}");
    ensure!(captured.report["totals"]["wire_packets"].is_null());
    ensure!(captured.report["totals"]["wire_bytes"].is_null());
    Ok(())
}

fn a_selection_leaves_out_and_counts_the_rest() -> Result<()> {
    let stage = Stage::new()?;
    let args = ["-i", VETH, "-Q", "in"];
    let icmp = Capture::start(
        &stage.pair.right,
        &[&args[..], &["--protocol", "icmp"]].concat(),
    )?;
    let udp = Capture::start(
        &stage.pair.right,
        &[&args[..], &["--protocol", "udp"]].concat(),
    )?;
    stage.pair.left.run("ping -q -c 3 -i 0.01 10.77.0.2")?;
    stage.flood()?.join()?;
    let (icmp, udp) = (icmp.interrupt()?, udp.interrupt()?);
    for (captured, matched, filtered_out) in [(icmp, 3, 2 * DATAGRAMS), (udp, 2 * DATAGRAMS, 3)] {
        succeeded(&captured)?;
        ensure!(balanced(&captured.report, false)? == matched);
        ensure!(entry(&captured.report, "filtered_out")? == filtered_out);
    }
    Ok(())
}

fn counters_only_counts_every_frame() -> Result<()> {
    let stage = Stage::new()?;
    let capture = Capture::start(&stage.pair.right, &["-i", VETH, "--counters-only"])?;
    stage.flood()?.join()?;
    let captured = capture.interrupt()?;
    succeeded(&captured)?;
    ensure!(balanced(&captured.report, false)? == 2 * DATAGRAMS);
    ensure!(captured.report["ledger"]["summaries_delivered"].is_null());
    ensure!(captured.report["ledger"]["summaries_lost"].is_null());
    Ok(())
}

fn seen_is_what_the_interface_counted() -> Result<()> {
    let stage = Stage::new()?;
    let right = &stage.pair.right;
    let received = Capture::start(right, &["-i", VETH, "-Q", "in", "-v"])?;
    let sent = Capture::start(right, &["-i", VETH, "-Q", "out"])?;
    let before = right.packets(VETH)?;
    stage.flood()?.join()?;
    Flood::start(right, "10.77.0.1:9", 1000)?.join()?;
    let after = right.packets(VETH)?;
    let (received, sent) = (received.interrupt()?, sent.interrupt()?);
    let seen = (
        entry(&received.report, "seen")?,
        entry(&sent.report, "seen")?,
    );
    let counted = (after.0 - before.0, after.1 - before.1);
    ensure!(
        seen == counted,
        "saw {seen:?}, and {VETH} counted {counted:?}"
    );
    ensure!(seen.0 >= 2 * DATAGRAMS && seen.1 >= 2000);
    let note = format!("{VETH} itself counted {} frames in", counted.0);
    ensure!(received.stderr.contains("listening"), "{}", received.stderr);
    let notes = received.report["notes"].to_string();
    ensure!(notes.contains(&note), "no '{note}' in {notes}");
    Ok(())
}

/// The interface counts them itself, in front of its program (`veth_xdp_rcv`).
fn xdp_sees_every_frame_that_arrives() -> Result<()> {
    let pair = VethPair::new(&VethOptions {
        ipv6: false,
        offloads: "tso on",
        ..VethOptions::default()
    })?;
    introduce(&pair)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("bulk.pcapng");
    let name = file.to_str().context("a path in UTF-8")?;
    let args = ["-i", VETH, "-Q", "in", "--hook", "xdp", "-w", name];
    let capture = Capture::start(&pair.right, &args)?;
    let before = pair.right.packets(VETH)?;
    send::bulk(&pair, "10.77.0.2:5001", 8 << 20)?;
    received(&pair)?;
    let after = pair.right.packets(VETH)?;
    let captured = capture.interrupt()?;
    succeeded(&captured)?;
    ensure!(balanced(&captured.report, true)? == after.0 - before.0);
    let frames = frame::read(&file)?;
    ensure!(
        frames
            .iter()
            .all(|frame| frame.data.len() == frame.wire_len as usize)
    );
    let payload: usize = frames.iter().map(|frame| frame.data.len()).sum();
    ensure!(payload >= 8 << 20, "{payload} bytes");
    Ok(())
}

fn count_stops_at_exactly_so_many_frames() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("counted.pcapng");
    let file_name = file.to_str().context("a path in UTF-8")?;
    for count in [1_u64, 63, 64, 65, 5000] {
        let number = count.to_string();
        let args = ["-i", VETH, "-d", "0", "-c", &number, "-w", file_name];
        let capture = Capture::start(&stage.pair.right, &args)?;
        let flood = Flood::start(&stage.pair.left, "10.77.0.2:9", 10_000)?;
        let captured = capture.finish()?;
        succeeded(&captured)?;
        ensure!(balanced(&captured.report, true)? == count);
        ensure!(frame::read(&file)?.len() as u64 == count);
        let duration = captured.report["duration_s"].as_f64();
        ensure!(duration < Some(10.0), "{duration:?} s");
        flood.join()?;
    }
    Ok(())
}

/// Without TSO the sender's stack gives TC super-frames and splits them below: the peer receives
/// segments.
fn wire_packets_are_the_segments_that_arrive() -> Result<()> {
    let pair = VethPair::new(&VethOptions {
        ipv6: false,
        offloads: "tso off gro off",
        ..VethOptions::default()
    })?;
    introduce(&pair)?;
    let capture = Capture::start(&pair.left, &["-i", VETH, "-Q", "out"])?;
    let before = received(&pair)?;
    send::bulk(&pair, "10.77.0.2:5001", 8 << 20)?;
    let captured = capture.interrupt()?;
    let (packets, bytes) = received(&pair)?;
    let arrived = (packets - before.0, bytes - before.1);
    let totals = &captured.report["totals"];
    let wire = (
        number(totals, "wire_packets")?,
        number(totals, "wire_bytes")?,
    );
    ensure!(wire == arrived, "wire {wire:?}, and arrived {arrived:?}");
    ensure!(number(totals, "packets")? * 2 < wire.0, "no super-frames");
    Ok(())
}

/// GRO joins what arrives: its segments are the frames that were sent.
fn wire_packets_of_joined_frames_are_those_that_were_sent() -> Result<()> {
    let pair = VethPair::new(&VethOptions {
        ipv6: false,
        offloads: "tso off gro on",
        ..VethOptions::default()
    })?;
    introduce(&pair)?;
    let capture = Capture::start(&pair.right, &["-i", VETH, "-Q", "in"])?;
    let before = received(&pair)?;
    send::bulk(&pair, "10.77.0.2:5001", 8 << 20)?;
    let captured = capture.interrupt()?;
    let (packets, bytes) = received(&pair)?;
    let sent = packets - before.0;
    // With GRO on the peer, veth counts bytes behind the Ethernet header (`veth_poll`).
    let arrived = (sent, bytes - before.1 + 14 * sent);
    let totals = &captured.report["totals"];
    let wire = (
        number(totals, "wire_packets")?,
        number(totals, "wire_bytes")?,
    );
    ensure!(wire == arrived, "wire {wire:?}, and sent {arrived:?}");
    ensure!(
        number(totals, "packets")? * 2 < wire.0,
        "nothing was joined"
    );
    Ok(())
}

fn number(object: &Value, name: &str) -> Result<u64> {
    object[name]
        .as_u64()
        .with_context(|| format!("{name} in {object}"))
}

/// Frames and bytes that left the left end.
fn received(pair: &VethPair) -> Result<(u64, u64)> {
    let read = |name: &str| -> Result<u64> {
        let path = format!("/sys/class/net/{VETH}/statistics/{name}");
        Ok(pair.left.run(&format!("cat {path}"))?.trim().parse()?)
    };
    let mut last = (0, 0);
    // Until the last acknowledgement has gone.
    wait_until("a silent link", Duration::from_secs(5), || {
        let now = (
            read("tx_packets").unwrap_or(0),
            read("tx_bytes").unwrap_or(0),
        );
        std::mem::replace(&mut last, now) == now
    })?;
    Ok(last)
}
