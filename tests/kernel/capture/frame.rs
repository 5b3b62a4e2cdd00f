//! Frames: made by hand, and read from capture files.

use std::{ops::ControlFlow, path::Path};

use anyhow::{Context, Result, ensure};
use traffic_user::{
    capture_file::{self, CaptureWriter, InterfaceDescription, LinkType},
    record::Direction,
};

/// 802.1Q.
pub(crate) const TPID_CUSTOMER: u16 = 0x8100;
/// 802.1ad.
pub(crate) const TPID_SERVICE: u16 = 0x88a8;
/// Discard (RFC 863).
const PORT: u16 = 9;

/// A frame of a capture file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub(crate) data: Vec<u8>,
    pub(crate) wire_len: u32,
    pub(crate) timestamp_ns: u64,
    pub(crate) egress: bool,
    pub(crate) interface: u16,
}

/// Every frame of a capture file, in file order. The file must be whole.
pub(crate) fn read(path: &Path) -> Result<Vec<Frame>> {
    let mut frames = Vec::new();
    let summary = capture_file::read(path, |_, frame| {
        frames.push(Frame {
            data: frame.data.to_vec(),
            wire_len: frame.wire_len,
            timestamp_ns: frame.timestamp_ns,
            egress: frame.direction == Direction::Egress,
            interface: frame.interface,
        });
        ControlFlow::Continue(())
    })
    .with_context(|| format!("read {}", path.display()))?;
    let fault = summary.fault;
    ensure!(fault.is_none(), "{}: {fault:?}", path.display());
    Ok(frames)
}

/// Writes `frames` as a capture file that can be replayed.
pub(crate) fn write(path: &Path, frames: &[Vec<u8>]) -> Result<()> {
    let interface = InterfaceDescription::new("replay", LinkType::ETHERNET);
    let mut writer = CaptureWriter::create(path, &[interface])?;
    for frame in frames {
        let wire_len = u32::try_from(frame.len())?;
        writer.write_frame(&capture_file::Frame {
            interface: 0,
            timestamp_ns: 1,
            wire_len,
            direction: Direction::Ingress,
            dropped: 0,
            data: frame,
        })?;
    }
    Ok(writer.finish(&[])?)
}

/// An Ethernet frame from and to locally administered addresses of nobody, with `tags` (identifier
/// and VLAN).
pub(crate) fn ethernet(tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for (tpid, vlan) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// IPv4 and UDP with `bytes` of payload that begins with `mark` (RFC 791, RFC 768).
pub(crate) fn ipv4_udp(mark: u32, bytes: usize) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(length(28 + bytes));
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    let checksum = checksum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(udp(mark, bytes));
    packet
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("carries were folded")
}

/// IPv6 and UDP (RFC 8200).
pub(crate) fn ipv6_udp(mark: u32, bytes: usize) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length(8 + bytes));
    packet.extend([17, 64]);
    for host in [1, 2] {
        packet.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    packet.extend(udp(mark, bytes));
    packet
}

fn udp(mark: u32, bytes: usize) -> Vec<u8> {
    let ports = [PORT, PORT].map(u16::to_be_bytes);
    let mut datagram = [ports[0], ports[1], length(8 + bytes), [0; 2]].concat();
    datagram.extend(pattern(bytes));
    let start = datagram.len() - bytes;
    let marked = bytes.min(4);
    datagram[start..start + marked].copy_from_slice(&mark.to_be_bytes()[..marked]);
    datagram
}

fn length(bytes: usize) -> [u8; 2] {
    let bytes = u16::try_from(bytes).expect("packets here are below 64 KiB");
    bytes.to_be_bytes()
}

/// Bytes of which no two in a row are alike, so that a shifted copy shows.
pub(crate) fn pattern(bytes: usize) -> impl Iterator<Item = u8> {
    (0..=250).cycle().take(bytes)
}
