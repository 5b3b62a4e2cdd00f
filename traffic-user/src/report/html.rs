//! The report as one self-contained page: no request leaves it, and it is whole without scripts.

mod figure;
mod table;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use self::table::{Cell, Table};
use super::{
    AddressRow, Report, Source,
    flows::{FlowRow, FlowSideRow, FlowTable},
    hierarchy,
    number::{bits_per_second, bytes, count, counted, packets_per_second, printable, seconds},
    series::{self, Series},
    text::sandbox_text,
    verdict::{self, Completeness},
};

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");
/// SHA-256 of [`STYLE`] and [`SCRIPT`] in base64, by which the page allows these and no others.
const STYLE_HASH: &str = "gWog0UMZ7JP6OfSnUzV7T3Z5p7er9mOSZH3jLpgiR4w=";
const LIVE_STYLE: &str = include_str!("html/live.css");
const LIVE_SCRIPT: &str = include_str!("html/live.js");
const LIVE_STYLE_HASH: &str = "loJgd2QtABcjiYkMLpCfVmiwuYDyzhACBFBEv+BsyP4=";
const LIVE_SCRIPT_HASH: &str = "mAJzepGNDcAKYhvguszZJEHECwEXd7U6Z9MygRfXCVw=";
const SCRIPT_HASH: &str = "Zym9xu7rV2Dz36GAk6X2C0/sJ32Rs6VWgRLSdhYHmyc=";

/// The page as HTML. Every text that comes from packets, files or the host is escaped.
#[must_use]
pub fn render(report: &Report) -> String {
    let policy = format!("style-src 'sha256-{STYLE_HASH}'; script-src 'sha256-{SCRIPT_HASH}'");
    let content = content(report, "");
    let data = figure::data(report, &series::of(report));
    format!(
        "{}<body>\n{content}{}</body>\n</html>\n",
        head(&policy, STYLE),
        scripts(&data, "")
    )
}

/// The page of a capture that goes on: it asks `events` for [`update`]s, and offers what else
/// there is to be had.
#[must_use]
pub fn live(report: &Report, has_file: bool) -> String {
    let policy = format!(
        "style-src 'sha256-{STYLE_HASH}' 'sha256-{LIVE_STYLE_HASH}'; \
         script-src 'sha256-{SCRIPT_HASH}' 'sha256-{LIVE_SCRIPT_HASH}'; connect-src 'self'"
    );
    let mut links = vec![
        ("report.json", "Report as JSON"),
        ("histogram.png", "Histogram as PNG"),
        ("metrics", "Metrics"),
    ];
    if has_file {
        links.push(("capture.pcapng", "Frames so far as pcapng"));
    }
    let mut bar = String::from("<nav class=\"live\"><span role=\"status\">Live</span>");
    for (path, name) in links {
        let _ = write!(bar, " <a href=\"{path}\">{name}</a>");
    }
    bar.push_str("</nav>\n");
    let content = content(report, &bar);
    let data = figure::data(report, &series::of(report));
    format!(
        "{}<body>\n{content}{}</body>\n</html>\n",
        head(&policy, &format!("{STYLE}</style>\n<style>{LIVE_STYLE}")),
        scripts(&data, &format!("<script>{LIVE_SCRIPT}</script>\n"))
    )
}

/// What a live page needs to show `report`: JSON on one line with `content`, its HTML; `timeline`,
/// its histogram's data; and `over`, whether it is the last.
#[must_use]
pub fn update(report: &Report) -> String {
    let content = serde_json::Value::from(content(report, ""));
    format!(
        r#"{{"over":{},"timeline":{},"content":{content}}}"#,
        report.ledger.in_flight.is_none(),
        figure::data(report, &series::of(report)),
    )
}

/// What stands in the page's body, with `bar` under its header.
fn content(report: &Report, bar: &str) -> String {
    let series = series::of(report);
    let mut page = String::new();
    page.push_str(&verdict_line(report));
    page.push_str(&header(report));
    page.push_str(bar);
    page.push_str(if report.sampled.is_some() {
        "<main class=\"estimated\">\n"
    } else {
        "<main>\n"
    });
    page.push_str(&key_figures(report));
    page.push_str(&findings(report));
    if report.totals.packets > 0 {
        let _ = write!(
            page,
            "<section class=\"card\"><h2>Packets over time</h2>\n{}</section>\n",
            figure::html(report, &series)
        );
    }
    page.push_str(&flows(report));
    page.push_str(&tables(report, &series));
    page.push_str("</main>\n");
    let _ = writeln!(page, "<footer>{}</footer>", Escaped(&report.generator));
    page
}

fn scripts(data: &str, more: &str) -> String {
    format!(
        r#"<script type="application/json" id="timeline">{data}</script>
<script>{SCRIPT}</script>
{more}"#
    )
}

fn head(policy: &str, style: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; {policy}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Network Traffic Analysis</title>
<style>{style}</style>
</head>
"#
    )
}

fn verdict_line(report: &Report) -> String {
    let verdict = verdict::of(report);
    let (class, mark) = match verdict.completeness {
        Completeness::Nothing => ("nothing", "○"),
        Completeness::Complete => ("complete", "✓"),
        Completeness::Lossy => ("lossy", "▲"),
        Completeness::Unbalanced => ("unbalanced", "✕"),
    };
    let sentences = elements("p", &verdict.sentences);
    format!(
        r#"<div class="verdict {class}"><span aria-hidden="true">{mark}</span><div>{sentences}</div></div>
"#
    )
}

fn header(report: &Report) -> String {
    let mut parts: Vec<String> = match &report.source {
        Source::Capture { host, .. } => vec![host.clone()],
        Source::Fleet { hosts, .. } => hosts.clone(),
        Source::Files { files } => files.clone(),
    };
    if let Source::Capture { .. } = report.source {
        parts.extend(report.interfaces.iter().map(|row| row.name.clone()));
    }
    parts.extend(report.started.as_deref().map(clock_time));
    format!(
        "<header><h1>Network Traffic Analysis</h1>\n<p>{}</p></header>\n",
        elements("span", &parts)
    )
}

fn key_figures(report: &Report) -> String {
    let totals = &report.totals;
    let rates = &report.rates;
    let about = if report.sampled.is_some() { "≈ " } else { "" };
    let figures = [
        (
            "Packets",
            format!("{about}{}", count(totals.packets)),
            report.sampled.map_or_else(String::new, |sampled| {
                format!("estimated from {}", count(sampled.packets))
            }),
        ),
        (
            "Bytes",
            format!("{about}{}", bytes(totals.bytes)),
            counted(totals.bytes, "byte"),
        ),
        ("Duration", seconds(report.duration_s), String::new()),
        (
            "Mean rate",
            format!("{about}{}", packets_per_second(rates.mean_pps)),
            bits_per_second(rates.mean_bps),
        ),
        (
            "Peak rate",
            format!("{about}{}", packets_per_second(rates.peak_pps)),
            bits_per_second(rates.peak_bps),
        ),
        unique_sources(report),
    ];
    let mut out = String::from("<dl class=\"figures\">\n");
    for (name, value, small) in figures {
        let _ = writeln!(
            out,
            "<div><dt>{name}</dt><dd>{value}</dd><dd class=\"small\">{small}</dd></div>"
        );
    }
    out.push_str("</dl>\n");
    out
}

fn unique_sources(report: &Report) -> (&'static str, String, String) {
    match report.ledger.summaries_delivered {
        Some(_) => (
            "Sources",
            count(report.unique_sources),
            "different addresses".to_owned(),
        ),
        None => ("Sources", "not known".to_owned(), ONLY_COUNTERS.to_owned()),
    }
}

fn tables(report: &Report, series: &[Series]) -> String {
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
    left.push_str(&ledger(report));
    right.push_str(&origin(report));
    right.push_str(&interfaces(report));
    right.push_str(&notes(report));
    format!("<div class=\"columns\">\n<div>\n{left}</div>\n<div>\n{right}</div>\n</div>\n")
}

fn sources_note(report: &Report) -> String {
    let different = format!("{} different", count(report.unique_sources));
    match &report.tables_note {
        Some(note) => format!("{different}; {note}"),
        None => different,
    }
}

fn findings(report: &Report) -> String {
    let note = report.findings_note.as_deref().unwrap_or_default();
    if report.findings.is_empty() && (note.is_empty() || report.totals.packets == 0) {
        return String::new();
    }
    let mut out = String::from("<section class=\"card findings\"><h2>Findings</h2>\n");
    if !note.is_empty() {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", Escaped(note));
    }
    out.push_str("<ul>\n");
    for finding in &report.findings {
        let filter = match finding.filter.as_str() {
            "" => String::new(),
            filter => format!("<code>{}</code>", Escaped(filter)),
        };
        let _ = writeln!(
            out,
            r#"<li class="{0}"><b>{0}</b><div><p><bdi>{1}</bdi></p><p class="when">{2} to {3} · {4}</p>{filter}</div></li>"#,
            finding.severity.label(),
            Escaped(&finding.summary),
            Escaped(&clock_time(&finding.first)),
            Escaped(&clock_time(&finding.last)),
            counted(finding.packets, "packet"),
        );
    }
    out.push_str("</ul></section>\n");
    out
}

/// The largest flows, over the whole width.
fn flows(report: &Report) -> String {
    let Some(flows) = &report.flows else {
        return String::new();
    };
    let flags = |side: &FlowSideRow| side.tcp_flags.as_deref().map(initials).unwrap_or_default();
    let time = |time: Option<f64>| Cell::Text(time.map(seconds).unwrap_or_default());
    let rows = flows.rows.iter().map(|row| {
        vec![
            Cell::Text(row.protocol.clone()),
            Cell::Code(FlowRow::end_point(&row.src, row.src_port)),
            Cell::Code(FlowRow::end_point(&row.dst, row.dst_port)),
            Cell::Text(clock_time(&row.first)),
            Cell::Text(seconds(row.duration_s)),
            Cell::Count(row.forward.packets),
            Cell::Count(row.reverse.packets),
            Cell::Bytes(row.forward.bytes),
            Cell::Bytes(row.reverse.bytes),
            Cell::Text(flags(&row.forward)),
            Cell::Text(flags(&row.reverse)),
            time(row.handshake_s),
            time(row.response_s),
            Cell::Text(row.end.replace('_', " ")),
        ]
    });
    let table = Table {
        title: "Flows",
        note: &flows_note(flows),
        columns: &[
            "Protocol",
            "Initiator",
            "Responder",
            "First packet",
            "Duration",
            "Packets",
            "Packets back",
            "Bytes",
            "Bytes back",
            "Flags",
            "Flags back",
            "Handshake",
            "Response",
            "End",
        ],
        rows: rows.collect(),
    }
    .card();
    format!("<div class=\"wide\">\n{table}</div>\n")
}

/// `SFPA` for `SYN FIN PSH ACK`: every flag has an initial of its own.
fn initials(flags: &str) -> String {
    let names = flags.split(' ').filter(|name| *name != "none");
    names.filter_map(|name| name.chars().next()).collect()
}

fn flows_note(flows: &FlowTable) -> String {
    let ended: u64 = flows.ended.values().sum();
    let mut note = format!(
        "{} live, {} ended; {} in no flow, because not IP.",
        count(flows.live),
        count(ended),
        counted(flows.other_packets, "packet")
    );
    if let Some(more) = &flows.note {
        note.push(' ');
        note.push_str(more);
    }
    note
}

/// The tree of protocols, indented.
fn protocol_hierarchy(report: &Report) -> String {
    let rows = hierarchy::flat(&report.hierarchy).into_iter();
    let rows = rows.map(|(depth, node)| {
        vec![
            Cell::Markup(format!(
                "<bdi class=\"d{}\">{}</bdi>",
                depth.min(9),
                Escaped(&node.name)
            )),
            Cell::Count(node.packets),
            Cell::Share(node.packets, report.totals.packets),
            Cell::Bytes(node.bytes),
        ]
    });
    Table {
        title: "Protocol hierarchy",
        note: "Each line holds those indented below it.",
        columns: &["Protocol", "Packets", "Share", "Bytes"],
        rows: rows.collect(),
    }
    .plain()
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
    let rows = report.vlans.iter().map(|row| {
        vec![
            Cell::Code(row.id.to_string()),
            Cell::Count(row.packets),
            Cell::Share(row.packets, report.totals.packets),
            Cell::Bytes(row.bytes),
        ]
    });
    Table {
        title: "VLANs",
        note: "",
        columns: &["VLAN id", "Packets", "Share", "Bytes"],
        rows: rows.collect(),
    }
    .card()
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
        vec![
            Cell::Markup(format!(
                "{}<bdi>{}</bdi>",
                figure::swatch(series::colour_of(&row.name, series)),
                Escaped(&row.name)
            )),
            Cell::Count(row.packets),
            Cell::Share(row.packets, report.totals.packets),
            Cell::Bytes(row.bytes),
        ]
    });
    Table {
        title: "Protocols",
        note: "",
        columns: &["Protocol", "Packets", "Share", "Bytes"],
        rows: rows.collect(),
    }
    .card()
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
    Table {
        title,
        note,
        columns: &[column, "Packets", "Share", "Bytes"],
        rows: rows
            .iter()
            .map(|row| address_cells(row, report.totals.packets))
            .collect(),
    }
    .card()
}

fn address_cells(row: &AddressRow, packets: u64) -> Vec<Cell> {
    vec![
        Cell::Code(row.address.replace("<->", "↔")),
        Cell::Count(row.packets),
        Cell::Share(row.packets, packets),
        Cell::Bytes(row.bytes),
    ]
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

fn ledger(report: &Report) -> String {
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

fn origin(report: &Report) -> String {
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

const ONLY_COUNTERS: &str = "only counters were asked for";
const NO_TIMES: &str = "no packets, or no summaries";

fn sampling(sample: u32) -> String {
    match sample {
        0 | 1 => "none, every frame".to_owned(),
        n => format!("1 in {}; counters are not sampled", count(n.into())),
    }
}

fn interfaces(report: &Report) -> String {
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

fn notes(report: &Report) -> String {
    if report.notes.is_empty() {
        return String::new();
    }
    let items = elements("li", &report.notes);
    format!("<section class=\"card\"><h2>Notes</h2>\n<ul>{items}</ul></section>\n")
}

fn not_known(why: &str) -> String {
    format!("not known ({why})")
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise } else { text }.to_owned()
}

/// `2026-03-01T12:00:00.000000000Z` as `2026-03-01 12:00:00 UTC`; anything else as it is.
fn clock_time(rfc3339: &str) -> String {
    match (rfc3339.split_once('T'), rfc3339.ends_with('Z')) {
        (Some((date, time)), true) => {
            let time = time.split(['.', 'Z']).next().unwrap_or(time);
            format!("{date} {time} UTC")
        }
        _ => rfc3339.to_owned(),
    }
}

/// One element around each text.
fn elements(tag: &str, texts: &[String]) -> String {
    let mut out = String::new();
    for text in texts {
        let _ = write!(out, "<{tag}>{}</{tag}>", Escaped(text));
    }
    out
}

/// Text in HTML, between tags and in quoted attributes. What does not print is shown as an
/// escape.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in printable(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                _ => f.write_char(c),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::report::example;

    #[test]
    fn pages_of_every_kind_of_report() {
        for (name, report) in [
            ("demo", example::report()),
            ("losses", example::with_losses()),
            ("empty", example::empty()),
            ("empty-file", example::empty_file()),
            ("thousand", example::with_bins(1000)),
            ("fifteen", example::with_protocols(15)),
            ("hour", example::with_duration(3600.0)),
            ("hostile", example::hostile(HOSTILE)),
        ] {
            let page = render(&report);
            assert_well_formed(&page);
            if let Some(directory) = std::env::var_os("TRAFFIC_PICTURES") {
                let path = std::path::Path::new(&directory).join(format!("{name}.html"));
                std::fs::write(path, page).unwrap();
            }
        }
    }

    #[test]
    fn the_policy_allows_exactly_our_style_and_script() {
        assert_eq!(STYLE_HASH, base64(&Sha256::digest(STYLE)), "page.css");
        assert_eq!(SCRIPT_HASH, base64(&Sha256::digest(SCRIPT)), "page.js");
        assert_eq!(LIVE_STYLE_HASH, base64(&Sha256::digest(LIVE_STYLE)));
        assert_eq!(LIVE_SCRIPT_HASH, base64(&Sha256::digest(LIVE_SCRIPT)));
        assert!(!render(&example::report()).contains(" style=\""));
    }

    #[test]
    fn the_page_requests_nothing() {
        let page = render(&example::with_losses());
        let elsewhere = page.replace("'http://www.w3.org/2000/svg'", "");
        for word in [
            "http:", "https:", "//", "url(", "@import", " src=", " href=",
        ] {
            let without_comments: String = elsewhere
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            assert!(!without_comments.contains(word), "{word}");
        }
    }

    #[test]
    fn loss_is_the_first_thing_said() {
        let page = render(&example::with_losses());
        let body = page.split_once("<body>").unwrap().1;
        assert!(text_of(body).trim_start().starts_with("▲424 of "));
    }

    #[test]
    fn without_packets_the_page_says_so() {
        for report in [example::empty(), example::empty_file()] {
            let page = render(&report);
            assert!(page.contains("No packets captured. No data to analyze."));
            assert!(!page.contains("<figure"));
            assert!(page.contains("Ledger"));
        }
    }

    #[test]
    fn what_is_not_known_says_why() {
        let mut report = example::report();
        report.sizes = None;
        report.first_packet = None;
        report.ledger.summaries_lost = None;
        report.ledger.summaries_delivered = None;
        let page = render(&report);
        assert!(page.contains("<dt>Sources</dt><dd>not known</dd>"));
        assert!(page.contains("not known (not every hook can tell"));
        assert!(page.contains("Not known: only summaries carry sizes"));
        assert!(page.contains("not known (only counters were asked for)"));
    }

    #[test]
    fn strangers_cannot_write_markup() {
        let page = render(&example::hostile(HOSTILE));
        let honest = render(&example::report());
        for tag in ["<script", "</script", "<img", "<!--"] {
            assert_eq!(
                page.matches(tag).count(),
                honest.matches(tag).count(),
                "{tag}"
            );
        }
        assert!(!page.contains(['\u{202e}', '\u{1b}']));
        assert!(page.contains("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"));
    }

    #[test]
    fn times_are_shortened_only_where_understood() {
        assert_eq!(
            clock_time("2026-03-01T12:00:00.000000000Z"),
            "2026-03-01 12:00:00 UTC"
        );
        assert_eq!(clock_time("T<b>"), "T<b>");
    }

    const HOSTILE: &str = "\"'></script><img src=x onerror=alert(1)><!--\u{202e}\u{1b}[31m&amp;";

    /// Every element that needs an end has one, in order.
    fn assert_well_formed(page: &str) {
        const VOID: [&str; 3] = ["meta", "wbr", "!doctype"];
        let mut open: Vec<&str> = Vec::new();
        let page = page.replace(STYLE, "").replace(SCRIPT, "");
        for tag in page.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').expect("a tag ends");
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    fn text_of(html: &str) -> String {
        html.split('<')
            .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
            .collect::<String>()
            .replace('\n', "")
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk
                .iter()
                .chain([0; 2].iter())
                .take(3)
                .fold(0, |bits, &byte| bits << 8 | usize::from(byte));
            for digit in 0..4 {
                out.push(if digit <= chunk.len() {
                    char::from(DIGITS[bits >> (18 - 6 * digit) & 63])
                } else {
                    '='
                });
            }
        }
        out
    }
}
