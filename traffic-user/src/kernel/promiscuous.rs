//! Promiscuous mode for as long as a capture runs.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// `PACKET_MR_PROMISC` in the width of its field.
const MR_PROMISC: libc::c_ushort = 1;
/// Size of the request, as `setsockopt(2)` takes it.
const REQUEST_BYTES: libc::socklen_t = 16;

const _: () = assert!(libc::PACKET_MR_PROMISC == 1 && size_of::<libc::packet_mreq>() == 16);

/// An interface that passes frames for other hosts up, while this lives (`packet(7)`,
/// `PACKET_MR_PROMISC`). The kernel undoes it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Promiscuous(
    #[expect(dead_code, reason = "the membership ends when it is closed")] OwnedFd,
);

impl Promiscuous {
    /// Asks for promiscuous mode on `ifindex`.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`; what `socket(2)` and `setsockopt(2)` say.
    pub(super) fn new(ifindex: u32) -> io::Result<Self> {
        // Protocol 0: the socket itself receives nothing.
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nothing else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let request = libc::packet_mreq {
            mr_ifindex: ifindex.cast_signed(),
            mr_type: MR_PROMISC,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        // SAFETY: `request` is valid for the call and its size is given.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                REQUEST_BYTES,
            )
        };
        if result == 0 {
            Ok(Self(socket))
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
