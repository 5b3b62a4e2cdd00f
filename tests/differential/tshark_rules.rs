//! Where tshark and the parser may differ, and why.
//!
//! A rule speaks of a protocol, never of a file. It excuses the fields that it names, in packets
//! that `applies` picks by their bytes and by what both sides said. The first rule that fits excuses.

use traffic_ebpf::parse::ParseError::{
    self, BadIpv4Header, BadIpv4Length, BadIpv6Header, BadTransportLength, TooManyExtensions,
    TruncatedExtension, TruncatedIpv4, TruncatedIpv6, TruncatedLink, TruncatedTransport,
    TruncatedVlan,
};

use traffic_user::capture_file::LinkType;

use crate::answer::{
    Answer,
    Field::{
        self, Class, Dns, Dst, EtherType, Fragment, IpProto, IpVersion, Ports, Src, TcpFlags,
        Timestamp, VlanIds, WireLen,
    },
    Frame,
};
use Example::{Bytes, Corpus};

/// One accepted difference.
pub(crate) struct Rule {
    /// What differs.
    pub(crate) name: &'static str,
    /// Why both are right, or why tshark is not.
    pub(crate) reason: &'static str,
    /// A packet where it shows.
    pub(crate) example: Example,
    /// What may differ.
    pub(crate) fields: &'static [Field],
    /// Whether it holds for a packet: the frame, our answer, tshark's answer.
    pub(crate) applies: fn(&Frame, &Answer, &Answer) -> bool,
}

/// A packet that needs a rule.
pub(crate) enum Example {
    /// File below the corpus, and number of the frame.
    Corpus(&'static str, usize),
    /// Link type, and bytes in hexadecimal.
    Bytes(u32, &'static str),
}

/// All rules.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "length field of 0",
        reason: "IEEE 802.3 and Linux take every value below 1501 as a length; tshark takes 0 as \
                 EtherType 0x0000",
        example: Corpus("ndpi/fuzz-2006-06-26-2594.pcap", 607),
        fields: &[Class, EtherType],
        applies: |_, ours, theirs| ours.ether_type == Some(LLC) && theirs.ether_type == Some(0),
    },
    Rule {
        name: "length field of 1501 to 1535",
        reason: "neither length nor type; Linux takes everything below 1536 as a length, and so \
                 do we; tshark shows the number",
        example: Bytes(1, "0200000000020200000000018100e06405f0"),
        fields: &[Class, EtherType],
        applies: |_, ours, theirs| {
            let number = theirs.ether_type.unwrap_or(0);
            ours.ether_type == Some(LLC) && (1501..=1535).contains(&number)
        },
    },
    Rule {
        name: "length field after an S-tag",
        reason: "a frame with a length can carry an 802.1ad tag; tshark knows lengths only \
                 without tags and after 802.1Q tags",
        example: Bytes(
            1,
            "02000000000202000000000188a8e0640100e06586dd6000000000202c402001",
        ),
        fields: &[Class, EtherType],
        applies: |frame, ours, theirs| {
            let number = theirs.ether_type.unwrap_or(0);
            let has_s_tag = frame.data.windows(2).any(|bytes| bytes == [0x88, 0xa8]);
            ours.ether_type == Some(LLC) && !ours.vlan_ids.is_empty() && has_s_tag && number < 1501
        },
    },
    Rule {
        name: "Cisco ISL",
        reason: "frames to 01:00:0c:00:00 with a length hold another frame in an encapsulation of \
                 Cisco's own; tshark goes on with that frame, we file them under their length",
        example: Bytes(1, "01000c0000a90200000000010028"),
        fields: INNER,
        applies: |frame, ours, _| {
            let isl = [[0x01, 0, 0x0c, 0, 0], [0x0c, 0, 0x0c, 0, 0]];
            isl.iter().any(|address| frame.data.starts_with(address))
                && frame.link_type == LinkType::ETHERNET
                && ours.ether_type == Some(LLC)
        },
    },
    Rule {
        name: "BSD loopback with no address family",
        reason: "the first four bytes are no known family in either byte order; tshark then also \
                 tries them as two numbers of two bytes, as IRIX wrote them",
        example: Bytes(0, "00e7000245000014123400000059"),
        fields: INNER,
        applies: |frame, ours, _| frame.link_type.0 == 0 && ours.ether_type == Some(0),
    },
    Rule {
        name: "Linux cooked, frame inside",
        reason: "protocols 3 and 7 are Linux's ETH_P_ALL and PPP; tshark goes on with an Ethernet \
                 or PPP header, we file frames under the number",
        example: Bytes(
            113,
            "00040001000602000000000100000003020000000002020000000001080045000014",
        ),
        fields: INNER,
        applies: |frame, ours, _| {
            matches!(frame.link_type.0, 113 | 276) && matches!(ours.ether_type, Some(3 | 7))
        },
    },
    Rule {
        name: "Linux cooked, netlink",
        reason: "a netlink message has no EtherType, which is a class of its own; tshark names no \
                 type",
        example: Bytes(113, "000403380000000000000000000000001400000012000103"),
        fields: &[Class, EtherType],
        applies: |frame, ours, theirs| {
            matches!(frame.link_type.0, 113 | 276)
                && ours.ether_type == Some(0)
                && theirs.ether_type.is_none()
        },
    },
    Rule {
        name: "Linux cooked v2 header cut",
        reason: "without its whole link header a frame is unparsed; tshark shows the protocol, \
                 which is the header's first field",
        example: Bytes(276, "08060000000000020001040602000000"),
        fields: &[Class, EtherType],
        applies: |frame, ours, _| {
            frame.link_type.0 == 276
                && has_error(frame, &[TruncatedLink])
                && ours.class == "unparsed"
        },
    },
    Rule {
        name: "even PPP protocol number",
        reason: "PPP's numbers are odd (RFC 1661, section 2); tshark looks even ones up as \
                 EtherTypes, we file them under PPP's",
        example: Bytes(
            9,
            "ff0308004700004412340000403300000a0000010a00000294040000010101001104000000000000",
        ),
        fields: INNER,
        applies: |frame, ours, theirs| {
            matches!(frame.link_type.0, 9 | 50)
                && ours.ether_type == Some(0x880b)
                && theirs.ether_type == Some(0x880b)
                && matches!(*frame.data, [0xff, _, _, low, ..] | [_, low, ..] if low & 1 == 0)
        },
    },
    Rule {
        name: "VLAN tag after Cisco HDLC",
        reason: "a tag is followed wherever it stands; tshark knows none in Cisco's framing",
        example: Bytes(104, "0f0081004500001412340000403b00000a0000010b000002"),
        fields: INNER,
        applies: |frame, ours, theirs| {
            matches!(frame.link_type.0, 50 | 104)
                && ours.vlan_ids.len() > theirs.vlan_ids.len()
                && matches!(theirs.ether_type, Some(0x8100 | 0x88a8 | 0x9100))
        },
    },
    Rule {
        name: "two VLAN ids",
        reason: "a record has room for the two outer tags; deeper ones are followed, and not kept",
        example: Bytes(1, "0200000000020200000000019100e0648100e0658100e0660806"),
        fields: &[VlanIds],
        applies: |_, ours, theirs| {
            ours.vlan_ids.len() == 2 && theirs.vlan_ids.starts_with(&ours.vlan_ids)
        },
    },
    Rule {
        name: "VLAN tag cut",
        reason: "a tag counts when its four bytes are there; tshark shows the id without the type",
        example: Bytes(1, "0200000008020200000000018100e064"),
        fields: &[VlanIds],
        applies: |frame, ours, theirs| {
            frame.headers.error() == Some(TruncatedVlan)
                && theirs.vlan_ids.starts_with(&ours.vlan_ids)
                && theirs.vlan_ids.len() == ours.vlan_ids.len() + 1
        },
    },
    Rule {
        name: "IP header cut",
        reason: "without the whole fixed IP header a frame is unparsed; tshark shows the fields \
                 in front of the cut",
        example: Corpus("tcpdump/ipv4_invalid_length.pcap", 1),
        fields: &[Class, EtherType, IpVersion, IpProto, Src, Fragment],
        applies: |frame, ours, theirs| {
            // The destination is the last field of both headers.
            has_error(frame, &[TruncatedIpv4, TruncatedIpv6])
                && ours.class == "unparsed"
                && theirs.dst.is_none()
                && theirs
                    .ether_type
                    .is_none_or(|number| Some(number) == ours.ether_type)
        },
    },
    Rule {
        name: "IPv4 options cut",
        reason: "the destination stands in front of the options and is reported; tshark shows it \
                 only after them",
        example: Bytes(228, "4700002412340000405900000a0000010a00ee02"),
        fields: &[Dst],
        applies: |frame, _, theirs| {
            has_error(frame, &[TruncatedIpv4]) && theirs.src.is_some() && theirs.dst.is_none()
        },
    },
    Rule {
        name: "IPv4 total length below the header's",
        reason: "the fixed header is whole and is reported, with the error; tshark stops at the \
                 length field, in front of protocol and addresses",
        example: Bytes(228, "4500001012340000403b00000a0000010a000002"),
        fields: &[Class, IpVersion, IpProto, Src, Dst, Fragment],
        applies: |frame, _, theirs| {
            has_error(frame, &[BadIpv4Length]) && theirs.class == "unparsed" && theirs.src.is_none()
        },
    },
    Rule {
        name: "raw link, bad IP header",
        reason: "a link type that carries only IPv4 or only IPv6 says what the frame is; tshark \
                 names no type when the version is wrong",
        example: Bytes(
            229,
            "e00000000010134020010db810000000000000000000000120010db8000000000000000000000002",
        ),
        fields: &[EtherType],
        applies: |frame, ours, theirs| {
            matches!(frame.link_type.0, 228 | 229)
                && has_error(frame, &[BadIpv4Header, BadIpv6Header])
                && ours.class == "unparsed"
                && theirs.ether_type.is_none()
        },
    },
    Rule {
        name: "IPv6 extension header cut",
        reason: "a header counts when its next-header and length bytes are there (eight bytes of \
                 a fragment header); tshark shows the next header of one that is cut",
        example: Bytes(
            101,
            "600000000000004020010db800000000000000000000000120010db80000000000000000000000022c00",
        ),
        fields: &[Class, IpProto, Fragment],
        applies: |frame, ours, _| {
            has_error(frame, &[TruncatedExtension]) && ours.class == "unparsed"
        },
    },
    Rule {
        name: "IPv6 payload length 0 before hop-by-hop options",
        reason: "a length of 0 means up to the end of the frame (Linux's super-frames); in front \
                 of hop-by-hop options tshark takes it as 0 when they hold no jumbo length",
        example: Bytes(
            101,
            "600000000000004020010db800000000000000000000000120010db800000000000000000000000211000000000000000007003500080000",
        ),
        fields: &[Class, IpProto, Fragment, Ports, TcpFlags, Dns],
        applies: |frame, ours, theirs| {
            let is_zero = |packet: &[u8]| matches!(packet, [_, _, _, _, 0, 0, 0, ..]);
            theirs.ip_proto == Some(0) && frame.ipv6_packet(ours).is_some_and(is_zero)
        },
    },
    Rule {
        name: "IP options malformed",
        reason: "the options inside a header are not needed to go on, only its length is; tshark \
                 gives up inside them",
        example: Bytes(
            101,
            "600000000010004020010db800000000000000000000000120010db800000000000000000000000211000000000000088707003500080000",
        ),
        fields: &[Class, IpProto, Fragment, Ports, TcpFlags, Dns],
        applies: |_, ours, theirs| {
            let stopped_in = theirs.malformed.as_deref().unwrap_or("");
            let is_ip = stopped_in == "ip" || stopped_in.starts_with("ipv6.");
            is_ip && ours.ip_proto.is_some() && theirs.ports.is_none()
        },
    },
    Rule {
        name: "long IPv6 chain",
        reason: "the kernel program follows a bounded number of extension headers, more than any \
                 order of RFC 8200 has",
        example: Bytes(
            101,
            "6000000000683c4020010db800000000000000000000000120010db80000000000000000000000023c000000000000003c000000000000003c000000000000003c000000000000003c000000000000003c000000000000003c000000000000003c000000000000003c000000000000003c000000000000003c0000000000000011000000000000000007003500080000",
        ),
        fields: &[Class, IpProto, Fragment, Ports, TcpFlags, Dns],
        applies: |frame, ours, _| {
            has_error(frame, &[TooManyExtensions]) && ours.class == "unparsed"
        },
    },
    Rule {
        name: "SCTP header cut",
        reason: "the ports are its first bytes and are reported; tshark shows them only when all \
                 twelve bytes are there",
        example: Bytes(228, "4500001812340000408400000a0000010a0000020b590b5a"),
        fields: &[Ports],
        applies: |frame, ours, theirs| {
            ours.class == "sctp"
                && has_error(frame, &[TruncatedTransport])
                && theirs.ports.is_none()
        },
    },
    Rule {
        name: "TCP data offset out of range",
        reason: "tshark shows no flags when the data offset is below 5 or points beyond the \
                 segment; the flags are there, in byte 13, and are reported",
        example: Corpus("ndpi/fuzz-2006-09-29-28586.pcap", 111),
        fields: &[TcpFlags],
        applies: |frame, _, theirs| {
            has_error(frame, &[BadTransportLength, TruncatedTransport]) && theirs.tcp_flags == 0
        },
    },
    Rule {
        name: "wire length above 2^31",
        reason: "the field is unsigned; tshark shows at most the largest signed number",
        example: Corpus("ndpi/fuzz-2021-06-07-c6c72a0a56.pcap", 1),
        fields: &[WireLen],
        applies: |_, ours, theirs| {
            ours.wire_len > i32::MAX.cast_unsigned() && theirs.wire_len == i32::MAX.cast_unsigned()
        },
    },
    Rule {
        name: "fraction of a second or more",
        reason: "a record's microseconds are added to its seconds; tshark computes their \
                 nanoseconds in 32 bits and prints what is no time",
        example: Corpus("ndpi/fuzz-2021-06-07-c6c72a0a56.pcap", 1),
        fields: &[Timestamp],
        applies: |_, _, theirs| theirs.timestamp_ns.is_none(),
    },
];

const LLC: u16 = 0x0004;

/// Everything that another header would change.
const INNER: &[Field] = &[
    Class, EtherType, VlanIds, IpVersion, IpProto, Src, Dst, Fragment, Ports, TcpFlags, Dns,
];

fn has_error(frame: &Frame, errors: &[ParseError]) -> bool {
    frame
        .headers
        .error()
        .is_some_and(|error| errors.contains(&error))
}
