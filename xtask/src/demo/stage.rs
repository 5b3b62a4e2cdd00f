//! The network of the demonstration and what plays on it.

use std::{
    path::Path,
    process::{Child, Stdio},
};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;
use traffic_tests::netns::{Namespace, VETH, VethOptions, VethPair};

use super::{peer::ALIASES, tagged};

/// Two hosts that talk; gone when dropped.
pub(super) struct Stage {
    // Dropped in this order: a namespace lives as long as a process in it.
    _players: Vec<Player>,
    pair: VethPair,
    _tagged: [NamedTempFile; 2],
}

impl Stage {
    /// Builds the network and starts the traffic, whose pattern repeats after `period` seconds.
    pub(super) fn new(period: f64) -> Result<Self> {
        let pair = VethPair::new(&VethOptions::default())?;
        configure(&pair.left, 1)?;
        configure(&pair.right, 2)?;
        let tagged = [tagged::capture_file(1)?, tagged::capture_file(2)?];
        let players = vec![
            Player::peer(&pair.left, 1, period)?,
            Player::peer(&pair.right, 2, period)?,
            Player::replay(&pair.left, tagged[0].path(), period)?,
            Player::replay(&pair.right, tagged[1].path(), period)?,
            Player::ping(&pair.left, "10.77.0.2", period)?,
            Player::ping(&pair.right, "fd77::1", period)?,
        ];
        Ok(Self {
            _players: players,
            pair,
            _tagged: tagged,
        })
    }

    /// The host that captures.
    pub(super) fn left(&self) -> &Namespace {
        &self.pair.left
    }
}

/// More addresses, and neighbours that are forgotten quickly, so that ARP and
/// neighbour discovery go on throughout.
fn configure(namespace: &Namespace, host: u8) -> Result<()> {
    for alias in ALIASES {
        namespace.run(&format!(
            "ip address add 10.77.0.{host}{alias}/24 dev {VETH}"
        ))?;
    }
    for family in ["ipv4", "ipv6"] {
        let neighbours = format!("net.{family}.neigh.{VETH}");
        namespace.run(&format!(
            "sysctl -qw {neighbours}.base_reachable_time_ms=500 \
             {neighbours}.delay_first_probe_time=1"
        ))?;
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
        let deadline = format!("-w{}", longest(period));
        Self::start(namespace, "ping", &["-q", "-i", "0.25", &deadline, address])
    }

    /// Tagged frames come from a file: not every kernel has VLAN interfaces.
    fn replay(namespace: &Namespace, file: &Path, period: f64) -> Result<Self> {
        let file = file.to_str().context("name a temporary file")?;
        let duration = format!("--duration={}", longest(period));
        let interface = format!("--intf1={VETH}");
        let options = [
            "--quiet",
            "--timer=nano",
            "--loop=0",
            "--pps=20",
            &duration,
            &interface,
            file,
        ];
        Self::start(namespace, "tcpreplay", &options)
    }

    fn start(namespace: &Namespace, program: &str, args: &[&str]) -> Result<Self> {
        namespace
            .command(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .with_context(|| format!("start {program}"))
    }
}

/// Seconds after which a player ends by itself, should this process be killed.
fn longest(period: f64) -> String {
    (period + 60.0).ceil().to_string()
}

impl Drop for Player {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
