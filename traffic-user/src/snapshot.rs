//! Everything that the kernel counted, at one moment.

use traffic_ebpf::{
    tally::{Count, Counters, NumberedKey, Tally},
    timeline::{Shape, SlotCounts},
};

/// The kernel's counters, summed over all CPUs.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// By place: interface number × 2 + direction (0 ingress, 1 egress).
    pub places: Vec<Counters>,
    /// Numbered classes by place.
    pub numbered: Vec<(NumberedKey, Count)>,
    /// Shape of the time slots.
    pub shape: Shape,
    /// Slots that counted anything, by index.
    pub slots: Vec<(u32, SlotCounts)>,
    /// Numbered classes by time slot.
    pub slot_numbered: Vec<(NumberedKey, Count)>,
}

impl Snapshot {
    /// Sum of a tally over interfaces and directions.
    #[must_use]
    pub fn tally(&self, tally: Tally) -> u64 {
        self.places
            .iter()
            .map(|counters| counters.tally(tally))
            .sum()
    }

    /// Summaries that found the ring full.
    #[must_use]
    pub fn summaries_lost(&self) -> u64 {
        self.slots.iter().map(|(_, slot)| slot.lost).sum()
    }
}
