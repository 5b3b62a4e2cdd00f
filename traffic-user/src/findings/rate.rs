//! Seconds that differ much from those before them.

use super::{Kind, SECOND_NS, Seen, Threshold, Thresholds, filter};
use crate::{
    record::{Address, PacketRecord},
    report::number::{count, counted},
};

/// Seconds that a second is compared with.
const BASE_SECONDS: usize = 10;
/// One packet in this many says where it goes.
const VOTE_EVERY: u64 = 64;
/// Changes that are kept.
const MAX_CHANGES: usize = 64;

/// Packets per second, and where they jumped.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    packets: u64,
    candidate: Option<Address>,
    votes: u32,
    /// The newest seconds, as a ring.
    before: [u64; BASE_SECONDS],
    /// Seconds since the start, or since the rate last changed.
    seconds: usize,
    /// Of the last second that had packets.
    busiest: Option<Address>,
    changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    second_ns: u64,
    packets: u64,
    mean: u64,
    busiest: Option<Address>,
}

impl Rate {
    #[inline]
    pub(super) fn count(&mut self, record: &PacketRecord) {
        self.packets += 1;
        if self.packets.is_multiple_of(VOTE_EVERY) || self.candidate.is_none() {
            self.vote(record.dst());
        }
    }

    /// Boyer and Moore's vote: the destination of most packets of the second stays, if there is
    /// one; else it is one of the frequent ones.
    fn vote(&mut self, to: Option<Address>) {
        if self.candidate == to {
            self.votes += 1;
        } else if self.votes == 0 {
            (self.candidate, self.votes) = (to, 1);
        } else {
            self.votes -= 1;
        }
    }

    /// Another recording begins.
    pub(super) fn restart(&mut self) {
        *self = Self {
            changes: std::mem::take(&mut self.changes),
            ..Self::default()
        };
    }

    /// `seconds` are over, the first of which began at `start_ns` and had all the packets.
    pub(super) fn end_seconds(&mut self, thresholds: &Thresholds, start_ns: u64, seconds: u64) {
        self.end_second(thresholds, start_ns);
        // More silence than that is the new normal.
        for silent in 1..seconds.min(2 * BASE_SECONDS as u64) {
            self.end_second(thresholds, start_ns + silent * SECOND_NS);
        }
    }

    fn end_second(&mut self, thresholds: &Thresholds, second_ns: u64) {
        let packets = std::mem::take(&mut self.packets);
        let busiest = self.candidate.take();
        self.votes = 0;
        let mean = self.before.iter().sum::<u64>() / BASE_SECONDS as u64;
        let ready = self.seconds >= BASE_SECONDS;
        if ready && is_change(thresholds, packets, mean) {
            if self.changes.len() < MAX_CHANGES {
                self.changes.push(Change {
                    second_ns,
                    packets,
                    mean,
                    // Of a drop, who was busy before.
                    busiest: busiest.or(self.busiest),
                });
            }
            self.seconds = 0;
        }
        self.before[self.seconds % BASE_SECONDS] = packets;
        self.seconds += 1;
        self.busiest = busiest.or(self.busiest);
    }

    pub(super) fn found(&self, all: &mut Vec<Seen>) {
        for change in &self.changes {
            let (packets, mean) = (change.packets, change.mean);
            let verb = if packets > mean { "rose" } else { "fell" };
            all.push(Seen {
                kind: Kind::RateChange,
                summary: format!(
                    "The rate {verb} to {} in a second, after {} per second in the ten seconds \
                     before",
                    counted(packets, "packet"),
                    count(mean)
                ),
                addresses: change.busiest.into_iter().collect(),
                first_ns: change.second_ns,
                last_ns: change.second_ns + SECOND_NS - 1,
                packets,
                numbers: vec![("packets_per_second", packets), ("mean_before", mean)],
                filter: change.busiest.map(filter::host).unwrap_or_default(),
            });
        }
    }
}

fn is_change(thresholds: &Thresholds, packets: u64, mean: u64) -> bool {
    let factor = thresholds.get(Threshold::RateChangeFactor);
    let (low, high) = (packets.min(mean), packets.max(mean));
    high >= thresholds.get(Threshold::RateChangePps) && high >= low.saturating_mul(factor)
}
