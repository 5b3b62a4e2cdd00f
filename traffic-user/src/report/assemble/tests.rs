use traffic_ebpf::{
    parse::{Link, ParseError},
    record::Summary,
    tally::{Counters, NumberedKey, Tally, version_index},
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
