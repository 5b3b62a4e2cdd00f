//! The filter slot: room in the programs into which the loader writes the translated filter.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use traffic_ebpf::{config::FILTER_FRAME_BYTES, parse::Tag};

use crate::{
    context::Hook,
    emit::copy_frame,
    maps::{FILTER_FRAMES, config},
};

/// Whether the filter takes the frame; without a filter it does.
///
/// The filter reads a copy: there the frame lies in one piece and a tag that the NIC moved out is
/// back in its place, just as in a capture file.
#[inline(always)]
pub(crate) fn takes<'a, H: Hook<'a>>(hook: &H, tag: Option<Tag>, wire_len: u32, link: u32) -> bool {
    let needed = config!(filter_bytes);
    if needed == 0 {
        return true;
    }
    // SAFETY: the helper only reads the number of the CPU.
    let Some(frame) = FILTER_FRAMES.get_ptr_mut(unsafe { bpf_get_smp_processor_id() }) else {
        return false;
    };
    let frame: *mut u8 = frame.cast();
    let cap_len = wire_len.min(needed);
    // SAFETY: this CPU's value has that room and 16 bytes, and packets of one CPU do not overlap.
    if !unsafe { copy_frame(hook, tag, frame, cap_len, FILTER_FRAME_BYTES) } {
        return false;
    }
    slot(
        frame,
        u64::from(cap_len),
        u64::from(wire_len),
        u64::from(link),
    ) != 0
}

/// Where the filter stands once the loader has written it: at the end of the no-ops, with its
/// verdict in `r0`. The condition always holds; its jump is shortened to lead to the filter, and
/// the kernel removes what it jumps over.
///
/// It is not exported: the verifier checks an exported function alone, without knowing its
/// arguments.
#[inline(never)]
extern "C" fn slot(frame: *const u8, cap_len: u64, wire_len: u64, link: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let verdict;
        // SAFETY: as it stands it sets a register. What the loader writes keeps to the registers
        // named here and to its own stack, and reads `cap_len` bytes of `frame`, which the
        // verifier checks.
        unsafe {
            core::arch::asm!(
                "r0 = 1",
                "if r0 == 1 goto +{room}",
                ".rept {room}",
                "goto +0",
                ".endr",
                room = const traffic_ebpf::config::FILTER_SLOT,
                out("r0") verdict,
                inout("r1") frame => _,
                inout("r2") cap_len => _,
                inout("r3") wire_len => _,
                inout("r4") link => _,
                out("r5") _,
            );
        }
        verdict
    }
    #[cfg(not(target_arch = "bpf"))]
    core::hint::black_box((frame, cap_len, wire_len, link)).1
}
