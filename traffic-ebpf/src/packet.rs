//! Bounds-checked reads of wire headers and ring records, from a packet in the kernel or a slice in
//! user space.

use network_types::{
    eth::EthHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
    udp::UdpHdr,
    vlan::VlanHdr,
};

/// A header as it lies on the wire, or a record as it lies in the ring.
///
/// # Safety
/// Any bytes must be a valid value of the type: integers and arrays of integers only.
pub unsafe trait WireHeader: Copy {}

// SAFETY: an array of bytes has no invalid value.
unsafe impl<const N: usize> WireHeader for [u8; N] {}
// SAFETY: `repr(C)` of integers and arrays of integers, without implicit padding.
unsafe impl WireHeader for crate::record::Summary {}
// SAFETY: as above.
unsafe impl WireHeader for crate::record::ExcerptHeader {}
// SAFETY: as above.
unsafe impl WireHeader for crate::record::RunHeader {}
// SAFETY: as above.
unsafe impl WireHeader for crate::parse::usual::Start {}
// SAFETY: `repr(C)`: two addresses as bytes and a `u16`.
unsafe impl WireHeader for EthHdr {}
// SAFETY: `repr(C)` of bytes and a `u16`.
unsafe impl WireHeader for VlanHdr {}
// SAFETY: `repr(C)` of bytes and byte arrays.
unsafe impl WireHeader for Ipv4Hdr {}
// SAFETY: `repr(C)` of bytes and byte arrays.
unsafe impl WireHeader for Ipv6Hdr {}
// SAFETY: `repr(C)` of byte arrays and a bit field over bytes.
unsafe impl WireHeader for TcpHdr {}
// SAFETY: `repr(C)` of byte arrays.
unsafe impl WireHeader for UdpHdr {}

/// A packet whose bytes can be read by offset from its link header.
pub trait Packet {
    /// Bytes that can be read.
    fn len(&self) -> u32;

    /// Whether nothing can be read.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a header at `offset`; `None` where it does not lie whole inside the packet.
    fn read<T: WireHeader>(&self, offset: u32) -> Option<T>;

    /// Returns `value`. In the kernel the verifier forgets here what it knows of the value, so that
    /// the ways that lead to one place in the parser are checked once and not one by one.
    #[inline(always)]
    fn join(&self, value: u32) -> u32 {
        value
    }
}

impl Packet for [u8] {
    fn len(&self) -> u32 {
        u32::try_from(<[u8]>::len(self)).unwrap_or(u32::MAX)
    }

    fn read<T: WireHeader>(&self, offset: u32) -> Option<T> {
        let start = usize::try_from(offset).ok()?;
        let bytes = self.get(start..start.checked_add(size_of::<T>())?)?;
        // SAFETY: `bytes` is exactly `size_of::<T>()` readable bytes, `read_unaligned` needs no
        // alignment, and `WireHeader` types accept any bytes.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_end_at_the_last_byte() {
        let bytes = [1u8, 2, 3, 4];
        assert_eq!(bytes[..].read::<[u8; 4]>(0), Some([1, 2, 3, 4]));
        assert_eq!(bytes[..].read::<[u8; 2]>(2), Some([3, 4]));
        assert_eq!(bytes[..].read::<[u8; 2]>(3), None);
        assert_eq!(bytes[..].read::<[u8; 1]>(u32::MAX), None);
    }
}
