//! Captures that the test makes: every header the parser knows, whole and damaged.

#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

#[path = "../../traffic-ebpf/src/parse/tests/packets.rs"]
mod packets;

use std::path::Path;

use anyhow::Result;
use traffic_user::{
    capture_file::{CaptureWriter, Frame, InterfaceDescription, LinkType},
    record::Direction,
};

use self::packets::{chain, ipv4, ipv6};
use crate::tshark_rules::{Example, RULES};

/// Writes every frame of [`frames`] as it is.
pub(crate) fn write_whole(path: &Path) -> Result<()> {
    write(path, &frames())
}

/// Writes every untagged Ethernet frame of [`frames`], cut off after every byte.
pub(crate) fn write_cut(path: &Path) -> Result<()> {
    let untagged = frames().into_iter().filter(|(link_type, bytes)| {
        *link_type == LinkType::ETHERNET
            && !matches!(bytes[12..14], [0x81 | 0x91, 0] | [0x88, 0xa8])
    });
    let cut = |(link_type, bytes): (LinkType, Vec<u8>)| {
        (1..=bytes.len()).map(move |len| (link_type, bytes[..len].to_vec()))
    };
    write(path, &untagged.flat_map(cut).collect::<Vec<_>>())
}

/// Writes the examples of the rules that have one in bytes, in their order.
pub(crate) fn write_examples(path: &Path) -> Result<()> {
    let examples: Vec<_> = examples().map(|(_, frame)| frame).collect();
    write(path, &examples)
}

/// Names of the rules in the file that [`write_examples`] writes, and their frames.
pub(crate) fn examples() -> impl Iterator<Item = (&'static str, (LinkType, Vec<u8>))> {
    RULES.iter().filter_map(|rule| match rule.example {
        Example::Bytes(link_type, text) => Some((rule.name, (LinkType(link_type), from_hex(text)))),
        Example::Corpus(..) => None,
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("hexadecimal") as u8;
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| digit(&pair[0]) << 4 | digit(&pair[1]))
        .collect()
}

/// Writes `count` frames of [`frames`] with bytes changed and ends cut off.
pub(crate) fn write_damaged(path: &Path, count: usize) -> Result<()> {
    let frames = frames();
    let mut random = Random(1);
    let damaged: Vec<_> = (0..count)
        .map(|_| {
            let frame = &frames[random.below(frames.len())];
            (frame.0, damage(&mut random, frame.1.clone()))
        })
        .collect();
    write(path, &damaged)
}

/// Changes up to three bytes; every other frame also loses its end.
fn damage(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        bytes[at] = match random.below(3) {
            0 => 0,
            1 => bytes[at] ^ (1 << random.below(8)),
            _ => random.below(256) as u8,
        };
    }
    if random.below(2) == 0 {
        bytes.truncate(random.below(bytes.len()) + 1);
    }
    bytes
}

fn write(path: &Path, frames: &[(LinkType, Vec<u8>)]) -> Result<()> {
    let interfaces = LINK_TYPES
        .map(|number| InterfaceDescription::new(&format!("link{number}"), LinkType(number)));
    let mut writer = CaptureWriter::create(path, &interfaces)?;
    for (index, (link_type, bytes)) in frames.iter().enumerate() {
        let interface = LINK_TYPES.iter().position(|number| *number == link_type.0);
        let interface = u16::try_from(interface.expect("every link type has an interface"))?;
        let time = 1_700_000_000_000_000_001 + index as u64 * 1_001;
        let len = u32::try_from(bytes.len())?;
        writer.write_frame(&Frame {
            interface,
            timestamp_ns: time,
            wire_len: len,
            direction: Direction::Ingress,
            dropped: 0,
            data: bytes,
        })?;
    }
    Ok(writer.finish(&[])?)
}

/// xorshift64: the same frames in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

const LINK_TYPES: [u32; 11] = [1, 0, 9, 50, 101, 104, 108, 113, 228, 229, 276];

/// Every link header with every network header that it can carry.
fn frames() -> Vec<(LinkType, Vec<u8>)> {
    let mut frames = Vec::new();
    for (ether_type, packet) in packets() {
        let prefixes = [
            (1, ethernet(ether_type)),
            (1, tagged(&[0x8100], ether_type)),
            (1, tagged(&[0x88a8, 0x8100], ether_type)),
            (1, tagged(&[0x9100, 0x8100, 0x8100], ether_type)),
            (9, ppp(&[0xff, 0x03], ether_type)),
            (9, ppp(&[], ether_type)),
            (50, ppp(&[0xff, 0x03], ether_type)),
            (104, [&[0x0f, 0], &ether_type.to_be_bytes()[..]].concat()),
            (113, cooked(ether_type)),
            (276, cooked_2(ether_type)),
        ];
        for (link_type, prefix) in prefixes {
            frames.push((LinkType(link_type), [prefix, packet.clone()].concat()));
        }
        if let Some((number, family)) = raw(ether_type) {
            frames.push((LinkType(101), packet.clone()));
            frames.push((LinkType(number), packet.clone()));
            for (link_type, prefix) in [
                (0, family.to_le_bytes()),
                (0, family.to_be_bytes()),
                (108, family.to_be_bytes()),
            ] {
                frames.push((LinkType(link_type), [&prefix[..], &packet].concat()));
            }
        }
    }
    let isl = [[0x01, 0, 0x0c, 0, 0, 0], [2, 0, 0, 0, 0, 1]].concat();
    frames.push((LinkType(1), [isl, vec![0, 40], vec![0xaa; 40]].concat()));
    frames
}

/// Link type without a header, and address family.
fn raw(ether_type: u16) -> Option<(u32, u32)> {
    match ether_type {
        0x0800 => Some((228, 2)),
        0x86dd => Some((229, 30)),
        _ => None,
    }
}

fn ethernet(ether_type: u16) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    bytes.extend(ether_type.to_be_bytes());
    bytes
}

fn tagged(tags: &[u16], ether_type: u16) -> Vec<u8> {
    let mut bytes = ethernet(0);
    bytes.truncate(12);
    for (id, tag) in (100_u16..).zip(tags) {
        bytes.extend(tag.to_be_bytes());
        bytes.extend((0xe000 | id).to_be_bytes());
    }
    bytes.extend(ether_type.to_be_bytes());
    bytes
}

fn ppp(prefix: &[u8], ether_type: u16) -> Vec<u8> {
    let protocol: u16 = match ether_type {
        0x0800 => 0x0021,
        0x86dd => 0x0057,
        _ => 0xc021,
    };
    [prefix, &protocol.to_be_bytes()].concat()
}

fn cooked(ether_type: u16) -> Vec<u8> {
    let mut bytes = vec![0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    bytes.extend(ether_type.to_be_bytes());
    bytes
}

fn cooked_2(ether_type: u16) -> Vec<u8> {
    let [high, low] = ether_type.to_be_bytes();
    let mut bytes = vec![high, low, 0, 0, 0, 0, 0, 2, 0, 1, 4, 6];
    bytes.extend([2, 0, 0, 0, 0, 1, 0, 0]);
    bytes
}

/// Network headers and what follows them, with their `EtherType`.
fn packets() -> Vec<(u16, Vec<u8>)> {
    let mut packets = vec![
        (0x0806, arp()),
        (0x8035, arp()),
        (0x0026, vec![0x42, 0x42, 3, 0, 0, 0, 0, 0]),
        (0x05f0, vec![0; 40]),
        (0x0000, vec![0; 40]),
        (0x88cc, vec![2, 7, 4, 0, 0, 0, 0, 0, 1]),
        (
            0x8847,
            [&[0, 0, 0x11, 64], &ipv4(17, &udp(1, 2))[..]].concat(),
        ),
        (
            0x8864,
            [&[0x11, 0, 0, 1, 0, 40, 0, 0x21], &ipv4(17, &udp(1, 2))[..]].concat(),
        ),
    ];
    for (proto, payload) in transports() {
        packets.push((0x0800, ipv4(proto, &payload)));
        packets.push((0x0800, ipv4_with_options(proto, &payload)));
        packets.push((0x0800, with(ipv4(proto, &payload), 6, 0x20)));
        packets.push((0x0800, with(ipv4(proto, &payload), 7, 9)));
        packets.push((0x0800, with(with(ipv4(proto, &payload), 2, 0), 3, 0)));
        packets.push((0x0800, [ipv4(proto, &payload), vec![0xaa; 9]].concat()));
        packets.push((0x86dd, ipv6(proto, &payload)));
        packets.push((0x86dd, with(with(ipv6(proto, &payload), 4, 0), 5, 0)));
        packets.push((0x86dd, [ipv6(proto, &payload), vec![0xaa; 9]].concat()));
        packets.push((0x86dd, chain(&[0, 60, 43, 60], proto, &payload)));
        packets.push((0x86dd, chain(&[44], proto, &payload)));
        packets.push((0x86dd, with(chain(&[0, 44], proto, &payload), 51, 1)));
        packets.push((0x86dd, with(chain(&[44], proto, &payload), 43, 8)));
        packets.push((0x86dd, chain(&[60; 9], proto, &payload)));
    }
    packets
}

fn with(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    bytes[at] = value;
    bytes
}

fn transports() -> Vec<(u8, Vec<u8>)> {
    vec![
        (6, tcp(40_000, 443)),
        (6, tcp(53, 40_000)),
        (17, udp(40_000, 4_433)),
        (17, udp(40_000, 53)),
        (
            132,
            [&[0x0b, 0x59, 0x0b, 0x5a], &[0; 8][..], &[1, 0, 0, 4]].concat(),
        ),
        (
            1,
            [&[3, 3, 0, 0, 0, 0, 0, 0], &ipv4(17, &udp(7, 53))[..]].concat(),
        ),
        (58, vec![135, 0, 0, 0, 0, 0, 0, 0]),
        (2, vec![0x16, 0, 0, 0, 224, 0, 0, 251]),
        (47, [&[0, 0, 8, 0], &ipv4(17, &udp(7, 53))[..]].concat()),
        (50, vec![1; 24]),
        (51, [&[17, 4], &[0; 22][..], &udp(7, 53)].concat()),
        (4, ipv4(17, &udp(7, 53))),
        (41, ipv6(17, &udp(7, 53))),
        (89, vec![2, 1, 0, 44, 1, 1, 1, 1]),
        (135, vec![59, 0, 0, 0, 0, 0, 0, 0]),
        (59, vec![]),
    ]
}

fn arp() -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4, 0, 1];
    bytes.extend([2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    bytes
}

fn ipv4_with_options(proto: u8, payload: &[u8]) -> Vec<u8> {
    let plain = ipv4(proto, payload);
    let (header, payload) = plain.split_at(20);
    let mut bytes = [header, &[0x94, 4, 0, 0, 1, 1, 1, 0], payload].concat();
    bytes[0] = 0x47;
    bytes[3] += 8;
    bytes
}

fn tcp(src: u16, dst: u16) -> Vec<u8> {
    let mut bytes = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    bytes.extend([
        0, 0, 0, 1, 0, 0, 0, 2, 0x60, 0x18, 1, 0, 0, 0, 0, 0, 2, 4, 5, 0xb4,
    ]);
    bytes
}

fn udp(src: u16, dst: u16) -> Vec<u8> {
    let mut bytes = [src.to_be_bytes(), dst.to_be_bytes()].concat();
    bytes.extend([0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    bytes
}
