//! A reader that gets no time, and a sink that takes nothing: counts stay exact, and what is lost is
//! named.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::{Pid, mkfifo},
};
use traffic_tests::{
    Need, Test,
    bpf::children,
    ledger::{balanced, entry},
    netns::VETH,
    program::{Capture, Captured, binary},
    stage::{DATAGRAMS, Stage},
    wait_until,
};

use crate::{NEEDS, Tests, file};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "a_reader_stopped_for_seconds_loses_only_what_is_named",
        NEEDS,
        a_reader_stopped_for_seconds_loses_only_what_is_named,
    ),
    Test::new(
        "a_start_that_is_stopped_goes_on",
        NEEDS,
        a_start_that_is_stopped_goes_on,
    ),
    Test::new(
        "a_reader_whose_processor_is_taken_counts_every_frame",
        &[Need::Capture, Need::Tool("taskset"), Need::Tool("chrt")],
        a_reader_whose_processor_is_taken_counts_every_frame,
    ),
    Test::new(
        "a_sink_that_stalls_for_seconds_loses_only_what_is_named",
        NEEDS,
        a_sink_that_stalls_for_seconds_loses_only_what_is_named,
    ),
    Test::new(
        "a_slow_disk_loses_only_what_is_named",
        &[Need::Machine, Need::Capture],
        a_slow_disk_loses_only_what_is_named,
    ),
    Test::new(
        "a_file_that_is_deleted_is_said_and_counting_goes_on",
        NEEDS,
        a_file_that_is_deleted_is_said_and_counting_goes_on,
    ),
];

const STALL: Duration = Duration::from_secs(2);

/// Everything that was sent is matched, and the file holds what the ledger says.
fn accounted(captured: &Captured, sent: u64, file: &Path) -> Result<()> {
    ensure!(captured.status.success(), "{}", captured.stderr);
    let matched = balanced(&captured.report, true)?;
    ensure!(matched == sent, "{matched} of {sent} matched");
    let written = entry(&captured.report, "frames_written")?;
    let frames = file::frames(file)?;
    ensure!(
        frames == [(VETH.to_owned(), written)],
        "{frames:?}, and {written} written"
    );
    Ok(())
}

fn a_reader_stopped_for_seconds_loses_only_what_is_named() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("stopped.pcapng");
    let path = file.to_str().context("a path in UTF-8")?;
    let args = ["-i", VETH, "-Q", "in", "-d", "0", "-B", "1M", "-w", path];
    let capture = Capture::start(&stage.pair.right, &args)?;
    capture.signal(Signal::SIGSTOP)?;
    let begun = Instant::now();
    stage.flood()?.join()?;
    thread::sleep(STALL.saturating_sub(begun.elapsed()));
    capture.signal(Signal::SIGCONT)?;
    let before = fs::metadata(&file)?.len();
    wait_until(
        "what the ring held to be written",
        Duration::from_secs(10),
        || fs::metadata(&file).is_ok_and(|now| now.len() > before),
    )?;
    stage.numbered(1000, Duration::ZERO)?.join()?;
    let captured = capture.interrupt()?;
    accounted(&captured, 2 * DATAGRAMS + 1000, &file)?;
    ensure!(entry(&captured.report, "frames_lost/ring_full")? > 0);
    ensure!(entry(&captured.report, "summaries_lost")? > 0);
    Ok(())
}

/// The verifier gives up when a signal comes. It takes tens of milliseconds for each program: with
/// pauses as long, it is interrupted several times.
fn a_start_that_is_stopped_goes_on() -> Result<()> {
    let stage = Stage::new()?;
    for pause in [7, 20, 33, 46, 59, 72] {
        let mut capture = stage.pair.right.command(binary());
        capture.args(["capture", "-i", VETH, "-d", "1"]);
        let capture = capture
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        for _ in 0..8 {
            thread::sleep(Duration::from_millis(pause));
            // The one that loads is the first process or its child.
            let mut both = children(capture.id())?;
            both.push(capture.id());
            for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
                for id in &both {
                    // It may have ended: its status says how.
                    let _ = kill(Pid::from_raw(id.cast_signed()), signal);
                }
            }
        }
        let ended = capture.wait_with_output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "every {pause} ms: {said}");
    }
    Ok(())
}

/// The reader runs only when nobody else wants its processor (`SCHED_IDLE`), and somebody does.
fn a_reader_whose_processor_is_taken_counts_every_frame() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("starved.pcapng");
    let path = file.to_str().context("a path in UTF-8")?;
    let args = ["-i", VETH, "-Q", "in", "-d", "0", "-B", "64", "-w", path];
    let capture = Capture::start(&stage.pair.right, &args)?;
    let id = capture.id().to_string();
    run("taskset", &["-a", "-c", "-p", "1", &id])?;
    run("chrt", &["-a", "-i", "-p", "0", &id])?;
    let busy = Busy::start()?;
    let begun = Instant::now();
    stage.flood()?.join()?;
    thread::sleep(STALL.saturating_sub(begun.elapsed()));
    drop(busy);
    let captured = capture.interrupt()?;
    accounted(&captured, 2 * DATAGRAMS, &file)
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program).args(args).output()?;
    ensure!(output.status.success(), "{program}: {output:?}");
    Ok(())
}

/// A process that takes processor 1 all the time; ended on drop.
struct Busy(Child);

impl Busy {
    fn start() -> Result<Self> {
        let endless = ["-c", "1", "sh", "-c", "while :; do :; done"];
        Ok(Self(Command::new("taskset").args(endless).spawn()?))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Both fail when it has ended already, which it does not by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other end of the pipe that a capture is written to takes nothing for seconds.
fn a_sink_that_stalls_for_seconds_loses_only_what_is_named() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let (go, wait) = mpsc::channel();
    let reader = {
        let (pipe, wait) = (pipe.clone(), wait);
        thread::spawn(move || -> Result<Vec<u8>> {
            let mut pipe = File::open(pipe)?;
            // The test says when to take anything.
            wait.recv()?;
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    };
    let path = pipe.to_str().context("a path in UTF-8")?;
    let args = ["-i", VETH, "-Q", "in", "-d", "0", "-B", "64", "-w", path];
    let capture = Capture::start(&stage.pair.right, &args)?;
    stall(&stage, &go)?;
    let captured = capture.interrupt()?;
    let file = directory.path().join("read.pcapng");
    fs::write(&file, reader.join().expect("the reader does not panic")?)?;
    accounted(&captured, 2 * DATAGRAMS, &file)?;
    ensure!(entry(&captured.report, "frames_lost/ring_full")? > 0);
    Ok(())
}

/// More than pipe, buffers and ring hold, and seconds in which nobody takes any of it.
fn stall(stage: &Stage, go: &Sender<()>) -> Result<()> {
    let begun = Instant::now();
    stage.flood()?.join()?;
    thread::sleep(STALL.saturating_sub(begun.elapsed()));
    Ok(go.send(())?)
}

/// The machine's disk takes less than what comes; every write waits for it.
fn a_slow_disk_loses_only_what_is_named() -> Result<()> {
    let stage = Stage::new()?;
    let disk = tempfile::tempdir()?;
    let place = disk.path().to_str().context("a path in UTF-8")?;
    run("mke2fs", &["-F", DISK])?;
    run("mount", &["-t", "ext4", "-o", "sync", DISK, place])?;
    let file = disk.path().join("slow.pcapng");
    let outcome = onto_slow_disk(&stage, &file);
    run("umount", &[place])?;
    outcome
}

/// As `cargo xtask vm` makes it.
const DISK: &str = "/dev/vda";

fn onto_slow_disk(stage: &Stage, file: &Path) -> Result<()> {
    let path = file.to_str().context("a path in UTF-8")?;
    let args = ["-i", VETH, "-Q", "in", "-d", "0", "-B", "64", "-w", path];
    let capture = Capture::start(&stage.pair.right, &args)?;
    stage.flood()?.join()?;
    let captured = capture.interrupt()?;
    accounted(&captured, 2 * DATAGRAMS, file)?;
    let lost = entry(&captured.report, "frames_lost/ring_full")?;
    let written = entry(&captured.report, "frames_written")?;
    ensure!(lost > 0 && written > 0, "{lost} lost, {written} written");
    Ok(())
}

fn a_file_that_is_deleted_is_said_and_counting_goes_on() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("deleted.pcapng");
    let path = file.to_str().context("a path in UTF-8")?;
    let args = ["-i", VETH, "-Q", "in", "-d", "0", "-w", path];
    let mut capture = Capture::start(&stage.pair.right, &args)?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    fs::remove_file(&file)?;
    capture.wait_for_note("the file was deleted", Duration::from_secs(5))?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    let captured = capture.interrupt()?;
    ensure!(captured.status.code() == Some(1), "{}", captured.stderr);
    let said = captured.stderr.lines().last().unwrap_or_default();
    ensure!(said.contains("0 of 20 frames are written"), "{said}");
    ensure!(balanced(&captured.report, true)? == 20);
    ensure!(entry(&captured.report, "frames_lost/write_failed")? == 20);
    ensure!(!file.exists());
    Ok(())
}
