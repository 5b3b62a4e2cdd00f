//! From flows to messages: templates, data records, options, sequence numbers. No clock, no I/O.

use std::net::IpAddr;

use super::{
    element::{FlowElement, ICMP4, ICMP6, IPV4, IPV6, REVERSE, SHARED, SIDE, SideElement, View},
    message::{Message, OPTIONS_TEMPLATES, TEMPLATES},
};
use crate::flows::FlowRecord;

/// Bytes of a message: what one datagram carries over Ethernet, with room for a tunnel's headers.
const MESSAGE_BYTES: usize = 1400;

/// Ids of the templates of flows: the first, plus 1 with the way back, plus 2 for IPv6.
const FLOW_TEMPLATE: u16 = 256;
const SAMPLING_TEMPLATE: u16 = 260;
const STATISTICS_TEMPLATE: u16 = 261;

/// How the directions of a flow are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// In one record (RFC 5103).
    Biflow,
    /// In a record each, for collectors that do not know the elements of the way back.
    Uniflow,
}

/// An interface as collectors know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// The kernel's number; 0 for an interface in a file.
    pub ifindex: u32,
    /// One packet in this many was seen.
    pub sample: u32,
}

/// What the exporting process tells about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    pub(super) messages: u64,
    pub(super) flow_records: u64,
    pub(super) octets: u64,
    pub(super) ignored_packets: u64,
    pub(super) ignored_octets: u64,
    pub(super) lost_flows: u64,
    pub(super) lost_packets: u64,
    pub(super) lost_octets: u64,
}

/// Elements of the sampling option behind its scope, `selectorId` (RFC 5477, section 8.2):
/// `selectorAlgorithm` (1, systematic count-based), `samplingPacketInterval`,
/// `samplingPacketSpace`.
const SAMPLING: [(u16, u16); 4] = [(302, 8), (304, 2), (305, 4), (306, 4)];

/// Elements of the statistics behind their scope, `observationDomainId` (RFC 7011, section 4):
/// `exportedMessageTotalCount`, `exportedFlowRecordTotalCount`, `exportedOctetTotalCount`,
/// `ignoredPacketTotalCount`, `ignoredOctetTotalCount`, `notSentFlowTotalCount`,
/// `notSentPacketTotalCount`, `notSentOctetTotalCount`.
const STATISTICS: [(u16, u16); 9] = [
    (149, 4),
    (41, 8),
    (42, 8),
    (40, 8),
    (164, 8),
    (165, 8),
    (166, 8),
    (167, 8),
    (168, 8),
];

/// A message for the wire, and what is lost with it.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) cargo: Cargo,
}

/// Flow records, and the packets and bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cargo {
    pub(super) flows: u64,
    pub(super) packets: u64,
    pub(super) octets: u64,
}

impl Cargo {
    pub(super) fn of(flow: &FlowRecord) -> Self {
        Self {
            flows: 1,
            packets: flow.packets(),
            octets: flow.forward.ip_bytes + flow.reverse.ip_bytes,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.flows += other.flows;
        self.packets += other.packets;
        self.octets += other.octets;
    }
}

/// Makes the messages of one observation domain.
#[derive(Debug)]
pub(super) struct Encoder {
    layout: Layout,
    domain: u32,
    /// Data records of the session so far, modulo 2^32.
    sequence: u32,
    message: Message,
    cargo: Cargo,
}

impl Encoder {
    pub(super) fn new(layout: Layout, domain: u32) -> Self {
        Self {
            layout,
            domain,
            sequence: 0,
            message: Message::new(MESSAGE_BYTES),
            cargo: Cargo::default(),
        }
    }

    /// Begins another transport session: sequence numbers start again (RFC 7011, section 3.1).
    /// Returns what was in the message in the making.
    pub(super) fn restart(&mut self) -> Cargo {
        self.sequence = 0;
        self.message = Message::new(MESSAGE_BYTES);
        std::mem::take(&mut self.cargo)
    }

    /// Adds all templates. The messages that are full go to `out`, as in the other methods.
    pub(super) fn templates(&mut self, time_s: u32, out: &mut Vec<Encoded>) {
        for id in FLOW_TEMPLATE..FLOW_TEMPLATE + 4 {
            self.push(TEMPLATES, &flow_template(id), time_s, out);
        }
        for (id, fields) in [
            (SAMPLING_TEMPLATE, &SAMPLING[..]),
            (STATISTICS_TEMPLATE, &STATISTICS[..]),
        ] {
            self.push(
                OPTIONS_TEMPLATES,
                &options_template(id, fields),
                time_s,
                out,
            );
        }
    }

    /// Adds the options: how interfaces are sampled, and statistics.
    pub(super) fn options(
        &mut self,
        interfaces: &[Sampled],
        statistics: &Statistics,
        time_s: u32,
        out: &mut Vec<Encoded>,
    ) {
        for (selector, interface) in (1u128..).zip(interfaces) {
            let space = interface.sample.saturating_sub(1);
            let values = [selector, 1, 1, space.into()];
            self.push(
                SAMPLING_TEMPLATE,
                &options_record(&SAMPLING, &values),
                time_s,
                out,
            );
        }
        let Statistics {
            messages,
            flow_records,
            octets,
            ignored_packets,
            ignored_octets,
            lost_flows,
            lost_packets,
            lost_octets,
        } = *statistics;
        let domain = u64::from(self.domain);
        let values = [
            domain,
            messages,
            flow_records,
            octets,
            ignored_packets,
            ignored_octets,
            lost_flows,
            lost_packets,
            lost_octets,
        ]
        .map(u128::from);
        let record = options_record(&STATISTICS, &values);
        self.push(STATISTICS_TEMPLATE, &record, time_s, out);
    }

    /// Adds a flow.
    pub(super) fn flow(
        &mut self,
        flow: &FlowRecord,
        interfaces: &[Sampled],
        time_s: u32,
        out: &mut Vec<Encoded>,
    ) {
        let selector = u32::from(flow.interface) + 1;
        let known = interfaces.get(usize::from(flow.interface));
        let known = known.map(|interface| interface.ifindex);
        // An interface of a file has no number but its place.
        let ifindex = known.filter(|ifindex| *ifindex != 0).unwrap_or(selector);
        let both = flow.forward.packets > 0 && flow.reverse.packets > 0;
        let is_biflow = both && self.layout == Layout::Biflow;
        for is_turned in [false, true] {
            let view = View {
                flow,
                is_turned,
                ifindex,
                selector,
            };
            if view.ahead().packets == 0 || is_biflow && is_turned {
                continue;
            }
            let is_ipv6 = matches!(flow.src_addr, IpAddr::V6(_));
            let id = FLOW_TEMPLATE + u16::from(is_biflow) + 2 * u16::from(is_ipv6);
            self.push(id, &flow_record(id, &view), time_s, out);
            // A record without the way back carries one direction.
            self.cargo.add(Cargo {
                flows: 1,
                packets: view.ahead().packets + if is_biflow { view.back().packets } else { 0 },
                octets: view.ahead().ip_bytes + if is_biflow { view.back().ip_bytes } else { 0 },
            });
        }
    }

    /// Ends the message in the making, if there is anything in it.
    pub(super) fn flush(&mut self, time_s: u32, out: &mut Vec<Encoded>) {
        if self.message.is_empty() {
            return;
        }
        let message = std::mem::replace(&mut self.message, Message::new(MESSAGE_BYTES));
        let records = message.records();
        out.push(Encoded {
            bytes: message.finish(time_s, self.sequence, self.domain),
            cargo: std::mem::take(&mut self.cargo),
        });
        self.sequence = self.sequence.wrapping_add(records);
    }

    fn push(&mut self, set: u16, record: &[u8], time_s: u32, out: &mut Vec<Encoded>) {
        if !self.message.fits(set, record.len()) {
            self.flush(time_s, out);
        }
        self.message.push(set, record);
    }
}

/// Whether a template of flows has the way back, and IPv6 addresses.
fn kind(template: u16) -> (bool, bool) {
    let offset = template - FLOW_TEMPLATE;
    (offset & 1 != 0, offset & 2 != 0)
}

fn addresses(is_ipv6: bool) -> &'static [FlowElement] {
    if is_ipv6 { &IPV6 } else { &IPV4 }
}

/// Elements of one direction.
fn side_elements(is_ipv6: bool) -> impl Iterator<Item = &'static SideElement> {
    let icmp = if is_ipv6 { &ICMP6 } else { &ICMP4 };
    SIDE.iter().chain(icmp)
}

fn flow_template(id: u16) -> Vec<u8> {
    let (is_biflow, is_ipv6) = kind(id);
    let mut fields = Vec::new();
    let mut count = 0u16;
    for element in addresses(is_ipv6).iter().chain(&SHARED) {
        field(&mut fields, element.id, element.octets, None);
        count += 1;
    }
    for (is_there, enterprise) in [(true, None), (is_biflow, Some(REVERSE))] {
        for element in side_elements(is_ipv6).filter(|_| is_there) {
            field(&mut fields, element.id, element.octets, enterprise);
            count += 1;
        }
    }
    let mut template = [id.to_be_bytes(), count.to_be_bytes()].concat();
    template.extend(fields);
    template
}

/// A template whose first element is its scope.
fn options_template(id: u16, elements: &[(u16, u16)]) -> Vec<u8> {
    let count = u16::try_from(elements.len()).expect("templates have few elements");
    let header = [id, count, 1];
    let mut template: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    for (element, octets) in elements {
        field(&mut template, *element, *octets, None);
    }
    template
}

/// Appends a field specifier (RFC 7011, section 3.2).
fn field(out: &mut Vec<u8>, id: u16, octets: u16, enterprise: Option<u32>) {
    let bit = if enterprise.is_some() { 0x8000 } else { 0 };
    out.extend((id | bit).to_be_bytes());
    out.extend(octets.to_be_bytes());
    out.extend(enterprise.iter().flat_map(|number| number.to_be_bytes()));
}

fn flow_record(template: u16, view: &View<'_>) -> Vec<u8> {
    let (is_biflow, is_ipv6) = kind(template);
    let mut record = Vec::with_capacity(256);
    for element in addresses(is_ipv6).iter().chain(&SHARED) {
        number(&mut record, (element.value)(view), element.octets);
    }
    for (is_there, side) in [(true, view.ahead()), (is_biflow, view.back())] {
        for element in side_elements(is_ipv6).filter(|_| is_there) {
            number(&mut record, (element.value)(side), element.octets);
        }
    }
    record
}

fn options_record(elements: &[(u16, u16)], values: &[u128]) -> Vec<u8> {
    let mut record = Vec::new();
    for ((_, octets), value) in elements.iter().zip(values) {
        number(&mut record, *value, *octets);
    }
    record
}

/// Appends the low `octets` bytes of a number.
fn number(out: &mut Vec<u8>, value: u128, octets: u16) {
    let bytes = value.to_be_bytes();
    out.extend(&bytes[bytes.len() - usize::from(octets)..]);
}
