//! Puts the report together from what the stages found and what is known about the run.

use std::collections::BTreeSet;

use jiff::Timestamp;
use traffic_ebpf::{
    protocol::Protocol,
    tally::{Count, Tally},
};

use super::{
    AddressRow, DnsRow, DnsSummary, Estimate, Finding, FlagsRow, InterfaceRow, Ledger, MaxMissed,
    ProtocolRow, Rates, Report, SizeRange, Sizes, Source, Timeline, Totals, VlanRow, estimate,
    flows::{self, FlowTable},
    hierarchy,
    number::{count, counted},
};
use crate::{
    analysis::{EXACT_CONVERSATIONS, EXACT_HOSTS, FrameSizes, Table, Tables},
    counts::Counts,
    dns::{DnsTable, Question},
    findings::{Findings, MAX_PER_KIND, Seen},
    flows::Flows,
    ledger::{Account, Frames, Summaries},
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
    let evicted = history.evicted();
    let (measured, account) = match &run.totals {
        RunTotals::Kernel(live) => measure(live, run.bins, tables.records, evicted),
        RunTotals::Files { seen, filtered_out } => {
            let totals = totals.clone().unwrap_or_default();
            let measured = Measured {
                started_ns: tables.times_ns.map(|(first, _)| first),
                duration_ns: tables.times_ns.map_or(0, |(first, last)| last - first),
                bars: totals.timeline.bars(run.bins),
                counts: totals.counts,
                wire: None,
            };
            let account = files_account(*seen, *filtered_out, &measured, tables.records, evicted);
            (measured, account)
        }
        RunTotals::Stored(stored) => {
            let measured = Measured {
                started_ns: Some(stored.started_ns),
                duration_ns: stored.duration_ns,
                counts: stored.counts.clone(),
                bars: stored.bars.clone(),
                wire: None,
            };
            (measured, stored.account)
        }
    };
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

/// Totals and bars, whoever counted them.
struct Measured {
    started_ns: Option<u64>,
    duration_ns: u64,
    counts: Counts,
    bars: Bars,
    wire: Option<Count>,
}

fn measure(live: &Live, bins: u32, delivered: u64, evicted: u64) -> (Measured, Account) {
    let snapshot = &live.snapshot;
    let counts = Counts::from_kernel(&snapshot.places, &snapshot.numbered);
    let bars = Bars::from_slots(
        &snapshot.shape,
        snapshot.slots.iter().copied(),
        &snapshot.slot_numbered,
        live.duration_ns,
        bins,
    );
    let tally = |tally| snapshot.tally(tally);
    let account = Account {
        seen: tally(Tally::Seen),
        filtered_out: tally(Tally::FilteredOut),
        matched: tally(Tally::Matched),
        unparsed: counts.of(|protocol| protocol == Protocol::Unparsed),
        summaries: live.summaries.then(|| Summaries {
            delivered,
            lost: snapshot.summaries_lost(),
        }),
        frames: live.written.map(|written| Frames {
            sampled_out: tally(Tally::FramesSampledOut),
            written: written.frames,
            ring_full: tally(Tally::FramesLost),
            write_failed: written.failed,
        }),
        excerpts_lost: tally(Tally::ExcerptsLost),
        history_evicted: evicted,
        is_running: live.is_running,
    };
    let measured = Measured {
        started_ns: Some(live.started_ns),
        duration_ns: live.duration_ns,
        counts,
        bars,
        wire: live.wire,
    };
    (measured, account)
}

/// The reader counted what it read, [`Counts`] what matched, and the tables what they were given.
fn files_account(
    seen: u64,
    filtered_out: u64,
    measured: &Measured,
    delivered: u64,
    history_evicted: u64,
) -> Account {
    Account {
        seen,
        filtered_out,
        matched: measured.counts.total().packets,
        unparsed: measured
            .counts
            .of(|protocol| protocol == Protocol::Unparsed),
        summaries: Some(Summaries { delivered, lost: 0 }),
        history_evicted,
        ..Account::default()
    }
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

/// Says what the findings do not cover.
fn findings_note(findings: Option<&Findings>, omitted: usize, ledger: &Ledger) -> Option<String> {
    if findings.is_none() {
        return Some("Findings were not looked for.".to_owned());
    }
    let Some(lost) = ledger.summaries_lost else {
        return Some("No findings: only counters were asked for.".to_owned());
    };
    let mut notes = Vec::new();
    if lost > 0 || ledger.excerpts_lost > 0 {
        notes.push(format!(
            "Findings may be missing, and their numbers are lower bounds: {} summaries and {} \
             excerpts were lost.",
            count(lost),
            count(ledger.excerpts_lost)
        ));
    }
    if omitted > 0 {
        notes.push(format!(
            "{omitted} more findings are not listed: each kind has at most {MAX_PER_KIND}."
        ));
    }
    (!notes.is_empty()).then(|| notes.join(" "))
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

/// Says where the tables are not exact, and by how much.
fn tables_note(tables: &Tables, ledger: &Ledger) -> Option<String> {
    let mut notes = Vec::new();
    match ledger.summaries_lost {
        None => notes.push("No per-address tables: only counters were asked for.".to_owned()),
        Some(0) => {}
        Some(lost) => notes.push(format!(
            "Tables, sizes and times are lower bounds: {} missing from them.",
            counted(lost, "packet")
        )),
    }
    if let Some(error) = tables.unique_sources_error {
        notes.push(format!(
            "The number of different sources is an estimate (HyperLogLog, standard error \
             {error:.1} %)."
        ));
    }
    let hosts = EXACT_HOSTS;
    for (name, bound, table) in [
        ("sources", hosts, &tables.sources),
        ("destinations", hosts, &tables.destinations),
        ("conversations", EXACT_CONVERSATIONS, &tables.conversations),
    ] {
        if table.max_missed > 0 {
            notes.push(format!(
                "More than {} {name}: each row is a lower bound, short by at most {}.",
                count(bound as u64),
                counted(table.max_missed, "packet")
            ));
        }
    }
    (!notes.is_empty()).then(|| notes.join(" "))
}

fn notes(report: &Report, bars: &Bars, dns: &DnsTable) -> Vec<String> {
    let mut notes = Vec::new();
    let live = matches!(report.source, Source::Capture { .. } | Source::Fleet { .. });
    if live && report.interfaces.len() > 1 {
        notes.push("A packet that passes several interfaces is counted at each.".to_owned());
    }
    notes.extend(mixed_samples(&report.interfaces));
    if dns.other() > 0 {
        notes.push(format!(
            "{} DNS messages are about names beyond the first 10000, which are not listed.",
            dns.other()
        ));
    }
    if report.ledger.excerpts_lost > 0 {
        notes.push(format!(
            "DNS names are lower bounds: {} DNS, ARP and fragment excerpts were lost.",
            report.ledger.excerpts_lost
        ));
    }
    let shown = |name: &str| report.protocols.iter().any(|row| row.name == name);
    if let Some(series) = bars.by_protocol.keys().find(|name| !shown(name)) {
        notes.push(format!(
            "Over time, rare protocols are shown together as {series}."
        ));
    }
    notes
}

/// Interfaces that were sampled at different rates: no factor holds for all of them.
fn mixed_samples(interfaces: &[InterfaceRow]) -> Option<String> {
    let sampled = interfaces
        .iter()
        .filter_map(|row| Some((row, row.estimate?)));
    let sampled: Vec<_> = sampled
        .map(|(row, estimate)| format!("1 in {} of {}", estimate.sample, row.name))
        .collect();
    let mixed = !sampled.is_empty() && common_sample(interfaces).is_none();
    mixed.then(|| {
        format!(
            "Interfaces were sampled at different rates ({}): estimates stand beside each \
             interface, all other numbers are those of the files. Read them one by one to have \
             everything estimated.",
            sampled.join(", ")
        )
    })
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
pub(super) mod tests {
    use traffic_ebpf::{
        parse::{Link, ParseError},
        record::Summary,
        tally::{Counters, NumberedKey, version_index},
        timeline::{Shape, SlotCounts},
    };

    use super::*;
    use crate::record::PacketRecord;

    /// 2023-11-14 22:13:20 UTC.
    const STARTED_NS: u64 = 1_700_000_000_000_000_000;

    #[test]
    fn a_capture_is_told_by_the_kernel_and_its_summaries() {
        let report = capture_report(3);
        assert_eq!(
            report.started.as_deref(),
            Some("2023-11-14T22:13:20.000000000Z")
        );
        assert_eq!(
            report.first_packet.as_deref(),
            Some("2023-11-14T22:13:20.100000000Z")
        );
        assert_eq!(
            report.last_packet.as_deref(),
            Some("2023-11-14T22:13:20.500000001Z")
        );
        assert!((report.duration_s - 2.0).abs() < 1e-9);
        let protocols: Vec<_> = report
            .protocols
            .iter()
            .map(|row| (row.name.as_str(), row.packets, row.bytes))
            .collect();
        assert_eq!(
            protocols,
            [("dns", 2, 200), ("ip-proto-89", 1, 90), ("unparsed", 1, 10)]
        );
        let totals = &report.totals;
        assert_eq!((totals.packets, totals.bytes), (4, 300));
        assert_eq!(
            (totals.ip, totals.ip6, totals.tcp, totals.udp),
            (2, 1, 0, 2)
        );
        assert_eq!(
            (totals.wire_packets, totals.wire_bytes),
            (Some(5), Some(360))
        );
        assert_eq!(
            report.malformed,
            [("truncated_link_header".to_owned(), 1)].into()
        );
        assert_eq!(report.interfaces[0].packets, 4);
        assert_eq!(report.timeline.bins, [2, 0, 0, 2]);
        assert_eq!(report.timeline.by_protocol["ip-proto-89"], [0, 0, 0, 1]);
        assert_eq!(report.timeline.lost, [0, 0, 0, 1]);
        assert!((report.timeline.bin_seconds - 0.5).abs() < 1e-9);
        assert_eq!(report.timeline.start, report.started);
        assert!((report.rates.mean_pps - 2.0).abs() < 1e-9);
        assert!((report.rates.peak_pps - 4.0).abs() < 1e-9);
        assert!((report.rates.mean_bps - 1200.0).abs() < 1e-9);
        assert_eq!(report.dns_names[0].name, "ab");
        assert_eq!(report.history.len(), 1);
        let ledger = &report.ledger;
        assert_eq!(
            (ledger.seen, ledger.filtered_out, ledger.matched),
            (7, 3, 4)
        );
        assert_eq!(
            (ledger.summaries_delivered, ledger.summaries_lost),
            (Some(3), Some(1))
        );
        assert_eq!(
            (ledger.frames_written, ledger.frames_lost.write_failed),
            (3, 1)
        );
        assert_eq!((ledger.unparsed, ledger.history_evicted), (1, 2));
        assert!(ledger.balanced);
        let note = report.tables_note.as_deref().unwrap();
        assert!(note.contains("lower bounds: 1 packet missing"), "{note}");
    }

    #[test]
    fn a_summary_that_vanished_unbalances_the_ledger() {
        assert!(!capture_report(2).ledger.balanced);
    }

    #[test]
    fn counters_alone_have_no_tables() {
        let mut live = live();
        live.summaries = false;
        let report = report(
            Stages::for_capture(0),
            run(RunTotals::Kernel(Box::new(live))),
        );
        assert!(report.ledger.balanced);
        assert_eq!(report.ledger.summaries_delivered, None);
        assert_eq!((report.first_packet, report.sizes.is_none()), (None, true));
        assert_eq!(report.timeline.bins, [2, 0, 0, 2]);
        assert!(report.tables_note.unwrap().contains("only counters"));
    }

    #[test]
    fn files_are_told_by_their_packets() {
        let report = files_report(&[STARTED_NS + 1_000_000_000, STARTED_NS], 3);
        assert_eq!(
            report.started.as_deref(),
            Some("2023-11-14T22:13:20.000000000Z")
        );
        assert!((report.duration_s - 1.0).abs() < 1e-9);
        assert_eq!(report.timeline.bins, [1, 0, 0, 1]);
        assert_eq!(report.timeline.start, report.first_packet);
        assert_eq!(
            (report.totals.packets, report.totals.wire_packets),
            (2, None)
        );
        assert_eq!((report.ledger.seen, report.ledger.matched), (3, 2));
        assert!(report.ledger.balanced);
        assert_eq!(report.tables_note, None);
    }

    #[test]
    fn a_file_without_packets_has_no_times() {
        let report = files_report(&[], 0);
        assert_eq!((report.started, report.timeline.start), (None, None));
        assert_eq!(report.timeline.bins, [0; 4]);
        assert!(report.ledger.balanced);
    }

    #[test]
    fn packets_of_one_time_have_no_rate() {
        let report = files_report(&[STARTED_NS, STARTED_NS], 2);
        assert!(report.rates.mean_pps.abs() < 1e-9 && report.rates.peak_bps.abs() < 1e-9);
        assert_eq!(report.timeline.bins, [2, 0, 0, 0]);
    }

    #[test]
    fn times_have_nine_digits_to_the_end_of_u64() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    /// Four frames of which one summary was lost and one frame could not be written; `delivered`
    /// summaries arrived.
    pub(in crate::report) fn capture_report(delivered: usize) -> Report {
        let mut stages = Stages::for_capture(1);
        let udp = [
            &[0x45][..],
            &[0; 8],
            &[17],
            &[0; 10],
            &[0, 99, 0, 53, 0, 0, 0, 0],
        ]
        .concat();
        let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x02ab\0\0\x01\0\x01";
        let packet = [&udp[..], query].concat();
        stages.excerpt(STARTED_NS, &packet, Link::Ip);
        let records = [500_000_001, 100_000_000, 300_000_000]
            .map(|offset_ns| record(&packet, STARTED_NS + offset_ns));
        stages.packets(&records[..delivered]);
        report(stages, run(RunTotals::Kernel(Box::new(live()))))
    }

    pub(in crate::report) fn files_report(times_ns: &[u64], seen: u64) -> Report {
        let mut stages = Stages::for_files(10);
        let records: Vec<_> = times_ns.iter().map(|time| record(&[0x45], *time)).collect();
        stages.packets(&records);
        let totals = RunTotals::Files {
            seen,
            filtered_out: seen - times_ns.len() as u64,
        };
        let files = vec!["a.pcap".to_owned()];
        let source = Source::Files { files };
        report(
            stages,
            Run {
                source,
                ..run(totals)
            },
        )
    }

    fn record(packet: &[u8], timestamp_ns: u64) -> PacketRecord {
        PacketRecord::new(Summary {
            timestamp_ns,
            wire_len: 100,
            headers: traffic_ebpf::parse::parse(packet, Link::Ip).headers,
            ..Summary::EMPTY
        })
    }

    fn run(totals: RunTotals) -> Run {
        let interface = Interface {
            name: "eth0".to_owned(),
            ifindex: 2,
            link_type: "EN10MB".to_owned(),
            ingress_hook: Some("tcx".to_owned()),
            egress_hook: None,
            sample: 1,
        };
        Run {
            source: Source::Capture {
                filter: "--protocol dns".to_owned(),
                sample: 1,
                snaplen: 262_144,
                host: "h".to_owned(),
                kernel: "6.1.0".to_owned(),
            },
            interfaces: vec![interface],
            totals,
            bins: 4,
            top: 10,
            notes: vec!["A note.".to_owned()],
            sandbox: Some(Sandbox {
                landlock: Some(4),
                system_calls: Some(93),
            }),
        }
    }

    fn live() -> Live {
        let mut ingress = Counters::ZERO;
        ingress.tallies[Tally::Seen as usize] = 7;
        ingress.tallies[Tally::FilteredOut as usize] = 3;
        ingress.tallies[Tally::Matched as usize] = 4;
        ingress.protocols[version_index(4)][Protocol::DnsUdp as usize] = count(2, 200);
        ingress.protocols[0][Protocol::Unparsed as usize] = count(1, 10);
        ingress.errors[ParseError::TruncatedLink as usize - 1] = 1;
        let ospf = |place| NumberedKey {
            place,
            number: 89,
            protocol: Protocol::OtherIp as u8,
            ip_version: 6,
        };
        let snapshot = Snapshot {
            places: vec![ingress, Counters::ZERO],
            numbered: vec![(ospf(0), count(1, 90))],
            shape: Shape {
                width_ns: 500_000_000,
                half: 4,
                levels: 2,
            },
            slots: vec![
                (0, slot(Protocol::DnsUdp, count(2, 200), 0)),
                (3, slot(Protocol::Unparsed, count(1, 10), 1)),
            ],
            slot_numbered: vec![(ospf(3), count(1, 90))],
        };
        Live {
            started_ns: STARTED_NS,
            duration_ns: 2_000_000_000,
            snapshot,
            wire: Some(count(5, 360)),
            summaries: true,
            is_running: false,
            written: Some(Written {
                frames: 3,
                failed: 1,
            }),
        }
    }

    fn slot(protocol: Protocol, count: Count, lost: u64) -> SlotCounts {
        let mut counts = SlotCounts {
            protocols: [Count::default(); Protocol::COUNT],
            lost,
            reserved: 0,
        };
        counts.protocols[protocol as usize] = count;
        counts
    }

    fn count(packets: u64, bytes: u64) -> Count {
        Count { packets, bytes }
    }
}
