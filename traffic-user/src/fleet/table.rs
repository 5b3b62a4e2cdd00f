//! The tables, and their rows in ClickHouse's `RowBinary`.

use std::net::IpAddr;

use crate::{
    flows::{EndReason, FlowRecord, FlowSide},
    record::Direction,
};

/// A table that captures fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Packets and bytes by host, interface, direction, protocol and bin.
    Timeline,
    /// The kernel's other counters by bin: what a ledger is made of.
    Tallies,
    /// A row per run.
    Captures,
    /// Flows that ended, and parts of flows.
    Flows,
}

/// Name and type of a column.
pub type Column = (&'static str, &'static str);

/// What a row of counters belongs to, and when it was counted.
const BIN: [Column; 5] = [
    ("host", "String"),
    ("run", "UInt64"),
    ("time", "DateTime"),
    ("start_ns", "UInt64"),
    ("end_ns", "UInt64"),
];

const TIMELINE: [Column; 9] = [
    ("interface", "String"),
    ("direction", "String"),
    ("protocol", "String"),
    ("transport", "String"),
    ("ip_version", "UInt8"),
    ("packets", "UInt64"),
    ("bytes", "UInt64"),
    ("packets_before", "UInt64"),
    ("bytes_before", "UInt64"),
];

const TALLIES: [Column; 5] = [
    ("interface", "String"),
    ("direction", "String"),
    ("name", "String"),
    ("value", "UInt64"),
    ("value_before", "UInt64"),
];

const CAPTURES: [Column; 10] = [
    ("host", "String"),
    ("run", "UInt64"),
    ("time", "DateTime"),
    ("started_ns", "UInt64"),
    ("ended_ns", "UInt64"),
    ("updated_ns", "UInt64"),
    ("version", "String"),
    ("settings", "String"),
    ("interfaces", "String"),
    ("ledger", "String"),
];

/// `vlan` and `inner_vlan` are those of the outer and the inner tag; addresses are in network byte
/// order, those of IPv4 as `::ffff:a.b.c.d`; `…_icmp` is type × 256 + code of the side's first
/// packet.
const FLOWS: [Column; 33] = [
    ("host", "String"),
    ("run", "UInt64"),
    ("time", "DateTime"),
    ("number", "UInt64"),
    ("interface", "String"),
    ("vlan", "Nullable(UInt16)"),
    ("inner_vlan", "Nullable(UInt16)"),
    ("ip_version", "UInt8"),
    ("ip_proto", "UInt8"),
    ("src_addr", "FixedString(16)"),
    ("dst_addr", "FixedString(16)"),
    ("src_port", "UInt16"),
    ("dst_port", "UInt16"),
    ("forward_packets", "UInt64"),
    ("forward_bytes", "UInt64"),
    ("forward_ip_bytes", "UInt64"),
    ("forward_first_ns", "UInt64"),
    ("forward_last_ns", "UInt64"),
    ("forward_flags", "UInt8"),
    ("forward_direction", "String"),
    ("forward_icmp", "Nullable(UInt16)"),
    ("reverse_packets", "UInt64"),
    ("reverse_bytes", "UInt64"),
    ("reverse_ip_bytes", "UInt64"),
    ("reverse_first_ns", "UInt64"),
    ("reverse_last_ns", "UInt64"),
    ("reverse_flags", "UInt8"),
    ("reverse_direction", "String"),
    ("reverse_icmp", "Nullable(UInt16)"),
    ("last_ns", "UInt64"),
    ("handshake_ns", "Nullable(UInt64)"),
    ("response_ns", "Nullable(UInt64)"),
    ("end_reason", "String"),
];

impl Table {
    /// Every table. Spooled parcels know them by their place.
    pub const ALL: [Self; 4] = [Self::Timeline, Self::Tallies, Self::Captures, Self::Flows];

    /// Its name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeline => "timeline",
            Self::Tallies => "tallies",
            Self::Captures => "captures",
            Self::Flows => "flows",
        }
    }

    /// Its columns, in the order in which rows are written.
    #[must_use]
    pub fn columns(self) -> Vec<Column> {
        match self {
            Self::Timeline => [&BIN[..], &TIMELINE].concat(),
            Self::Tallies => [&BIN[..], &TALLIES].concat(),
            Self::Captures => CAPTURES.to_vec(),
            Self::Flows => FLOWS.to_vec(),
        }
    }

    /// The statement behind which rows follow.
    #[must_use]
    pub fn insertion(self, database: &str) -> String {
        let columns: Vec<_> = self.columns().iter().map(|(name, _)| *name).collect();
        let (table, columns) = (self.name(), columns.join(", "));
        format!("INSERT INTO {database}.{table} ({columns}) FORMAT RowBinary")
    }

    /// What makes a row unique, in the order in which rows are stored.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Timeline => {
                "host, time, run, interface, direction, protocol, transport, ip_version, start_ns"
            }
            Self::Tallies => "host, time, run, interface, direction, name, start_ns",
            Self::Captures => "host, run",
            Self::Flows => "host, time, run, number",
        }
    }
}

/// The run and the time that rows of counters belong to.
#[derive(Clone, Copy, Debug)]
pub struct Bin<'a> {
    /// Host name.
    pub host: &'a str,
    /// Number of the run: random.
    pub run: u64,
    /// First nanosecond, since the Unix epoch.
    pub start_ns: u64,
    /// First nanosecond after it.
    pub end_ns: u64,
}

/// What was counted in a bin, and before it since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// In the bin.
    pub now: u64,
    /// Before it.
    pub before: u64,
}

/// A row of [`Table::Timeline`].
#[derive(Clone, Copy, Debug)]
pub struct TimelineRow<'a> {
    /// Name of the interface.
    pub interface: &'a str,
    /// `ingress` or `egress`.
    pub direction: &'a str,
    /// Leaf class, as in the report's protocols.
    pub protocol: &'a str,
    /// `tcp` or `udp` under a class that is known by its port, else empty.
    pub transport: &'a str,
    /// 4, 6, or 0.
    pub ip_version: u8,
    /// Frames.
    pub packets: Change,
    /// Their bytes.
    pub bytes: Change,
}

/// A row of [`Table::Tallies`].
#[derive(Clone, Copy, Debug)]
pub struct TallyRow<'a> {
    /// Name of the interface; empty for what is counted for the run as a whole.
    pub interface: &'a str,
    /// As [`TimelineRow::direction`], or empty.
    pub direction: &'a str,
    /// What was counted.
    pub name: &'a str,
    /// How often.
    pub value: Change,
}

/// The row of [`Table::Captures`]: the newest of a run counts.
#[derive(Clone, Copy, Debug)]
pub struct CaptureRow<'a> {
    /// Host name.
    pub host: &'a str,
    /// Number of the run.
    pub run: u64,
    /// Gate open, in nanoseconds since the Unix epoch.
    pub started_ns: u64,
    /// Gate close; 0 while the run goes on, or when it was killed.
    pub ended_ns: u64,
    /// When this row was made.
    pub updated_ns: u64,
    /// Version of the program.
    pub version: &'a str,
    /// The source of the report, as JSON.
    pub settings: &'a str,
    /// The interfaces of the report, as JSON.
    pub interfaces: &'a str,
    /// The ledger of the report, as JSON; empty while the run goes on.
    pub ledger: &'a str,
}

/// A row of [`Table::Flows`].
#[derive(Clone, Copy, Debug)]
pub struct FlowRow<'a> {
    /// Host name.
    pub host: &'a str,
    /// Number of the run.
    pub run: u64,
    /// When the flow was found to have ended, in nanoseconds since the Unix epoch: later flows of
    /// a run have no earlier time.
    pub time_ns: u64,
    /// Number of the flow in the run, from 0 without a gap.
    pub number: u64,
    /// Name of the interface.
    pub interface: &'a str,
    /// The flow.
    pub flow: &'a FlowRecord,
}

/// Rows of one table, as `RowBinary` has them: fixed-size numbers in little-endian order, texts
/// behind their length in LEB128.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Number of rows.
    pub count: u32,
    /// The rows.
    pub bytes: Vec<u8>,
}

impl Rows {
    /// Appends a row of [`Table::Timeline`].
    pub fn timeline(&mut self, bin: &Bin<'_>, row: &TimelineRow<'_>) {
        self.bin(bin);
        for text in [row.interface, row.direction, row.protocol, row.transport] {
            self.text(text);
        }
        self.bytes.push(row.ip_version);
        for number in [
            row.packets.now,
            row.bytes.now,
            row.packets.before,
            row.bytes.before,
        ] {
            self.number(number);
        }
    }

    /// Appends a row of [`Table::Tallies`].
    pub fn tally(&mut self, bin: &Bin<'_>, row: &TallyRow<'_>) {
        self.bin(bin);
        for text in [row.interface, row.direction, row.name] {
            self.text(text);
        }
        self.number(row.value.now);
        self.number(row.value.before);
    }

    /// Appends a row of [`Table::Captures`].
    pub fn capture(&mut self, row: &CaptureRow<'_>) {
        self.count += 1;
        self.text(row.host);
        self.number(row.run);
        self.time(row.started_ns);
        for number in [row.started_ns, row.ended_ns, row.updated_ns] {
            self.number(number);
        }
        for text in [row.version, row.settings, row.interfaces, row.ledger] {
            self.text(text);
        }
    }

    /// Appends a row of [`Table::Flows`].
    pub fn flow(&mut self, row: &FlowRow<'_>) {
        let flow = row.flow;
        self.count += 1;
        self.text(row.host);
        self.number(row.run);
        self.time(row.time_ns);
        self.number(row.number);
        self.text(row.interface);
        self.optional(flow.vlan.map(u16::to_le_bytes));
        self.optional(flow.inner_vlan.map(u16::to_le_bytes));
        self.bytes.push(if flow.src_addr.is_ipv4() { 4 } else { 6 });
        self.bytes.push(flow.ip_proto);
        self.bytes.extend(address(flow.src_addr));
        self.bytes.extend(address(flow.dst_addr));
        self.bytes.extend(flow.src_port.to_le_bytes());
        self.bytes.extend(flow.dst_port.to_le_bytes());
        self.side(&flow.forward);
        self.side(&flow.reverse);
        self.number(flow.last_ns());
        self.optional(flow.handshake_ns.map(u64::to_le_bytes));
        self.optional(flow.response_ns.map(u64::to_le_bytes));
        self.text(flow.end.map_or("", EndReason::label));
    }

    fn side(&mut self, side: &FlowSide) {
        for number in [
            side.packets,
            side.bytes,
            side.ip_bytes,
            side.first_ns,
            side.last_ns,
        ] {
            self.number(number);
        }
        self.bytes.push(side.tcp_flags);
        self.text(side.direction.map_or("", Direction::label));
        let icmp = side.icmp_type_code;
        self.optional(icmp.map(|(kind, code)| [code, kind]));
    }

    /// `Nullable`: whether it is missing, then the value if it is not.
    fn optional<const N: usize>(&mut self, value: Option<[u8; N]>) {
        self.bytes.push(u8::from(value.is_none()));
        self.bytes.extend(value.into_iter().flatten());
    }

    fn bin(&mut self, bin: &Bin<'_>) {
        self.count += 1;
        self.text(bin.host);
        self.number(bin.run);
        self.time(bin.start_ns);
        self.number(bin.start_ns);
        self.number(bin.end_ns);
    }

    /// `DateTime`: seconds since the Unix epoch, up to the year 2106.
    fn time(&mut self, time_ns: u64) {
        let seconds = u32::try_from(time_ns / 1_000_000_000).unwrap_or(u32::MAX);
        self.bytes.extend(seconds.to_le_bytes());
    }

    fn number(&mut self, number: u64) {
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        let mut len = text.len();
        while len >= 0x80 {
            self.bytes
                .push(0x80 | u8::try_from(len & 0x7f).expect("seven bits"));
            len >>= 7;
        }
        self.bytes.push(u8::try_from(len).expect("seven bits"));
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

/// An address as the table has it: IPv4 as `::ffff:a.b.c.d`.
#[must_use]
pub fn address(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_texts_have_seven_bits_a_byte() {
        let mut rows = Rows::default();
        rows.text("ab");
        rows.text(&"x".repeat(300));
        assert_eq!(rows.bytes[..5], [2, b'a', b'b', 0xac, 0x02]);
        assert_eq!(rows.bytes.len(), 305);
    }

    #[test]
    fn a_row_has_the_bytes_of_its_columns() {
        let bin = Bin {
            host: "a",
            run: 1,
            start_ns: 2_000_000_001,
            end_ns: 3,
        };
        let row = TallyRow {
            interface: "i",
            direction: "",
            name: "seen",
            value: Change { now: 5, before: 6 },
        };
        let mut rows = Rows::default();
        rows.tally(&bin, &row);
        let expected = [
            &[1, b'a'][..],
            &1u64.to_le_bytes(),
            &2u32.to_le_bytes(),
            &2_000_000_001u64.to_le_bytes(),
            &3u64.to_le_bytes(),
            &[1, b'i', 0, 4, b's', b'e', b'e', b'n'],
            &5u64.to_le_bytes(),
            &6u64.to_le_bytes(),
        ];
        assert_eq!((rows.count, rows.bytes), (1, expected.concat()));
    }
}
