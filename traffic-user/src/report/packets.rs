//! Packets as lines of JSON; `docs/packet.schema.json` describes a line.

use serde::Serialize;
use traffic_ebpf::{
    parse::ParseError,
    record::{FLAG_FRAGMENT, FLAG_IPV4, FLAG_IPV6},
};

use super::assemble::rfc3339;
use crate::record::{Direction, PacketRecord, tcp_flag_names};

/// A packet. Fields that its headers do not have are left out.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'a str>,
    direction: &'static str,
    bytes: u32,
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_flags: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
    ether_type: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_protocol: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment_offset: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// `record` as a line of JSON with its newline. `interfaces` are the names by number; an interface
/// without a name is left out.
///
/// # Panics
/// Never: the fields are strings and numbers.
#[must_use]
pub fn line(record: &PacketRecord, interfaces: &[String]) -> String {
    let headers = record.headers();
    let (src_port, dst_port) = headers.ports().unzip();
    let (icmp_type, icmp_code) = headers.icmp_type_code().unzip();
    let ip = headers.has(FLAG_IPV4) || headers.has(FLAG_IPV6);
    let line = Line {
        time: rfc3339(record.timestamp_ns()),
        interface: interfaces
            .get(usize::from(record.interface()))
            .map(String::as_str),
        direction: match record.direction() {
            Direction::Ingress => "in",
            Direction::Egress => "out",
        },
        bytes: record.wire_len(),
        protocol: headers.class().to_string(),
        src: record.src().map(|address| address.to_string()),
        dst: record.dst().map(|address| address.to_string()),
        src_port,
        dst_port,
        tcp_flags: headers.read_tcp_flags().map(tcp_flag_names),
        icmp_type,
        icmp_code,
        ether_type: headers.ether_type,
        vlan: headers.vlan_ids().collect(),
        ip_protocol: ip.then_some(headers.ip_proto),
        ttl: ip.then_some(headers.ttl),
        fragment_offset: headers
            .has(FLAG_FRAGMENT)
            .then_some(headers.fragment_offset),
        fragment_id: headers.fragment_id(),
        error: headers.error().map(ParseError::label),
    };
    let mut json = serde_json::to_string(&line).expect("strings and numbers always serialise");
    json.push('\n');
    json
}
