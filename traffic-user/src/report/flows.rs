//! The report's table of flows.

use std::collections::BTreeMap;

use serde::Serialize;
use traffic_ebpf::{protocol::Protocol, tally::Count};

use super::{
    Report,
    assemble::rfc3339,
    number::{count, counted, seconds as seconds_text},
};
use crate::{
    flows::{EndReason, FlowRecord, FlowSide, Flows},
    record::{Direction, tcp_flag_names},
};

/// Flows of the run: how many, and the largest.
#[derive(Clone, Debug, Serialize)]
pub struct FlowTable {
    /// Silence that ends a flow, in seconds; `None` for stored flows, as in the next two: each
    /// capture had its own.
    pub idle_s: Option<f64>,
    /// Age at which a part of a flow is cut off, in seconds.
    pub active_s: Option<f64>,
    /// Flows in memory at most.
    pub max_flows: Option<u64>,
    /// Packets of flows.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets without an IP header, which belong to no flow. With `packets` they are all whose
    /// summaries arrived.
    pub other_packets: u64,
    /// Their bytes.
    pub other_bytes: u64,
    /// Flows that go on; none of them is stored.
    pub live: u64,
    /// Flows, and parts of flows, that ended, by reason (RFC 5102, section 5.11.3).
    pub ended: BTreeMap<&'static str, u64>,
    /// What a reader should know about them; `None` where they are whole and exact.
    pub note: Option<String>,
    /// The flows with the most bytes, most first.
    pub rows: Vec<FlowRow>,
}

/// A flow.
#[derive(Clone, Debug, Serialize)]
pub struct FlowRow {
    /// Interface where it was seen.
    pub interface: String,
    /// VLAN id of the outer tag.
    pub vlan: Option<u16>,
    /// VLAN id of the inner tag.
    pub inner_vlan: Option<u16>,
    /// `tcp`, `udp`, `ip-proto-89`, ….
    pub protocol: String,
    /// The initiator.
    pub src: String,
    /// Its port; `None` for protocols and fragments without ports.
    pub src_port: Option<u16>,
    /// The responder.
    pub dst: String,
    /// Its port, as `src_port`.
    pub dst_port: Option<u16>,
    /// Time of the first packet, RFC 3339 in UTC.
    pub first: String,
    /// Time of the last packet, as `first`.
    pub last: String,
    /// From the first packet to the last.
    pub duration_s: f64,
    /// Packets of both directions.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// From the initiator.
    pub forward: FlowSideRow,
    /// From the responder.
    pub reverse: FlowSideRow,
    /// From the first SYN to the ACK that completes the handshake, in seconds.
    pub handshake_s: Option<f64>,
    /// From the first question to the first answer, in seconds.
    pub response_s: Option<f64>,
    /// Why it ended; `live` for a flow that goes on.
    pub end: &'static str,
}

/// One direction of a flow.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FlowSideRow {
    /// Packets.
    pub packets: u64,
    /// Their bytes from the link header.
    pub bytes: u64,
    /// Their bytes from the IP header.
    pub ip_bytes: u64,
    /// `ingress` or `egress`; `None` without packets.
    pub direction: Option<&'static str>,
    /// All TCP flags that were seen, as `SYN PSH ACK`.
    pub tcp_flags: Option<String>,
    /// ICMP type of the first packet.
    pub icmp_type: Option<u8>,
    /// ICMP code of the first packet.
    pub icmp_code: Option<u8>,
}

/// What the table takes from elsewhere in the report.
pub(super) struct Context<'a> {
    /// Names of interfaces by number, and one frame in how many was counted there.
    pub(super) interfaces: Vec<(&'a str, u32)>,
    /// Summaries that never arrived; `None` where none were asked for.
    pub(super) lost: Option<u64>,
    /// Rows.
    pub(super) top: usize,
}

/// The table of `flows`.
pub(super) fn table(flows: &Flows, context: &Context<'_>) -> FlowTable {
    let settings = flows.settings();
    let counts = flows.counts();
    let Count { packets, bytes } = counts.flows;
    let ended = EndReason::ALL.iter().zip(counts.ended);
    FlowTable {
        idle_s: Some(settings.idle.as_secs_f64()),
        active_s: Some(settings.active.as_secs_f64()),
        max_flows: Some(settings.max_flows.into()),
        packets,
        bytes,
        other_packets: counts.other.packets,
        other_bytes: counts.other.bytes,
        live: counts.live,
        ended: ended
            .map(|(reason, count)| (reason.label(), count))
            .collect(),
        note: note(flows, context),
        rows: flows
            .top(context.top)
            .iter()
            .map(|flow| row(flow, context))
            .collect(),
    }
}

/// Says where flows are not whole or not exact.
fn note(flows: &Flows, context: &Context<'_>) -> Option<String> {
    let mut notes = Vec::new();
    let evicted = flows.counts().ended[EndReason::LackOfResources as usize - 1];
    if evicted > 0 {
        notes.push(format!(
            "{} cut short, because more than {} were live (--max-flows).",
            counted(evicted, "flow"),
            count(flows.settings().max_flows.into())
        ));
    }
    match context.lost {
        None => notes.push("No flows: only counters were asked for.".to_owned()),
        Some(0) => {}
        Some(lost) => notes.push(format!(
            "Flows are lower bounds: {} missing from them.",
            counted(lost, "packet")
        )),
    }
    for (name, sample) in &context.interfaces {
        if *sample > 1 {
            notes.push(format!(
                "One frame in {sample} of {name} is there: its flows are estimates, and flows \
                 without such a frame are missing."
            ));
        }
    }
    (!notes.is_empty()).then(|| notes.join(" "))
}

fn row(flow: &FlowRecord, context: &Context<'_>) -> FlowRow {
    let name = context.interfaces.get(usize::from(flow.interface));
    flow_row(flow, name.map_or("", |(name, _)| name))
}

/// The row of a flow on the interface with this name.
pub(super) fn flow_row(flow: &FlowRecord, interface: &str) -> FlowRow {
    let protocol = Protocol::from_ip_proto(flow.ip_proto);
    let has_ports = flow.src_port != 0 || flow.dst_port != 0;
    let (first_ns, last_ns) = (flow.first_ns(), flow.last_ns());
    FlowRow {
        interface: interface.to_owned(),
        vlan: flow.vlan,
        inner_vlan: flow.inner_vlan,
        protocol: if protocol.is_numbered() {
            format!("{}-{}", protocol.label(), flow.ip_proto)
        } else {
            protocol.label().to_owned()
        },
        src: flow.src_addr.to_string(),
        src_port: has_ports.then_some(flow.src_port),
        dst: flow.dst_addr.to_string(),
        dst_port: has_ports.then_some(flow.dst_port),
        first: rfc3339(first_ns),
        last: rfc3339(last_ns),
        duration_s: seconds(last_ns - first_ns),
        packets: flow.packets(),
        bytes: flow.bytes(),
        forward: side(&flow.forward, flow.ip_proto),
        reverse: side(&flow.reverse, flow.ip_proto),
        handshake_s: flow.handshake_ns.map(seconds),
        response_s: flow.response_ns.map(seconds),
        end: flow.end.map_or("live", EndReason::label),
    }
}

fn side(side: &FlowSide, ip_proto: u8) -> FlowSideRow {
    const TCP: u8 = 6;
    let (icmp_type, icmp_code) = side.icmp_type_code.unzip();
    let has_flags = ip_proto == TCP && side.packets > 0;
    FlowSideRow {
        packets: side.packets,
        bytes: side.bytes,
        ip_bytes: side.ip_bytes,
        direction: side.direction.map(Direction::label),
        tcp_flags: has_flags.then(|| tcp_flag_names(side.tcp_flags)),
        icmp_type,
        icmp_code,
    }
}

impl FlowTable {
    /// Whether readers are told each flow's interface: there are several.
    pub(super) const fn names_interfaces(report: &Report) -> bool {
        report.interfaces.len() > 1
    }
}

impl FlowRow {
    /// `10.0.0.1:4711`, `[2001:db8::1]:53`, or an address alone.
    #[must_use]
    pub fn end_point(address: &str, port: Option<u16>) -> String {
        match port {
            None => address.to_owned(),
            Some(port) if address.contains(':') => format!("[{address}]:{port}"),
            Some(port) => format!("{address}:{port}"),
        }
    }

    /// What was seen of it besides its size: `1.2 s, 5 + 3 packets, SYN ACK, handshake 20.1 ms`.
    #[must_use]
    pub fn details(&self) -> String {
        let mut parts = vec![
            seconds_text(self.duration_s),
            format!(
                "{} + {} packets",
                count(self.forward.packets),
                count(self.reverse.packets)
            ),
        ];
        parts.extend(self.forward.tcp_flags.clone());
        if let (Some(kind), Some(code)) = (self.forward.icmp_type, self.forward.icmp_code) {
            parts.push(format!("type {kind} code {code}"));
        }
        parts.extend(self.vlan.map(|id| format!("VLAN {id}")));
        for (name, time) in [
            ("handshake", self.handshake_s),
            ("response", self.response_s),
        ] {
            parts.extend(time.map(|time| format!("{name} {}", seconds_text(time))));
        }
        parts.push(self.end.replace('_', " "));
        parts.join(", ")
    }

    /// Both ends: `10.0.0.1:4711 -> 10.0.0.2:443`.
    #[must_use]
    pub fn ends(&self) -> String {
        let source = Self::end_point(&self.src, self.src_port);
        let destination = Self::end_point(&self.dst, self.dst_port);
        format!("{source} -> {destination}")
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with fewer digits")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
