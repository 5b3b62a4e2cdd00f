//! What a capture file says.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use traffic_tests::{Test, netns::VETH, program::traffic, wait_until};

use crate::{
    FileStage, NEEDS, Tests, WITH_TSHARK, expect_balance, expect_whole, frames_so_far, number, tool,
};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "a_file_says_where_and_how_it_was_made",
        WITH_TSHARK,
        a_file_says_where_and_how_it_was_made,
    ),
    Test::new(
        "lost_frames_are_counted_where_they_are_missing",
        WITH_TSHARK,
        lost_frames_are_counted_where_they_are_missing,
    ),
    Test::new(
        "frames_of_several_cpus_are_in_the_order_of_their_time",
        WITH_TSHARK,
        frames_of_several_cpus_are_in_the_order_of_their_time,
    ),
    Test::new(
        "a_sample_is_read_as_an_estimate",
        NEEDS,
        a_sample_is_read_as_an_estimate,
    ),
];

fn a_file_says_where_and_how_it_was_made() -> Result<()> {
    let stage = FileStage::new()?;
    let file = stage.path("a.pcapng");
    let mac = "02:00:00:00:77:01";
    stage
        .pair
        .left
        .run(&format!("ip link set {VETH} address {mac}"))?;
    stage
        .pair
        .left
        .run(&format!("ip link set {VETH} alias uplink"))?;
    let capture = stage.capture(&["-s", "96", "--protocol", "icmp", "-w", &file])?;
    stage.flood(10, 500)?;
    expect_whole(&capture.interrupt()?, &[file.clone().into()])?;
    let about = tool("capinfos", &[&file])?;
    for part in [
        "Capture hardware:",
        "Capture oper-sys:    Linux",
        "Capture application: traffic",
        &format!("Name = {VETH}"),
        "Description = uplink",
        "Speed = 10000000000",
        "Filter string = icmp",
        "Capture length = 96",
        "Time precision = nanoseconds",
        "Number of stat entries = 1",
        "Strict time order:   True",
    ] {
        ensure!(about.contains(part), "no '{part}' in:\n{about}");
    }
    let fields = ["-T", "fields", "-e", "frame.packet_flags_direction"];
    let directions = tool("tshark", &[&["-r", &file][..], &fields].concat())?;
    ensure!(
        directions.starts_with("0x00000002\n0x00000001\n"),
        "{directions}"
    );
    let options = ["-V", "-X", "read_format:MIME Files Format"];
    let blocks = tool("tshark", &[&["-r", &file][..], &options].concat())?;
    for part in [
        mac,
        "Interface Statistics Block",
        "Number of Accepted Packets = 20",
    ] {
        ensure!(blocks.contains(part), "no '{part}' among the blocks");
    }
    Ok(())
}

fn lost_frames_are_counted_where_they_are_missing() -> Result<()> {
    let stage = FileStage::new()?;
    let file = stage.path("a.pcapng");
    let capture = stage.capture(&["-B", "64K", "-w", &file])?;
    stage.flood(1, 56)?;
    capture.signal(Signal::SIGSTOP)?;
    stage.flood(300, 1000)?;
    capture.signal(Signal::SIGCONT)?;
    // Each CPU tells of its losses with the next frame that it sends.
    wait_until("frames in the file again", Duration::from_secs(3), || {
        frames_so_far(&file) > 20
    })?;
    for cpu in 0..std::thread::available_parallelism()?.get() {
        let line = format!("taskset -c {cpu} ping -q -f -c 5 10.77.0.2");
        stage.pair.left.run(&line)?;
    }
    let captured = capture.interrupt()?;
    expect_whole(&captured, &[file.clone().into()])?;
    let lost = number(&captured, "/ledger/frames_lost/ring_full")?;
    let fields = ["-r", &file, "-T", "fields", "-e", "frame.drop_count"];
    let counts = tool("tshark", &fields)?;
    let counts = counts.lines().filter(|count| !count.is_empty());
    let counts: Result<Vec<u64>, _> = counts.map(str::parse).collect();
    let counts = counts?;
    let sum: u64 = counts.iter().sum();
    ensure!(
        lost > 100 && sum == lost,
        "{lost} lost, {counts:?} in the file"
    );
    Ok(())
}

fn frames_of_several_cpus_are_in_the_order_of_their_time() -> Result<()> {
    let stage = FileStage::new()?;
    let [file, lines] = ["a.pcapng", "a.jsonl"].map(|name| stage.path(name));
    let capture = stage.capture(&["-w", &file, "--packets", &lines])?;
    let pings = (0..std::thread::available_parallelism()?.get()).map(|cpu| {
        let cpu = cpu.to_string();
        let ping = [
            "-c",
            &cpu,
            "ping",
            "-q",
            "-i",
            "0.002",
            "-c",
            "300",
            "10.77.0.2",
        ];
        Ok(stage
            .pair
            .left
            .command("taskset")
            .args(ping)
            .stdout(Stdio::null())
            .spawn()?)
    });
    let pings: Result<Vec<_>> = pings.collect();
    for mut ping in pings? {
        ensure!(ping.wait()?.success(), "ping failed");
    }
    let captured = capture.interrupt()?;
    expect_whole(&captured, &[file.clone().into()])?;
    ensure!(
        number(&captured, "/ledger/frames_written")? >= 600,
        "too few"
    );
    let about = tool("capinfos", &["-o", &file])?;
    ensure!(about.contains("Strict time order:   True"), "{about}");
    let lines = fs::read_to_string(&lines)?;
    let lines: Result<Vec<Value>, _> = lines.lines().map(serde_json::from_str).collect();
    let lines = lines?;
    let delivered = number(&captured, "/ledger/summaries_delivered")?;
    ensure!(
        lines.len() as u64 == delivered,
        "{} lines of {delivered} packets",
        lines.len()
    );
    let times: Vec<_> = lines.iter().map(|line| line["time"].as_str()).collect();
    ensure!(times.is_sorted(), "{times:?}");
    Ok(())
}

fn a_sample_is_read_as_an_estimate() -> Result<()> {
    let stage = FileStage::new()?;
    let file = stage.path("a.pcapng");
    let capture = stage.capture(&["--sample", "10", "-w", &file])?;
    stage.flood(500, 100)?;
    let captured = capture.interrupt()?;
    expect_balance(&captured, 0)?;
    let matched = number(&captured, "/ledger/matched")?;
    let json = stage.path("report.json");
    let output = traffic(&["read", &file, "-q", "--json", &json])?;
    ensure!(output.status.success());
    let report: Value = serde_json::from_slice(&fs::read(json)?)?;
    let estimate = &report["interfaces"][0]["estimate"];
    let packets = estimate["packets"].as_u64().context("an estimate")?;
    ensure!(
        estimate["sample"] == 10 && packets.abs_diff(matched) <= 40,
        "{estimate} of {matched}"
    );
    ensure!(report["interfaces"][0]["packets"].as_u64() == Some(packets / 10));
    ensure!(report["sampled"]["packets"].as_u64() == Some(packets / 10));
    ensure!(report["totals"]["packets"].as_u64() == Some(packets));
    ensure!(report["sources"][0]["packets"].as_u64() <= Some(packets));
    ensure!(report["ledger"]["matched"].as_u64() == Some(packets / 10));
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.starts_with("Estimates: one frame in 10"), "{text}");
    Ok(())
}
