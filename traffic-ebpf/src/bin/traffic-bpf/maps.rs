//! Every map, and the settings. The loader sizes those marked so.

use aya_ebpf::{
    bindings::bpf_spin_lock,
    btf_maps,
    macros::{btf_map, map},
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use traffic_ebpf::{
    config::{Config, FILTER_FRAME_BYTES, Gate, Interface},
    protocol::Selection,
    record::{Batch, Run},
    tally::{Count, Counters, NumberedKey},
    timeline::{Shape, SlotCounts},
};

/// `BPF_F_MMAPABLE` (Linux 5.5): user space reads and writes the values without system calls.
const MMAPABLE: u32 = 1 << 10;
/// `BPF_F_NO_PREALLOC`: memory only for what occurs.
const NO_PREALLOC: u32 = 1;
/// Numbered classes remembered by interface and direction.
const NUMBERED_TOTALS: u32 = 16_384;
/// Numbered classes remembered by time slot.
const NUMBERED_SLOTS: u32 = 65_536;

/// The gate; one entry.
#[map]
pub(crate) static GATE: Array<Gate> = Array::with_max_entries(1, MMAPABLE);

/// Tickets for matching frames; only with a limit on their number.
#[repr(C)]
pub(crate) struct Tickets {
    /// The kernel finds it by the name of its type.
    pub(crate) lock: bpf_spin_lock,
    reserved: u32,
    /// How many were given out.
    pub(crate) taken: u64,
}

/// The tickets; one entry. Described by BTF, as maps with a lock must be.
#[btf_map]
pub(crate) static TICKETS: btf_maps::Array<Tickets, 1> = btf_maps::Array::new();

/// Batch and cached state; one entry per possible CPU (sized by the loader).
#[map]
pub(crate) static BATCHES: Array<Batch> = Array::with_max_entries(1, MMAPABLE);

/// Frames that are gathered; one entry per possible CPU (sized by the loader).
#[map]
pub(crate) static RUNS: Array<Run> = Array::with_max_entries(1, MMAPABLE);

/// Counters by interface number × 2 + direction (sized by the loader).
#[map]
pub(crate) static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(2, 0);

/// Time slots (sized by the loader).
#[map]
pub(crate) static SLOTS: PerCpuArray<SlotCounts> = PerCpuArray::with_max_entries(1, 0);

/// Numbered classes by interface and direction.
#[map]
pub(crate) static NUMBERED: PerCpuHashMap<NumberedKey, Count> =
    PerCpuHashMap::with_max_entries(NUMBERED_TOTALS, NO_PREALLOC);

/// Numbered classes by time slot.
#[map]
pub(crate) static SLOT_NUMBERED: PerCpuHashMap<NumberedKey, Count> =
    PerCpuHashMap::with_max_entries(NUMBERED_SLOTS, NO_PREALLOC);

/// Interfaces by ifindex (sized by the loader).
#[map]
pub(crate) static INTERFACES: HashMap<u32, Interface> = HashMap::with_max_entries(1, 0);

/// Copies of frames for the filter; one entry per possible CPU (sized by the loader). The room
/// beyond is for a tag's shift, and for the registers of a filter with a loop.
#[map]
pub(crate) static FILTER_FRAMES: Array<[u8; FILTER_FRAME_BYTES as usize + 16]> =
    Array::with_max_entries(1, 0);

/// Batches, frames and excerpts for user space (sized by the loader).
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// The settings; the loader replaces them before load.
#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    count_limit: 0,
    planned_ns: 0,
    wake_bytes: 2 << 20,
    shape: Shape {
        width_ns: 1_000_000,
        half: 1,
        levels: 1,
    },
    snaplen: 0,
    sample: 1,
    selection: Selection(0),
    summaries: 1,
    xdp_load_bytes: 0,
    single_interface: 0,
    link: 0,
    filter_bytes: 0,
    timing: 0,
    always_copied: 0,
    shared_clock: 0,
    reserved: 0,
};

/// Reads one field of the settings at run time: the compiler must not use the value above.
macro_rules! config {
    ($($field:ident).+) => {{
        // SAFETY: the address of a field of a static is valid and aligned.
        unsafe { ::core::ptr::read_volatile(&raw const (*$crate::maps::config_ptr()).$($field).+) }
    }};
}
pub(crate) use config;

/// Where the settings lie.
#[inline(always)]
pub(crate) fn config_ptr() -> *const Config {
    &raw const CONFIG
}
