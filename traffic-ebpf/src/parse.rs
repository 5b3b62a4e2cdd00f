//! The parser: one walk from the link header to the ports.
//!
//! It follows IEEE 802.3 and 802.1Q/ad, RFC 791 (IPv4), RFC 8200 (IPv6 and its extension
//! headers), RFC 9293 (TCP), RFC 768 (UDP), RFC 9260 (SCTP), RFC 826 (ARP). Bytes beyond the
//! length that an IP header claims are padding and are not read. A length of 0 means that the
//! packet is a super-frame too large for the field, and the frame's own end counts.

pub(crate) mod usual;

use core::num::NonZeroU32;

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
    vlan::VlanHdr,
};

use crate::{
    packet::Packet,
    protocol::{
        ETHER_TYPE_ARP, ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, ETHER_TYPE_LLC, ETHER_TYPE_MIN, Protocol,
    },
    record::{
        FLAG_FRAGMENT, FLAG_IPV4, FLAG_IPV6, FLAG_LATER_FRAGMENT, FLAG_MAC, FLAG_VLAN,
        FLAG_VLAN_INNER, Headers,
    },
};

/// VLAN tags that are followed; IEEE 802.1ad has two, Linux follows as many as this.
pub const MAX_VLAN_TAGS: u32 = 8;
/// IPv6 extension headers that are followed. RFC 8200 lists six kinds.
pub const MAX_EXTENSION_HEADERS: usize = 10;

/// Why headers were not whole and consistent. The discriminant is [`Headers::status`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// The link header does not fit the frame.
    TruncatedLink = 1,
    /// A VLAN tag does not fit the frame.
    TruncatedVlan,
    /// More than [`MAX_VLAN_TAGS`] VLAN tags.
    TooManyVlanTags,
    /// The ARP message does not fit the frame.
    TruncatedArp,
    /// The IPv4 header, options included, does not fit the frame.
    TruncatedIpv4,
    /// The version is not 4 or the header length is below 20 bytes.
    BadIpv4Header,
    /// The total length is smaller than the header.
    BadIpv4Length,
    /// The IPv6 header does not fit the frame.
    TruncatedIpv6,
    /// The version is not 6.
    BadIpv6Header,
    /// An IPv6 extension header does not fit the packet.
    TruncatedExtension,
    /// More than [`MAX_EXTENSION_HEADERS`] IPv6 extension headers.
    TooManyExtensions,
    /// Not even the ports or the ICMP type of the transport header fit the packet.
    NoTransport,
    /// The transport header begins inside the packet and does not end there.
    TruncatedTransport,
    /// The TCP data offset is below 20 bytes, or the UDP length below 8.
    BadTransportLength,
}

impl ParseError {
    /// Every reason, in the order of its code.
    pub const ALL: [Self; 14] = [
        Self::TruncatedLink,
        Self::TruncatedVlan,
        Self::TooManyVlanTags,
        Self::TruncatedArp,
        Self::TruncatedIpv4,
        Self::BadIpv4Header,
        Self::BadIpv4Length,
        Self::TruncatedIpv6,
        Self::BadIpv6Header,
        Self::TruncatedExtension,
        Self::TooManyExtensions,
        Self::NoTransport,
        Self::TruncatedTransport,
        Self::BadTransportLength,
    ];

    /// The reason with this code; `None` for 0 and for numbers that are none.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TruncatedLink => "truncated_link_header",
            Self::TruncatedVlan => "truncated_vlan_tag",
            Self::TooManyVlanTags => "too_many_vlan_tags",
            Self::TruncatedArp => "truncated_arp",
            Self::TruncatedIpv4 => "truncated_ipv4_header",
            Self::BadIpv4Header => "bad_ipv4_header",
            Self::BadIpv4Length => "bad_ipv4_length",
            Self::TruncatedIpv6 => "truncated_ipv6_header",
            Self::BadIpv6Header => "bad_ipv6_header",
            Self::TruncatedExtension => "truncated_ipv6_extension",
            Self::TooManyExtensions => "too_many_ipv6_extensions",
            Self::NoTransport => "no_transport_header",
            Self::TruncatedTransport => "truncated_transport_header",
            Self::BadTransportLength => "bad_transport_length",
        }
    }
}

/// A VLAN tag that the NIC moved out of the frame into its descriptor: the tag protocol identifier
/// (0x8100 or 0x88a8) above the tag control information.
///
/// One number, so that its absence is a number too: the compiler may compute with the unused fields
/// of an absent structure, and the verifier refuses that when they happen to hold a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(NonZeroU32);

impl Tag {
    /// The tag with this identifier; `None` for the identifier 0.
    #[inline(always)]
    #[must_use]
    pub fn new(tpid: u16, tci: u16) -> Option<Self> {
        if tpid == 0 {
            return None;
        }
        NonZeroU32::new(u32::from(tpid) << 16 | u32::from(tci)).map(Self)
    }

    /// The tag that [`Tag::bits`] gave; `None` for 0.
    #[inline(always)]
    #[must_use]
    pub fn from_bits(bits: u32) -> Option<Self> {
        NonZeroU32::new(bits).map(Self)
    }

    /// The tag as one number; 0 for none.
    #[inline(always)]
    #[must_use]
    pub fn bits(tag: Option<Self>) -> u32 {
        tag.map_or(0, |tag| tag.0.get())
    }

    /// Tag protocol identifier.
    #[inline(always)]
    #[must_use]
    pub fn tpid(self) -> u16 {
        (self.0.get() >> 16) as u16
    }

    /// Tag control information.
    #[inline(always)]
    #[must_use]
    pub fn tci(self) -> u16 {
        self.0.get() as u16
    }
}

/// Where a frame's bytes begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// With an Ethernet header, and perhaps a tag that belongs after its addresses.
    Ethernet(Option<Tag>),
    /// With an IP header; its version nibble tells which.
    Ip,
    /// With a header of another kind that the caller has read: what follows it, and where.
    Network {
        /// `EtherType` of what follows.
        ether_type: u16,
        /// Offset of what follows.
        offset: u32,
    },
}

/// Parses `packet` into `headers`, which must be [`Headers::EMPTY`]. It never fails: what is known
/// before an error stays, and the error is in [`Headers::status`].
///
/// Returns the bytes from the link header to the end of the TCP or UDP header, which every segment
/// of a super-frame repeats; 0 where there is no such header.
#[inline(always)]
pub fn parse_into<P: Packet + ?Sized>(packet: &P, link: Link, headers: &mut Headers) -> u32 {
    if link == Link::Ethernet(None)
        && let Some(header_len) = usual::parse(packet, headers)
    {
        return header_len;
    }
    walk(packet, link, headers)
}

/// The long way of [`parse_into`].
#[inline(always)]
fn walk<P: Packet + ?Sized>(packet: &P, link: Link, headers: &mut Headers) -> u32 {
    let mut walk = Walk {
        packet,
        headers,
        end: packet.len(),
        header_len: 0,
    };
    if let Err(error) = walk.link(link) {
        walk.headers.status = error as u8;
    }
    if matches!(link, Link::Ethernet(_)) && !walk.headers.has_ip_header() {
        walk.ethernet_addresses();
    }
    walk.header_len
}

/// Result of [`parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What was found, up to the first error.
    pub headers: Headers,
    /// As [`parse_into`] returns it.
    pub header_len: u32,
}

/// Parses `packet`, as [`parse_into`].
#[must_use]
pub fn parse<P: Packet + ?Sized>(packet: &P, link: Link) -> Parsed {
    let mut headers = Headers::EMPTY;
    let header_len = parse_into(packet, link, &mut headers);
    Parsed {
        headers,
        header_len,
    }
}

struct Walk<'a, P: Packet + ?Sized> {
    packet: &'a P,
    headers: &'a mut Headers,
    /// First offset that belongs to no header: the end of the frame, or of the IP packet.
    end: u32,
    header_len: u32,
}

impl<P: Packet + ?Sized> Walk<'_, P> {
    /// Reads inside the frame and inside what the IP header claims.
    #[inline(always)]
    fn read<T: crate::packet::WireHeader>(
        &self,
        offset: u32,
        error: ParseError,
    ) -> Result<T, ParseError> {
        if offset + size_of::<T>() as u32 > self.end {
            return Err(error);
        }
        self.packet.read(offset).ok_or(error)
    }

    #[inline(always)]
    fn link(&mut self, link: Link) -> Result<(), ParseError> {
        let (ether_type, offset, tags) = match link {
            Link::Ethernet(tag) => self.ethernet(tag)?,
            Link::Ip => (self.ip_version()?, 0, 0),
            // An offset outside of the frame is one at its end: nothing can be read there.
            Link::Network { ether_type, offset } => (ether_type, offset.min(self.end), 0),
        };
        // The verifier checks what follows once for all kinds of link.
        let ether_type = self.packet.join(u32::from(ether_type)) as u16;
        let offset = self.packet.join(offset);
        let tags = self.packet.join(tags);
        self.tagged(ether_type, offset, tags)
    }

    /// The `EtherType` that the version of a bare IP header stands for.
    #[inline(always)]
    fn ip_version(&self) -> Result<u16, ParseError> {
        let [first]: [u8; 1] = self.read(0, ParseError::TruncatedLink)?;
        match first >> 4 {
            4 => Ok(ETHER_TYPE_IPV4),
            6 => Ok(ETHER_TYPE_IPV6),
            _ => Err(ParseError::BadIpv4Header),
        }
    }

    /// `EtherType`, where its payload begins, and how many tags came before it.
    #[inline(always)]
    fn ethernet(&mut self, tag: Option<Tag>) -> Result<(u16, u32, u32), ParseError> {
        let ether_type: [u8; 2] =
            self.read(size_of::<[[u8; 6]; 2]>() as u32, ParseError::TruncatedLink)?;
        let ether_type = type_or_length(u16::from_be_bytes(ether_type));
        if let Some(tag) = tag {
            self.add_tag(0, tag.tci());
        }
        Ok((ether_type, EthHdr::LEN as u32, u32::from(tag.is_some())))
    }

    /// Takes the addresses of a frame that has no others.
    #[inline(always)]
    fn ethernet_addresses(&mut self) {
        if let Some(header) = self.packet.read::<EthHdr>(0) {
            self.headers.src_addr[..6].copy_from_slice(&header.src_addr);
            self.headers.dst_addr[..6].copy_from_slice(&header.dst_addr);
            self.headers.flags |= FLAG_MAC;
        }
    }

    #[inline(always)]
    fn add_tag(&mut self, index: u32, tci: u16) {
        if index == 0 {
            self.headers.vlan[0] = tci;
            self.headers.flags |= FLAG_VLAN;
        } else if index == 1 {
            self.headers.vlan[1] = tci;
            self.headers.flags |= FLAG_VLAN_INNER;
        }
    }

    /// Follows VLAN tags, then the network header. `tags` were found before.
    #[inline(always)]
    fn tagged(
        &mut self,
        mut ether_type: u16,
        mut offset: u32,
        tags: u32,
    ) -> Result<(), ParseError> {
        let mut index = tags;
        while is_vlan(ether_type) {
            self.headers.ether_type = ether_type;
            if index >= MAX_VLAN_TAGS {
                return Err(ParseError::TooManyVlanTags);
            }
            let tag: VlanHdr = self.read(offset, ParseError::TruncatedVlan)?;
            self.add_tag(index, u16::from_be_bytes(tag.tci));
            ether_type = type_or_length(u16::from_be(tag.ether_type));
            offset += VlanHdr::LEN as u32;
            index += 1;
        }
        let offset = self.packet.join(offset);
        self.network(ether_type, offset)
    }

    #[inline(always)]
    fn network(&mut self, ether_type: u16, offset: u32) -> Result<(), ParseError> {
        self.headers.ether_type = ether_type;
        match ether_type {
            ETHER_TYPE_IPV4 => self.ipv4(offset),
            ETHER_TYPE_IPV6 => self.ipv6(offset),
            ETHER_TYPE_ARP => {
                self.headers.protocol = Protocol::Arp as u8;
                self.arp(offset)
            }
            _ => {
                self.headers.protocol = Protocol::OtherEther as u8;
                Ok(())
            }
        }
    }

    #[inline(always)]
    fn arp(&mut self, offset: u32) -> Result<(), ParseError> {
        let [_, _, _, _, hardware_len, protocol_len, _, _]: [u8; 8] =
            self.read(offset, ParseError::TruncatedArp)?;
        let addresses = 2 * (u32::from(hardware_len) + u32::from(protocol_len));
        if offset + 8 + addresses > self.end {
            return Err(ParseError::TruncatedArp);
        }
        Ok(())
    }

    #[inline(always)]
    fn ipv4(&mut self, offset: u32) -> Result<(), ParseError> {
        let header: Ipv4Hdr = self.read(offset, ParseError::TruncatedIpv4)?;
        let header_len = u32::from(header.vihl & 0x0f) * 4;
        if header.vihl >> 4 != 4 || header_len < Ipv4Hdr::LEN as u32 {
            return Err(ParseError::BadIpv4Header);
        }
        self.addresses::<4>(header.src_addr, header.dst_addr, FLAG_IPV4);
        self.headers.ttl = header.ttl;
        self.set_protocol(header.proto);
        let fragment = u16::from_be_bytes(header.frags);
        self.fragment((fragment & 0x1fff) << 3, fragment & 0x2000 != 0);
        let [id_high, id_low] = header.id;
        if self.headers.has(FLAG_LATER_FRAGMENT) {
            self.headers.transport = [0, 0, id_high, id_low];
        }
        let total_len = u32::from(u16::from_be_bytes(header.tot_len));
        if total_len != 0 {
            if total_len < header_len {
                return Err(ParseError::BadIpv4Length);
            }
            self.limit(offset + total_len);
        }
        if offset + header_len > self.end {
            return Err(ParseError::TruncatedIpv4);
        }
        self.transport(offset + header_len)
    }

    #[inline(always)]
    fn ipv6(&mut self, offset: u32) -> Result<(), ParseError> {
        let header: Ipv6Hdr = self.read(offset, ParseError::TruncatedIpv6)?;
        if header.vcf[0] >> 4 != 6 {
            return Err(ParseError::BadIpv6Header);
        }
        self.addresses::<16>(header.src_addr, header.dst_addr, FLAG_IPV6);
        self.headers.ttl = header.hop_limit;
        let payload = offset + Ipv6Hdr::LEN as u32;
        let payload_len = u32::from(u16::from_be_bytes(header.payload_len));
        if payload_len != 0 {
            self.limit(payload + payload_len);
        }
        self.extensions(header.next_hdr, payload)
    }

    /// Follows IPv6 extension headers (RFC 8200, section 4), then the transport header.
    #[inline(always)]
    fn extensions(&mut self, mut next: u8, mut offset: u32) -> Result<(), ParseError> {
        let mut index = 0;
        while is_extension(next) {
            self.headers.ip_proto = next;
            if index >= MAX_EXTENSION_HEADERS {
                return Err(ParseError::TooManyExtensions);
            }
            let [following, len]: [u8; 2] = self.read(offset, ParseError::TruncatedExtension)?;
            if next == EXTENSION_FRAGMENT {
                let [_, _, high, low, id @ ..]: [u8; 8] =
                    self.read(offset, ParseError::TruncatedExtension)?;
                let field = u16::from_be_bytes([high, low]);
                self.fragment(field & 0xfff8, field & 1 != 0);
                offset += 8;
                if self.headers.has(FLAG_LATER_FRAGMENT) {
                    self.headers.transport = id;
                    self.set_protocol(following);
                    return Ok(());
                }
            } else {
                offset += (u32::from(len) + 1) * 8;
            }
            offset = self.packet.join(offset);
            next = following;
            index += 1;
        }
        self.set_protocol(next);
        self.transport(offset)
    }

    #[inline(always)]
    fn addresses<const N: usize>(&mut self, src: [u8; N], dst: [u8; N], family: u8) {
        self.headers.src_addr[..N].copy_from_slice(&src);
        self.headers.dst_addr[..N].copy_from_slice(&dst);
        self.headers.flags |= family;
    }

    #[inline(always)]
    fn set_protocol(&mut self, ip_proto: u8) {
        self.headers.ip_proto = ip_proto;
        self.headers.protocol = Protocol::from_ip_proto(ip_proto) as u8;
    }

    #[inline(always)]
    fn fragment(&mut self, offset: u16, more: bool) {
        if offset != 0 {
            self.headers.fragment_offset = offset;
            self.headers.flags |= FLAG_FRAGMENT | FLAG_LATER_FRAGMENT;
        } else if more {
            self.headers.flags |= FLAG_FRAGMENT;
        }
    }

    /// Ends the packet at `end`, if that lies inside the frame.
    #[inline(always)]
    fn limit(&mut self, end: u32) {
        if end < self.end {
            self.end = end;
        }
    }

    #[inline(always)]
    fn transport(&mut self, offset: u32) -> Result<(), ParseError> {
        let offset = self.packet.join(offset);
        self.end = self.packet.join(self.end);
        if self.headers.has(FLAG_LATER_FRAGMENT) {
            return Ok(());
        }
        let protocol = self.headers.protocol;
        if protocol == Protocol::Tcp as u8 {
            self.ports(offset, Protocol::DnsTcp)?;
            self.tcp(offset)
        } else if protocol == Protocol::Udp as u8 {
            self.ports(offset, Protocol::DnsUdp)?;
            self.udp(offset)
        } else if protocol == Protocol::Sctp as u8 {
            self.headers.transport = self.read(offset, ParseError::NoTransport)?;
            let _: [u8; 12] = self.read(offset, ParseError::TruncatedTransport)?;
            Ok(())
        } else if protocol == Protocol::Icmp as u8 || protocol == Protocol::Icmp6 as u8 {
            let [kind, code]: [u8; 2] = self.read(offset, ParseError::NoTransport)?;
            self.headers.transport = [kind, code, 0, 0];
            Ok(())
        } else {
            Ok(())
        }
    }

    /// Reads the ports that TCP and UDP begin with; port 53 makes the class `dns`.
    #[inline(always)]
    fn ports(&mut self, offset: u32, dns: Protocol) -> Result<(), ParseError> {
        let ports: [u8; 4] = self.read(offset, ParseError::NoTransport)?;
        self.headers.transport = ports;
        let [a, b, c, d] = ports;
        if (a == 0 && b == 53) || (c == 0 && d == 53) {
            self.headers.protocol = dns as u8;
        }
        Ok(())
    }

    #[inline(always)]
    fn tcp(&mut self, offset: u32) -> Result<(), ParseError> {
        let [data_offset, flags]: [u8; 2] =
            self.read(offset + 12, ParseError::TruncatedTransport)?;
        self.headers.tcp_flags = flags;
        let header_len = u32::from(data_offset >> 4) * 4;
        if header_len < 20 {
            return Err(ParseError::BadTransportLength);
        }
        if offset + header_len > self.end {
            return Err(ParseError::TruncatedTransport);
        }
        self.header_len = offset + header_len;
        Ok(())
    }

    #[inline(always)]
    fn udp(&mut self, offset: u32) -> Result<(), ParseError> {
        let header: UdpHdr = self.read(offset, ParseError::TruncatedTransport)?;
        let len = u16::from_be_bytes(header.len);
        // RFC 2675 and super-frames: 0 means "to the end".
        if len != 0 && len < UdpHdr::LEN as u16 {
            return Err(ParseError::BadTransportLength);
        }
        self.header_len = offset + UdpHdr::LEN as u32;
        Ok(())
    }
}

const EXTENSION_FRAGMENT: u8 = 44;

/// Hop-by-hop options, routing, fragment, destination options (RFC 8200), HIP's and shim6's
/// headers do not count: nothing follows them.
#[inline(always)]
fn is_extension(next: u8) -> bool {
    matches!(next, 0 | 43 | EXTENSION_FRAGMENT | 60)
}

/// `EtherType` of a frame by its type field, which may be an 802.3 length.
#[inline(always)]
fn type_or_length(field: u16) -> u16 {
    if field < ETHER_TYPE_MIN {
        ETHER_TYPE_LLC
    } else {
        field
    }
}

/// 802.1Q, 802.1ad, and the older value that switches used for the outer tag.
#[inline(always)]
fn is_vlan(ether_type: u16) -> bool {
    matches!(ether_type, 0x8100 | 0x88a8 | 0x9100)
}

#[cfg(test)]
mod tests;
