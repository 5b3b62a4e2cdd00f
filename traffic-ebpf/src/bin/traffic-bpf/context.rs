//! What a hook gives a program: the packet's bytes and what the kernel knows about it.

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use aya_log_ebpf::debug;
use traffic_ebpf::{
    packet::{Packet, WireHeader},
    parse::{Link, Tag, parse_into},
    record::{Headers, Summary},
};

use crate::{bound, maps::config};

/// The farthest offset that the verifier allows in a packet pointer (`MAX_PACKET_OFF`).
const MAX_OFFSET: u32 = 0x7fff;

/// A packet at a hook. [`Packet::read`] sees the bytes that lie directly behind the packet pointer;
/// [`Hook::copy`] sees all.
pub(crate) trait Hook<'a>: Packet {
    /// What the program was called with.
    type Context: EbpfContext;

    /// Bytes of a frame that [`Hook::copy`] reaches.
    const REACH: u32;

    /// `join` is where [`Packet::join`] stores.
    fn new(context: &'a Self::Context, join: *mut u32) -> Self;

    /// Says why headers were not whole, when the loader asked for diagnostics; otherwise the
    /// verifier removes it.
    fn explain(&self, summary: &Summary);

    /// Bytes that [`Packet::read`] sees.
    fn linear_len(&self) -> u32;

    /// Parses with [`Hook::copy`], for headers that do not lie directly behind the packet pointer.
    fn parse_copied(&self, link: Link, headers: &mut Headers) -> u32;

    /// Interface that the packet arrived on or leaves through.
    fn ifindex(&self) -> u32;

    /// Tag that was moved out of the frame.
    fn tag(&self) -> Option<Tag>;

    /// Packets and bytes on the wire when every segment repeats `header_len` bytes; `None` where
    /// the hook cannot know.
    fn on_wire(&self, wire_len: u32, header_len: u32) -> Option<(u64, u64)>;

    /// Copies `len` bytes from `offset` to `destination`; `false` when the kernel refuses.
    ///
    /// # Safety
    /// `destination` must have room for `len` bytes.
    unsafe fn copy(&self, offset: u32, destination: *mut u8, len: u32) -> bool;
}

/// Reads from the bytes that lie directly behind the packet pointer.
#[inline(always)]
fn read_linear<T: WireHeader>(data: usize, data_end: usize, offset: u32) -> Option<T> {
    if offset > MAX_OFFSET {
        return None;
    }
    // A bound that stays with the value where the compiler keeps it on the stack: before Linux 6.8
    // the verifier does not carry the comparison over to what was stored.
    let offset = bound::opaque(offset) & MAX_OFFSET;
    let start = bound::pointer(data + offset as usize);
    if start + size_of::<T>() > data_end {
        return None;
    }
    // SAFETY: the range lies inside the packet (checked above), and `WireHeader` types accept any
    // bytes.
    Some(unsafe { bound::load(start) })
}

/// Stores `value` and reads it back.
///
/// # Safety
/// `word` must be valid and no other CPU's.
#[inline(always)]
pub(crate) unsafe fn join(word: *mut u32, value: u32) -> u32 {
    // SAFETY: the caller's word.
    unsafe {
        word.write_volatile(value);
        word.read_volatile()
    }
}

/// A packet whose bytes are read through the hook's helper.
struct Copied<'h, H>(&'h H);

impl<'a, H: Hook<'a>> Packet for Copied<'_, H> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.0.len()
    }

    #[inline(always)]
    fn read<T: WireHeader>(&self, offset: u32) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the value has room for its own size; when the copy succeeded all its bytes are
        // written, and `WireHeader` types accept any bytes.
        unsafe {
            self.0
                .copy(offset, value.as_mut_ptr().cast(), size_of::<T>() as u32)
                .then(|| value.assume_init())
        }
    }

    #[inline(always)]
    fn join(&self, value: u32) -> u32 {
        self.0.join(value)
    }
}

/// A function of its own: it is rare, and it needs a stack of its own. Its result must be used: the
/// compiler makes functions without result of those whose result is not, and the verifier refuses
/// what happens to lie in the register then.
#[inline(never)]
fn parse_xdp(context: &XdpContext, join: *mut u32, link: Link, headers: &mut Headers) -> u32 {
    parse_into(&Copied(&XdpHook::new(context, join)), link, headers)
}

/// A function of its own, as [`parse_xdp`].
#[inline(never)]
fn parse_skb(context: &TcContext, join: *mut u32, link: Link, headers: &mut Headers) -> u32 {
    parse_into(&Copied(&SkbHook(context, join)), link, headers)
}

/// Writes a diagnostic line.
macro_rules! explain {
    ($context:expr, $summary:expr) => {
        debug!(
            $context,
            "interface {}: {} bytes, ethertype {:x}: parse error {}",
            $summary.interface,
            $summary.wire_len,
            $summary.headers.ether_type,
            $summary.headers.status
        )
    };
}

/// A function of its own, with a result, as [`parse_xdp`].
#[inline(never)]
fn explain_xdp(context: &XdpContext, summary: &Summary) -> u32 {
    explain!(context, summary);
    0
}

/// A function of its own, as [`explain_xdp`].
#[inline(never)]
fn explain_skb(context: &TcContext, summary: &Summary) -> u32 {
    explain!(context, summary);
    0
}

/// A packet at XDP.
pub(crate) struct XdpHook<'a> {
    context: &'a XdpContext,
    join: *mut u32,
    /// Bytes of the frame, asked for once.
    len: u32,
}

impl Packet for XdpHook<'_> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    fn read<T: WireHeader>(&self, offset: u32) -> Option<T> {
        read_linear(self.context.data(), self.context.data_end(), offset)
    }

    #[inline(always)]
    fn join(&self, value: u32) -> u32 {
        // SAFETY: the word is this CPU's own.
        unsafe { join(self.join, value) }
    }
}

impl<'a> Hook<'a> for XdpHook<'a> {
    type Context = XdpContext;

    /// What `bpf_xdp_pointer` allows; a frame of the largest MTU is 14 bytes longer.
    const REACH: u32 = 0xffff;

    #[inline(always)]
    fn new(context: &'a XdpContext, join: *mut u32) -> Self {
        let len = if config!(xdp_load_bytes) == 1 {
            // SAFETY: the context is the one this program was called with.
            unsafe { bpf_xdp_get_buff_len(context.ctx) as u32 }
        } else {
            (context.data_end() - context.data()) as u32
        };
        Self { context, join, len }
    }

    #[inline(always)]
    fn explain(&self, summary: &Summary) {
        bound::opaque(explain_xdp(self.context, summary));
    }

    #[inline(always)]
    fn linear_len(&self) -> u32 {
        (self.context.data_end() - self.context.data()) as u32
    }

    #[inline(always)]
    fn parse_copied(&self, link: Link, headers: &mut Headers) -> u32 {
        bound::opaque(parse_xdp(self.context, self.join, link, headers))
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.context.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn tag(&self) -> Option<Tag> {
        None
    }

    #[inline(always)]
    fn on_wire(&self, _wire_len: u32, _header_len: u32) -> Option<(u64, u64)> {
        None
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: u32, destination: *mut u8, len: u32) -> bool {
        if config!(xdp_load_bytes) == 0 {
            return false;
        }
        // SAFETY: the caller gives room for `len` bytes; the helper checks the packet's bounds.
        unsafe { bpf_xdp_load_bytes(self.context.ctx, offset, destination.cast(), len) == 0 }
    }
}

/// A packet at TC.
pub(crate) struct SkbHook<'a>(&'a TcContext, *mut u32);

impl SkbHook<'_> {
    #[inline(always)]
    fn skb(&self) -> &__sk_buff {
        // SAFETY: the context is the one this program was called with.
        unsafe { &*self.0.skb.skb }
    }
}

impl Packet for SkbHook<'_> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.0.len()
    }

    #[inline(always)]
    fn read<T: WireHeader>(&self, offset: u32) -> Option<T> {
        read_linear(self.0.data(), self.0.data_end(), offset)
    }

    #[inline(always)]
    fn join(&self, value: u32) -> u32 {
        // SAFETY: the word is this CPU's own.
        unsafe { join(self.1, value) }
    }
}

impl<'a> Hook<'a> for SkbHook<'a> {
    type Context = TcContext;

    const REACH: u32 = u32::MAX;

    #[inline(always)]
    fn new(context: &'a TcContext, join: *mut u32) -> Self {
        Self(context, join)
    }

    #[inline(always)]
    fn explain(&self, summary: &Summary) {
        bound::opaque(explain_skb(self.0, summary));
    }

    #[inline(always)]
    fn linear_len(&self) -> u32 {
        (self.0.data_end() - self.0.data()) as u32
    }

    #[inline(always)]
    fn parse_copied(&self, link: Link, headers: &mut Headers) -> u32 {
        bound::opaque(parse_skb(self.0, self.1, link, headers))
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.skb().ifindex
    }

    #[inline(always)]
    fn tag(&self) -> Option<Tag> {
        let skb = self.skb();
        let tag = if skb.vlan_present == 0 {
            None
        } else {
            Tag::new(u16::from_be(skb.vlan_proto as u16), skb.vlan_tci as u16)
        };
        Tag::from_bits(self.join(Tag::bits(tag)))
    }

    #[inline(always)]
    fn on_wire(&self, wire_len: u32, header_len: u32) -> Option<(u64, u64)> {
        let skb = self.skb();
        let gso_size = skb.gso_size;
        if gso_size == 0 || header_len == 0 {
            return Some((1, u64::from(wire_len)));
        }
        // virtio and tun hand up super-frames without the number of segments.
        let mut segments = u64::from(skb.gso_segs);
        if segments == 0 {
            let payload = u64::from(wire_len.saturating_sub(header_len));
            segments = payload.div_ceil(u64::from(gso_size)).max(1);
        }
        let repeated = (segments - 1) * u64::from(header_len);
        Some((segments, u64::from(wire_len) + repeated))
    }

    #[inline(always)]
    unsafe fn copy(&self, offset: u32, destination: *mut u8, len: u32) -> bool {
        // SAFETY: the caller gives room for `len` bytes; the helper checks the packet's bounds.
        unsafe { bpf_skb_load_bytes(self.0.skb.skb.cast(), offset, destination.cast(), len) == 0 }
    }
}
