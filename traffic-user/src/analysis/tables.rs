//! What the analysis found, in rows.

use std::{cmp::Reverse, hash::Hash};

use traffic_ebpf::tally::Count;

use super::heavy_hitters::HeavyHitters;

/// What [`super::Analysis::tables`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    /// Records that were folded.
    pub records: u64,
    /// Different source addresses, exact up to [`super::EXACT_HOSTS`].
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

/// The table of the keys with the most packets, at most `top`.
pub(super) fn table<K: Copy + Eq + Hash + Ord>(
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
pub(super) fn frequent<I: TryFrom<usize>, T: Copy>(
    counts: &[T],
    packets: impl Fn(&T) -> u64,
    top: usize,
) -> Vec<(I, T)> {
    let mut used: Vec<_> = counts.iter().enumerate().collect();
    used.retain(|(_, count)| packets(count) > 0);
    used.sort_by_key(|(_, count)| Reverse(packets(count)));
    used.truncate(top);
    used.into_iter()
        .filter_map(|(index, count)| Some((I::try_from(index).ok()?, *count)))
        .collect()
}
