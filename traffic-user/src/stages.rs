//! What every source feeds: the stages between packets and the report.

use traffic_ebpf::{
    parse::{Link, parse},
    protocol::Protocol,
    record::Summary,
    tally::Count,
};

use crate::{
    analysis::Analysis,
    counts::Counts,
    dns::{DnsTable, Message},
    findings::Findings,
    flows::{FlowRecord, Flows},
    history::History,
    record::PacketRecord,
    timeline::Timeline,
};

/// The stages of one run.
#[derive(Clone, Debug)]
pub struct Stages {
    pub(crate) history: History,
    pub(crate) analysis: Analysis,
    pub(crate) dns: DnsTable,
    pub(crate) findings: Option<Findings>,
    pub(crate) flows: Option<Flows>,
    pub(crate) totals: Option<Totals>,
}

/// What the kernel counts in a live capture, and nobody else for files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) counts: Counts,
    pub(crate) timeline: Timeline,
}

impl Stages {
    /// Stages for summaries from the kernel, whose counters give totals and time slots. The
    /// newest `history` packets are kept.
    #[must_use]
    pub fn for_capture(history: usize) -> Self {
        Self {
            history: History::new(history),
            analysis: Analysis::default(),
            dns: DnsTable::default(),
            findings: None,
            flows: None,
            totals: None,
        }
    }

    /// Stages that make everything of the records themselves. The newest `history` packets are
    /// kept.
    #[must_use]
    pub fn for_files(history: usize) -> Self {
        Self {
            totals: Some(Totals::default()),
            ..Self::for_capture(history)
        }
    }

    /// The same stages, with detectors.
    #[must_use]
    pub fn with_findings(mut self, findings: Option<Findings>) -> Self {
        self.findings = findings;
        self
    }

    /// Packets taken so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.analysis.records()
    }

    /// The same stages, with flows.
    #[must_use]
    pub fn with_flows(mut self, flows: Option<Flows>) -> Self {
        self.flows = flows;
        self
    }

    /// Takes packets that matched, in any order of time. Stage by stage, so that each has the
    /// processor's caches for itself.
    pub fn packets(&mut self, records: &[PacketRecord]) {
        self.history.extend(records);
        for record in records {
            self.analysis.add(record);
        }
        if let Some(findings) = &mut self.findings {
            for record in records {
                findings.packet(record);
            }
        }
        if let Some(flows) = &mut self.flows {
            for record in records {
                flows.add(record);
            }
        }
        if let Some(totals) = &mut self.totals {
            for record in records {
                let leaf = totals.counts.add(record);
                let time_ns = record.timestamp_ns();
                totals.timeline.add(time_ns, leaf, record.wire_len());
            }
        }
    }

    /// Lets time pass up to `now_ns` since the Unix epoch: flows that are silent end.
    pub fn tick(&mut self, now_ns: u64) {
        if let Some(flows) = &mut self.flows {
            flows.tick(now_ns);
        }
    }

    /// Ends every flow, because no more packets come.
    pub fn finish(&mut self) {
        if let Some(flows) = &mut self.flows {
            flows.finish();
        }
    }

    /// Packets so far that belong to no flow.
    #[must_use]
    pub fn flowless(&self) -> Count {
        self.flows.as_ref().map_or(Count::default(), Flows::other)
    }

    /// Gives the flows that ended since the last call, where they are
    /// [kept](Flows::keeping_ended).
    pub fn ended_flows(&mut self) -> impl Iterator<Item = FlowRecord> {
        self.flows.iter_mut().flat_map(Flows::take_ended)
    }

    /// Takes the first bytes of a frame that matched and whose headers
    /// [want it](traffic_ebpf::record::Headers::wants_excerpt), seen at `time_ns` since the Unix
    /// epoch. `frame` begins with the link header that `link` describes.
    pub fn excerpt(&mut self, time_ns: u64, frame: &[u8], link: Link) {
        let parsed = parse(frame, link);
        let record = PacketRecord::new(Summary {
            timestamp_ns: time_ns,
            headers: parsed.headers,
            ..Summary::EMPTY
        });
        if let Some(findings) = &mut self.findings {
            findings.excerpt(&record, frame, link);
        }
        let protocol = Protocol::from_index(parsed.headers.protocol);
        let Ok(header_len) = usize::try_from(parsed.header_len) else {
            return;
        };
        if header_len == 0 || !protocol.is_dns() {
            return;
        }
        let payload = frame.get(header_len..).unwrap_or_default();
        if protocol.is_tcp() {
            self.dns.add_segment(payload);
        } else if let Some(message) = Message::read(payload) {
            if let Some(findings) = &mut self.findings {
                findings.dns(&record, &message);
            }
            self.dns.add(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_is_found_behind_every_link_header() {
        let datagram = ipv4(17, &[&[0, 99, 0, 53, 0, 0, 0, 0][..], &query()].concat());
        let tcp_header = [
            0, 99, 0, 53, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x18, 0, 0, 0, 0, 0, 0,
        ];
        let segment = ipv4(6, &[&tcp_header[..], &[0, 20], &query()].concat());
        let ethernet = [&[0; 12][..], &[0x81, 0, 0, 7, 8, 0], &datagram].concat();
        let mut stages = Stages::for_capture(0);
        stages.excerpt(0, &datagram, Link::Ip);
        stages.excerpt(0, &segment, Link::Ip);
        stages.excerpt(0, &ethernet, Link::Ethernet(None));
        let questions = stages.dns.top(9);
        assert_eq!(questions.len(), 1);
        assert_eq!(
            (questions[0].name.as_str(), questions[0].queries),
            ("ab", 3)
        );
    }

    #[test]
    fn other_excerpts_are_ignored() {
        let mut stages = Stages::for_capture(0);
        stages.excerpt(0, &[], Link::Ethernet(None));
        stages.excerpt(0, &ipv4(17, &[0, 53]), Link::Ip);
        let other_port = [&[0, 99, 0, 54, 0, 0, 0, 0][..], &query()].concat();
        stages.excerpt(0, &ipv4(17, &other_port), Link::Ip);
        assert!(stages.dns.top(9).is_empty());
    }

    fn query() -> Vec<u8> {
        [
            &[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
            b"\x02ab\0",
            &[0, 1, 0, 1],
        ]
        .concat()
    }

    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[9] = protocol;
        packet.extend_from_slice(payload);
        packet
    }
}
