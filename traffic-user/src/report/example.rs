//! Reports for tests: like a run of ten seconds on a virtual link, and its edges.

use std::collections::BTreeMap;

use super::{
    AddressRow, DnsRow, DnsSummary, Finding, FlagsRow, FramesLost, HierarchyNode, InterfaceRow,
    Ledger, MaxMissed, ProtocolRow, Rates, Report, Severity, SizeRange, Sizes, Source, Timeline,
    Totals, VlanRow,
    flows::{FlowRow, FlowSideRow, FlowTable},
};

const BYTES_PER_PACKET: u64 = 310;

/// Ten seconds, 30 bins, seven protocols, nothing lost.
pub(crate) fn report() -> Report {
    let weights = [
        ("tcp", 400),
        ("udp", 120),
        ("dns", 60),
        ("icmp", 30),
        ("icmp6", 24),
        ("arp", 8),
        ("unparsed", 2),
    ];
    build(10.0, 30, &weights.map(|(name, n)| (name.to_owned(), n)))
}

/// As [`report`], with this many bins.
pub(crate) fn with_bins(bins: usize) -> Report {
    build(
        10.0,
        bins,
        &[("tcp".to_owned(), 90), ("udp".to_owned(), 40)],
    )
}

/// As [`report`], with this many protocols.
pub(crate) fn with_protocols(count: u32) -> Report {
    let known = ["tcp", "udp", "dns", "icmp", "icmp6", "arp", "igmp"];
    let weights: Vec<(String, u64)> = (0..count)
        .map(|index| {
            let name = known
                .get(index as usize)
                .map_or_else(|| format!("ip-proto-{}", 80 + index), ToString::to_string);
            (name, u64::from(300 / (index + 1)))
        })
        .collect();
    build(10.0, 30, &weights)
}

/// As [`report`], lasting this long.
pub(crate) fn with_duration(seconds: f64) -> Report {
    build(
        seconds,
        30,
        &[("tcp".to_owned(), 300), ("udp".to_owned(), 80)],
    )
}

/// As [`report`], with summaries and frames lost in three bins.
pub(crate) fn with_losses() -> Report {
    let mut report = report();
    for (bin, lost) in [(7, 120), (8, 300), (20, 4)] {
        report.timeline.lost[bin] = lost;
    }
    report.ledger.summaries_lost = Some(424);
    report.ledger.summaries_delivered = Some(report.ledger.matched - 424);
    report.ledger.frames_written -= 30;
    report.ledger.frames_lost = FramesLost {
        ring_full: 29,
        write_failed: 1,
    };
    report.ledger.excerpts_lost = 3;
    report.tables_note = Some("lower bounds: 424 summaries were lost".to_owned());
    report
}

/// One packet, in the first of 30 bins.
pub(crate) fn one_packet() -> Report {
    let mut report = empty();
    report.timeline.bins[0] = 1;
    report.timeline.bytes[0] = 98;
    let mut bins = vec![0; 30];
    bins[0] = 1;
    report.timeline.by_protocol.insert("icmp".to_owned(), bins);
    report.protocols = vec![protocol("icmp", 1)];
    report.totals.packets = 1;
    report.totals.bytes = 98;
    report.totals.ip = 1;
    report.rates = rates(report.duration_s, 1, &report.timeline);
    report.ledger.seen = 1;
    report.ledger.matched = 1;
    report.ledger.summaries_delivered = Some(1);
    report
}

/// A capture that saw nothing.
pub(crate) fn empty() -> Report {
    let mut report = build(10.0, 30, &[]);
    report.interfaces.truncate(1);
    report.first_packet = None;
    report.last_packet = None;
    report.malformed.clear();
    report.unique_sources = 0;
    report.sources.clear();
    report.destinations.clear();
    report.conversations.clear();
    report.ports.clear();
    report.dns = DnsSummary::default();
    report.dns_names.clear();
    report.tcp_flags.clear();
    report.vlans.clear();
    report.findings.clear();
    report.flows = None;
    report.sizes = None;
    report
}

/// A file without packets: even the time is not known.
pub(crate) fn empty_file() -> Report {
    let mut report = empty();
    report.source = Source::Files {
        files: vec!["empty.pcap".to_owned()],
    };
    report.started = None;
    report.duration_s = 0.0;
    report.timeline = Timeline::default();
    report.interfaces.clear();
    report
}

/// Every text that a stranger can choose says `text`.
pub(crate) fn hostile(text: &str) -> Report {
    let mut report = report();
    let count = report.protocols[0].packets;
    report.protocols[0].name = text.to_owned();
    if let Some(bins) = report.timeline.by_protocol.remove("tcp") {
        report.timeline.by_protocol.insert(text.to_owned(), bins);
    }
    if let Some(bins) = report.timeline.bytes_by_protocol.remove("tcp") {
        let series = &mut report.timeline.bytes_by_protocol;
        series.insert(text.to_owned(), bins);
    }
    text.clone_into(&mut report.interfaces[0].name);
    text.clone_into(&mut report.interfaces[0].link_type);
    text.clone_into(&mut report.generator);
    report.interfaces[0].ingress_hook = Some(text.to_owned());
    report.malformed.insert(text.to_owned(), 3);
    for table in [
        &mut report.sources,
        &mut report.destinations,
        &mut report.conversations,
        &mut report.ports,
    ] {
        table[0].address = text.to_owned();
    }
    report.dns_names[0] = DnsRow {
        name: text.to_owned(),
        record_type: text.to_owned(),
        queries: count,
        answers: BTreeMap::from([(text.to_owned(), 1)]),
    };
    for finding in &mut report.findings {
        for field in [
            &mut finding.kind,
            &mut finding.summary,
            &mut finding.filter,
            &mut finding.addresses[0],
            &mut finding.first,
        ] {
            text.clone_into(field);
        }
    }
    report.findings_note = Some(text.to_owned());
    let flows = report.flows.as_mut().expect("the example has flows");
    flows.note = Some(text.to_owned());
    let flow = &mut flows.rows[0];
    for field in [
        &mut flow.interface,
        &mut flow.protocol,
        &mut flow.src,
        &mut flow.dst,
        &mut flow.first,
        &mut flow.last,
    ] {
        text.clone_into(field);
    }
    text.clone_into(&mut report.hierarchy.children[0].name);
    text.clone_into(&mut report.tcp_flags[0].flags);
    report.dns.record_types.insert(text.to_owned(), 1);
    report.dns.response_codes.insert(text.to_owned(), 1);
    report.started = Some(text.to_owned());
    report.first_packet = Some(text.to_owned());
    report.last_packet = Some(text.to_owned());
    report.timeline.start = Some(text.to_owned());
    report.tables_note = Some(text.to_owned());
    report.notes = vec![text.to_owned()];
    report.source = Source::Capture {
        filter: text.to_owned(),
        sample: 1,
        snaplen: 262_144,
        host: text.to_owned(),
        kernel: text.to_owned(),
    };
    report
}

/// `weights` packets of each protocol per bin, in gentle waves.
fn build(duration_s: f64, bins: usize, weights: &[(String, u64)]) -> Report {
    let by_protocol: BTreeMap<String, Vec<u64>> = weights
        .iter()
        .map(|(name, weight)| {
            let row = (0..bins).map(|bin| wave(*weight, bin, bins)).collect();
            (name.clone(), row)
        })
        .collect();
    let counts: Vec<u64> = (0..bins)
        .map(|bin| by_protocol.values().map(|row| row[bin]).sum())
        .collect();
    let packets = counts.iter().sum();
    let mut protocols: Vec<ProtocolRow> = by_protocol
        .iter()
        .map(|(name, row)| protocol(name, row.iter().sum()))
        .collect();
    protocols.sort_by_key(|row| std::cmp::Reverse(row.packets));
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let bin_seconds = duration_s / bins as f64;
    let timeline = Timeline {
        start: Some("2026-03-01T12:00:00.000000000Z".to_owned()),
        bin_seconds,
        bytes: counts.iter().map(|n| n * BYTES_PER_PACKET).collect(),
        lost: vec![0; bins],
        bins: counts,
        bytes_by_protocol: by_protocol
            .iter()
            .map(|(name, row)| {
                let bytes = row.iter().map(|n| n * BYTES_PER_PACKET).collect();
                (name.clone(), bytes)
            })
            .collect(),
        by_protocol,
    };
    assemble(duration_s, packets, protocols, timeline)
}

fn assemble(
    duration_s: f64,
    packets: u64,
    protocols: Vec<ProtocolRow>,
    timeline: Timeline,
) -> Report {
    let of = |name: &str| {
        protocols
            .iter()
            .find(|row| row.name == name)
            .map_or(0, |row| row.packets)
    };
    let totals = Totals {
        packets,
        bytes: packets * BYTES_PER_PACKET,
        ip: packets - of("icmp6") - of("arp") - of("unparsed"),
        ip6: of("icmp6"),
        tcp: of("tcp"),
        udp: of("udp") + of("dns"),
        wire_packets: Some(packets + of("tcp") / 2),
        wire_bytes: None,
    };
    Report {
        generator: "traffic 0.1.0".to_owned(),
        source: capture(),
        interfaces: interfaces(packets),
        started: timeline.start.clone(),
        duration_s,
        first_packet: Some("2026-03-01T12:00:00.104233871Z".to_owned()),
        last_packet: Some("2026-03-01T12:00:09.983301442Z".to_owned()),
        rates: rates(duration_s, packets, &timeline),
        ledger: ledger(packets, of("unparsed")),
        hierarchy: hierarchy(packets, &protocols),
        sampled: None,
        protocols,
        totals,
        malformed: BTreeMap::from([
            ("ipv4-header-length".to_owned(), 2),
            ("truncated-tcp".to_owned(), 14),
        ]),
        unique_sources: 12,
        unique_sources_error_percent: 0.0,
        max_missed: MaxMissed::default(),
        tables_note: None,
        sources: rows(packets, |n| format!("192.0.2.{n}")),
        destinations: rows(packets, |n| format!("2001:db8::{n:x}")),
        conversations: rows(packets, |n| format!("192.0.2.{n} <-> 198.51.100.7")),
        ports: rows(packets, |n| format!("{}/tcp", 440 + n)),
        dns: dns(),
        dns_names: dns_names(),
        tcp_flags: flags(packets),
        vlans: vec![VlanRow {
            id: 42,
            packets: packets / 9,
            bytes: packets / 9 * BYTES_PER_PACKET,
        }],
        sizes: Some(sizes(packets)),
        findings: findings(),
        findings_note: None,
        flows: (packets > 10).then(|| flows(packets)),
        timeline,
        history: Vec::new(),
        notes: vec!["VLAN tags that a NIC strips cannot be seen by XDP".to_owned()],
    }
}

/// A slow wave with some noise, the same at every call.
fn wave(weight: u64, bin: usize, bins: usize) -> u64 {
    let phase = (bin as u64 * 48 / bins as u64 + weight) % 24;
    let noise = (bin as u64 * 2_654_435_761 + weight * 97) % 1009 % 100;
    weight / 2 + weight * phase.min(24 - phase) / 16 + weight * noise / 250
}

fn protocol(name: &str, packets: u64) -> ProtocolRow {
    ProtocolRow {
        name: name.to_owned(),
        packets,
        bytes: packets * BYTES_PER_PACKET,
    }
}

fn capture() -> Source {
    Source::Capture {
        filter: "tcp or udp".to_owned(),
        sample: 1,
        snaplen: 262_144,
        host: "monitor-1".to_owned(),
        kernel: "6.1.0-30-amd64".to_owned(),
    }
}

fn interfaces(packets: u64) -> Vec<InterfaceRow> {
    let row = |name: &str, ifindex, egress: Option<&str>, packets| InterfaceRow {
        name: name.to_owned(),
        ifindex,
        link_type: "EN10MB".to_owned(),
        ingress_hook: Some("tcx".to_owned()),
        egress_hook: egress.map(str::to_owned),
        packets,
        bytes: packets * BYTES_PER_PACKET,
        estimate: None,
    };
    vec![
        row("veth0", 3, Some("tcx"), packets - packets / 4),
        row("veth1", 4, None, packets / 4),
    ]
}

fn rates(duration_s: f64, packets: u64, timeline: &Timeline) -> Rates {
    #![expect(clippy::cast_precision_loss, reason = "small numbers")]
    let per_second = |n: u64, seconds: f64| {
        if seconds > 0.0 {
            n as f64 / seconds
        } else {
            0.0
        }
    };
    let peak = timeline.bins.iter().copied().max().unwrap_or(0);
    let bits = 8 * BYTES_PER_PACKET;
    Rates {
        mean_pps: per_second(packets, duration_s),
        peak_pps: per_second(peak, timeline.bin_seconds),
        mean_bps: per_second(packets * bits, duration_s),
        peak_bps: per_second(peak * bits, timeline.bin_seconds),
    }
}

fn ledger(packets: u64, unparsed: u64) -> Ledger {
    Ledger {
        seen: packets,
        matched: packets,
        unparsed,
        summaries_delivered: Some(packets),
        summaries_lost: Some(0),
        frames_written: packets,
        balanced: true,
        ..Ledger::default()
    }
}

fn rows(packets: u64, address: impl Fn(u64) -> String) -> Vec<AddressRow> {
    (1..=10)
        .map(|n| AddressRow {
            address: address(n),
            packets: packets / (n + 1),
            bytes: packets / (n + 1) * BYTES_PER_PACKET,
        })
        .collect()
}

fn dns_names() -> Vec<DnsRow> {
    let row = |name: &str, record_type: &str, queries, answers: &[(&str, u64)]| DnsRow {
        name: name.to_owned(),
        record_type: record_type.to_owned(),
        queries,
        answers: answers.iter().map(|&(c, n)| (c.to_owned(), n)).collect(),
    };
    vec![
        row("www.example.com", "A", 41, &[("NOERROR", 40)]),
        row("www.example.com", "AAAA", 40, &[("NOERROR", 40)]),
        row(
            "missing.example.net",
            "A",
            9,
            &[("NXDOMAIN", 8), ("SERVFAIL", 1)],
        ),
        row("_dns.resolver.arpa", "TYPE64", 2, &[]),
    ]
}

fn hierarchy(packets: u64, protocols: &[ProtocolRow]) -> HierarchyNode {
    let node = |name: &str, packets, children| HierarchyNode {
        name: name.to_owned(),
        packets,
        bytes: packets * BYTES_PER_PACKET,
        children,
    };
    let rows = protocols.iter();
    let classes = rows.map(|row| node(&row.name, row.packets, Vec::new()));
    let link = node("EN10MB", packets, classes.collect());
    node("frame", packets, vec![link])
}

fn sizes(packets: u64) -> Sizes {
    let ranges = [
        (0, Some(39), 0),
        (40, Some(79), packets / 2),
        (80, Some(159), packets / 4),
        (160, Some(1279), packets / 100),
        (
            1280,
            None,
            packets - packets / 2 - packets / 4 - packets / 100,
        ),
    ];
    let range = |(from, to, packets)| SizeRange { from, to, packets };
    Sizes {
        min: 42,
        median: 98,
        p95: 1514,
        max: 1514,
        histogram: ranges.map(range).to_vec(),
    }
}

fn flags(packets: u64) -> Vec<FlagsRow> {
    let row = |(flags, packets): (&str, u64)| FlagsRow {
        flags: flags.to_owned(),
        packets,
    };
    [("ACK", packets / 3), ("PSH ACK", packets / 5), ("SYN", 7)]
        .map(row)
        .to_vec()
}

fn dns() -> DnsSummary {
    let counts = |rows: &[(&str, u64)]| rows.iter().map(|&(n, c)| (n.to_owned(), c)).collect();
    DnsSummary {
        queries: 92,
        answers: 89,
        failures: 9,
        record_types: counts(&[("A", 50), ("AAAA", 40), ("TYPE64", 2)]),
        response_codes: counts(&[("NOERROR", 80), ("NXDOMAIN", 8), ("SERVFAIL", 1)]),
    }
}

fn flows(packets: u64) -> FlowTable {
    let side = |packets: u64, direction, flags: &str| FlowSideRow {
        packets,
        bytes: packets * BYTES_PER_PACKET,
        ip_bytes: packets * (BYTES_PER_PACKET - 14),
        direction: Some(direction),
        tcp_flags: Some(flags.to_owned()),
        ..FlowSideRow::default()
    };
    let row = |n: u64| FlowRow {
        interface: "veth0".to_owned(),
        vlan: (n == 2).then_some(42),
        inner_vlan: None,
        protocol: "tcp".to_owned(),
        src: format!("192.0.2.{n}"),
        src_port: Some(40_000),
        dst: "2001:db8::7".to_owned(),
        dst_port: Some(443),
        first: "2026-03-01T12:00:01.104233871Z".to_owned(),
        last: "2026-03-01T12:00:04.700113001Z".to_owned(),
        duration_s: 3.595_879_13,
        packets: packets / n,
        bytes: packets / n * BYTES_PER_PACKET,
        forward: side(packets / n - packets / n / 2, "ingress", "SYN PSH ACK"),
        reverse: side(packets / n / 2, "egress", "SYN PSH ACK"),
        handshake_s: Some(0.020_4),
        response_s: (n > 1).then_some(0.113),
        end: if n > 2 { "live" } else { "end_of_flow" },
    };
    FlowTable {
        idle_s: Some(15.0),
        active_s: Some(1800.0),
        max_flows: Some(262_144),
        packets: packets - 10,
        bytes: (packets - 10) * BYTES_PER_PACKET,
        other_packets: 10,
        other_bytes: 10 * BYTES_PER_PACKET,
        live: 3,
        ended: BTreeMap::from([("end_of_flow", 2), ("idle_timeout", 0)]),
        note: None,
        rows: (3..=7).map(row).collect(),
    }
}

fn findings() -> Vec<Finding> {
    let finding = |kind: &str, severity, summary: &str, filter: &str| Finding {
        kind: kind.to_owned(),
        severity,
        summary: summary.to_owned(),
        addresses: vec!["192.0.2.66".to_owned(), "198.51.100.7".to_owned()],
        first: "2026-03-01T12:00:02.104233871Z".to_owned(),
        last: "2026-03-01T12:00:03.700113001Z".to_owned(),
        packets: 1024,
        numbers: BTreeMap::from([("targets".to_owned(), 1024)]),
        filter: filter.to_owned(),
    };
    vec![
        finding(
            "syn_flood",
            Severity::Alert,
            "198.51.100.7 got up to 9,120 SYN packets per second and hardly any other TCP",
            "dst host 198.51.100.7 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
        ),
        finding(
            "syn_scan",
            Severity::Warning,
            "192.0.2.66 tried 1,024 ports of 1 address with TCP SYN, and 2 answered",
            "src host 192.0.2.66 and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
        ),
    ]
}
