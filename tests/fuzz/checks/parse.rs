//! Any bytes behind any link header: the parser answers, and its answer holds together.

use traffic_ebpf::{
    parse::{Link, ParseError, Parsed, Tag, parse},
    protocol::Protocol,
    record::{FLAG_FRAGMENT, FLAG_LATER_FRAGMENT, FLAG_VLAN, FLAG_VLAN_INNER},
};
use traffic_user::capture_file::LinkType;

/// Numbers of link types end below this.
const LINK_TYPES: u32 = 300;

/// Checks the answers for a packet.
pub(crate) fn check(packet: &[u8]) {
    let tag = Tag::new(0x8100, 100);
    let links = [Link::Ethernet(None), Link::Ethernet(tag), Link::Ip];
    let of_files = (0..LINK_TYPES).filter_map(|number| LinkType(number).link(packet));
    for link in links.into_iter().chain(of_files) {
        holds_together(&parse(packet, link), packet);
    }
}

fn holds_together(parsed: &Parsed, packet: &[u8]) {
    let headers = &parsed.headers;
    assert!(parsed.header_len as usize <= packet.len());
    assert_eq!(headers.status == 0, headers.error().is_none());
    assert!(!headers.has(FLAG_VLAN_INNER) || headers.has(FLAG_VLAN));
    assert!(!headers.has(FLAG_LATER_FRAGMENT) || headers.has(FLAG_FRAGMENT));
    assert_eq!(
        headers.has(FLAG_LATER_FRAGMENT),
        headers.fragment_offset != 0
    );
    let protocol = Protocol::from_index(headers.protocol);
    assert_eq!(protocol as u8, headers.protocol);
    if protocol == Protocol::Unparsed {
        assert!(headers.error().is_some());
    }
    if headers.error() == Some(ParseError::TruncatedLink) {
        assert_eq!(protocol, Protocol::Unparsed);
    }
    if headers.has(FLAG_LATER_FRAGMENT) {
        assert_eq!(headers.ports(), None);
    }
}
