//! The largest flows.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use super::record::FlowRecord;

/// The flows with the most bytes of all that were offered.
#[derive(Clone, Debug)]
pub(super) struct Top {
    heap: BinaryHeap<Reverse<BySize>>,
    capacity: usize,
}

/// A flow that is compared by its bytes; of equal ones, the earlier is larger.
#[derive(Clone, Debug)]
struct BySize(FlowRecord);

impl Top {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            capacity,
        }
    }

    /// Takes a flow of so many bytes, if it is one of the largest.
    pub(super) fn offer(&mut self, bytes: u64, flow: impl FnOnce() -> FlowRecord) {
        if self.heap.len() < self.capacity {
            self.heap.push(Reverse(BySize(flow())));
        } else if let Some(mut smallest) = self.heap.peek_mut()
            && smallest.0.0.bytes() <= bytes
        {
            let flow = BySize(flow());
            if flow > smallest.0 {
                *smallest = Reverse(flow);
            }
        }
    }

    /// The largest, largest first.
    pub(super) fn into_sorted(self, count: usize) -> Vec<FlowRecord> {
        let flows = self.heap.into_sorted_vec().into_iter();
        flows
            .map(|Reverse(BySize(flow))| flow)
            .take(count)
            .collect()
    }
}

impl BySize {
    fn rank(&self) -> impl Ord {
        let flow = &self.0;
        let ends = (flow.src_addr, flow.src_port, flow.dst_addr, flow.dst_port);
        let place = (flow.interface, flow.vlan, flow.ip_proto);
        (flow.bytes(), Reverse((flow.first_ns(), place, ends)))
    }
}

impl Ord for BySize {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for BySize {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BySize {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for BySize {}
