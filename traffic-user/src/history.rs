//! The newest packets, in bounded memory.

use crate::record::PacketRecord;

/// Keeps the newest records by timestamp.
///
/// Batches of several CPUs interleave, so records arrive out of order. The buffer takes twice
/// the capacity and then lets the older half go, which costs constant time per record.
#[derive(Clone, Debug)]
pub struct History {
    capacity: usize,
    records: Vec<PacketRecord>,
    pushed: u64,
    /// `capacity` newer records are known: what is older than this is not kept.
    oldest_kept_ns: u64,
}

impl History {
    /// A history of at most `capacity` records; 0 keeps none. Memory grows with use, to at most
    /// four times `capacity` records.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            records: Vec::new(),
            pushed: 0,
            oldest_kept_ns: 0,
        }
    }

    /// Takes records in any order of time.
    #[inline]
    pub fn extend(&mut self, records: &[PacketRecord]) {
        for record in records {
            self.push(record);
        }
    }

    /// Takes a record in any order of time.
    #[inline]
    pub fn push(&mut self, record: &PacketRecord) {
        self.pushed += 1;
        if self.capacity == 0 || record.timestamp_ns() < self.oldest_kept_ns {
            return;
        }
        if self.records.len() >= self.capacity.saturating_mul(2) {
            self.compact();
        }
        self.records.push(*record);
    }

    /// Records that were let go because newer ones fill the capacity.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.pushed
            .saturating_sub(u64::try_from(self.capacity).unwrap_or(u64::MAX))
    }

    /// The newest records, oldest first. Records of one time stay in the order of their arrival.
    #[must_use]
    pub fn into_sorted(mut self) -> Vec<PacketRecord> {
        self.compact();
        self.records.sort_by_key(PacketRecord::timestamp_ns);
        self.records
    }

    /// Lets all but the newest `capacity` records go. Of several with the same time at the edge,
    /// the last to arrive stay.
    fn compact(&mut self) {
        let Some(surplus) = self.records.len().checked_sub(self.capacity) else {
            return;
        };
        if surplus == 0 {
            return;
        }
        let mut times: Vec<u64> = self
            .records
            .iter()
            .map(PacketRecord::timestamp_ns)
            .collect();
        let (older, &mut edge, _) = times.select_nth_unstable(surplus);
        let mut surplus_at_edge = older.iter().filter(|time| **time == edge).count();
        self.records.retain(|record| {
            let time = record.timestamp_ns();
            let goes = time < edge || (time == edge && surplus_at_edge > 0);
            surplus_at_edge -= usize::from(goes && time == edge);
            !goes
        });
        self.oldest_kept_ns = edge;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use traffic_ebpf::record::Summary;

    use super::*;

    #[test]
    fn the_newest_records_stay_whatever_their_order() {
        let kept = kept(3, &[50, 10, 40, 20, 30, 60, 5, 45]);
        assert_eq!(kept, [(45, 7), (50, 0), (60, 5)]);
    }

    #[test]
    fn records_of_one_time_stay_in_the_order_of_arrival() {
        assert_eq!(kept(2, &[7, 7, 7, 7, 7]), [(7, 3), (7, 4)]);
    }

    #[test]
    fn capacity_zero_keeps_nothing_and_counts_everything() {
        let mut history = History::new(0);
        history.push(&record(1, 0));
        assert_eq!(history.evicted(), 1);
        assert!(history.into_sorted().is_empty());
    }

    #[test]
    fn nothing_is_evicted_below_the_capacity() {
        let mut history = History::new(2);
        history.push(&record(2, 0));
        history.push(&record(1, 1));
        assert_eq!(history.evicted(), 0);
        history.push(&record(3, 2));
        assert_eq!(history.evicted(), 1);
    }

    proptest! {
        #[test]
        fn history_is_bounded_and_is_the_newest(
            capacity in 0usize..20,
            times in prop::collection::vec(0u64..50, 0..300),
        ) {
            let mut expected: Vec<(u64, u32)> = (0..).zip(&times).map(|(i, t)| (*t, i)).collect();
            expected.sort_unstable();
            expected.drain(..expected.len().saturating_sub(capacity));
            prop_assert_eq!(kept(capacity, &times), expected);
        }

        #[test]
        fn the_buffer_never_exceeds_twice_the_capacity(
            capacity in 0usize..20,
            times in prop::collection::vec(any::<u64>(), 0..300),
        ) {
            let mut history = History::new(capacity);
            for time in times {
                history.push(&record(time, 0));
                prop_assert!(history.records.len() <= 2 * capacity);
            }
        }
    }

    /// Time and order of arrival of what a history keeps.
    fn kept(capacity: usize, times: &[u64]) -> Vec<(u64, u32)> {
        let mut history = History::new(capacity);
        for (index, time) in (0..).zip(times) {
            history.push(&record(*time, index));
        }
        let sorted = history.into_sorted();
        sorted
            .iter()
            .map(|record| (record.timestamp_ns(), record.wire_len()))
            .collect()
    }

    fn record(timestamp_ns: u64, wire_len: u32) -> PacketRecord {
        PacketRecord::new(Summary {
            timestamp_ns,
            wire_len,
            ..Summary::EMPTY
        })
    }
}
