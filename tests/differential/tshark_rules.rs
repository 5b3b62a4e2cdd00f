//! Where tshark and the parser may differ, and why.
//!
//! A rule speaks of a protocol, never of a file. It excuses the fields that it names, in packets
//! that `applies` picks by their bytes and by what both sides said. Examples that begin with
//! `generated` are packets of the capture that the test writes itself.

use traffic_ebpf::parse::ParseError;

use crate::answer::{
    Answer,
    Field::{self, Class, EtherType, IpProto, IpVersion, Src, TcpFlags, Timestamp, WireLen},
    Frame,
};

/// One accepted difference.
pub(crate) struct Rule {
    /// What differs.
    pub(crate) name: &'static str,
    /// Why both are right, or why tshark is not.
    pub(crate) reason: &'static str,
    /// A packet where it shows: file below the corpus, number of the frame.
    pub(crate) example: (&'static str, usize),
    /// What may differ.
    pub(crate) fields: &'static [Field],
    /// Whether it holds for a packet: the frame, our answer, tshark's answer.
    pub(crate) applies: fn(&Frame, &Answer, &Answer) -> bool,
}

/// All rules.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "length field of 0",
        reason: "IEEE 802.3 and Linux take every value below 1501 as a length; tshark takes 0 as \
                 EtherType 0x0000",
        example: ("ndpi/fuzz-2006-06-26-2594.pcap", 607),
        fields: &[Class, EtherType],
        applies: |_, ours, theirs| ours.ether_type == Some(0x0004) && theirs.ether_type == Some(0),
    },
    Rule {
        name: "IP header cut",
        reason: "without the whole fixed IP header a frame is unparsed; tshark shows the fields \
                 in front of the cut",
        example: ("tcpdump/ipv4_invalid_length.pcap", 1),
        fields: &[Class, IpVersion, IpProto, Src],
        applies: |frame, ours, theirs| {
            let error = frame.headers.error();
            let cut = [ParseError::TruncatedIpv4, ParseError::TruncatedIpv6];
            // The destination is the last field of both headers.
            error.is_some_and(|error| cut.contains(&error))
                && ours.class == "unparsed"
                && theirs.dst.is_none()
        },
    },
    Rule {
        name: "TCP data offset out of range",
        reason: "tshark shows no flags when the data offset is below 5 or points beyond the \
                 segment; the flags are there, in byte 13, and are reported",
        example: ("ndpi/fuzz-2006-09-29-28586.pcap", 111),
        fields: &[TcpFlags],
        applies: |frame, _, theirs| {
            let error = frame.headers.error();
            let bogus = [ParseError::BadTransportLength, ParseError::TruncatedTransport];
            error.is_some_and(|error| bogus.contains(&error)) && theirs.tcp_flags == 0
        },
    },
    Rule {
        name: "wire length above 2^31",
        reason: "the field is unsigned; tshark shows at most the largest signed number",
        example: ("ndpi/fuzz-2021-06-07-c6c72a0a56.pcap", 1),
        fields: &[WireLen],
        applies: |_, ours, theirs| {
            ours.wire_len > i32::MAX.cast_unsigned()
                && theirs.wire_len == i32::MAX.cast_unsigned()
        },
    },
    Rule {
        name: "fraction of a second or more",
        reason: "a record's microseconds are added to its seconds; tshark computes their \
                 nanoseconds in 32 bits and prints what is no time",
        example: ("ndpi/fuzz-2021-06-07-c6c72a0a56.pcap", 1),
        fields: &[Timestamp],
        applies: |_, _, theirs| theirs.timestamp_ns.is_none(),
    },
];
