//! Interfaces that appear, go, move, and are renamed while a capture runs.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use traffic_tests::{
    Test,
    ledger::balanced,
    netns::{Namespace, VETH},
    program::{Capture, Captured, binary},
    stage::Stage,
};

use crate::{NEEDS, Tests, file};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "an_interface_that_appears_joins_a_capture_on_any",
        NEEDS,
        an_interface_that_appears_joins_a_capture_on_any,
    ),
    Test::new(
        "many_interfaces_come_and_go_and_none_is_forgotten",
        NEEDS,
        many_interfaces_come_and_go_and_none_is_forgotten,
    ),
    Test::new(
        "an_interface_that_moves_away_is_let_go_and_taken_back",
        NEEDS,
        an_interface_that_moves_away_is_let_go_and_taken_back,
    ),
    Test::new(
        "an_interface_that_is_renamed_or_leaves_a_bridge_is_captured_on",
        NEEDS,
        an_interface_that_is_renamed_or_leaves_a_bridge_is_captured_on,
    ),
    Test::new(
        "interfaces_whose_events_were_lost_are_found",
        NEEDS,
        interfaces_whose_events_were_lost_are_found,
    ),
    Test::new(
        "an_interface_that_cannot_join_is_named",
        NEEDS,
        an_interface_that_cannot_join_is_named,
    ),
    Test::new(
        "a_capture_on_any_goes_on_without_one_that_refuses",
        NEEDS,
        a_capture_on_any_goes_on_without_one_that_refuses,
    ),
];

const SOON: Duration = Duration::from_secs(10);

/// Adds a silent link `name` whose other end is in `peer` under the same name, with the addresses
/// 10.NET.0.1 here and .2 there.
fn add_link(here: &Namespace, peer: &Namespace, name: &str, net: u8) -> Result<()> {
    for namespace in [here, peer] {
        namespace.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")?;
    }
    let other = peer.name();
    here.run(&format!(
        "ip link add {name} type veth peer name {name} netns {other}"
    ))?;
    for (namespace, host) in [(here, 1), (peer, 2)] {
        namespace.run(&format!("ip address add 10.{net}.0.{host}/24 dev {name}"))?;
        namespace.run(&format!("ip link set {name} up"))?;
    }
    Ok(())
}

/// Packets by name of interface, from the report.
fn packets(captured: &Captured) -> BTreeMap<String, u64> {
    let rows = captured.report["interfaces"]
        .as_array()
        .into_iter()
        .flatten();
    rows.filter_map(|row| Some((row["name"].as_str()?.to_owned(), row["packets"].as_u64()?)))
        .collect()
}

fn notes(captured: &Captured) -> String {
    captured.report["notes"].to_string()
}

fn succeeded(captured: &Captured) -> Result<()> {
    ensure!(captured.status.success(), "{}", captured.stderr);
    Ok(())
}

fn path(file: &Path) -> Result<&str> {
    file.to_str().context("a path in UTF-8")
}

fn an_interface_that_appears_joins_a_capture_on_any() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for hook in ["tc", "xdp"] {
        let (here, peer) = (Namespace::new()?, Namespace::new()?);
        let name = directory.path().join(format!("{hook}.pcapng"));
        let args = [
            "-i",
            "any",
            "--hook",
            hook,
            "-d",
            "0",
            "-v",
            "-w",
            path(&name)?,
        ];
        let mut capture = Capture::start(&here, &args)?;
        add_link(&here, &peer, "late0", 7)?;
        capture.wait_for_note("late0 appeared and is captured", SOON)?;
        here.run("ping -q -c 3 -i 0.01 -W 5 10.7.0.2")?;
        here.run("ping -q -c 2 -i 0.01 127.0.0.1")?;
        here.run("ip link delete late0")?;
        capture.wait_for_note("late0 disappeared", SOON)?;
        let captured = capture.interrupt()?;
        succeeded(&captured)?;
        // Address resolution of both sides may come on top.
        let packets = packets(&captured);
        let late = packets["late0"];
        ensure!(
            packets["lo"] == 4 && (8..=10).contains(&late),
            "{hook}: {packets:?}"
        );
        ensure!(balanced(&captured.report, true)? == 4 + late);
        let frames = file::frames(&name)?;
        ensure!(
            frames == [("lo".to_owned(), 4), ("late0".to_owned(), late)],
            "{frames:?}"
        );
        for part in [
            "late0 appeared and is captured (ingress",
            "late0 disappeared",
        ] {
            ensure!(notes(&captured).contains(part), "{}", notes(&captured));
        }
        let stripped = notes(&captured).contains("late0 strips VLAN tags before XDP");
        ensure!(stripped == (hook == "xdp"), "{hook}: {}", notes(&captured));
    }
    Ok(())
}

/// Every one is there only for a moment, and its frames are in the file under its name.
fn many_interfaces_come_and_go_and_none_is_forgotten() -> Result<()> {
    const COUNT: u8 = 20;
    let directory = tempfile::tempdir()?;
    let name = directory.path().join("many.pcapng");
    let (here, peer) = (Namespace::new()?, Namespace::new()?);
    let args = ["-i", "any", "-d", "0", "-w", path(&name)?];
    let mut capture = Capture::start(&here, &args)?;
    for net in 1..=COUNT {
        let link = format!("v{net}");
        add_link(&here, &peer, &link, net)?;
        capture.wait_for_note(&format!("{link} appeared"), SOON)?;
        here.run(&format!("ping -q -c 1 -W 5 10.{net}.0.2"))?;
        here.run(&format!("ip link delete {link}"))?;
    }
    capture.wait_for_note(&format!("v{COUNT} disappeared"), SOON)?;
    let captured = capture.interrupt()?;
    succeeded(&captured)?;
    let packets = packets(&captured);
    ensure!(packets.len() == usize::from(COUNT) + 1, "{packets:?}");
    let matched = balanced(&captured.report, true)?;
    let frames: BTreeMap<_, _> = file::frames(&name)?.into_iter().collect();
    ensure!(
        frames == packets,
        "{frames:?} in the file, {packets:?} in the report"
    );
    ensure!(frames.values().sum::<u64>() == matched);
    let links = packets.iter().filter(|(name, _)| *name != "lo");
    ensure!(
        links.clone().all(|(_, &packets)| packets >= 4),
        "{packets:?}"
    );
    Ok(())
}

fn an_interface_that_moves_away_is_let_go_and_taken_back() -> Result<()> {
    for hook in ["tc", "xdp"] {
        let stage = Stage::new()?;
        let (right, elsewhere) = (&stage.pair.right, Namespace::new()?);
        let args = ["-i", "any", "--hook", hook, "-Q", "in", "-d", "0", "udp"];
        let mut capture = Capture::start(right, &args)?;
        stage.numbered(10, Duration::ZERO)?.join()?;
        right.run(&format!("ip link set {VETH} netns {}", elsewhere.name()))?;
        capture.wait_for_note("veth0 moved to another network namespace", SOON)?;
        // There nobody captures it, although it may have the same number.
        elsewhere.run(&format!("ip link set {VETH} up"))?;
        stage.pair.left.wait_for_carrier(VETH)?;
        stage.numbered(10, Duration::ZERO)?.join()?;
        elsewhere.run(&format!("ip link set {VETH} netns {}", right.name()))?;
        capture.wait_for_note("veth0 came back and is captured", SOON)?;
        right.run(&format!("ip link set {VETH} up"))?;
        stage.pair.left.wait_for_carrier(VETH)?;
        stage.numbered(10, Duration::ZERO)?.join()?;
        let captured = capture.interrupt()?;
        succeeded(&captured)?;
        let matched = balanced(&captured.report, false)?;
        ensure!(matched == 20, "{hook}: {matched}");
        ensure!(
            packets(&captured)[VETH] == 20,
            "{hook}: {:?}",
            packets(&captured)
        );
    }
    Ok(())
}

fn an_interface_that_is_renamed_or_leaves_a_bridge_is_captured_on() -> Result<()> {
    let stage = Stage::new()?;
    let right = &stage.pair.right;
    let args = ["-i", VETH, "-Q", "in", "-d", "0", "udp"];
    let mut capture = Capture::start(right, &args)?;
    right.run("ip link add br0 type bridge")?;
    right.run(&format!("ip link set {VETH} master br0"))?;
    right.run(&format!("ip link set {VETH} nomaster"))?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    right.run(&format!("ip link set {VETH} name lan0"))?;
    capture.wait_for_note("veth0 was renamed to lan0", SOON)?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    right.run("ip link set lan0 down")?;
    capture.wait_for_note("lan0 went down", SOON)?;
    right.run("ip link set lan0 up")?;
    capture.wait_for_note("lan0 is up", SOON)?;
    stage.pair.left.wait_for_carrier(VETH)?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    let captured = capture.interrupt()?;
    succeeded(&captured)?;
    ensure!(balanced(&captured.report, false)? == 30);
    ensure!(packets(&captured)[VETH] == 30);
    ensure!(notes(&captured).contains("renamed to lan0 during the capture"));
    Ok(())
}

/// More come and go than the kernel keeps messages for, while nobody reads them.
fn interfaces_whose_events_were_lost_are_found() -> Result<()> {
    const PAIRS: u32 = 400;
    const KEPT: u32 = 5;
    let here = Namespace::new()?;
    here.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")?;
    let directory = tempfile::tempdir()?;
    let batch = directory.path().join("batch");
    let add = (0..PAIRS).map(|n| format!("link add a{n} type veth peer name b{n}\n"));
    let remove = (KEPT..PAIRS).map(|n| format!("link delete a{n}\n"));
    let last = ["link add last type veth peer name tsal\n".to_owned()];
    let lines: String = add.chain(remove).chain(last).collect();
    std::fs::write(&batch, lines)?;
    let mut capture = Capture::start(&here, &["-i", "any", "-d", "0"])?;
    capture.signal(Signal::SIGSTOP)?;
    here.run(&format!("ip -batch {}", path(&batch)?))?;
    capture.signal(Signal::SIGCONT)?;
    capture.wait_for_note("last appeared and is captured", Duration::from_mins(1))?;
    for end in ["last", "tsal"] {
        here.run(&format!("ip link set {end} up"))?;
    }
    here.run("ip address add 10.9.0.1/24 dev last")?;
    let captured = {
        // Nobody answers; the question alone is a frame that both ends count.
        let asked = here.run("ping -q -c 1 -W 1 10.9.0.2");
        ensure!(asked.is_err(), "{asked:?}");
        capture.interrupt()?
    };
    succeeded(&captured)?;
    let packets = packets(&captured);
    ensure!(
        packets["last"] > 0 && packets["last"] == packets["tsal"],
        "{packets:?}"
    );
    let kept = (0..KEPT).flat_map(|n| [format!("a{n}"), format!("b{n}")]);
    ensure!(
        kept.into_iter().all(|name| packets.contains_key(&name)),
        "{packets:?}"
    );
    balanced(&captured.report, false).map(drop)
}

/// A tunnel's frames have no place in a `.pcap` file that holds Ethernet frames.
fn an_interface_that_cannot_join_is_named() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let name = directory.path().join("one.pcap");
    let here = Namespace::new()?;
    let args = ["-i", "any", "-d", "0", "-w", path(&name)?];
    let mut capture = Capture::start(&here, &args)?;
    here.run("ip tuntap add mode tun name tun0")?;
    capture.wait_for_note("tun0 appeared and is not captured", SOON)?;
    here.run("ip link set tun0 up")?;
    here.run("ping -q -c 1 127.0.0.1")?;
    let captured = capture.interrupt()?;
    succeeded(&captured)?;
    ensure!(balanced(&captured.report, true)? == 2);
    ensure!(
        captured.stderr.matches("tun0 appeared").count() == 1,
        "{}",
        captured.stderr
    );
    ensure!(
        file::frames(&name)?
            .iter()
            .map(|(_, frames)| frames)
            .sum::<u64>()
            == 2
    );
    Ok(())
}

/// Another program has the hook of one of two interfaces, then of the only one.
fn a_capture_on_any_goes_on_without_one_that_refuses() -> Result<()> {
    let stage = Stage::new()?;
    let right = &stage.pair.right;
    let first = Capture::start(right, &["-i", VETH, "--hook", "xdp", "-d", "0"])?;
    let directory = tempfile::tempdir()?;
    let name = directory.path().join("rest.pcapng");
    let args = ["-i", "any", "--hook", "xdp", "-d", "0", "-w", path(&name)?];
    let second = Capture::start(right, &args)?;
    right.run("ping -q -c 2 -i 0.01 127.0.0.1")?;
    stage.numbered(10, Duration::ZERO)?.join()?;
    let captured = second.interrupt()?;
    succeeded(&captured)?;
    let said = "veth0 is not captured: XDP on veth0 is taken by";
    ensure!(notes(&captured).contains(said), "{}", notes(&captured));
    ensure!(captured.stderr.contains(said), "{}", captured.stderr);
    ensure!(!captured.stderr.contains("listening on veth0"));
    let expected = [("lo".to_owned(), 4), (VETH.to_owned(), 0)];
    ensure!(packets(&captured) == BTreeMap::from(expected));
    ensure!(balanced(&captured.report, true)? == 4);
    let frames: BTreeMap<_, _> = file::frames(&name)?.into_iter().collect();
    ensure!(frames == packets(&captured), "{frames:?}");

    right.run("ip link set lo down")?;
    let output = right
        .command(binary())
        .args(["capture", "-i", "any", "--hook", "xdp", "-d", "1"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{said}");
    ensure!(said.contains("XDP on veth0 is taken by"), "{said}");
    let captured = first.interrupt()?;
    ensure!(balanced(&captured.report, false)? == 10);
    Ok(())
}
