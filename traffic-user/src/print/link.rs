//! Link headers, and what follows them.

use traffic_ebpf::parse::Link;

use super::{Context, Packet, arp, be16, bytes, ip, put};
use crate::{capture_file::LinkType, record::Address};

/// `EtherType`s by name, as tcpdump has them.
const NAMES: [(u16, &str); 14] = [
    (IPV4, "IPv4"),
    (ARP, "ARP"),
    (0x8035, "Reverse ARP"),
    (VLAN, "802.1Q"),
    (IPV6, "IPv6"),
    (0x8847, "MPLS unicast"),
    (0x8848, "MPLS multicast"),
    (0x8863, "PPPoE D"),
    (0x8864, "PPPoE S"),
    (0x888e, "EAPOL"),
    (QINQ, "802.1Q-QinQ"),
    (0x88cc, "LLDP"),
    (0x9000, "Loopback"),
    (QINQ_OLD, "802.1Q-9100"),
];
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const VLAN: u16 = 0x8100;
const IPV6: u16 = 0x86dd;
const QINQ: u16 = 0x88a8;
const QINQ_OLD: u16 = 0x9100;
/// Smaller values are lengths of 802.3 frames.
const FIRST_ETHER_TYPE: u16 = 0x0600;
/// Tags that are followed; more do not occur.
const MAX_TAGS: usize = 8;

/// Puts everything from the link header on, and says where the network header begins.
pub(super) fn put(packet: &Packet<'_>, context: &mut Context<'_>, out: &mut String) -> usize {
    let data = packet.data;
    match packet.link_type.link(data) {
        Some(Link::Ethernet(_)) => ethernet(packet, context, out).unwrap_or_else(|| {
            out.push_str(" [|ether]");
            0
        }),
        Some(Link::Ip) => {
            let version = data.first().map(|first| first >> 4);
            let ether_type = if version == Some(6) { IPV6 } else { IPV4 };
            network(ether_type, data, packet.wire_len, context, out);
            0
        }
        Some(Link::Network { ether_type, offset }) => {
            let offset_bytes = offset as usize;
            if context.link_shown {
                let name = name(ether_type);
                let wire_len = packet.wire_len;
                put!(
                    out,
                    "ethertype {name} (0x{ether_type:04x}), length {wire_len}: "
                );
            }
            let data = data.get(offset_bytes..).unwrap_or_default();
            let wire_len = packet.wire_len.saturating_sub(offset);
            if !network(ether_type, data, wire_len, context, out) && !context.link_shown {
                put!(out, "ethertype {} (0x{ether_type:04x}), ", name(ether_type));
                put!(out, "length {}", packet.wire_len);
            }
            offset_bytes
        }
        None => {
            put!(
                out,
                "[|{}]",
                LinkType::to_string(&packet.link_type).to_lowercase()
            );
            0
        }
    }
}

/// `None` where the header was not captured.
fn ethernet(packet: &Packet<'_>, context: &mut Context<'_>, out: &mut String) -> Option<usize> {
    let data = packet.data;
    let destination = Address::Mac(bytes(data, 0)?);
    let source = Address::Mac(bytes(data, 6)?);
    let mut ether_type = be16(data, 12)?;
    let outer = ether_type;
    let mut tags = String::new();
    let mut offset = 14;
    for _ in 0..MAX_TAGS {
        if !matches!(ether_type, VLAN | QINQ | QINQ_OLD) {
            break;
        }
        let tci = be16(data, offset)?;
        ether_type = be16(data, offset + 2)?;
        offset += 4;
        put!(tags, "vlan {}, p {}, ", tci & 0xfff, tci >> 13);
        if ether_type >= FIRST_ETHER_TYPE {
            put!(
                tags,
                "ethertype {} (0x{ether_type:04x}), ",
                name(ether_type)
            );
        }
    }
    let wire_len = packet.wire_len;
    let header = |out: &mut String| {
        put!(out, "{source} > {destination}, ");
        if outer < FIRST_ETHER_TYPE {
            put!(out, "802.3, length {outer}");
        } else {
            put!(
                out,
                "ethertype {} (0x{outer:04x}), length {wire_len}",
                name(outer)
            );
        }
    };
    if context.link_shown {
        header(out);
        put!(out, ": {tags}");
    }
    let payload = data.get(offset..).unwrap_or_default();
    let len = wire_len.saturating_sub(u32::try_from(offset).unwrap_or(u32::MAX));
    if !network(ether_type, payload, len, context, out) && !context.link_shown {
        header(out);
        if !tags.is_empty() {
            put!(out, ": {}", tags.trim_end_matches(", "));
        }
    }
    Some(offset)
}

/// Puts a network packet; `false` where its protocol is unknown here, and nothing was put.
fn network(
    ether_type: u16,
    data: &[u8],
    wire_len: u32,
    context: &mut Context<'_>,
    out: &mut String,
) -> bool {
    match ether_type {
        IPV4 => ip::v4(data, wire_len, context, out),
        IPV6 => ip::v6(data, wire_len, context, out),
        ARP => arp::put(data, wire_len, context, out),
        _ => return false,
    }
    true
}

fn name(ether_type: u16) -> &'static str {
    let known = NAMES.iter().find(|(number, _)| *number == ether_type);
    known.map_or("Unknown", |(_, name)| name)
}
