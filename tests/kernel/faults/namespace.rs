//! Captures inside another network namespace than the one that the program was started in.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use traffic_tests::{
    Need, Test,
    ledger::balanced,
    netns::{Namespace, VETH},
    program::{Capture, binary, traffic},
    stage::Stage,
    wait_until,
};

use crate::{NEEDS, Tests, file};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "a_capture_inside_a_namespace_leaves_files_and_listeners_outside",
        NEEDS,
        a_capture_inside_a_namespace_leaves_files_and_listeners_outside,
    ),
    Test::new(
        "a_namespace_is_named_by_a_process_inside",
        NEEDS,
        a_namespace_is_named_by_a_process_inside,
    ),
    Test::new(
        "a_namespace_that_is_deleted_ends_the_capture_with_its_file",
        NEEDS,
        a_namespace_that_is_deleted_ends_the_capture_with_its_file,
    ),
    Test::new(
        "interfaces_of_a_namespace_are_listed",
        NEEDS,
        interfaces_of_a_namespace_are_listed,
    ),
    Test::new(
        "a_namespace_that_is_not_there_or_not_allowed_is_one_line",
        &[Need::Capture, Need::Tool("setpriv")],
        a_namespace_that_is_not_there_or_not_allowed_is_one_line,
    ),
];

const SOON: Duration = Duration::from_secs(10);

/// Started in an empty namespace: whatever is captured is captured elsewhere.
fn a_capture_inside_a_namespace_leaves_files_and_listeners_outside() -> Result<()> {
    for hook in ["tc", "xdp"] {
        let (stage, outside) = (Stage::new()?, Namespace::new()?);
        let directory = tempfile::tempdir()?;
        let name = directory.path().join("inside.pcapng");
        let path = name.to_str().context("a path in UTF-8")?;
        let inside = stage.pair.right.name();
        let args = [
            "-i", VETH, "--netns", inside, "--hook", hook, "-d", "0", "-Q", "in",
        ];
        let args = [&args[..], &["-w", path, "--listen", "127.0.0.1:8089"]].concat();
        let capture = Capture::start(&outside, &args)?;
        let state = stage.pair.right.run(&format!("ip -d link show {VETH}"))?;
        ensure!(state.contains("promiscuity 1"), "{state}");
        stage.numbered(10, Duration::ZERO)?.join()?;
        let page = outside.within(|| {
            let mut stream = TcpStream::connect("127.0.0.1:8089")?;
            stream.write_all(b"GET /report.json HTTP/1.0\r\nHost: 127.0.0.1:8089\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })?;
        ensure!(
            page.starts_with("HTTP/1.") && page.contains(" 200 OK"),
            "{page}"
        );
        let captured = capture.interrupt()?;
        ensure!(captured.status.success(), "{}", captured.stderr);
        ensure!(balanced(&captured.report, true)? == 10);
        ensure!(file::frames(&name)? == [(VETH.to_owned(), 10)]);
    }
    Ok(())
}

fn a_namespace_is_named_by_a_process_inside() -> Result<()> {
    let (stage, outside) = (Stage::new()?, Namespace::new()?);
    let mut process = sleep_inside(&stage.pair.right)?;
    let id = process.id().to_string();
    let captured = capture_until_ended(&stage, &outside, &id, || {
        process.kill()?;
        process.wait()?;
        Ok(())
    })?;
    ensure!(
        captured.contains(&format!("the process {id} ended during the capture")),
        "{captured}"
    );
    Ok(())
}

/// A process inside a namespace.
fn sleep_inside(namespace: &Namespace) -> Result<Child> {
    let process = namespace.command("sleep").arg("60").spawn()?;
    let name = format!("/proc/{}/comm", process.id());
    // `ip` has entered the namespace when it has become `sleep`.
    wait_until("sleep", SOON, || {
        fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep")
    })?;
    Ok(process)
}

/// The last line of a capture of 10 datagrams in namespace `asked`, which `end` ends.
fn capture_until_ended(
    stage: &Stage,
    outside: &Namespace,
    asked: &str,
    end: impl FnOnce() -> Result<()>,
) -> Result<String> {
    let directory = tempfile::tempdir()?;
    let name = directory.path().join("inside.pcapng");
    let path = name.to_str().context("a path in UTF-8")?;
    let args = [
        "-i", VETH, "--netns", asked, "-d", "0", "-Q", "in", "-w", path,
    ];
    let capture = Capture::start(outside, &args)?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    end()?;
    let captured = capture.finish()?;
    ensure!(captured.status.code() == Some(1), "{}", captured.stderr);
    ensure!(balanced(&captured.report, true)? == 10);
    ensure!(file::frames(&name)? == [(VETH.to_owned(), 10)]);
    Ok(captured
        .stderr
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned())
}

fn a_namespace_that_is_deleted_ends_the_capture_with_its_file() -> Result<()> {
    let (stage, outside) = (Stage::new()?, Namespace::new()?);
    let inside = stage.pair.right.name().to_owned();
    let alias = format!("{inside}-alias");
    // Another name for it, so that the first is there for the clean-up.
    let mut process = sleep_inside(&stage.pair.right)?;
    run(&["netns", "attach", &alias, &process.id().to_string()])?;
    process.kill()?;
    process.wait()?;
    let said = capture_until_ended(&stage, &outside, &alias, || {
        run(&["netns", "delete", &alias])
    })?;
    ensure!(
        said == format!("error: the network namespace {alias} was deleted during the capture"),
        "{said}"
    );
    // With the capture went the last that held a hook or a socket there.
    let state = stage.pair.right.run(&format!("ip -d link show {VETH}"))?;
    ensure!(state.contains("promiscuity 0"), "{state}");
    Ok(())
}

fn run(args: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(args).status()?;
    ensure!(status.success(), "ip {}: {status}", args.join(" "));
    Ok(())
}

fn interfaces_of_a_namespace_are_listed() -> Result<()> {
    let stage = Stage::new()?;
    for listing in [&["interfaces"][..], &["capture", "-D"]] {
        let output = traffic(&[listing, &["--netns", stage.pair.right.name()]].concat())?;
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success() && listed.contains(VETH),
            "{output:?}"
        );
    }
    Ok(())
}

fn a_namespace_that_is_not_there_or_not_allowed_is_one_line() -> Result<()> {
    let namespace = Namespace::new()?;
    let said = |output: std::process::Output| -> Result<String> {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(1) && said.lines().count() == 1,
            "{said}"
        );
        Ok(said)
    };
    let unknown = said(traffic(&["capture", "--netns", "no-such-namespace"])?)?;
    let expected = "error: unknown network namespace no-such-namespace (there are: ";
    ensure!(unknown.starts_with(expected), "{unknown}");
    ensure!(unknown.contains(namespace.name()), "{unknown}");
    let ended = said(traffic(&["interfaces", "--netns", "4194999"])?)?;
    ensure!(ended.contains("no process has the id 4194999"), "{ended}");

    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let program = directory.path().join("traffic");
    fs::copy(binary(), &program)?;
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["--inh-caps", "-all", "--bounding-set", "-all"])
        .arg(&program)
        .args(["capture", "--netns", namespace.name()])
        .current_dir(directory.path())
        .output()?;
    let refused = said(output)?;
    ensure!(refused.contains("needs CAP_SYS_ADMIN"), "{refused}");
    Ok(())
}
