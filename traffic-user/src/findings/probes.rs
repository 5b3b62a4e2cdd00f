//! Sources that try many targets: SYN scans, ICMP sweeps, ARP sweeps.

use std::{collections::HashMap, hash::BuildHasher};

use foldhash::quality::RandomState;

use super::{Kind, SECOND_NS, Seen, Threshold, Thresholds, distinct::Distinct, filter};
use crate::{
    record::Address,
    report::number::{count, counted},
};

/// Sources that are watched. When there are more, the less active half is forgotten.
pub(super) const MAX_SOURCES: usize = 1024;
/// Over which targets are counted.
const WINDOW_NS: u64 = 60 * SECOND_NS;

/// A packet that tries a target.
pub(super) struct Probe {
    pub(super) time_ns: u64,
    pub(super) src: Address,
    pub(super) dst: Address,
    /// 0 where the target has no port.
    pub(super) port: u16,
}

/// Targets by source.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    sources: HashMap<Address, Source, RandomState>,
    state: RandomState,
}

#[derive(Clone, Debug, Default)]
struct Source {
    window: Window,
    /// The window with the most targets among those that are over.
    best: Option<Box<Window>>,
    /// Of all windows.
    packets: u64,
}

#[derive(Clone, Debug, Default)]
struct Window {
    first_ns: u64,
    last_ns: u64,
    packets: u64,
    answers: u64,
    targets: Distinct,
    hosts: Distinct,
    ports: Distinct,
    example: Option<Address>,
}

impl Probes {
    /// Sources that are watched.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    pub(super) fn add(&mut self, probe: &Probe) {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&probe.src) {
            forget(&mut self.sources, |source| source.packets);
        }
        let source = self.sources.entry(probe.src).or_default();
        let window = &source.window;
        let over = probe.time_ns.abs_diff(window.first_ns) > WINDOW_NS;
        if over && window.packets > 0 {
            source.turn();
        }
        source.packets += 1;
        source.window.add(probe, &self.state);
    }

    /// An answer that `source` may have waited for.
    pub(super) fn answer(&mut self, source: Address) {
        if let Some(source) = self.sources.get_mut(&source) {
            source.window.answers += 1;
        }
    }

    pub(super) fn scans(&self, thresholds: &Thresholds, all: &mut Vec<Seen>) {
        let least = thresholds.get(Threshold::SynScanTargets);
        for (src, window) in self.best() {
            let targets = window.targets();
            if targets < least || window.answers * 2 >= targets {
                continue;
            }
            let (hosts, ports) = (window.count(&window.hosts), window.count(&window.ports));
            all.push(Seen {
                summary: format!(
                    "{src} tried {}{} ({}, {}) within a minute, and {} answered",
                    window.targets.about(),
                    counted(targets, "TCP target"),
                    counted(ports, "port"),
                    hosts_of(hosts),
                    count(window.answers)
                ),
                numbers: vec![
                    ("targets", targets),
                    ("addresses", hosts),
                    ("ports", ports),
                    ("answers", window.answers),
                ],
                filter: format!("{} and {}", filter::from(src), filter::syn(src)),
                ..window.seen(Kind::SynScan, src)
            });
        }
    }

    pub(super) fn sweeps(&self, thresholds: &Thresholds, all: &mut Vec<Seen>) {
        self.swept(
            thresholds.get(Threshold::IcmpSweepTargets),
            |src, window| {
                let targets = window.targets();
                all.push(Seen {
                    summary: format!(
                        "{src} sent echo requests to {}{} within a minute",
                        window.targets.about(),
                        hosts_of(targets)
                    ),
                    numbers: vec![("targets", targets)],
                    filter: format!("{} and {}", filter::from(src), filter::echo_request(src)),
                    ..window.seen(Kind::IcmpSweep, src)
                });
            },
        );
    }

    pub(super) fn arp_sweeps(&self, thresholds: &Thresholds, all: &mut Vec<Seen>) {
        self.swept(thresholds.get(Threshold::ArpSweepTargets), |src, window| {
            let targets = window.targets();
            all.push(Seen {
                summary: format!(
                    "{src} asked for {}{} by ARP within a minute",
                    window.targets.about(),
                    hosts_of(targets)
                ),
                numbers: vec![("targets", targets)],
                filter: format!("arp and {}", filter::from(src)),
                ..window.seen(Kind::ArpSweep, src)
            });
        });
    }

    fn swept(&self, least: u64, mut each: impl FnMut(Address, &Window)) {
        for (src, window) in self.best() {
            if window.targets() >= least {
                each(src, window);
            }
        }
    }

    /// Each source's window with the most targets, in a fixed order.
    fn best(&self) -> Vec<(Address, &Window)> {
        let sources = self.sources.iter();
        let mut best: Vec<_> = sources.map(|(src, source)| (*src, source.best())).collect();
        best.sort_by_key(|(src, _)| *src);
        best
    }
}

impl Source {
    fn turn(&mut self) {
        let over = std::mem::take(&mut self.window);
        let best = self.best.as_ref();
        if over.targets.count() > best.map_or(0, |best| best.targets.count()) {
            self.best = Some(Box::new(over));
        }
    }

    fn best(&self) -> &Window {
        let best = self.best.as_deref().unwrap_or(&self.window);
        if self.window.targets.count() > best.targets.count() {
            &self.window
        } else {
            best
        }
    }
}

impl Window {
    fn add(&mut self, probe: &Probe, state: &RandomState) {
        if self.packets == 0 {
            self.first_ns = probe.time_ns;
            self.example = Some(probe.dst);
        }
        self.first_ns = self.first_ns.min(probe.time_ns);
        self.last_ns = self.last_ns.max(probe.time_ns);
        self.packets += 1;
        self.targets.add(state.hash_one((probe.dst, probe.port)));
        if probe.port > 0 {
            self.hosts.add(state.hash_one(probe.dst));
            self.ports.add(state.hash_one(probe.port));
        }
    }

    /// Different hosts and ports together. Estimates of parts and whole must agree: there are not
    /// fewer targets than ports or hosts among them.
    fn targets(&self) -> u64 {
        let parts = self.count(&self.hosts).max(self.count(&self.ports));
        self.count(&self.targets).max(parts)
    }

    /// No more than there were packets, whatever the estimate.
    fn count(&self, distinct: &Distinct) -> u64 {
        distinct.count().min(self.packets)
    }

    fn seen(&self, kind: Kind, src: Address) -> Seen {
        Seen {
            kind,
            summary: String::new(),
            addresses: [Some(src), self.example].into_iter().flatten().collect(),
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            packets: self.packets,
            numbers: Vec::new(),
            filter: String::new(),
        }
    }
}

/// `1 address`, `12 addresses`.
fn hosts_of(hosts: u64) -> String {
    match hosts {
        1 => "1 address".to_owned(),
        more => format!("{} addresses", count(more)),
    }
}

/// Lets go what is not more active than the median.
pub(super) fn forget<K, V>(map: &mut HashMap<K, V, RandomState>, activity: impl Fn(&V) -> u64) {
    let mut activities: Vec<_> = map.values().map(&activity).collect();
    if activities.is_empty() {
        return;
    }
    let middle = activities.len() / 2;
    let (_, median, _) = activities.select_nth_unstable(middle);
    let median = *median;
    map.retain(|_, value| activity(value) > median);
}
