//! What stored flows say in a report: flows, addresses, ports.

use std::net::IpAddr;

use traffic_ebpf::protocol::Protocol;

use super::{
    AddressRow, Ledger, Report,
    flows::{FlowTable, flow_row},
    number::counted,
    stored::{Asked, interface_name},
};
use crate::{
    fleet::{
        flow_query::{self, FlowAnswer},
        query::Answer,
    },
    flows::EndReason,
};

/// Enters the flows, if there are any.
pub(super) fn enter(report: &mut Report, asked: &Asked, answer: &Answer) {
    let flows = &answer.flows;
    if flows.totals.flows == 0 {
        let what = if asked.filter.is_some() {
            "No per-address tables: no stored flow has packets that the filter selects."
        } else {
            "No per-address tables: no flow that ended in this time is stored."
        };
        report.tables_note = Some(what.to_owned());
        return;
    }
    report.unique_sources = flows.unique_sources;
    report.sources = addresses(&flows.sources);
    report.destinations = addresses(&flows.destinations);
    report.conversations = conversations(flows);
    report.ports = ports(flows);
    report.tables_note = Some(
        "Addresses and ports are those of the flows that ended in this time; sizes and TCP flags of \
         packets, VLANs and names are not stored."
            .to_owned(),
    );
    report.flows = Some(table(asked, answer, &report.ledger));
}

fn addresses(rows: &[flow_query::AddressRow]) -> Vec<AddressRow> {
    let row = |row: &flow_query::AddressRow| AddressRow {
        address: flow_query::address(row.ip_version, row.address).to_string(),
        packets: row.packets,
        bytes: row.bytes,
    };
    rows.iter().map(row).collect()
}

fn conversations(flows: &FlowAnswer) -> Vec<AddressRow> {
    let row = |row: &flow_query::PairRow| {
        let ends = [row.low, row.high].map(|end| flow_query::address(row.ip_version, end));
        let [low, high] = ends.map(|end: IpAddr| end.to_string());
        AddressRow {
            address: format!("{low} <-> {high}"),
            packets: row.packets,
            bytes: row.bytes,
        }
    };
    flows.conversations.iter().map(row).collect()
}

fn ports(flows: &FlowAnswer) -> Vec<AddressRow> {
    let row = |row: &flow_query::PortRow| {
        let protocol = Protocol::from_ip_proto(row.ip_proto);
        AddressRow {
            address: format!("{}/{}", row.port, protocol.label()),
            packets: row.packets,
            bytes: row.bytes,
        }
    };
    flows.ports.iter().map(row).collect()
}

fn table(asked: &Asked, answer: &Answer, ledger: &Ledger) -> FlowTable {
    let FlowAnswer {
        totals,
        ended,
        largest,
        ..
    } = &answer.flows;
    let ended = EndReason::ALL.map(|reason| {
        let row = ended.iter().find(|row| row.end_reason == reason.label());
        (reason.label(), row.map_or(0, |row| row.flows))
    });
    let tally = |name: &str| {
        let row = answer.tallies.iter().find(|row| row.name == name);
        row.map_or(0, |row| row.value)
    };
    let rows = largest.iter().map(|flow| {
        let interface = interface_name(&flow.host, &flow.interface);
        flow_row(&flow.record(0), &interface)
    });
    let mut table = FlowTable {
        idle_s: None,
        active_s: None,
        max_flows: None,
        packets: totals.packets,
        bytes: totals.bytes,
        other_packets: tally("flowless_packets"),
        other_bytes: tally("flowless_bytes"),
        live: 0,
        ended: ended.into(),
        note: None,
        rows: rows.collect(),
    };
    table.note = note(asked, &table, ledger);
    table
}

/// Says where flows and ledger do not agree, and why.
fn note(asked: &Asked, table: &FlowTable, ledger: &Ledger) -> Option<String> {
    let mut notes = Vec::new();
    let evicted = table.ended.get(EndReason::LackOfResources.label());
    if let Some(evicted) = evicted.filter(|evicted| **evicted > 0) {
        notes.push(format!(
            "{} cut short, because too many were live (--max-flows).",
            counted(*evicted, "flow")
        ));
    }
    if let Some(lost) = ledger.summaries_lost.filter(|lost| *lost > 0) {
        let lost = counted(lost, "packet");
        notes.push(format!("{lost} in no flow: the summaries were lost."));
    }
    // Of interfaces, and with a filter, it is not known how many there should be.
    if let (None, Some(delivered)) = (&asked.filter, ledger.summaries_delivered) {
        let told = table.packets + table.other_packets;
        if told < delivered {
            notes.push(format!(
                "{} not in them: flows go on, or rows wait or were lost (export_waiting and \
                 export_lost in the ledgers of the captures).",
                counted(delivered - told, "packet")
            ));
        } else if told > delivered {
            notes.push(format!(
                "{} in them from before this time: a flow counts whole, when it ended.",
                counted(told - delivered, "packet")
            ));
        }
    }
    (!notes.is_empty()).then(|| notes.join(" "))
}
