//! Packets over time, folded into bars of equal width.

use std::collections::BTreeMap;

use traffic_ebpf::{
    protocol::Protocol,
    tally::{Count, NumberedKey},
    timeline::{Shape, SlotCounts},
};

use crate::counts::Leaf;

/// Bars of equal width from the first to the last moment of a run. Nothing is lost in them: what
/// lies after the last moment is in the last bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bars {
    /// What all bars together cover, in nanoseconds; never 0.
    pub span_ns: u64,
    /// Packets per bar.
    pub packets: Vec<u64>,
    /// Bytes per bar.
    pub bytes: Vec<u64>,
    /// Summaries lost per bar.
    pub lost: Vec<u64>,
    /// Packets per bar of each leaf class that occurs, by its name.
    pub by_protocol: BTreeMap<String, Vec<u64>>,
    /// Bytes per bar, as `by_protocol`.
    pub bytes_by_protocol: BTreeMap<String, Vec<u64>>,
}

impl Bars {
    fn new(bars: u32, span_ns: u64) -> Self {
        let empty = vec![0; usize::try_from(bars.max(1)).expect("usize has 32 bits or more")];
        Self {
            span_ns: span_ns.max(1),
            packets: empty.clone(),
            bytes: empty.clone(),
            lost: empty,
            by_protocol: BTreeMap::new(),
            bytes_by_protocol: BTreeMap::new(),
        }
    }

    /// Width of a bar in seconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 ns are 104 days, and then 1 ns is lost"
    )]
    pub fn width_s(&self) -> f64 {
        self.span_ns as f64 / 1e9 / self.packets.len() as f64
    }

    /// The bar that covers `offset_ns` after the first moment.
    fn index(&self, offset_ns: u64) -> usize {
        let bars = self.packets.len();
        let index = u128::from(offset_ns) * bars as u128 / u128::from(self.span_ns);
        usize::try_from(index).unwrap_or(usize::MAX).min(bars - 1)
    }

    fn add(&mut self, index: usize, leaf: Leaf, count: Count) {
        if count.packets == 0 {
            return;
        }
        self.packets[index] += count.packets;
        self.bytes[index] += count.bytes;
        let bars = self.packets.len();
        for (series, amount) in [
            (&mut self.by_protocol, count.packets),
            (&mut self.bytes_by_protocol, count.bytes),
        ] {
            let series = series.entry(leaf.to_string());
            series.or_insert_with(|| vec![0; bars])[index] += amount;
        }
    }

    /// Bars from gate open to gate close, `span_ns` later, of the kernel's time slots summed over
    /// CPUs. A numbered class's place is its slot.
    ///
    /// A slot belongs to the bar in which its middle lies. That is exact where the edges of bars
    /// are edges of slots, as they are when a planned duration has run to its end.
    #[must_use]
    pub fn from_slots(
        shape: &Shape,
        slots: impl IntoIterator<Item = (u32, SlotCounts)>,
        numbered: &[(NumberedKey, Count)],
        span_ns: u64,
        bars: u32,
    ) -> Self {
        let mut result = Self::new(bars, span_ns);
        for (slot, counts) in slots {
            let index = result.slot_index(shape, slot);
            result.lost[index] += counts.lost;
            for (protocol, count) in Protocol::all().zip(counts.protocols) {
                result.add(index, Leaf::Whole(protocol), count);
            }
        }
        for (key, count) in numbered {
            let index = result.slot_index(shape, key.place);
            result.add(index, Leaf::from(key), *count);
        }
        result
    }

    /// Bars of counts whose bar is known.
    #[must_use]
    pub fn from_counts(
        bars: u32,
        span_ns: u64,
        counts: impl IntoIterator<Item = (u32, Leaf, Count)>,
    ) -> Self {
        let mut result = Self::new(bars, span_ns);
        for (bar, leaf, count) in counts {
            let last = result.packets.len() - 1;
            let index = usize::try_from(bar).unwrap_or(last).min(last);
            result.add(index, leaf, count);
        }
        result
    }

    fn slot_index(&self, shape: &Shape, slot: u32) -> usize {
        let slot = shape.slot_at(slot.min(shape.slots() - 1));
        let end_ns = slot.end_ns.min(self.span_ns).max(slot.start_ns);
        self.index(slot.start_ns.midpoint(end_ns))
    }
}

/// Packets that are kept with their exact time; beyond them slots take over.
const EXACT_PACKETS: usize = 65_536;
/// Slots between the first and the last packet.
const SLOTS: u64 = 4096;
/// What the bars of a file span when all its packets have one time.
const INSTANT_SPAN_NS: u64 = 1_000_000_000;

/// Collects records of any time in any order, in memory that does not depend on their number.
///
/// Up to 65,536 packets every bar is exact. Beyond that packets fall into 2,048 to 4,096 slots
/// (fewer only where the whole span is shorter than that many nanoseconds), whose width doubles
/// when the span outgrows them; a packet within half a slot of a bar's edge may then be counted
/// in the neighbouring bar.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    first_ns: u64,
    last_ns: u64,
    exact: Vec<Moment>,
    slots: Option<Slots>,
}

/// One packet.
#[derive(Clone, Copy, Debug)]
struct Moment {
    time_ns: u64,
    bytes: u32,
    leaf: Leaf,
}

impl Moment {
    fn count(&self) -> Count {
        Count {
            packets: 1,
            bytes: self.bytes.into(),
        }
    }
}

impl Timeline {
    /// Counts a packet of `bytes` bytes at `time_ns`, nanoseconds since any fixed moment.
    #[inline]
    pub fn add(&mut self, time_ns: u64, leaf: Leaf, bytes: u32) {
        let moment = Moment {
            time_ns,
            bytes,
            leaf,
        };
        if self.exact.is_empty() && self.slots.is_none() {
            self.first_ns = time_ns;
            self.last_ns = time_ns;
        }
        self.first_ns = self.first_ns.min(time_ns);
        self.last_ns = self.last_ns.max(time_ns);
        if let Some(slots) = &mut self.slots {
            slots.add(moment, self.first_ns, self.last_ns);
        } else if self.exact.len() < EXACT_PACKETS {
            self.exact.push(moment);
        } else {
            self.spill(moment);
        }
    }

    fn spill(&mut self, newest: Moment) {
        let mut slots = Slots::new(self.first_ns, self.last_ns);
        for moment in std::mem::take(&mut self.exact) {
            slots.add(moment, self.first_ns, self.last_ns);
        }
        slots.add(newest, self.first_ns, self.last_ns);
        self.slots = Some(slots);
    }

    /// Bars from the first to the last packet; the last packet is in the last bar. Where all
    /// packets have one time, the bars span the second after it and the first holds them all.
    #[must_use]
    pub fn bars(&self, bars: u32) -> Bars {
        let span_ns = match self.last_ns - self.first_ns {
            0 => INSTANT_SPAN_NS,
            span_ns => span_ns,
        };
        let mut result = Bars::new(bars, span_ns);
        for moment in &self.exact {
            let index = result.index(moment.time_ns - self.first_ns);
            result.add(index, moment.leaf, moment.count());
        }
        if let Some(slots) = &self.slots {
            slots.fill(&mut result, self.first_ns, self.last_ns);
        }
        result
    }
}

/// Slots of a power of two nanoseconds, counted from time zero so that two neighbours always
/// fold into one slot of twice the width.
#[derive(Clone, Debug)]
struct Slots {
    /// Binary logarithm of the width in nanoseconds.
    shift: u32,
    /// Number of the slot at index 0: the one with the first packet.
    base: u64,
    whole: [Vec<Count>; Protocol::COUNT],
    numbered: BTreeMap<Leaf, Vec<Count>>,
}

impl Slots {
    fn new(first_ns: u64, last_ns: u64) -> Self {
        let mut shift = 0;
        while !fits(first_ns, last_ns, shift) {
            shift += 1;
        }
        Self {
            shift,
            base: first_ns >> shift,
            whole: Default::default(),
            numbered: BTreeMap::new(),
        }
    }

    #[inline]
    fn add(&mut self, moment: Moment, first_ns: u64, last_ns: u64) {
        let mut slot = (moment.time_ns >> self.shift).wrapping_sub(self.base);
        if slot >= SLOTS {
            self.cover(first_ns, last_ns);
            slot = (moment.time_ns >> self.shift) - self.base;
        }
        let index = usize::try_from(slot).expect("slot < SLOTS");
        let series = match moment.leaf {
            Leaf::Whole(protocol) => &mut self.whole[protocol as usize],
            Leaf::Numbered(_) => self.numbered.entry(moment.leaf).or_default(),
        };
        if series.is_empty() {
            *series = empty_slots();
        }
        series[index] += moment.count();
    }

    /// Makes room for `first_ns..=last_ns`, which include all that was covered before.
    #[cold]
    fn cover(&mut self, first_ns: u64, last_ns: u64) {
        while !fits(first_ns, last_ns, self.shift) {
            self.fold();
        }
        let base = first_ns >> self.shift;
        let later = usize::try_from(self.base - base).expect("old and new base fit the slots");
        self.base = base;
        for series in self.series_mut() {
            series.rotate_right(later);
        }
    }

    fn fold(&mut self) {
        let odd = usize::from(self.base & 1 == 1);
        for series in self.series_mut() {
            for index in 0..series.len() {
                let count = std::mem::take(&mut series[index]);
                series[(index + odd) >> 1] += count;
            }
        }
        self.shift += 1;
        self.base >>= 1;
    }

    fn series_mut(&mut self) -> impl Iterator<Item = &mut Vec<Count>> {
        let counts = self.whole.iter_mut().chain(self.numbered.values_mut());
        counts.filter(|series| !series.is_empty())
    }

    fn fill(&self, bars: &mut Bars, first_ns: u64, last_ns: u64) {
        let whole = Protocol::all().map(Leaf::Whole).zip(&self.whole);
        let numbered = self.numbered.iter().map(|(leaf, series)| (*leaf, series));
        let series: Vec<_> = whole.chain(numbered).collect();
        for (index, slot) in (self.base..self.base.saturating_add(SLOTS)).enumerate() {
            let start_ns = slot << self.shift;
            let end_ns = start_ns.saturating_add((1 << self.shift) - 1);
            let middle_ns = start_ns.max(first_ns).midpoint(end_ns.min(last_ns));
            let bar = bars.index(middle_ns.saturating_sub(first_ns));
            for (leaf, series) in &series {
                bars.add(bar, *leaf, series.get(index).copied().unwrap_or_default());
            }
        }
    }
}

/// Whether slots of `1 << shift` nanoseconds cover both times.
fn fits(first_ns: u64, last_ns: u64, shift: u32) -> bool {
    (last_ns >> shift) - (first_ns >> shift) < SLOTS
}

fn empty_slots() -> Vec<Count> {
    vec![Count::default(); usize::try_from(SLOTS).expect("SLOTS is small")]
}

#[cfg(test)]
mod tests;
