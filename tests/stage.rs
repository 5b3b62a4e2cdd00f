//! A silent link between two namespaces, and datagrams over it.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    netns::{Namespace, VETH, VethOptions, VethPair, Work},
    program::Capture,
};

/// Sends `count` datagrams from this thread.
///
/// # Errors
/// When there is no way to `peer`.
pub fn send_datagrams(peer: SocketAddr, count: u64, payload: &[u8]) -> Result<()> {
    let any = if peer.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    for _ in 0..count {
        // Not connected: the peer's refusals are not ours to hear.
        socket.send_to(payload, peer).context("send a datagram")?;
    }
    Ok(())
}

/// Has both ends know each other, so that no later exchange of addresses comes between.
///
/// # Errors
/// When they do not answer.
pub fn introduce(pair: &VethPair) -> Result<()> {
    pair.left.run("ping -c 1 -W 5 10.77.0.2")?;
    let link = |namespace: &Namespace| -> Result<String> {
        let address = namespace.run(&format!("cat /sys/class/net/{VETH}/address"))?;
        Ok(address.trim().to_owned())
    };
    let (left, right) = (link(&pair.left)?, link(&pair.right)?);
    for (namespace, host, address) in [(&pair.left, 2, right), (&pair.right, 1, left)] {
        namespace.run(&format!(
            "ip neigh replace 10.77.0.{host} lladdr {address} dev {VETH} nud permanent"
        ))?;
    }
    Ok(())
}

/// Two senders of datagrams, each on a CPU of its own.
#[derive(Debug)]
pub struct Flood(Vec<Work<()>>);

impl Flood {
    /// Has each send `count` datagrams.
    ///
    /// # Errors
    /// When `peer` is no address, or the namespace is gone.
    pub fn start(namespace: &Namespace, peer: &str, count: u64) -> Result<Self> {
        let peer: SocketAddr = peer.parse()?;
        let start = |cpu| namespace.spawn(cpu, move || send_datagrams(peer, count, &[0; 18]));
        Ok(Self([0, 1].into_iter().map(start).collect::<Result<_>>()?))
    }

    /// Waits until everything is sent.
    ///
    /// # Errors
    /// When a datagram could not be sent.
    pub fn join(self) -> Result<()> {
        self.0.into_iter().try_for_each(Work::join)
    }
}

/// Datagrams of each of the two senders of [`Stage::flood`].
pub const DATAGRAMS: u64 = 60_000;

/// A link without IPv6, whose ends know each other: it is silent. On the right somebody takes
/// datagrams and says nothing.
#[derive(Debug)]
pub struct Stage {
    /// The link.
    pub pair: VethPair,
    _sink: UdpSocket,
}

impl Stage {
    /// Makes it.
    ///
    /// # Errors
    /// As [`VethPair::new`].
    pub fn new() -> Result<Self> {
        let pair = VethPair::new(&VethOptions {
            ipv6: false,
            ..VethOptions::default()
        })?;
        introduce(&pair)?;
        pair.left.wait_for_carrier(VETH)?;
        pair.right.wait_for_carrier(VETH)?;
        let sink = pair.right.within(|| Ok(UdpSocket::bind("10.77.0.2:9")?))?;
        Ok(Self { pair, _sink: sink })
    }

    /// Datagrams from left to right from both CPUs.
    ///
    /// # Errors
    /// When a namespace is gone.
    pub fn flood(&self) -> Result<Flood> {
        Flood::start(&self.pair.left, "10.77.0.2:9", DATAGRAMS)
    }

    /// `count` datagrams from left to right that begin with their number.
    ///
    /// # Errors
    /// When a namespace is gone.
    pub fn numbered(&self, count: u32, pause: Duration) -> Result<Work<()>> {
        self.pair.left.spawn(0, move || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for number in 0..count {
                let payload = [&number.to_be_bytes()[..], &[0; 14]].concat();
                socket.send_to(&payload, "10.77.0.2:9")?;
                thread::sleep(pause);
            }
            Ok(())
        })
    }
}

/// A link without IPv6, which is silent, and a directory for capture files.
#[derive(Debug)]
pub struct FileStage {
    /// The link.
    pub pair: VethPair,
    /// The directory.
    pub directory: TempDir,
}

impl FileStage {
    /// Makes both.
    ///
    /// # Errors
    /// As [`VethPair::new`].
    pub fn new() -> Result<Self> {
        Ok(Self {
            pair: VethPair::new(&VethOptions {
                ipv6: false,
                ..VethOptions::default()
            })?,
            directory: tempfile::tempdir()?,
        })
    }

    /// A file of the directory.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Starts a capture of every frame until it is stopped, with other arguments.
    ///
    /// # Errors
    /// As [`Capture::start`].
    pub fn capture(&self, args: &[&str]) -> Result<Capture> {
        let until_stopped = ["-i", VETH, "-d", "0"];
        Capture::start(&self.pair.left, &[&until_stopped[..], args].concat())
    }

    /// Sends `count` echo requests as fast as they are answered.
    ///
    /// # Errors
    /// When one is not answered.
    pub fn flood(&self, count: u32, bytes: u32) -> Result<()> {
        let line = format!("ping -q -f -c {count} -s {bytes} 10.77.0.2");
        self.pair.left.run(&line).map(drop)
    }

    /// Files of the directory by name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.directory.path())?;
        let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|e| e.path())).collect();
        let mut paths = paths?;
        paths.sort();
        Ok(paths)
    }
}
