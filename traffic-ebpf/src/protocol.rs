//! The protocols that `traffic` tells apart, in one table, and the `--protocol` selection.

/// `EtherType` of IPv4 (IEEE 802 numbers).
pub const ETHER_TYPE_IPV4: u16 = 0x0800;
/// `EtherType` of ARP.
pub const ETHER_TYPE_ARP: u16 = 0x0806;
/// `EtherType` of IPv6.
pub const ETHER_TYPE_IPV6: u16 = 0x86dd;
/// What frames with an IEEE 802.3 length field are filed under: Linux's `ETH_P_802_2`.
pub const ETHER_TYPE_LLC: u16 = 0x0004;
/// The smallest `EtherType`; smaller values of the field are an 802.3 length.
pub const ETHER_TYPE_MIN: u16 = 0x0600;

/// Leaf class of a frame. Every frame is in exactly one, so the classes sum to the total.
///
/// [`Protocol::OtherIp`] and [`Protocol::OtherEther`] are further divided by their number: see
/// [`Class`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// The headers ended or contradicted themselves before the protocol was known.
    Unparsed = 0,
    /// TCP, other than DNS.
    Tcp,
    /// UDP, other than DNS.
    Udp,
    /// UDP with port 53 at either end.
    DnsUdp,
    /// TCP with port 53 at either end.
    DnsTcp,
    /// Address Resolution Protocol.
    Arp,
    /// ICMP for IPv4.
    Icmp,
    /// ICMP for IPv6.
    Icmp6,
    /// Internet Group Management Protocol.
    Igmp,
    /// Stream Control Transmission Protocol.
    Sctp,
    /// Generic Routing Encapsulation; what it carries is not looked into.
    Gre,
    /// `IPsec` Encapsulating Security Payload.
    Esp,
    /// `IPsec` Authentication Header; what it protects is not looked into.
    Ah,
    /// Any other protocol over IPv4 or IPv6, by its protocol number.
    OtherIp,
    /// Anything else, by its `EtherType` after VLAN tags.
    OtherEther,
}

/// One line of the protocol table.
struct Row {
    protocol: Protocol,
    label: &'static str,
    /// IANA protocol number, where the class stands for exactly one.
    ip_proto: Option<u8>,
}

const fn row(protocol: Protocol, label: &'static str, ip_proto: Option<u8>) -> Row {
    Row {
        protocol,
        label,
        ip_proto,
    }
}

/// The table, in the order of the discriminants (checked below).
const TABLE: [Row; Protocol::COUNT] = [
    row(Protocol::Unparsed, "unparsed", None),
    row(Protocol::Tcp, "tcp", Some(6)),
    row(Protocol::Udp, "udp", Some(17)),
    row(Protocol::DnsUdp, "dns", None),
    row(Protocol::DnsTcp, "dns", None),
    row(Protocol::Arp, "arp", None),
    row(Protocol::Icmp, "icmp", Some(1)),
    row(Protocol::Icmp6, "icmp6", Some(58)),
    row(Protocol::Igmp, "igmp", Some(2)),
    row(Protocol::Sctp, "sctp", Some(132)),
    row(Protocol::Gre, "gre", Some(47)),
    row(Protocol::Esp, "esp", Some(50)),
    row(Protocol::Ah, "ah", Some(51)),
    row(Protocol::OtherIp, "ip-proto", None),
    row(Protocol::OtherEther, "ethertype", None),
];

const _: () = {
    let mut index = 0;
    while index < Protocol::COUNT {
        assert!(TABLE[index].protocol as usize == index);
        index += 1;
    }
};

impl Protocol {
    /// Number of classes.
    pub const COUNT: usize = Self::OtherEther as usize + 1;

    /// Every class, in table order.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.protocol)
    }

    /// Name in reports. Both DNS classes are `dns`; the two numbered classes are a prefix.
    #[must_use]
    pub const fn label(self) -> &'static str {
        TABLE[self as usize].label
    }

    /// The class with this discriminant; [`Protocol::Unparsed`] for a number that is none.
    #[must_use]
    pub fn from_index(index: u8) -> Self {
        TABLE
            .get(usize::from(index))
            .map_or(Self::Unparsed, |row| row.protocol)
    }

    /// The class of an IP protocol number before ports are looked at.
    #[inline(always)]
    #[must_use]
    pub fn from_ip_proto(number: u8) -> Self {
        let mut index = 0;
        // A counted loop over a constant table: the compiler turns it into comparisons.
        while index < Self::COUNT {
            if TABLE[index].ip_proto == Some(number) {
                return TABLE[index].protocol;
            }
            index += 1;
        }
        Self::OtherIp
    }

    /// Whether frames of this class are TCP, DNS over TCP included.
    #[inline(always)]
    #[must_use]
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::DnsTcp)
    }

    /// Whether frames of this class are UDP, DNS over UDP included.
    #[inline(always)]
    #[must_use]
    pub const fn is_udp(self) -> bool {
        matches!(self, Self::Udp | Self::DnsUdp)
    }

    /// Whether frames of this class have port 53 at either end.
    #[inline(always)]
    #[must_use]
    pub const fn is_dns(self) -> bool {
        matches!(self, Self::DnsUdp | Self::DnsTcp)
    }

    /// Whether the class is divided further by a number.
    #[inline(always)]
    #[must_use]
    pub const fn is_numbered(self) -> bool {
        matches!(self, Self::OtherIp | Self::OtherEther)
    }
}

/// A leaf class with its number: what one line of the `protocols` table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    /// The leaf class.
    pub protocol: Protocol,
    /// IP protocol number or `EtherType` of the numbered classes; 0 for the others, and for what
    /// did not fit the kernel's table of numbers.
    pub number: u16,
}

impl core::fmt::Display for Class {
    /// `tcp`, `ip-proto-89`, `ethertype-0x88cc`.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let label = self.protocol.label();
        if self.protocol == Protocol::OtherIp {
            write!(f, "{label}-{}", self.number)
        } else if self.protocol == Protocol::OtherEther {
            write!(f, "{label}-{:#06x}", self.number)
        } else {
            f.write_str(label)
        }
    }
}

/// One value of `--protocol`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// IPv4.
    Ip = 0,
    /// IPv6.
    Ip6,
    /// TCP, with DNS over TCP.
    Tcp,
    /// UDP, with DNS over UDP.
    Udp,
    /// ARP.
    Arp,
    /// ICMP for IPv4.
    Icmp,
    /// ICMP for IPv6.
    Icmp6,
    /// Port 53 on UDP or TCP.
    Dns,
}

/// A set of [`Selector`]s; empty means everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection(pub u32);

impl Selection {
    /// Whether nothing is left out.
    #[must_use]
    pub const fn is_everything(self) -> bool {
        self.0 == 0
    }

    /// The set with `selector` added.
    #[must_use]
    pub const fn with(self, selector: Selector) -> Self {
        Self(self.0 | (1 << selector as u32))
    }

    /// Whether frames of `protocol` over IP version `ip_version` (4, 6, or 0 for none) belong.
    #[inline(always)]
    #[must_use]
    pub const fn contains(self, protocol: Protocol, ip_version: u8) -> bool {
        let mut kinds = Self(0);
        if ip_version == 4 {
            kinds = kinds.with(Selector::Ip);
        }
        if ip_version == 6 {
            kinds = kinds.with(Selector::Ip6);
        }
        if protocol.is_tcp() {
            kinds = kinds.with(Selector::Tcp);
        }
        if protocol.is_udp() {
            kinds = kinds.with(Selector::Udp);
        }
        if protocol.is_dns() {
            kinds = kinds.with(Selector::Dns);
        }
        if matches!(protocol, Protocol::Arp) {
            kinds = kinds.with(Selector::Arp);
        }
        if matches!(protocol, Protocol::Icmp) {
            kinds = kinds.with(Selector::Icmp);
        }
        if matches!(protocol, Protocol::Icmp6) {
            kinds = kinds.with(Selector::Icmp6);
        }
        self.0 == 0 || self.0 & kinds.0 != 0
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn numbered_classes_show_their_number() {
        let class = |protocol, number| Class { protocol, number }.to_string();
        assert_eq!(class(Protocol::Tcp, 0), "tcp");
        assert_eq!(class(Protocol::OtherIp, 89), "ip-proto-89");
        assert_eq!(class(Protocol::OtherEther, 0x4), "ethertype-0x0004");
        assert_eq!(class(Protocol::OtherEther, 0x88cc), "ethertype-0x88cc");
    }

    #[test]
    fn ip_protocol_numbers_find_their_class() {
        assert_eq!(Protocol::from_ip_proto(6), Protocol::Tcp);
        assert_eq!(Protocol::from_ip_proto(51), Protocol::Ah);
        assert_eq!(Protocol::from_ip_proto(89), Protocol::OtherIp);
    }

    #[test]
    fn tcp_selects_dns_over_tcp_but_not_udp() {
        let tcp = Selection::default().with(Selector::Tcp);
        assert!(tcp.contains(Protocol::DnsTcp, 4));
        assert!(tcp.contains(Protocol::Tcp, 6));
        assert!(!tcp.contains(Protocol::DnsUdp, 4));
        assert!(Selection::default().contains(Protocol::Unparsed, 0));
    }

    #[test]
    fn ip_selects_only_version_4() {
        let ip = Selection::default().with(Selector::Ip);
        assert!(ip.contains(Protocol::Sctp, 4));
        assert!(!ip.contains(Protocol::Sctp, 6));
        assert!(!ip.contains(Protocol::Arp, 0));
    }
}
