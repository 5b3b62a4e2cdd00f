//! The report's tables as CSV (RFC 4180).

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use super::{
    AddressRow, HierarchyNode, Report, Timeline, flows::FlowSideRow, hierarchy, number::printable,
};

/// One table: a header line, then as many fields in every line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvTable {
    /// Name of the file, without its extension.
    pub name: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<Field>>,
}

/// What stands between two commas.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// From a packet, a file, or the host: anything may be in it.
    Text(String),
    /// A number; empty where it is not known.
    Number(String),
}

/// Every table of the report, those without rows too.
#[must_use]
pub fn tables(report: &Report) -> Vec<CsvTable> {
    vec![
        summary(report),
        interfaces(report),
        protocols(report),
        protocol_hierarchy(&report.hierarchy),
        addresses("sources", "address", &report.sources),
        addresses("destinations", "address", &report.destinations),
        addresses("conversations", "addresses", &report.conversations),
        addresses("ports", "port", &report.ports),
        frame_sizes(report),
        tcp_flags(report),
        vlans(report),
        dns_names(report),
        dns_messages(report),
        malformed(report),
        timeline(&report.timeline),
        findings(report),
        flows(report),
        ledger(report),
    ]
}

fn summary(report: &Report) -> CsvTable {
    let (totals, rates) = (&report.totals, &report.rates);
    let known = |time: &Option<String>| text(time.as_deref().unwrap_or_default());
    table(
        "summary",
        "name,value",
        vec![
            vec![text("generator"), text(&report.generator)],
            vec![text("started"), known(&report.started)],
            vec![text("first_packet"), known(&report.first_packet)],
            vec![text("last_packet"), known(&report.last_packet)],
            vec![text("duration_s"), number(report.duration_s)],
            vec![text("packets"), number(totals.packets)],
            vec![text("bytes"), number(totals.bytes)],
            vec![
                text("estimated_from"),
                optional(report.sampled.map(|s| s.packets)),
            ],
            vec![
                text("sample"),
                number(report.sampled.map_or(1, |s| s.sample)),
            ],
            vec![text("ip"), number(totals.ip)],
            vec![text("ip6"), number(totals.ip6)],
            vec![text("tcp"), number(totals.tcp)],
            vec![text("udp"), number(totals.udp)],
            vec![text("wire_packets"), optional(totals.wire_packets)],
            vec![text("wire_bytes"), optional(totals.wire_bytes)],
            vec![text("unique_sources"), number(report.unique_sources)],
            vec![text("mean_pps"), number(rates.mean_pps)],
            vec![text("peak_pps"), number(rates.peak_pps)],
            vec![text("mean_bps"), number(rates.mean_bps)],
            vec![text("peak_bps"), number(rates.peak_bps)],
        ],
    )
}

fn interfaces(report: &Report) -> CsvTable {
    let hook = |hook: &Option<String>| text(hook.as_deref().unwrap_or_default());
    let rows = report.interfaces.iter().map(|row| {
        vec![
            text(&row.name),
            number(row.ifindex),
            text(&row.link_type),
            hook(&row.ingress_hook),
            hook(&row.egress_hook),
            number(row.packets),
            number(row.bytes),
            optional(row.estimate.map(|estimate| estimate.packets)),
            optional(row.estimate.map(|estimate| estimate.bytes)),
        ]
    });
    let columns = "name,ifindex,link_type,ingress_hook,egress_hook,packets,bytes,\
                   estimated_packets,estimated_bytes";
    table("interfaces", columns, rows.collect())
}

fn protocols(report: &Report) -> CsvTable {
    let rows = report.protocols.iter();
    let rows = rows.map(|row| vec![text(&row.name), number(row.packets), number(row.bytes)]);
    table("protocols", "protocol,packets,bytes", rows.collect())
}

/// Each node with its ancestors, as tshark writes `frame.protocols`: `frame:EN10MB:ip:tcp`.
fn protocol_hierarchy(root: &HierarchyNode) -> CsvTable {
    let mut path: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for (depth, node) in hierarchy::flat(root) {
        path.truncate(depth);
        path.push(&node.name);
        rows.push(vec![
            text(&path.join(":")),
            number(node.packets),
            number(node.bytes),
        ]);
    }
    table("hierarchy", "protocols,packets,bytes", rows)
}

fn addresses(name: &'static str, column: &str, rows: &[AddressRow]) -> CsvTable {
    let columns = format!("{column},packets,bytes");
    let rows = rows.iter();
    let rows = rows.map(|row| vec![text(&row.address), number(row.packets), number(row.bytes)]);
    table(name, &columns, rows.collect())
}

fn frame_sizes(report: &Report) -> CsvTable {
    let ranges = report.sizes.iter().flat_map(|sizes| &sizes.histogram);
    let rows = ranges.map(|range| {
        vec![
            number(range.from),
            optional(range.to),
            number(range.packets),
        ]
    });
    table("frame_sizes", "from,to,packets", rows.collect())
}

fn tcp_flags(report: &Report) -> CsvTable {
    let rows = report.tcp_flags.iter();
    let rows = rows.map(|row| vec![text(&row.flags), number(row.packets)]);
    table("tcp_flags", "flags,packets", rows.collect())
}

fn vlans(report: &Report) -> CsvTable {
    let rows = report.vlans.iter();
    let rows = rows.map(|row| vec![number(row.id), number(row.packets), number(row.bytes)]);
    table("vlans", "vlan,packets,bytes", rows.collect())
}

fn dns_names(report: &Report) -> CsvTable {
    let rows = report.dns_names.iter().map(|row| {
        let answers = row.answers.iter();
        let answers: Vec<_> = answers.map(|(code, n)| format!("{code} {n}")).collect();
        vec![
            text(&row.name),
            text(&row.record_type),
            number(row.queries),
            text(&answers.join("; ")),
        ]
    });
    table("dns_names", "name,type,queries,answers", rows.collect())
}

fn dns_messages(report: &Report) -> CsvTable {
    let types = report.dns.record_types.iter();
    let types = types.map(|(name, n)| vec![text("query"), text(name), number(n)]);
    let codes = report.dns.response_codes.iter();
    let codes = codes.map(|(name, n)| vec![text("answer"), text(name), number(n)]);
    table(
        "dns_messages",
        "kind,type_or_code,messages",
        types.chain(codes).collect(),
    )
}

fn malformed(report: &Report) -> CsvTable {
    let rows = report.malformed.iter();
    let rows = rows.map(|(reason, packets)| vec![text(reason), number(packets)]);
    table("malformed", "reason,packets", rows.collect())
}

/// Packets, then bytes by protocol, a column for each.
fn timeline(timeline: &Timeline) -> CsvTable {
    #![expect(clippy::cast_precision_loss, reason = "a thousand bins")]
    let names = |series: &BTreeMap<String, Vec<u64>>, suffix: &str| -> Vec<String> {
        let names = series.keys();
        names.map(|name| format!("{name}{suffix}")).collect()
    };
    let mut columns = ["start_s", "packets", "bytes", "lost"]
        .map(str::to_owned)
        .to_vec();
    columns.extend(names(&timeline.by_protocol, ""));
    columns.extend(names(&timeline.bytes_by_protocol, " bytes"));
    let rows = (0..timeline.bins.len()).map(|bin| {
        let at = |row: &Vec<u64>| number(row.get(bin).copied().unwrap_or(0));
        let fixed = [
            number(bin as f64 * timeline.bin_seconds),
            at(&timeline.bins),
            at(&timeline.bytes),
            at(&timeline.lost),
        ];
        let packets = timeline.by_protocol.values().map(at);
        let bytes = timeline.bytes_by_protocol.values().map(at);
        fixed.into_iter().chain(packets).chain(bytes).collect()
    });
    CsvTable {
        name: "timeline",
        columns,
        rows: rows.collect(),
    }
}

fn findings(report: &Report) -> CsvTable {
    let rows = report.findings.iter().map(|finding| {
        vec![
            text(&finding.kind),
            text(finding.severity.label()),
            text(&finding.summary),
            text(&finding.addresses.join(" ")),
            text(&finding.first),
            text(&finding.last),
            number(finding.packets),
            text(&finding.filter),
        ]
    });
    let columns = "kind,severity,summary,addresses,first,last,packets,filter";
    table("findings", columns, rows.collect())
}

fn flows(report: &Report) -> CsvTable {
    let rows = report.flows.iter().flat_map(|table| &table.rows);
    let rows = rows.map(|row| {
        let mut fields = vec![
            text(&row.interface),
            optional(row.vlan),
            optional(row.inner_vlan),
            text(&row.protocol),
            text(&row.src),
            optional(row.src_port),
            text(&row.dst),
            optional(row.dst_port),
            text(&row.first),
            text(&row.last),
            number(row.duration_s),
        ];
        fields.extend(flow_side(&row.forward));
        fields.extend(flow_side(&row.reverse));
        fields.extend([
            optional(row.handshake_s),
            optional(row.response_s),
            text(row.end),
        ]);
        fields
    });
    let side = |name: &str| {
        let columns = [
            "direction",
            "packets",
            "bytes",
            "ip_bytes",
            "tcp_flags",
            "icmp_type",
            "icmp_code",
        ];
        columns.map(|column| format!("{name}_{column}")).join(",")
    };
    let columns = format!(
        "interface,vlan,inner_vlan,protocol,src,src_port,dst,dst_port,first,last,duration_s,{},{},\
         handshake_s,response_s,end",
        side("forward"),
        side("reverse"),
    );
    table("flows", &columns, rows.collect())
}

fn flow_side(side: &FlowSideRow) -> [Field; 7] {
    [
        text(side.direction.unwrap_or_default()),
        number(side.packets),
        number(side.bytes),
        number(side.ip_bytes),
        text(side.tcp_flags.as_deref().unwrap_or_default()),
        optional(side.icmp_type),
        optional(side.icmp_code),
    ]
}

fn ledger(report: &Report) -> CsvTable {
    let ledger = &report.ledger;
    let rows = [
        ("seen", Some(ledger.seen)),
        ("filtered_out", Some(ledger.filtered_out)),
        ("matched", Some(ledger.matched)),
        ("unparsed", Some(ledger.unparsed)),
        ("summaries_delivered", ledger.summaries_delivered),
        ("summaries_lost", ledger.summaries_lost),
        ("frames_sampled_out", Some(ledger.frames_sampled_out)),
        ("frames_written", Some(ledger.frames_written)),
        ("frames_lost_ring_full", Some(ledger.frames_lost.ring_full)),
        (
            "frames_lost_write_failed",
            Some(ledger.frames_lost.write_failed),
        ),
        ("ipfix_sent", ledger.ipfix_sent),
        ("ipfix_lost", ledger.ipfix_lost),
        ("excerpts_lost", Some(ledger.excerpts_lost)),
        ("history_evicted", Some(ledger.history_evicted)),
        ("export_rows", ledger.export_rows),
        ("export_stored", ledger.export_stored),
        ("export_waiting", ledger.export_waiting),
        ("export_lost", ledger.export_lost),
        ("balanced", Some(ledger.balanced.into())),
    ];
    let rows = rows.map(|(name, value)| vec![text(name), optional(value)]);
    table("ledger", "name,frames", rows.to_vec())
}

fn table(name: &'static str, columns: &str, rows: Vec<Vec<Field>>) -> CsvTable {
    CsvTable {
        name,
        columns: columns.split(',').map(str::to_owned).collect(),
        rows,
    }
}

fn text(text: &str) -> Field {
    Field::Text(text.to_owned())
}

fn number(value: impl Display) -> Field {
    Field::Number(value.to_string())
}

fn optional<T: Display>(value: Option<T>) -> Field {
    Field::Number(value.map_or_else(String::new, |value| value.to_string()))
}

impl Display for CsvTable {
    /// Lines end in CR LF.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns.iter().map(|name| Field::Text(name.clone()));
        write_line(f, columns)?;
        for row in &self.rows {
            write_line(f, row.iter().cloned())?;
        }
        Ok(())
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, fields: impl Iterator<Item = Field>) -> fmt::Result {
    for (index, field) in fields.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(f, "{comma}{field}")?;
    }
    f.write_str("\r\n")
}

impl Display for Field {
    /// Text is quoted where RFC 4180 asks for it. A text that a spreadsheet would take for a
    /// formula gets an apostrophe in front, as spreadsheets write text themselves. What does not
    /// print is shown as an escape.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Number(number) => return f.write_str(number),
            Self::Text(text) => printable(text),
        };
        let formula = text.starts_with(['=', '+', '-', '@']);
        let apostrophe = if formula { "'" } else { "" };
        if formula || text.contains([',', '"', ' ', ';']) {
            write!(f, "\"{apostrophe}{}\"", text.replace('"', "\"\""))
        } else {
            f.write_str(&text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn every_line_has_as_many_fields_as_the_header() {
        for report in [
            example::report(),
            example::empty_file(),
            example::hostile("a,\"b\"\r\n=c\u{1b}"),
        ] {
            for table in tables(&report) {
                let lines = parse(&table.to_string());
                assert_eq!(lines.len(), table.rows.len() + 1, "{}", table.name);
                for line in &lines {
                    assert_eq!(line.len(), lines[0].len(), "{}: {line:?}", table.name);
                }
            }
        }
    }

    #[test]
    fn strangers_cannot_write_formulas_or_control_characters() {
        for evil in [
            "=cmd|' /C calc'!A0",
            "+1",
            "-1",
            "@SUM(1)",
            "\u{1b}[2J",
            "\t=1",
        ] {
            let report = example::hostile(evil);
            for table in tables(&report) {
                let csv = table.to_string();
                assert!(csv.replace("\r\n", "").chars().all(|c| !c.is_control()));
                for (row, line) in table.rows.iter().zip(parse(&csv).iter().skip(1)) {
                    for (field, text) in row.iter().zip(line) {
                        let formula = text.starts_with(['=', '+', '-', '@', '\t']);
                        assert!(matches!(field, Field::Number(_)) || !formula, "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn tables_are_plain() {
        let report = example::report();
        let all = tables(&report);
        let named = |name| all.iter().find(|t| t.name == name).unwrap().to_string();
        assert!(named("protocols").starts_with("protocol,packets,bytes\r\ntcp,"));
        assert!(named("hierarchy").contains("\r\nframe:EN10MB:tcp,"));
        assert!(named("frame_sizes").contains("\r\n1280,,"));
        assert!(named("timeline").starts_with("start_s,packets,bytes,lost,arp,dns,"));
        assert!(named("conversations").contains("\"192.0.2.1 <-> 198.51.100.7\","));
        assert!(named("findings").contains("syn_flood,alert,\"198.51.100.7 got"));
        let mut names: Vec<_> = all.iter().map(|table| table.name).collect();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }

    /// A reader of RFC 4180.
    fn parse(csv: &str) -> Vec<Vec<String>> {
        let mut lines = Vec::new();
        let mut line = vec![String::new()];
        let mut quoted = false;
        let mut chars = csv.chars().peekable();
        while let Some(c) = chars.next() {
            let field = line.last_mut().unwrap();
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    field.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => line.push(String::new()),
                '\r' if !quoted => {}
                '\n' if !quoted => lines.push(std::mem::replace(&mut line, vec![String::new()])),
                c => field.push(c),
            }
        }
        assert_eq!(line, [""], "the last line ends");
        lines
    }
}
