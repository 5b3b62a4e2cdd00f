//! Frames of many small flows, and messages as packets.

use std::path::Path;

use anyhow::Result;

use crate::written;

/// Flows that [`write`] writes.
pub(crate) const FLOWS: u16 = 300;

/// Writes connections over IPv4, questions and answers over IPv6, echoes, and ARP; returns the
/// packets and bytes that IP carried, from its header on.
pub(crate) fn write(path: &Path) -> Result<(u64, u64)> {
    let mut frames = Vec::new();
    for flow in 0..FLOWS {
        let port = 2000 + flow;
        match flow % 3 {
            0 => frames.extend(connection(port)),
            1 => frames.extend([ipv6(port, 53, 30), ipv6(53, port, 200)]),
            _ => frames.extend([echo(8, flow), echo(0, flow)]),
        }
        if flow % 20 == 0 {
            frames.push(arp());
        }
    }
    let is_ip = |frame: &&Vec<u8>| frame[12..14] != [8, 6];
    let bytes: usize = frames
        .iter()
        .filter(is_ip)
        .map(|frame| frame.len() - 14)
        .sum();
    let packets = frames.iter().filter(is_ip).count();
    write_frames(path, &frames)?;
    Ok((u64::try_from(packets)?, u64::try_from(bytes)?))
}

/// Writes frames a millisecond apart.
pub(crate) fn write_frames(path: &Path, frames: &[Vec<u8>]) -> Result<()> {
    written::write(path, frames, 1_700_000_000_000_000_000, 1_000_000)
}

/// Eight segments, from SYN to the last ACK.
fn connection(port: u16) -> Vec<Vec<u8>> {
    const SEGMENTS: [(bool, u8, usize); 8] = [
        (true, 0x02, 0),
        (false, 0x12, 0),
        (true, 0x10, 0),
        (true, 0x18, 100),
        (false, 0x18, 700),
        (false, 0x11, 0),
        (true, 0x11, 0),
        (false, 0x10, 0),
    ];
    let segment = |(asks, flags, payload): (bool, u8, usize)| {
        let (src, dst) = if asks { (port, 443) } else { (443, port) };
        let header = tcp(src, dst, 0, flags);
        ipv4(6, asks, &[&header[..], &vec![0; payload]].concat())
    };
    SEGMENTS.into_iter().map(segment).collect()
}

fn tcp(src: u16, dst: u16, sequence: u32, flags: u8) -> Vec<u8> {
    let mut header = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    header.extend(sequence.to_be_bytes());
    header.extend([0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    header
}

fn echo(kind: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    // Its own host, so that every echo is a flow.
    let mut frame = ipv4(
        1,
        kind == 8,
        &[&[kind, 0, 0, 0, high, low, 0, 1][..], &[0; 48]].concat(),
    );
    let host = if kind == 8 { 28 } else { 32 };
    frame[host..host + 2].copy_from_slice(&[high, low]);
    frame
}

fn ipv4(protocol: u8, asks: bool, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).expect("small packets");
    let [high, low] = length.to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0];
    let ends = [[10, 0, 0, 1], [192, 0, 2, 9]];
    header.extend(ends[usize::from(!asks)]);
    header.extend(ends[usize::from(asks)]);
    ethernet([8, 0], &[&header[..], payload].concat())
}

fn ipv6(src_port: u16, dst_port: u16, payload: usize) -> Vec<u8> {
    let length = u16::try_from(8 + payload).expect("small packets");
    let [high, low] = length.to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, 17, 64];
    let address = |port: u16| {
        let mut address = [0; 16];
        address[..2].copy_from_slice(&[0x20, 0x01]);
        address[14..].copy_from_slice(&port.to_be_bytes());
        address
    };
    packet.extend(address(src_port));
    packet.extend(address(dst_port));
    packet.extend(udp(src_port, dst_port, &vec![0; payload]));
    ethernet([0x86, 0xdd], &packet)
}

fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("small packets");
    let header = [src, dst, length, 0];
    let header: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    [&header, payload].concat()
}

fn arp() -> Vec<u8> {
    ethernet([8, 6], &[&[0, 1, 8, 0, 6, 4, 0, 1][..], &[0; 20]].concat())
}

fn ethernet(ether_type: [u8; 2], packet: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ether_type, packet].concat()
}

/// IPFIX messages as datagrams to port 4739.
pub(crate) fn datagrams(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let frame = |message: &Vec<u8>| ipv4(17, true, &udp(40_000, 4739, message));
    messages.iter().map(frame).collect()
}

/// IPFIX messages as the segments of a connection to port 4739.
pub(crate) fn segments(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut sequence = 1;
    let segment = |part: &[u8]| {
        let header = tcp(40_000, 4739, sequence, 0x18);
        sequence += u32::try_from(part.len()).expect("small parts");
        ipv4(6, true, &[&header[..], part].concat())
    };
    stream.chunks(1000).map(segment).collect()
}
