//! When a packet came.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_ns};
use traffic_ebpf::{config::CLOCK_SHARED, record::Batch};

use crate::maps::config;

/// The clock in `CLOCK_MONOTONIC` nanoseconds.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper only reads the clock.
    unsafe { bpf_ktime_get_ns() }
}

/// The clock for the packet at hand; with [`shared_clock`] perhaps that of a packet before it: at
/// most a tick old, and at the rates where that happens usually a few microseconds.
///
/// [`shared_clock`]: traffic_ebpf::config::Config::shared_clock
#[inline(always)]
pub(crate) fn packet_ns(batch: *mut Batch) -> u64 {
    if config!(shared_clock) == 0 {
        return now_ns();
    }
    // SAFETY: this CPU's value, and packets of one CPU do not overlap.
    let batch = unsafe { &mut *batch };
    // SAFETY: the helper only reads a counter; the verifier puts the load in its place
    // (`do_misc_fixups`).
    let tick = unsafe { bpf_jiffies64() };
    if batch.clock_countdown == 0 || batch.clock_tick != tick {
        batch.clock_tick = tick;
        batch.clock_ns = now_ns();
        batch.clock_countdown = CLOCK_SHARED;
    }
    batch.clock_countdown -= 1;
    batch.clock_ns
}
