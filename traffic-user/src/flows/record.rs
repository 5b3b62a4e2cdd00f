//! A flow, or the part of it that a timeout cut off, as reports and exports take it.

use std::net::IpAddr;

use crate::record::Direction;

/// What two ends sent each other over one interface. The initiator is who sent the first packet
/// that was seen, except that the sender of a TCP SYN/ACK answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// Number of the interface in this run.
    pub interface: u16,
    /// VLAN id of the outer tag.
    pub vlan: Option<u16>,
    /// VLAN id of the tag inside that one.
    pub inner_vlan: Option<u16>,
    /// IP protocol number after IPv6 extension headers.
    pub ip_proto: u8,
    /// The initiator.
    pub src_addr: IpAddr,
    /// The responder.
    pub dst_addr: IpAddr,
    /// The initiator's port; 0 for protocols and fragments without ports.
    pub src_port: u16,
    /// The responder's port, as `src_port`.
    pub dst_port: u16,
    /// From the initiator to the responder.
    pub forward: FlowSide,
    /// From the responder to the initiator.
    pub reverse: FlowSide,
    /// From the first SYN to the ACK that completes the three-way handshake, in nanoseconds, where
    /// all three were seen.
    pub handshake_ns: Option<u64>,
    /// From the first question to the first answer in nanoseconds. With TCP these are the first
    /// segments with PSH of a connection whose beginning was seen, and `None` where the responder
    /// spoke first; with other protocols the first packets of both sides.
    pub response_ns: Option<u64>,
    /// Why nothing is added to it any more; `None` for a flow that goes on.
    pub end: Option<EndReason>,
}

impl FlowRecord {
    /// Time of the earliest packet in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn first_ns(&self) -> u64 {
        self.sides().map(|side| side.first_ns).min().unwrap_or(0)
    }

    /// Time of the latest packet, as [`FlowRecord::first_ns`].
    #[must_use]
    pub fn last_ns(&self) -> u64 {
        self.sides().map(|side| side.last_ns).max().unwrap_or(0)
    }

    /// Packets of both directions.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.forward.packets + self.reverse.packets
    }

    /// Bytes of both directions from the link header.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.forward.bytes + self.reverse.bytes
    }

    /// The directions that have packets.
    fn sides(&self) -> impl Iterator<Item = &FlowSide> {
        let sides = [&self.forward, &self.reverse].into_iter();
        sides.filter(|side| side.packets > 0)
    }
}

/// One direction of a flow. Without packets everything is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSide {
    /// Packets.
    pub packets: u64,
    /// Their bytes from the link header, before any truncation, as every other table counts them.
    pub bytes: u64,
    /// Their bytes from the IP header.
    pub ip_bytes: u64,
    /// Time of the earliest packet in nanoseconds since the Unix epoch.
    pub first_ns: u64,
    /// Time of the latest packet, as `first_ns`.
    pub last_ns: u64,
    /// All bits that were set in byte 13 of the TCP headers (RFC 9293): CWR ECE URG ACK PSH RST
    /// SYN FIN.
    pub tcp_flags: u8,
    /// Which way its first packet went through the interface; `None` without packets.
    pub direction: Option<Direction>,
    /// ICMP or `ICMPv6` type and code of its first packet.
    pub icmp_type_code: Option<(u8, u8)>,
}

/// Why a flow ended: `flowEndReason` of RFC 5102, section 5.11.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndReason {
    /// No packet for the idle timeout.
    IdleTimeout = 1,
    /// It was older than the active timeout. The flow itself may go on in the next record.
    ActiveTimeout = 2,
    /// FIN in both directions, or RST.
    EndOfFlow = 3,
    /// The run ended, or the clock was set back.
    ForcedEnd = 4,
    /// Another flow needed its place.
    LackOfResources = 5,
}

impl EndReason {
    /// Every reason, in the order of the numbers.
    pub const ALL: [Self; 5] = [
        Self::IdleTimeout,
        Self::ActiveTimeout,
        Self::EndOfFlow,
        Self::ForcedEnd,
        Self::LackOfResources,
    ];

    /// Name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::IdleTimeout => "idle_timeout",
            Self::ActiveTimeout => "active_timeout",
            Self::EndOfFlow => "end_of_flow",
            Self::ForcedEnd => "forced_end",
            Self::LackOfResources => "lack_of_resources",
        }
    }
}
