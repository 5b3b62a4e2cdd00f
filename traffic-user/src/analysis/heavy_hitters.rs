//! Counts per key in bounded memory.

use std::{
    cmp::Reverse,
    hash::{BuildHasher, Hash},
};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use traffic_ebpf::tally::Count;

/// Counts keys: exactly while they fit, and after that the frequent ones.
///
/// A full table lets the rarer half of its keys go, as Misra and Gries (1982) do in the batches
/// of Anderson et al., "A High-Performance Algorithm for Identifying Frequent Items in Data
/// Streams" (2017). Every count is then a lower bound, short by at most
/// [`HeavyHitters::max_missed`], and a key that occurred more often than that is in the table.
/// `max_missed` is at most two packets in `capacity`.
///
/// The hash has a random seed, so that nobody can choose addresses that collide.
#[derive(Clone, Debug)]
pub(crate) struct HeavyHitters<K> {
    table: HashTable<Entry<K>>,
    state: RandomState,
    capacity: usize,
    max_missed: u64,
}

/// Rows beyond twice the wanted ones from which [`HeavyHitters::top`] selects.
const SELECTED_AT_ONCE: usize = 256;

#[derive(Clone, Debug)]
struct Entry<K> {
    count: Count,
    /// Packets that may have been forgotten before the key came (back) into the table. It stops
    /// at its maximum, which a table of 32,768 keys reaches after 10^13 packets.
    missed: u32,
    key: K,
}

impl<K> Entry<K> {
    /// The key did not occur more often than this.
    fn upper_bound(&self) -> u64 {
        self.count.packets + u64::from(self.missed)
    }
}

impl<K: Copy + Eq + Hash + Ord> HeavyHitters<K> {
    /// A table of at most `capacity` keys. Memory grows with use; for a capacity of 7/8 of a
    /// power of two, which hashbrown fills, none is wasted.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            table: HashTable::new(),
            state: RandomState::default(),
            capacity,
            max_missed: 0,
        }
    }

    /// Adds `count` to `key`; whether the key was not in the table.
    #[inline]
    pub(crate) fn add(&mut self, key: K, count: Count) -> bool {
        let hash = self.state.hash_one(key);
        if let Some(entry) = self.table.find_mut(hash, |entry| entry.key == key) {
            entry.count += count;
            return false;
        }
        self.add_new(hash, key, count);
        true
    }

    #[inline(never)]
    fn add_new(&mut self, hash: u64, key: K, count: Count) {
        if self.table.len() >= self.capacity {
            self.purge();
        }
        let entry = Entry {
            count,
            missed: u32::try_from(self.max_missed).unwrap_or(u32::MAX),
            key,
        };
        self.insert(hash, entry);
    }

    fn insert(&mut self, hash: u64, entry: Entry<K>) {
        let state = &self.state;
        self.table
            .insert_unique(hash, entry, |entry| state.hash_one(entry.key));
    }

    /// Lets every key go that occurred at most as often as the median key.
    #[cold]
    fn purge(&mut self) {
        // No key can have occurred less often. In a flood most did not occur more often either.
        self.max_missed += 1;
        let mut frequent = self.more_frequent();
        let len = self.table.len();
        if frequent.len() >= len - len / 2 {
            let mut bounds: Vec<u64> = self.table.iter().map(Entry::upper_bound).collect();
            let (_, median, _) = bounds.select_nth_unstable(len / 2);
            self.max_missed = self.max_missed.max(*median);
            frequent = self.more_frequent();
        }
        // Emptied and filled again, because a table with traces of removed keys would grow.
        self.table.clear();
        for entry in frequent {
            self.insert(self.state.hash_one(entry.key), entry);
        }
    }

    /// Keys that occurred more often than [`HeavyHitters::max_missed`].
    fn more_frequent(&self) -> Vec<Entry<K>> {
        let entries = self.table.iter();
        let frequent = entries.filter(|entry| entry.upper_bound() > self.max_missed);
        frequent.cloned().collect()
    }

    /// Keys that fit.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Packets by which a count may be short; 0 while counts are exact.
    pub(crate) fn max_missed(&self) -> u64 {
        self.max_missed
    }

    /// Keys in the table.
    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = K> {
        self.table.iter().map(|entry| entry.key)
    }

    /// The `top` keys with the most packets, most first; of equal ones those with more bytes.
    pub(crate) fn top(&self, top: usize) -> Vec<(K, Count)> {
        let order = |(key, count): &(K, Count)| (Reverse((count.packets, count.bytes)), *key);
        let keep = |rows: &mut Vec<(K, Count)>| {
            if top < rows.len() {
                rows.select_nth_unstable_by_key(top, order);
                rows.truncate(top);
            }
        };
        // Most keys of a large table are rarer than those that are kept by then.
        let mut rows = Vec::new();
        let mut least = 0;
        for entry in self.table.iter().filter(|_| top > 0) {
            if entry.count.packets < least {
                continue;
            }
            rows.push((entry.key, entry.count));
            if rows.len() >= top.saturating_mul(2).saturating_add(SELECTED_AT_ONCE) {
                keep(&mut rows);
                least = rows
                    .iter()
                    .map(|(_, count)| count.packets)
                    .min()
                    .unwrap_or(0);
            }
        }
        keep(&mut rows);
        rows.sort_unstable_by_key(order);
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_are_exact_while_keys_fit() {
        let mut table = HeavyHitters::new(3);
        for key in [7, 8, 7, 9, 7, 8] {
            table.add(key, packet());
        }
        assert_eq!(table.max_missed(), 0);
        assert_eq!(table.top(2), [(7, count(3)), (8, count(2))]);
        assert_eq!(table.top(9).len(), 3);
        assert_eq!(table.top(0), []);
    }

    #[test]
    fn a_frequent_key_survives_a_flood() {
        let mut table = HeavyHitters::new(56);
        for key in 1000..11_000 {
            table.add(key, packet());
            if key % 10 == 0 {
                table.add(1, packet());
            }
        }
        let (key, counted) = table.top(1)[0];
        assert_eq!(key, 1);
        let missed = 1000 - counted.packets;
        assert!(missed <= table.max_missed(), "{missed}");
        assert!(table.max_missed() <= 2 * 11_000 / 56);
    }

    #[test]
    fn equal_keys_are_in_a_fixed_order() {
        let mut table = HeavyHitters::new(100);
        for key in [5, 3, 9, 1] {
            table.add(key, packet());
        }
        let keys: Vec<_> = table.top(3).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [1, 3, 5]);
    }

    proptest! {
        #[test]
        fn counts_are_lower_bounds_within_the_stated_error(
            capacity in 1usize..30,
            keys in prop::collection::vec((0u32..60).prop_map(|k| k * k / 60), 0..2000),
        ) {
            let mut table = HeavyHitters::new(capacity);
            let mut truth = HashMap::<u32, u64>::new();
            for key in &keys {
                table.add(*key, packet());
                *truth.entry(*key).or_default() += 1;
                prop_assert!(table.keys().len() <= capacity);
            }
            prop_assert!(table.max_missed() <= 2 * keys.len() as u64 / capacity as u64);
            let kept: HashMap<_, _> = table.top(usize::MAX).into_iter().collect();
            for (key, packets) in truth {
                let counted = kept.get(&key).map_or(0, |count| count.packets);
                prop_assert!(counted <= packets);
                prop_assert!(packets - counted <= table.max_missed());
            }
        }
    }

    fn packet() -> Count {
        count(1)
    }

    fn count(packets: u64) -> Count {
        Count {
            packets,
            bytes: 60 * packets,
        }
    }
}
