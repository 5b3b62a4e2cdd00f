//! Tables of what was seen, beside the account of it.

use std::collections::BTreeMap;

use super::{
    Escaped, account, figure,
    table::{Cell, Table},
};
use crate::report::{
    AddressRow, Report, Source, hierarchy,
    number::count,
    series::{self, Series},
};

pub(super) fn tables(report: &Report, series: &[Series]) -> String {
    let mut left = String::new();
    let mut right = String::new();
    if report.totals.packets > 0 {
        let note = report.tables_note.as_deref().unwrap_or_default();
        left.push_str(&protocols(report, series));
        left.push_str(&addresses(
            report,
            "Sources",
            &report.sources,
            &sources_note(report),
        ));
        left.push_str(&addresses(
            report,
            "Destinations",
            &report.destinations,
            note,
        ));
        left.push_str(&addresses(report, "Ports", &report.ports, note));
        left.push_str(&tcp_flags(report));
        left.push_str(&vlans(report));
        right.push_str(&totals(report));
        right.push_str(&protocol_hierarchy(report));
        right.push_str(&sizes(report));
        right.push_str(&addresses(
            report,
            "Conversations",
            &report.conversations,
            note,
        ));
        right.push_str(&dns_names(report));
        right.push_str(&dns_messages(report));
        right.push_str(&malformed(report));
    }
    left.push_str(&account::ledger(report));
    right.push_str(&account::origin(report));
    right.push_str(&account::interfaces(report));
    right.push_str(&account::notes(report));
    format!("<div class=\"columns\">\n<div>\n{left}</div>\n<div>\n{right}</div>\n</div>\n")
}

fn sources_note(report: &Report) -> String {
    let different = format!("{} different", count(report.unique_sources));
    match &report.tables_note {
        Some(note) => format!("{different}; {note}"),
        None => different,
    }
}

/// The tree of protocols, indented.
fn protocol_hierarchy(report: &Report) -> String {
    let rows = hierarchy::flat(&report.hierarchy).into_iter();
    let rows = rows.map(|(depth, node)| {
        let name = format!(
            "<bdi class=\"d{}\">{}</bdi>",
            depth.min(9),
            Escaped(&node.name)
        );
        (Cell::Markup(name), node.packets, node.bytes)
    });
    Table {
        title: "Protocol hierarchy",
        note: "Each line holds those indented below it.",
        columns: &["Protocol", "Packets", "Share", "Bytes"],
        rows: with_shares(report, rows),
    }
    .plain()
}

/// What is in a row, its packets and its bytes.
type Counted = (Cell, u64, u64);

/// Rows with their share of all packets.
fn with_shares(report: &Report, rows: impl Iterator<Item = Counted>) -> Vec<Vec<Cell>> {
    let all = report.totals.packets;
    let cells = rows.map(|(name, packets, bytes)| {
        vec![
            name,
            Cell::Count(packets),
            Cell::Share(packets, all),
            Cell::Bytes(bytes),
        ]
    });
    cells.collect()
}

/// A table of what [`with_shares`] makes.
fn share_table(title: &str, note: &str, column: &str, rows: Vec<Vec<Cell>>) -> String {
    Table {
        title,
        note,
        columns: &[column, "Packets", "Share", "Bytes"],
        rows,
    }
    .card()
}

fn tcp_flags(report: &Report) -> String {
    let rows = report.tcp_flags.iter().map(|row| {
        vec![
            Cell::Text(row.flags.clone()),
            Cell::Count(row.packets),
            Cell::Share(row.packets, report.totals.tcp),
        ]
    });
    Table {
        title: "TCP flags",
        note: "Share of all TCP packets.",
        columns: &["Flags", "Packets", "Share"],
        rows: rows.collect(),
    }
    .card()
}

fn vlans(report: &Report) -> String {
    let rows = report.vlans.iter();
    let rows = rows.map(|row| (Cell::Code(row.id.to_string()), row.packets, row.bytes));
    let cells = with_shares(report, rows);
    share_table("VLANs", "", "VLAN id", cells)
}

fn dns_messages(report: &Report) -> String {
    let dns = &report.dns;
    let rows = |kind: &'static str, counts: &BTreeMap<String, u64>, total: u64| -> Vec<_> {
        let rows = counts.iter().map(|(name, messages)| {
            vec![
                Cell::Text(kind.to_owned()),
                Cell::Text(name.clone()),
                Cell::Count(*messages),
                Cell::Share(*messages, total),
            ]
        });
        rows.collect()
    };
    let mut all = rows("query", &dns.record_types, dns.queries);
    all.extend(rows("answer", &dns.response_codes, dns.answers));
    let note = format!(
        "{} queries, {} answers, {} of them failures",
        count(dns.queries),
        count(dns.answers),
        count(dns.failures)
    );
    Table {
        title: "DNS types and answers",
        note: &note,
        columns: &["Kind", "Type or code", "Messages", "Share"],
        rows: all,
    }
    .card()
}

/// Frames by range of size.
fn sizes(report: &Report) -> String {
    let Some(sizes) = &report.sizes else {
        return Table {
            title: "Frame sizes",
            note: "Not known: only summaries carry sizes, and none came.",
            columns: &[],
            rows: Vec::new(),
        }
        .exact();
    };
    let note = format!(
        "Smallest {}, median {}, 95 % at most {}, longest {} bytes.",
        count(sizes.min.into()),
        count(sizes.median.into()),
        count(sizes.p95.into()),
        count(sizes.max.into())
    );
    let ranges = sizes.occupied();
    let frames = ranges.iter().map(|range| range.packets).sum();
    let rows = ranges.iter().map(|range| {
        vec![
            Cell::Text(range.label()),
            Cell::Count(range.packets),
            Cell::Share(range.packets, frames),
        ]
    });
    Table {
        title: "Frame sizes",
        note: &note,
        columns: &["Size in bytes", "Frames", "Share"],
        rows: rows.collect(),
    }
    .plain()
}

fn protocols(report: &Report, series: &[Series]) -> String {
    let rows = report.protocols.iter().map(|row| {
        let swatch = figure::swatch(series::colour_of(&row.name, series));
        let name = format!("{swatch}<bdi>{}</bdi>", Escaped(&row.name));
        (Cell::Markup(name), row.packets, row.bytes)
    });
    let cells = with_shares(report, rows);
    share_table("Protocols", "", "Protocol", cells)
}

fn totals(report: &Report) -> String {
    let totals = &report.totals;
    let row = |name: &str, packets| {
        vec![
            Cell::Text(name.to_owned()),
            Cell::Count(packets),
            Cell::Share(packets, totals.packets),
        ]
    };
    let wire = |name: &str, value: Option<u64>| {
        let value = value.map_or_else(|| Cell::Unknown("not every hook can tell"), Cell::Count);
        vec![
            Cell::Text(name.to_owned()),
            value,
            Cell::Text(String::new()),
        ]
    };
    let mut rows = vec![
        row("All", totals.packets),
        row("IPv4", totals.ip),
        row("IPv6", totals.ip6),
        row("TCP, with DNS", totals.tcp),
        row("UDP, with DNS", totals.udp),
    ];
    if !matches!(report.source, Source::Files { .. }) {
        rows.push(wire("Packets on the wire", totals.wire_packets));
        rows.push(wire("Bytes on the wire", totals.wire_bytes));
    }
    Table {
        title: "Totals",
        note: "These overlap. A frame is what the hook saw: offloads join segments of the wire.",
        columns: &["", "Frames", "Share"],
        rows,
    }
    .plain()
}

fn addresses(report: &Report, title: &str, rows: &[AddressRow], note: &str) -> String {
    let column = match title {
        "Ports" => "Port",
        "Conversations" => "Addresses",
        _ => "Address",
    };
    let rows = rows.iter().map(|row| {
        let address = Cell::Code(row.address.replace("<->", "↔"));
        (address, row.packets, row.bytes)
    });
    share_table(title, note, column, with_shares(report, rows))
}

fn dns_names(report: &Report) -> String {
    let rows = report.dns_names.iter().map(|row| {
        let answers: Vec<String> = row
            .answers
            .iter()
            .map(|(code, times)| format!("{code} {}", count(*times)))
            .collect();
        vec![
            Cell::Code(row.name.clone()),
            Cell::Text(row.record_type.clone()),
            Cell::Count(row.queries),
            Cell::Text(answers.join(", ")),
        ]
    });
    Table {
        title: "DNS names",
        note: "",
        columns: &["Name", "Type", "Queries", "Answers"],
        rows: rows.collect(),
    }
    .card()
}

fn malformed(report: &Report) -> String {
    let rows = report.malformed.iter().map(|(reason, packets)| {
        vec![
            Cell::Text(reason.clone()),
            Cell::Count(*packets),
            Cell::Share(*packets, report.totals.packets),
        ]
    });
    Table {
        title: "Malformed headers",
        note: "",
        columns: &["Reason", "Packets", "Share"],
        rows: rows.collect(),
    }
    .card()
}
