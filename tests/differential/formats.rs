//! Capture files in every form that their formats allow, byte by byte.

#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Writes one file per form into `directory`.
pub(crate) fn write(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (name, bytes) in forms() {
        let path = directory.join(name);
        fs::write(&path, bytes)?;
        files.push(path);
    }
    Ok(files)
}

/// Byte order of a file.
#[derive(Clone, Copy)]
struct Order {
    big: bool,
}

const ORDERS: [Order; 2] = [Order { big: false }, Order { big: true }];

impl Order {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u64(self, value: u64) -> [u8; 8] {
        if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn name(self) -> &'static str {
        if self.big { "big" } else { "little" }
    }
}

fn forms() -> Vec<(String, Vec<u8>)> {
    let mut forms = Vec::new();
    for order in ORDERS {
        for (magic, fraction) in [(0xa1b2_c3d4, 999_999), (0xa1b2_3c4d, 999_999_999)] {
            for minor in [2, 3, 4] {
                let name = format!("{}-{magic:x}-2.{minor}.pcap", order.name());
                forms.push((name, classic(order, magic, minor, fraction)));
            }
        }
        for resolution in [0, 3, 6, 9, 12, 0x80, 0x8a, 0x94, 0x9d] {
            let name = format!("{}-{resolution:#04x}.pcapng", order.name());
            forms.push((name, one_section(order, resolution)));
        }
    }
    let [little, big] = ORDERS;
    let sections = [
        one_section(little, 9),
        one_section(big, 6),
        one_section(little, 3),
    ];
    forms.push(("sections.pcapng".to_owned(), sections.concat()));
    forms
}

fn classic(order: Order, magic: u32, minor: u16, fraction: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(order.u32(magic));
    bytes.extend(order.u16(2));
    bytes.extend(order.u16(minor));
    // Time zone, accuracy, snapshot length, link type with an FCS length above it.
    for word in [0, 0, 65_535, 0x5400_0001] {
        bytes.extend(order.u32(word));
    }
    for (number, frame) in (0..).zip(frames()) {
        let wire_len = 1_000 + number;
        let captured = frame.len() as u32;
        let lengths = match minor {
            2 => [wire_len, captured],
            3 if number == 1 => [wire_len, captured],
            _ => [captured, wire_len],
        };
        for word in [1_700_000_000 + number, fraction, lengths[0], lengths[1]] {
            bytes.extend(order.u32(word));
        }
        bytes.extend(frame);
    }
    bytes
}

fn frames() -> [Vec<u8>; 3] {
    let mut arp = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6];
    arp.extend([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
    arp.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    let udp = [
        &arp[..12],
        &[8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0],
        &[1; 16][..],
    ]
    .concat();
    [arp[..20].to_vec(), arp, udp]
}

/// A section with two interfaces, one packet of each kind of block, and blocks to pass over.
fn one_section(order: Order, resolution: u8) -> Vec<u8> {
    let section = [
        &order.u32(0x1a2b_3c4d)[..],
        &order.u16(1),
        &order.u16(0),
        &order.u64(u64::MAX),
        &option(order, 4, b"a program"),
        &[0; 4],
    ]
    .concat();
    let [cut, arp, udp] = frames();
    // The second interface counts from 2020 on, in units of its resolution.
    let offset = option(order, 14, &order.u64(1_577_836_800));
    let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
    let second = base.pow(u32::from(resolution & 0x7f));
    // tshark multiplies the fraction by 10^9 in 64 bits.
    let units = 100_000 * second + (second / 3).min(9_876_543_210);
    let plain = interface(order, &[]);
    let shifted = interface(order, &[option(order, 9, &[resolution]), offset].concat());
    let outbound = [
        option(order, 2, &order.u32(2)),
        option(order, 1, &[0xff, 0xfe]),
    ]
    .concat();
    [
        block(order, 0x0a0d_0d0a, &section),
        block(order, 1, &plain),
        block(order, 1, &shifted),
        block(
            order,
            6,
            &packet(order, &order.u32(0), 1_700_000_000_123_456, &cut, &outbound),
        ),
        block(order, 6, &packet(order, &order.u32(1), units, &arp, &[])),
        block(order, 0x4242, &[1, 2, 3, 4]),
        block(
            order,
            2,
            &packet(
                order,
                &[order.u16(1), order.u16(7)].concat(),
                second + 9,
                &udp,
                &[],
            ),
        ),
        block(order, 5, &[&order.u32(0)[..], &[0; 8]].concat()),
    ]
    .concat()
}

fn interface(order: Order, options: &[u8]) -> Vec<u8> {
    [&order.u16(1)[..], &[0, 0], &order.u32(0), options, &[0; 4]].concat()
}

fn packet(order: Order, interface: &[u8], units: u64, data: &[u8], options: &[u8]) -> Vec<u8> {
    let mut bytes = interface.to_vec();
    bytes.extend(order.u32((units >> 32) as u32));
    bytes.extend(order.u32(units as u32));
    bytes.extend(order.u32(data.len() as u32));
    bytes.extend(order.u32(data.len() as u32 + 4));
    bytes.extend(padded(data));
    bytes.extend(options);
    if !options.is_empty() {
        bytes.extend([0; 4]);
    }
    bytes
}

fn option(order: Order, code: u16, value: &[u8]) -> Vec<u8> {
    let len = value.len() as u16;
    [&order.u16(code)[..], &order.u16(len), &padded(value)].concat()
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let len = order.u32(body.len() as u32 + 12);
    [&order.u32(kind)[..], &len, body, &len].concat()
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
