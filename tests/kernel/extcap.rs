//! Wireshark's interface list: tshark finds and starts the program.

use std::{
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use traffic_tests::{
    Need, Test,
    netns::{VETH, VethOptions, VethPair},
    program::{binary, traffic},
};

const NEEDS: &[Need] = &[Need::Capture, Need::Tool("tshark"), Need::Tool("unshare")];

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
    let theirs = folder_of_tshark()?;
    let tshark = |args: &[&str]| -> Command {
        // For root tshark reads no WIRESHARK_EXTCAP_DIR; its folder is covered instead, in a mount
        // namespace of its own.
        let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec tshark \"$@\"";
        let mut command = pair.left.command("unshare");
        command
            .args(["--mount", "sh", "-c", script, "sh"])
            .args([folder.path(), &theirs])
            .args(args)
            // A preferences file of the user is not to matter.
            .env("WIRESHARK_CONFIG_DIR", folder.path().join("config"));
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
    let replies = ["-f", "icmp[icmptype] == icmp-echoreply"];
    let filtered = tshark(&["-i", &interface, "-c", "4", "-a", "duration:20"])
        .args(replies)
        .args(["-T", "fields", "-e", "icmp.type"])
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
    let filtered = filtered?;
    let types = String::from_utf8(filtered.stdout)?;
    ensure!(
        types.lines().eq(["0"; 4]),
        "{types}{}",
        String::from_utf8_lossy(&filtered.stderr)
    );
    Ok(())
}

fn folder_of_tshark() -> Result<PathBuf> {
    let output = Command::new("tshark").args(["-G", "folders"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let path = text.lines().find_map(|line| {
        line.strip_prefix("Extcap path:")
            .or_else(|| line.strip_prefix("Global Extcap path:"))
    });
    Ok(path.context("the folder that tshark names")?.trim().into())
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
