//! A line per packet, in tcpdump's style. Addresses and ports stay numbers.
//!
//! Every byte may be hostile: reads are bounded by what was captured, what is cut short is shown
//! as `[|tcp]`, and text from packets has no control characters.

mod arp;
mod dns;
mod dump;
mod icmp;
mod icmp6;
mod ip;
mod link;
mod tcp;
mod time;
mod udp;

use crate::{capture_file::LinkType, record::Direction};

use self::{dump::Dump, tcp::Flows, time::Times};

pub use dump::DumpStyle;
pub use time::TimeStyle;

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($args:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($out, $($args)*);
    }};
}
use put;

/// What a line shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The time in front of it.
    pub time: TimeStyle,
    /// The link header.
    pub link: bool,
    /// The bytes, in lines of their own.
    pub dump: DumpStyle,
}

/// A packet to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// What was captured, from the link header.
    pub data: &'a [u8],
    /// Bytes on the wire.
    pub wire_len: u32,
    /// What `data` begins with.
    pub link_type: LinkType,
    /// Interface and direction, where they are to be shown.
    pub origin: Option<(&'a str, Direction)>,
}

/// Prints packets. It remembers the last time and, for relative sequence numbers, a bounded number
/// of TCP connections.
#[derive(Debug)]
pub struct Printer {
    style: Style,
    times: Times,
    flows: Flows,
}

/// What dissectors know beside the bytes.
struct Context<'a> {
    /// The link header was shown: names of network protocols were, too.
    link_shown: bool,
    flows: &'a mut Flows,
}

impl Printer {
    /// A printer that has seen nothing; times are those of the system's time zone.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self {
            style,
            times: Times::new(style.time, jiff::tz::TimeZone::system()),
            flows: Flows::default(),
        }
    }

    /// Appends the packet's line, and the lines of its bytes, each with its line feed.
    pub fn print(&mut self, packet: &Packet<'_>, out: &mut String) {
        self.times.put(packet.timestamp_ns, out);
        if let Some((interface, direction)) = packet.origin {
            let direction = match direction {
                Direction::Ingress => "In ",
                Direction::Egress => "Out",
            };
            put!(out, "{interface} {direction} ");
        }
        let mut context = Context {
            link_shown: self.style.link,
            flows: &mut self.flows,
        };
        let network = link::put(packet, &mut context, out);
        out.push('\n');
        let dump = Dump {
            frame: packet.data,
            network: packet.data.get(network..).unwrap_or_default(),
        };
        dump.put(self.style.dump, out);
    }
}

/// `N` bytes at `offset`; `None` where they were not captured.
fn bytes<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    data.get(offset..)?.first_chunk().copied()
}

fn be16(data: &[u8], offset: usize) -> Option<u16> {
    bytes(data, offset).map(u16::from_be_bytes)
}

fn be32(data: &[u8], offset: usize) -> Option<u32> {
    bytes(data, offset).map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A line without its time.
    pub(super) fn line(link_type: LinkType, link: bool, data: &[u8]) -> String {
        let mut printer = Printer::new(Style {
            link,
            time: TimeStyle::None,
            ..Style::default()
        });
        let mut out = String::new();
        let packet = Packet {
            timestamp_ns: 0,
            data,
            wire_len: u32::try_from(data.len()).unwrap(),
            link_type,
            origin: None,
        };
        printer.print(&packet, &mut out);
        out.trim_end_matches('\n').to_owned()
    }

    fn from_hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).unwrap();
        digits.chunks_exact(2).map(byte).collect()
    }

    const SYN: &str = "0200000000020200000000010800 4500003c1c4640004006b1e60a0000010a000002
        10e100500000000a00000000a002faf00000 0000 020405b40402080a0000000a0000000001030307";

    #[test]
    fn tcp_is_shown_as_tcpdump_does() {
        let frame = from_hex(SYN);
        assert_eq!(
            line(LinkType::ETHERNET, false, &frame),
            "IP 10.0.0.1.4321 > 10.0.0.2.80: Flags [S], seq 10, win 64240, options [mss \
             1460,sackOK,TS val 10 ecr 0,nop,wscale 7], length 0"
        );
        assert_eq!(
            line(LinkType::ETHERNET, true, &frame),
            "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 74: \
             10.0.0.1.4321 > 10.0.0.2.80: Flags [S], seq 10, win 64240, options [mss \
             1460,sackOK,TS val 10 ecr 0,nop,wscale 7], length 0"
        );
    }

    #[test]
    fn what_is_cut_short_is_shown_so() {
        let frame = from_hex(SYN);
        for (len, end) in [
            (13, "[|ether]"),
            (20, "[|ip]"),
            (40, "[|tcp]"),
            (60, "[|tcp]"),
        ] {
            let line = line(LinkType::ETHERNET, false, &frame[..len]);
            assert!(line.ends_with(end), "{len}: {line}");
        }
    }

    #[test]
    fn arp_is_shown_with_tags_in_the_link_header() {
        let arp = "0001080006040001 020000000001 0a000001 000000000000 0a000002";
        let frame = from_hex(&format!("ffffffffffff020000000001 81000007 0806 {arp}"));
        assert_eq!(
            line(LinkType::ETHERNET, false, &frame),
            "ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28"
        );
        assert_eq!(
            line(LinkType::ETHERNET, true, &frame),
            "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype 802.1Q (0x8100), length 46: vlan 7, \
             p 0, ethertype ARP (0x0806), Request who-has 10.0.0.2 tell 10.0.0.1, length 28"
        );
    }

    #[test]
    fn numbers_of_a_connection_are_relative_after_the_handshake() {
        let mut flows = Printer::new(Style {
            time: TimeStyle::None,
            ..Style::default()
        });
        let mut out = String::new();
        let ip = "4500002a000000004006000001010101020202021111005000000064000000c850";
        for flags in ["12", "10", "18"] {
            let data = from_hex(&format!("{ip}{flags}0100000000004142"));
            let packet = Packet {
                timestamp_ns: 0,
                data: &data,
                wire_len: 42,
                link_type: LinkType::RAW,
                origin: None,
            };
            flows.print(&packet, &mut out);
        }
        let lines: Vec<_> = out.lines().collect();
        assert!(
            lines[0].contains("Flags [S.], seq 100:102, ack 200"),
            "{out}"
        );
        assert!(lines[1].contains("Flags [.], seq 0:2, ack 1"), "{out}");
        assert!(lines[2].contains("Flags [P.], seq 0:2, ack 1"), "{out}");
    }

    proptest! {
        /// Any bytes give lines of printable text.
        #[test]
        fn any_frame_is_one_printable_line(
            link_type in prop::sample::select(vec![0u32, 1, 9, 50, 101, 113, 228, 229, 276, 999]),
            ether_type in prop::sample::select(vec![0x0800u16, 0x86dd, 0x0806, 0x8100, 0x0020]),
            first in prop::sample::select(vec![0x45u8, 0x46, 0x60, 0]),
            protocol in prop::sample::select(vec![0u8, 1, 2, 6, 17, 43, 44, 47, 50, 51, 58, 60, 89, 132]),
            mut data in prop::collection::vec(any::<u8>(), 0..200),
            link in any::<bool>(),
        ) {
            if data.len() > 40 {
                data[12..14].copy_from_slice(&ether_type.to_be_bytes());
                data[14] = first;
                data[if first == 0x60 { 20 } else { 23 }] = protocol;
            }
            let line = line(LinkType(link_type), link, &data);
            prop_assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
        }

        /// Deep inside: DNS, ICMP and TCP options at any length.
        #[test]
        fn any_payload_is_one_printable_line(
            protocol in prop::sample::select(vec![1u8, 2, 6, 17, 47, 58, 89, 132]),
            port in prop::sample::select(vec![53u16, 80]),
            data in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let mut packet = from_hex("4500000000000000 4000 0000 01010101 02020202");
            packet[9] = protocol;
            packet[3] = u8::try_from(20 + data.len()).unwrap();
            packet.extend(&data);
            if packet.len() > 24 {
                packet[20..22].copy_from_slice(&port.to_be_bytes());
            }
            let line = line(LinkType::RAW, false, &packet);
            prop_assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
        }
    }
}
