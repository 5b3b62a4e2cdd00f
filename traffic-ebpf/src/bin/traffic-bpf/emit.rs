//! What goes up the ring: batches of summaries, and excerpts. Frames are gathered in `run.rs`.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_smp_processor_id, generated::bpf_ringbuf_output},
};
use traffic_ebpf::{
    parse::Tag,
    record::{
        BATCH_HEADER_BYTES, BATCH_RECORDS, Batch, EXCERPT_BYTES, ExcerptHeader, Kind, OWNER_FLUSH,
        OWNER_NONE, OWNER_PACKET, Single, Summary,
    },
};

use crate::{
    bound,
    context::{Hook, join},
    count,
    maps::{BATCHES, GATE, RING, config},
    run,
};

/// This CPU's batch.
#[inline(always)]
pub(crate) fn batch() -> Option<*mut Batch> {
    let batch = BATCHES.get_ptr_mut(cpu())?;
    // SAFETY: values of an array map lie at multiples of their size behind a page boundary
    // (`array_map_alloc`); told the compiler, so that it stores words and not bytes.
    unsafe { core::hint::assert_unchecked(batch.is_aligned()) };
    Some(batch)
}

/// Number of this CPU.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper only reads the number.
    unsafe { bpf_get_smp_processor_id() }
}

/// A place for the summary of the packet at hand, and the batch it is in.
///
/// Packets of one CPU follow one another, but a packet may interrupt the flush program on its CPU:
/// then its summary gets the place beyond the batch, and travels alone.
pub(crate) struct Place {
    batch: *mut Batch,
    index: usize,
}

impl Place {
    /// Takes the batch for the packet at hand.
    #[inline(always)]
    pub(crate) fn take(batch: *mut Batch) -> Option<Self> {
        // SAFETY: `batch` is this CPU's value; only the flush program may be at work on it.
        let (owner, word, count) = unsafe {
            (
                &raw mut (*batch).owner,
                &raw mut (*batch).join,
                (*batch).count,
            )
        };
        // SAFETY: as above.
        let index = unsafe {
            if owner.read_volatile() == OWNER_NONE {
                owner.write_volatile(OWNER_PACKET);
                join(word, count)
            } else {
                join(word, BATCH_RECORDS as u32)
            }
        };
        bound::barrier();
        let index = bound::index(index, BATCH_RECORDS + 1)?;
        Some(Self { batch, index })
    }

    /// This CPU's state.
    #[inline(always)]
    pub(crate) fn batch(&self) -> *mut Batch {
        self.batch
    }

    /// The summary.
    #[inline(always)]
    pub(crate) fn summary(&self) -> *mut Summary {
        // SAFETY: the address of an element that lies in the array.
        unsafe {
            (&raw mut (*self.batch).records)
                .cast::<Summary>()
                .add(self.index)
        }
    }

    /// Whether the packet interrupted the flush program.
    #[inline(always)]
    pub(crate) fn is_alone(&self) -> bool {
        self.index == BATCH_RECORDS
    }

    /// Empties the summary, but for its time.
    #[inline(always)]
    pub(crate) fn begin(&self, timestamp_ns: u64) {
        let words = self.summary().cast::<u64>();
        // SAFETY: the summary is this packet's, and whole words that zero is good for. Volatile,
        // because the compiler would call a function that zeroes byte by byte.
        unsafe {
            words.write_volatile(timestamp_ns);
            for word in 1..size_of::<Summary>() / size_of::<u64>() {
                words.add(word).write_volatile(0);
            }
        }
    }

    /// Adds the summary to the batch, and sends the batch when it is full.
    #[inline(always)]
    pub(crate) fn commit(&self) {
        if self.is_alone() {
            return self.send_alone();
        }
        // SAFETY: taken, so nothing else works on it.
        let batch = unsafe { &mut *self.batch };
        batch.count = self.index as u32 + 1;
        if self.index + 1 == BATCH_RECORDS {
            send(batch);
        }
    }

    /// Gives the batch back.
    #[inline(always)]
    pub(crate) fn release(self) {
        bound::barrier();
        if !self.is_alone() {
            // SAFETY: taken, so nothing else works on it.
            unsafe { (&raw mut (*self.batch).owner).write_volatile(OWNER_NONE) };
        }
    }

    #[inline(always)]
    fn send_alone(&self) {
        let sent = RING.reserve::<Single>(0).is_some_and(|mut entry| {
            // SAFETY: the summary was written by this packet.
            let record = unsafe { *self.summary() };
            entry.write(Single {
                kind: Kind::Batch as u32,
                count: 1,
                reserved: [0; 7],
                record,
            });
            entry.submit(wake_flags());
            true
        });
        if !sent {
            // SAFETY: the slot is this packet's.
            count::lost(unsafe { (*self.batch).slot }, 1);
        }
    }
}

/// Sends what this CPU gathered, unless a packet is being added to it.
#[inline(always)]
pub(crate) fn flush_idle() {
    let Some(batch) = batch() else { return };
    // SAFETY: this CPU's value; `owner` says whether it is being worked on.
    let batch = unsafe { &mut *batch };
    if batch.owner != OWNER_NONE {
        return;
    }
    batch.owner = OWNER_FLUSH;
    bound::barrier();
    if batch.count != 0 {
        send(batch);
    }
    run::flush();
    bound::barrier();
    batch.owner = OWNER_NONE;
}

/// Sends what the batch holds and empties it.
#[inline(always)]
fn send(batch: &mut Batch) {
    let records = bound::length(batch.count, BATCH_RECORDS as u32);
    let bytes = BATCH_HEADER_BYTES as u32 + records * size_of::<Summary>() as u32;
    batch.kind = Kind::Batch as u32;
    if !output(&raw mut *batch, bytes) {
        count::lost(batch.slot, u64::from(records));
    }
    batch.count = 0;
}

/// Copies an item into the ring; `false` when it is full.
#[inline(always)]
pub(crate) fn output<T>(item: *mut T, bytes: u32) -> bool {
    let ring = (&raw const RING).cast_mut().cast();
    // SAFETY: the caller's item has at least `bytes` initialised bytes.
    unsafe { bpf_ringbuf_output(ring, item.cast(), u64::from(bytes), wake_flags()) == 0 }
}

/// Wakes user space when much is unread, and then not again before it has emptied the ring: a
/// wake-up costs as much as twenty packets.
#[inline(always)]
pub(crate) fn wake_flags() -> u64 {
    if RING.query(u64::from(BPF_RB_AVAIL_DATA)) >= config!(wake_bytes) && is_first_to_wake() {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}

/// Two CPUs that meet here may both wake, which does no harm.
#[inline(always)]
fn is_first_to_wake() -> bool {
    let Some(gate) = GATE.get_ptr_mut(0) else {
        return true;
    };
    // SAFETY: the gate is one aligned value of words that are only accessed whole.
    unsafe {
        let woken = &raw mut (*gate).woken;
        let is_first = woken.read_volatile() == 0;
        if is_first {
            woken.write_volatile(1);
        }
        is_first
    }
}

/// Bytes of the addresses that a VLAN tag stands behind.
const TAG_OFFSET: u32 = 12;
/// Bytes of a VLAN tag.
const TAG_BYTES: u32 = 4;

/// An excerpt in the ring, and room for a tag's shift beyond it.
#[repr(C)]
struct Item {
    header: ExcerptHeader,
    data: [u8; EXCERPT_BYTES as usize],
    spare: [u8; 24],
}

/// Copies the first bytes of a frame that asks for it into the ring; `false` when it is full.
#[inline(always)]
pub(crate) fn excerpt<'a, H: Hook<'a>>(hook: &H, tag: Option<Tag>, header: &ExcerptHeader) -> bool {
    let Some(mut entry) = RING.reserve::<MaybeUninit<Item>>(0) else {
        return false;
    };
    let item: *mut Item = entry.as_mut_ptr().cast();
    // SAFETY: the reservation is as large as the item; its fields are written, never read.
    let copied = unsafe {
        (&raw mut (*item).header).write(*header);
        let data = (&raw mut (*item).data).cast();
        copy_frame(hook, tag, data, header.cap_len, EXCERPT_BYTES)
    };
    if copied {
        entry.submit(wake_flags());
    } else {
        entry.discard(u64::from(BPF_RB_NO_WAKEUP));
    }
    copied
}

/// Copies the frame as it was on the wire: a tag that the NIC moved out is put back.
///
/// # Safety
/// `destination` must have room for `room` + 16 bytes, and `room` must be a power of two.
#[inline(always)]
pub(crate) unsafe fn copy_frame<'a, H: Hook<'a>>(
    hook: &H,
    tag: Option<Tag>,
    destination: *mut u8,
    cap_len: u32,
    room: u32,
) -> bool {
    if cap_len == 0 {
        return true;
    }
    let Some(tag) = tag else {
        // SAFETY: at most `room` bytes.
        return unsafe { hook.copy(0, destination, bound::length(cap_len, room)) };
    };
    let shifted = TAG_OFFSET + TAG_BYTES;
    // At least one byte after the tag: it is cut off again by `cap_len`.
    let rest = if cap_len > shifted {
        cap_len - shifted
    } else {
        1
    };
    // SAFETY: 12 and 4 bytes fit any room; the rest is at most `room` bytes, 16 bytes on.
    unsafe {
        let behind = destination.add(TAG_OFFSET as usize);
        behind.cast::<[u8; 2]>().write(tag.tpid().to_be_bytes());
        behind
            .add(2)
            .cast::<[u8; 2]>()
            .write(tag.tci().to_be_bytes());
        hook.copy(0, destination, TAG_OFFSET)
            && hook.copy(
                TAG_OFFSET,
                destination.add(shifted as usize),
                bound::length(rest, room),
            )
    }
}
