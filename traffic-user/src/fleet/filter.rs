//! Filter expressions over stored flows: the part of libpcap's language (pcap-filter(7)) that
//! addresses, ports, protocols and VLAN ids can answer, as conditions in SQL.
//!
//! A filter selects packets, and a row of the table counts those of two directions: it is
//! translated twice, once for the initiator's packets and once for the responder's. As in libpcap
//! `and` and `or` bind equally, from left to right, an address or a number alone takes the words
//! before the last one, and each `vlan` looks at the next tag and has what follows looked for behind
//! it: without one, only packets without a tag are selected.

mod parse;

use std::{fmt::Write as _, str::FromStr};

use thiserror::Error;

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    text: String,
    root: Node,
}

/// Why a text is no [`Filter`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// Something that rows of flows do not tell.
    #[error(
        "stored flows cannot answer '{0}': they know host, net, port, portrange (with src, dst), \
         tcp, udp, sctp, icmp, icmp6, igmp, ip, ip6, proto, vlan, and, or, not; filter where it is \
         captured (traffic capture -f), or read that host's capture files (traffic read -f)"
    )]
    NotStored(String),
    /// An address, a number, a word of the language.
    #[error("{what} is expected, not '{found}'")]
    Expected {
        /// What can stand there.
        what: &'static str,
        /// What stands there.
        found: String,
    },
    /// The expression ends too early.
    #[error("{0} is expected at the end")]
    End(&'static str),
    /// As libpcap refuses it.
    #[error("{0} has bits set behind its prefix")]
    HostBits(String),
    /// More nesting than anyone writes.
    #[error("more than {0} parentheses or negations inside each other")]
    Deep(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Test {
        /// VLAN tags in front of what is tested.
        tags: u8,
        test: Test,
    },
}

/// What is asked of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Address {
        end: End,
        range: AddressRange,
    },
    Port {
        end: End,
        /// IP protocols that have ports.
        protocols: Vec<u8>,
        first: u16,
        last: u16,
    },
    /// IP version, where only one is meant, and IP protocol.
    Protocol(Option<u8>, u8),
    Version(u8),
    /// Id of the next tag, where one is named.
    Vlan(Option<u16>),
}

/// Which end of a packet is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
    Either,
    Both,
}

/// Addresses of one IP version, as the table has them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AddressRange {
    version: u8,
    first: [u8; 16],
    last: [u8; 16],
}

/// Whose packets are tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The initiator's.
    Forward,
    /// The responder's.
    Reverse,
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(Self {
            text: text.to_owned(),
            root: parse::parse(text)?,
        })
    }
}

impl Filter {
    /// As it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A condition over the columns of `flows`: whether packets of this side are selected.
    #[must_use]
    pub fn condition(&self, side: Side) -> String {
        let mut sql = String::new();
        write(&self.root, side, &mut sql);
        sql
    }
}

fn write(node: &Node, side: Side, sql: &mut String) {
    let mut pair = |left, word, right| {
        sql.push('(');
        write(left, side, sql);
        sql.push_str(word);
        write(right, side, sql);
        sql.push(')');
    };
    match node {
        Node::And(left, right) => pair(left, " AND ", right),
        Node::Or(left, right) => pair(left, " OR ", right),
        Node::Not(inner) => {
            sql.push_str("(NOT ");
            write(inner, side, sql);
            sql.push(')');
        }
        Node::Test { tags, test } => {
            let _ = write!(
                sql,
                "({} AND {})",
                behind(*tags, test),
                test.condition(side, *tags)
            );
        }
    }
}

/// Whether a packet has as many tags as stand in front of what is tested.
fn behind(tags: u8, test: &Test) -> &'static str {
    match (test, tags) {
        (Test::Vlan(_), 0) => "isNotNull(vlan)",
        (Test::Vlan(_), _) | (_, 2..) => "isNotNull(inner_vlan)",
        (_, 0) => "isNull(vlan)",
        (_, 1) => "isNotNull(vlan) AND isNull(inner_vlan)",
    }
}

impl Test {
    fn condition(&self, side: Side, tags: u8) -> String {
        match self {
            Self::Address { end, range } => {
                let ends = end.of(side, |name| range.condition(&format!("{name}_addr")));
                format!("ip_version = {} AND {ends}", range.version)
            }
            Self::Port {
                end,
                protocols,
                first,
                last,
            } => {
                let protocols: Vec<_> = protocols.iter().map(u8::to_string).collect();
                let ends = end.of(side, |name| {
                    format!("({name}_port >= {first} AND {name}_port <= {last})")
                });
                format!("ip_proto IN ({}) AND {ends}", protocols.join(", "))
            }
            Self::Protocol(None, number) => format!("ip_proto = {number}"),
            Self::Protocol(Some(version), number) => {
                format!("ip_version = {version} AND ip_proto = {number}")
            }
            Self::Version(version) => format!("ip_version = {version}"),
            Self::Vlan(None) => "1".to_owned(),
            Self::Vlan(Some(id)) if tags == 0 => format!("ifNull(vlan = {id}, 0)"),
            Self::Vlan(Some(id)) => format!("ifNull(inner_vlan = {id}, 0)"),
        }
    }
}

impl End {
    /// The condition on both ends of a packet, or on one.
    fn of(self, side: Side, condition: impl Fn(&str) -> String) -> String {
        let (source, destination) = match side {
            Side::Forward => ("src", "dst"),
            Side::Reverse => ("dst", "src"),
        };
        match self {
            Self::Source => condition(source),
            Self::Destination => condition(destination),
            Self::Either => format!("({} OR {})", condition(source), condition(destination)),
            Self::Both => format!("({} AND {})", condition(source), condition(destination)),
        }
    }
}

impl AddressRange {
    fn condition(&self, column: &str) -> String {
        let (first, last) = (hex(&self.first), hex(&self.last));
        if first == last {
            return format!("{column} = {first}");
        }
        format!("({column} >= {first} AND {column} <= {last})")
    }
}

fn hex(address: &[u8; 16]) -> String {
    let number = u128::from_be_bytes(*address);
    format!("toFixedString(unhex('{number:032x}'), 16)")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sql(text: &str, side: Side) -> String {
        text.parse::<Filter>().unwrap().condition(side)
    }

    fn error(text: &str) -> FilterError {
        text.parse::<Filter>().unwrap_err()
    }

    fn same(one: &str, other: &str) {
        let root = |text: &str| text.parse::<Filter>().unwrap().root;
        assert_eq!(root(one), root(other), "{one} is {other}");
    }

    #[test]
    fn the_responder_sends_from_the_destination() {
        assert_eq!(
            sql("src port 53", Side::Forward),
            "(isNull(vlan) AND ip_proto IN (6, 17, 132) AND (src_port >= 53 AND src_port <= 53))"
        );
        assert!(sql("src port 53", Side::Reverse).contains("(dst_port >= 53"));
        assert!(sql("dst host 10.0.0.1", Side::Reverse).contains(
            "ip_version = 4 AND src_addr = toFixedString(unhex('00000000000000000000ffff0a000001')"
        ));
    }

    #[test]
    fn words_are_inherited_as_in_libpcap() {
        same(
            "host 10.0.0.1 or 10.0.0.2",
            "host 10.0.0.1 or host 10.0.0.2",
        );
        same(
            "tcp dst port 80 or 443 or 8080",
            "tcp dst port 80 or tcp dst port 443 or tcp dst port 8080",
        );
        same("10.0.0.1", "host 10.0.0.1");
        same("src 10.0.0.1", "src host 10.0.0.1");
        same("not host ::1 and ::2", "(not host ::1) and host ::2");
        same("udp && !port 53 || (icmp)", "(udp and not port 53) or icmp");
        same("net 10", "net 10.0.0.0/8");
        same("net 10.1", "net 10.1.0.0/16");
        same("ip proto \\tcp", "ip proto 6");
        same("src or dst port 1", "port 1");
    }

    #[test]
    fn and_and_or_bind_equally() {
        same("tcp or udp and ip6", "(tcp or udp) and ip6");
    }

    #[test]
    fn tags_are_looked_behind() {
        assert!(sql("tcp", Side::Forward).starts_with("(isNull(vlan) AND"));
        let one = sql("vlan 5 and tcp", Side::Forward);
        assert!(
            one.contains("isNotNull(vlan) AND ifNull(vlan = 5, 0)"),
            "{one}"
        );
        assert!(
            one.contains("isNotNull(vlan) AND isNull(inner_vlan) AND ip_proto = 6"),
            "{one}"
        );
        let two = sql("vlan and vlan 7 and udp", Side::Forward);
        assert!(two.contains("ifNull(inner_vlan = 7, 0)"), "{two}");
        assert!(matches!(
            error("vlan and vlan and vlan"),
            FilterError::NotStored(_)
        ));
    }

    #[test]
    fn what_flows_do_not_tell_is_refused() {
        for text in [
            "arp",
            "greater 100",
            "tcp[13] & 2 != 0",
            "ether host 2:0:0:0:0:1",
            "broadcast",
            "inbound",
            "mpls",
        ] {
            assert!(
                matches!(error(text), FilterError::NotStored(_)),
                "{text}: {}",
                error(text)
            );
        }
        for text in [
            "host example.org",
            "port http",
            "port 0",
            "port 70000",
            "tcp host 10.0.0.1",
            "ip port 80",
            "host 10.0.0.0/8",
            "net 10.0.0.300",
            "tcp udp",
            "net 10.0.0.0/33",
            "vlan 4096",
        ] {
            assert!(
                matches!(error(text), FilterError::Expected { .. }),
                "{text}: {}",
                error(text)
            );
        }
        for text in ["", "host", "tcp and", "(tcp", "not", "src", "portrange 5-"] {
            let refused = matches!(
                error(text),
                FilterError::End(_) | FilterError::Expected { .. }
            );
            assert!(refused, "{text}: {}", error(text));
        }
        assert_eq!(
            error("net 10.0.0.1/8"),
            FilterError::HostBits("10.0.0.1/8".to_owned())
        );
        assert!(matches!(error(&"(".repeat(1000)), FilterError::Deep(_)));
    }

    proptest! {
        #[test]
        fn any_text_is_a_filter_or_refused(words in proptest::collection::vec(
            prop_oneof!["[a-z0-9.:/()!&|'\\\\-]{0,8}", Just("host".to_owned()), Just("port".to_owned()),
                Just("or".to_owned()), Just("vlan".to_owned()), Just("not".to_owned()),
                Just("1".to_owned()), Just("::1".to_owned())], 0..12)) {
            if let Ok(filter) = words.join(" ").parse::<Filter>() {
                let sql = filter.condition(Side::Reverse);
                // Nothing of the text itself is in the statement.
                prop_assert!(!sql.contains(['\\', '|', '&']));
            }
        }
    }
}
