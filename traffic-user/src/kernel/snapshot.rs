//! Reads the kernel's counters, summed over all CPUs.

use std::collections::HashMap;

use aya::{
    Ebpf,
    maps::{Map, PerCpuArray, PerCpuHashMap},
};
use traffic_ebpf::{
    tally::{Count, Counters, NumberedKey},
    timeline::{Shape, SlotCounts},
};

use super::load::{LoadError, Pod};
use crate::snapshot::Snapshot;

/// Reads the maps. They belong to one moment only while the gate is closed.
pub(super) fn read(ebpf: &Ebpf, shape: Shape) -> Result<Snapshot, LoadError> {
    Ok(Snapshot {
        places: read_counters(ebpf)?,
        numbered: read_numbered(ebpf, "NUMBERED")?,
        shape,
        slots: read_slots(ebpf)?,
        slot_numbered: read_numbered(ebpf, "SLOT_NUMBERED")?,
    })
}

/// Reads the counters alone: cheap enough for progress.
pub(super) fn read_counters(ebpf: &Ebpf) -> Result<Vec<Counters>, LoadError> {
    let name = "COUNTERS";
    let array: PerCpuArray<_, Pod<Counters>> = map(ebpf, name)?;
    (0..array.len())
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

fn read_slots(ebpf: &Ebpf) -> Result<Vec<(u32, SlotCounts)>, LoadError> {
    let name = "SLOTS";
    let array: PerCpuArray<_, Pod<SlotCounts>> = map(ebpf, name)?;
    let mut slots = Vec::new();
    for index in 0..array.len() {
        let values = array
            .get(&index, 0)
            .map_err(|source| LoadError::Map { name, source })?;
        let mut sum = SlotCounts::ZERO;
        values.iter().for_each(|slot| sum.add(&slot.0));
        if !sum.is_zero() {
            slots.push((index, sum));
        }
    }
    Ok(slots)
}

fn read_numbered(ebpf: &Ebpf, name: &'static str) -> Result<Vec<(NumberedKey, Count)>, LoadError> {
    let hash: PerCpuHashMap<_, Pod<NumberedKey>, Pod<Count>> = map(ebpf, name)?;
    let mut sums: HashMap<NumberedKey, Count> = HashMap::new();
    for entry in &hash {
        let (key, values) = entry.map_err(|source| LoadError::Map { name, source })?;
        let sum = sums.entry(key.0).or_default();
        values.iter().for_each(|count| *sum += count.0);
    }
    Ok(sums.into_iter().collect())
}

fn map<'a, M>(ebpf: &'a Ebpf, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<&'a Map, Error = aya::maps::MapError>,
{
    let map = ebpf.map(name).ok_or(LoadError::Missing(name))?;
    M::try_from(map).map_err(|source| LoadError::Map { name, source })
}
