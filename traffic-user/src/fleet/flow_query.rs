//! What a report asks of the stored flows.

use std::net::{IpAddr, Ipv6Addr};

use serde::Deserialize;
use traffic_ebpf::protocol::{Class, Protocol};

use super::{
    filter::{Filter, Side},
    store::{Store, StoreError},
};
use crate::{
    counts::Leaf,
    flows::{EndReason, FlowRecord, FlowSide},
    record::Direction,
};

/// Which flows are asked for.
#[derive(Clone, Debug)]
pub(super) struct FlowQuestion<'a> {
    pub(super) database: &'a str,
    /// Condition on time and hosts: it leaves no flow out between two of a run.
    pub(super) runs: String,
    /// The same, and on interfaces.
    pub(super) rows: String,
    pub(super) filter: Option<&'a Filter>,
    /// Rows of each table.
    pub(super) top: usize,
    /// First nanosecond of the first bar, width of a bar, and number of bars.
    pub(super) bars: (u64, u64, u32),
}

/// What there is of flows that ended in the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowAnswer {
    /// Sums.
    pub totals: FlowTotals,
    /// Flows by why they ended.
    pub ended: Vec<EndedRow>,
    /// Those with the most bytes, most first.
    pub largest: Vec<StoredFlow>,
    /// Different source addresses.
    pub unique_sources: u64,
    /// Packets by source, most first.
    pub sources: Vec<AddressRow>,
    /// Packets by destination, most first.
    pub destinations: Vec<AddressRow>,
    /// Packets by pair of addresses, most first.
    pub conversations: Vec<PairRow>,
    /// Packets by lower port, most first.
    pub ports: Vec<PortRow>,
}

/// Sums over flows.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct FlowTotals {
    /// Flows, and parts of flows.
    pub flows: u64,
    /// Their packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets with those that the filter left out.
    pub all_packets: u64,
}

#[derive(Deserialize)]
struct UniqueSources {
    sources: u64,
}

/// Flows that ended for a reason.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct EndedRow {
    /// [`EndReason::label`].
    pub end_reason: String,
    /// How many.
    pub flows: u64,
}

/// Packets of an address.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct AddressRow {
    /// 4 or 6.
    pub ip_version: u8,
    /// The address, as the database has it.
    pub address: Ipv6Addr,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Packets between two addresses.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PairRow {
    /// 4 or 6.
    pub ip_version: u8,
    /// The lower address, as the database has it.
    pub low: Ipv6Addr,
    /// The other.
    pub high: Ipv6Addr,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Packets of a port.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PortRow {
    /// IP protocol.
    pub ip_proto: u8,
    /// The port.
    pub port: u16,
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Packets of a protocol in a bar, or on an interface.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct ProtocolRow {
    #[serde(default)]
    pub(super) bar: u32,
    #[serde(default)]
    pub(super) host: String,
    #[serde(default)]
    pub(super) interface: String,
    #[serde(default)]
    pub(super) ip_version: u8,
    pub(super) ip_proto: u8,
    /// Whether one of the ports is 53.
    pub(super) is_dns: u8,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl ProtocolRow {
    /// The leaf class of the packets.
    pub(super) fn leaf(&self) -> Leaf {
        let protocol = Protocol::from_ip_proto(self.ip_proto);
        match (protocol.is_tcp(), protocol.is_udp(), self.is_dns > 0) {
            (true, _, true) => Leaf::Whole(Protocol::DnsTcp),
            (_, true, true) => Leaf::Whole(Protocol::DnsUdp),
            _ if protocol.is_numbered() => Leaf::Numbered(Class {
                protocol,
                number: self.ip_proto.into(),
            }),
            _ => Leaf::Whole(protocol),
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct StoredFlow {
    /// Host name.
    pub host: String,
    /// Name of the interface.
    pub interface: String,
    vlan: Option<u16>,
    inner_vlan: Option<u16>,
    ip_version: u8,
    ip_proto: u8,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    src_port: u16,
    dst_port: u16,
    packets_forward: u64,
    bytes_forward: u64,
    ip_bytes_forward: u64,
    first_ns_forward: u64,
    last_ns_forward: u64,
    flags_forward: u8,
    direction_forward: String,
    icmp_forward: Option<u16>,
    packets_reverse: u64,
    bytes_reverse: u64,
    ip_bytes_reverse: u64,
    first_ns_reverse: u64,
    last_ns_reverse: u64,
    flags_reverse: u8,
    direction_reverse: String,
    icmp_reverse: Option<u16>,
    handshake_ns: Option<u64>,
    response_ns: Option<u64>,
    end_reason: String,
}

/// An address as it is written.
#[must_use]
pub fn address(ip_version: u8, stored: Ipv6Addr) -> IpAddr {
    match stored.to_ipv4_mapped() {
        Some(address) if ip_version == 4 => address.into(),
        Some(_) | None => stored.into(),
    }
}

impl StoredFlow {
    /// The flow, on the interface with this number.
    #[must_use]
    pub fn record(&self, interface: u16) -> FlowRecord {
        let mut reasons = EndReason::ALL.into_iter();
        FlowRecord {
            interface,
            vlan: self.vlan,
            inner_vlan: self.inner_vlan,
            ip_proto: self.ip_proto,
            src_addr: address(self.ip_version, self.src),
            dst_addr: address(self.ip_version, self.dst),
            src_port: self.src_port,
            dst_port: self.dst_port,
            forward: FlowSide {
                packets: self.packets_forward,
                bytes: self.bytes_forward,
                ip_bytes: self.ip_bytes_forward,
                first_ns: self.first_ns_forward,
                last_ns: self.last_ns_forward,
                tcp_flags: self.flags_forward,
                direction: direction(&self.direction_forward),
                icmp_type_code: self.icmp_forward.map(u16::to_be_bytes).map(Into::into),
            },
            reverse: FlowSide {
                packets: self.packets_reverse,
                bytes: self.bytes_reverse,
                ip_bytes: self.ip_bytes_reverse,
                first_ns: self.first_ns_reverse,
                last_ns: self.last_ns_reverse,
                tcp_flags: self.flags_reverse,
                direction: direction(&self.direction_reverse),
                icmp_type_code: self.icmp_reverse.map(u16::to_be_bytes).map(Into::into),
            },
            handshake_ns: self.handshake_ns,
            response_ns: self.response_ns,
            end: reasons.find(|reason| reason.label() == self.end_reason),
        }
    }
}

fn direction(label: &str) -> Option<Direction> {
    let mut directions = [Direction::Ingress, Direction::Egress].into_iter();
    directions.find(|direction| direction.label() == label)
}

#[derive(Deserialize)]
struct Gaps {
    runs: u64,
}

impl FlowQuestion<'_> {
    /// Asks for everything but bars and protocols.
    pub(super) async fn ask(&self, store: &Store, table: &str) -> Result<FlowAnswer, StoreError> {
        let unique: UniqueSources = store.row(&self.unique_sources(table)).await?;
        Ok(FlowAnswer {
            unique_sources: unique.sources,
            totals: store.row(&self.totals(table)).await?,
            ended: store.rows(&self.ended(table)).await?,
            largest: store.rows(&self.largest(table)).await?,
            sources: store.rows(&self.by_address(table, "src", "dst")).await?,
            destinations: store.rows(&self.by_address(table, "dst", "src")).await?,
            conversations: store.rows(&self.conversations(table)).await?,
            ports: store.rows(&self.ports(table)).await?,
        })
    }

    /// The statements, for checks: with rows that came twice left out, or not.
    pub(super) fn statements(&self, is_final: bool) -> Vec<String> {
        let table = &self.named(is_final);
        vec![
            self.gaps(),
            self.totals(table),
            self.unique_sources(table),
            self.ended(table),
            self.largest(table),
            self.by_address(table, "src", "dst"),
            self.by_address(table, "dst", "src"),
            self.conversations(table),
            self.ports(table),
            self.by_interface(table),
            self.over_time(table),
        ]
    }

    /// The table to ask: leaving out what came twice is slow, and seldom needed.
    pub(super) async fn table(&self, store: &Store) -> Result<String, StoreError> {
        let gaps: Gaps = store.row(&self.gaps()).await?;
        Ok(self.named(gaps.runs > 0))
    }

    fn named(&self, is_final: bool) -> String {
        let word = if is_final { " FINAL" } else { "" };
        format!("{}.flows{word}", self.database)
    }

    /// Runs whose flows in the time are not numbered from the first to the last, each once: the
    /// count and the sum of the numbers tell. Arithmetic is modulo 2^64.
    fn gaps(&self) -> String {
        format!(
            "SELECT count() AS runs FROM (SELECT host, run FROM {}.flows WHERE {} GROUP BY host, run \
             HAVING count() != max(number) - min(number) + 1 OR sum(number) * 2 != \
             toUInt64(count()) * (min(number) + max(number)))",
            self.database, self.runs
        )
    }

    fn totals(&self, table: &str) -> String {
        let [packets, bytes] = self.sums();
        format!(
            "SELECT countIf({}) AS flows, toUInt64(sum({packets})) AS packets, \
             toUInt64(sum({bytes})) AS bytes, \
             toUInt64(sum(forward_packets + reverse_packets)) AS all_packets \
             FROM {table} WHERE {}",
            self.selected(),
            self.rows,
        )
    }

    fn unique_sources(&self, table: &str) -> String {
        format!(
            "SELECT toUInt64(uniqExact(ip_version, side.1)) AS sources FROM ({}) WHERE side.2 > 0",
            self.ends(table, "src", "dst")
        )
    }

    fn ended(&self, table: &str) -> String {
        format!(
            "SELECT end_reason, count() AS flows FROM {table} WHERE {} AND {} GROUP BY end_reason \
             ORDER BY end_reason",
            self.rows,
            self.selected(),
        )
    }

    /// The keys of the largest first: only of those every column is read.
    fn largest(&self, table: &str) -> String {
        let [_, bytes] = self.sums();
        let order = format!("{bytes} DESC, last_ns, host, run, number");
        let columns: Vec<_> = WHOLE.iter().map(|column| (*column).to_owned()).collect();
        let sides = [Side::Forward, Side::Reverse].map(|side| self.masked(side));
        format!(
            "SELECT {}, IPv6NumToString(src_addr) AS src, IPv6NumToString(dst_addr) AS dst \
             FROM {table} WHERE {rows} AND (host, time, run, number) GLOBAL IN (SELECT host, time, \
             run, number FROM {table} WHERE {rows} AND {} ORDER BY {order} LIMIT {top}) \
             ORDER BY {order} LIMIT {top}",
            [columns, sides.concat()].concat().join(", "),
            self.selected(),
            rows = self.rows,
            top = self.top,
        )
    }

    fn by_address(&self, table: &str, from: &str, to: &str) -> String {
        format!(
            "SELECT ip_version, IPv6NumToString(side.1) AS address, toUInt64(sum(side.2)) AS packets, \
             toUInt64(sum(side.3)) AS bytes FROM ({}) WHERE side.2 > 0 GROUP BY ip_version, side.1 \
             ORDER BY packets DESC, bytes DESC, side.1 LIMIT {}",
            self.ends(table, from, to),
            self.top,
        )
    }

    /// A row for each side of a flow: address, packets, bytes.
    fn ends(&self, table: &str, from: &str, to: &str) -> String {
        let [forward, reverse] = [Side::Forward, Side::Reverse].map(|side| {
            let [packets, bytes] = ["packets", "bytes"].map(|name| self.of(side, name));
            format!("{packets}, {bytes}")
        });
        format!(
            "SELECT ip_version, arrayJoin([({from}_addr, {forward}), ({to}_addr, {reverse})]) AS side \
             FROM {table} WHERE {}",
            self.rows
        )
    }

    fn conversations(&self, table: &str) -> String {
        let [packets, bytes] = self.sums();
        format!(
            "SELECT ip_version, IPv6NumToString(if(src_addr < dst_addr, src_addr, dst_addr) AS lower) \
             AS low, IPv6NumToString(if(src_addr < dst_addr, dst_addr, src_addr) AS higher) AS high, \
             toUInt64(sum({packets})) AS packets, toUInt64(sum({bytes})) AS bytes FROM {table} \
             WHERE {} AND {} GROUP BY ip_version, lower, higher \
             ORDER BY packets DESC, bytes DESC, lower, higher LIMIT {}",
            self.rows,
            self.selected(),
            self.top,
        )
    }

    fn ports(&self, table: &str) -> String {
        let [packets, bytes] = self.sums();
        format!(
            "SELECT ip_proto, if(src_port < dst_port, src_port, dst_port) AS port, \
             toUInt64(sum({packets})) AS packets, toUInt64(sum({bytes})) AS bytes FROM {table} \
             WHERE {} AND {} AND ip_proto IN (6, 17, 132) AND (src_port > 0 OR dst_port > 0) \
             GROUP BY ip_proto, port ORDER BY packets DESC, bytes DESC, ip_proto, port LIMIT {}",
            self.rows,
            self.selected(),
            self.top,
        )
    }

    /// Packets by protocol on each interface.
    pub(super) fn by_interface(&self, table: &str) -> String {
        self.protocols(table, "host, interface, ip_version")
    }

    /// Packets by protocol, and by what `more` names.
    fn protocols(&self, table: &str, more: &str) -> String {
        let [packets, bytes] = self.sums();
        format!(
            "SELECT {more}, ip_proto, ip_proto IN (6, 17) AND (src_port = 53 OR dst_port = 53) AS is_dns, \
             toUInt64(sum({packets})) AS packets, toUInt64(sum({bytes})) AS bytes FROM {table} \
             WHERE {} AND {} GROUP BY {more}, ip_proto, is_dns ORDER BY {more}, ip_proto, is_dns",
            self.rows,
            self.selected(),
        )
    }

    /// The same over time: a flow is in the bar of its last packet.
    pub(super) fn over_time(&self, table: &str) -> String {
        let (since_ns, bar_ns, bars) = self.bars;
        let bar = format!(
            "toUInt32(least({}, intDiv(greatest(toInt64(last_ns) - {since_ns}, 0), {bar_ns})))",
            bars.max(1) - 1
        );
        let by_bar = self.protocols(table, "bar");
        by_bar.replacen("SELECT bar", &format!("SELECT {bar} AS bar"), 1)
    }

    /// Packets and bytes of a row that are selected.
    fn sums(&self) -> [String; 2] {
        ["packets", "bytes"].map(|name| {
            format!(
                "{} + {}",
                self.of(Side::Forward, name),
                self.of(Side::Reverse, name)
            )
        })
    }

    /// Whether any packet of a row is selected.
    fn selected(&self) -> String {
        let [packets, _] = self.sums();
        format!("({packets} > 0)")
    }

    /// A number of one side of a row; 0 where the filter does not select it.
    fn of(&self, side: Side, name: &str) -> String {
        let column = format!("{}_{name}", prefix(side));
        match self.filter {
            None => column,
            Some(filter) => format!("if({}, {column}, 0)", filter.condition(side)),
        }
    }

    /// Every column of one side, without what the filter does not select.
    fn masked(&self, side: Side) -> Vec<String> {
        let column = |name: &&str| {
            let (name, nothing) = match *name {
                "direction" => (*name, "''"),
                "icmp" => (*name, "NULL"),
                _ => (*name, "0"),
            };
            let column = format!("{}_{name}", prefix(side));
            let value = match self.filter {
                None => column,
                Some(filter) => format!("if({}, {column}, {nothing})", filter.condition(side)),
            };
            format!("{value} AS {name}_{}", prefix(side))
        };
        SIDE.iter().map(column).collect()
    }
}

fn prefix(side: Side) -> &'static str {
    match side {
        Side::Forward => "forward",
        Side::Reverse => "reverse",
    }
}

/// Columns of a row that are not of one side.
const WHOLE: [&str; 11] = [
    "host",
    "interface",
    "vlan",
    "inner_vlan",
    "ip_version",
    "ip_proto",
    "src_port",
    "dst_port",
    "handshake_ns",
    "response_ns",
    "end_reason",
];

/// Columns of each side.
const SIDE: [&str; 8] = [
    "packets",
    "bytes",
    "ip_bytes",
    "first_ns",
    "last_ns",
    "flags",
    "direction",
    "icmp",
];
