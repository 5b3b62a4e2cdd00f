//! What `traffic doctor` says of real hosts.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use traffic_tests::{
    Need, Test,
    netns::{Namespace, VETH, VethOptions, VethPair},
    program::{Capture, binary, traffic},
};

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "the_diagnosis_follows_the_host",
            &[Need::Capture],
            the_diagnosis_follows_the_host,
        ),
        Test::new(
            "an_unknown_interface_is_an_error",
            &[Need::Program],
            an_unknown_interface_is_an_error,
        ),
        Test::new(
            "a_missing_privilege_is_a_problem_with_its_remedy",
            &[Need::Root, Need::Program, Need::Tool("setpriv")],
            a_missing_privilege_is_a_problem_with_its_remedy,
        ),
    ])
}

fn diagnose(namespace: &Namespace) -> Result<Value> {
    let mut command = namespace.command(binary());
    let output = command.args(["doctor", "-i", VETH, "--json"]).output()?;
    let diagnosis: Value = serde_json::from_slice(&output.stdout)?;
    let is_problem = diagnosis["state"] == "problem";
    ensure!(output.status.code() == Some(i32::from(is_problem)));
    Ok(diagnosis)
}

fn check<'a>(diagnosis: &'a Value, name: &str) -> Result<&'a Value> {
    let checks = diagnosis["checks"].as_array().context("checks")?;
    let check = checks.iter().rev().find(|check| check["name"] == name);
    check.with_context(|| format!("{name} in {diagnosis}"))
}

fn the_diagnosis_follows_the_host() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let right = &pair.right;
    let before = diagnose(right)?;
    ensure!(check(&before, "capabilities")?["state"] == "ok", "{before}");
    ensure!(check(&before, "link")?["finding"] == "up, veth", "{before}");
    ensure!(check(&before, "xdp")?["state"] == "ok", "{before}");
    ensure!(check(&before, "vlan")?["state"] == "ok", "{before}");
    right.run(&format!("ethtool -K {VETH} rxvlan on"))?;
    let capture = Capture::start(right, &["-i", VETH, "--hook", "xdp"])?;
    let during = diagnose(right)?;
    let vlan = check(&during, "vlan")?;
    ensure!(vlan["state"] == "warning", "{during}");
    ensure!(vlan["remedy"] == format!("ethtool -K {VETH} rxvlan off"));
    let xdp = check(&during, "xdp")?;
    ensure!(xdp["state"] == "warning", "{during}");
    let finding = xdp["finding"].as_str().context("a finding")?;
    ensure!(finding.contains("traffic_xdp"), "{finding}");
    let promiscuity = check(&during, "promiscuity")?["finding"].as_str();
    ensure!(promiscuity == Some("on, asked for by 1"), "{during}");
    capture.interrupt()?;
    right.run(&format!("ip link set {VETH} down"))?;
    let down = diagnose(right)?;
    ensure!(check(&down, "link")?["state"] == "warning", "{down}");
    Ok(())
}

fn an_unknown_interface_is_an_error() -> Result<()> {
    let output = traffic(&["doctor", "-i", "no-such-one"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{said}");
    ensure!(
        said.contains("unknown network interface no-such-one"),
        "{said}"
    );
    Ok(())
}

fn a_missing_privilege_is_a_problem_with_its_remedy() -> Result<()> {
    let output = std::process::Command::new("setpriv")
        .args(["--bounding-set", "-all", "--inh-caps", "-all", "--"])
        .arg(binary())
        .args(["doctor", "-i", "lo"])
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1), "{said}");
    ensure!(
        said.contains("problem  capabilities   missing: CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN")
            && said.contains("→ sudo setcap cap_bpf,cap_perfmon,cap_net_admin,cap_net_raw+ep"),
        "{said}"
    );
    Ok(())
}
