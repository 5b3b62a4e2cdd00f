//! Reads the kernel's counters, summed over all CPUs.

use std::{borrow::Borrow, collections::HashMap};

use aya::{
    Ebpf,
    maps::{Map, MapData, PerCpuArray, PerCpuHashMap},
};
use traffic_ebpf::{
    tally::{Count, Counters, NumberedKey},
    timeline::{Shape, SlotCounts},
};

use super::load::{LoadError, Pod};
use crate::snapshot::Snapshot;

/// Numbered classes, by what their key's place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Interface and direction.
    Places,
    /// A time slot.
    Slots,
}

/// Something that knows the kernel's counters, summed over all CPUs.
pub(super) trait Counted {
    /// The counters of so many interfaces: cheap enough for progress.
    fn counters(&self, interfaces: usize) -> Result<Vec<Counters>, LoadError>;

    /// Slots from `first` to `last` that counted anything, by index.
    fn slots(&self, first: u32, last: u32) -> Result<Vec<(u32, SlotCounts)>, LoadError>;

    /// Numbered classes.
    fn numbered(&self, class: Class) -> Result<Vec<(NumberedKey, Count)>, LoadError>;
}

/// Reads everything, the counters of so many interfaces. The numbers belong to one moment only
/// while the gate is closed.
pub(super) fn read(
    from: &impl Counted,
    shape: Shape,
    interfaces: usize,
) -> Result<Snapshot, LoadError> {
    Ok(Snapshot {
        places: from.counters(interfaces)?,
        numbered: from.numbered(Class::Places)?,
        shape,
        slots: from.slots(0, shape.slots() - 1)?,
        slot_numbered: from.numbered(Class::Slots)?,
    })
}

/// How long after its end a slot may still count: summaries that find the ring full are counted
/// in the slot of the newest packet beside them, and no batch waits longer than some ticks.
const SETTLED_NS: u64 = 2_000_000_000;

/// The time slots of a running capture: those that cannot change any more are not read again.
#[derive(Debug, Default)]
pub(super) struct RunningSlots {
    counts: Vec<SlotCounts>,
    read_ns: u64,
}

impl RunningSlots {
    /// Reads what may have changed up to `now_ns` after the gate opened.
    fn read(
        &mut self,
        from: &impl Counted,
        shape: Shape,
        now_ns: u64,
    ) -> Result<Vec<(u32, SlotCounts)>, LoadError> {
        let first = shape.slot(self.read_ns.saturating_sub(SETTLED_NS)).index;
        let last = shape.slot(now_ns).index;
        self.counts.resize(last as usize + 1, SlotCounts::ZERO);
        for (index, counts) in from.slots(first, last)? {
            if let Some(known) = self.counts.get_mut(index as usize) {
                *known = counts;
            }
        }
        self.read_ns = now_ns;
        let slots = (0..).zip(self.counts.iter().copied());
        Ok(slots.filter(|(_, counts)| !counts.is_zero()).collect())
    }
}

/// Reads how many summaries were lost while programs run.
pub(super) fn read_lost(
    from: &impl Counted,
    shape: Shape,
    slots: &mut RunningSlots,
    now_ns: u64,
) -> Result<u64, LoadError> {
    let slots = slots.read(from, shape, now_ns)?;
    Ok(slots.iter().map(|(_, counts)| counts.lost).sum())
}

/// Reads everything while programs run. Summaries that were lost are read before the packets that
/// they belong to, so that there are never more of them.
pub(super) fn read_running(
    from: &impl Counted,
    shape: Shape,
    interfaces: usize,
    slots: &mut RunningSlots,
    now_ns: u64,
) -> Result<Snapshot, LoadError> {
    Ok(Snapshot {
        slots: slots.read(from, shape, now_ns)?,
        slot_numbered: from.numbered(Class::Slots)?,
        numbered: from.numbered(Class::Places)?,
        shape,
        places: from.counters(interfaces)?,
    })
}

impl Counted for Ebpf {
    fn counters(&self, interfaces: usize) -> Result<Vec<Counters>, LoadError> {
        let name = "COUNTERS";
        let array: PerCpuArray<_, Pod<Counters>> = map(self, name)?;
        let places = u32::try_from(interfaces * 2).unwrap_or(u32::MAX);
        (0..places.min(array.len()))
            .map(|index| {
                let values = array
                    .get(&index, 0)
                    .map_err(|source| LoadError::Map { name, source })?;
                let mut sum = Counters::ZERO;
                values.iter().for_each(|counters| sum.add(&counters.0));
                Ok(sum)
            })
            .collect()
    }

    fn slots(&self, first: u32, last: u32) -> Result<Vec<(u32, SlotCounts)>, LoadError> {
        let array: PerCpuArray<_, Pod<SlotCounts>> = map(self, "SLOTS")?;
        let mut slots = Vec::new();
        for index in first..array.len().min(last.saturating_add(1)) {
            let counts = read_slot(&array, index)?;
            if !counts.is_zero() {
                slots.push((index, counts));
            }
        }
        Ok(slots)
    }

    fn numbered(&self, class: Class) -> Result<Vec<(NumberedKey, Count)>, LoadError> {
        let name = match class {
            Class::Places => "NUMBERED",
            Class::Slots => "SLOT_NUMBERED",
        };
        let hash: PerCpuHashMap<_, Pod<NumberedKey>, Pod<Count>> = map(self, name)?;
        let mut sums: HashMap<NumberedKey, Count> = HashMap::new();
        for entry in &hash {
            let (key, values) = entry.map_err(|source| LoadError::Map { name, source })?;
            let sum = sums.entry(key.0).or_default();
            values.iter().for_each(|count| *sum += count.0);
        }
        Ok(sums.into_iter().collect())
    }
}

fn read_slot<T: Borrow<MapData>>(
    array: &PerCpuArray<T, Pod<SlotCounts>>,
    index: u32,
) -> Result<SlotCounts, LoadError> {
    let values = array.get(&index, 0).map_err(|source| LoadError::Map {
        name: "SLOTS",
        source,
    })?;
    let mut sum = SlotCounts::ZERO;
    values.iter().for_each(|slot| sum.add(&slot.0));
    Ok(sum)
}

fn map<'a, M>(ebpf: &'a Ebpf, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<&'a Map, Error = aya::maps::MapError>,
{
    let map = ebpf.map(name).ok_or(LoadError::Missing(name))?;
    M::try_from(map).map_err(|source| LoadError::Map { name, source })
}
