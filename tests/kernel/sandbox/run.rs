//! Real captures, looked at from outside.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use traffic_tests::{
    Need, Test,
    netns::{VETH, VethOptions, VethPair},
    program::{Capture, binary, traffic},
};

use crate::Tests;

const NEEDS: &[Need] = &[Need::Capture];

pub(crate) const TESTS: Tests = &[
    Test::new(
        "a_capture_reads_packets_without_privileges",
        NEEDS,
        a_capture_reads_packets_without_privileges,
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

    fn ping(&self) -> Result<()> {
        let line = "ping -q -f -c 10 10.77.0.2";
        self.pair.left.run(line).map(drop)
    }
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
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let mask = status(pid, set)?;
        ensure!(mask == "0000000000000000", "{set} {mask}");
    }
    ensure!(status(pid, "NoNewPrivs")? == "1");
    ensure!(status(pid, "Seccomp")? == "2");
    Ok(())
}

fn a_capture_reads_packets_without_privileges() -> Result<()> {
    let stage = Stage::new()?;
    let file = stage.path("a.pcapng");
    let args = ["-i", VETH, "-d", "0", "-v", "-w", &file];
    let capture = Capture::start(&stage.pair.left, &args)?;
    expect_confined(capture.id())?;
    ensure!(status(capture.id(), "CapBnd")? == "0000000000000000");
    stage.ping()?;
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    let matched = captured.report["ledger"]["matched"].as_u64();
    ensure!(matched >= Some(20), "{matched:?} packets");
    let said = "sandbox: no capabilities, no new privileges";
    ensure!(captured.stderr.contains(said), "{}", captured.stderr);

    let args = ["-i", VETH, "-d", "0", "--no-sandbox"];
    let capture = Capture::start(&stage.pair.left, &args)?;
    ensure!(status(capture.id(), "CapEff")? != "0000000000000000");
    let captured = capture.interrupt()?;
    ensure!(
        captured.stderr.contains("warn: --no-sandbox"),
        "{}",
        captured.stderr
    );
    Ok(())
}

fn mode(path: &str) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

fn files_are_their_owners_unless_asked() -> Result<()> {
    let stage = Stage::new()?;
    let [file, page, csv] = ["a.pcapng", "a.html", "csv"].map(|name| stage.path(name));
    let args = [
        "-i", VETH, "-c", "10", "-w", &file, "--html", &page, "--csv", &csv,
    ];
    let capture = Capture::start(&stage.pair.left, &args)?;
    stage.ping()?;
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
    let stage = Stage::new()?;
    let program = capable_copy(stage.directory.path())?;
    let own = tempfile::tempdir()?;
    chown(own.path(), Some(NOBODY), Some(NOBODY))?;
    for hook in ["tc", "xdp"] {
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
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        traffic_tests::wait_until(
            "an unprivileged process that listens",
            std::time::Duration::from_secs(20),
            || expect_confined(child.id()).is_ok(),
        )?;
        stage.ping()?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        ensure!(!said.contains("promiscuous"), "{said}");
        ensure!(fs::metadata(&file)?.uid() == NOBODY);
    }
    Ok(())
}
