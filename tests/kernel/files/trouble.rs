//! Captures that are killed, starts that fail, disks that run full, and other users' directories.

use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use traffic_tests::{Need, Test, netns::VETH, program::binary, wait_until};
use traffic_user::{
    capture_file::{self, CaptureWriter, Frame, InterfaceDescription, LinkType},
    record::Direction,
};

use crate::{
    FileStage, NEEDS, Tests, WITH_TSHARK, expect_balance, expect_whole, frames, frames_so_far,
    number, ping, tool,
};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "a_killed_capture_leaves_a_file_that_tshark_reads",
        WITH_TSHARK,
        a_killed_capture_leaves_a_file_that_tshark_reads,
    ),
    Test::new(
        "a_killed_capture_loses_at_most_the_last_second",
        NEEDS,
        a_killed_capture_loses_at_most_the_last_second,
    ),
    Test::new(
        "a_start_that_fails_leaves_files_as_they_were",
        NEEDS,
        a_start_that_fails_leaves_files_as_they_were,
    ),
    Test::new(
        "packet_buffered_frames_are_in_the_file_at_once",
        NEEDS,
        packet_buffered_frames_are_in_the_file_at_once,
    ),
    Test::new("files_belong_to_the_user", NEEDS, files_belong_to_the_user),
    Test::new(
        "a_full_disk_ends_writing_but_not_counting",
        NEEDS,
        a_full_disk_ends_writing_but_not_counting,
    ),
    Test::new(
        "a_full_disk_leaves_whole_records",
        &[Need::Root, Need::Tool("mount")],
        a_full_disk_leaves_whole_records,
    ),
];

fn a_killed_capture_leaves_a_file_that_tshark_reads() -> Result<()> {
    let stage = FileStage::new()?;
    let file = stage.path("a.pcapng");
    let capture = stage.capture(&["-w", &file])?;
    stage.flood(200, 100)?;
    wait_until("frames in the file", Duration::from_secs(2), || {
        frames_so_far(&file) >= 400
    })?;
    stage.flood(2000, 1000)?;
    capture.signal(Signal::SIGKILL)?;
    let end = capture.finish()?;
    ensure!(end.status.code().is_none(), "{}", end.status);
    let fields = ["-r", &file, "-T", "fields", "-e", "ip.src"];
    let output = Command::new("tshark").args(fields).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    // The kill may have hit a write: then the last block is not whole, and tshark says so.
    ensure!(
        output.status.success() || complaint.contains("cut short in the middle of a packet"),
        "{complaint}"
    );
    let seen = String::from_utf8(output.stdout)?;
    ensure!(
        seen.lines().count() >= 400,
        "{} frames",
        seen.lines().count()
    );
    Ok(())
}

fn packet_buffered_frames_are_in_the_file_at_once() -> Result<()> {
    let stage = FileStage::new()?;
    let file = stage.path("a.pcap");
    let capture = stage.capture(&["-U", "-w", &file])?;
    stage.flood(1, 56)?;
    for _ in 0..5 {
        let before = frames_so_far(&file);
        stage.flood(1, 56)?;
        wait_until("two frames", Duration::from_millis(300), || {
            frames_so_far(&file) >= before + 2
        })?;
    }
    expect_whole(&capture.interrupt()?, &[file.into()])
}

fn a_killed_capture_loses_at_most_the_last_second() -> Result<()> {
    for name in ["a.pcapng", "a.pcap", "a.pcapng.zst"] {
        let stage = FileStage::new()?;
        let file = stage.path(name);
        let capture = stage.capture(&["-w", &file])?;
        let mut ping = ping(&stage, "0.02")?;
        // Before the first flush there is nothing that could be lost again.
        wait_until("frames in the file", Duration::from_secs(5), || {
            frames_so_far(&file) >= 20
        })?;
        let killed = SystemTime::now();
        capture.signal(Signal::SIGKILL)?;
        capture.finish()?;
        ping.kill()?;
        ping.wait()?;
        let mut last = 0;
        let summary = capture_file::read(Path::new(&file), |record, _| {
            last = record.timestamp_ns();
            ControlFlow::Continue(())
        })?;
        let killed_ns = u64::try_from(killed.duration_since(UNIX_EPOCH)?.as_nanos())?;
        let lost = Duration::from_nanos(killed_ns.saturating_sub(last));
        ensure!(
            summary.packets >= 20 && lost < Duration::from_secs(1),
            "{name}: {} frames, the last {lost:?} before the end",
            summary.packets
        );
    }
    Ok(())
}

fn a_start_that_fails_leaves_files_as_they_were() -> Result<()> {
    let stage = FileStage::new()?;
    let outputs = ["a.pcapng", "a.html", "a.json", "a.jsonl", "a.svg"];
    let options = ["-w", "--html", "--json", "--packets", "--plot"];
    // Whoever holds the hook keeps others from attaching there.
    let holder = stage.capture(&["--hook", "xdp"])?;
    let refused: [&[&str]; 5] = [
        &["-i", VETH, "tcp port nothing"],
        &["-i", "nothing0"],
        &["-i", VETH, "--hook", "xdp"],
        &["-i", VETH, "--live"],
        &["-i", VETH, "-Z", "nobody-at-all"],
    ];
    let start = |args: &[&str]| -> Result<()> {
        let mut program = stage.pair.left.command(binary());
        program
            .arg("capture")
            .args(["-d", "1", "--csv", &stage.path("tables")]);
        for (option, output) in options.iter().zip(outputs) {
            program.args([option, stage.path(output).as_str()]);
        }
        let status = program
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(!status.success(), "{args:?} was not refused");
        Ok(())
    };
    for args in refused {
        start(args)?;
        ensure!(
            stage.files()?.is_empty(),
            "{args:?} left {:?}",
            stage.files()?
        );
    }
    for output in outputs {
        fs::write(stage.path(output), output)?;
    }
    // Later files could not be made without privileges.
    chown(stage.directory.path(), Some(NOBODY), Some(NOBODY))?;
    for args in refused.into_iter().chain([&["-i", VETH, "-C", "1"][..]]) {
        start(args)?;
        for output in outputs {
            let now = fs::read_to_string(stage.path(output))?;
            ensure!(now == output, "{args:?} changed {output}");
        }
        let files = stage.files()?;
        ensure!(files.len() == outputs.len(), "{args:?} left {files:?}");
    }
    holder.interrupt().map(drop)
}

/// `nobody` of every Linux system.
const NOBODY: u32 = 65534;

fn files_belong_to_the_user() -> Result<()> {
    let stage = FileStage::new()?;
    let forbidden = tempfile::tempdir()?;
    chown(stage.directory.path(), Some(NOBODY), Some(NOBODY))?;
    let target = stage.path("a.pcapng");
    let mut ping = ping(&stage, "0.01")?;
    // Without a report: its directory belongs to root.
    let output = stage
        .pair
        .left
        .command(binary())
        .args([
            "capture",
            "-i",
            VETH,
            "-a",
            "packets:30",
            "-b",
            "packets:10",
        ])
        .args(["-Z", "nobody", "-w", &target])
        .output()?;
    let refused = stage
        .pair
        .left
        .command(binary())
        .args(["capture", "-i", VETH, "-c", "1", "-Z", "nobody", "-w"])
        .arg(forbidden.path().join("a.pcapng"))
        .output()?;
    ping.kill()?;
    ping.wait()?;
    ensure!(output.status.success(), "{output:?}");
    let files = stage.files()?;
    ensure!(files.len() == 3, "{files:?}");
    for file in files {
        let owner = fs::metadata(&file)?.uid();
        ensure!(owner == NOBODY, "{} belongs to {owner}", file.display());
    }
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    Ok(())
}

/// A file system of 1 MiB; unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self> {
        let at = at.display().to_string();
        tool(
            "mount",
            &["-t", "tmpfs", "-o", "size=1m", "traffic-test", &at],
        )?;
        Ok(Self(at.into()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = tool("umount", &["-l", &self.0.display().to_string()]) {
            eprintln!("{error:#}");
        }
    }
}

fn a_full_disk_ends_writing_but_not_counting() -> Result<()> {
    let stage = FileStage::new()?;
    let disk = SmallDisk::mount(stage.directory.path())?;
    let target = stage.path("a.pcapng");
    let mut capture = stage.capture(&["-C", "400K", "-w", &target])?;
    stage.flood(1500, 1000)?;
    capture.wait_for_note("no more frames are written", Duration::from_secs(5))?;
    stage.flood(100, 1000)?;
    let captured = capture.interrupt()?;
    expect_balance(&captured, 1)?;
    let failed = number(&captured, "/ledger/frames_lost/write_failed")?;
    let written = number(&captured, "/ledger/frames_written")?;
    let held = frames(&stage.files()?)?;
    ensure!(
        failed > 1000 && held == written && written > 500,
        "{held} in files, {written} written, {failed} failed"
    );
    ensure!(number(&captured, "/ledger/matched")? >= 3200);
    drop(disk);
    Ok(())
}

fn a_full_disk_leaves_whole_records() -> Result<()> {
    for name in ["full.pcap", "full.pcapng"] {
        let directory = tempfile::tempdir()?;
        let _disk = SmallDisk::mount(directory.path())?;
        let path = directory.path().join(name);
        let interface = InterfaceDescription::new("eth0", LinkType::ETHERNET);
        let mut writer = CaptureWriter::create(&path, &[interface])?;
        let mut refused = 0;
        for index in 0..5_000_u64 {
            let written = writer.write_frame(&Frame {
                interface: 0,
                timestamp_ns: index,
                wire_len: 1_001,
                direction: Direction::Ingress,
                dropped: 0,
                data: &[7; 1_001],
            });
            refused += u32::from(written.is_err());
        }
        refused += u32::from(writer.finish(&[]).is_err());
        ensure!(refused > 0, "{name}: the disk did not run full");

        let kept = writer.frames_written();
        ensure!(kept > 200, "{name}: {kept} frames on 1 MiB");
        let summary = capture_file::read(&path, |_, _| ControlFlow::Continue(()))?;
        ensure!(summary.fault.is_none(), "{name}: {:?}", summary.fault);
        ensure!(
            summary.packets == kept,
            "{name}: {} of {kept}",
            summary.packets
        );
    }
    Ok(())
}
