//! The report model: everything that text, JSON, charts and pages show, and nothing they compute.

pub mod assemble;
pub mod chart;
pub mod csv;
mod estimate;
#[cfg(test)]
pub(crate) mod example;
pub mod flows;
mod hierarchy;
pub mod html;
pub mod json;
pub(crate) mod number;
pub mod packets;
mod scale;
#[cfg(test)]
pub(crate) mod schema;
pub(crate) mod series;
pub mod stored;
mod stored_flows;
pub mod text;
pub(crate) mod verdict;

use std::collections::BTreeMap;

use serde::Serialize;

/// One capture or one reading of files, ready to be shown.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Program and version that made the report.
    pub generator: String,
    /// Where the packets came from.
    pub source: Source,
    /// Interfaces in the order of their numbers.
    pub interfaces: Vec<InterfaceRow>,
    /// When the gate opened, or the first packet of a file: RFC 3339 in UTC, nanoseconds. `None`
    /// for a file without packets.
    pub started: Option<String>,
    /// From gate open to gate close; for files from the first to the last packet.
    pub duration_s: f64,
    /// Time of the earliest packet, RFC 3339 in UTC. `None` without packets or summaries.
    pub first_packet: Option<String>,
    /// Time of the latest packet, as `first_packet`.
    pub last_packet: Option<String>,
    /// Set where the files hold a sample of the frames, and counts are estimates of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled: Option<Sampled>,
    /// Leaf classes, most packets first; they sum to [`Totals::packets`], which are
    /// [`Ledger::matched`] or estimated from it.
    pub protocols: Vec<ProtocolRow>,
    /// Nested totals.
    pub totals: Totals,
    /// All matched frames by link, network, transport and class; exact.
    pub hierarchy: HierarchyNode,
    /// Headers that were cut short or contradicted themselves, by reason; exact.
    pub malformed: BTreeMap<String, u64>,
    /// Different source addresses.
    pub unique_sources: u64,
    /// Standard error of `unique_sources` in percent; 0 while the number is exact.
    pub unique_sources_error_percent: f64,
    /// Packets by which rows of the address tables may be short.
    pub max_missed: MaxMissed,
    /// Set where per-address tables are not exact: they are lower bounds, or approximations.
    pub tables_note: Option<String>,
    /// Most active first.
    pub sources: Vec<AddressRow>,
    /// Most active first.
    pub destinations: Vec<AddressRow>,
    /// Pairs of addresses, both directions together, most active first.
    pub conversations: Vec<AddressRow>,
    /// Transport ports, most active first; each packet counts for its lower port.
    pub ports: Vec<AddressRow>,
    /// DNS messages by type and response code.
    pub dns: DnsSummary,
    /// DNS names that were asked for, most often first.
    pub dns_names: Vec<DnsRow>,
    /// TCP packets by combination of flags, most packets first.
    pub tcp_flags: Vec<FlagsRow>,
    /// VLAN ids (the outer one of two), most packets first.
    pub vlans: Vec<VlanRow>,
    /// Frame sizes in bytes. `None` without packets or summaries.
    pub sizes: Option<Sizes>,
    /// Rates over the whole run and in its busiest bin.
    pub rates: Rates,
    /// Packets over time.
    pub timeline: Timeline,
    /// What looks like an attack, a scan or a fault, the worst first.
    pub findings: Vec<Finding>,
    /// Says what the findings do not cover; `None` where they cover everything.
    pub findings_note: Option<String>,
    /// The newest packets that the history kept, oldest first, if they were asked for.
    #[serde(skip)]
    pub history: Vec<crate::record::PacketRecord>,
    /// Bidirectional flows, if they were asked for.
    pub flows: Option<flows::FlowTable>,
    /// What was seen, kept and lost.
    pub ledger: Ledger,
    /// What a reader should know about how these numbers came about.
    pub notes: Vec<String>,
}

/// Where packets came from.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// Live, from the kernel.
    Capture {
        /// `--protocol` and filter as given; empty for everything.
        filter: String,
        /// One frame in this many was written.
        sample: u32,
        /// Bytes kept of a written frame.
        snaplen: u32,
        /// Host name.
        host: String,
        /// Kernel release.
        kernel: String,
    },
    /// From a database that captures of many hosts fill.
    Fleet {
        /// Address of the database.
        from: String,
        /// Hosts that stored something, each once.
        hosts: Vec<String>,
        /// First moment: RFC 3339 in UTC.
        since: String,
        /// First moment after it, as `since`.
        until: String,
    },
    /// From capture files.
    Files {
        /// Paths as given.
        files: Vec<String>,
    },
}

/// An interface of the run.
#[derive(Clone, Debug, Serialize)]
pub struct InterfaceRow {
    /// Name.
    pub name: String,
    /// Kernel's number; 0 for an interface in a file.
    pub ifindex: u32,
    /// Link type by its libpcap name: `EN10MB`, `RAW`, ….
    pub link_type: String,
    /// `tcx`, `tc`, `xdp-native`, `xdp-generic`; `None` where the direction was not captured.
    pub ingress_hook: Option<String>,
    /// As `ingress_hook`.
    pub egress_hook: Option<String>,
    /// Matched frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What they stand for, where a file holds only a sample of the interface's frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// What a sample of frames stands for: the counts times the rate, and so not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// One frame in this many was counted.
    pub sample: u32,
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What the counts of a report are estimated from. Estimates are counts times `sample`; sizes,
/// times, the number of sources, findings, [`Report::interfaces`] and the ledger are those of the
/// frames that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sampled {
    /// One frame in this many is there.
    pub sample: u32,
    /// Frames that are there.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A leaf class.
#[derive(Clone, Debug, Serialize)]
pub struct ProtocolRow {
    /// `tcp`, `dns`, `ip-proto-89`, `ethertype-0x88cc`, `unparsed`, ….
    pub name: String,
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A protocol, and what it carried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HierarchyNode {
    /// `frame` at the root, then a link type, then labels of protocols.
    pub name: String,
    /// Frames, those of `children` included.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Protocols inside this one, most packets first. What is left of `packets` went no further.
    pub children: Vec<HierarchyNode>,
}

/// Packets by which each row of a table may be short, and which a missing row may have; 0 while
/// the table is exact. Lost summaries come on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MaxMissed {
    /// Of [`Report::sources`].
    pub sources: u64,
    /// Of [`Report::destinations`].
    pub destinations: u64,
    /// Of [`Report::conversations`].
    pub conversations: u64,
}

/// Frames of nested classes: they overlap.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// All matched frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// IPv4.
    pub ip: u64,
    /// IPv6.
    pub ip6: u64,
    /// TCP, with DNS over TCP.
    pub tcp: u64,
    /// UDP, with DNS over UDP.
    pub udp: u64,
    /// Packets on the wire, segments of super-frames one by one; `None` where a hook cannot know.
    pub wire_packets: Option<u64>,
    /// Their bytes.
    pub wire_bytes: Option<u64>,
}

/// A row of a per-address table.
#[derive(Clone, Debug, Serialize)]
pub struct AddressRow {
    /// An address; `A <-> B` for a conversation; `443/tcp` for a port.
    pub address: String,
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A DNS question.
#[derive(Clone, Debug, Serialize)]
pub struct DnsRow {
    /// Name, in presentation form, without control characters.
    pub name: String,
    /// Record type: `A`, `AAAA`, `TYPE65`, ….
    pub record_type: String,
    /// Times asked.
    pub queries: u64,
    /// Answers by response code: `NOERROR`, `NXDOMAIN`, ….
    pub answers: BTreeMap<String, u64>,
}

/// DNS messages on port 53.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DnsSummary {
    /// Questions.
    pub queries: u64,
    /// Answers.
    pub answers: u64,
    /// Answers with a response code other than `NOERROR`.
    pub failures: u64,
    /// Questions by record type.
    pub record_types: BTreeMap<String, u64>,
    /// Answers by response code.
    pub response_codes: BTreeMap<String, u64>,
}

/// TCP packets with the same flags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlagsRow {
    /// `SYN`, `SYN ACK`, …; `none`.
    pub flags: String,
    /// Packets.
    pub packets: u64,
}

/// A virtual LAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VlanRow {
    /// VLAN id, 0 to 4095.
    pub id: u16,
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something that an operator should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `syn_scan`, `arp_conflict`, …: `docs/findings.md` describes each.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen, in a sentence.
    pub summary: String,
    /// Addresses that took part, the one that stands out first; a choice where there are many.
    pub addresses: Vec<String>,
    /// Time of the first packet of it, RFC 3339 in UTC.
    pub first: String,
    /// Time of the last packet of it, as `first`.
    pub last: String,
    /// Packets of it.
    pub packets: u64,
    /// What was measured, by name.
    pub numbers: BTreeMap<String, u64>,
    /// Selects its packets, in tcpdump's language.
    pub filter: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Unusual.
    Notice,
    /// Reconnaissance, or a fault.
    Warning,
    /// An attack, if nobody ordered it.
    Alert,
}

impl Severity {
    /// Name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Alert => "alert",
        }
    }
}

/// Frame sizes in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Sizes {
    /// Smallest.
    pub min: u32,
    /// Half are at most this long.
    pub median: u32,
    /// 95 % are at most this long.
    pub p95: u32,
    /// Longest.
    pub max: u32,
    /// Frames by size, in the ranges of tshark's packet lengths; they sum to the summaries.
    pub histogram: Vec<SizeRange>,
}

impl Sizes {
    /// [`Sizes::histogram`] without the empty ranges before the first frame and after the last.
    pub(crate) fn occupied(&self) -> &[SizeRange] {
        let has_frames = |range: &SizeRange| range.packets > 0;
        let first = self.histogram.iter().position(has_frames);
        let last = self.histogram.iter().rposition(has_frames);
        match (first, last) {
            (Some(first), Some(last)) => &self.histogram[first..=last],
            _ => &[],
        }
    }
}

/// Frames of similar size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeRange {
    /// Smallest size in bytes.
    pub from: u32,
    /// Largest size in bytes; `None` without a limit.
    pub to: Option<u32>,
    /// Frames.
    pub packets: u64,
}

impl SizeRange {
    /// `40–79`, `5120 and more`.
    #[must_use]
    pub fn label(&self) -> String {
        match self.to {
            Some(to) => format!("{}–{to}", self.from),
            None => format!("{} and more", self.from),
        }
    }
}

/// Rates.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rates {
    /// Packets per second over the whole run.
    pub mean_pps: f64,
    /// Packets per second in the busiest bin.
    pub peak_pps: f64,
    /// Bits per second over the whole run.
    pub mean_bps: f64,
    /// Bits per second in the busiest bin.
    pub peak_bps: f64,
}

/// Packets over time, in bins of equal width.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// Start of the first bin, RFC 3339 in UTC; `None` without packets in a file.
    pub start: Option<String>,
    /// Width of a bin.
    pub bin_seconds: f64,
    /// Packets per bin.
    pub bins: Vec<u64>,
    /// Bytes per bin.
    pub bytes: Vec<u64>,
    /// Packets per bin of each leaf class that occurs.
    pub by_protocol: BTreeMap<String, Vec<u64>>,
    /// Bytes per bin, as `by_protocol`.
    pub bytes_by_protocol: BTreeMap<String, Vec<u64>>,
    /// Summaries lost per bin.
    pub lost: Vec<u64>,
}

/// What happened to every frame.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ledger {
    /// Frames at the hooks while the gate was open.
    pub seen: u64,
    /// Left out by filter or `--protocol`.
    pub filtered_out: u64,
    /// Counted.
    pub matched: u64,
    /// Matched frames whose protocol could not be told.
    pub unparsed: u64,
    /// Summaries that reached user space; `None` with `--counters-only`.
    pub summaries_delivered: Option<u64>,
    /// Summaries that found the ring full; `None` with `--counters-only`.
    pub summaries_lost: Option<u64>,
    /// Frames between the sampled ones; 0 without a capture file.
    pub frames_sampled_out: u64,
    /// Frames written to the capture file.
    pub frames_written: u64,
    /// Frames that should have been written.
    pub frames_lost: FramesLost,
    /// Flow records that were sent to the IPFIX collector; `None` without `--ipfix`.
    pub ipfix_sent: Option<u64>,
    /// Flow records that were not, because the collector was away or too slow; `None` as above.
    pub ipfix_lost: Option<u64>,
    /// Excerpts of DNS and ARP frames and fragments that found the ring full.
    pub excerpts_lost: u64,
    /// Records that the bounded history let go.
    pub history_evicted: u64,
    /// Rows that were made for `--to`; `None` without it, as in the next three.
    pub export_rows: Option<u64>,
    /// Rows that the server has.
    pub export_stored: Option<u64>,
    /// Rows on disk, for the next capture to send.
    pub export_waiting: Option<u64>,
    /// Rows that were given up, because the spool was full or could not be written.
    pub export_lost: Option<u64>,
    /// Counted packets whose summaries have not been read yet; `None` when the run has ended.
    pub in_flight: Option<u64>,
    /// Whether every identity holds. They are judged when the run has ended; until then `true`.
    pub balanced: bool,
}

impl Ledger {
    /// Whether there are frames that a capture file has, or should have.
    pub(crate) fn has_file(&self) -> bool {
        let lost = self.frames_lost.ring_full + self.frames_lost.write_failed;
        self.frames_sampled_out + self.frames_written + lost > 0
    }
}

/// Frames lost, by cause.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FramesLost {
    /// The ring was full.
    pub ring_full: u64,
    /// The file could not be written.
    pub write_failed: u64,
}
