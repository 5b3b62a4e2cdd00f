//! What a sample of frames stands for.

use std::collections::BTreeMap;

use super::{
    AddressRow, DnsRow, DnsSummary, FlagsRow, HierarchyNode, MaxMissed, ProtocolRow, Rates, Report,
    Sampled, Sizes, Timeline, Totals, VlanRow, flows::FlowTable,
};

/// Turns a report on files with one frame in `sample` into estimates of what passed.
///
/// A count times the rate is the unbiased estimate of a simple random sample. What is no count
/// stays: sizes, times, the number of different sources (a lower bound now), findings (which look
/// at the frames that are there), interfaces (which show both) and the ledger of the reading.
pub(super) fn scale(report: &mut Report, sample: u32) {
    report.sampled = Some(Sampled {
        sample,
        packets: report.totals.packets,
        bytes: report.totals.bytes,
    });
    let by = By(sample);
    by.protocols(&mut report.protocols);
    by.totals(&mut report.totals);
    by.hierarchy(&mut report.hierarchy);
    by.each(&mut report.malformed);
    by.missed(&mut report.max_missed);
    for table in [
        &mut report.sources,
        &mut report.destinations,
        &mut report.conversations,
        &mut report.ports,
    ] {
        by.addresses(table);
    }
    by.dns(&mut report.dns, &mut report.dns_names);
    by.flags(&mut report.tcp_flags);
    by.vlans(&mut report.vlans);
    if let Some(flows) = &mut report.flows {
        by.flows(flows);
    }
    if let Some(sizes) = &mut report.sizes {
        by.sizes(sizes);
    }
    by.rates(&mut report.rates);
    by.timeline(&mut report.timeline);
}

/// The factor between counts and estimates.
#[derive(Clone, Copy)]
struct By(u32);

impl By {
    fn count(self, count: &mut u64) {
        *count = count.saturating_mul(self.0.into());
    }

    fn each<'a>(self, counts: impl IntoIterator<Item = (&'a String, &'a mut u64)>) {
        for (_, count) in counts {
            self.count(count);
        }
    }

    fn protocols(self, rows: &mut [ProtocolRow]) {
        for row in rows {
            self.count(&mut row.packets);
            self.count(&mut row.bytes);
        }
    }

    fn totals(self, totals: &mut Totals) {
        for count in [
            &mut totals.packets,
            &mut totals.bytes,
            &mut totals.ip,
            &mut totals.ip6,
            &mut totals.tcp,
            &mut totals.udp,
        ] {
            self.count(count);
        }
    }

    fn hierarchy(self, node: &mut HierarchyNode) {
        self.count(&mut node.packets);
        self.count(&mut node.bytes);
        for child in &mut node.children {
            self.hierarchy(child);
        }
    }

    fn missed(self, missed: &mut MaxMissed) {
        self.count(&mut missed.sources);
        self.count(&mut missed.destinations);
        self.count(&mut missed.conversations);
    }

    fn addresses(self, rows: &mut [AddressRow]) {
        for row in rows {
            self.count(&mut row.packets);
            self.count(&mut row.bytes);
        }
    }

    fn dns(self, summary: &mut DnsSummary, names: &mut [DnsRow]) {
        self.count(&mut summary.queries);
        self.count(&mut summary.answers);
        self.count(&mut summary.failures);
        self.each(&mut summary.record_types);
        self.each(&mut summary.response_codes);
        for row in names {
            self.count(&mut row.queries);
            self.each(&mut row.answers);
        }
    }

    fn flags(self, rows: &mut [FlagsRow]) {
        for row in rows {
            self.count(&mut row.packets);
        }
    }

    fn vlans(self, rows: &mut [VlanRow]) {
        for row in rows {
            self.count(&mut row.packets);
            self.count(&mut row.bytes);
        }
    }

    /// Their number stays: how many flows had no frame in the sample is not known.
    fn flows(self, flows: &mut FlowTable) {
        for count in [
            &mut flows.packets,
            &mut flows.bytes,
            &mut flows.other_packets,
            &mut flows.other_bytes,
        ] {
            self.count(count);
        }
        for row in &mut flows.rows {
            self.count(&mut row.packets);
            self.count(&mut row.bytes);
            for side in [&mut row.forward, &mut row.reverse] {
                self.count(&mut side.packets);
                self.count(&mut side.bytes);
                self.count(&mut side.ip_bytes);
            }
        }
    }

    fn sizes(self, sizes: &mut Sizes) {
        for range in &mut sizes.histogram {
            self.count(&mut range.packets);
        }
    }

    fn rates(self, rates: &mut Rates) {
        for rate in [
            &mut rates.mean_pps,
            &mut rates.peak_pps,
            &mut rates.mean_bps,
            &mut rates.peak_bps,
        ] {
            *rate *= f64::from(self.0);
        }
    }

    fn timeline(self, timeline: &mut Timeline) {
        self.series(&mut timeline.by_protocol);
        self.series(&mut timeline.bytes_by_protocol);
        for bar in timeline.bins.iter_mut().chain(&mut timeline.bytes) {
            self.count(bar);
        }
    }

    fn series(self, series: &mut BTreeMap<String, Vec<u64>>) {
        for bar in series.values_mut().flatten() {
            self.count(bar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{chart, csv, example, html, json, schema, text, verdict};

    #[test]
    fn every_count_is_scaled_and_what_is_there_stays() {
        let counted = example::report();
        let mut report = counted.clone();
        scale(&mut report, 16);
        assert_eq!(report.sampled.unwrap().packets, counted.totals.packets);
        assert_eq!(report.totals.packets, 16 * counted.totals.packets);
        let packets = |rows: &[ProtocolRow]| rows.iter().map(|row| row.packets).sum::<u64>();
        assert_eq!(packets(&report.protocols), report.totals.packets);
        assert_eq!(report.hierarchy.packets, report.totals.packets);
        assert_eq!(report.sources[0].packets, 16 * counted.sources[0].packets);
        let bars: u64 = report.timeline.bins.iter().sum();
        assert_eq!(bars, 16 * counted.timeline.bins.iter().sum::<u64>());
        assert!((report.rates.mean_pps - 16.0 * counted.rates.mean_pps).abs() < 1e-6);
        assert_eq!(report.ledger.matched, counted.ledger.matched);
        assert_eq!(report.unique_sources, counted.unique_sources);
        assert_eq!(report.findings, counted.findings);
    }

    #[test]
    fn every_format_says_estimate() {
        let mut report = example::report();
        scale(&mut report, 16);
        let sentence = &verdict::of(&report).sentences[0];
        assert!(
            sentence.starts_with("Estimates: one frame in 16"),
            "{sentence}"
        );
        let text = text::render(&report);
        let headings = text.lines().filter(|line| line.ends_with("bytes (est.)"));
        assert_eq!(headings.count(), 7, "{text}");
        let page = html::render(&report);
        assert!(page.contains("<main class=\"estimated\">") && page.contains("≈ "));
        assert!(page.contains("Number of Packets (estimated)"));
        let json: serde_json::Value = serde_json::from_str(&json::to_string(&report)).unwrap();
        assert_eq!(json["sampled"]["sample"], 16);
        assert_eq!(
            schema::problems(schema::REPORT, &json),
            Vec::<String>::new()
        );
        let tables = csv::tables(&report);
        let summary = tables.iter().find(|table| table.name == "summary").unwrap();
        assert!(summary.to_string().contains("sample,16\r\n"));
        let picture = chart::svg(&report, &chart::ChartOptions::default()).unwrap();
        assert!(picture.contains("estimated from 1 frame in 16"));
    }
}
