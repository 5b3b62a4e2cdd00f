//! Files one after the other, and when a capture ends with the last.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use traffic_tests::{Test, wait_until};

use crate::{
    FileStage, NEEDS, Tests, WITH_TSHARK, expect_balance, expect_whole, frames, frames_so_far,
    number, ping, times, tool,
};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "files_by_size_hold_every_frame_once",
        NEEDS,
        files_by_size_hold_every_frame_once,
    ),
    Test::new("a_ring_keeps_its_length", NEEDS, a_ring_keeps_its_length),
    Test::new(
        "periods_follow_the_clock_and_end_the_capture",
        NEEDS,
        periods_follow_the_clock_and_end_the_capture,
    ),
    Test::new(
        "complete_files_are_compressed_and_handed_on",
        NEEDS,
        complete_files_are_compressed_and_handed_on,
    ),
    Test::new(
        "every_file_ends_with_its_statistics",
        WITH_TSHARK,
        every_file_ends_with_its_statistics,
    ),
    Test::new(
        "a_full_file_ends_the_capture",
        NEEDS,
        a_full_file_ends_the_capture,
    ),
    Test::new(
        "signals_print_flush_rotate_and_stop",
        NEEDS,
        signals_print_flush_rotate_and_stop,
    ),
];

fn files_by_size_hold_every_frame_once() -> Result<()> {
    let stage = FileStage::new()?;
    let capture = stage.capture(&["-C", "1", "-w", &stage.path("a.pcapng")])?;
    stage.flood(2500, 1000)?;
    let captured = capture.interrupt()?;
    let files = stage.files()?;
    ensure!(files.len() >= 5, "{files:?}");
    for file in &files {
        let len = fs::metadata(file)?.len();
        ensure!(len < 1_002_500, "{} has {len} bytes", file.display());
    }
    expect_whole(&captured, &files)
}

fn a_ring_keeps_its_length() -> Result<()> {
    for (args, expected) in [
        (&["-C", "100K", "-W", "3"][..], 3),
        (&["-b", "filesize:100", "-b", "files:2"], 2),
    ] {
        let stage = FileStage::new()?;
        let target = stage.path("a.pcap");
        let capture = stage.capture(&[args, &["-w", &target]].concat())?;
        stage.flood(1000, 1000)?;
        let captured = capture.interrupt()?;
        expect_balance(&captured, 0)?;
        let files = stage.files()?;
        ensure!(files.len() == expected, "{args:?} left {files:?}");
        for file in &files {
            // Nanosecond pcap, whatever is put behind the name.
            let magic = fs::read(file)?.first_chunk().copied();
            ensure!(
                magic.map(u32::from_le_bytes) == Some(0xa1b2_3c4d),
                "{}",
                file.display()
            );
        }
        let written = number(&captured, "/ledger/frames_written")?;
        let held = frames(&files)?;
        ensure!(
            held > 50 && held < written,
            "{held} of {written} frames are kept"
        );
    }
    Ok(())
}

fn periods_follow_the_clock_and_end_the_capture() -> Result<()> {
    let stage = FileStage::new()?;
    let target = stage.path("a-%s.pcapng");
    let started = Instant::now();
    let capture = stage.capture(&["-G", "1", "-W", "3", "-w", &target])?;
    let mut ping = ping(&stage, "0.01")?;
    let captured = capture.finish();
    ping.kill()?;
    ping.wait()?;
    let captured = captured?;
    ensure!(started.elapsed() < Duration::from_secs(8));
    let files = stage.files()?;
    ensure!(files.len() == 3, "{files:?}");
    expect_whole(&captured, &files)?;
    for file in &files[1..] {
        let name = file.file_stem().context("a name")?.to_string_lossy();
        let second: u64 = name.trim_start_matches("a-").parse()?;
        let times = times(file)?;
        // Before the gate opens, periods pass without a frame.
        let Some(first) = times.first() else {
            continue;
        };
        ensure!(first / 1_000_000_000 == second, "{first} in {name}");
    }
    Ok(())
}

fn complete_files_are_compressed_and_handed_on() -> Result<()> {
    let stage = FileStage::new()?;
    let tools = tempfile::tempdir()?;
    let list = tools.path().join("list");
    let script = tools.path().join("note");
    fs::write(
        &script,
        format!("#!/bin/sh\necho \"$1\" >> {}\n", list.display()),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let target = stage.path("a.pcapng");
    let script = script.display().to_string();
    let rotate = ["-b", "packets:500", "--compress", "zstd"];
    let capture = stage.capture(&[&rotate[..], &["-z", &script, "-w", &target]].concat())?;
    stage.flood(1000, 1000)?;
    let captured = capture.interrupt()?;
    let files = stage.files()?;
    ensure!(
        files.len() >= 4
            && files
                .iter()
                .all(|file| file.extension() == Some("zst".as_ref())),
        "{files:?}"
    );
    expect_whole(&captured, &files)?;
    for file in &files[..3] {
        ensure!(times(file)?.len() == 500);
    }
    let mut noted: Vec<_> = fs::read_to_string(&list)?
        .lines()
        .map(PathBuf::from)
        .collect();
    noted.sort();
    ensure!(noted == files, "{noted:?}, not {files:?}");
    Ok(())
}

fn a_full_file_ends_the_capture() -> Result<()> {
    let stage = FileStage::new()?;
    let target = stage.path("a.pcapng");
    let capture = stage.capture(&["-a", "filesize:100", "-w", &target])?;
    stage.flood(300, 1000)?;
    let captured = capture.finish()?;
    expect_whole(&captured, &[target.clone().into()])?;
    let len = fs::metadata(&target)?.len();
    ensure!(len > 100_000, "{len} bytes");
    let capture = stage.capture(&["-a", "packets:7", "-w", &target])?;
    stage.flood(10, 100)?;
    let captured = capture.finish()?;
    expect_whole(&captured, &[target.clone().into()])?;
    ensure!(times(Path::new(&target))?.len() == 7);
    Ok(())
}

fn signals_print_flush_rotate_and_stop() -> Result<()> {
    let stage = FileStage::new()?;
    let target = stage.path("a.pcapng");
    let mut capture = stage.capture(&["-b", "filesize:100000", "-w", &target])?;
    stage.flood(5, 100)?;
    let second = Duration::from_secs(1);
    capture.signal(Signal::SIGUSR1)?;
    capture.wait_for_note("packets captured", 5 * second)?;
    capture.wait_for_note("packets dropped by kernel", 5 * second)?;
    capture.signal(Signal::SIGUSR2)?;
    let first = stage
        .files()?
        .pop()
        .context("a file")?
        .display()
        .to_string();
    wait_until("flushed frames", second, || frames_so_far(&first) >= 10)?;
    capture.signal(Signal::SIGHUP)?;
    wait_until("a second file", 5 * second, || {
        stage.files().is_ok_and(|files| files.len() == 2)
    })?;
    stage.flood(5, 100)?;
    let captured = capture.interrupt()?;
    let files = stage.files()?;
    expect_whole(&captured, &files)?;
    ensure!(times(&files[1])?.len() >= 10);
    // Without a next file SIGHUP ends the capture.
    let capture = stage.capture(&["-w", &stage.path("b.pcapng")])?;
    capture.signal(Signal::SIGHUP)?;
    expect_balance(&capture.finish()?, 0)
}

/// What the statistics at the end of a file say, as Wireshark reads them.
#[derive(Debug, Default, PartialEq)]
struct Statistics {
    received: u64,
    accepted: u64,
    dropped: u64,
    delivered: u64,
    sampled_out: u64,
}

impl Statistics {
    fn of(file: &Path) -> Result<Self> {
        let file = file.display().to_string();
        let options = ["-V", "-X", "read_format:MIME Files Format"];
        let blocks = tool("tshark", &[&["-r", &file][..], &options].concat())?;
        let after = |label: &str| -> Result<u64> {
            let found = blocks
                .lines()
                .find_map(|line| line.trim().strip_prefix(label));
            let number = found.with_context(|| format!("no '{label}' in {file}"))?;
            Ok(number.trim().parse()?)
        };
        Ok(Self {
            received: after("Option: Number of Received Packets =")?,
            accepted: after("Option: Number of Accepted Packets =")?,
            dropped: after("Option: Number of Packets Dropped by OS =")?,
            delivered: after("Option: Number of Packets Delivered to the User =")?,
            sampled_out: after("Option: Comment = sampled out").unwrap_or(0),
        })
    }
}

fn every_file_ends_with_its_statistics() -> Result<()> {
    let stage = FileStage::new()?;
    let target = stage.path("a.pcapng");
    let args = [
        "-C",
        "50K",
        "--sample",
        "2",
        "-w",
        &target,
        "icmp[icmptype] == 8",
    ];
    let capture = stage.capture(&args)?;
    for _ in 0..5 {
        stage.flood(200, 1000)?;
        // The numbers of what no file holds are looked at at every tick.
        let before = stage.files()?.len();
        wait_until("another file", Duration::from_secs(5), || {
            stage.flood(5, 1000).is_ok() && stage.files().is_ok_and(|files| files.len() > before)
        })?;
    }
    let captured = capture.interrupt()?;
    let files = stage.files()?;
    expect_balance(&captured, 0)?;
    ensure!(files.len() > 5, "{files:?}");
    let mut sum = Statistics::default();
    let mut with_left_out = 0;
    for file in &files {
        let here = Statistics::of(file)?;
        ensure!(here.delivered == times(file)?.len() as u64, "{here:?}");
        let parts = here.delivered + here.dropped + here.sampled_out;
        ensure!(here.accepted == parts && here.received >= parts, "{here:?}");
        with_left_out += u64::from(here.sampled_out > 0 && here.received > here.accepted);
        sum.received += here.received;
        sum.accepted += here.accepted;
        sum.dropped += here.dropped;
        sum.delivered += here.delivered;
        sum.sampled_out += here.sampled_out;
    }
    let ledger = Statistics {
        received: number(&captured, "/ledger/seen")?,
        accepted: number(&captured, "/ledger/matched")?,
        dropped: number(&captured, "/ledger/frames_lost/ring_full")?,
        delivered: number(&captured, "/ledger/frames_written")?,
        sampled_out: number(&captured, "/ledger/frames_sampled_out")?,
    };
    ensure!(sum == ledger, "{sum:?} in files, {ledger:?} in the ledger");
    ensure!(
        with_left_out > 2,
        "{with_left_out} files know what was left out"
    );
    Ok(())
}
