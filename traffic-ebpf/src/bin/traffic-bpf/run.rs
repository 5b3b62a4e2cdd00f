//! Frames for a capture file: gathered as the file will hold them, so that user space writes them
//! from where they lie in the ring.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use traffic_ebpf::{
    parse::Tag,
    record::{
        BLOCK_EXTRA_BYTES, BLOCK_HEADER_BYTES, BLOCK_TRAILER_BYTES, DROP_COUNT_BYTES,
        GATHERED_BYTES, Kind, RUN_BYTES, Run, RunHeader,
    },
};

use crate::{
    bound,
    context::Hook,
    emit::{Place, copy_frame, cpu, output, wake_flags},
    maps::{RING, RUNS, config},
};

/// What is known of a frame that is captured.
pub(crate) struct Captured {
    /// Nanoseconds since the Unix epoch.
    pub(crate) timestamp_ns: u64,
    pub(crate) cap_len: u32,
    pub(crate) wire_len: u32,
    pub(crate) interface: u32,
    pub(crate) is_egress: bool,
    /// Frames of its place that this CPU lost since the last that it captured.
    pub(crate) lost: u32,
}

/// Gathers a frame; `false` when there is no room for it, in the ring either.
#[inline(always)]
pub(crate) fn frame<'a, H: Hook<'a>>(
    hook: &H,
    tag: Option<Tag>,
    place: &Place,
    captured: &Captured,
) -> bool {
    let Some(run) = RUNS.get_ptr_mut(cpu()) else {
        return false;
    };
    if place.is_alone() {
        return alone(hook, tag, captured);
    }
    // SAFETY: this CPU's value, and the packet has it for itself.
    let run = unsafe { &mut *run };
    if captured.cap_len <= GATHERED_BYTES as u32 {
        return gather(hook, tag, run, captured);
    }
    // What came before goes before.
    send(run) && alone(hook, tag, captured)
}

/// Sends what this CPU gathered. With a full ring it stays, and later frames are lost instead.
#[inline(always)]
pub(crate) fn flush() {
    if config!(snaplen) == 0 {
        return;
    }
    if let Some(run) = RUNS.get_ptr_mut(cpu()) {
        // SAFETY: this CPU's value, of which the caller is the owner.
        send(unsafe { &mut *run });
    }
}

#[inline(always)]
fn gather<'a, H: Hook<'a>>(hook: &H, tag: Option<Tag>, run: &mut Run, captured: &Captured) -> bool {
    let needed = captured.cap_len + BLOCK_EXTRA_BYTES as u32;
    let room = config!(wake_bytes).min(RUN_BYTES as u64) as u32;
    if run.header.bytes + needed > room && !send(run) {
        return false;
    }
    let Some(at) = bound::index(run.header.bytes, RUN_BYTES) else {
        return false;
    };
    // SAFETY: the blocks have room for one of the longest frame behind the last offset.
    let written = unsafe {
        let destination = (&raw mut run.blocks).cast::<u8>().add(at);
        block(hook, tag, captured, destination, GATHERED_BYTES as u32)
    };
    run.header.bytes += written;
    run.header.frames += u32::from(written != 0);
    written != 0
}

/// Empties the run into the ring; `false` when that is full.
#[inline(always)]
fn send(run: &mut Run) -> bool {
    if run.header.bytes == 0 {
        return true;
    }
    let bytes = bound::length(run.header.bytes, RUN_BYTES as u32);
    run.header.kind = Kind::Frames as u32;
    let sent = output(&raw mut *run, size_of::<RunHeader>() as u32 + bytes);
    if sent {
        run.header.bytes = 0;
        run.header.frames = 0;
    }
    sent
}

/// A run of one frame in the ring: room for `N` bytes of it.
#[repr(C)]
struct Alone<const N: usize> {
    header: RunHeader,
    block: [u8; N],
    extra: [u8; BLOCK_EXTRA_BYTES],
}

/// Sends one frame at once. Reservations have constant sizes, so the smallest class that fits is
/// taken.
#[inline(always)]
fn alone<'a, H: Hook<'a>>(hook: &H, tag: Option<Tag>, captured: &Captured) -> bool {
    match captured.cap_len {
        0..=2048 => reserve::<2048, H>(hook, tag, captured),
        2049..=4096 => reserve::<4096, H>(hook, tag, captured),
        4097..=16_384 => reserve::<16_384, H>(hook, tag, captured),
        16_385..=65_536 => reserve::<65_536, H>(hook, tag, captured),
        _ => reserve::<262_144, H>(hook, tag, captured),
    }
}

#[inline(always)]
fn reserve<'a, const N: usize, H: Hook<'a>>(
    hook: &H,
    tag: Option<Tag>,
    captured: &Captured,
) -> bool {
    let Some(mut entry) = RING.reserve::<MaybeUninit<Alone<N>>>(0) else {
        return false;
    };
    let item: *mut Alone<N> = entry.as_mut_ptr().cast();
    // SAFETY: the reservation is as large as the item; its fields are written, never read.
    let written = unsafe {
        let destination = (&raw mut (*item).block).cast();
        let bytes = block(hook, tag, captured, destination, N as u32);
        (&raw mut (*item).header).write(RunHeader {
            kind: Kind::Frames as u32,
            bytes,
            frames: 1,
            reserved: 0,
        });
        bytes != 0
    };
    if written {
        entry.submit(wake_flags());
    } else {
        entry.discard(u64::from(BPF_RB_NO_WAKEUP));
    }
    written
}

/// `ENHANCED_PACKET_BLOCK` of pcapng.
const ENHANCED_PACKET: u32 = 6;
/// Option 4, the drop count, of 8 bytes.
const DROP_COUNT: u32 = 8 << 16 | 4;
/// Option 2, the flags, of 4 bytes: bits 0 and 1 are the direction.
const FLAGS: u32 = 4 << 16 | 2;

/// Writes a frame as an enhanced packet block; returns its length, or 0 when the frame cannot be
/// copied.
///
/// # Safety
/// `destination` must have room for `room` + [`BLOCK_EXTRA_BYTES`] bytes and lie at a multiple of 4,
/// and `room` must be a power of two.
#[expect(
    clippy::cast_ptr_alignment,
    reason = "blocks and the parts of one begin at multiples of 4"
)]
#[inline(always)]
unsafe fn block<'a, H: Hook<'a>>(
    hook: &H,
    tag: Option<Tag>,
    captured: &Captured,
    destination: *mut u8,
    room: u32,
) -> u32 {
    let cap_len = captured.cap_len;
    let Some(padded) = bound::index((cap_len + 3) & !3, room as usize + 1) else {
        return 0;
    };
    let dropped = if captured.lost == 0 {
        0
    } else {
        DROP_COUNT_BYTES as u32
    };
    let Some(dropped) = bound::index(hook.join(dropped), DROP_COUNT_BYTES + 1) else {
        return 0;
    };
    let bytes = (BLOCK_HEADER_BYTES + padded + dropped + BLOCK_TRAILER_BYTES) as u32;
    // SAFETY: frame, padding, options and length fit what the caller gives. The padding is written
    // first, because the frame ends in it, and then the header, because of an empty frame.
    unsafe {
        let data = destination.add(BLOCK_HEADER_BYTES);
        data.add(padded).sub(4).cast::<u32>().write(0);
        if !copy_frame(hook, tag, data, cap_len, room) {
            return 0;
        }
        destination.cast::<[u32; 7]>().write([
            ENHANCED_PACKET.to_le(),
            bytes.to_le(),
            captured.interface.to_le(),
            ((captured.timestamp_ns >> 32) as u32).to_le(),
            (captured.timestamp_ns as u32).to_le(),
            cap_len.to_le(),
            captured.wire_len.to_le(),
        ]);
        // Without losses the flags take the place of the count.
        let behind = data.add(padded);
        behind
            .cast::<[u32; 3]>()
            .write([DROP_COUNT.to_le(), captured.lost.to_le(), 0]);
        let direction: u32 = if captured.is_egress { 2 } else { 1 };
        behind.add(dropped).cast::<[u32; 4]>().write([
            FLAGS.to_le(),
            direction.to_le(),
            0,
            bytes.to_le(),
        ]);
    }
    bytes
}
