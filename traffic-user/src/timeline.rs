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
mod tests {
    use proptest::prelude::*;
    use traffic_ebpf::protocol::Class;

    use super::*;

    const TCP: Leaf = Leaf::Whole(Protocol::Tcp);
    const OSPF: Leaf = Leaf::Numbered(Class {
        protocol: Protocol::OtherIp,
        number: 89,
    });

    /// Slots 0 to 7 are 10 ns wide, 8 to 11 are 20 ns.
    const SHAPE: Shape = Shape {
        width_ns: 10,
        half: 4,
        levels: 2,
    };

    #[test]
    fn slots_become_bars_by_their_middle() {
        let slots = [
            (0, slot(Protocol::Tcp, 1)),
            (3, slot(Protocol::Tcp, 2)),
            (4, slot(Protocol::DnsUdp, 4)),
            (7, slot(Protocol::DnsTcp, 8)),
        ];
        let numbered = [(ospf_in_slot(5), count(16))];
        let bars = Bars::from_slots(&SHAPE, slots, &numbered, 80, 2);
        assert_eq!(bars.packets, [3, 28]);
        assert_eq!(bars.bytes, [300, 2800]);
        assert_eq!(bars.lost, [2, 2]);
        assert_eq!(bars.by_protocol["tcp"], [3, 0]);
        assert_eq!(bars.by_protocol["dns"], [0, 12]);
        assert_eq!(bars.by_protocol["ip-proto-89"], [0, 16]);
        assert_eq!(bars.by_protocol.len(), 3);
        assert_eq!(bars.bytes_by_protocol["dns"], [0, 1200]);
        assert_eq!(bars.bytes_by_protocol.len(), 3);
        assert!((bars.width_s() - 40e-9).abs() < 1e-18);
    }

    #[test]
    fn the_slot_in_which_the_gate_closed_counts_up_to_the_close() {
        // Slot 8 covers 80..100 ns; the gate closed at 84 ns, so its middle is 82.
        let bars = Bars::from_slots(&SHAPE, [(8, slot(Protocol::Tcp, 5))], &[], 84, 42);
        assert_eq!(bars.packets[41], 5);
    }

    #[test]
    fn packets_after_the_close_are_in_the_last_bar() {
        let slots = [(0, slot(Protocol::Tcp, 1)), (9, slot(Protocol::Tcp, 5))];
        let bars = Bars::from_slots(&SHAPE, slots, &[(ospf_in_slot(11), count(7))], 40, 4);
        assert_eq!(bars.packets, [1, 0, 0, 12]);
        let bars = Bars::from_slots(&SHAPE, slots, &[], 0, 2);
        assert_eq!(bars.packets, [1, 5]);
    }

    #[test]
    fn the_last_packet_of_a_file_is_in_the_last_bar() {
        let mut timeline = Timeline::default();
        for (time, leaf) in [(130, OSPF), (100, TCP), (109, TCP), (110, TCP), (120, TCP)] {
            timeline.add(time, leaf, 60);
        }
        let bars = timeline.bars(3);
        assert_eq!(bars.span_ns, 30);
        assert_eq!(bars.packets, [2, 1, 2]);
        assert_eq!(bars.bytes, [120, 60, 120]);
        assert_eq!(bars.by_protocol["tcp"], [2, 1, 1]);
        assert_eq!(bars.by_protocol["ip-proto-89"], [0, 0, 1]);
    }

    #[test]
    fn packets_of_one_time_are_in_the_first_bar_of_a_second() {
        let mut timeline = Timeline::default();
        timeline.add(u64::MAX, TCP, 60);
        timeline.add(u64::MAX, TCP, 60);
        let bars = timeline.bars(4);
        assert_eq!(bars.packets, [2, 0, 0, 0]);
        assert!((bars.width_s() - 0.25).abs() < 1e-12);
    }

    #[test]
    fn many_packets_are_spread_as_they_came() {
        let mut timeline = Timeline::default();
        // 200,001 packets, 1 µs apart, from the middle outwards.
        timeline.add(1_000_000_000, TCP, 60);
        for step in 1..=100_000 {
            timeline.add(1_000_000_000 + step * 1000, TCP, 60);
            timeline.add(1_000_000_000 - step * 1000, TCP, 60);
        }
        assert!(timeline.exact.is_empty());
        let bars = timeline.bars(10);
        assert_eq!(bars.span_ns, 200_000_000);
        assert_eq!(bars.packets.iter().sum::<u64>(), 200_001);
        // A slot holds at most 200,001 / 2,048 packets; half of one may stray over each edge.
        for packets in bars.packets {
            assert!(packets.abs_diff(20_000) <= 98, "{packets}");
        }
    }

    proptest! {
        #[test]
        fn bins_sum_to_packets_from_the_kernel(
            slots in prop::collection::vec((0u32..20, 0u64..100), 0..40),
            numbered in prop::collection::vec((0u32..20, 0u64..100), 0..10),
            span in 0u64..1000,
            bins in 1u32..50,
        ) {
            let total: u64 = slots.iter().chain(&numbered).map(|(_, packets)| packets).sum();
            let numbered: Vec<_> =
                numbered.iter().map(|(slot, n)| (ospf_in_slot(*slot), count(*n))).collect();
            let slots = slots.into_iter().map(|(index, n)| (index, slot(Protocol::Udp, n)));
            let bars = Bars::from_slots(&SHAPE, slots, &numbered, span, bins);
            prop_assert_eq!(bars.packets.len(), bins as usize);
            prop_assert_eq!(bars.packets.iter().sum::<u64>(), total);
            prop_assert_eq!(bars.by_protocol.values().flatten().sum::<u64>(), total);
            prop_assert_eq!(bars.bytes.iter().sum::<u64>(), 100 * total);
        }

        #[test]
        fn folded_slots_lose_nothing_and_stay_near(
            times in prop::collection::vec(
                prop_oneof![0u64..1000, any::<u64>(), 1_000_000_000u64..2_000_000_000],
                1..200,
            ),
            bins in 1u32..40,
        ) {
            let mut exact = Timeline::default();
            let mut slots = Slots::new(times[0], times[0]);
            let (mut first, mut last) = (times[0], times[0]);
            for (time, leaf) in times.iter().zip([TCP, OSPF].into_iter().cycle()) {
                exact.add(*time, leaf, 60);
                (first, last) = (first.min(*time), last.max(*time));
                let moment = Moment { time_ns: *time, bytes: 60, leaf };
                slots.add(moment, first, last);
                prop_assert_eq!(slots.base, first >> slots.shift);
            }
            let folded = Timeline { first_ns: first, last_ns: last, exact: vec![], slots: Some(slots) };
            let (exact, folded) = (exact.bars(bins), folded.bars(bins));
            let count = times.len() as u64;
            prop_assert_eq!(folded.packets.iter().sum::<u64>(), count);
            prop_assert_eq!(folded.bytes.iter().sum::<u64>(), 60 * count);
            for (name, series) in &exact.by_protocol {
                let total = folded.by_protocol[name].iter().sum::<u64>();
                prop_assert_eq!(total, series.iter().sum::<u64>());
                let bytes = folded.bytes_by_protocol[name].iter().sum::<u64>();
                prop_assert_eq!(bytes, 60 * total);
            }
            // Running totals differ only by what lies within one slot of the edge.
            let slot = (last - first) / 2047 + 1;
            for bar in 1..u128::from(bins) {
                let edge = u128::from(first) + bar * u128::from(exact.span_ns) / u128::from(bins);
                let near = times.iter().filter(|t| u128::from(**t).abs_diff(edge) <= u128::from(slot));
                let upto = |bars: &Bars| bars.packets[..bar as usize].iter().sum::<u64>();
                prop_assert!(upto(&exact).abs_diff(upto(&folded)) <= near.count() as u64);
            }
        }
    }

    fn slot(protocol: Protocol, packets: u64) -> SlotCounts {
        let mut counts = SlotCounts {
            protocols: [Count::default(); Protocol::COUNT],
            lost: 1,
            reserved: 0,
        };
        counts.protocols[protocol as usize] = count(packets);
        counts
    }

    fn ospf_in_slot(place: u32) -> NumberedKey {
        NumberedKey {
            place,
            number: 89,
            protocol: Protocol::OtherIp as u8,
            ip_version: 4,
        }
    }

    fn count(packets: u64) -> Count {
        Count {
            packets,
            bytes: 100 * packets,
        }
    }
}
