//! What a reader should know about how the numbers came about.

use super::common_sample;
use crate::{
    analysis::{EXACT_CONVERSATIONS, EXACT_HOSTS, Tables},
    dns::DnsTable,
    findings::{Findings, MAX_PER_KIND},
    report::{
        InterfaceRow, Ledger, Report, Source,
        number::{count, counted},
    },
    timeline::Bars,
};

/// Says what the findings do not cover.
pub(super) fn findings_note(
    findings: Option<&Findings>,
    omitted: usize,
    ledger: &Ledger,
) -> Option<String> {
    if findings.is_none() {
        return Some("Findings were not looked for.".to_owned());
    }
    let Some(lost) = ledger.summaries_lost else {
        return Some("No findings: only counters were asked for.".to_owned());
    };
    let mut notes = Vec::new();
    if lost > 0 || ledger.excerpts_lost > 0 {
        notes.push(format!(
            "Findings may be missing, and their numbers are lower bounds: {} summaries and {} \
             excerpts were lost.",
            count(lost),
            count(ledger.excerpts_lost)
        ));
    }
    if omitted > 0 {
        notes.push(format!(
            "{omitted} more findings are not listed: each kind has at most {MAX_PER_KIND}."
        ));
    }
    (!notes.is_empty()).then(|| notes.join(" "))
}

/// Says where the tables are not exact, and by how much.
pub(super) fn tables_note(tables: &Tables, ledger: &Ledger) -> Option<String> {
    let mut notes = Vec::new();
    match ledger.summaries_lost {
        None => notes.push("No per-address tables: only counters were asked for.".to_owned()),
        Some(0) => {}
        Some(lost) => notes.push(format!(
            "Tables, sizes and times are lower bounds: {} missing from them.",
            counted(lost, "packet")
        )),
    }
    if let Some(error) = tables.unique_sources_error {
        notes.push(format!(
            "The number of different sources is an estimate (HyperLogLog, standard error \
             {error:.1} %)."
        ));
    }
    let hosts = EXACT_HOSTS;
    for (name, bound, table) in [
        ("sources", hosts, &tables.sources),
        ("destinations", hosts, &tables.destinations),
        ("conversations", EXACT_CONVERSATIONS, &tables.conversations),
    ] {
        if table.max_missed > 0 {
            notes.push(format!(
                "More than {} {name}: each row is a lower bound, short by at most {}.",
                count(bound as u64),
                counted(table.max_missed, "packet")
            ));
        }
    }
    (!notes.is_empty()).then(|| notes.join(" "))
}

pub(super) fn notes(report: &Report, bars: &Bars, dns: &DnsTable) -> Vec<String> {
    let mut notes = Vec::new();
    let live = matches!(report.source, Source::Capture { .. } | Source::Fleet { .. });
    if live && report.interfaces.len() > 1 {
        notes.push("A packet that passes several interfaces is counted at each.".to_owned());
    }
    notes.extend(mixed_samples(&report.interfaces));
    if dns.other() > 0 {
        notes.push(format!(
            "{} DNS messages are about names beyond the first 10000, which are not listed.",
            dns.other()
        ));
    }
    if report.ledger.excerpts_lost > 0 {
        notes.push(format!(
            "DNS names are lower bounds: {} DNS, ARP and fragment excerpts were lost.",
            report.ledger.excerpts_lost
        ));
    }
    let shown = |name: &str| report.protocols.iter().any(|row| row.name == name);
    if let Some(series) = bars.by_protocol.keys().find(|name| !shown(name)) {
        notes.push(format!(
            "Over time, rare protocols are shown together as {series}."
        ));
    }
    notes
}

/// Interfaces that were sampled at different rates: no factor holds for all of them.
fn mixed_samples(interfaces: &[InterfaceRow]) -> Option<String> {
    let sampled = interfaces
        .iter()
        .filter_map(|row| Some((row, row.estimate?)));
    let sampled: Vec<_> = sampled
        .map(|(row, estimate)| format!("1 in {} of {}", estimate.sample, row.name))
        .collect();
    let mixed = !sampled.is_empty() && common_sample(interfaces).is_none();
    mixed.then(|| {
        format!(
            "Interfaces were sampled at different rates ({}): estimates stand beside each \
             interface, all other numbers are those of the files. Read them one by one to have \
             everything estimated.",
            sampled.join(", ")
        )
    })
}
