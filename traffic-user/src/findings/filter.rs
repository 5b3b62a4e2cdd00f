//! Filter expressions in tcpdump's language (pcap-filter(7)).

use crate::record::Address;

/// Packets from `address`.
pub(super) fn from(address: Address) -> String {
    match address {
        Address::Mac(_) => format!("ether src {address}"),
        Address::V4(_) | Address::V6(_) => format!("src host {address}"),
    }
}

/// Packets to `address`.
pub(super) fn to(address: Address) -> String {
    match address {
        Address::Mac(_) => format!("ether dst {address}"),
        Address::V4(_) | Address::V6(_) => format!("dst host {address}"),
    }
}

/// Packets from or to `address`.
pub(super) fn host(address: Address) -> String {
    match address {
        Address::Mac(_) => format!("ether host {address}"),
        Address::V4(_) | Address::V6(_) => format!("host {address}"),
    }
}

/// SYN packets without ACK, of the IP version of `address`. The language reads TCP headers over
/// IPv6 only at fixed offsets.
pub(super) fn syn(address: Address) -> &'static str {
    match address {
        Address::V6(_) => "ip6 proto 6 and ip6[53] & 0x12 == 2",
        Address::V4(_) | Address::Mac(_) => "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
    }
}

/// Echo requests of the IP version of `address`.
pub(super) fn echo_request(address: Address) -> &'static str {
    match address {
        Address::V6(_) => "ip6 proto 58 and ip6[40] == 128",
        Address::V4(_) | Address::Mac(_) => "icmp[icmptype] == icmp-echo",
    }
}

/// Fragments of the IP version of `address`.
pub(super) fn fragment(address: Address) -> &'static str {
    match address {
        Address::V6(_) => "ip6[6] == 44",
        Address::V4(_) | Address::Mac(_) => "ip[6:2] & 0x3fff != 0",
    }
}
