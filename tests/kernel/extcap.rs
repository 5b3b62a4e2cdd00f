//! Wireshark's interface list: tshark finds and starts the program.

use std::{
    os::unix::fs::symlink,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use traffic_tests::{
    Need, Test,
    netns::{VETH, VethOptions, VethPair},
    program::{binary, traffic},
};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::Program,
    Need::Object,
    Need::Tool("ip"),
    Need::Tool("ethtool"),
    Need::Tool("ping"),
    Need::Tool("tshark"),
];

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "tshark_lists_and_captures",
            NEEDS,
            tshark_lists_and_captures,
        ),
        Test::new(
            "install_links_the_program",
            &[Need::Program],
            install_links_the_program,
        ),
    ])
}

fn tshark_lists_and_captures() -> Result<()> {
    let pair = VethPair::new(&VethOptions {
        ipv6: false,
        ..VethOptions::default()
    })?;
    let folder = tempfile::tempdir()?;
    symlink(binary(), folder.path().join("traffic"))?;
    let tshark = |args: &[&str]| -> Command {
        let mut command = pair.left.command("tshark");
        // A preferences file of the user is not to matter.
        command
            .env("WIRESHARK_EXTCAP_DIR", folder.path())
            .env("WIRESHARK_CONFIG_DIR", folder.path().join("config"))
            .args(args)
            .stderr(Stdio::piped());
        command
    };
    let interface = format!("traffic-{VETH}");
    let listed = tshark(&["-D"]).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    ensure!(listed.contains(&interface), "no {interface} in:\n{listed}");
    let types = tshark(&["-i", &interface, "-L"]).output()?;
    let types = String::from_utf8_lossy(&types.stdout).into_owned()
        + &String::from_utf8_lossy(&types.stderr);
    ensure!(types.contains("EN10MB"), "{types}");
    let mut ping = pair
        .left
        .command("ping")
        .args(["-q", "-i", "0.1", "10.77.0.2"])
        .stdout(Stdio::null())
        .spawn()?;
    let captured = tshark(&["-i", &interface, "-c", "6", "-a", "duration:20"])
        .args(["-T", "fields", "-e", "ip.src", "-e", "frame.interface_name"])
        .output();
    ping.kill()?;
    ping.wait()?;
    let captured = captured?;
    let text = String::from_utf8(captured.stdout)?;
    let complaint = String::from_utf8_lossy(&captured.stderr);
    ensure!(
        text.lines()
            .filter(|line| line.starts_with("10.77.0."))
            .count()
            >= 4,
        "{text}{complaint}"
    );
    Ok(())
}

fn install_links_the_program() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let deep = folder.path().join("lib/extcap");
    let path = deep.to_str().context("a path of a temporary directory")?;
    for _ in 0..2 {
        let output = traffic(&["extcap", "--install", "--folder", path])?;
        ensure!(output.status.success(), "{output:?}");
    }
    let output = Command::new(deep.join("traffic"))
        .arg("--extcap-interfaces")
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.starts_with("extcap {version="), "{text}");
    ensure!(text.contains("interface {value=traffic-lo}"), "{text}");
    Ok(())
}
