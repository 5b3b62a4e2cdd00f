//! The analysis as text of 80 columns for a terminal.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use super::{
    AddressRow, Ledger, Report, Sizes, Source, Timeline, hierarchy,
    number::{bits_per_second, count, counted, packets_per_second, percent, printable, seconds},
    verdict,
};

/// Columns of a label, of packets and of bytes: together 80.
const LABEL: usize = 42;
const PACKETS: usize = 15;
const BYTES: usize = 23;
/// Columns of a DNS name, of its queries and of the gap before its answers, which go to 80.
const DNS_LABEL: usize = 36;
const QUERIES: usize = 9;
const GAP: usize = 2;
const ANSWERS: usize = WIDTH - DNS_LABEL - QUERIES - GAP;
/// Columns of the names in front of single values.
const FIELD: usize = 22;
const WIDTH: usize = LABEL + PACKETS + BYTES;
/// From this many columns on a filter is too long for a line of its own.
const FILTER: usize = 71;

/// The whole analysis. The first line sums it up, and says so if anything was lost. Names from
/// packets, files and interfaces have their control characters escaped.
///
/// # Panics
/// Never: a `String` takes everything.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    write_report(&mut text, report).expect("a String takes everything");
    text
}

fn write_report(out: &mut String, report: &Report) -> fmt::Result {
    if report.totals.packets == 0 {
        writeln!(out, "No packets captured. No data to analyze.")?;
        write_ledger(out, &report.ledger)?;
        return write_notes(out, report);
    }
    write_summary(out, report)?;
    write_findings(out, report)?;
    write_times(out, report)?;
    write_interfaces(out, report)?;
    write_protocols(out, report)?;
    write_totals(out, report)?;
    write_hierarchy(out, report)?;
    write_malformed(out, report)?;
    write_tables(out, report)?;
    write_flows(out, report)?;
    write_dns(out, report)?;
    write_packets_by(out, report)?;
    write_sizes_and_rates(out, report)?;
    if report.duration_s > 0.0 {
        write_timeline(out, &report.timeline, estimated(report))?;
    }
    write_notes(out, report)?;
    write_ledger(out, &report.ledger)
}

/// The verdict on completeness, then how much there was.
fn write_summary(out: &mut String, report: &Report) -> fmt::Result {
    for sentence in verdict::of(report).sentences {
        write_wrapped(out, &sentence)?;
    }
    let (packets, bytes) = (report.totals.packets, report.totals.bytes);
    let duration = seconds(report.duration_s);
    let about = if report.sampled.is_some() {
        "about "
    } else {
        ""
    };
    writeln!(
        out,
        "{about}{}, {} in {duration}",
        counted(packets, "packet"),
        counted(bytes, "byte")
    )
}

fn write_findings(out: &mut String, report: &Report) -> fmt::Result {
    if report.findings.is_empty() && report.findings_note.is_none() {
        return Ok(());
    }
    writeln!(out, "\nFindings")?;
    for finding in &report.findings {
        let severity = finding.severity.label().to_uppercase();
        write_wrapped(out, &format!("{severity} {}", finding.summary))?;
        writeln!(out, "  from    {}", printable(&finding.first))?;
        writeln!(
            out,
            "  to      {}, {}",
            printable(&finding.last),
            counted(finding.packets, "packet")
        )?;
        match finding.filter.chars().count() {
            0 => {}
            1..FILTER => writeln!(out, "  filter  {}", printable(&finding.filter))?,
            _ => write_wrapped(out, &format!("filter {}", finding.filter))?,
        }
    }
    match &report.findings_note {
        Some(note) => write_wrapped(out, note),
        None => Ok(()),
    }
}

fn write_times(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out)?;
    match &report.source {
        Source::Capture {
            filter,
            sample,
            snaplen,
            host,
            kernel,
        } => {
            write_field(out, "Host", &format!("{host}, Linux {kernel}"))?;
            write_field(out, "Sandbox", &sandbox_text(report))?;
            if !filter.is_empty() {
                write_field(out, "Filter", filter)?;
            }
            if *sample > 1 {
                let sampling = format!("1 frame in {sample}, {snaplen} bytes of each");
                write_field(out, "Written", &sampling)?;
            }
        }
        Source::Fleet {
            from, hosts, until, ..
        } => {
            write_field(out, "Database", from)?;
            write_field(out, "Hosts", &hosts.join(", "))?;
            write_field(out, "Until", until)?;
        }
        Source::Files { files } => {
            for file in files {
                write_field(out, "File", file)?;
            }
        }
    }
    for (name, time) in [
        ("Started", &report.started),
        ("First packet", &report.first_packet),
        ("Last packet", &report.last_packet),
    ] {
        if let Some(time) = time {
            write_field(out, name, time)?;
        }
    }
    Ok(())
}

/// What the reader of the packets had given up.
pub(super) fn sandbox_text(report: &Report) -> String {
    report
        .sandbox
        .map_or_else(|| "off".to_owned(), |sandbox| sandbox.to_string())
}

fn write_interfaces(out: &mut String, report: &Report) -> fmt::Result {
    if report.interfaces.is_empty() {
        return Ok(());
    }
    write_heading(out, "Interfaces", "")?;
    for interface in &report.interfaces {
        let mut label = format!("{} ({}", printable(&interface.name), interface.link_type);
        for (direction, hook) in [
            ("in", &interface.ingress_hook),
            ("out", &interface.egress_hook),
        ] {
            if let Some(hook) = hook {
                write!(label, ", {direction} {hook}")?;
            }
        }
        label.push(')');
        write_row(out, &label, interface.packets, interface.bytes)?;
        if let Some(estimate) = interface.estimate {
            let label = format!("  estimated from 1 frame in {}", estimate.sample);
            write_row(out, &label, estimate.packets, estimate.bytes)?;
        }
    }
    Ok(())
}

fn write_protocols(out: &mut String, report: &Report) -> fmt::Result {
    write_heading(out, "Protocols", estimated(report))?;
    for row in &report.protocols {
        let share = percent(row.packets, report.totals.packets);
        let label = format!("{:<LABEL_NAME$}{share:>SHARE$}", row.name);
        write_row(out, &label, row.packets, row.bytes)?;
    }
    write_row(out, "total", report.totals.packets, report.totals.bytes)
}

/// Columns of a percentage, and what is left of a label beside it.
const SHARE: usize = 10;
const LABEL_NAME: usize = LABEL - SHARE - 1;

fn write_totals(out: &mut String, report: &Report) -> fmt::Result {
    let totals = &report.totals;
    writeln!(out)?;
    let nested = format!(
        "IPv4 {}, IPv6 {}, TCP {}, UDP {} (both with DNS)",
        count(totals.ip),
        count(totals.ip6),
        count(totals.tcp),
        count(totals.udp)
    );
    write_field(out, &unit("Among them", estimated(report)), &nested)?;
    if matches!(report.source, Source::Files { .. }) {
        return Ok(());
    }
    let wire = match (totals.wire_packets, totals.wire_bytes) {
        (Some(packets), Some(bytes)) => {
            format!("{}, {}", counted(packets, "packet"), counted(bytes, "byte"))
        }
        _ => "not known, because not every hook can tell".to_owned(),
    };
    write_field(out, "On the wire", &wire)?;
    write_wrapped(
        out,
        "All other numbers count frames as the hook sees them: a super-frame that the kernel \
         or the NIC has joined or will split (GRO, TSO) is one frame.",
    )
}

fn write_hierarchy(out: &mut String, report: &Report) -> fmt::Result {
    write_heading(out, "Protocol hierarchy", estimated(report))?;
    for (depth, node) in hierarchy::flat(&report.hierarchy) {
        let label = format!("{:indent$}{}", "", node.name, indent = 2 * depth);
        write_row(out, &label, node.packets, node.bytes)?;
    }
    Ok(())
}

fn write_malformed(out: &mut String, report: &Report) -> fmt::Result {
    if report.malformed.is_empty() {
        return Ok(());
    }
    let (heading, packets) = ("Malformed headers", unit("packets", estimated(report)));
    writeln!(out, "\n{heading:<LABEL$}{packets:>PACKETS$}")?;
    for (reason, packets) in &report.malformed {
        writeln!(out, "{reason:<LABEL$}{:>PACKETS$}", count(*packets))?;
    }
    Ok(())
}

fn write_tables(out: &mut String, report: &Report) -> fmt::Result {
    if let Some(note) = &report.tables_note {
        writeln!(out)?;
        write_wrapped(out, note)?;
    }
    if report.ledger.summaries_delivered.is_none() {
        return Ok(());
    }
    let sources = format!(
        "Source addresses: {} different",
        count(report.unique_sources)
    );
    write_table(out, &sources, &report.sources, estimated(report))?;
    write_table(
        out,
        "Destination addresses",
        &report.destinations,
        estimated(report),
    )?;
    write_table(
        out,
        "Conversations",
        &report.conversations,
        estimated(report),
    )?;
    write_table(
        out,
        "Ports (each packet's lower one)",
        &report.ports,
        estimated(report),
    )
}

fn write_table(
    out: &mut String,
    heading: &str,
    rows: &[AddressRow],
    estimated: &str,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    write_heading(out, heading, estimated)?;
    for row in rows {
        write_row(out, &row.address, row.packets, row.bytes)?;
    }
    Ok(())
}

/// How many flows there were and why they ended, then the largest, with what was seen of each.
fn write_flows(out: &mut String, report: &Report) -> fmt::Result {
    let Some(flows) = &report.flows else {
        return Ok(());
    };
    let ended = flows.ended.iter().filter(|(_, flows)| **flows > 0);
    let ended: Vec<_> = ended
        .map(|(reason, flows)| format!("{reason} {}", count(*flows)))
        .collect();
    let mut heading = format!("Flows: {} live", count(flows.live));
    if !ended.is_empty() {
        write!(heading, ", ended: {}", ended.join(", "))?;
    }
    writeln!(out)?;
    write_wrapped(out, &heading)?;
    write_wrapped(
        out,
        &format!(
            "In flows {}, {}; not IP {}, {}",
            counted(flows.packets, "packet"),
            counted(flows.bytes, "byte"),
            counted(flows.other_packets, "packet"),
            counted(flows.other_bytes, "byte")
        ),
    )?;
    if let Some(note) = &flows.note {
        write_wrapped(out, note)?;
    }
    if flows.rows.is_empty() {
        return Ok(());
    }
    write_heading(out, "Largest flows", estimated(report))?;
    for row in &flows.rows {
        let label = format!("{} {}", row.protocol, row.ends());
        write_row(out, &label, row.packets, row.bytes)?;
        write_wrapped(out, &format!("    {}", row.details()))?;
    }
    Ok(())
}

fn write_dns(out: &mut String, report: &Report) -> fmt::Result {
    let dns = &report.dns;
    if dns.queries + dns.answers == 0 {
        return Ok(());
    }
    let listed = |counts: &BTreeMap<String, u64>| -> String {
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, n)| format!("{name} {}", count(*n)))
            .collect();
        counts.join(", ")
    };
    writeln!(out)?;
    write_wrapped(
        out,
        &format!(
            "DNS queries{}: {} ({})",
            estimated(report),
            count(dns.queries),
            listed(&dns.record_types)
        ),
    )?;
    let answers = format!("DNS answers{}: {}", estimated(report), count(dns.answers));
    if dns.answers == 0 {
        writeln!(out, "{answers}")?;
    } else {
        let codes = listed(&dns.response_codes);
        let failures = count(dns.failures);
        let failures = format!("{answers}, {failures} of them failures ({codes})");
        write_wrapped(out, &failures)?;
    }
    write_dns_names(out, report)
}

/// Each name with its answers behind it, in as many lines as they need.
fn write_dns_names(out: &mut String, report: &Report) -> fmt::Result {
    let (name, queries) = ("DNS names", "queries");
    writeln!(out, "\n{name:<DNS_LABEL$}{queries:>QUERIES$}  answers")?;
    for row in &report.dns_names {
        let label = format!("{} {}", printable(&row.name), row.record_type);
        let answers = row.answers.iter();
        let answers: Vec<_> = answers
            .map(|(code, n)| format!("{code} {}", count(*n)))
            .collect();
        write_label::<DNS_LABEL>(out, &label)?;
        write!(out, "{:>QUERIES$}", count(row.queries))?;
        for (line, answers) in wrapped(&answers.join(", "), ANSWERS).iter().enumerate() {
            let indent = if line == 0 { GAP } else { WIDTH - ANSWERS };
            let text = format!("{:indent$}{answers}", "");
            writeln!(out, "{}", text.trim_end())?;
        }
    }
    Ok(())
}

/// Packets by flags, VLAN and size.
fn write_packets_by(out: &mut String, report: &Report) -> fmt::Result {
    let flags = report.tcp_flags.iter();
    let flags = flags.map(|row| (row.flags.clone(), row.packets));
    write_counts(out, "TCP flags", flags.collect(), estimated(report))?;
    let vlans = report.vlans.iter();
    let vlans = vlans.map(|row| (row.id.to_string(), row.packets));
    write_counts(out, "VLANs", vlans.collect(), estimated(report))?;
    let sizes = report.sizes.iter().flat_map(Sizes::occupied);
    let sizes = sizes.map(|range| (format!("{} bytes", range.label()), range.packets));
    write_counts(out, "Frame sizes", sizes.collect(), estimated(report))
}

/// A table of packets and their shares of all that it holds.
fn write_counts(
    out: &mut String,
    heading: &str,
    rows: Vec<(String, u64)>,
    estimated: &str,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let total = rows.iter().map(|(_, packets)| packets).sum();
    let packets = unit("packets", estimated);
    writeln!(out, "\n{heading:<LABEL$}{packets:>PACKETS$}")?;
    for (name, packets) in rows {
        let share = percent(packets, total);
        let label = format!("{name:<LABEL_NAME$}{share:>SHARE$}");
        write_label::<LABEL>(out, &label)?;
        writeln!(out, "{:>PACKETS$}", count(packets))?;
    }
    Ok(())
}

fn write_sizes_and_rates(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out)?;
    if let Some(sizes) = &report.sizes {
        let text = format!(
            "min {}, median {}, p95 {}, max {}",
            count(sizes.min.into()),
            count(sizes.median.into()),
            count(sizes.p95.into()),
            count(sizes.max.into())
        );
        write_field(out, "Frame sizes (bytes)", &text)?;
    }
    if report.duration_s > 0.0 {
        let rates = &report.rates;
        let (mean, peak) = (
            packets_per_second(rates.mean_pps),
            packets_per_second(rates.peak_pps),
        );
        write_field(
            out,
            &unit("Packet rate", estimated(report)),
            &format!("mean {mean}, peak {peak}"),
        )?;
        let (mean, peak) = (
            bits_per_second(rates.mean_bps),
            bits_per_second(rates.peak_bps),
        );
        write_field(
            out,
            &unit("Bit rate", estimated(report)),
            &format!("mean {mean}, peak {peak}"),
        )?;
    }
    Ok(())
}

fn write_timeline(out: &mut String, timeline: &Timeline, estimated: &str) -> fmt::Result {
    let Some(max) = timeline.bins.iter().copied().max().filter(|max| *max > 0) else {
        return Ok(());
    };
    let bars: String = timeline
        .bins
        .iter()
        .map(|packets| block(*packets, max))
        .collect();
    let heading = format!(
        "Packets over time{estimated}, {} each, at most {}",
        seconds(timeline.bin_seconds),
        count(max)
    );
    writeln!(out, "\n{heading}")?;
    for line in bars.chars().collect::<Vec<_>>().chunks(WIDTH) {
        writeln!(out, "{}", line.iter().collect::<String>().trim_end())?;
    }
    Ok(())
}

/// A bar of one column; anything above zero is visible.
fn block(packets: u64, max: u64) -> char {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let eighths = (u128::from(packets) * 8).div_ceil(u128::from(max));
    BLOCKS[usize::try_from(eighths.min(8)).expect("at most 8")]
}

fn write_notes(out: &mut String, report: &Report) -> fmt::Result {
    for note in &report.notes {
        writeln!(out)?;
        write_wrapped(out, &format!("Note: {note}"))?;
    }
    Ok(())
}

fn write_ledger(out: &mut String, ledger: &Ledger) -> fmt::Result {
    let verdict = if ledger.balanced {
        "balanced"
    } else {
        "NOT BALANCED"
    };
    writeln!(out, "\nLedger: {verdict}")?;
    let optional = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), count);
    for (name, value) in [
        ("seen", count(ledger.seen)),
        ("  filtered out", count(ledger.filtered_out)),
        ("  matched", count(ledger.matched)),
        ("    of them unparsed", count(ledger.unparsed)),
        ("summaries delivered", optional(ledger.summaries_delivered)),
        ("summaries lost", optional(ledger.summaries_lost)),
    ] {
        writeln!(out, "  {name:<30}{value:>20}")?;
    }
    let frames = &ledger.frames_lost;
    let file = [
        ("frames written", ledger.frames_written),
        ("frames sampled out", ledger.frames_sampled_out),
        ("frames lost, ring full", frames.ring_full),
        ("frames lost, write failed", frames.write_failed),
    ];
    let file = file.into_iter().filter(|_| ledger.has_file());
    let rest = [
        ("excerpts lost", ledger.excerpts_lost),
        ("history evicted", ledger.history_evicted),
    ];
    for (name, value) in file.chain(rest) {
        writeln!(out, "  {name:<30}{:>20}", count(value))?;
    }
    for (name, value) in [
        ("flow records sent (IPFIX)", ledger.ipfix_sent),
        ("flow records lost (IPFIX)", ledger.ipfix_lost),
        ("rows to export", ledger.export_rows),
        ("  stored", ledger.export_stored),
        ("  waiting in the spool", ledger.export_waiting),
        ("  lost", ledger.export_lost),
    ] {
        if let Some(value) = value {
            writeln!(out, "  {name:<30}{:>20}", count(value))?;
        }
    }
    Ok(())
}

/// What marks a column as estimated; nothing where it is counted.
fn estimated(report: &Report) -> &'static str {
    if report.sampled.is_some() {
        " (est.)"
    } else {
        ""
    }
}

fn unit(name: &str, estimated: &str) -> String {
    format!("{name}{estimated}")
}

fn write_heading(out: &mut String, heading: &str, estimated: &str) -> fmt::Result {
    let (packets, bytes) = (unit("packets", estimated), unit("bytes", estimated));
    writeln!(out, "\n{heading:<LABEL$}{packets:>PACKETS$}{bytes:>BYTES$}")
}

fn write_row(out: &mut String, label: &str, packets: u64, bytes: u64) -> fmt::Result {
    write_label::<LABEL>(out, label)?;
    writeln!(out, "{:>PACKETS$}{:>BYTES$}", count(packets), count(bytes))
}

/// A label too long for its column has a line of its own.
fn write_label<const COLUMNS: usize>(out: &mut String, label: &str) -> fmt::Result {
    let label = printable(label);
    if label.chars().count() <= COLUMNS {
        return write!(out, "{label:<COLUMNS$}");
    }
    write_wrapped(out, &label)?;
    write!(out, "{:<COLUMNS$}", "")
}

fn write_field(out: &mut String, mut name: &str, value: &str) -> fmt::Result {
    for line in wrapped(value, WIDTH - FIELD) {
        writeln!(out, "{name:<FIELD$}{line}")?;
        name = "";
    }
    Ok(())
}

/// Breaks `text` between words so that no line is longer than the terminal.
fn write_wrapped(out: &mut String, text: &str) -> fmt::Result {
    for line in wrapped(text, WIDTH) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Lines of `text`, broken between words so that they have at most `width` columns where words
/// do; one line at least.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in printable(text).split(' ') {
        let line = lines.last_mut().expect("there is one from the start");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        InterfaceRow,
        assemble::tests::{capture_report, files_report},
        example,
    };

    #[test]
    fn a_capture_with_losses_says_so_first() {
        let text = render(&capture_report(3));
        assert_eq!(text, EXPECTED, "{text}");
    }

    #[test]
    fn without_packets_there_is_nothing_to_analyze() {
        let text = render(&files_report(&[], 2));
        let start = "No packets captured. No data to analyze.\n\nLedger: balanced\n  seen  ";
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with("\n\nNote: A note.\n"), "{text}");
    }

    #[test]
    fn complete_reports_say_that_nothing_was_lost() {
        let text = render(&files_report(&[0, 2_000_000_000], 2));
        let start =
            "Complete: every one of 2 frames was read and summarised.\n2 packets, 200 bytes";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("\nFile                  a.pcap\n"));
    }

    #[test]
    fn a_ledger_that_does_not_balance_is_in_the_first_line() {
        let mut report = files_report(&[0, 1], 2);
        report.ledger.balanced = false;
        let text = render(&report);
        assert!(first_line(&text).starts_with("The ledger does not balance"));
        assert!(text.contains("\nLedger: NOT BALANCED\n"));
    }

    #[test]
    fn no_line_exceeds_80_columns() {
        let mut report = capture_report(3);
        let longest = "2001:db8:1111:2222:3333:4444:5555:6666";
        report.conversations[0].address = format!("{longest} <-> {longest}");
        report.sources[0].address = longest.to_owned();
        report.sources[0].bytes = u64::MAX / 1000;
        report.tables_note = Some("word ".repeat(60));
        report.findings = example::report().findings;
        report.findings[0].summary = format!("{longest} asked {longest} for {longest}");
        report.findings[0].filter = format!("src host {longest} and dst host {longest}");
        report.dns = example::report().dns;
        report.tcp_flags = example::report().tcp_flags;
        for line in render(&report).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        let mut report = capture_report(3);
        report.dns_names[0].name = "a\u{1b}[2Jb\u{202e}c".to_owned();
        report.interfaces.push(InterfaceRow {
            name: "eth\r\n0".to_owned(),
            ..report.interfaces[0].clone()
        });
        let text = render(&report);
        assert!(text.contains(r"a\u{1b}[2Jb\u{202e}c A"));
        assert!(text.contains(r"eth\u{d}\u{a}0 (EN10MB, in tcx)"));
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn findings_come_before_the_tables() {
        let report = example::report();
        let text = render(&report);
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}:\n{text}"));
        assert!(place("\nALERT 198.51.100.7 got") < place("\nWARNING 192.0.2.66 tried"));
        assert!(place("\n  filter  dst host 198.51.100.7 and tcp") < place("\nProtocols"));
        assert!(place("\n    tcp  ") > place("\nProtocol hierarchy"));
        assert!(place("DNS answers: 89, 9 of them failures (NOERROR 80, ") > 0);
        assert!(place("\nPSH ACK  ") > place("\nTCP flags"));
        assert!(place("\n40–79 bytes  ") > place("\nFrame sizes  "));
    }

    #[test]
    fn bars_show_anything_above_zero() {
        let shown: String = [0, 1, 50, 51, 99, 100]
            .map(|packets| block(packets, 100))
            .iter()
            .collect();
        assert_eq!(shown, " ▁▄▅██");
        assert_eq!(block(u64::MAX, u64::MAX), '█');
    }

    fn first_line(text: &str) -> &str {
        text.lines().next().unwrap()
    }

    const EXPECTED: &str = "\
1 of 4 summaries lost (25.0 %): counts and histogram are exact, per-address
tables are lower bounds.
1 frame missing from the capture file: 0 found the ring full, 1 could not be
written.
4 packets, 300 bytes in 2 s

Findings
Findings were not looked for.

Host                  h, Linux 6.1.0
Sandbox               no capabilities, no new privileges, 93 system calls, files
                      by landlock (version 4)
Filter                --protocol dns
Started               2023-11-14T22:13:20.000000000Z
First packet          2023-11-14T22:13:20.100000000Z
Last packet           2023-11-14T22:13:20.500000001Z

Interfaces                                        packets                  bytes
eth0 (EN10MB, in tcx)                                   4                    300

Protocols                                         packets                  bytes
dns                                50.0 %               2                    200
ip-proto-89                        25.0 %               1                     90
unparsed                           25.0 %               1                     10
total                                                   4                    300

Among them            IPv4 2, IPv6 1, TCP 0, UDP 2 (both with DNS)
On the wire           5 packets, 360 bytes
All other numbers count frames as the hook sees them: a super-frame that the
kernel or the NIC has joined or will split (GRO, TSO) is one frame.

Protocol hierarchy                                packets                  bytes
frame                                                   4                    300
  EN10MB                                                4                    300
    ip                                                  2                    200
      udp                                               2                    200
        dns                                             2                    200
    ip6                                                 1                     90
      ip-proto-89                                       1                     90
    unparsed                                            1                     10

Malformed headers                                 packets
truncated_link_header                                   1

Tables, sizes and times are lower bounds: 1 packet missing from them.

Source addresses: 1 different                     packets                  bytes
0.0.0.0                                                 3                    300

Destination addresses                             packets                  bytes
0.0.0.0                                                 3                    300

Conversations                                     packets                  bytes
0.0.0.0 <-> 0.0.0.0                                     3                    300

Ports (each packet's lower one)                   packets                  bytes
53/udp                                                  3                    300

DNS queries: 1 (A 1)
DNS answers: 0

DNS names                             queries  answers
ab A                                        1

Frame sizes                                       packets
80–159 bytes                        100 %               3

Frame sizes (bytes)   min 100, median 100, p95 100, max 100
Packet rate           mean 2 packets/s, peak 4 packets/s
Bit rate              mean 1.20 kbit/s, peak 3.20 kbit/s

Packets over time, 0.5 s each, at most 2
█  █

Note: A note.

Ledger: balanced
  seen                                             7
    filtered out                                   3
    matched                                        4
      of them unparsed                             1
  summaries delivered                              3
  summaries lost                                   1
  frames written                                   3
  frames sampled out                               0
  frames lost, ring full                           0
  frames lost, write failed                        1
  excerpts lost                                    0
  history evicted                                  2
";
}
