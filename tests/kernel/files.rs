//! Capture files of live captures: pipes, rotation, limits, signals, losses.

use std::{
    fs,
    io::Read as _,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use traffic_tests::{
    Need, Test,
    netns::{VETH, VethOptions, VethPair},
    program::{Capture, Captured, binary, traffic},
    wait_until,
};
use traffic_user::capture_file;

const NEEDS: &[Need] = &[Need::Capture];
const WITH_TSHARK: &[Need] = &[Need::Capture, Need::Tool("tshark"), Need::Tool("capinfos")];

fn main() -> ExitCode {
    traffic_tests::main(&[
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
        Test::new(
            "a_killed_capture_leaves_a_file_that_tshark_reads",
            WITH_TSHARK,
            a_killed_capture_leaves_a_file_that_tshark_reads,
        ),
        Test::new(
            "packet_buffered_frames_are_in_the_file_at_once",
            NEEDS,
            packet_buffered_frames_are_in_the_file_at_once,
        ),
        Test::new(
            "a_file_says_where_and_how_it_was_made",
            WITH_TSHARK,
            a_file_says_where_and_how_it_was_made,
        ),
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
            "a_full_file_ends_the_capture",
            NEEDS,
            a_full_file_ends_the_capture,
        ),
        Test::new("files_belong_to_the_user", NEEDS, files_belong_to_the_user),
        Test::new(
            "a_full_disk_ends_writing_but_not_counting",
            NEEDS,
            a_full_disk_ends_writing_but_not_counting,
        ),
        Test::new(
            "signals_print_flush_rotate_and_stop",
            NEEDS,
            signals_print_flush_rotate_and_stop,
        ),
        Test::new(
            "lost_frames_are_counted_where_they_are_missing",
            WITH_TSHARK,
            lost_frames_are_counted_where_they_are_missing,
        ),
        Test::new(
            "a_sample_is_read_as_an_estimate",
            NEEDS,
            a_sample_is_read_as_an_estimate,
        ),
    ])
}

/// A silent link, and a directory for files.
struct Stage {
    pair: VethPair,
    directory: TempDir,
}

impl Stage {
    fn new() -> Result<Self> {
        Ok(Self {
            pair: VethPair::new(&VethOptions {
                ipv6: false,
                ..VethOptions::default()
            })?,
            directory: tempfile::tempdir()?,
        })
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Starts a capture of every frame until it is stopped, with other arguments.
    fn capture(&self, args: &[&str]) -> Result<Capture> {
        let until_stopped = ["-i", VETH, "-d", "0"];
        Capture::start(&self.pair.left, &[&until_stopped[..], args].concat())
    }

    /// Sends `count` echo requests as fast as they are answered.
    fn flood(&self, count: u32, bytes: u32) -> Result<()> {
        let line = format!("ping -q -f -c {count} -s {bytes} 10.77.0.2");
        self.pair.left.run(&line).map(drop)
    }

    /// Sends echo requests with `interval` seconds between them until it is killed.
    fn ping(&self, interval: &str) -> Result<Child> {
        self.pair
            .left
            .command("ping")
            .args(["-q", "-i", interval, "10.77.0.2"])
            .stdout(Stdio::null())
            .spawn()
            .context("start ping")
    }

    /// Starts a capture to stdout.
    fn pipe(&self) -> Result<Child> {
        self.pair
            .left
            .command(binary())
            .args(["capture", "-i", VETH, "-d", "0", "-w", "-"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start traffic capture")
    }

    /// Files of the directory by name.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.directory.path())?;
        let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
        let mut paths = paths?;
        paths.sort();
        Ok(paths)
    }
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

/// Ends a process with SIGINT and waits for its exit code.
fn interrupt(child: &mut Child) -> Result<Option<i32>> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    nix::sys::signal::kill(pid, Signal::SIGINT)?;
    Ok(child.wait()?.code())
}

/// Until a capture to stdout has written its headers, it listens or soon will.
fn wait_for_headers(child: &mut Child) -> Result<std::process::ChildStdout> {
    let mut stdout = child.stdout.take().context("stdout is piped")?;
    let mut bytes = [0; 4096];
    let headers = stdout.read(&mut bytes)?;
    ensure!(headers > 0, "the capture ended: {:?}", child.wait()?);
    Ok(stdout)
}

fn frames_on_stdout_come_at_once() -> Result<()> {
    let stage = Stage::new()?;
    let mut child = stage.pipe()?;
    let mut stdout = wait_for_headers(&mut child)?;
    let mut bytes = vec![0; 1 << 16];
    // The first frames come when the gate has opened.
    let mut ping = stage.ping("0.5")?;
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
    let stage = Stage::new()?;
    let mut child = stage.pipe()?;
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
    let mut ping = stage.ping("0.2")?;
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
    let stage = Stage::new()?;
    let mut child = stage.pipe()?;
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

fn a_killed_capture_leaves_a_file_that_tshark_reads() -> Result<()> {
    let stage = Stage::new()?;
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
    let stage = Stage::new()?;
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

fn a_file_says_where_and_how_it_was_made() -> Result<()> {
    let stage = Stage::new()?;
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

fn files_by_size_hold_every_frame_once() -> Result<()> {
    let stage = Stage::new()?;
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
        let stage = Stage::new()?;
        let target = stage.path("a.pcap");
        let capture = stage.capture(&[args, &["-w", &target]].concat())?;
        stage.flood(1000, 1000)?;
        let captured = capture.interrupt()?;
        expect_balance(&captured, 0)?;
        let files = stage.files()?;
        ensure!(files.len() == expected, "{args:?} left {files:?}");
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
    let stage = Stage::new()?;
    let target = stage.path("a-%s.pcapng");
    let started = Instant::now();
    let capture = stage.capture(&["-G", "1", "-W", "3", "-w", &target])?;
    let mut ping = stage.ping("0.01")?;
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
    let stage = Stage::new()?;
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
    let stage = Stage::new()?;
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

/// `nobody` of every Linux system.
const NOBODY: u32 = 65534;

fn files_belong_to_the_user() -> Result<()> {
    let stage = Stage::new()?;
    let forbidden = tempfile::tempdir()?;
    chown(stage.directory.path(), Some(NOBODY), Some(NOBODY))?;
    let target = stage.path("a.pcapng");
    let mut ping = stage.ping("0.01")?;
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

/// A file system of limited size; unmounted on drop.
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
    let stage = Stage::new()?;
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

fn signals_print_flush_rotate_and_stop() -> Result<()> {
    let stage = Stage::new()?;
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

fn lost_frames_are_counted_where_they_are_missing() -> Result<()> {
    let stage = Stage::new()?;
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

fn a_sample_is_read_as_an_estimate() -> Result<()> {
    let stage = Stage::new()?;
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
