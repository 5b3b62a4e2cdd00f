//! Puts the report together from what the stages found and what is known about the run.

mod measured;
mod notes;

use std::collections::BTreeSet;

use jiff::Timestamp;
use traffic_ebpf::{protocol::Protocol, tally::Count};

use self::{
    measured::{Measured, measure},
    notes::{findings_note, notes, tables_note},
};
use super::{
    AddressRow, DnsRow, DnsSummary, Estimate, Finding, FlagsRow, InterfaceRow, Ledger, MaxMissed,
    ProtocolRow, Rates, Report, SizeRange, Sizes, Source, Timeline, Totals, VlanRow, estimate,
    flows::{self, FlowTable},
    hierarchy,
};
use crate::{
    analysis::{FrameSizes, Table},
    counts::Counts,
    dns::{DnsTable, Question},
    findings::{Findings, Seen},
    flows::Flows,
    ledger::Account,
    record::tcp_flag_names,
    sandbox::Sandbox,
    snapshot::Snapshot,
    stages::Stages,
    timeline::Bars,
};

/// What is known about a run besides its packets.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where the packets came from.
    pub source: Source,
    /// Interfaces in the order of their numbers.
    pub interfaces: Vec<Interface>,
    /// Who counted what.
    pub totals: RunTotals,
    /// Bars of the histogram; at least 1.
    pub bins: u32,
    /// Rows of each table.
    pub top: usize,
    /// What a reader should know, beyond what follows from the numbers.
    pub notes: Vec<String>,
    /// As [`Report::sandbox`].
    pub sandbox: Option<Sandbox>,
}

/// An interface of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// As [`InterfaceRow::name`].
    pub name: String,
    /// As [`InterfaceRow::ifindex`].
    pub ifindex: u32,
    /// As [`InterfaceRow::link_type`].
    pub link_type: String,
    /// As [`InterfaceRow::ingress_hook`].
    pub ingress_hook: Option<String>,
    /// As [`InterfaceRow::egress_hook`].
    pub egress_hook: Option<String>,
    /// One frame in this many was counted; 1 for every frame.
    pub sample: u32,
}

/// Who counted what.
#[derive(Clone, Debug)]
pub enum RunTotals {
    /// A live capture: the kernel counted.
    Kernel(Box<Live>),
    /// Files: [`Stages::for_files`] counted what matched, the reader what it read.
    Files {
        /// Frames in the files.
        seen: u64,
        /// Frames that `--protocol` left out.
        filtered_out: u64,
    },
    /// Many captures, whose counts are stored.
    Stored(Box<Stored>),
}

/// What is stored of many captures.
#[derive(Clone, Debug)]
pub struct Stored {
    /// First moment, in nanoseconds since the Unix epoch.
    pub started_ns: u64,
    /// From there to the last moment.
    pub duration_ns: u64,
    /// What was counted.
    pub counts: Counts,
    /// The same over time.
    pub bars: Bars,
    /// Sums of the captures' ledgers.
    pub account: Account,
}

/// What the kernel counted between gate open and gate close, and what became of the frames.
#[derive(Clone, Debug)]
pub struct Live {
    /// Gate open, in nanoseconds since the Unix epoch.
    pub started_ns: u64,
    /// From gate open to gate close.
    pub duration_ns: u64,
    /// The counters.
    pub snapshot: Snapshot,
    /// Packets and bytes on the wire; `None` where a hook cannot know.
    pub wire: Option<Count>,
    /// Whether summaries travelled up: not with `--counters-only`.
    pub summaries: bool,
    /// What the writer of the capture file counted, if there is one.
    pub written: Option<Written>,
    /// Whether the run goes on.
    pub is_running: bool,
}

/// What the writer of a capture file counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Frames written.
    pub frames: u64,
    /// Frames that could not be written.
    pub failed: u64,
}

/// Makes the report of a run that has ended.
#[must_use]
pub fn report(mut stages: Stages, run: Run) -> Report {
    let mut report = so_far(&mut stages, run);
    report.history = stages.history.into_sorted();
    report
}

/// Makes a report of what `stages` have taken so far, without the packets of the history.
#[must_use]
pub fn so_far(stages: &mut Stages, run: Run) -> Report {
    let Stages {
        history,
        analysis,
        dns,
        findings,
        flows,
        totals,
    } = stages;
    let tables = analysis.tables(run.top);
    let (measured, account) = measure(&run, totals.as_ref(), &tables, history.evicted());
    let ledger = account.balance();
    let (found, omitted) = findings.as_ref().map(Findings::found).unwrap_or_default();
    let mut report = Report {
        generator: concat!("traffic ", env!("CARGO_PKG_VERSION")).to_owned(),
        interfaces: interfaces(&run.interfaces, &measured.counts),
        source: run.source.clone(),
        started: measured.started_ns.map(rfc3339),
        duration_s: seconds(measured.duration_ns),
        first_packet: tables.times_ns.map(|(first, _)| rfc3339(first)),
        last_packet: tables.times_ns.map(|(_, last)| rfc3339(last)),
        sampled: None,
        protocols: protocols(&measured.counts),
        totals: nested_totals(&measured),
        hierarchy: hierarchy::tree(&measured.counts, &link_types(&run.interfaces)),
        malformed: measured.counts.malformed(),
        unique_sources: tables.unique_sources,
        unique_sources_error_percent: tables.unique_sources_error.unwrap_or(0.0),
        max_missed: MaxMissed {
            sources: tables.sources.max_missed,
            destinations: tables.destinations.max_missed,
            conversations: tables.conversations.max_missed,
        },
        tables_note: tables_note(&tables, &ledger),
        sources: rows(&tables.sources),
        destinations: rows(&tables.destinations),
        conversations: rows(&tables.conversations),
        ports: rows(&tables.ports),
        dns: dns_summary(dns),
        dns_names: dns.top(run.top).into_iter().map(dns_row).collect(),
        tcp_flags: tables.tcp_flags.iter().map(flags_row).collect(),
        vlans: tables.vlans.iter().map(vlan_row).collect(),
        sizes: tables.sizes.as_ref().map(sizes),
        rates: rates(&measured),
        timeline: Timeline::default(),
        findings: found.into_iter().map(finding).collect(),
        findings_note: findings_note(findings.as_ref(), omitted, &ledger),
        flows: flows.as_ref().map(|flows| flow_table(flows, &run, &ledger)),
        history: Vec::new(),
        sandbox: run.sandbox,
        ledger,
        notes: run.notes,
    };
    let more_notes = notes(&report, &measured.bars, dns);
    report.notes.extend(more_notes);
    report.timeline = timeline(measured.bars, report.started.clone());
    if let Some(sample) = common_sample(&report.interfaces).filter(|sample| *sample > 1) {
        estimate::scale(&mut report, sample);
    }
    report
}

fn interfaces(interfaces: &[Interface], counts: &Counts) -> Vec<InterfaceRow> {
    let row = |(number, interface): (usize, &Interface)| {
        let count = counts.interface(number);
        InterfaceRow {
            name: interface.name.clone(),
            ifindex: interface.ifindex,
            link_type: interface.link_type.clone(),
            ingress_hook: interface.ingress_hook.clone(),
            egress_hook: interface.egress_hook.clone(),
            packets: count.packets,
            bytes: count.bytes,
            estimate: estimate(interface.sample, count),
        }
    };
    interfaces.iter().enumerate().map(row).collect()
}

/// Link types of the run, each once.
fn link_types(interfaces: &[Interface]) -> String {
    let types: BTreeSet<_> = interfaces
        .iter()
        .map(|row| row.link_type.as_str())
        .collect();
    types.into_iter().collect::<Vec<_>>().join(", ")
}

/// The rate at which every interface with packets was sampled; `None` where rates differ.
fn common_sample(interfaces: &[InterfaceRow]) -> Option<u32> {
    let rate = |row: &InterfaceRow| row.estimate.map_or(1, |estimate| estimate.sample);
    let mut rates = interfaces.iter().filter(|row| row.packets > 0).map(rate);
    let first = rates.next()?;
    rates.all(|rate| rate == first).then_some(first)
}

/// What a sample stands for; `None` where every frame was counted.
fn estimate(sample: u32, count: Count) -> Option<Estimate> {
    let scaled = |number: u64| number.saturating_mul(u64::from(sample));
    (sample > 1).then(|| Estimate {
        sample,
        packets: scaled(count.packets),
        bytes: scaled(count.bytes),
    })
}

fn protocols(counts: &Counts) -> Vec<ProtocolRow> {
    let leaves = counts.leaves().into_iter();
    let row = |(name, count): (String, Count)| ProtocolRow {
        name,
        packets: count.packets,
        bytes: count.bytes,
    };
    leaves.map(row).collect()
}

fn nested_totals(measured: &Measured) -> Totals {
    let total = measured.counts.total();
    Totals {
        packets: total.packets,
        bytes: total.bytes,
        ip: measured.counts.ip(4),
        ip6: measured.counts.ip(6),
        tcp: measured.counts.of(Protocol::is_tcp),
        udp: measured.counts.of(Protocol::is_udp),
        wire_packets: measured.wire.map(|count| count.packets),
        wire_bytes: measured.wire.map(|count| count.bytes),
    }
}

/// Rates over a run without a duration are 0: there is nothing to divide by.
#[expect(
    clippy::cast_precision_loss,
    reason = "rates are shown with fewer digits than f64 keeps"
)]
fn rates(measured: &Measured) -> Rates {
    if measured.duration_ns == 0 {
        return Rates::default();
    }
    let total = measured.counts.total();
    let run_s = seconds(measured.duration_ns);
    let bin_s = measured.bars.width_s();
    let peak = |bars: &[u64]| bars.iter().copied().max().unwrap_or(0) as f64 / bin_s;
    Rates {
        mean_pps: total.packets as f64 / run_s,
        peak_pps: peak(&measured.bars.packets),
        mean_bps: total.bytes as f64 * 8.0 / run_s,
        peak_bps: peak(&measured.bars.bytes) * 8.0,
    }
}

fn timeline(bars: Bars, start: Option<String>) -> Timeline {
    Timeline {
        start,
        bin_seconds: bars.width_s(),
        bins: bars.packets,
        bytes: bars.bytes,
        by_protocol: bars.by_protocol,
        bytes_by_protocol: bars.bytes_by_protocol,
        lost: bars.lost,
    }
}

fn rows(table: &Table) -> Vec<AddressRow> {
    let row = |(label, count): &(String, Count)| AddressRow {
        address: label.clone(),
        packets: count.packets,
        bytes: count.bytes,
    };
    table.rows.iter().map(row).collect()
}

fn finding(seen: Seen) -> Finding {
    Finding {
        kind: seen.kind.label().to_owned(),
        severity: seen.kind.severity(),
        summary: seen.summary,
        addresses: seen.addresses.iter().map(ToString::to_string).collect(),
        first: rfc3339(seen.first_ns),
        last: rfc3339(seen.last_ns),
        packets: seen.packets,
        numbers: seen
            .numbers
            .into_iter()
            .map(|(name, number)| (name.to_owned(), number))
            .collect(),
        filter: seen.filter,
    }
}

fn flow_table(flows: &Flows, run: &Run, ledger: &Ledger) -> FlowTable {
    let interfaces = run.interfaces.iter();
    let context = flows::Context {
        interfaces: interfaces
            .map(|row| (row.name.as_str(), row.sample))
            .collect(),
        lost: ledger.summaries_lost,
        top: run.top,
    };
    flows::table(flows, &context)
}

fn sizes(sizes: &FrameSizes) -> Sizes {
    let range = |(from, to, packets): &(u32, Option<u32>, u64)| SizeRange {
        from: *from,
        to: *to,
        packets: *packets,
    };
    Sizes {
        min: sizes.min,
        median: sizes.median,
        p95: sizes.p95,
        max: sizes.max,
        histogram: sizes.ranges.iter().map(range).collect(),
    }
}

fn flags_row((flags, packets): &(u8, u64)) -> FlagsRow {
    FlagsRow {
        flags: tcp_flag_names(*flags),
        packets: *packets,
    }
}

fn vlan_row((id, count): &(u16, Count)) -> VlanRow {
    VlanRow {
        id: *id,
        packets: count.packets,
        bytes: count.bytes,
    }
}

fn dns_summary(dns: &DnsTable) -> DnsSummary {
    let (record_types, response_codes) = (dns.record_types(), dns.response_codes());
    let answers = response_codes.values().sum();
    DnsSummary {
        queries: record_types.values().sum(),
        answers,
        failures: answers - response_codes.get("NOERROR").unwrap_or(&0),
        record_types,
        response_codes,
    }
}

fn dns_row(question: Question) -> DnsRow {
    DnsRow {
        name: question.name,
        record_type: question.record_type,
        queries: question.queries,
        answers: question.answers.into_iter().collect(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 ns are 104 days, and then 1 ns is lost"
)]
fn seconds(duration_ns: u64) -> f64 {
    duration_ns as f64 / 1e9
}

/// RFC 3339 in UTC with nanoseconds. u64 nanoseconds end in the year 2554, which has four digits.
pub(super) fn rfc3339(time_ns: u64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(time_ns));
    format!("{:.9}", time.expect("jiff reaches beyond u64 nanoseconds"))
}

#[cfg(test)]
pub(super) mod tests;
