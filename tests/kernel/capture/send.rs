//! Traffic: replayed frames, datagrams, bulk data. All of it inside a namespace and bounded.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use traffic_tests::{
    netns::{Namespace, VethPair},
    stage::send_datagrams,
};

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
