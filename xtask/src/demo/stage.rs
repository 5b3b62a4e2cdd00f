//! The network of the demonstration and what plays on it.

use std::{
    env,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
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
pub(super) fn configure(namespace: &Namespace, host: u8) -> Result<()> {
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
pub(super) struct Player {
    name: &'static str,
    child: Child,
}

impl Player {
    /// This program as a host of the demonstration. It ends when its stdin does, so that it does
    /// not outlive this process, however that ends.
    pub(super) fn peer(namespace: &Namespace, host: u8, period: f64) -> Result<Self> {
        let mut command = namespace.command(env::current_exe().context("find this program")?);
        command
            .args(["demo-peer", &host.to_string(), &period.to_string()])
            .stdin(Stdio::piped());
        Self::start("peer", &mut command)
    }

    /// Pings four times a second.
    pub(super) fn ping(namespace: &Namespace, address: &str, period: f64) -> Result<Self> {
        let mut command = namespace.command("ping");
        command
            .args(["-q", "-i", "0.25", "-w", &longest(period), address])
            .stdin(Stdio::null());
        Self::start("ping", &mut command)
    }

    /// Tagged frames come from a file: not every kernel has VLAN interfaces.
    fn replay(namespace: &Namespace, file: &Path, period: f64) -> Result<Self> {
        let mut command = namespace.command("tcpreplay");
        command
            .args(["--quiet", "--timer=nano", "--loop=0", "--pps=20"])
            .arg(format!("--duration={}", longest(period)))
            .arg(format!("--intf1={VETH}"))
            .arg(file)
            .stdin(Stdio::null());
        Self::start("tcpreplay", &mut command)
    }

    fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C on the terminal ends the capture; the traffic goes on until it has.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { name, child })
    }
}

/// Seconds after which a player ends by itself, should this process be killed.
fn longest(period: f64) -> String {
    (period + 60.0).ceil().to_string()
}

impl Drop for Player {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            eprintln!("part of the traffic is missing: {}: {status}", self.name);
        }
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
