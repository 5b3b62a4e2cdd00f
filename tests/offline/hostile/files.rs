//! Capture files that ask for more time or memory than they deserve, made here.

use crate::blocks::{Order, block, interface, option, packet, pcap, record, section, whole};

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is read to its end.
    Read,
    /// It is read up to its fault, which is named with this.
    Fault(&'static str),
}

/// A file, how it is made, and what becomes of it.
pub(crate) type Hostile = (&'static str, fn() -> Vec<u8>, End);

const LITTLE: Order = Order::Little;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MILLION: u32 = 1_000_000;

/// All of them.
pub(crate) const FILES: &[Hostile] = &[
    (
        "a_packet_of_4_gb.pcap",
        four_gigabytes,
        End::Fault("a packet claims 4294967295 bytes"),
    ),
    (
        "a_packet_of_4_gb.pcapng",
        four_gigabytes_in_a_block,
        End::Fault("a packet claims 4294967292 bytes"),
    ),
    (
        "a_block_of_4_gb.pcapng",
        block_of_four_gigabytes,
        End::Fault("malformed block"),
    ),
    (
        "a_block_without_length.pcapng",
        block_without_length,
        End::Fault("malformed block"),
    ),
    (
        "blocks_of_no_content.pcapng",
        blocks_of_no_content,
        End::Read,
    ),
    (
        "lengths_that_disagree.pcapng",
        lengths_that_disagree,
        End::Fault("malformed block"),
    ),
    (
        "two_million_interfaces.pcapng",
        two_million_interfaces,
        End::Fault("more than 65535 interfaces"),
    ),
    (
        "interfaces_with_long_names.pcapng",
        interfaces_with_long_names,
        End::Read,
    ),
    (
        "options_of_full_length.pcapng",
        options_of_full_length,
        End::Read,
    ),
    (
        "thousands_of_sections.pcapng",
        thousands_of_sections,
        End::Read,
    ),
    (
        "sections_in_both_byte_orders.pcapng",
        sections_in_both_byte_orders,
        End::Read,
    ),
    (
        "clocks_of_every_resolution.pcapng",
        clocks_of_every_resolution,
        End::Read,
    ),
    ("from_1970_to_2554.pcapng", from_1970_to_2554, End::Read),
    (
        "a_huge_snapshot_length.pcap",
        huge_snapshot_length,
        End::Read,
    ),
    (
        "a_million_empty_packets.pcap",
        million_empty_packets,
        End::Read,
    ),
    ("vlan_tags_to_the_end.pcap", vlan_tags_to_the_end, End::Read),
    (
        "ipv6_extensions_to_the_end.pcap",
        ipv6_extensions_to_the_end,
        End::Read,
    ),
    ("ip_in_ip_to_the_end.pcap", ip_in_ip_to_the_end, End::Read),
    (
        "dns_names_that_point_at_themselves.pcap",
        dns_names_in_circles,
        End::Read,
    ),
    ("a_million_hosts.pcap", million_hosts, End::Read),
    ("a_million_names.pcap", million_names, End::Read),
    ("a_million_neighbours.pcap", million_neighbours, End::Read),
    ("a_million_fragments.pcap", million_fragments, End::Read),
    ("a_zstd_bomb.pcapng.zst", zstd_bomb, End::Read),
    (
        "a_zstd_window_of_2_gb.pcap.zst",
        zstd_window,
        End::Fault("memory"),
    ),
];

fn four_gigabytes() -> Vec<u8> {
    [pcap(u32::MAX, 1), record(0, u32::MAX, u32::MAX, &[0; 64])].concat()
}

fn four_gigabytes_in_a_block() -> Vec<u8> {
    let mut body: Vec<u8> = [0, 0, 0, u32::MAX - 3, u32::MAX]
        .iter()
        .flat_map(|word| LITTLE.u32(*word))
        .collect();
    body.extend([0; 64]);
    [
        section(LITTLE),
        interface(LITTLE, &[]),
        block(LITTLE, 6, &body),
    ]
    .concat()
}

fn block_of_four_gigabytes() -> Vec<u8> {
    let claims = [LITTLE.u32(6), LITTLE.u32(u32::MAX - 3)].concat();
    [section(LITTLE), claims, vec![0; 64]].concat()
}

fn block_without_length() -> Vec<u8> {
    let none = [LITTLE.u32(6), LITTLE.u32(0)].concat();
    [section(LITTLE), none.repeat(1000)].concat()
}

fn blocks_of_no_content() -> Vec<u8> {
    [
        section(LITTLE),
        block(LITTLE, 0x4000_0000, &[]).repeat(1 << 20),
    ]
    .concat()
}

fn lengths_that_disagree() -> Vec<u8> {
    let mut wrong = packet(LITTLE, 0, 0, &[0; 64]);
    let end = wrong.len() - 4;
    wrong[end..].copy_from_slice(&LITTLE.u32(64));
    [section(LITTLE), interface(LITTLE, &[]), wrong].concat()
}

fn two_million_interfaces() -> Vec<u8> {
    [
        section(LITTLE),
        interface(LITTLE, &[]).repeat(2 * MILLION as usize),
    ]
    .concat()
}

/// As many as are taken, with a packet of the last.
fn interfaces_with_long_names() -> Vec<u8> {
    let name = option(LITTLE, 2, &[b'x'; 1000]);
    let interfaces = interface(LITTLE, &name).repeat(1 << 16);
    [
        section(LITTLE),
        interfaces,
        packet(LITTLE, 65_535, 0, &udp4(1)),
    ]
    .concat()
}

fn options_of_full_length() -> Vec<u8> {
    let options = option(LITTLE, 1, &vec![0xff; 65_535]).repeat(200);
    let described = [option(LITTLE, 2, &vec![0xff; 65_535]), options.clone()].concat();
    let mut body = [0, 0, 0, 0, 0].map(|word| LITTLE.u32(word)).concat();
    body.extend(options);
    let with_options = block(LITTLE, 6, &body);
    [section(LITTLE), interface(LITTLE, &described), with_options].concat()
}

fn thousands_of_sections() -> Vec<u8> {
    let one = [
        section(LITTLE),
        interface(LITTLE, &[]),
        packet(LITTLE, 0, 7, &udp4(1)),
    ];
    one.concat().repeat(50_000)
}

fn sections_in_both_byte_orders() -> Vec<u8> {
    let one = |order| {
        [
            section(order),
            interface(order, &[]),
            packet(order, 0, 7, &udp4(1)),
        ]
        .concat()
    };
    [one(Order::Big), one(LITTLE)].concat().repeat(10_000)
}

/// Every value of `if_tsresol`, with the farthest offsets, each with the earliest and last time.
fn clocks_of_every_resolution() -> Vec<u8> {
    let mut file = section(LITTLE);
    let offsets = [0, 1, i64::MAX, i64::MIN];
    for resolution in 0..=u8::MAX {
        for offset in offsets {
            let clock = [
                option(LITTLE, 9, &[resolution]),
                option(LITTLE, 14, &offset.to_le_bytes()),
            ];
            file.extend(interface(LITTLE, &clock.concat()));
        }
    }
    for number in 0..256 * 4 {
        for units in [0, 1, u64::MAX] {
            file.extend(packet(LITTLE, number, units, &udp4(number)));
        }
    }
    file
}

/// The last nanosecond that fits 64 bits, and the first.
fn from_1970_to_2554() -> Vec<u8> {
    let nanoseconds = option(LITTLE, 9, &[9]);
    let mut file = [section(LITTLE), interface(LITTLE, &nanoseconds)].concat();
    for _ in 0..50_000 {
        file.extend(packet(LITTLE, 0, u64::MAX, &udp4(1)));
        file.extend(packet(LITTLE, 0, 0, &udp4(1)));
    }
    file
}

fn huge_snapshot_length() -> Vec<u8> {
    let frame = udp4(1);
    let mut file = pcap(u32::MAX, 1);
    for seconds in [0, u32::MAX] {
        file.extend(whole(seconds, &frame));
        file.extend(record(seconds, 42, u32::MAX, &frame[..42]));
    }
    file
}

fn million_empty_packets() -> Vec<u8> {
    [pcap(0, 1), record(0, 0, 0, &[]).repeat(MILLION as usize)].concat()
}

fn vlan_tags_to_the_end() -> Vec<u8> {
    let tags = [[0x81, 0, 0, 1], [0x88, 0xa8, 0, 2], [0x91, 0, 0, 3]].concat();
    let frame = [vec![2; 12], tags.repeat(20_000)].concat();
    [pcap(262_144, 1), whole(1, &frame).repeat(40)].concat()
}

/// Hop-by-hop options, routing, fragment and destination headers, one after the other, up to the
/// longest frame.
fn ipv6_extensions_to_the_end() -> Vec<u8> {
    let chain: Vec<u8> = [43, 44, 60, 0]
        .iter()
        .flat_map(|next| [*next, 0, 0, 0, 0, 0, 0, 0])
        .collect();
    let ip = [
        vec![0x60, 0, 0, 0, 0xff, 0xff, 0, 64],
        vec![1; 32],
        chain.repeat(8000),
    ]
    .concat();
    [pcap(262_144, 1), whole(1, &ethernet(IPV6, &ip)).repeat(40)].concat()
}

fn ip_in_ip_to_the_end() -> Vec<u8> {
    let mut header = vec![0x45, 0, 0xff, 0xff, 0, 0, 0, 0, 64, 4, 0, 0];
    header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    [
        pcap(262_144, 1),
        whole(1, &ethernet(IPV4, &header.repeat(12_000))).repeat(40),
    ]
    .concat()
}

/// Compressed names that lead back to where they begin, and as many as fit a message.
fn dns_names_in_circles() -> Vec<u8> {
    let mut message = vec![0, 1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    message.extend([0xc0, 0x0c].repeat(600));
    let mut chain = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for place in (14..1200_u16).step_by(2) {
        chain.extend((0xc000 | place).to_be_bytes());
    }
    let frames = [message, chain].map(|message| whole(1, &udp(53, [10, 0, 0, 1], &message)));
    [pcap(262_144, 1), frames.concat().repeat(20_000)].concat()
}

fn million_hosts() -> Vec<u8> {
    million(udp4)
}

fn million_names() -> Vec<u8> {
    million(|number| {
        let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8];
        query.extend(format!("{number:08x}").bytes());
        query.extend([0, 0, 1, 0, 1]);
        udp(53, number.to_be_bytes(), &query)
    })
}

/// ARP answers, each from another address of another station.
fn million_neighbours() -> Vec<u8> {
    million(|number| {
        let [a, b, c, d] = number.to_be_bytes();
        let arp = [
            0, 1, 8, 0, 6, 4, 0, 2, 2, 0, a, b, c, d, 10, b, c, d, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1,
        ];
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, a, b, c, d, 8, 6]);
        frame.extend(arp);
        frame
    })
}

/// First fragments of datagrams of which nothing more comes.
fn million_fragments() -> Vec<u8> {
    million(|number| {
        let mut frame = udp4(number);
        let [_, b, c, d] = number.to_be_bytes();
        frame[18..22].copy_from_slice(&[c, d, 0x20, b]);
        frame
    })
}

fn million(frame: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let mut file = pcap(262_144, 1);
    for number in 0..MILLION {
        file.extend(whole(number >> 10, &frame(number)));
    }
    file
}

/// 512 MiB of blocks that nobody knows, in some kilobytes.
fn zstd_bomb() -> Vec<u8> {
    let unknown = block(LITTLE, 0x4000_0000, &vec![0; 8 << 20]);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("level 1 exists");
    let mut write = |bytes: &[u8]| {
        std::io::Write::write_all(&mut encoder, bytes).expect("a vector takes everything");
    };
    write(&section(LITTLE));
    for _ in 0..64 {
        write(&unknown);
    }
    encoder.finish().expect("a vector takes everything")
}

/// A frame header that asks for a window of 2 GiB (RFC 8878, 3.1.1.1.2), and a block.
fn zstd_window() -> Vec<u8> {
    let exponent = 31 - 10;
    vec![
        0x28,
        0xb5,
        0x2f,
        0xfd,
        0x00,
        exponent << 3,
        0x09,
        0,
        0,
        0xd4,
    ]
}

/// UDP from a host of its own to a port of its own.
fn udp4(number: u32) -> Vec<u8> {
    let port = u16::try_from(number % 65_535 + 1).expect("bounded");
    udp(port, number.to_be_bytes(), &[0; 4])
}

fn udp(port: u16, source: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let bytes = |length: usize| {
        u16::try_from(length)
            .expect("datagrams here are small")
            .to_be_bytes()
    };
    let mut ip = vec![0x45, 0];
    ip.extend(bytes(28 + payload.len()));
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend(source);
    ip.extend([192, 0, 2, 1]);
    ip.extend(
        [
            4999_u16.to_be_bytes(),
            port.to_be_bytes(),
            bytes(8 + payload.len()),
            [0; 2],
        ]
        .concat(),
    );
    ip.extend(payload);
    ethernet(IPV4, &ip)
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}
