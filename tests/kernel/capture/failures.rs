//! What goes wrong: one clear line, the right exit code, and nothing captured is lost.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use traffic_tests::{
    Need, Test,
    ledger::{balanced, entry},
    netns::{Namespace, VETH},
    program::{Capture, binary},
    stage::{DATAGRAMS, Stage},
};

use crate::{Tests, frame};

const NEEDS: &[Need] = &[Need::Capture];

pub(crate) const TESTS: Tests = &[
    Test::new(
        "an_unknown_interface_is_one_line",
        NEEDS,
        an_unknown_interface_is_one_line,
    ),
    Test::new(
        "outputs_that_cannot_be_written_are_known_at_once",
        NEEDS,
        outputs_that_cannot_be_written_are_known_at_once,
    ),
    Test::new(
        "a_missing_privilege_is_named",
        &[Need::Capture, Need::Tool("setpriv")],
        a_missing_privilege_is_named,
    ),
    Test::new(
        "an_interface_that_disappears_ends_the_capture_with_its_report",
        NEEDS,
        an_interface_that_disappears_ends_the_capture_with_its_report,
    ),
    Test::new(
        "one_of_several_interfaces_may_disappear",
        NEEDS,
        one_of_several_interfaces_may_disappear,
    ),
    Test::new(
        "an_interface_that_goes_down_is_waited_for",
        NEEDS,
        an_interface_that_goes_down_is_waited_for,
    ),
    Test::new(
        "a_full_disk_keeps_what_was_written",
        &[Need::Capture, Need::Tool("capinfos")],
        a_full_disk_keeps_what_was_written,
    ),
    Test::new(
        "sigterm_writes_every_output",
        NEEDS,
        sigterm_writes_every_output,
    ),
];

fn capture(namespace: &Namespace, args: &[&str]) -> Result<Output> {
    let mut command = namespace.command(binary());
    Ok(command.arg("capture").args(args).output()?)
}

/// The one line on stderr of a run that ended with `code`.
fn line(output: &Output, code: i32) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(code),
        "{}: {said}",
        output.status
    );
    ensure!(
        said.lines().count() == 1 && said.starts_with("error: "),
        "{said}"
    );
    ensure!(output.stdout.is_empty());
    Ok(said)
}

fn an_unknown_interface_is_one_line() -> Result<()> {
    let namespace = Namespace::new()?;
    let said = line(&capture(&namespace, &["-i", "eth99"])?, 1)?;
    ensure!(
        said.contains("unknown network interface eth99") && said.contains("lo"),
        "{said}"
    );
    let said = line(&capture(&namespace, &["-i", "lo", "-i", "../../lo"])?, 1)?;
    ensure!(said.contains("../../lo"), "{said}");
    Ok(())
}

fn outputs_that_cannot_be_written_are_known_at_once() -> Result<()> {
    let namespace = Namespace::new()?;
    for option in ["-w", "--json", "--html"] {
        let args = ["-i", "lo", option, "/no/such/directory/file"];
        let said = line(&capture(&namespace, &args)?, 1)?;
        ensure!(said.contains("/no/such/directory/file"), "{said}");
    }
    Ok(())
}

fn a_missing_privilege_is_named() -> Result<()> {
    let namespace = Namespace::new()?;
    // Where everybody may run it.
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let program = directory.path().join("traffic");
    fs::copy(binary(), &program)?;
    let output = namespace
        .command("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["--inh-caps", "-all", "--bounding-set", "-all"])
        .arg(&program)
        .args(["capture", "-i", "lo", "-d", "1"])
        .current_dir(directory.path())
        .output()?;
    let said = line(&output, 1)?;
    for part in ["CAP_BPF", "CAP_NET_ADMIN", "sudo setcap cap_bpf"] {
        ensure!(said.contains(part), "no {part}: {said}");
    }
    ensure!(said.contains(&program.display().to_string()), "{said}");
    Ok(())
}

fn an_interface_that_disappears_ends_the_capture_with_its_report() -> Result<()> {
    let xdp = Need::XdpFrames.is_there().then_some("xdp");
    for hook in ["tc"].into_iter().chain(xdp) {
        let stage = Stage::new()?;
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("gone.pcapng");
        let path = file.to_str().context("a path in UTF-8")?;
        let args = [
            "-i", VETH, "-Q", "in", "--hook", hook, "-d", "0", "-w", path,
        ];
        let capture = Capture::start(&stage.pair.right, &args)?;
        stage.numbered(10, Duration::ZERO)?.join()?;
        stage.pair.right.run(&format!("ip link delete {VETH}"))?;
        let captured = capture.finish()?;
        ensure!(captured.status.code() == Some(1), "{}", captured.stderr);
        let said = captured.stderr.lines().last().unwrap_or_default();
        ensure!(
            said.starts_with("error: ") && said.contains("veth0 disappeared"),
            "{said}"
        );
        ensure!(
            balanced(&captured.report, true)? == 10,
            "{}",
            captured.report["ledger"]
        );
        ensure!(frame::read(&file)?.len() == 10);
    }
    Ok(())
}

fn one_of_several_interfaces_may_disappear() -> Result<()> {
    let stage = Stage::new()?;
    let right = &stage.pair.right;
    let mut capture = Capture::start(right, &["-i", VETH, "-i", "lo", "-d", "0"])?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    right.run(&format!("ip link delete {VETH}"))?;
    capture.wait_for_note("veth0 disappeared", Duration::from_secs(5))?;
    right.run("ping -q -c 1 127.0.0.1")?;
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    ensure!(balanced(&captured.report, false)? == 12);
    let notes = captured.report["notes"].to_string();
    ensure!(
        notes.contains("veth0 disappeared during the capture"),
        "{notes}"
    );
    Ok(())
}

fn an_interface_that_goes_down_is_waited_for() -> Result<()> {
    let stage = Stage::new()?;
    let right = &stage.pair.right;
    let args = ["-i", VETH, "-Q", "in", "--protocol", "udp"];
    let mut capture = Capture::start(right, &args)?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    right.run(&format!("ip link set {VETH} down"))?;
    capture.wait_for_note("went down", Duration::from_secs(5))?;
    right.run(&format!("ip link set {VETH} up"))?;
    capture.wait_for_note("is up", Duration::from_secs(5))?;
    // An answer: the link is usable again.
    stage.pair.left.run("ping -q -c 1 -W 5 10.77.0.2")?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    ensure!(
        balanced(&captured.report, false)? == 20,
        "{}",
        captured.report["ledger"]
    );
    Ok(())
}

/// A file system in memory; unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self> {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(at)
            .status()?;
        ensure!(status.success(), "mount a tmpfs");
        Ok(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if !Command::new("umount")
            .arg(&self.0)
            .status()
            .is_ok_and(|status| status.success())
        {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}

fn a_full_disk_keeps_what_was_written() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let disk = SmallDisk::mount(directory.path())?;
    for name in ["full.pcapng", "full.pcap"] {
        let file = disk.0.join(name);
        let path = file.to_str().context("a path in UTF-8")?;
        let capture = Capture::start(&stage.pair.right, &["-i", VETH, "-w", path])?;
        stage.flood()?.join()?;
        let captured = capture.interrupt()?;
        ensure!(captured.status.code() == Some(1), "{}", captured.stderr);
        ensure!(
            captured.stderr.contains("No space left on device"),
            "{}",
            captured.stderr
        );
        ensure!(balanced(&captured.report, true)? == 2 * DATAGRAMS);
        ensure!(entry(&captured.report, "frames_lost/write_failed")? > 0);
        let written = entry(&captured.report, "frames_written")?;
        ensure!(written > 1000 && frame::read(&file)?.len() as u64 == written);
        let output = Command::new("capinfos")
            .args(["-M", "-c"])
            .arg(&file)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        ensure!(said.contains(&written.to_string()), "{written}: {said}");
        fs::remove_file(&file)?;
    }
    Ok(())
}

fn sigterm_writes_every_output() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let names = ["a.pcapng", "a.png", "a.svg", "a.html"].map(|name| directory.path().join(name));
    let paths = names
        .each_ref()
        .map(|path| path.to_str().unwrap_or_default());
    let [file, png, svg, page] = paths;
    let args = [
        "-i", VETH, "-d", "0", "-w", file, "--plot", png, "--plot", svg, "--html", page,
    ];
    let capture = Capture::start(&stage.pair.right, &args)?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    capture.signal(Signal::SIGTERM)?;
    let captured = capture.finish()?;
    ensure!(captured.status.code() == Some(0), "{}", captured.stderr);
    ensure!(balanced(&captured.report, true)? == 10);
    ensure!(frame::read(&names[0])?.len() == 10);
    for path in &names {
        ensure!(fs::metadata(path)?.len() > 100, "{}", path.display());
    }
    Ok(())
}
