//! A report on what is stored of many captures.

use std::collections::BTreeMap;

use serde::Deserialize;
use traffic_ebpf::{protocol::Protocol, tally::Count};

use super::{
    Report, Source,
    assemble::{self, Interface, Run, RunTotals, Stored, rfc3339},
    number::counted,
    stored_flows,
};
use crate::{
    counts::{Counts, Leaf},
    fleet::{
        counters::MALFORMED,
        query::{Answer, RunRow},
    },
    ledger::{Account, Summaries},
    stages::Stages,
    timeline::Bars,
};

/// How a report on stored traffic is to be.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Where the traffic is stored.
    pub from: String,
    /// Interfaces that were asked for; all where none was.
    pub interfaces: Vec<String>,
    /// Bars of the histogram; at least 1.
    pub bars: u32,
    /// Rows of each table.
    pub top: usize,
    /// The filter, as it was given; with it, flows tell everything.
    pub filter: Option<String>,
}

/// Makes the report.
#[must_use]
pub fn report(asked: &Asked, answer: &Answer) -> Report {
    let mut notes = Vec::new();
    let interfaces = interfaces(answer);
    let counts = counts(answer, &interfaces, &mut notes);
    let bars = bars(asked, answer);
    let total = counts.total().packets;
    let in_bars: u64 = bars.packets.iter().sum();
    if asked.filter.is_some() {
        notes.push(FILTERED.to_owned());
    } else if in_bars < total {
        notes.push(format!(
            "{} in no bar: their rows were lost on the way, and only later ones tell of them.",
            counted(total - in_bars, "packet")
        ));
    }
    let account = match &asked.filter {
        None => account(asked, answer, &counts),
        Some(_) => filtered_account(answer),
    };
    let stored = Stored {
        started_ns: answer.since_ns,
        duration_ns: answer.until_ns - answer.since_ns,
        counts,
        bars,
        account,
    };
    let run = Run {
        source: Source::Fleet {
            from: asked.from.clone(),
            hosts: hosts(answer),
            since: rfc3339(answer.since_ns),
            until: rfc3339(answer.until_ns),
        },
        interfaces,
        totals: RunTotals::Stored(Box::new(stored)),
        bins: asked.bars,
        top: asked.top,
        notes,
    };
    let mut report = assemble::report(Stages::for_capture(0), run);
    report.findings_note = Some("Findings are not stored.".to_owned());
    stored_flows::enter(&mut report, asked, answer);
    report
}

/// What every number is of where a filter was asked for.
const FILTERED: &str = "With a filter, every number is of flows that ended in the time: packets that \
    are not IP, and those whose flows go on, are not among them. A flow's packets are in the bar of \
    its last.";

/// Hosts that stored something, each once.
fn hosts(answer: &Answer) -> Vec<String> {
    let mut hosts: Vec<_> = answer.classes.iter().map(|row| row.host.clone()).collect();
    hosts.extend(answer.runs.iter().map(|run| run.host.clone()));
    hosts.sort();
    hosts.dedup();
    hosts
}

/// What a run says of an interface.
#[derive(Clone, Deserialize)]
struct Described {
    name: String,
    ifindex: u32,
    link_type: String,
    ingress_hook: Option<String>,
    egress_hook: Option<String>,
}

/// Interfaces that carried something, as the newest run describes them.
fn interfaces(answer: &Answer) -> Vec<Interface> {
    let mut described = BTreeMap::new();
    for run in &answer.runs {
        let rows: Vec<Described> = serde_json::from_str(&run.interfaces).unwrap_or_default();
        for row in rows {
            described.insert((run.host.as_str(), row.name.clone()), row);
        }
    }
    let mut names: Vec<_> = answer
        .classes
        .iter()
        .map(|row| (row.host.as_str(), row.interface.clone()))
        .collect();
    names.dedup();
    let interface = |key: (&str, String)| {
        let row = described.get(&key);
        Interface {
            name: interface_name(key.0, &key.1),
            ifindex: row.map_or(0, |row| row.ifindex),
            link_type: row.map_or_else(|| "unknown".to_owned(), |row| row.link_type.clone()),
            ingress_hook: row.and_then(|row| row.ingress_hook.clone()),
            egress_hook: row.and_then(|row| row.egress_hook.clone()),
            sample: 1,
        }
    };
    names.into_iter().map(interface).collect()
}

pub(super) fn interface_name(host: &str, interface: &str) -> String {
    format!("{host}:{interface}")
}

/// The leaf class of a row. One that this version does not know is unparsed.
fn leaf(protocol: &str, transport: &str) -> Leaf {
    Leaf::from_names(protocol, transport).unwrap_or(Leaf::Whole(Protocol::Unparsed))
}

fn counts(answer: &Answer, interfaces: &[Interface], notes: &mut Vec<String>) -> Counts {
    let mut counts = Counts::default();
    for row in &answer.classes {
        let name = interface_name(&row.host, &row.interface);
        let number = interfaces
            .iter()
            .position(|interface| interface.name == name);
        if Leaf::from_names(&row.protocol, &row.transport).is_none() {
            let class = &row.protocol;
            notes.push(format!(
                "This version does not know {class}: it is among the unparsed."
            ));
        }
        let count = Count {
            packets: row.packets,
            bytes: row.bytes,
        };
        let leaf = leaf(&row.protocol, &row.transport);
        counts.add_count(number.unwrap_or(0), leaf, row.ip_version, count);
    }
    for row in &answer.tallies {
        if let Some(reason) = row.name.strip_prefix(MALFORMED) {
            counts.add_malformed(reason, row.value);
        }
    }
    counts
}

fn bars(asked: &Asked, answer: &Answer) -> Bars {
    let span_ns = answer.bar_ns.saturating_mul(asked.bars.into());
    let rows = answer.bars.iter().map(|row| {
        let count = Count {
            packets: row.packets,
            bytes: row.bytes,
        };
        (row.bar, leaf(&row.protocol, &row.transport), count)
    });
    Bars::from_counts(asked.bars, span_ns, rows)
}

/// What the filter selected of the packets of flows.
fn filtered_account(answer: &Answer) -> Account {
    let totals = answer.flows.totals;
    Account {
        seen: totals.all_packets,
        filtered_out: totals.all_packets - totals.packets,
        matched: totals.packets,
        ..Account::default()
    }
}

fn account(asked: &Asked, answer: &Answer, counts: &Counts) -> Account {
    let tally = |name: &str| {
        let row = answer.tallies.iter().find(|row| row.name == name);
        row.map_or(0, |row| row.value)
    };
    let whole = |run: &RunRow| {
        run.started_ns >= answer.since_ns && (1..=answer.until_ns).contains(&run.ended_ns)
    };
    let summaries = Summaries {
        delivered: tally("summaries_delivered"),
        lost: tally("summaries_lost"),
    };
    // What is counted for a run as a whole cannot be told by interface.
    let by_run = asked.interfaces.is_empty();
    Account {
        seen: tally("seen"),
        filtered_out: tally("filtered_out"),
        matched: counts.total().packets,
        unparsed: counts.of(|protocol| protocol == Protocol::Unparsed),
        summaries: Some(summaries).filter(|s| by_run && s.delivered + s.lost > 0),
        // Capture files stay on their hosts.
        frames: None,
        excerpts_lost: tally("excerpts_lost"),
        history_evicted: tally("history_evicted"),
        is_running: !answer.runs.iter().all(whole),
    }
}
