//! Who talks to whom: tables per address and port, frame sizes, first and last time.

mod cardinality;
mod heavy_hitters;
mod pairs;
mod sizes;
mod tables;

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use traffic_ebpf::{
    protocol::Protocol,
    record::{FLAG_IPV4, FLAG_IPV6, FLAG_MAC, FLAG_VLAN},
    tally::Count,
};

pub use self::tables::{FrameSizes, Table, Tables};
use self::{
    cardinality::Cardinality,
    heavy_hitters::HeavyHitters,
    pairs::{Flow, Host, NO_FLOW, Pair, pair_hash},
    sizes::SizeHistogram,
    tables::{frequent, table},
};
use crate::record::PacketRecord;

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

#[cfg(test)]
mod tests;
