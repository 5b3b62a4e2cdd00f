//! What only measurements load: programs that do nothing, and a source of frames.
//!
//! Compiled for the host the file is an empty program, so that lints see all of it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![expect(
    missing_docs,
    unreachable_pub,
    clippy::needless_pass_by_value,
    reason = "the attributes of the entry points wrap and export them"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "the low 16 bits are what is meant"
)]

use aya_ebpf::{
    bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX},
    helpers::generated::bpf_xdp_adjust_tail,
    macros::{classifier, map, xdp},
    maps::Array,
    programs::{TcContext, XdpContext},
};

/// Frames made so far.
#[map]
static MADE: Array<u32> = Array::with_max_entries(1, 0);

/// Different source addresses, from 198.18.0.0 on; at least 1. The loader replaces it.
#[unsafe(no_mangle)]
static SOURCES: u32 = 1;

/// 1 = frames of 60, 594 and 1514 bytes at 7:4:1; 0 = of 60 bytes. The loader replaces it.
#[unsafe(no_mangle)]
static MIX: u32 = 0;

/// Ethernet, IPv4 and UDP headers.
const HEADER_BYTES: usize = 42;
/// Bytes before the IPv4 header.
const ETHERNET_BYTES: u32 = 14;
/// Bytes before the UDP header.
const UDP_OFFSET: u32 = 34;
/// First source address.
const FIRST_SOURCE: u32 = 0xc612_0000;
/// Sum of the fixed words of the IPv4 header: no options, no fragment, TTL 64, UDP, to 10.77.0.2.
const FIXED_WORDS: u32 = 0x4500 + 0x4011 + 0x0a4d + 0x0002;

/// Nothing at XDP.
#[xdp]
pub fn null_xdp(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Nothing at XDP, on frames in any number of buffers.
#[xdp(frags)]
pub fn null_xdp_frags(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// Nothing at TC.
#[classifier]
pub fn null_tc(_ctx: TcContext) -> i32 {
    // `TCX_NEXT`
    -1
}

/// Turns the frame at hand into the next one of the traffic and sends it.
///
/// The frame must be as long as the longest of the traffic, with the IPv4 header that
/// [`FIXED_WORDS`] describes. Only what varies is written: the kernel reuses frames.
#[xdp]
pub fn generate(ctx: XdpContext) -> u32 {
    match next(&ctx) {
        Some(()) => XDP_TX,
        None => XDP_ABORTED,
    }
}

#[inline(always)]
fn next(ctx: &XdpContext) -> Option<()> {
    let made = MADE.get_ptr_mut(0)?;
    // SAFETY: one CPU runs this program, and runs of it follow one another.
    let number = unsafe { *made };
    // SAFETY: as above.
    unsafe { *made = number.wrapping_add(1) };
    // SAFETY: the address of a static is valid and aligned.
    let (mix, sources) = unsafe {
        (
            (&raw const MIX).read_volatile(),
            (&raw const SOURCES).read_volatile(),
        )
    };
    let len = if mix == 0 { 60 } else { mixed(number) };
    if mix == 1 && len != 1514 {
        let cut = len.cast_signed() - 1514;
        // SAFETY: the context is the program's own.
        if unsafe { bpf_xdp_adjust_tail(ctx.ctx, cut) } != 0 {
            return None;
        }
    }
    let data = ctx.data();
    if data + HEADER_BYTES > ctx.data_end() {
        return None;
    }
    let source = FIRST_SOURCE + if sources > 1 { number % sources } else { 0 };
    // SAFETY: the headers lie inside the frame (checked above).
    unsafe { write_headers(data as *mut u8, len, source) };
    Some(())
}

/// Seven short frames, four of middle length, one long.
#[inline(always)]
fn mixed(number: u32) -> u32 {
    match number % 12 {
        0..=6 => 60,
        7..=10 => 594,
        _ => 1514,
    }
}

/// Writes lengths, source and checksum.
///
/// # Safety
/// `frame` must have [`HEADER_BYTES`] bytes.
#[inline(always)]
unsafe fn write_headers(frame: *mut u8, len: u32, source: u32) {
    let ip_len = len - ETHERNET_BYTES;
    // SAFETY: all below the header's end, as the caller guarantees.
    unsafe {
        let sum = FIXED_WORDS + ip_len + (source >> 16) + (source & 0xffff);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        put(frame, 16, ip_len);
        put(frame, 26, source >> 16);
        put(frame, 28, source & 0xffff);
        put(frame, 38, len - UDP_OFFSET);
        put(frame, 24, !sum);
    }
}

/// Writes the low 16 bits of `value` in network byte order.
///
/// # Safety
/// `frame` must have two bytes at `offset`.
#[inline(always)]
unsafe fn put(frame: *mut u8, offset: usize, value: u32) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        frame
            .add(offset)
            .cast::<[u8; 2]>()
            .write((value as u16).to_be_bytes());
    }
}

traffic_ebpf::end_of_object!();
