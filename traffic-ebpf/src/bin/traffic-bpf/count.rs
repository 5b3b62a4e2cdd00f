//! Exact counters and time slots of this CPU.

use aya_ebpf::maps::PerCpuHashMap;
use traffic_ebpf::{
    parse::ParseError,
    protocol::Protocol,
    record::{Batch, Headers},
    tally::{Count, Counters, IP_VERSIONS, NumberedKey, Tally, version_index},
    timeline::SlotCounts,
};

use crate::{
    bound,
    maps::{NUMBERED, SLOT_NUMBERED, SLOTS, config},
};

/// This CPU's counters of one interface and direction.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Interface number × 2 + direction.
    pub(crate) index: u32,
    /// The counters; only this CPU writes them.
    pub(crate) counters: *mut Counters,
}

impl Place {
    /// Adds `amount` to a tally.
    #[inline(always)]
    pub(crate) fn add(&self, tally: Tally, amount: u64) {
        // SAFETY: `counters` points to this CPU's value, and packets of one CPU do not overlap.
        unsafe { (*self.counters).tallies[tally as usize] += amount };
    }

    /// Sets what a tally has reached.
    #[inline(always)]
    pub(crate) fn set(&self, tally: Tally, value: u64) {
        // SAFETY: as in `add`.
        unsafe { (*self.counters).tallies[tally as usize] = value };
    }

    /// Counts a frame that the filter or `--protocol` leaves out.
    #[inline(always)]
    pub(crate) fn filtered_out(&self) {
        self.add(Tally::Seen, 1);
        self.add(Tally::FilteredOut, 1);
    }

    /// What a tally has reached.
    #[inline(always)]
    pub(crate) fn tally(&self, tally: Tally) -> u64 {
        // SAFETY: as in `add`.
        unsafe { (*self.counters).tallies[tally as usize] }
    }

    /// Counts a matched frame by protocol and by parse error.
    #[inline(always)]
    pub(crate) fn frame(&self, headers: &Headers, wire_len: u32) {
        // SAFETY: as in `add`.
        let counters = unsafe { &mut *self.counters };
        let error = u32::from(headers.status);
        if error != 0
            && let Some(index) = bound::index(error - 1, ParseError::ALL.len())
        {
            counters.errors[index] += 1;
        }
        if is_numbered(headers) && count_numbered(&NUMBERED, headers, self.index, wire_len) {
            return;
        }
        let version = bound::index(version_index(headers.ip_version()) as u32, IP_VERSIONS);
        let protocol = bound::index(u32::from(headers.protocol), Protocol::COUNT);
        if let (Some(version), Some(protocol)) = (version, protocol) {
            add(&mut counters.protocols[version][protocol], wire_len);
        }
    }
}

/// Counts a matched frame in the time slot of `elapsed_ns`.
#[inline(always)]
pub(crate) fn slot(batch: *mut Batch, elapsed_ns: u64, headers: &Headers, wire_len: u32) {
    // SAFETY: this CPU's value; the fields used here are neither those that `owner` guards nor
    // the packet's summary.
    let batch = unsafe { &mut *batch };
    if elapsed_ns < batch.slot_start_ns || elapsed_ns >= batch.slot_end_ns {
        let slot = config!(shape).slot(elapsed_ns);
        batch.slot = slot.index;
        batch.slot_start_ns = slot.start_ns;
        batch.slot_end_ns = slot.end_ns;
    }
    if is_numbered(headers) && count_numbered(&SLOT_NUMBERED, headers, batch.slot, wire_len) {
        return;
    }
    let protocol = bound::index(u32::from(headers.protocol), Protocol::COUNT);
    if let (Some(slot), Some(protocol)) = (slot_counts(batch.slot), protocol) {
        add(&mut slot.protocols[protocol], wire_len);
    }
}

/// Counts summaries that found the ring full. A packet may interrupt the flush program while it
/// counts, so it is one instruction.
#[inline(always)]
pub(crate) fn lost(slot: u32, summaries: u64) {
    if let Some(slot) = slot_counts(slot) {
        // SAFETY: an aligned word in a map.
        unsafe { bound::add(&raw mut slot.lost, summaries) };
    }
}

#[inline(always)]
fn slot_counts(index: u32) -> Option<&'static mut SlotCounts> {
    // SAFETY: this CPU's value, and packets of one CPU do not overlap.
    SLOTS
        .get_ptr_mut(index)
        .map(|counts| unsafe { &mut *counts })
}

#[inline(always)]
fn is_numbered(headers: &Headers) -> bool {
    headers.protocol == Protocol::OtherIp as u8 || headers.protocol == Protocol::OtherEther as u8
}

/// Counts in a table of numbered classes; `false` when it is full.
#[inline(always)]
fn count_numbered(
    map: &PerCpuHashMap<NumberedKey, Count>,
    headers: &Headers,
    place: u32,
    wire_len: u32,
) -> bool {
    let key = NumberedKey {
        place,
        number: headers.class_number(),
        protocol: headers.protocol,
        ip_version: headers.ip_version(),
    };
    if let Some(count) = map.get_ptr_mut(key) {
        // SAFETY: this CPU's value, and packets of one CPU do not overlap.
        add(unsafe { &mut *count }, wire_len);
        return true;
    }
    let first = Count {
        packets: 1,
        bytes: u64::from(wire_len),
    };
    map.insert(key, first, 0).is_ok()
}

#[inline(always)]
fn add(count: &mut Count, wire_len: u32) {
    count.packets += 1;
    count.bytes += u64::from(wire_len);
}
