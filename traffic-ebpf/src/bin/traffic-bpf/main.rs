//! The kernel programs. Each looks at a packet and lets it go on.
//!
//! Each is one function in the kernel: as one that another calls and that always returns the same, it
//! would return nothing, and the verifier refuses that when the register of the result happens to
//! hold a pointer.
//!
//! Compiled for the host the file is an empty program, so that lints see all of it.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![expect(
    missing_docs,
    unreachable_pub,
    clippy::needless_pass_by_value,
    reason = "the attributes of the entry points wrap and export them"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths are below 2^32, and checked conversions cost instructions"
)]

mod bound;
mod clock;
mod context;
mod count;
mod emit;
mod filter;
mod maps;
mod observe;
mod run;

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    macros::{classifier, raw_tracepoint, xdp},
    programs::{RawTracePointContext, TcContext, XdpContext},
};

use crate::{
    context::{SkbHook, XdpHook},
    observe::{Direction, observe},
};

/// `TCX_NEXT`, which is also `TC_ACT_UNSPEC`: the next program decides.
const NEXT: i32 = -1;

/// Arriving frames, before the stack; the frame must lie in one buffer.
#[xdp]
#[inline(always)]
pub fn traffic_xdp(ctx: XdpContext) -> u32 {
    observe::<XdpHook<'_>>(&ctx, Direction::Ingress);
    XDP_PASS
}

/// Arriving frames, before the stack; the frame may lie in several buffers (Linux 5.18).
#[xdp(frags)]
#[inline(always)]
pub fn traffic_xdp_frags(ctx: XdpContext) -> u32 {
    observe::<XdpHook<'_>>(&ctx, Direction::Ingress);
    XDP_PASS
}

/// Arriving frames, after GRO.
#[classifier]
#[inline(always)]
pub fn traffic_ingress(ctx: TcContext) -> i32 {
    observe::<SkbHook<'_>>(&ctx, Direction::Ingress);
    NEXT
}

/// Leaving frames, before GSO.
#[classifier]
#[inline(always)]
pub fn traffic_egress(ctx: TcContext) -> i32 {
    observe::<SkbHook<'_>>(&ctx, Direction::Egress);
    NEXT
}

/// Sends the batch of the CPU it runs on; user space runs it where a batch waits on an idle CPU.
#[raw_tracepoint]
pub fn traffic_flush(_ctx: RawTracePointContext) -> i32 {
    emit::flush_idle();
    0
}

traffic_ebpf::end_of_object!();
