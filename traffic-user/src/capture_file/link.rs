//! Link types of capture files: which are known, and where the network header begins in each.
//!
//! Numbers and layouts are those of the LINKTYPE registry, <https://www.tcpdump.org/linktypes.html>.

use std::fmt;

use pcap_file::DataLink;
use traffic_ebpf::{
    parse::{Link, ParseError, parse},
    protocol::{ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, ETHER_TYPE_MIN},
    record::{FLAG_EGRESS, FLAG_IPV4, FLAG_IPV6, FLAG_MAC, Headers},
};

/// Number of a link type in capture files, from the LINKTYPE registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u32);

/// How a link header is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Ethernet,
    Ip,
    Ipv4,
    Ipv6,
    /// Address family in the byte order of the machine that captured.
    Null,
    /// Address family in network byte order.
    Loop,
    /// PPP or Cisco HDLC; the first byte tells.
    Ppp,
    CiscoHdlc,
    LinuxCooked,
    LinuxCooked2,
}

/// Number, libpcap's name of it, layout.
const TABLE: [(u32, &str, Layout); 13] = [
    (1, "EN10MB", Layout::Ethernet),
    (0, "NULL", Layout::Null),
    (9, "PPP", Layout::Ppp),
    // DLT_RAW of OpenBSD and of everybody else, which older programs wrote unmapped.
    (12, "RAW", Layout::Ip),
    (14, "RAW", Layout::Ip),
    (50, "PPP_SERIAL", Layout::Ppp),
    (101, "RAW", Layout::Ip),
    (104, "C_HDLC", Layout::CiscoHdlc),
    (108, "LOOP", Layout::Loop),
    (113, "LINUX_SLL", Layout::LinuxCooked),
    (228, "IPV4", Layout::Ipv4),
    (229, "IPV6", Layout::Ipv6),
    (276, "LINUX_SLL2", Layout::LinuxCooked2),
];

impl LinkType {
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// Frames begin with an IPv4 or IPv6 header.
    pub const RAW: Self = Self(101);

    /// Every type that can be read, Ethernet first.
    pub fn readable() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|&(number, ..)| Self(number))
    }

    /// Whether frames of this type can be read.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.row().is_some()
    }

    /// What `data`, a frame of this type, begins with; `None` where the link header does not fit,
    /// and for types that are not supported.
    #[must_use]
    pub fn link(self, data: &[u8]) -> Option<Link> {
        locate(self.layout()?, data).map(|located| located.link)
    }

    pub(super) fn layout(self) -> Option<Layout> {
        self.row().map(|&(_, _, layout)| layout)
    }

    fn row(self) -> Option<&'static (u32, &'static str, Layout)> {
        TABLE.iter().find(|(number, ..)| *number == self.0)
    }
}

impl fmt::Display for LinkType {
    /// libpcap's name: `EN10MB`, `RAW`, …; for types that cannot be read, the registry's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, name, _)) = self.row() {
            return f.write_str(name);
        }
        let known = DataLink::from(self.0);
        if matches!(known, DataLink::Unknown(_)) {
            return write!(f, "LINKTYPE_{}", self.0);
        }
        write!(f, "{known:?}")
    }
}

/// What a link header said: where to go on, and what only it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Located {
    link: Link,
    /// Sender's Ethernet address, where the header has one that [`parse`] does not see.
    src_mac: Option<[u8; 6]>,
    egress: bool,
}

/// Parses `data`, which begins with a link header of the given layout.
#[inline]
pub(super) fn parse_frame(layout: Layout, data: &[u8]) -> Headers {
    if layout == Layout::Ethernet {
        return parse(data, Link::Ethernet(None)).headers;
    }
    let Some(located) = locate(layout, data) else {
        return Headers {
            status: ParseError::TruncatedLink as u8,
            ..Headers::EMPTY
        };
    };
    let mut headers = parse(data, located.link).headers;
    if located.egress {
        headers.flags |= FLAG_EGRESS;
    }
    if let Some(mac) = located.src_mac
        && headers.flags & (FLAG_IPV4 | FLAG_IPV6) == 0
    {
        headers.src_addr[..6].copy_from_slice(&mac);
        headers.flags |= FLAG_MAC;
    }
    headers
}

/// Where the network header begins; `None` where the link header does not fit the frame.
fn locate(layout: Layout, data: &[u8]) -> Option<Located> {
    let link = match layout {
        Layout::Ethernet => Link::Ethernet(None),
        Layout::Ip => Link::Ip,
        Layout::Ipv4 => network(ETHER_TYPE_IPV4, 0),
        Layout::Ipv6 => network(ETHER_TYPE_IPV6, 0),
        Layout::Null => {
            let family = u32::from_le_bytes(*data.first_chunk()?);
            // Families are small numbers, so the wrong byte order shows.
            let swapped = family > 0xffff;
            let family = if swapped { family.swap_bytes() } else { family };
            let ether_type = match u16::try_from(family) {
                // Some write an `EtherType` here.
                Ok(number) if number >= ETHER_TYPE_MIN => number,
                _ => family_ether_type(family),
            };
            network(ether_type, 4)
        }
        Layout::Loop => network(
            family_ether_type(u32::from_be_bytes(*data.first_chunk()?)),
            4,
        ),
        Layout::Ppp => match data.first()? {
            0x0f | 0x8f => network(be16(data, 2)?, 4),
            _ => ppp(data)?,
        },
        Layout::CiscoHdlc => network(be16(data, 2)?, 4),
        Layout::LinuxCooked => return linux_cooked(data),
        Layout::LinuxCooked2 => return linux_cooked_2(data),
    };
    Some(Located {
        link,
        src_mac: None,
        egress: false,
    })
}

const fn network(ether_type: u16, offset: u32) -> Link {
    Link::Network { ether_type, offset }
}

fn be16(data: &[u8], offset: usize) -> Option<u16> {
    let bytes = data.get(offset..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

/// `EtherType` of what a BSD address family carries; 0 where there is none.
fn family_ether_type(family: u32) -> u16 {
    match family {
        2 => ETHER_TYPE_IPV4,
        // NetBSD and OpenBSD, FreeBSD, macOS.
        24 | 28 | 30 => ETHER_TYPE_IPV6,
        16 => 0x809b, // AppleTalk
        23 => 0x8137, // IPX
        _ => 0,
    }
}

/// PPP (RFC 1661), with or without the address and control bytes of RFC 1662, and with the
/// protocol field in one byte or two. What has no `EtherType` of its own is filed under PPP's.
fn ppp(data: &[u8]) -> Option<Link> {
    const ETHER_TYPE_PPP: u16 = 0x880b;
    // No protocol begins with 0xff.
    let start = if data.starts_with(&[0xff]) { 2 } else { 0 };
    let first = *data.get(start)?;
    let (protocol, offset) = if first & 1 == 1 {
        (u16::from(first), start + 1)
    } else {
        (be16(data, start)?, start + 2)
    };
    let ether_type = match protocol {
        0x0021 => ETHER_TYPE_IPV4,
        0x0057 => ETHER_TYPE_IPV6,
        0x0281 => 0x8847, // MPLS unicast
        0x0283 => 0x8848, // MPLS multicast
        _ => ETHER_TYPE_PPP,
    };
    Some(network(ether_type, u32::try_from(offset).ok()?))
}

/// `LINKTYPE_LINUX_SLL`: packet type, device type, address length, address (8), protocol.
fn linux_cooked(data: &[u8]) -> Option<Located> {
    let header: &[u8; 16] = data.first_chunk()?;
    let [_, kind, d0, d1, l0, l1, address @ .., p0, p1] = *header;
    let protocol = u16::from_be_bytes([p0, p1]);
    Some(Located {
        link: network(
            cooked_ether_type(u16::from_be_bytes([d0, d1]), protocol),
            16,
        ),
        src_mac: cooked_mac(u16::from_be_bytes([l0, l1]), address),
        egress: kind == PACKET_OUTGOING,
    })
}

/// `LINKTYPE_LINUX_SLL2`: protocol, reserved (2), interface index (4), device type, packet type,
/// address length, address (8).
fn linux_cooked_2(data: &[u8]) -> Option<Located> {
    let header: &[u8; 20] = data.first_chunk()?;
    let [p0, p1, _, _, _, _, _, _, d0, d1, kind, len, address @ ..] = *header;
    let protocol = u16::from_be_bytes([p0, p1]);
    Some(Located {
        link: network(
            cooked_ether_type(u16::from_be_bytes([d0, d1]), protocol),
            20,
        ),
        src_mac: cooked_mac(u16::from(len), address),
        egress: kind == PACKET_OUTGOING,
    })
}

/// `PACKET_OUTGOING` of packet(7).
const PACKET_OUTGOING: u8 = 4;

/// The protocol field holds a netlink family for netlink's device type, and else an `EtherType`
/// or one of Linux's own numbers below 0x0600 (`ETH_P_…`).
fn cooked_ether_type(device_type: u16, protocol: u16) -> u16 {
    const ARPHRD_NETLINK: u16 = 824;
    if device_type == ARPHRD_NETLINK {
        0
    } else {
        protocol
    }
}

fn cooked_mac(len: u16, [a, b, c, d, e, f, ..]: [u8; 8]) -> Option<[u8; 6]> {
    (len == 6).then_some([a, b, c, d, e, f])
}
