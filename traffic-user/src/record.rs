//! One packet as every stage after the source sees it, from the kernel or from a file.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use traffic_ebpf::record::{
    FLAG_EGRESS, FLAG_IPV4, FLAG_IPV6, FLAG_MAC, FLAG_VLAN, FLAG_VLAN_INNER, Headers, Summary,
};

/// A header summary with its wall-clock time.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRecord(Summary);

/// Which way a packet went, seen from the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// It arrived.
    Ingress,
    /// It left.
    Egress,
}

/// A host as a packet names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
    /// Ethernet, for frames that are not IP.
    Mac([u8; 6]),
}

impl Direction {
    /// Name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl PacketRecord {
    /// `summary` with its `timestamp_ns` in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn new(summary: Summary) -> Self {
        Self(summary)
    }

    /// The same packet on the interface with this number.
    #[must_use]
    pub fn on_interface(mut self, number: u16) -> Self {
        self.0.interface = number;
        self
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp_ns(&self) -> u64 {
        self.0.timestamp_ns
    }

    /// Bytes from the link header, before any truncation.
    #[must_use]
    pub fn wire_len(&self) -> u32 {
        self.0.wire_len
    }

    /// Bytes from the IP header: what the header says, at most what was on the wire. Where it says
    /// nothing, as in super-frames of more than 64 KiB (and RFC 2675), everything behind an
    /// Ethernet header; 0 without an IP header.
    #[must_use]
    #[inline]
    pub fn ip_len(&self) -> u32 {
        let headers = self.headers();
        if !headers.has_ip_header() {
            return 0;
        }
        let tags = u32::from(headers.has(FLAG_VLAN)) + u32::from(headers.has(FLAG_VLAN_INNER));
        self.wire_len().saturating_sub(14 + 4 * tags)
    }

    /// Number of the interface in this run.
    #[must_use]
    pub fn interface(&self) -> u16 {
        self.0.interface
    }

    /// What the parser found.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.0.headers
    }

    /// Which way the packet went.
    #[must_use]
    pub fn direction(&self) -> Direction {
        if self.headers().has(FLAG_EGRESS) {
            Direction::Egress
        } else {
            Direction::Ingress
        }
    }

    /// Source address; `None` where no link or IP header named one.
    #[must_use]
    pub fn src(&self) -> Option<Address> {
        address(self.headers(), &self.headers().src_addr)
    }

    /// Destination address; `None` where no link or IP header named one.
    #[must_use]
    pub fn dst(&self) -> Option<Address> {
        address(self.headers(), &self.headers().dst_addr)
    }
}

fn address(headers: &Headers, bytes: &[u8; 16]) -> Option<Address> {
    let [a, b, c, d, e, f, ..] = *bytes;
    if headers.has(FLAG_IPV4) {
        Some(Address::V4([a, b, c, d]))
    } else if headers.has(FLAG_IPV6) {
        Some(Address::V6(*bytes))
    } else if headers.has(FLAG_MAC) && bytes[..6] != [0; 6] {
        // Zeros are nobody: loopback's, and the receiver of a Linux cooked capture.
        Some(Address::Mac([a, b, c, d, e, f]))
    } else {
        None
    }
}

/// Names of the bits in byte 13 of the TCP header (RFC 9293), as people say them: `SYN ACK`,
/// `PSH ACK`; `none` for 0.
#[must_use]
pub fn tcp_flag_names(flags: u8) -> String {
    const NAMES: [(u8, &str); 8] = [
        (0x02, "SYN"),
        (0x01, "FIN"),
        (0x04, "RST"),
        (0x08, "PSH"),
        (0x20, "URG"),
        (0x10, "ACK"),
        (0x40, "ECE"),
        (0x80, "CWR"),
    ];
    let set = NAMES.iter().filter(|(bit, _)| flags & bit != 0);
    let names: Vec<_> = set.map(|(_, name)| *name).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(" ")
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(bytes) => Ipv4Addr::from(*bytes).fmt(f),
            Self::V6(bytes) => Ipv6Addr::from(*bytes).fmt(f),
            Self::Mac([a, b, c, d, e, g]) => {
                write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
        }
    }
}
