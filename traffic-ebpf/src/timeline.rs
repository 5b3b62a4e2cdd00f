//! Time slots: where a moment of the capture is counted.
//!
//! Slots begin with a fixed width. The first `2 × half` of them cover the beginning; each later
//! level of `half` slots is twice as wide as the one before, and so covers as much time as all
//! levels before it together. Any length of run fits, no slot is ever moved, and a slot is never
//! wider than `1 / half` of the time that had passed when it began.

use crate::{protocol::Protocol, tally::Count};

/// Shape of the slots, fixed before load.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Width of the first slots in nanoseconds; at least 1.
    pub width_ns: u64,
    /// Slots in each level after the first; a power of two.
    pub half: u32,
    /// Levels. Time after the last one is counted in its last slot.
    pub levels: u32,
}

/// Where a slot lies, in nanoseconds since the gate opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Index in the table of slots.
    pub index: u32,
    /// First nanosecond.
    pub start_ns: u64,
    /// First nanosecond after it.
    pub end_ns: u64,
}

impl Shape {
    /// Slots in all levels.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.half * (self.levels + 1)
    }

    /// The slot that covers `elapsed_ns` since the gate opened.
    #[inline(always)]
    #[must_use]
    pub fn slot(&self, elapsed_ns: u64) -> Slot {
        let first = elapsed_ns / self.width_ns.max(1);
        let mut level = 0;
        while level + 1 < self.levels && (first >> level) >= 2 * u64::from(self.half) {
            level += 1;
        }
        let last = 2 * u64::from(self.half) - 1;
        let position = (first >> level).min(last);
        let width_ns = self.width_ns << level;
        let end_ns = if first >> level > last {
            u64::MAX
        } else {
            (position + 1) * width_ns
        };
        Slot {
            // Level `n` begins `n × half` slots in, and its own first `half` positions belong to
            // the levels before it.
            index: level * self.half + position as u32,
            start_ns: position * width_ns,
            end_ns,
        }
    }

    /// The slot with this index.
    #[must_use]
    pub fn slot_at(&self, index: u32) -> Slot {
        let level = (index / self.half)
            .saturating_sub(1)
            .min(self.levels.saturating_sub(1));
        let position = u64::from(index - level * self.half);
        let width_ns = self.width_ns << level;
        Slot {
            index,
            start_ns: position * width_ns,
            end_ns: (position + 1) * width_ns,
        }
    }
}

/// One CPU's counts in one slot, by [`Protocol`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SlotCounts {
    /// The numbered classes stand here only for what did not fit the table of numbers.
    pub protocols: [Count; Protocol::COUNT],
    /// Summaries lost while this slot was current.
    pub lost: u64,
    /// Explicit padding to whole cache lines.
    pub reserved: u64,
}

const _: () = assert!(size_of::<SlotCounts>() == 256);

impl SlotCounts {
    /// All zero.
    pub const ZERO: Self = Self {
        protocols: [Count {
            packets: 0,
            bytes: 0,
        }; Protocol::COUNT],
        lost: 0,
        reserved: 0,
    };

    /// Adds another CPU's counts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.protocols.iter_mut().zip(other.protocols) {
            *mine += theirs;
        }
        self.lost += other.lost;
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.lost == 0
            && self
                .protocols
                .iter()
                .all(|count| *count == Count::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        width_ns: 10,
        half: 4,
        levels: 3,
    };

    #[test]
    fn slots_double_when_a_level_is_full() {
        assert_eq!(SHAPE.slots(), 16);
        let at = |ns| SHAPE.slot(ns);
        assert_eq!(
            at(0),
            Slot {
                index: 0,
                start_ns: 0,
                end_ns: 10
            }
        );
        assert_eq!(
            at(79),
            Slot {
                index: 7,
                start_ns: 70,
                end_ns: 80
            }
        );
        assert_eq!(
            at(80),
            Slot {
                index: 8,
                start_ns: 80,
                end_ns: 100
            }
        );
        assert_eq!(
            at(159),
            Slot {
                index: 11,
                start_ns: 140,
                end_ns: 160
            }
        );
        assert_eq!(
            at(160),
            Slot {
                index: 12,
                start_ns: 160,
                end_ns: 200
            }
        );
        assert_eq!(
            at(319),
            Slot {
                index: 15,
                start_ns: 280,
                end_ns: 320
            }
        );
    }

    #[test]
    fn time_after_the_last_level_stays_in_its_last_slot() {
        assert_eq!(
            SHAPE.slot(320),
            Slot {
                index: 15,
                start_ns: 280,
                end_ns: u64::MAX
            }
        );
        assert_eq!(SHAPE.slot(u64::MAX).index, 15);
    }

    #[test]
    fn slots_follow_one_another_without_a_gap() {
        let mut end = 0;
        for index in 0..SHAPE.slots() {
            let slot = SHAPE.slot_at(index);
            assert_eq!(slot.start_ns, end);
            assert_eq!(SHAPE.slot(slot.start_ns).index, index);
            assert_eq!(SHAPE.slot(slot.end_ns - 1).index, index);
            end = slot.end_ns;
        }
    }
}
