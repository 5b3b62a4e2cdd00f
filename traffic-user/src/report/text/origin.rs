//! Where the numbers come from: times, interfaces, notes, the ledger.

use std::fmt::{self, Write};

use super::lines::{write_field, write_heading, write_row, write_wrapped};
use crate::report::{
    Ledger, Report, Source,
    number::{count, printable},
};

pub(super) fn write_times(out: &mut String, report: &Report) -> fmt::Result {
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
pub(in crate::report) fn sandbox_text(report: &Report) -> String {
    report
        .sandbox
        .map_or_else(|| "off".to_owned(), |sandbox| sandbox.to_string())
}

pub(super) fn write_interfaces(out: &mut String, report: &Report) -> fmt::Result {
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

pub(super) fn write_notes(out: &mut String, report: &Report) -> fmt::Result {
    for note in &report.notes {
        writeln!(out)?;
        write_wrapped(out, &format!("Note: {note}"))?;
    }
    Ok(())
}

pub(super) fn write_ledger(out: &mut String, ledger: &Ledger) -> fmt::Result {
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
