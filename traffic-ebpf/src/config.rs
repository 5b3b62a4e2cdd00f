//! What the loader decides before load. The verifier sees these values as constants and removes
//! what they switch off.

use crate::{protocol::Selection, timeline::Shape};

/// Name of the [`Config`] in the object's `.rodata`.
pub const CONFIG: &str = "CONFIG";

/// Interfaces without Ethernet headers begin with an IP header.
pub const LINK_IP: u32 = 1;
/// Interfaces with Ethernet headers.
pub const LINK_ETHERNET: u32 = 0;

/// Instructions that the filter slot has room for. Each costs some microseconds when programs are
/// loaded, and nothing when they run.
pub const FILTER_SLOT: u16 = 4_096;
/// The farthest that a filter reads into a frame: libpcap's largest snapshot length, so that it
/// sees what a capture file can hold.
pub const FILTER_FRAME_BYTES: u32 = 262_144;

/// Settings of one run.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Frames to match before the gate closes by itself; 0 = no limit.
    pub count_limit: u64,
    /// Nanoseconds after opening at which the gate counts as closed; 0 = no limit.
    pub planned_ns: u64,
    /// Unread bytes in the ring from which on an item wakes user space. Frames that are gathered
    /// travel up before they are more than this.
    pub wake_bytes: u64,
    /// Shape of the time slots.
    pub shape: Shape,
    /// Bytes of a frame that are copied; 0 = frames are not asked for.
    pub snaplen: u32,
    /// One frame in this many is copied; at least 1.
    pub sample: u32,
    /// `--protocol`.
    pub selection: Selection,
    /// 1 = summaries and excerpts travel up; 0 = counters only.
    pub summaries: u32,
    /// 1 = the kernel has `bpf_xdp_load_bytes` and `bpf_xdp_get_buff_len` (Linux 5.18).
    pub xdp_load_bytes: u32,
    /// 1 = the run has exactly one interface: number 0, with [`Config::link`].
    pub single_interface: u32,
    /// `LINK_…` of that interface.
    pub link: u32,
    /// Bytes of a frame that the filter may read; 0 = there is no filter.
    pub filter_bytes: u32,
    /// 1 = one frame in [`TIMED_RUNS`] is timed.
    pub timing: u32,
    /// 1 = headers are always read through the hook's helper, as they are of packets in several
    /// buffers. Only tests ask for it.
    pub always_copied: u32,
    /// 1 = up to [`CLOCK_SHARED`] packets share a reading of the clock: no time stamp goes up.
    pub shared_clock: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// Of how many frames on a CPU one is timed.
pub const TIMED_RUNS: u32 = 1024;

/// Packets of a CPU that may share a reading of the clock, as long as the kernel's tick does not
/// come between them. The clock is most of what counting a packet costs.
pub const CLOCK_SHARED: u32 = 16;

/// An entry of the map from ifindex to interface.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// Number in this run.
    pub number: u32,
    /// `LINK_…`.
    pub link: u32,
}

/// The gate: programs count only while it is open.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Gate {
    /// `CLOCK_MONOTONIC` nanoseconds at which the gate opened; 0 = closed.
    pub opened_ns: u64,
    /// `CLOCK_MONOTONIC` nanoseconds of the last frame within [`Config::count_limit`]; 0 = it has
    /// not come.
    pub closed_ns: u64,
    /// 1 = user space was woken and has not emptied the ring since.
    pub woken: u64,
    /// Wall-clock time minus monotonic time in nanoseconds; user space keeps it true.
    pub wall_offset_ns: u64,
    /// Explicit padding.
    pub reserved: [u64; 4],
}

const _: () = assert!(size_of::<Config>() == 3 * 8 + 16 + 12 * 4);
