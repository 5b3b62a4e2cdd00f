//! What makes packets one flow.

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use traffic_ebpf::{protocol::Protocol, record::Headers};

use crate::record::PacketRecord;

/// VLAN tag that a packet does not have; no VLAN id has more than 12 bits.
const NO_VLAN: u16 = u16::MAX;

/// The 5-tuple with both directions together, and where it was seen: interface and VLAN ids. The
/// lower end (address, then port) stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlowKey {
    /// Network byte order; IPv4 in the first four bytes.
    low_addr: [u8; 16],
    high_addr: [u8; 16],
    low_port: u16,
    high_port: u16,
    /// Outer and inner VLAN id, or [`NO_VLAN`].
    vlan: [u16; 2],
    interface: u16,
    ip_proto: u8,
    /// 4 or 6.
    ip_version: u8,
}

/// Which way a packet of a flow goes, as an index: 0 from the lower end to the higher.
pub(super) type Side = usize;

impl FlowKey {
    /// The key of a packet and the way it goes; `None` without an IP header.
    #[inline]
    pub(super) fn of(record: &PacketRecord) -> Option<(Self, Side)> {
        let headers = record.headers();
        let ip_version = headers.ip_version();
        if ip_version == 0 {
            return None;
        }
        let (src_port, dst_port) = ports(headers);
        let is_reverse = (headers.src_addr, src_port) > (headers.dst_addr, dst_port);
        let mut key = Self {
            low_addr: headers.src_addr,
            high_addr: headers.dst_addr,
            low_port: src_port,
            high_port: dst_port,
            vlan: [NO_VLAN; 2],
            interface: record.interface(),
            ip_proto: headers.ip_proto,
            ip_version,
        };
        if is_reverse {
            std::mem::swap(&mut key.low_addr, &mut key.high_addr);
            std::mem::swap(&mut key.low_port, &mut key.high_port);
        }
        for (place, id) in key.vlan.iter_mut().zip(headers.vlan_ids()) {
            *place = id;
        }
        Some((key, usize::from(is_reverse)))
    }

    /// Where packets of `side` come from.
    pub(super) fn source(&self, side: Side) -> IpAddr {
        self.address(if side == 0 {
            &self.low_addr
        } else {
            &self.high_addr
        })
    }

    /// Source port of packets of `side`; 0 where there are no ports.
    pub(super) fn source_port(&self, side: Side) -> u16 {
        match (self.has_ports(), side) {
            (false, _) => 0,
            (true, 0) => self.low_port,
            (true, _) => self.high_port,
        }
    }

    pub(super) fn ip_proto(&self) -> u8 {
        self.ip_proto
    }

    pub(super) fn interface(&self) -> u16 {
        self.interface
    }

    /// Outer and inner VLAN id.
    pub(super) fn vlans(&self) -> [Option<u16>; 2] {
        self.vlan.map(|id| (id != NO_VLAN).then_some(id))
    }

    fn has_ports(&self) -> bool {
        !matches!(
            Protocol::from_ip_proto(self.ip_proto),
            Protocol::Icmp | Protocol::Icmp6
        )
    }

    fn address(&self, bytes: &[u8; 16]) -> IpAddr {
        let [a, b, c, d, ..] = *bytes;
        if self.ip_version == 4 {
            Ipv4Addr::new(a, b, c, d).into()
        } else {
            Ipv6Addr::from(*bytes).into()
        }
    }
}

impl Hash for FlowKey {
    /// Four wide words, where the derived one would hash eight fields.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [outer, inner] = self.vlan.map(u64::from);
        let place = u64::from(self.interface) << 16
            | u64::from(self.ip_proto) << 8
            | u64::from(self.ip_version);
        let ports = u64::from(self.low_port) << 16 | u64::from(self.high_port);
        state.write_u128(u128::from_ne_bytes(self.low_addr));
        state.write_u128(u128::from_ne_bytes(self.high_addr));
        state.write_u64(ports << 32 | outer << 16 | inner);
        state.write_u64(place);
    }
}

/// Source and destination port. For ICMP twice what the message is about, so that a request and
/// its reply are one flow. Packets without a transport header, such as later fragments, have 0.
#[inline]
fn ports(headers: &Headers) -> (u16, u16) {
    if let Some(ports) = headers.ports() {
        return ports;
    }
    let Some((kind, code)) = headers.icmp_type_code() else {
        return (0, 0);
    };
    let is_icmp6 = headers.protocol == Protocol::Icmp6 as u8;
    let topic = u16::from_be_bytes([request_of(kind, is_icmp6), code]);
    (topic, topic)
}

/// The type of the request that a reply of this type answers; other types are their own (RFC 792,
/// 950, 1256 for IPv4; RFC 4443, 4861 for IPv6).
#[inline]
fn request_of(kind: u8, is_icmp6: bool) -> u8 {
    match (is_icmp6, kind) {
        (false, 0) => 8,
        (false, 9) => 10,
        (false, 14 | 16 | 18) | (true, 129 | 134 | 136) => kind - 1,
        _ => kind,
    }
}
