//! Where the numbers come from: the ledger, the capture, its interfaces, notes.

use std::fmt::Write as _;

use super::{
    elements, not_known,
    table::{Cell, Table},
};
use crate::report::{
    Report, Source,
    number::{count, counted, seconds},
    text::sandbox_text,
};

pub(super) fn ledger(report: &Report) -> String {
    let ledger = &report.ledger;
    let row = |name: &str, frames| vec![Cell::Text(name.to_owned()), Cell::Count(frames)];
    let summaries = |name: &str, value: Option<u64>| {
        let value = value.map_or(Cell::Unknown(ONLY_COUNTERS), Cell::Count);
        vec![Cell::Text(name.to_owned()), value]
    };
    let mut rows = vec![
        row("Seen at the hooks", ledger.seen),
        row("– left out by the filter", ledger.filtered_out),
        row("= matched, counted", ledger.matched),
        row("of which not parsed", ledger.unparsed),
        summaries("Summaries delivered", ledger.summaries_delivered),
        summaries("Summaries lost", ledger.summaries_lost),
    ];
    if ledger.has_file() {
        rows.extend([
            row("Frames between the sampled ones", ledger.frames_sampled_out),
            row("Frames written", ledger.frames_written),
            row("Frames lost, ring full", ledger.frames_lost.ring_full),
            row("Frames lost, not written", ledger.frames_lost.write_failed),
        ]);
    }
    if let (Some(sent), Some(lost)) = (ledger.ipfix_sent, ledger.ipfix_lost) {
        rows.push(row("Flow records sent (IPFIX)", sent));
        rows.push(row("Flow records lost (IPFIX)", lost));
    }
    rows.push(row(
        "DNS, ARP, fragment excerpts lost",
        ledger.excerpts_lost,
    ));
    rows.push(row("History evicted", ledger.history_evicted));
    let exported = [
        ("Rows to export", ledger.export_rows),
        ("Rows stored", ledger.export_stored),
        ("Rows waiting in the spool", ledger.export_waiting),
        ("Rows lost", ledger.export_lost),
    ];
    rows.extend(
        exported
            .iter()
            .filter_map(|(name, rows)| Some(row(name, (*rows)?))),
    );
    Table {
        title: "Ledger",
        note: if ledger.balanced {
            "Balanced: every frame is accounted for."
        } else {
            "Not balanced: frames are unaccounted for."
        },
        columns: &["", "Frames"],
        rows,
    }
    .exact()
}

pub(super) fn origin(report: &Report) -> String {
    let mut rows = match &report.source {
        Source::Capture {
            filter,
            sample,
            snaplen,
            host,
            kernel,
        } => vec![
            ("Filter", or(filter, "none, everything")),
            ("Sampling of frames", sampling(*sample)),
            ("Snapshot length", counted((*snaplen).into(), "byte")),
            ("Host", host.clone()),
            ("Kernel", kernel.clone()),
            ("Sandbox", sandbox_text(report)),
        ],
        Source::Fleet {
            from, hosts, until, ..
        } => vec![
            ("Database", from.clone()),
            ("Hosts", hosts.join(", ")),
            ("Until", until.clone()),
        ],
        Source::Files { files } => vec![
            ("Files", files.join(", ")),
            ("Sandbox", sandbox_text(report)),
        ],
    };
    let time = |time: &Option<String>, why: &str| time.clone().unwrap_or_else(|| not_known(why));
    rows.extend([
        ("Started", time(&report.started, "a file without packets")),
        ("Duration", seconds(report.duration_s)),
        ("First packet", time(&report.first_packet, NO_TIMES)),
        ("Last packet", time(&report.last_packet, NO_TIMES)),
        ("Made by", report.generator.clone()),
    ]);
    Table {
        title: match report.source {
            Source::Capture { .. } => "How it was captured",
            Source::Fleet { .. } | Source::Files { .. } => "Where it came from",
        },
        note: "",
        columns: &["", ""],
        rows: rows
            .into_iter()
            .map(|(name, value)| vec![Cell::Text(name.to_owned()), Cell::Text(value)])
            .collect(),
    }
    .exact()
}

pub(super) const ONLY_COUNTERS: &str = "only counters were asked for";
const NO_TIMES: &str = "no packets, or no summaries";

fn sampling(sample: u32) -> String {
    match sample {
        0 | 1 => "none, every frame".to_owned(),
        n => format!("1 in {}; counters are not sampled", count(n.into())),
    }
}

pub(super) fn interfaces(report: &Report) -> String {
    let hook = |hook: &Option<String>| Cell::Text(hook.clone().unwrap_or_else(|| "–".to_owned()));
    let rows = report.interfaces.iter().map(|row| {
        vec![
            Cell::Code(row.name.clone()),
            Cell::Text(row.link_type.clone()),
            hook(&row.ingress_hook),
            hook(&row.egress_hook),
            Cell::Count(row.packets),
            Cell::Bytes(row.bytes),
        ]
    });
    let mut note = match report.source {
        Source::Capture { .. } | Source::Fleet { .. } => {
            "A dash: this direction was not captured.".to_owned()
        }
        Source::Files { .. } => String::new(),
    };
    for row in &report.interfaces {
        if let Some(estimate) = row.estimate {
            let _ = write!(
                note,
                "The frames of {} are 1 in {} and stand for about {}. ",
                row.name,
                estimate.sample,
                count(estimate.packets)
            );
        }
    }
    Table {
        title: "Interfaces",
        note: &note,
        columns: &["Name", "Link type", "In", "Out", "Packets", "Bytes"],
        rows: rows.collect(),
    }
    .exact_card()
}

pub(super) fn notes(report: &Report) -> String {
    if report.notes.is_empty() {
        return String::new();
    }
    let items = elements("li", &report.notes);
    format!("<section class=\"card\"><h2>Notes</h2>\n<ul>{items}</ul></section>\n")
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise } else { text }.to_owned()
}
