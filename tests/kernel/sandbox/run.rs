//! Real captures, looked at from outside.

use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
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
    Need, Test, bpf,
    netns::VETH,
    program::{Capture, binary, traffic},
    stage::FileStage,
    wait_until,
};
use traffic_user::capture_file;

use crate::Tests;

const NEEDS: &[Need] = &[Need::Capture];

pub(crate) const TESTS: Tests = &[
    Test::new(
        "a_capture_reads_packets_without_privileges",
        NEEDS,
        a_capture_reads_packets_without_privileges,
    ),
    Test::new(
        "files_are_read_without_privileges",
        &[Need::Program, Need::Root],
        files_are_read_without_privileges,
    ),
    Test::new(
        "the_holder_of_the_hooks_keeps_what_it_needs",
        NEEDS,
        the_holder_of_the_hooks_keeps_what_it_needs,
    ),
    Test::new(
        "each_process_ends_with_the_other",
        NEEDS,
        each_process_ends_with_the_other,
    ),
    Test::new(
        "both_processes_are_the_users",
        NEEDS,
        both_processes_are_the_users,
    ),
    Test::new(
        "files_are_their_owners_unless_asked",
        NEEDS,
        files_are_their_owners_unless_asked,
    ),
    Test::new(
        "file_capabilities_are_enough",
        &[Need::Capture, Need::Tool("setcap"), Need::Tool("setpriv")],
        file_capabilities_are_enough,
    ),
];

fn ping(stage: &FileStage) -> Result<()> {
    stage.flood(10, 56)
}

/// A line of proc(5)'s `status`.
fn status(pid: u32, name: &str) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.with_context(|| name.to_owned())?.trim().to_owned())
}

/// Nothing is left of capabilities, nothing can be gained, and system calls are filtered.
fn expect_confined(pid: u32) -> Result<()> {
    expect_kept(pid, (0, 0))
}

const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

/// What the holder keeps where interfaces may join.
const KEPT_FOR_ANY: u64 = NET_ADMIN | NET_RAW | PERFMON | BPF;

/// What the holder of a capture on [`VETH`] keeps at least, and at most: without tcx (before Linux
/// 6.6) a filter is to be removed, and before Linux 5.19 maps are not read without `CAP_BPF`.
fn kept_for_one(stage: &FileStage) -> Result<(u64, u64)> {
    let filters = format!("tc filter show dev {VETH} ingress");
    let by_filter = stage.pair.left.run(&filters)?.contains(" traffic_");
    Ok(if by_filter {
        (NET_ADMIN, NET_ADMIN | BPF)
    } else {
        (0, 0)
    })
}

/// Of capabilities all of the first are left, and none beside the second; as [`expect_confined`].
fn expect_kept(pid: u32, (least, most): (u64, u64)) -> Result<()> {
    for set in ["CapInh", "CapAmb"] {
        let mask = status(pid, set)?;
        ensure!(mask == "0000000000000000", "{set} {mask}");
    }
    for set in ["CapPrm", "CapEff"] {
        let mask = u64::from_str_radix(&status(pid, set)?, 16)?;
        let is_expected = mask & least == least && mask & !most == 0;
        ensure!(is_expected, "{set} {mask:016x}");
    }
    ensure!(status(pid, "NoNewPrivs")? == "1");
    ensure!(status(pid, "Seccomp")? == "2");
    Ok(())
}

fn a_capture_reads_packets_without_privileges() -> Result<()> {
    let stage = FileStage::new()?;
    let file = stage.path("a.pcapng");
    let args = ["-i", VETH, "-d", "0", "-v", "-w", &file];
    let capture = Capture::start(&stage.pair.left, &args)?;
    expect_confined(capture.id())?;
    ensure!(status(capture.id(), "CapBnd")? == "0000000000000000");
    ping(&stage)?;
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    let matched = captured.report["ledger"]["matched"].as_u64();
    ensure!(matched >= Some(20), "{matched:?} packets");
    let said = "sandbox: no capabilities, no new privileges";
    ensure!(captured.stderr.contains(said), "{}", captured.stderr);
    let left = captured.report["sandbox"]["system_calls"].as_u64();
    ensure!(left.is_some_and(|calls| calls < 150), "{left:?}");

    let args = ["-i", VETH, "-d", "0", "--no-sandbox"];
    let capture = Capture::start(&stage.pair.left, &args)?;
    ensure!(status(capture.id(), "CapEff")? != "0000000000000000");
    let captured = capture.interrupt()?;
    ensure!(
        captured.stderr.contains("warn: --no-sandbox"),
        "{}",
        captured.stderr
    );
    ensure!(captured.report["sandbox"].is_null());
    Ok(())
}

/// What reads a file whose writer has not begun yet has given everything up.
fn files_are_read_without_privileges() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR)?;
    for command in ["read", "print"] {
        let mut child = Command::new(binary())
            .arg(command)
            .arg(&pipe)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let writer = fs::OpenOptions::new().write(true).open(&pipe)?;
        let confined = wait_until("a confined reader", Duration::from_secs(20), || {
            expect_confined(child.id()).is_ok()
        });
        drop(writer);
        if confined.is_err() {
            child.kill()?;
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        confined.with_context(|| format!("{command}: {said}"))?;
        // It ends by itself: there was nothing to read.
        ensure!(output.status.code() == Some(1), "{command}: {said}");
    }
    Ok(())
}

/// The process that holds the hooks of a capture.
fn holder(capture: &Capture) -> Result<u32> {
    let children = bpf::children(capture.id())?;
    ensure!(children.len() == 1, "{children:?}");
    Ok(children[0])
}

fn the_holder_of_the_hooks_keeps_what_it_needs() -> Result<()> {
    let stage = FileStage::new()?;
    let capture = Capture::start(&stage.pair.left, &["-i", VETH, "-d", "0"])?;
    expect_kept(holder(&capture)?, kept_for_one(&stage)?)?;
    // Of what the capture loaded, the process that reads packets has the ring alone.
    let ring = bpf::held_by(capture.id())?;
    ensure!(
        ring.len() == 1 && ring.iter().all(|(kind, _)| *kind == "map"),
        "{ring:?}"
    );
    capture.interrupt()?;

    let capture = Capture::start(&stage.pair.left, &["-i", "any", "-d", "0"])?;
    expect_confined(capture.id())?;
    let holder = holder(&capture)?;
    expect_kept(holder, (KEPT_FOR_ANY, KEPT_FOR_ANY))?;
    capture.interrupt()?;
    Ok(())
}

fn each_process_ends_with_the_other() -> Result<()> {
    let deadline = Duration::from_secs(5);
    let is_there = |process: u32| Path::new(&format!("/proc/{process}")).exists();
    let stage = FileStage::new()?;
    let file = stage.path("a.pcapng");
    let args = ["-i", VETH, "-d", "0", "-U", "-w", &file];
    let capture = Capture::start(&stage.pair.left, &args)?;
    let first = holder(&capture)?;
    ping(&stage)?;
    let packets = || {
        let read = capture_file::read(Path::new(&file), |_, _| ControlFlow::Continue(()));
        read.map_or(0, |summary| summary.packets)
    };
    wait_until("frames in the file", deadline, || packets() >= 20)?;
    kill(Pid::from_raw(first.try_into()?), Signal::SIGKILL)?;
    let captured = capture.finish()?;
    ensure!(captured.status.code() == Some(1), "{}", captured.stderr);
    let said = "error: the process that holds the hooks ended";
    ensure!(captured.stderr.contains(said), "{}", captured.stderr);
    let read = capture_file::read(Path::new(&file), |_, _| ControlFlow::Continue(()))?;
    ensure!(
        read.fault.is_none() && read.packets >= 20,
        "{} packets",
        read.packets
    );

    let capture = Capture::start(&stage.pair.left, &args)?;
    let second = holder(&capture)?;
    let objects = bpf::held(capture.id())?;
    capture.signal(Signal::SIGKILL)?;
    capture.finish()?;
    wait_until("the end of the holder", deadline, || !is_there(second))?;
    ensure!(objects.len() > 10, "{objects:?}");
    Ok(())
}

fn both_processes_are_the_users() -> Result<()> {
    let stage = FileStage::new()?;
    let own = tempfile::tempdir()?;
    chown(own.path(), Some(NOBODY), Some(NOBODY))?;
    // With `any` the holder keeps capabilities for interfaces that may join.
    for interface in [VETH, "any"] {
        let file = own.path().join(interface).with_extension("pcapng");
        let mut child = stage
            .pair
            .left
            .command(binary())
            .args(["capture", "-i", interface, "-d", "20", "-c", "10"])
            .args(["-Z", "nobody", "-w"])
            .arg(&file)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        wait_until("a confined process", Duration::from_secs(20), || {
            expect_confined(child.id()).is_ok()
        })?;
        let holder = bpf::children(child.id())?;
        ensure!(holder.len() == 1, "{holder:?}");
        for process in [child.id(), holder[0]] {
            for ids in [status(process, "Uid")?, status(process, "Gid")?] {
                ensure!(ids.split_whitespace().all(|id| id == "65534"), "{ids}");
            }
        }
        let kept = if interface == "any" {
            (KEPT_FOR_ANY, KEPT_FOR_ANY)
        } else {
            kept_for_one(&stage)?
        };
        expect_kept(holder[0], kept)?;
        ping(&stage)?;
        ensure!(child.wait()?.success());
        ensure!(fs::metadata(&file)?.uid() == NOBODY);
    }
    Ok(())
}

fn mode(path: &str) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

fn files_are_their_owners_unless_asked() -> Result<()> {
    let stage = FileStage::new()?;
    let [file, page, csv] = ["a.pcapng", "a.html", "csv"].map(|name| stage.path(name));
    let args = [
        "-i", VETH, "-c", "10", "-w", &file, "--html", &page, "--csv", &csv,
    ];
    let capture = Capture::start(&stage.pair.left, &args)?;
    ping(&stage)?;
    ensure!(capture.finish()?.status.success());
    ensure!(mode(&file)? == 0o600 && mode(&page)? == 0o600 && mode(&csv)? == 0o700);
    let [copy, json, csv] = ["b.pcap", "b.json", "csv2"].map(|name| stage.path(name));
    let args = ["read", &file, "-w", &copy, "--json", &json, "--csv", &csv];
    let output = traffic(&[&args[..], &["--file-mode", "640"]].concat())?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(mode(&copy)? == 0o640 && mode(&json)? == 0o640 && mode(&csv)? == 0o750);
    Ok(())
}

/// `nobody` of every Linux system.
const NOBODY: u32 = 65534;

/// A copy of the program with file capabilities, where everybody may run it.
fn capable_copy(directory: &Path) -> Result<PathBuf> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    let program = directory.join("traffic");
    fs::copy(binary(), &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let given = Command::new("setcap")
        .arg("cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep")
        .arg(&program)
        .status()?;
    ensure!(given.success(), "setcap: {given}");
    Ok(program)
}

fn file_capabilities_are_enough() -> Result<()> {
    let stage = FileStage::new()?;
    let program = capable_copy(stage.directory.path())?;
    let own = tempfile::tempdir()?;
    chown(own.path(), Some(NOBODY), Some(NOBODY))?;
    let xdp = Need::XdpFrames.is_there().then_some("xdp");
    for hook in ["tc"].into_iter().chain(xdp) {
        let file = own.path().join(hook).with_extension("pcapng");
        let child = stage
            .pair
            .left
            .command("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&program)
            .args([
                "capture", "-i", VETH, "--hook", hook, "-c", "10", "-d", "20", "-w",
            ])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        wait_until(
            "an unprivileged process that listens",
            Duration::from_secs(20),
            || expect_confined(child.id()).is_ok(),
        )?;
        ping(&stage)?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        ensure!(!said.contains("promiscuous"), "{said}");
        ensure!(fs::metadata(&file)?.uid() == NOBODY);
    }
    Ok(())
}
