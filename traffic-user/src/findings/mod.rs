//! Signs of scans, floods, spoofing and faults, from header summaries and excerpts.
//!
//! Each detector keeps a bounded state: where it is full, what is least active is forgotten, so
//! that a flood of made-up addresses costs neither memory nor the findings about others.
//! `docs/findings.md` says what each detector looks at, and what it cannot see.

mod arp;
mod distinct;
mod dns;
mod filter;
mod flood;
mod fragments;
mod probes;
mod rate;
mod thresholds;

use traffic_ebpf::{
    parse::Link,
    protocol::{ETHER_TYPE_ARP, Protocol},
    record::{FLAG_FRAGMENT, FLAG_LATER_FRAGMENT, Headers},
};

pub use self::thresholds::{Threshold, Thresholds, UnknownThreshold};
use self::{
    arp::Arp,
    dns::DnsSigns,
    flood::Floods,
    fragments::Fragments,
    probes::{Probe, Probes},
    rate::Rate,
};
use crate::{
    dns::Message,
    record::{Address, PacketRecord},
    report::Severity,
};

/// Findings of one kind that are told; the others are counted.
pub const MAX_PER_KIND: usize = 20;
/// Over which rates are measured.
const SECOND_NS: u64 = 1_000_000_000;
/// Records may be this late before they are taken for another recording.
const LATE_NS: u64 = 2 * SECOND_NS;

/// TCP SYN.
const SYN: u8 = 0x02;
/// TCP ACK.
const ACK: u8 = 0x10;

/// All detectors.
#[derive(Clone, Debug)]
pub struct Findings {
    thresholds: Thresholds,
    second_start_ns: u64,
    rate: Rate,
    floods: Floods,
    syn_probes: Probes,
    echo_probes: Probes,
    arp: Arp,
    dns: DnsSigns,
    fragments: Fragments,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it is.
    pub kind: Kind,
    /// As [`crate::report::Finding::summary`].
    pub summary: String,
    /// As [`crate::report::Finding::addresses`].
    pub addresses: Vec<Address>,
    /// Time of the first packet of it in nanoseconds since the Unix epoch.
    pub first_ns: u64,
    /// Time of the last packet of it, as `first_ns`.
    pub last_ns: u64,
    /// Packets of it.
    pub packets: u64,
    /// What was measured, by name.
    pub numbers: Vec<(&'static str, u64)>,
    /// As [`crate::report::Finding::filter`].
    pub filter: String,
}

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One source, many TCP ports or hosts, few answers.
    SynScan,
    /// Many SYN packets to one address, and little other TCP.
    SynFlood,
    /// Many UDP packets to one address that does not answer.
    UdpFlood,
    /// A flood from nearly as many sources as packets.
    SpoofedFlood,
    /// An IPv4 address that several MAC addresses claim.
    ArpConflict,
    /// One host asks for many addresses by ARP.
    ArpSweep,
    /// One host sends echo requests to many.
    IcmpSweep,
    /// DNS answers that nobody asked for.
    DnsUnasked,
    /// Many long names under one domain.
    DnsTunnel,
    /// Fragments that cover the same bytes of a datagram.
    FragmentOverlap,
    /// A second with far more or fewer packets than those before it.
    RateChange,
}

impl Kind {
    /// Every kind, in the order of this table.
    pub const ALL: [Self; 11] = [
        Self::SynScan,
        Self::SynFlood,
        Self::UdpFlood,
        Self::SpoofedFlood,
        Self::ArpConflict,
        Self::ArpSweep,
        Self::IcmpSweep,
        Self::DnsUnasked,
        Self::DnsTunnel,
        Self::FragmentOverlap,
        Self::RateChange,
    ];

    /// Name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SynScan => "syn_scan",
            Self::SynFlood => "syn_flood",
            Self::UdpFlood => "udp_flood",
            Self::SpoofedFlood => "spoofed_flood",
            Self::ArpConflict => "arp_conflict",
            Self::ArpSweep => "arp_sweep",
            Self::IcmpSweep => "icmp_sweep",
            Self::DnsUnasked => "dns_unasked_answers",
            Self::DnsTunnel => "dns_tunnel",
            Self::FragmentOverlap => "fragment_overlap",
            Self::RateChange => "rate_change",
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::SynFlood | Self::SpoofedFlood | Self::ArpConflict => Severity::Alert,
            Self::SynScan
            | Self::UdpFlood
            | Self::ArpSweep
            | Self::IcmpSweep
            | Self::DnsUnasked
            | Self::DnsTunnel
            | Self::FragmentOverlap => Severity::Warning,
            Self::RateChange => Severity::Notice,
        }
    }
}

impl Findings {
    /// Detectors with these thresholds.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            second_start_ns: 0,
            rate: Rate::default(),
            floods: Floods::new(&thresholds),
            syn_probes: Probes::default(),
            echo_probes: Probes::default(),
            arp: Arp::default(),
            dns: DnsSigns::new(&thresholds),
            fragments: Fragments::default(),
            thresholds,
        }
    }

    /// Looks at a header summary. Records come roughly in the order of time: one that is up to two
    /// seconds late belongs to the present second.
    #[inline]
    pub fn packet(&mut self, record: &PacketRecord) {
        let time_ns = record.timestamp_ns();
        if time_ns.wrapping_sub(self.second_start_ns) >= SECOND_NS {
            self.turn(time_ns);
        }
        self.rate.count(record);
        let headers = record.headers();
        let tcp = Protocol::from_index(headers.protocol).is_tcp();
        let established = tcp && headers.tcp_flags & ACK != 0;
        self.floods.packet(headers, time_ns, tcp, established);
        if tcp {
            if headers.tcp_flags & SYN != 0 {
                self.syn(record);
            }
        } else if is_echo_request(headers) {
            self.echo(record);
        }
    }

    /// Ends the second, and the seconds without packets after it.
    #[cold]
    fn turn(&mut self, time_ns: u64) {
        let started = self.second_start_ns > 0;
        let late = time_ns < self.second_start_ns && self.second_start_ns - time_ns < LATE_NS;
        if late {
            return;
        }
        if !started || time_ns < self.second_start_ns {
            // The first record, or another recording.
            self.rate.restart();
            self.floods.end_second();
            self.second_start_ns = time_ns;
            return;
        }
        self.floods.end_second();
        let seconds = (time_ns - self.second_start_ns) / SECOND_NS;
        self.rate
            .end_seconds(&self.thresholds, self.second_start_ns, seconds);
        self.second_start_ns += seconds * SECOND_NS;
    }

    #[inline(never)]
    fn syn(&mut self, record: &PacketRecord) {
        let headers = record.headers();
        let (Some(src), Some(dst)) = (record.src(), record.dst()) else {
            return;
        };
        if headers.tcp_flags & ACK != 0 {
            self.syn_probes.answer(dst);
            return;
        }
        let Some((_, port)) = headers.ports() else {
            return;
        };
        self.syn_probes.add(&Probe {
            time_ns: record.timestamp_ns(),
            src,
            dst,
            port,
        });
    }

    #[inline(never)]
    fn echo(&mut self, record: &PacketRecord) {
        let (Some(src), Some(dst)) = (record.src(), record.dst()) else {
            return;
        };
        self.echo_probes.add(&Probe {
            time_ns: record.timestamp_ns(),
            src,
            dst,
            port: 0,
        });
    }

    /// Looks at the first bytes of an ARP frame or a fragment, which were parsed to `record`.
    pub fn excerpt(&mut self, record: &PacketRecord, frame: &[u8], link: Link) {
        let headers = record.headers();
        if headers.ether_type == ETHER_TYPE_ARP {
            self.arp.excerpt(record.timestamp_ns(), frame, link);
        } else if headers.has(FLAG_FRAGMENT) {
            self.fragments.excerpt(record.timestamp_ns(), frame, link);
        }
    }

    /// Looks at a DNS message in the UDP datagram `record`.
    pub(crate) fn dns(&mut self, record: &PacketRecord, message: &Message) {
        self.dns.message(record, message);
    }

    /// What was found so far, the worst first, at most [`MAX_PER_KIND`] of a kind; and how many
    /// more there were.
    #[must_use]
    pub fn found(&self) -> (Vec<Seen>, usize) {
        let thresholds = &self.thresholds;
        let mut all = Vec::new();
        self.syn_probes.scans(thresholds, &mut all);
        self.echo_probes.sweeps(thresholds, &mut all);
        self.floods.found(&mut all);
        self.arp.found(thresholds, &mut all);
        self.dns.found(thresholds, &mut all);
        self.fragments.found(thresholds, &mut all);
        self.rate.found(&mut all);
        all.sort_by(|a, b| {
            let rank = |seen: &Seen| std::cmp::Reverse((seen.kind.severity(), seen.packets));
            (rank(a), a.kind, a.first_ns).cmp(&(rank(b), b.kind, b.first_ns))
        });
        let mut told = [0; Kind::ALL.len()];
        let before = all.len();
        all.retain(|seen| {
            let count = &mut told[seen.kind as usize];
            *count += 1;
            *count <= MAX_PER_KIND
        });
        let omitted = before - all.len();
        (all, omitted)
    }
}

fn is_echo_request(headers: &Headers) -> bool {
    let icmp = headers.protocol == Protocol::Icmp as u8;
    let icmp6 = headers.protocol == Protocol::Icmp6 as u8;
    let whole = headers.status == 0 && !headers.has(FLAG_LATER_FRAGMENT);
    whole && ((icmp && headers.transport[0] == 8) || (icmp6 && headers.transport[0] == 128))
}

/// Offset and `EtherType` of what follows the link header and its VLAN tags.
fn network(frame: &[u8], link: Link) -> Option<(u16, usize)> {
    let (mut ether_type, mut offset) = match link {
        Link::Ethernet(_) => (be16(frame, 12)?, 14),
        Link::Network { ether_type, offset } => (ether_type, usize::try_from(offset).ok()?),
        Link::Ip if frame.first()? >> 4 == 6 => (0x86dd, 0),
        Link::Ip => (0x0800, 0),
    };
    while matches!(ether_type, 0x8100 | 0x88a8 | 0x9100) {
        ether_type = be16(frame, offset + 2)?;
        offset += 4;
    }
    Some((ether_type, offset))
}

fn be16(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use traffic_ebpf::{parse::parse, record::Summary};

    use super::*;

    #[test]
    fn made_up_sources_do_not_hide_a_scan() {
        let mut findings = Findings::new(Thresholds::default());
        for number in 0..100_000u32 {
            let time_ns = u64::from(number) * 100_000;
            let [a, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
            feed(
                &mut findings,
                time_ns,
                &syn([a, b, c, d], [10, 0, 0, 9], 80),
            );
            if number % 100 == 0 {
                let port = u16::try_from(number / 100 + 1).unwrap();
                feed(
                    &mut findings,
                    time_ns,
                    &syn([10, 0, 0, 66], [10, 0, 0, 5], port),
                );
            }
        }
        assert!(findings.syn_probes.len() <= probes::MAX_SOURCES);
        let (found, omitted) = findings.found();
        assert_eq!(omitted, 0);
        let scan = found
            .iter()
            .find(|seen| seen.kind == Kind::SynScan)
            .unwrap();
        assert_eq!(scan.addresses[0], Address::V4([10, 0, 0, 66]));
        let mut kinds: Vec<_> = found.iter().map(|seen| seen.kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [Kind::SynScan, Kind::SynFlood, Kind::SpoofedFlood]);
    }

    #[test]
    fn an_older_recording_is_no_flood() {
        let mut findings = Findings::new(Thresholds::default());
        let packet = |time_ns: u64| (time_ns, syn([10, 0, 0, 1], [10, 0, 0, 2], 80));
        let seconds = 1_000_000_000;
        let newer = (0..900).map(|n| packet(5000 * seconds + n * 10_000_000));
        let older = (0..9000).map(|n| packet(seconds + n * 10_000_000));
        for (time_ns, frame) in newer.chain(older) {
            feed(&mut findings, time_ns, &frame);
        }
        assert_eq!(findings.found().0, []);
    }

    proptest! {
        #[test]
        fn any_packets_are_survived_in_bounded_memory(
            frames in prop::collection::vec(
                (any::<u64>(), prop::collection::vec(any::<u8>(), 0..90), 0usize..5),
                0..300,
            ),
        ) {
            let starts: [&[u8]; 5] = [
                &[],
                &[0, 1, 8, 0, 6, 4, 0, 1],
                &[0x45, 0, 0, 60, 0, 1, 0x20],
                &[0x60, 0, 0, 0, 0, 40, 44],
                &[0x45, 0, 0, 60, 0, 1, 0, 0, 64, 17],
            ];
            let ether_types = [0x1234u16, 0x0806, 0x0800, 0x86dd, 0x0800];
            let mut findings = Findings::new(Thresholds::default());
            for (time_ns, bytes, kind) in frames {
                let ether_type = ether_types[kind].to_be_bytes();
                let frame = [&[2; 12][..], &ether_type, starts[kind], &bytes].concat();
                feed(&mut findings, time_ns, &frame);
            }
            let (found, _) = findings.found();
            prop_assert!(found.len() <= MAX_PER_KIND * Kind::ALL.len());
        }
    }

    fn feed(findings: &mut Findings, timestamp_ns: u64, frame: &[u8]) {
        let link = Link::Ethernet(None);
        let record = PacketRecord::new(Summary {
            timestamp_ns,
            wire_len: u32::try_from(frame.len()).unwrap(),
            headers: parse(frame, link).headers,
            ..Summary::EMPTY
        });
        findings.packet(&record);
        findings.excerpt(&record, frame, link);
    }

    fn syn(src: [u8; 4], dst: [u8; 4], port: u16) -> Vec<u8> {
        [
            &[2; 12][..],
            &[8, 0, 0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0],
            &src,
            &dst,
            &[0x9c, 0x40],
            &port.to_be_bytes(),
            &[0, 0, 0, 0, 0, 0, 0, 0, 0x50, SYN, 0, 0, 0, 0, 0, 0],
        ]
        .concat()
    }
}
