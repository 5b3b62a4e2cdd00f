//! The information elements of flow records (IANA's registry "IPFIX Information Elements").

use std::net::IpAddr;

use crate::{
    flows::{FlowRecord, FlowSide},
    record::Direction,
};

/// Private enterprise number under which an element stands for the way back (RFC 5103, section
/// 6.1).
pub(super) const REVERSE: u32 = 29_305;

/// One element of a record, and what stands there.
pub(super) struct Element<F> {
    /// Its number.
    pub(super) id: u16,
    /// Bytes on the wire; for an integer the low ones of `value` (RFC 7011, section 6.2).
    pub(super) octets: u16,
    /// What stands there.
    pub(super) value: F,
}

/// An element of the flow as a whole.
pub(super) type FlowElement = Element<fn(&View<'_>) -> u128>;
/// An element of one direction.
pub(super) type SideElement = Element<fn(&FlowSide) -> u128>;

/// A flow as its record shows it: from the end that sent to the other.
pub(super) struct View<'a> {
    pub(super) flow: &'a FlowRecord,
    /// Whether the record goes from the responder to the initiator.
    pub(super) is_turned: bool,
    /// The kernel's number of the interface.
    pub(super) ifindex: u32,
    /// Number of the interface's selector.
    pub(super) selector: u32,
}

impl View<'_> {
    /// The direction that the record shows.
    pub(super) fn ahead(&self) -> &FlowSide {
        if self.is_turned {
            &self.flow.reverse
        } else {
            &self.flow.forward
        }
    }

    /// The other direction.
    pub(super) fn back(&self) -> &FlowSide {
        if self.is_turned {
            &self.flow.forward
        } else {
            &self.flow.reverse
        }
    }

    fn turned<V>(&self, ahead: V, back: V) -> V {
        if self.is_turned { back } else { ahead }
    }

    fn arrives(&self) -> bool {
        self.ahead().direction == Some(Direction::Ingress)
    }
}

const fn flow(id: u16, octets: u16, value: fn(&View<'_>) -> u128) -> FlowElement {
    Element { id, octets, value }
}

const fn side(id: u16, octets: u16, value: fn(&FlowSide) -> u128) -> SideElement {
    Element { id, octets, value }
}

/// `sourceIPv4Address`, `destinationIPv4Address`.
pub(super) const IPV4: [FlowElement; 2] = [flow(8, 4, source), flow(12, 4, destination)];

/// `sourceIPv6Address`, `destinationIPv6Address`.
pub(super) const IPV6: [FlowElement; 2] = [flow(27, 16, source), flow(28, 16, destination)];

/// What both directions share.
pub(super) const SHARED: [FlowElement; 11] = [
    // protocolIdentifier
    flow(4, 1, |view| view.flow.ip_proto.into()),
    // sourceTransportPort, destinationTransportPort
    flow(7, 2, |view| {
        view.turned(view.flow.src_port, view.flow.dst_port).into()
    }),
    flow(11, 2, |view| {
        view.turned(view.flow.dst_port, view.flow.src_port).into()
    }),
    // vlanId, dot1qCustomerVlanId: 0 is no VLAN's.
    flow(58, 2, |view| view.flow.vlan.unwrap_or(0).into()),
    flow(245, 2, |view| view.flow.inner_vlan.unwrap_or(0).into()),
    // ingressInterface, egressInterface: 0 where it is another one.
    flow(10, 4, |view| {
        if view.arrives() {
            view.ifindex.into()
        } else {
            0
        }
    }),
    flow(14, 4, |view| {
        if view.arrives() {
            0
        } else {
            view.ifindex.into()
        }
    }),
    // flowDirection: 0 ingress, 1 egress
    flow(61, 1, |view| u128::from(!view.arrives())),
    // biflowDirection: 1 initiator, 2 reverseInitiator
    flow(239, 1, |view| if view.is_turned { 2 } else { 1 }),
    // flowEndReason
    flow(136, 1, |view| view.flow.end.map_or(0, |end| end as u128)),
    // selectorId
    flow(302, 8, |view| view.selector.into()),
];

/// What each direction has: forward under its own number, backward under [`REVERSE`]. The number
/// of the ICMP element depends on the IP version.
pub(super) const SIDE: [SideElement; 6] = [
    // flowStartMilliseconds, flowEndMilliseconds
    side(152, 8, |side| (side.first_ns / 1_000_000).into()),
    side(153, 8, |side| (side.last_ns / 1_000_000).into()),
    // octetDeltaCount: from the IP header
    side(1, 8, |side| side.ip_bytes.into()),
    // packetDeltaCount
    side(2, 8, |side| side.packets.into()),
    // layer2OctetDeltaCount: from the link header
    side(352, 8, |side| side.bytes.into()),
    // tcpControlBits
    side(6, 2, |side| side.tcp_flags.into()),
];

/// `icmpTypeCodeIPv4`.
pub(super) const ICMP4: [SideElement; 1] = [side(32, 2, icmp)];
/// `icmpTypeCodeIPv6`.
pub(super) const ICMP6: [SideElement; 1] = [side(139, 2, icmp)];

fn icmp(side: &FlowSide) -> u128 {
    let (kind, code) = side.icmp_type_code.unwrap_or_default();
    u16::from_be_bytes([kind, code]).into()
}

fn source(view: &View<'_>) -> u128 {
    bits(view.turned(view.flow.src_addr, view.flow.dst_addr))
}

fn destination(view: &View<'_>) -> u128 {
    bits(view.turned(view.flow.dst_addr, view.flow.src_addr))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
