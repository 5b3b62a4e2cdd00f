//! Traffic: replayed frames, datagrams, bulk data. All of it inside a namespace and bounded.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use traffic_tests::netns::{Namespace, VETH, VethOptions, VethPair, Work};

use crate::frame;

/// What the last datagram of a test ends in.
pub(crate) const MARK: &[u8] = b"this is the last frame of the test";

/// Replays `frames` on `interface`, as fast as it goes, from CPU 0.
pub(crate) fn replay(namespace: &Namespace, interface: &str, frames: &[Vec<u8>]) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("replay.pcap");
    frame::write(&file, frames)?;
    replay_file(namespace, interface, &file)
}

fn replay_file(namespace: &Namespace, interface: &str, file: &Path) -> Result<()> {
    let output = namespace
        .command("taskset")
        .args(["-c", "0", "tcpreplay", "--topspeed", "-q", "-i", interface])
        .arg(file)
        .output()
        .context("run tcpreplay")?;
    ensure!(
        output.status.success(),
        "tcpreplay: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Sends one marked datagram each way.
pub(crate) fn mark(pair: &VethPair) -> Result<()> {
    for (namespace, peer) in [
        (&pair.left, "10.77.0.2:9999"),
        (&pair.right, "10.77.0.1:9999"),
    ] {
        datagrams(namespace, peer, 1, MARK.to_vec())?;
    }
    Ok(())
}

/// Sends `count` datagrams from CPU 0 and waits until they are sent.
pub(crate) fn datagrams(
    namespace: &Namespace,
    peer: &str,
    count: u64,
    payload: Vec<u8>,
) -> Result<()> {
    let peer: SocketAddr = peer.parse()?;
    namespace.within(move || send_datagrams(peer, count, &payload))
}

/// Sends `count` datagrams from this thread.
pub(crate) fn send_datagrams(peer: SocketAddr, count: u64, payload: &[u8]) -> Result<()> {
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

/// Sends `bytes` over TCP from left to right, both on CPU 0, and waits until both have closed.
pub(crate) fn bulk(pair: &VethPair, address: &str, bytes: usize) -> Result<()> {
    let address: SocketAddr = address.parse()?;
    let listener = pair.right.within(move || Ok(TcpListener::bind(address)?))?;
    let receiver = pair.right.spawn(0, move || receive(&listener))?;
    pair.left.within(move || send_bulk(address, bytes))?;
    let received = receiver.join()?;
    ensure!(received == bytes, "received {received} of {bytes} bytes");
    Ok(())
}

fn send_bulk(address: SocketAddr, bytes: usize) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let piece: Vec<u8> = frame::pattern(1 << 16).collect();
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len());
        stream.write_all(&piece[..now])?;
        left -= now;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // The end of the other side: everything has been acknowledged.
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn receive(listener: &TcpListener) -> Result<usize> {
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; 1 << 18];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(received),
            bytes => received += bytes,
        }
    }
}

/// Has both ends know each other, so that no later exchange of addresses comes between.
pub(crate) fn introduce(pair: &VethPair) -> Result<()> {
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
pub(crate) struct Flood(Vec<Work<()>>);

impl Flood {
    /// Has each send `count` datagrams.
    pub(crate) fn start(namespace: &Namespace, peer: &str, count: u64) -> Result<Self> {
        let peer: SocketAddr = peer.parse()?;
        let start = |cpu| namespace.spawn(cpu, move || send_datagrams(peer, count, &[0; 18]));
        Ok(Self([0, 1].into_iter().map(start).collect::<Result<_>>()?))
    }

    /// Waits until everything is sent.
    pub(crate) fn join(self) -> Result<()> {
        self.0.into_iter().try_for_each(Work::join)
    }
}

/// Datagrams of each of the two senders of [`Stage::flood`].
pub(crate) const DATAGRAMS: u64 = 60_000;

/// A link without IPv6, whose ends know each other: it is silent. On the right somebody takes
/// datagrams and says nothing.
pub(crate) struct Stage {
    pub(crate) pair: VethPair,
    _sink: UdpSocket,
}

impl Stage {
    pub(crate) fn new() -> Result<Self> {
        let pair = VethPair::new(&VethOptions {
            ipv6: false,
            ..VethOptions::default()
        })?;
        introduce(&pair)?;
        let sink = pair.right.within(|| Ok(UdpSocket::bind("10.77.0.2:9")?))?;
        Ok(Self { pair, _sink: sink })
    }

    /// Datagrams from left to right from both CPUs.
    pub(crate) fn flood(&self) -> Result<Flood> {
        Flood::start(&self.pair.left, "10.77.0.2:9", DATAGRAMS)
    }

    /// `count` datagrams from left to right that begin with their number.
    pub(crate) fn numbered(&self, count: u32, pause: Duration) -> Result<Work<()>> {
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
