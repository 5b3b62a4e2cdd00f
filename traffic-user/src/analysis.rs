//! Who talks to whom: tables per address and port, frame sizes, first and last time.

mod cardinality;
mod heavy_hitters;
mod sizes;

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;
use traffic_ebpf::{
    protocol::Protocol,
    record::{FLAG_IPV4, FLAG_IPV6, FLAG_MAC, FLAG_VLAN},
    tally::Count,
};

use self::{cardinality::Cardinality, heavy_hitters::HeavyHitters, sizes::SizeHistogram};
use crate::record::{Address, PacketRecord};

/// Addresses that each table counts exactly: what 2.6 MiB hold.
pub const EXACT_HOSTS: usize = 57_344;
/// Conversations that are counted exactly: what 1.9 MiB hold.
pub const EXACT_CONVERSATIONS: usize = 28_672;

/// Flows whose packets are summed before they reach the tables; a power of two.
const CACHED_FLOWS: usize = 256;
/// Sums that the tables take in one go: a processor that waits for the memory of one looks for the
/// next meanwhile.
const SETTLED_FLOWS: usize = 64;

/// Folds header summaries into tables, in memory that does not depend on their number.
#[derive(Clone, Debug)]
pub struct Analysis {
    cache: Vec<Flow>,
    cache_state: FixedState,
    /// Sums that were pushed out of the cache, for the tables.
    evicted: Vec<Flow>,
    sources: HeavyHitters<Host>,
    destinations: HeavyHitters<Host>,
    conversations: HeavyHitters<Pair>,
    source_estimate: Option<Cardinality>,
    ports: Vec<[u64; 2]>,
    sizes: SizeHistogram,
    /// By byte 13 of the TCP header.
    tcp_flags: Vec<u64>,
    /// By VLAN id.
    vlans: Vec<Count>,
    records: u64,
    first_ns: u64,
    last_ns: u64,
}

/// An address as a table key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Host {
    address: [u8; 16],
    /// `FLAG_IPV4`, `FLAG_IPV6` or `FLAG_MAC`.
    family: u8,
}

/// Two addresses as a table key, the lower one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    low: [u8; 16],
    high: [u8; 16],
    family: u8,
}

/// Packets from one address to another that the tables do not have yet.
#[derive(Clone, Copy, Debug)]
struct Flow {
    count: Count,
    src: [u8; 16],
    dst: [u8; 16],
    family: u8,
}

const NO_FLOW: Flow = Flow {
    count: Count {
        packets: 0,
        bytes: 0,
    },
    src: [0; 16],
    dst: [0; 16],
    family: 0,
};

/// What [`Analysis::tables`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    /// Records that were folded.
    pub records: u64,
    /// Different source addresses, exact up to [`EXACT_HOSTS`].
    pub unique_sources: u64,
    /// Standard error of `unique_sources` in percent, if it is an estimate.
    pub unique_sources_error: Option<f64>,
    /// By source address, most packets first.
    pub sources: Table,
    /// By destination address, most packets first.
    pub destinations: Table,
    /// By pair of addresses, as `A <-> B`, most packets first.
    pub conversations: Table,
    /// By transport port, as `443/tcp`, most packets first; always exact. Each packet counts once,
    /// for the lower of its two ports, which is usually the service.
    pub ports: Table,
    /// Frame sizes; `None` without records.
    pub sizes: Option<FrameSizes>,
    /// TCP packets by byte 13 of the header, most packets first; always exact.
    pub tcp_flags: Vec<(u8, u64)>,
    /// Frames by VLAN id, the outer one of two, most packets first; always exact.
    pub vlans: Vec<(u16, Count)>,
    /// Timestamps of the earliest and the latest record in nanoseconds since the Unix epoch;
    /// `None` without records.
    pub times_ns: Option<(u64, u64)>,
}

/// Rows of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Label, packets and bytes.
    pub rows: Vec<(String, Count)>,
    /// Packets by which each row may be short, and which a missing row may have; 0 = exact.
    pub max_missed: u64,
}

/// Frame sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSizes {
    /// Smallest.
    pub min: u32,
    /// Half are at most this long.
    pub median: u32,
    /// 95 % are at most this long.
    pub p95: u32,
    /// Longest.
    pub max: u32,
    /// Frames by range of size: smallest and largest size, frames.
    pub ranges: Vec<(u32, Option<u32>, u64)>,
}

impl Default for Analysis {
    fn default() -> Self {
        Self::with_capacity(EXACT_HOSTS, EXACT_CONVERSATIONS)
    }
}

impl Analysis {
    fn with_capacity(hosts: usize, conversations: usize) -> Self {
        Self {
            cache: vec![NO_FLOW; CACHED_FLOWS],
            cache_state: FixedState::default(),
            evicted: Vec::with_capacity(SETTLED_FLOWS),
            sources: HeavyHitters::new(hosts),
            destinations: HeavyHitters::new(hosts),
            conversations: HeavyHitters::new(conversations),
            source_estimate: None,
            ports: vec![[0; 2]; PORT_KINDS.len() << 16],
            sizes: SizeHistogram::new(),
            tcp_flags: vec![0; 1 << 8],
            vlans: vec![Count::default(); 1 << 12],
            records: 0,
            first_ns: u64::MAX,
            last_ns: 0,
        }
    }

    /// Folds one record.
    #[inline]
    pub fn add(&mut self, record: &PacketRecord) {
        let time_ns = record.timestamp_ns();
        let bytes = u64::from(record.wire_len());
        self.records += 1;
        self.first_ns = self.first_ns.min(time_ns);
        self.last_ns = self.last_ns.max(time_ns);
        self.sizes.add(record.wire_len());
        let headers = record.headers();
        if let Some(flags) = headers.read_tcp_flags() {
            self.tcp_flags[usize::from(flags)] += 1;
        }
        if headers.has(FLAG_VLAN) {
            let id = usize::from(headers.vlan[0] & 0x0fff);
            self.vlans[id] += Count { packets: 1, bytes };
        }
        if let Some(index) = port_index(record) {
            self.ports[index][0] += 1;
            self.ports[index][1] += bytes;
        }
        self.add_addresses(record, bytes);
    }

    /// Packets of a flow come in trains, so most of them only touch the flow's line in the cache;
    /// the tables take the sum when another flow needs the line.
    #[inline]
    fn add_addresses(&mut self, record: &PacketRecord, bytes: u64) {
        let headers = record.headers();
        let family = headers.flags & (FLAG_IPV4 | FLAG_IPV6 | FLAG_MAC);
        if family == 0 {
            return;
        }
        let count = Count { packets: 1, bytes };
        let hash = pair_hash(
            &self.cache_state,
            &headers.src_addr,
            &headers.dst_addr,
            family,
        );
        let index = usize::try_from(hash % CACHED_FLOWS as u64).expect("index is small");
        let line = &mut self.cache[index];
        let same = line.src == headers.src_addr && line.dst == headers.dst_addr;
        if same && line.family == family {
            line.count += count;
            return;
        }
        let flow = Flow {
            count,
            src: headers.src_addr,
            dst: headers.dst_addr,
            family,
        };
        let evicted = std::mem::replace(line, flow);
        if evicted.count.packets > 0 {
            self.evicted.push(evicted);
            if self.evicted.len() >= SETTLED_FLOWS {
                self.settle();
            }
        }
    }

    /// Adds what was pushed out of the cache to the tables.
    #[inline(never)]
    fn settle(&mut self) {
        let mut flows = std::mem::take(&mut self.evicted);
        for flow in &flows {
            if self.sources.add(flow.source(), flow.count) {
                self.count_source(flow.source());
            }
        }
        // Many hosts talk to one.
        for run in flows.chunk_by(|a, b| a.destination() == b.destination()) {
            let mut count = Count::default();
            for flow in run {
                count += flow.count;
            }
            self.destinations.add(run[0].destination(), count);
        }
        for flow in &flows {
            self.conversations.add(flow.pair(), flow.count);
        }
        flows.clear();
        self.evicted = flows;
    }

    /// Estimates from the moment on when the table begins to forget. An address may be counted
    /// again: it is one.
    fn count_source(&mut self, new: Host) {
        if self.sources.max_missed() == 0 && self.sources.keys().len() < self.sources.capacity() {
            return;
        }
        let state = &self.cache_state;
        if let Some(estimate) = &mut self.source_estimate {
            estimate.add(state.hash_one(new));
            return;
        }
        // The table is full and has forgotten nothing yet.
        let mut estimate = Cardinality::new();
        for host in self.sources.keys() {
            estimate.add(state.hash_one(host));
        }
        self.source_estimate = Some(estimate);
    }

    /// Packets folded so far.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Tables of at most `top` rows of what was folded so far; folding may go on.
    #[must_use]
    pub fn tables(&mut self, top: usize) -> Tables {
        for index in 0..self.cache.len() {
            let flow = std::mem::replace(&mut self.cache[index], NO_FLOW);
            if flow.count.packets > 0 {
                self.evicted.push(flow);
            }
        }
        self.settle();
        let estimated = self.sources.max_missed() > 0;
        let estimate = self.source_estimate.as_ref().filter(|_| estimated);
        Tables {
            records: self.records,
            unique_sources: estimate
                .map_or(self.sources.keys().len() as u64, Cardinality::estimate),
            unique_sources_error: estimate.map(|_| Cardinality::STANDARD_ERROR_PERCENT),
            sources: table(&self.sources, top, |host| host.address().to_string()),
            destinations: table(&self.destinations, top, |host| host.address().to_string()),
            conversations: table(&self.conversations, top, Pair::label),
            ports: self.port_table(top),
            sizes: self.sizes.min().map(|min| FrameSizes {
                min,
                median: self.sizes.percentile(50),
                p95: self.sizes.percentile(95),
                max: self.sizes.max(),
                ranges: self.sizes.ranges(),
            }),
            tcp_flags: frequent(&self.tcp_flags, |packets| *packets, top),
            vlans: frequent(&self.vlans, |count| count.packets, top),
            times_ns: (self.records > 0).then_some((self.first_ns, self.last_ns)),
        }
    }

    fn port_table(&self, top: usize) -> Table {
        let mut used: Vec<_> = (0..self.ports.len())
            .map(|index| (index, self.ports[index]))
            .filter(|(_, [packets, _])| *packets > 0)
            .collect();
        used.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        used.truncate(top);
        let row = |(index, [packets, bytes]): (usize, [u64; 2])| {
            let label = format!("{}/{}", index & 0xffff, PORT_KINDS[index >> 16]);
            (label, Count { packets, bytes })
        };
        Table {
            rows: used.into_iter().map(row).collect(),
            max_missed: 0,
        }
    }
}

/// Transport protocols with ports, in the order of the port counters.
const PORT_KINDS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Where the packet's lower port is counted.
#[inline]
fn port_index(record: &PacketRecord) -> Option<usize> {
    let headers = record.headers();
    let (src, dst) = headers.ports()?;
    let protocol = Protocol::from_index(headers.protocol);
    let kind = if protocol.is_tcp() {
        0
    } else if protocol.is_udp() {
        1
    } else {
        2
    };
    Some(kind << 16 | usize::from(src.min(dst)))
}

fn table<K: Copy + Eq + Hash + Ord>(
    counts: &HeavyHitters<K>,
    top: usize,
    label: impl Fn(&K) -> String,
) -> Table {
    let rows = counts.top(top);
    Table {
        rows: rows
            .iter()
            .map(|(key, count)| (label(key), *count))
            .collect(),
        max_missed: counts.max_missed(),
    }
}

/// Indices and values that occur, most packets first, at most `top`.
fn frequent<I: TryFrom<usize>, T: Copy>(
    counts: &[T],
    packets: impl Fn(&T) -> u64,
    top: usize,
) -> Vec<(I, T)> {
    let mut used: Vec<_> = counts.iter().enumerate().collect();
    used.retain(|(_, count)| packets(count) > 0);
    used.sort_by_key(|(_, count)| std::cmp::Reverse(packets(count)));
    used.truncate(top);
    used.into_iter()
        .filter_map(|(index, count)| Some((I::try_from(index).ok()?, *count)))
        .collect()
}

#[inline]
fn pair_hash(state: &FixedState, first: &[u8; 16], second: &[u8; 16], family: u8) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u128(u128::from_ne_bytes(*first));
    hasher.write_u128(u128::from_ne_bytes(*second));
    hasher.write_u8(family);
    hasher.finish()
}

impl Hash for Host {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u128(u128::from_ne_bytes(self.address));
        hasher.write_u8(self.family);
    }
}

impl Hash for Pair {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u128(u128::from_ne_bytes(self.low));
        hasher.write_u128(u128::from_ne_bytes(self.high));
        hasher.write_u8(self.family);
    }
}

impl Flow {
    fn source(&self) -> Host {
        Host {
            address: self.src,
            family: self.family,
        }
    }

    fn destination(&self) -> Host {
        Host {
            address: self.dst,
            family: self.family,
        }
    }

    fn pair(&self) -> Pair {
        Pair {
            low: self.src.min(self.dst),
            high: self.src.max(self.dst),
            family: self.family,
        }
    }
}

impl Host {
    fn address(&self) -> Address {
        let [a, b, c, d, e, f, ..] = self.address;
        match self.family {
            FLAG_IPV4 => Address::V4([a, b, c, d]),
            FLAG_IPV6 => Address::V6(self.address),
            _ => Address::Mac([a, b, c, d, e, f]),
        }
    }
}

impl Pair {
    fn label(&self) -> String {
        let family = self.family;
        let [low, high] = [self.low, self.high].map(|address| Host { address, family }.address());
        format!("{low} <-> {high}")
    }
}

#[cfg(test)]
mod tests {
    use traffic_ebpf::record::{Headers, Summary};

    use super::*;

    #[test]
    fn packets_are_counted_by_address_conversation_and_lower_port() {
        let mut analysis = Analysis::default();
        analysis.add(&tcp(1000, [10, 0, 0, 1], [10, 0, 0, 2], (50_000, 443), 60));
        analysis.add(&tcp(
            3000,
            [10, 0, 0, 2],
            [10, 0, 0, 1],
            (443, 50_000),
            1514,
        ));
        analysis.add(&tcp(2000, [10, 0, 0, 1], [10, 0, 0, 3], (50_001, 443), 74));
        analysis.add(&arp(4000));
        let tables = analysis.tables(10);
        assert_eq!(tables.records, 4);
        assert_eq!(
            (tables.unique_sources, tables.unique_sources_error),
            (3, None)
        );
        let sources = [
            ("10.0.0.1", 2, 134),
            ("10.0.0.2", 1, 1514),
            ("02:00:00:00:00:01", 1, 42),
        ];
        assert_eq!(rows(&tables.sources), sources);
        let destinations = [
            ("10.0.0.1", 1, 1514),
            ("10.0.0.3", 1, 74),
            ("10.0.0.2", 1, 60),
            ("ff:ff:ff:ff:ff:ff", 1, 42),
        ];
        assert_eq!(rows(&tables.destinations), destinations);
        let conversations = [
            ("10.0.0.1 <-> 10.0.0.2", 2, 1574),
            ("10.0.0.1 <-> 10.0.0.3", 1, 74),
            ("02:00:00:00:00:01 <-> ff:ff:ff:ff:ff:ff", 1, 42),
        ];
        assert_eq!(rows(&tables.conversations), conversations);
        assert_eq!(rows(&tables.ports), [("443/tcp", 3, 1648)]);
        let sizes = FrameSizes {
            min: 42,
            median: 60,
            p95: 1514,
            max: 1514,
            ranges: vec![
                (0, Some(19), 0),
                (20, Some(39), 0),
                (40, Some(79), 3),
                (80, Some(159), 0),
                (160, Some(319), 0),
                (320, Some(639), 0),
                (640, Some(1279), 0),
                (1280, Some(2559), 1),
                (2560, Some(5119), 0),
                (5120, None, 0),
            ],
        };
        assert_eq!(tables.sizes, Some(sizes));
        assert_eq!(tables.times_ns, Some((1000, 4000)));
    }

    #[test]
    fn packets_without_an_address_are_only_measured() {
        let mut analysis = Analysis::default();
        analysis.add(&record(5, 10, Headers::EMPTY));
        let tables = analysis.tables(10);
        assert_eq!((tables.records, tables.unique_sources), (1, 0));
        assert_eq!(tables.sources, Table::default());
        assert_eq!(tables.sizes.map(|sizes| sizes.median), Some(10));
    }

    #[test]
    fn no_packets_have_no_sizes_and_no_times() {
        let tables = Analysis::default().tables(10);
        assert_eq!((tables.sizes, tables.times_ns), (None, None));
    }

    #[test]
    fn the_same_bytes_of_another_family_are_another_address() {
        let mut analysis = Analysis::default();
        let address = [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for flags in [FLAG_IPV4, FLAG_IPV6, FLAG_MAC] {
            let headers = Headers {
                src_addr: address,
                flags,
                ..Headers::EMPTY
            };
            analysis.add(&record(1, 60, headers));
        }
        let tables = analysis.tables(10);
        assert_eq!(tables.unique_sources, 3);
        assert_eq!(
            rows(&tables.sources),
            [
                ("2.0.0.0", 1, 60),
                ("200:0:1::", 1, 60),
                ("02:00:00:00:00:01", 1, 60)
            ]
        );
    }

    #[test]
    fn beyond_the_bound_sources_are_estimated_and_rows_say_what_they_miss() {
        let mut analysis = Analysis::with_capacity(896, 896);
        for number in 0..20_000u32 {
            analysis.add(&tcp(1, number.to_be_bytes(), [10, 0, 0, 2], (1, 2), 60));
            analysis.add(&tcp(1, [10, 0, 0, 1], [10, 0, 0, 2], (1, 2), 60));
        }
        let tables = analysis.tables(1);
        assert!(
            tables.unique_sources.abs_diff(20_001) < 660,
            "{}",
            tables.unique_sources
        );
        assert!(tables.unique_sources_error.is_some());
        assert!((1..=90).contains(&tables.sources.max_missed));
        let (address, count) = &tables.sources.rows[0];
        assert_eq!(address, "10.0.0.1");
        assert!(20_000 - count.packets <= tables.sources.max_missed);
        assert_eq!(
            rows(&tables.destinations),
            [("10.0.0.2", 40_000, 2_400_000)]
        );
        assert_eq!(tables.destinations.max_missed, 0);
    }

    #[test]
    fn the_bound_itself_is_exact() {
        let mut analysis = Analysis::with_capacity(100, 100);
        for number in 0..100u32 {
            analysis.add(&tcp(1, number.to_be_bytes(), [10, 0, 0, 2], (1, 2), 60));
        }
        let tables = analysis.tables(1);
        assert_eq!(
            (tables.unique_sources, tables.unique_sources_error),
            (100, None)
        );
        assert_eq!(tables.sources.max_missed, 0);
    }

    #[test]
    fn flows_that_share_a_cache_line_are_not_mixed() {
        let mut analysis = Analysis::default();
        for _ in 0..3 {
            for last in 0..=255 {
                for third in 0..4 {
                    analysis.add(&tcp(1, [10, 0, third, last], [10, 1, 0, 1], (1, 2), 60));
                }
            }
        }
        let tables = analysis.tables(2000);
        assert_eq!(tables.sources.rows.len(), 1024);
        assert!(
            tables
                .sources
                .rows
                .iter()
                .all(|(_, count)| count.packets == 3)
        );
    }

    fn rows(table: &Table) -> Vec<(&str, u64, u64)> {
        let rows = table.rows.iter();
        rows.map(|(label, count)| (label.as_str(), count.packets, count.bytes))
            .collect()
    }

    fn tcp(
        time_ns: u64,
        src: [u8; 4],
        dst: [u8; 4],
        ports: (u16, u16),
        bytes: u32,
    ) -> PacketRecord {
        let mut headers = Headers {
            flags: FLAG_IPV4,
            protocol: Protocol::Tcp as u8,
            ..Headers::EMPTY
        };
        headers.src_addr[..4].copy_from_slice(&src);
        headers.dst_addr[..4].copy_from_slice(&dst);
        headers.transport[..2].copy_from_slice(&ports.0.to_be_bytes());
        headers.transport[2..].copy_from_slice(&ports.1.to_be_bytes());
        record(time_ns, bytes, headers)
    }

    fn arp(time_ns: u64) -> PacketRecord {
        let mut headers = Headers {
            flags: FLAG_MAC,
            protocol: Protocol::Arp as u8,
            ..Headers::EMPTY
        };
        headers.src_addr[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        headers.dst_addr[..6].copy_from_slice(&[0xff; 6]);
        record(time_ns, 42, headers)
    }

    fn record(timestamp_ns: u64, wire_len: u32, headers: Headers) -> PacketRecord {
        PacketRecord::new(Summary {
            timestamp_ns,
            wire_len,
            headers,
            ..Summary::EMPTY
        })
    }
}
