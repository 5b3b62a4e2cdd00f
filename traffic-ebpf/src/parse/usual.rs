//! A shorter way through the headers that most frames have: Ethernet, IPv4 without options, and TCP
//! or UDP. They stand at fixed offsets, so that one check of bounds does for nearly all of them.

use super::{ETHER_TYPE_IPV4, FLAG_IPV4, Headers, Packet, Protocol};

/// What [`parse`] reads in one piece, from the last two bytes of the MAC addresses on: addresses and
/// ports begin words then. In network byte order.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Start {
    mac: u16,
    ether_type: u16,
    version_and_length: u8,
    service: u8,
    total_len: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    ip_proto: u8,
    ip_checksum: u16,
    src_addr: u32,
    dst_addr: u32,
    src_port: u16,
    dst_port: u16,
    /// Of a UDP header; with TCP it is something else.
    udp_len: u16,
    udp_checksum: u16,
}

const _: () = assert!(size_of::<Start>() == 32);

/// Where [`Start`] begins, where the IPv4 header, and where the transport header.
const START_AT: u32 = 10;
const IPV4_AT: u32 = 14;
const TRANSPORT_AT: u32 = IPV4_AT + 20;
/// Version 4, and a header of five words.
const VERSION_AND_LENGTH: u8 = 0x45;
/// More fragments, and the offset of a fragment.
const IS_FRAGMENT: u16 = 0x3fff_u16.to_be();
/// IANA numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const DNS: u16 = 53_u16.to_be();

/// Parses a frame with an Ethernet header and without a tag beside it, as the long way would.
/// `None`, with `headers` as they were, where anything is out of the ordinary.
#[inline(always)]
pub(super) fn parse<P: Packet + ?Sized>(packet: &P, headers: &mut Headers) -> Option<u32> {
    let start: Start = packet.read(START_AT)?;
    let is_usual = start.ether_type == ETHER_TYPE_IPV4.to_be()
        && start.version_and_length == VERSION_AND_LENGTH
        && start.fragment & IS_FRAGMENT == 0;
    if !is_usual {
        return None;
    }
    let end = IPV4_AT + u32::from(u16::from_be(start.total_len));
    let end = end.min(packet.len());
    let is_dns = start.src_port == DNS || start.dst_port == DNS;
    let header_len;
    if start.ip_proto == UDP {
        let udp_len = u16::from_be(start.udp_len);
        header_len = TRANSPORT_AT + 8;
        if header_len > end || (udp_len != 0 && udp_len < 8) {
            return None;
        }
        headers.protocol = if is_dns {
            Protocol::DnsUdp
        } else {
            Protocol::Udp
        } as u8;
    } else if start.ip_proto == TCP {
        let [data_offset, flags]: [u8; 2] = packet.read(TRANSPORT_AT + 12)?;
        let words = u32::from(data_offset >> 4);
        header_len = TRANSPORT_AT + words * 4;
        if words < 5 || header_len > end {
            return None;
        }
        headers.tcp_flags = flags;
        headers.protocol = if is_dns {
            Protocol::DnsTcp
        } else {
            Protocol::Tcp
        } as u8;
    } else {
        return None;
    }
    headers.src_addr[..4].copy_from_slice(&start.src_addr.to_ne_bytes());
    headers.dst_addr[..4].copy_from_slice(&start.dst_addr.to_ne_bytes());
    headers.transport[..2].copy_from_slice(&start.src_port.to_ne_bytes());
    headers.transport[2..].copy_from_slice(&start.dst_port.to_ne_bytes());
    headers.ether_type = ETHER_TYPE_IPV4;
    headers.ip_proto = start.ip_proto;
    headers.ttl = start.ttl;
    headers.flags = FLAG_IPV4;
    Some(header_len)
}
