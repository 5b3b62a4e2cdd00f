//! The network of the demonstration and what plays on it.

use std::process::{Child, Stdio};

use anyhow::{Context, Result};
use traffic_tests::netns::{Namespace, VETH, VethOptions, VethPair};

use super::peer::{ALIASES, VLAN};

/// Two hosts that talk; gone when dropped.
pub(super) struct Stage {
    // Dropped in this order: a namespace lives as long as a process in it.
    _players: Vec<Player>,
    pair: VethPair,
}

impl Stage {
    /// Builds the network and starts the traffic, whose pattern repeats after `period` seconds.
    pub(super) fn new(period: f64) -> Result<Self> {
        let pair = VethPair::new(&VethOptions::default())?;
        configure(&pair.left, 1)?;
        configure(&pair.right, 2)?;
        let players = vec![
            Player::peer(&pair.left, 1, period)?,
            Player::peer(&pair.right, 2, period)?,
            Player::ping(&pair.left, "10.77.0.2", period)?,
            Player::ping(&pair.right, "fd77::1", period)?,
        ];
        Ok(Self {
            _players: players,
            pair,
        })
    }

    /// The host that captures.
    pub(super) fn left(&self) -> &Namespace {
        &self.pair.left
    }
}

/// More addresses, a tagged interface, and neighbours that are forgotten quickly, so that ARP and
/// neighbour discovery go on throughout.
fn configure(namespace: &Namespace, host: u8) -> Result<()> {
    for alias in ALIASES {
        namespace.run(&format!(
            "ip address add 10.77.0.{host}{alias}/24 dev {VETH}"
        ))?;
    }
    let tagged = format!("{VETH}.{VLAN}");
    namespace.run(&format!(
        "ip link add link {VETH} name {tagged} type vlan id {VLAN}"
    ))?;
    namespace.run(&format!(
        "ip address add 10.77.{VLAN}.{host}/24 dev {tagged}"
    ))?;
    namespace.run(&format!("ip link set {tagged} up"))?;
    for family in ["ipv4", "ipv6"] {
        for interface in [VETH, &tagged] {
            // With slashes, because a name may contain a dot.
            let neighbour = format!("net/{family}/neigh/{interface}");
            namespace.run(&format!(
                "sysctl -qw {neighbour}/base_reachable_time_ms=500 \
                 {neighbour}/delay_first_probe_time=1"
            ))?;
        }
    }
    Ok(())
}

/// A process on the stage; killed on drop.
struct Player(Child);

impl Player {
    /// This program as a host of the demonstration. It ends when its stdin does, so that it does
    /// not outlive this process, however that ends.
    fn peer(namespace: &Namespace, host: u8, period: f64) -> Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        namespace
            .command(program)
            .args(["demo-peer", &host.to_string(), &period.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .map(Self)
            .context("start a peer")
    }

    fn ping(namespace: &Namespace, address: &str, period: f64) -> Result<Self> {
        // An end of its own, should this process be killed.
        let deadline = (period + 60.0).ceil();
        namespace
            .command("ping")
            .args(["-q", "-i", "0.25", "-w", &deadline.to_string(), address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map(Self)
            .context("start ping")
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
