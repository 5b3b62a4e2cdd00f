extern crate std;

mod packets;

use std::{vec, vec::Vec};

use proptest::prelude::*;

use self::packets::{chain, ipv4, ipv6};
use super::*;
use crate::protocol::Class;

const ETHERNET: Link = Link::Ethernet(None);

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
const UDP: [u8; 8] = [0x9c, 0x40, 0x11, 0x51, 0, 8, 0, 0];
const TCP: [u8; 20] = [
    0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 1, 0, 0, 0, 0, 0,
];

#[test]
fn tcp_over_ipv4_is_read_whole() {
    let parsed = parse(&ethernet(0x0800, &ipv4(6, &TCP))[..], ETHERNET);
    let headers = parsed.headers;
    assert_eq!(headers.error(), None);
    assert_eq!(headers.class(), class(Protocol::Tcp, 0));
    assert_eq!(headers.ether_type, 0x0800);
    assert_eq!(headers.ip_version(), 4);
    assert_eq!(headers.src_addr[..4], [10, 0, 0, 1]);
    assert_eq!(headers.dst_addr[..4], [10, 0, 0, 2]);
    assert_eq!(headers.ports(), Some((40_000, 443)));
    assert_eq!(headers.tcp_flags, 0x12);
    assert_eq!(headers.ttl, 64);
    assert_eq!(parsed.header_len, 14 + 20 + 20);
}

/// What the long way makes of a frame.
fn parse_by_walking(frame: &[u8]) -> Parsed {
    let mut headers = Headers::EMPTY;
    let header_len = walk(frame, ETHERNET, &mut headers);
    Parsed {
        headers,
        header_len,
    }
}

#[test]
fn usual_frames_take_the_short_way() {
    let mut headers = Headers::EMPTY;
    for payload in [ipv4(6, &TCP), ipv4(17, &UDP)] {
        let frame = ethernet(0x0800, &payload);
        assert!(usual::parse(&frame[..], &mut headers).is_some());
    }
}

#[test]
fn ethernet_addresses_stay_when_the_frame_is_not_ip() {
    let headers = read(&ethernet(0x88cc, &[0; 46]));
    assert_eq!(headers.class(), class(Protocol::OtherEther, 0x88cc));
    assert!(headers.has(FLAG_MAC));
    assert_eq!(headers.src_addr[..6], [2, 0, 0, 0, 0, 1]);
    assert_eq!(headers.dst_addr[..6], [2, 0, 0, 0, 0, 2]);
}

#[test]
fn ipv4_options_move_the_ports() {
    let mut packet = ipv4(17, &[&[0x94, 4, 0, 0, 1, 1, 1, 0][..], &UDP].concat());
    packet[0] = 0x47;
    let headers = read(&ethernet(0x0800, &packet));
    assert_eq!(headers.ports(), Some((40_000, 4_433)));
    assert_eq!(headers.error(), None);
}

#[test]
fn ipv4_fragments_have_a_transport_header_only_at_the_beginning() {
    let mut first = ipv4(17, &UDP);
    first[6] = 0x20;
    let headers = read(&ethernet(0x0800, &first));
    assert!(headers.has(FLAG_FRAGMENT) && !headers.has(FLAG_LATER_FRAGMENT));
    assert_eq!(headers.ports(), Some((40_000, 4_433)));

    let mut later = ipv4(17, &UDP);
    later[7] = 185;
    let headers = read(&ethernet(0x0800, &later));
    assert!(headers.has(FLAG_FRAGMENT) && headers.has(FLAG_LATER_FRAGMENT));
    assert_eq!(headers.class(), class(Protocol::Udp, 0));
    assert_eq!(headers.ports(), None);
    assert_eq!(headers.fragment_offset, 1_480);
    assert_eq!(headers.fragment_id(), Some(0x1234));
}

#[test]
fn padding_behind_the_total_length_is_not_read() {
    let mut packet = ipv4(6, &[]);
    packet.extend([0; 26]);
    let headers = read(&ethernet(0x0800, &packet));
    assert_eq!(headers.error(), Some(ParseError::NoTransport));
    assert_eq!(headers.class(), class(Protocol::Tcp, 0));
    assert_eq!(headers.ports(), None);
}

#[test]
fn a_total_length_of_0_reaches_to_the_end_of_the_frame() {
    let mut packet = ipv4(6, &TCP);
    packet[2..4].fill(0);
    assert_eq!(
        read(&ethernet(0x0800, &packet)).ports(),
        Some((40_000, 443))
    );
    let mut packet = ipv6(6, &TCP);
    packet[4..6].fill(0);
    assert_eq!(
        read(&ethernet(0x86dd, &packet)).ports(),
        Some((40_000, 443))
    );
}

#[test]
fn vlan_tags_are_followed_and_two_are_kept() {
    let frame = |tags: &[u16]| tagged(tags, 0x0800, &ipv4(17, &UDP));
    let ids = |headers: Headers| headers.vlan_ids().collect::<Vec<_>>();
    assert_eq!(ids(read(&frame(&[]))), []);
    assert_eq!(ids(read(&frame(&[0x8100]))), [100]);
    assert_eq!(ids(read(&frame(&[0x88a8, 0x8100]))), [100, 101]);
    let headers = read(&frame(&[0x9100, 0x8100, 0x8100]));
    assert_eq!(headers.vlan, [0xe064, 0xe065]);
    assert_eq!(headers.ether_type, 0x0800);
    assert_eq!(headers.ports(), Some((40_000, 4_433)));
}

#[test]
fn a_tag_from_the_descriptor_is_the_outer_one() {
    let frame = tagged(&[0x8100], 0x0806, &[0; 28]);
    let headers = parse(&frame[..], Link::Ethernet(Tag::new(0x88a8, 7))).headers;
    assert_eq!(headers.vlan_ids().collect::<Vec<_>>(), [7, 100]);
    assert_eq!(headers.class(), class(Protocol::Arp, 0));
}

#[test]
fn frames_with_a_length_are_llc() {
    let llc = class(Protocol::OtherEther, 0x0004);
    for length in [0_u16, 0x0026, 1_500, 0x05ff] {
        assert_eq!(read(&ethernet(length, &[0x42; 46])).class(), llc);
        assert_eq!(read(&tagged(&[0x8100], length, &[0x42; 46])).class(), llc);
    }
    let first_type = class(Protocol::OtherEther, 0x0600);
    assert_eq!(read(&ethernet(0x0600, &[0; 46])).class(), first_type);
}

#[test]
fn ipv6_extension_headers_are_followed() {
    let headers = read(&ethernet(0x86dd, &chain(&[0, 60, 43, 60], 17, &UDP)));
    assert_eq!(headers.error(), None);
    assert_eq!(headers.class(), class(Protocol::Udp, 0));
    assert_eq!(headers.ports(), Some((40_000, 4_433)));
    // A header of 16 bytes.
    let mut packet = ipv6(60, &[[17, 1].as_slice(), &[0; 14], &UDP].concat());
    packet[39] = 2;
    assert_eq!(
        read(&ethernet(0x86dd, &packet)).ports(),
        Some((40_000, 4_433))
    );
}

#[test]
fn ipv6_fragments_have_a_transport_header_only_at_the_beginning() {
    let fragment = |high: u8, low: u8| {
        let mut packet = chain(&[0, 44], 17, &UDP);
        packet[50..56].copy_from_slice(&[high, low, 0xa, 0xb, 0xc, 0xd]);
        read(&ethernet(0x86dd, &packet))
    };
    assert!(!fragment(0, 0).has(FLAG_FRAGMENT));
    assert!(fragment(0, 1).has(FLAG_FRAGMENT));
    assert_eq!(fragment(0, 1).ports(), Some((40_000, 4_433)));
    let later = fragment(1, 0);
    assert_eq!(later.class(), class(Protocol::Udp, 0));
    assert_eq!(later.ports(), None);
    assert_eq!(later.fragment_offset, 256);
    assert_eq!(later.fragment_id(), Some(0x0a0b_0c0d));
}

#[test]
fn ah_esp_and_gre_end_the_walk() {
    for (number, protocol) in [
        (51, Protocol::Ah),
        (50, Protocol::Esp),
        (47, Protocol::Gre),
        (2, Protocol::Igmp),
    ] {
        let payload = [&[17, 4][..], &[0; 22], &UDP].concat();
        let headers = read(&ethernet(0x0800, &ipv4(number, &payload)));
        assert_eq!(headers.class(), class(protocol, 0));
        assert_eq!(headers.ports(), None);
        let headers = read(&ethernet(0x86dd, &chain(&[60], number, &payload)));
        assert_eq!(headers.class(), class(protocol, 0));
    }
}

#[test]
fn other_protocols_keep_their_number() {
    let headers = read(&ethernet(0x0800, &ipv4(89, &[2, 1, 0, 44])));
    assert_eq!(headers.class(), class(Protocol::OtherIp, 89));
    // 0 is an extension header of IPv6 only.
    let headers = read(&ethernet(0x0800, &ipv4(0, &[17, 0, 0, 0, 0, 0, 0, 0])));
    assert_eq!(headers.class(), class(Protocol::OtherIp, 0));
}

#[test]
fn port_53_at_either_end_is_dns() {
    let ports = |src: u16, dst: u16| [src.to_be_bytes(), dst.to_be_bytes()].concat();
    for (src, dst, is_dns) in [
        (53, 40_000, true),
        (40_000, 53, true),
        (40_000, 5_353, false),
        (0x3500, 40_000, false),
    ] {
        let udp = [&ports(src, dst)[..], &UDP[4..]].concat();
        let protocol = if is_dns {
            Protocol::DnsUdp
        } else {
            Protocol::Udp
        };
        let headers = read(&ethernet(0x0800, &ipv4(17, &udp)));
        assert_eq!(headers.class().protocol, protocol);
        let tcp = [&ports(src, dst)[..], &TCP[4..]].concat();
        let protocol = if is_dns {
            Protocol::DnsTcp
        } else {
            Protocol::Tcp
        };
        let headers = read(&ethernet(0x86dd, &ipv6(6, &tcp)));
        assert_eq!(headers.class().protocol, protocol);
        assert_eq!(headers.ports(), Some((src, dst)));
    }
}

#[test]
fn icmp_errors_show_the_outer_header() {
    let inner = ipv4(17, &[0, 7, 0, 53, 0, 8, 0, 0]);
    let headers = read(&ethernet(
        0x0800,
        &ipv4(1, &[&[3, 1, 0, 0, 0, 0, 0, 0], &inner[..]].concat()),
    ));
    assert_eq!(headers.class(), class(Protocol::Icmp, 0));
    assert_eq!(headers.icmp_type_code(), Some((3, 1)));
    assert_eq!(headers.ports(), None);
}

#[test]
fn raw_ip_goes_by_its_version() {
    let headers = parse(&ipv4(17, &UDP)[..], Link::Ip).headers;
    assert_eq!(
        (headers.ether_type, headers.ports()),
        (0x0800, Some((40_000, 4_433)))
    );
    let headers = parse(&ipv6(17, &UDP)[..], Link::Ip).headers;
    assert_eq!(
        (headers.ether_type, headers.ports()),
        (0x86dd, Some((40_000, 4_433)))
    );
    let headers = parse(&[0x50, 0, 0, 0][..], Link::Ip).headers;
    assert_eq!(headers.error(), Some(ParseError::BadIpv4Header));
    assert_eq!((headers.ether_type, headers.ip_version()), (0, 0));
}

#[test]
fn a_network_header_can_stand_anywhere() {
    let frame = [&[9; 16][..], &ipv4(17, &UDP)].concat();
    let at = |offset| {
        let link = Link::Network {
            ether_type: 0x0800,
            offset,
        };
        parse(&frame[..], link).headers
    };
    assert_eq!(at(16).ports(), Some((40_000, 4_433)));
    assert_eq!(at(u32::MAX).error(), Some(ParseError::TruncatedIpv4));
    // Not a length: only a field of a frame can be one.
    let can = Link::Network {
        ether_type: 0x000c,
        offset: 16,
    };
    assert_eq!(
        parse(&frame[..], can).headers.class(),
        class(Protocol::OtherEther, 0x000c)
    );
}

/// What is reported of a frame with an error.
#[track_caller]
fn assert_error(frame: &[u8], error: ParseError, class: &str) {
    let headers = read(frame);
    assert_eq!(headers.error(), Some(error));
    assert_eq!(std::format!("{}", headers.class()), class);
}

#[test]
fn cut_link_headers_have_their_reason() {
    assert_error(&[], ParseError::TruncatedLink, "unparsed");
    assert_error(&MACS, ParseError::TruncatedLink, "unparsed");
    assert_error(
        &ethernet(0x8100, &[0, 1, 8]),
        ParseError::TruncatedVlan,
        "unparsed",
    );
    let nine = tagged(&[0x8100; 9], 0x0800, &ipv4(17, &UDP));
    assert_error(&nine, ParseError::TooManyVlanTags, "unparsed");
    assert_error(&ethernet(0x0806, &[0; 7]), ParseError::TruncatedArp, "arp");
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[0; 19]].concat();
    assert_error(&ethernet(0x0806, &arp), ParseError::TruncatedArp, "arp");
}

#[test]
fn bad_ip_headers_have_their_reason() {
    let whole = ipv4(17, &UDP);
    let changed = |at: usize, value: u8| {
        let mut packet = whole.clone();
        packet[at] = value;
        ethernet(0x0800, &packet)
    };
    assert_error(
        &ethernet(0x0800, &whole[..19]),
        ParseError::TruncatedIpv4,
        "unparsed",
    );
    assert_error(&changed(0, 0x44), ParseError::BadIpv4Header, "unparsed");
    assert_error(&changed(0, 0x65), ParseError::BadIpv4Header, "unparsed");
    assert_error(&changed(3, 19), ParseError::BadIpv4Length, "udp");
    // Options that the frame, or the total length, cuts.
    assert_error(&changed(0, 0x4f), ParseError::BadIpv4Length, "udp");
    let mut options = whole.clone();
    options[0] = 0x4f;
    options[3] = 60;
    assert_error(
        &ethernet(0x0800, &options),
        ParseError::TruncatedIpv4,
        "udp",
    );

    let whole = ipv6(17, &UDP);
    assert_error(
        &ethernet(0x86dd, &whole[..39]),
        ParseError::TruncatedIpv6,
        "unparsed",
    );
    let mut version = whole.clone();
    version[0] = 0x40;
    assert_error(
        &ethernet(0x86dd, &version),
        ParseError::BadIpv6Header,
        "unparsed",
    );
    assert_error(
        &ethernet(0x86dd, &ipv6(60, &[17])),
        ParseError::TruncatedExtension,
        "unparsed",
    );
    let fragment = ipv6(44, &[17, 0, 0, 0, 0, 0, 0]);
    assert_error(
        &ethernet(0x86dd, &fragment),
        ParseError::TruncatedExtension,
        "unparsed",
    );
    let long = chain(&[60; MAX_EXTENSION_HEADERS + 1], 17, &UDP);
    assert_error(
        &ethernet(0x86dd, &long),
        ParseError::TooManyExtensions,
        "unparsed",
    );
    let longest = chain(&[60; MAX_EXTENSION_HEADERS], 17, &UDP);
    assert_eq!(read(&ethernet(0x86dd, &longest)).error(), None);
}

#[test]
fn cut_transport_headers_have_their_reason_and_their_class() {
    for (proto, class) in [(6, "tcp"), (17, "udp"), (132, "sctp")] {
        let none = ethernet(0x0800, &ipv4(proto, &[0, 1, 0]));
        assert_error(&none, ParseError::NoTransport, class);
        let ports = ethernet(0x0800, &ipv4(proto, &[0, 1, 0, 2]));
        assert_error(&ports, ParseError::TruncatedTransport, class);
        assert_eq!(read(&ports).ports(), Some((1, 2)));
    }
    let icmp = ethernet(0x0800, &ipv4(1, &[8]));
    assert_error(&icmp, ParseError::NoTransport, "icmp");
    assert_eq!(read(&icmp).icmp_type_code(), None);
    let udp = [&UDP[..5], &[7, 0, 0]].concat();
    assert_error(
        &ethernet(0x0800, &ipv4(17, &udp)),
        ParseError::BadTransportLength,
        "udp",
    );
    let mut tcp = TCP;
    tcp[12] = 0x40;
    assert_error(
        &ethernet(0x0800, &ipv4(6, &tcp)),
        ParseError::BadTransportLength,
        "tcp",
    );
    tcp[12] = 0x60;
    assert_error(
        &ethernet(0x0800, &ipv4(6, &tcp)),
        ParseError::TruncatedTransport,
        "tcp",
    );
    assert_eq!(read(&ethernet(0x0800, &ipv4(6, &tcp))).tcp_flags, 0x12);
}

#[test]
fn every_reason_has_its_code() {
    for (index, error) in ParseError::ALL.into_iter().enumerate() {
        assert_eq!(error as usize, index + 1);
        assert_eq!(ParseError::from_code(error as u8), Some(error));
    }
    assert_eq!(ParseError::from_code(0), None);
    assert_eq!(ParseError::from_code(ParseError::ALL.len() as u8 + 1), None);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_to_consistent_headers(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        link in any_link(),
    ) {
        let parsed = parse(&bytes[..], link);
        let headers = parsed.headers;
        prop_assert!(parsed.header_len as usize <= bytes.len());
        prop_assert_eq!(headers.error().is_some(), headers.status != 0);
        prop_assert!(!headers.has(FLAG_IPV4 | FLAG_IPV6));
        prop_assert!(!headers.has(FLAG_LATER_FRAGMENT) || headers.has(FLAG_FRAGMENT));
        prop_assert!(headers.class().protocol != Protocol::Unparsed || headers.status != 0);
        prop_assert!(headers.ports().is_none() || headers.ip_version() != 0);
    }

    #[test]
    fn the_short_way_finds_what_the_long_one_does(
        proto in prop::sample::select(vec![6u8, 17, 1]),
        at in 0usize..62,
        byte in any::<u8>(),
        port_53 in prop::option::of(prop::sample::select(vec![34usize, 36])),
        len in 0usize..70,
    ) {
        let transport = if proto == 17 { &UDP[..] } else { &TCP[..] };
        let mut frame = ethernet(0x0800, &ipv4(proto, transport));
        frame.resize(62, 0);
        frame[at] = byte;
        if let Some(port) = port_53 {
            frame[port..port + 2].copy_from_slice(&[0, 53]);
        }
        frame.truncate(len);
        prop_assert_eq!(parse(&frame[..], ETHERNET), parse_by_walking(&frame));
    }

    #[test]
    fn errors_fit_the_class_of_the_frame(frame in any_frame()) {
        let parsed = parse(&frame[..], ETHERNET);
        let headers = parsed.headers;
        let protocol = headers.class().protocol;
        if let Some(error) = headers.error() {
            prop_assert!(can_have(protocol, headers.ip_version(), error), "{headers:?}");
        }
        prop_assert!(parsed.header_len == 0 || protocol.is_tcp() || protocol.is_udp());
        prop_assert!(headers.tcp_flags == 0 || protocol.is_tcp());
        prop_assert_eq!(headers.has(FLAG_LATER_FRAGMENT), headers.fragment_offset != 0);
        prop_assert!(!headers.has(FLAG_LATER_FRAGMENT) || headers.ports().is_none());
    }

    #[test]
    fn a_damaged_packet_is_parsed_to_consistent_headers(
        at in 0_usize..100,
        value in any::<u8>(),
        len in 0_usize..120,
    ) {
        let whole = tagged(&[0x88a8, 0x8100], 0x86dd, &chain(&[0, 43, 44, 60], 6, &TCP));
        let mut frame = whole;
        frame[at] = value;
        frame.truncate(len);
        let parsed = parse(&frame[..], ETHERNET);
        prop_assert!(parsed.header_len as usize <= frame.len());
        prop_assert!(
            parsed.headers.class().protocol != Protocol::Unparsed || parsed.headers.status != 0
        );
    }
}

/// Frames whose bytes often lead on: most random ones end at the `EtherType`.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let types = vec![0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x0026, 0x88cc];
    let versions = vec![0x45, 0x46, 0x4f, 0x44, 0x60];
    let protocols = vec![0, 1, 2, 6, 17, 43, 44, 58, 60, 89, 132];
    let rest = prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 10..160);
    (
        prop::sample::select(types),
        prop::sample::select(versions),
        prop::sample::select(protocols),
        rest,
        any::<prop::sample::Index>(),
    )
        .prop_map(
            |(ether_type, version, proto, mut rest, end): (u16, _, _, Vec<u8>, _)| {
                (rest[0], rest[6], rest[9]) = (version, proto, proto);
                let mut frame = ethernet(ether_type, &rest);
                frame.truncate(end.index(frame.len()) + 1);
                frame
            },
        )
}

/// Whether a frame of this class and IP version can have this error.
fn can_have(protocol: Protocol, ip_version: u8, error: ParseError) -> bool {
    use ParseError as E;
    let unparsed = protocol == Protocol::Unparsed;
    match error {
        E::TruncatedLink
        | E::TruncatedVlan
        | E::TooManyVlanTags
        | E::BadIpv4Header
        | E::TruncatedIpv6
        | E::BadIpv6Header => unparsed && ip_version == 0,
        E::TruncatedArp => protocol == Protocol::Arp,
        E::TruncatedIpv4 => (unparsed && ip_version == 0) || ip_version == 4,
        E::BadIpv4Length => !unparsed && ip_version == 4,
        E::TruncatedExtension | E::TooManyExtensions => unparsed && ip_version == 6,
        E::NoTransport => ip_version != 0 && has_transport(protocol),
        E::TruncatedTransport => {
            protocol.is_tcp() || protocol.is_udp() || protocol == Protocol::Sctp
        }
        E::BadTransportLength => protocol.is_tcp() || protocol.is_udp(),
    }
}

fn has_transport(protocol: Protocol) -> bool {
    let others = [Protocol::Sctp, Protocol::Icmp, Protocol::Icmp6];
    protocol.is_tcp() || protocol.is_udp() || others.contains(&protocol)
}

fn any_link() -> impl Strategy<Value = Link> {
    let types = prop::sample::select(vec![0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x0004]);
    prop_oneof![
        Just(Link::Ip),
        Just(ETHERNET),
        (any::<u16>(), any::<u16>()).prop_map(|(tpid, tci)| Link::Ethernet(Tag::new(tpid, tci))),
        (types, prop_oneof![0_u32..60, any::<u32>()])
            .prop_map(|(ether_type, offset)| Link::Network { ether_type, offset }),
    ]
}

fn read(frame: &[u8]) -> Headers {
    parse(frame, ETHERNET).headers
}

fn class(protocol: Protocol, number: u16) -> Class {
    Class { protocol, number }
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    tagged(&[], ether_type, payload)
}

/// With tags of priority 7 and ids from 100 on.
fn tagged(tags: &[u16], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = MACS.to_vec();
    for (id, tag) in (100_u16..).zip(tags) {
        frame.extend(tag.to_be_bytes());
        frame.extend((0xe000 | id).to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}
