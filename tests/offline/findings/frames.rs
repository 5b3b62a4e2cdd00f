//! Frames, from the application down to the file.

use std::net::IpAddr;

/// Microseconds since the start, and an Ethernet frame.
pub(crate) type Timed = (u64, Vec<u8>);

/// 2023-11-14 22:13:20 UTC.
const START_S: u64 = 1_700_000_000;

pub(crate) const SYN: u8 = 0x02;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const RST: u8 = 0x04;

/// A little-endian pcap file with microseconds.
pub(crate) fn pcap(frames: &[Timed]) -> Vec<u8> {
    let header = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 1];
    let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (time_us, frame) in frames {
        let len = frame.len() as u64;
        let words = [START_S + time_us / 1_000_000, time_us % 1_000_000, len, len];
        for word in words {
            let word = u32::try_from(word).expect("times and lengths fit 32 bits");
            file.extend(word.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    file
}

pub(crate) fn ethernet(ether_type: u16, src: [u8; 6], payload: &[u8]) -> Vec<u8> {
    [&[0xff; 6][..], &src, &ether_type.to_be_bytes(), payload].concat()
}

/// An IP packet in an Ethernet frame; both addresses are of one version.
pub(crate) fn ip(src: &str, dst: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse().expect("the address is written correctly");
    let (packet, ether_type) = match (address(src), address(dst)) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let ends = [src.octets(), dst.octets()];
            (ipv4(ends, protocol, (7, 0, false), payload), 0x0800)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let ends = [src.octets(), dst.octets()];
            (ipv6(&ends, protocol, payload), 0x86dd)
        }
        _ => panic!("{src} and {dst} are of different versions"),
    };
    ethernet(ether_type, [2, 0, 0, 0, 0, 1], &packet)
}

/// An IPv4 fragment: identification, offset in bytes, whether more follow.
pub(crate) fn fragment(
    src: [u8; 4],
    dst: [u8; 4],
    place: (u16, u16, bool),
    payload: &[u8],
) -> Vec<u8> {
    let packet = ipv4([src, dst], 17, place, payload);
    ethernet(0x0800, [2, 0, 0, 0, 0, 1], &packet)
}

fn ipv4(
    ends: [[u8; 4]; 2],
    protocol: u8,
    (id, offset, more): (u16, u16, bool),
    payload: &[u8],
) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).expect("packets are short");
    let place = (offset / 8) | (u16::from(more) << 13);
    [
        &[0x45, 0][..],
        &len.to_be_bytes(),
        &id.to_be_bytes(),
        &place.to_be_bytes(),
        &[64, protocol, 0, 0],
        &ends.concat(),
        payload,
    ]
    .concat()
}

fn ipv6(ends: &[[u8; 16]; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("packets are short");
    [
        &[0x60, 0, 0, 0][..],
        &len.to_be_bytes(),
        &[protocol, 64],
        &ends.concat(),
        payload,
    ]
    .concat()
}

pub(crate) fn tcp(src: &str, dst: &str, (from, to): (u16, u16), flags: u8) -> Vec<u8> {
    let header = [
        &from.to_be_bytes()[..],
        &to.to_be_bytes(),
        &[0; 8],
        &[0x50, flags, 4, 0, 0, 0, 0, 0],
    ];
    ip(src, dst, 6, &header.concat())
}

pub(crate) fn udp(src: &str, dst: &str, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    ip(src, dst, 17, &datagram(ports, payload))
}

pub(crate) fn datagram((from, to): (u16, u16), payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).expect("datagrams are short");
    let header = [
        from.to_be_bytes(),
        to.to_be_bytes(),
        len.to_be_bytes(),
        [0; 2],
    ];
    [&header.concat(), payload].concat()
}

/// An echo request of ICMP, or of `ICMPv6`.
pub(crate) fn echo_request(src: &str, dst: &str) -> Vec<u8> {
    let (protocol, kind) = if src.contains(':') { (58, 128) } else { (1, 8) };
    ip(src, dst, protocol, &[kind, 0, 0, 0, 0, 1, 0, 1])
}

/// An ARP request (operation 1) or reply (2).
pub(crate) fn arp(operation: u8, mac: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let message = [
        &[0, 1, 8, 0, 6, 4, 0, operation][..],
        &mac,
        &sender,
        &[0; 6],
        &target,
    ];
    ethernet(0x0806, mac, &message.concat())
}

/// A DNS message about the address record of `name`.
pub(crate) fn dns(id: u16, answer: bool, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(if answer { [0x81, 0x80] } else { [1, 0] });
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("labels have at most 63 bytes"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}
