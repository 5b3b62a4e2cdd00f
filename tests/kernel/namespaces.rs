//! The stage that the kernel tests stand on: what other tests take for granted about it.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use traffic_tests::{
    Need, Test,
    netns::{VETH, VethOptions, VethPair},
};

const NEEDS: &[Need] = &[Need::VethPair];

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "both_ends_answer_over_ipv4_and_ipv6",
            NEEDS,
            both_ends_answer_over_ipv4_and_ipv6,
        ),
        Test::new(
            "a_link_without_ipv6_is_silent",
            NEEDS,
            a_link_without_ipv6_is_silent,
        ),
        Test::new(
            "namespaces_are_gone_when_dropped",
            NEEDS,
            namespaces_are_gone_when_dropped,
        ),
    ])
}

fn both_ends_answer_over_ipv4_and_ipv6() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    for (from, to) in [(&pair.left, 2), (&pair.right, 1)] {
        from.run(&format!("ping -c 1 -W 5 10.77.0.{to}"))?;
        from.run(&format!("ping -c 1 -W 5 fd77::{to}"))?;
    }
    Ok(())
}

fn a_link_without_ipv6_is_silent() -> Result<()> {
    let pair = VethPair::new(&VethOptions {
        ipv6: false,
        mtu: 9000,
        ..VethOptions::default()
    })?;
    // Traffic of a known size first: the counter works, and time passes.
    pair.left.run("ping -c 2 -i 0.5 -W 5 10.77.0.2")?;
    let sent = pair
        .left
        .run(&format!("cat /sys/class/net/{VETH}/statistics/tx_packets"))?;
    ensure!(
        sent.trim() == "3",
        "2 echo requests and 1 ARP request, not {sent}"
    );
    Ok(())
}

fn namespaces_are_gone_when_dropped() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let name = pair.left.name().to_owned();
    ensure!(namespaces()?.contains(&name));
    drop(pair);
    ensure!(!namespaces()?.contains(&name));
    Ok(())
}

fn namespaces() -> Result<String> {
    let output = Command::new("ip").args(["netns", "list"]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}
