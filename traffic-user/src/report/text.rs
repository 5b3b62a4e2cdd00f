//! The analysis as text of 80 columns for a terminal.

mod lines;
mod origin;

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

pub(in crate::report) use self::origin::sandbox_text;
use self::{
    lines::{
        LABEL, LABEL_NAME, PACKETS, SHARE, WIDTH, estimated, unit, wrapped, write_field,
        write_heading, write_label, write_row, write_wrapped,
    },
    origin::{write_interfaces, write_ledger, write_notes, write_times},
};
use super::{
    AddressRow, Report, Sizes, Source, Timeline,
    flows::FlowTable,
    hierarchy,
    number::{bits_per_second, count, counted, packets_per_second, percent, printable, seconds},
    verdict,
};

/// Columns of a DNS name, of its queries and of the gap before its answers, which go to 80.
const DNS_LABEL: usize = 36;
const QUERIES: usize = 9;
const GAP: usize = 2;
const ANSWERS: usize = WIDTH - DNS_LABEL - QUERIES - GAP;
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

fn write_protocols(out: &mut String, report: &Report) -> fmt::Result {
    write_heading(out, "Protocols", estimated(report))?;
    for row in &report.protocols {
        let share = percent(row.packets, report.totals.packets);
        let label = format!("{:<LABEL_NAME$}{share:>SHARE$}", row.name);
        write_row(out, &label, row.packets, row.bytes)?;
    }
    write_row(out, "total", report.totals.packets, report.totals.bytes)
}

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
        let details = if FlowTable::names_interfaces(report) {
            format!("    {}, {}", row.interface, row.details())
        } else {
            format!("    {}", row.details())
        };
        write_wrapped(out, &details)?;
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

#[cfg(test)]
mod tests;
