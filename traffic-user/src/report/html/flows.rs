//! The table of flows.

use super::{
    clock_time,
    table::{Cell, Table},
};
use crate::report::{
    Report,
    flows::{FlowRow, FlowSideRow, FlowTable},
    number::{count, counted, seconds},
};

/// The columns behind that of the interface.
const COLUMNS: [&str; 14] = [
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
];

/// The largest flows, over the whole width.
pub(super) fn flows(report: &Report) -> String {
    let Some(flows) = &report.flows else {
        return String::new();
    };
    let flags = |side: &FlowSideRow| side.tcp_flags.as_deref().map(initials).unwrap_or_default();
    let time = |time: Option<f64>| Cell::Text(time.map(seconds).unwrap_or_default());
    let with_interfaces = FlowTable::names_interfaces(report);
    let clock = clock(report, flows);
    let rows = flows.rows.iter().map(|row| {
        let interface = with_interfaces.then(|| Cell::Code(row.interface.clone()));
        let cells = vec![
            Cell::Text(row.protocol.clone()),
            Cell::Code(FlowRow::end_point(&row.src, row.src_port)),
            Cell::Code(FlowRow::end_point(&row.dst, row.dst_port)),
            Cell::Text(clock(&row.first)),
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
        ];
        interface.into_iter().chain(cells).collect()
    });
    let interface = with_interfaces.then_some("Interface");
    let columns: Vec<&str> = interface.into_iter().chain(COLUMNS).collect();
    let table = Table {
        title: "Flows",
        note: &flows_note(flows),
        columns: &columns,
        rows: rows.collect(),
    }
    .card();
    format!("<div class=\"wide\">\n{table}</div>\n")
}

/// How the table tells times: without the day where it is the report's.
fn clock(report: &Report, flows: &FlowTable) -> fn(&str) -> String {
    let day = |time: &str| time.split_once('T').map(|(day, _)| day.to_owned());
    let started = report.started.as_deref().and_then(day);
    if flows.rows.iter().all(|row| day(&row.first) == started) {
        |time| {
            let time = clock_time(time);
            let of_day = time.split_once(' ').map(|(_, of_day)| of_day.to_owned());
            of_day.unwrap_or(time)
        }
    } else {
        clock_time
    }
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
