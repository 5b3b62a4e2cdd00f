//! What is compared: one packet's facts, whoever found them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use traffic_ebpf::{
    protocol::Protocol,
    record::{FLAG_FRAGMENT, FLAG_IPV4, FLAG_IPV6, Headers},
};
use traffic_user::capture_file::LinkType;

/// A packet of a capture file, as the file reader delivered it.
pub(crate) struct Frame {
    pub(crate) link_type: LinkType,
    pub(crate) timestamp_ns: u64,
    pub(crate) wire_len: u32,
    pub(crate) data: Vec<u8>,
    pub(crate) headers: Headers,
}

impl Frame {
    /// The outermost IPv6 header and what follows it, found by the addresses that `answer` names.
    pub(crate) fn ipv6_packet(&self, answer: &Answer) -> Option<&[u8]> {
        let (Some(IpAddr::V6(src)), Some(IpAddr::V6(dst))) = (answer.src, answer.dst) else {
            return None;
        };
        let addresses = [src.octets(), dst.octets()];
        let addresses = addresses.as_flattened();
        let at = self.data.windows(32).position(|bytes| bytes == addresses)?;
        self.data.get(at.checked_sub(8)?..)
    }

    /// What the file reader says about the frame.
    pub(crate) fn answer(&self) -> Answer {
        Answer::from_headers(&self.headers, self.wire_len, self.timestamp_ns)
    }
}

/// The facts that two columns must agree on. What a column does not know is `None` or 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) class: String,
    pub(crate) ether_type: Option<u16>,
    pub(crate) vlan_ids: Vec<u16>,
    pub(crate) ip_version: Option<u8>,
    pub(crate) ip_proto: Option<u8>,
    pub(crate) src: Option<IpAddr>,
    pub(crate) dst: Option<IpAddr>,
    pub(crate) fragment: bool,
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) tcp_flags: u8,
    /// The protocol in which tshark gave up. Not compared.
    pub(crate) malformed: Option<String>,
    pub(crate) wire_len: u32,
    /// Nanoseconds since the Unix epoch.
    pub(crate) timestamp_ns: Option<u64>,
}

/// Names a fact of an [`Answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Field {
    Class,
    EtherType,
    VlanIds,
    IpVersion,
    IpProto,
    Src,
    Dst,
    Fragment,
    Ports,
    TcpFlags,
    Dns,
    WireLen,
    Timestamp,
}

impl Answer {
    pub(crate) fn from_headers(headers: &Headers, wire_len: u32, timestamp_ns: u64) -> Self {
        let ip_version = headers.ip_version();
        let no_type = headers.ether_type == 0 && headers.protocol == Protocol::Unparsed as u8;
        Self {
            class: headers.class().to_string(),
            ether_type: (!no_type).then_some(headers.ether_type),
            vlan_ids: headers.vlan_ids().collect(),
            ip_version: (ip_version != 0).then_some(ip_version),
            ip_proto: (ip_version != 0).then_some(headers.ip_proto),
            src: ip_address(headers, headers.src_addr),
            dst: ip_address(headers, headers.dst_addr),
            fragment: headers.has(FLAG_FRAGMENT),
            ports: headers.ports(),
            tcp_flags: headers.tcp_flags,
            malformed: None,
            wire_len,
            timestamp_ns: Some(timestamp_ns),
        }
    }

    /// Port 53 at either end of TCP or UDP.
    pub(crate) fn is_dns(&self) -> bool {
        self.class == "dns"
    }

    /// The facts in which `self` and `other` differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Field> {
        let mut fields = Vec::new();
        let mut compare = |field, equal: bool| {
            if !equal {
                fields.push(field);
            }
        };
        compare(Field::Class, self.class == other.class);
        compare(Field::EtherType, self.ether_type == other.ether_type);
        compare(Field::VlanIds, self.vlan_ids == other.vlan_ids);
        compare(Field::IpVersion, self.ip_version == other.ip_version);
        compare(Field::IpProto, self.ip_proto == other.ip_proto);
        compare(Field::Src, self.src == other.src);
        compare(Field::Dst, self.dst == other.dst);
        compare(Field::Fragment, self.fragment == other.fragment);
        compare(Field::Ports, self.ports == other.ports);
        compare(Field::TcpFlags, self.tcp_flags == other.tcp_flags);
        compare(Field::Dns, self.is_dns() == other.is_dns());
        compare(Field::WireLen, self.wire_len == other.wire_len);
        compare(Field::Timestamp, self.timestamp_ns == other.timestamp_ns);
        fields
    }
}

fn ip_address(headers: &Headers, bytes: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, ..] = bytes;
    if headers.has(FLAG_IPV4) {
        Some(Ipv4Addr::new(a, b, c, d).into())
    } else if headers.has(FLAG_IPV6) {
        Some(Ipv6Addr::from(bytes).into())
    } else {
        None
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, ports, .. } = self;
        write!(
            f,
            "{class} ethertype {:04x?} vlan {:?}",
            self.ether_type, self.vlan_ids
        )?;
        write!(f, " ip {:?} proto {:?}", self.ip_version, self.ip_proto)?;
        if let (Some(src), Some(dst)) = (self.src, self.dst) {
            write!(f, " {src} > {dst}")?;
        }
        write!(f, " fragment {} ports {ports:?}", self.fragment)?;
        write!(
            f,
            " flags {:#04x} length {} time {:?}",
            self.tcp_flags, self.wire_len, self.timestamp_ns
        )
    }
}
