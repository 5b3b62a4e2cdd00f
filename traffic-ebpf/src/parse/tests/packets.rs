//! Packets of IP as tests have them.

extern crate std;

use std::{vec, vec::Vec};

/// A packet of IPv4 from 10.0.0.1 to 10.0.0.2.
pub(crate) fn ipv4(proto: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = length(20 + payload.len());
    let mut packet = vec![0x45, 0, high, low, 0x12, 0x34, 0, 0, 64, proto, 0, 0];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(payload);
    packet
}

/// A packet of IPv6 from `2001:db8::1` to `2001:db8::2`.
pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = length(payload.len());
    let mut packet = vec![0x60, 0, 0, 0, high, low, next, 64];
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(payload);
    packet
}

/// IPv6 with extension headers of 8 bytes.
pub(crate) fn chain(extensions: &[u8], proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for next in extensions[1..].iter().copied().chain([proto]) {
        bytes.extend([next, 0, 0, 0, 0, 0, 0, 0]);
    }
    bytes.extend(payload);
    ipv6(extensions[0], &bytes)
}

fn length(bytes: usize) -> [u8; 2] {
    let bytes = u16::try_from(bytes).expect("small packets");
    bytes.to_be_bytes()
}
